//! Topics and publishing.

use std::collections::HashMap;

use hob_bus::{Bus, Error, Filter, hob_topics};
use hob_core::code;
use hob_wire::{Condition, TopicTerms, sequence_text};
use serde_json::json;

use crate::{World, draft, name, publisher, scope, topic, update};

#[tokio::test]
async fn a_topic_has_one_owner() {
    let world = World::new().await;
    let again = world
        .bus
        .put_topic(&scope(), &name("orders"), &topic("orders"), TopicTerms::default())
        .await
        .unwrap();
    assert!(!again.created);
    let taken = world.bus.put_topic(&scope(), &name("riders"), &topic("orders"), TopicTerms::default()).await;
    assert_eq!(taken.unwrap_err().to_string(), "publish on orders as riders: orders owns it");
    let foreign = world.bus.publish(&publisher("riders"), vec![update(1)]).await.unwrap_err();
    assert_eq!(foreign.code(), code::TOPIC_OWNED);
    let reserved =
        world.bus.put_topic(&scope(), &name("orders"), &topic("hob.x"), TopicTerms::default()).await;
    assert!(matches!(reserved, Err(Error::TopicReserved { .. })));
    let hobs = draft(json!({"topic": "hob.issues", "type": "x"}));
    let refused = world.bus.publish(&publisher("orders"), vec![hobs]).await.unwrap_err();
    assert_eq!(refused.code(), code::NOT_ALLOWED);
}

#[tokio::test]
async fn an_undeclared_topic_is_named_with_the_way_out() {
    let world = World::new().await;
    let drafts = vec![draft(json!({"topic": "order", "type": "update", "href": "http://t/1"}))];
    let error = world.bus.publish(&publisher("orders"), drafts).await.unwrap_err();
    assert_eq!(error.to_string(), "find topic order in qa/uk: it is not declared");
    let hint = error.hint().unwrap();
    assert!(hint.starts_with("did you mean orders? declare it in service.yml"), "{hint}");
}

#[tokio::test]
async fn a_batch_is_taken_whole_or_not_at_all() {
    let world = World::new().await;
    let wrong = draft(json!({"topic": "orders", "type": "updated", "href": "nowhere"}));
    let error = world.bus.publish(&publisher("orders"), vec![update(1), wrong]).await.unwrap_err();
    let items = error.items();
    assert_eq!(items.iter().map(|item| item.place.as_str()).collect::<Vec<_>>(), ["/1/type", "/1/href"]);
    assert_eq!(world.bus.head(), 0);
    let empty = world.bus.publish(&publisher("orders"), Vec::new()).await.unwrap_err();
    assert_eq!(empty.code(), code::EVENT);
    let many = world.bus.publish(&publisher("orders"), vec![update(1); 1001]).await.unwrap_err();
    assert_eq!(many.code(), code::TOO_LARGE);
    let ping = json!({"topic": "rider.pings", "type": "ping", "data": "x".repeat(65_000)});
    let large = world.bus.publish(&publisher("riders"), vec![draft(ping); 100]).await.unwrap_err();
    assert_eq!(large.code(), code::TOO_LARGE);
    assert_eq!(large.hint().unwrap(), "split the batch");
}

#[tokio::test]
async fn an_event_is_a_cloud_event_with_its_attributes() {
    let world = World::new().await;
    let mut publisher = publisher("orders");
    publisher.request_id = Some("r1".to_owned());
    let event = draft(json!({
        "topic": "orders", "type": "create", "href": "http://t/orders/7", "t": "2026-01-05T11:00:00Z",
        "id": "o7", "entitytag": "\"1\"", "data": {"v": 1},
    }));
    world.bus.publish(&publisher, vec![event, update(7)]).await.unwrap();
    let event = serde_json::to_value(world.bus.event(&scope(), 1).await.unwrap()).unwrap();
    let expected = json!({
        "specversion": "1.0", "id": "o7", "source": "/services/orders", "type": "orders.create",
        "subject": "http://t/orders/7", "time": "2026-01-05T11:00:00Z", "datacontenttype": "application/json",
        "data": {"v": 1}, "topic": "orders", "sequence": "00000000000000000001",
        "recordedtime": "2026-01-05T12:00:00Z", "requestid": "r1", "entityseq": 1, "entitytag": "\"1\"",
        "environment": "qa", "tenant": "uk",
    });
    assert_eq!(event, expected);
    let second = world.bus.event(&scope(), 2).await.unwrap();
    assert_eq!((second.entityseq, second.time), (Some(2), second.recordedtime));
    assert_eq!(second.id.len(), 26);
    let elsewhere = world.bus.event(&"qa/ie".parse().unwrap(), 1).await.unwrap_err();
    assert_eq!(elsewhere.code(), code::NOT_FOUND);
}

#[tokio::test]
async fn a_repeated_id_is_known_also_after_a_restart() {
    let world = World::new().await;
    let with_id = |id: &str, n: u32| {
        let mut draft = update(n);
        draft.notice.id = Some(id.to_owned());
        draft
    };
    let first = world.publish(vec![with_id("a", 1), with_id("b", 1), with_id("a", 1)]).await;
    assert_eq!((first.first.as_str(), first.deduplicated), (sequence_text(1).as_str(), 1));
    let world = world.crash().await;
    let again = world.publish(vec![with_id("b", 1), with_id("c", 1)]).await;
    assert_eq!((again.first, again.last, again.deduplicated), (sequence_text(2), sequence_text(3), 1));
    let all_known = world.publish(vec![with_id("c", 1)]).await;
    assert_eq!((all_known.last, all_known.deduplicated), (sequence_text(3), 1));
    assert_eq!(world.bus.event(&scope(), 3).await.unwrap().entityseq, Some(3));
    // Another service may use the same id.
    let ping = draft(json!({"topic": "rider.pings", "type": "ping", "id": "a"}));
    assert_eq!(world.bus.publish(&publisher("riders"), vec![ping]).await.unwrap().deduplicated, 0);
}

#[tokio::test]
async fn repeats_of_an_id_on_its_way_to_the_disk_are_known() {
    let world = World::new().await;
    let mut draft = update(1);
    draft.notice.id = Some("same".to_owned());
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (bus, draft) = (world.bus.clone(), draft.clone());
            tokio::spawn(async move { bus.publish(&publisher("orders"), vec![draft]).await.unwrap() })
        })
        .collect();
    let mut new = 0;
    for task in tasks {
        let published = task.await.unwrap();
        assert_eq!(published.first, sequence_text(1));
        assert!(world.bus.head() >= 1, "answered before it was durable");
        new += 1 - published.deduplicated;
    }
    assert_eq!((new, world.bus.head()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_publishers_share_commits_and_keep_the_order_of_each_entity() {
    let world = World::new().await;
    let tasks: Vec<_> = (0..50)
        .map(|n| {
            let bus = world.bus.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    bus.publish(&publisher("orders"), vec![update(n), update(100)]).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(world.bus.head(), 2_000);
    let stats = world.store.as_ref().unwrap().events.stats();
    assert!(stats.syncs <= 500, "{} syncs for 1,000 publishes", stats.syncs);
    let world = world.crash().await;
    let (mut counts, mut after) = (HashMap::new(), 0);
    loop {
        let page = world.bus.events(&Filter::all(scope()), after, 300).await.unwrap();
        for event in &page.events {
            let count = counts.entry(event.subject.clone().unwrap()).or_insert(0);
            *count += 1;
            assert_eq!(event.entityseq, Some(*count), "{event:?}");
        }
        let Some(next) = page.next else { break };
        after = next;
    }
    assert_eq!((counts.len(), counts["http://t/orders/100"]), (51, 1_000));
}

#[tokio::test]
async fn conditions_are_published_when_they_change() {
    let world = World::new().await;
    let condition = |active: bool| Condition {
        subject: "subscription/orders.emails".to_owned(),
        condition: "stalled".to_owned(),
        active,
        reason: "nobody pulls".to_owned(),
        environment: None,
        tenant: None,
    };
    let report = async |world: &World, active| {
        world.bus.report_condition(Some(&scope()), condition(active)).await.unwrap()
    };
    assert!(!report(&world, false).await);
    assert!(report(&world, true).await);
    assert!(!report(&world, true).await);
    let world = world.crash().await;
    assert!(!report(&world, true).await);
    assert!(report(&world, false).await);
    assert!(world.bus.report_condition(None, condition(true)).await.unwrap());
    let filter = Filter::topics(scope(), vec![topic(hob_topics::CONDITIONS)]);
    let page = world.bus.events(&filter, 0, 10).await.unwrap();
    let seen: Vec<_> = page.events.iter().map(|e| (e.kind.as_str(), e.environment.as_str())).collect();
    assert_eq!(seen, [("active", "qa"), ("inactive", "qa"), ("active", "hob")]);
    assert_eq!(page.events[0].data.as_ref().unwrap()["tenant"], "uk");
}

#[tokio::test]
async fn topics_are_listed_with_hobs_own_and_kept() {
    let world = World::new().await;
    world.publish(vec![update(1), update(2)]).await;
    let world = world.reopen().await;
    let orders = world.bus.topic(&scope(), &topic("orders")).unwrap();
    assert_eq!((orders.events, orders.last), (2, Some(sequence_text(2))));
    let names: Vec<_> = world.bus.topics(&scope()).into_iter().map(|topic| topic.name.to_string()).collect();
    assert!(names.contains(&"hob.conditions".to_owned()) && names.contains(&"rider.pings".to_owned()));
    assert_eq!(names.len(), 9);
    let issue = world.bus.publish_as_hob(&Bus::platform_scope(), &topic("hob.nothing"), Vec::new()).await;
    assert!(matches!(issue, Err(Error::TopicUnknown { .. })));
}
