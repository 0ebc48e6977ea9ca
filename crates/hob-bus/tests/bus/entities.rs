//! Entities by href and by topic, and requests that are safe to repeat.

use std::time::Duration;

use hob_bus::{Begun, Error};
use serde_json::json;

use super::*;

#[tokio::test]
async fn an_entity_is_as_its_newest_event_left_it_also_after_a_restart() {
    let mut world = World::new().await;
    let events = [("create", json!("\"1\"")), ("update", json!("\"2\"")), ("delete", json!(null))];
    for (kind, tag) in events {
        let event = json!({"topic": "orders", "type": kind, "href": "http://t/orders/1", "entitytag": tag});
        world.bus.publish(&publisher("orders"), vec![draft(event)]).await.unwrap();
        let found = world.bus.entities_at(&scope(), "http://t/orders/1").await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].entitytag.as_deref(), tag.as_str());
        assert_eq!(found[0].deleted, kind == "delete");
        assert_eq!(found[0].last.as_ref().unwrap().kind, format!("orders.{kind}"));
    }
    world = world.crash().await;
    let found = world.bus.entities_at(&scope(), "http://t/orders/1").await.unwrap().remove(0);
    assert_eq!((found.entityseq, found.owner.as_str(), found.deleted), (3, "orders", true));
    assert_eq!(found.sequence, found.last.unwrap().sequence);
    assert_eq!(world.bus.entities_at(&scope(), "http://t/orders/2").await.unwrap(), []);
}

#[tokio::test]
async fn entities_of_a_topic_come_in_pages_without_loss_or_repeat() {
    let world = World::new().await;
    for chunk in (0..250).collect::<Vec<_>>().chunks(50) {
        let drafts = chunk.iter().map(|id| update(*id)).collect();
        world.bus.publish(&publisher("orders"), drafts).await.unwrap();
    }
    let gone = json!({"topic": "orders", "type": "delete", "href": "http://t/orders/7"});
    world.bus.publish(&publisher("orders"), vec![draft(gone)]).await.unwrap();
    let orders = topic("orders");
    let (mut hrefs, mut after) = (Vec::new(), None);
    loop {
        let page = world.bus.live_entities(&scope(), &orders, after.as_deref(), 40).await.unwrap();
        hrefs.extend(page.entities.into_iter().map(|entity| entity.href));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut expect: Vec<String> =
        (0..250).filter(|id| *id != 7).map(|id| format!("http://t/orders/{id}")).collect();
    expect.sort();
    assert_eq!(hrefs, expect);
    let deleted = world.bus.entities(&scope(), &orders, Some(true), None, 1_000).await.unwrap();
    assert_eq!(deleted.entities.iter().map(|entity| &entity.href).collect::<Vec<_>>(), ["http://t/orders/7"]);
    let unknown = world.bus.entities(&scope(), &topic("nothing"), None, None, 10).await;
    assert!(matches!(unknown, Err(Error::TopicUnknown { .. })));
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer_for_a_day() {
    let mut world = World::new().await;
    let begin = async |world: &World, key: &str, body: &str| {
        world.bus.idempotency().begin(&scope(), "orders", key, body.as_bytes()).await.unwrap()
    };
    let Begun::New(ticket) = begin(&world, "k", "body").await else { panic!("the key is new") };
    assert!(matches!(begin(&world, "k", "body").await, Begun::InFlight));
    let id = ticket.event_id(3);
    drop(ticket);
    let Begun::New(ticket) = begin(&world, "k", "body").await else { panic!("the key was given back") };
    assert_eq!(ticket.event_id(3), id, "a repeated request has the same ids");
    ticket.finish("answer").await.unwrap();
    world = world.crash().await;
    assert!(matches!(begin(&world, "k", "body").await, Begun::Replay(answer) if answer == "answer"));
    assert!(matches!(begin(&world, "k", "other").await, Begun::Mismatch));
    world.clock.advance(Duration::from_secs(24 * 3600 + 1));
    let Begun::New(ticket) = begin(&world, "k", "other").await else { panic!("a day has passed") };
    assert_ne!(ticket.event_id(3), id, "another body has other ids");
    ticket.finish("later").await.unwrap();
    assert!(matches!(begin(&world, "k", "other").await, Begun::Replay(answer) if answer == "later"));
}
