//! Following and working through a subscription.

use std::time::Duration;

use hob_sdk::events::{Consumer, Handled, Message, Publisher, Stream, from_now_on};
use hob_sdk::wire::Notice;

use crate::bus::{Bus, DEADLINE, until};

async fn next_href(stream: &mut Stream) -> String {
    loop {
        if let Message::Event(event) = tokio::time::timeout(DEADLINE, stream.next()).await.unwrap() {
            return event.subject.unwrap();
        }
    }
}

#[tokio::test]
async fn a_stream_resumes_where_it_was_and_says_so() {
    let bus = Bus::start().await;
    let mut stream = Stream::new(&bus.client(), "things.view", from_now_on(&["things"]).unwrap());
    assert_eq!(stream.next().await, Message::Connected { resumed: false });
    bus.change("t1");
    assert_eq!(next_href(&mut stream).await, bus.href("t1"));
    bus.cut();
    bus.change("t2");
    bus.change("t3");
    let mut messages = Vec::new();
    while messages.iter().filter(|message| matches!(message, Message::Event(_))).count() < 2 {
        messages.push(tokio::time::timeout(DEADLINE, stream.next()).await.unwrap());
    }
    let hrefs: Vec<String> = messages
        .iter()
        .filter_map(|message| if let Message::Event(event) = message { event.subject.clone() } else { None })
        .collect();
    assert_eq!(hrefs, [bus.href("t2"), bus.href("t3")]);
    assert!(!messages.contains(&Message::Connected { resumed: false }), "{messages:?}");
}

#[tokio::test]
async fn a_stream_from_now_on_skips_what_was() {
    let bus = Bus::start().await;
    bus.shared.cursors.lock().unwrap().insert("things.view".to_owned(), 0);
    bus.change("t1");
    let mut stream = Stream::from_now(&bus.client(), "things.view", from_now_on(&["things"]).unwrap());
    assert_eq!(stream.next().await, Message::Connected { resumed: false });
    bus.change("t2");
    assert_eq!(next_href(&mut stream).await, bus.href("t2"));
}

#[tokio::test]
async fn a_consumer_acknowledges_what_is_done_and_hands_back_what_is_not() {
    let bus = Bus::start().await;
    let consumer =
        Consumer::new(&bus.client(), "things.mail", &from_now_on(&["things"]).unwrap()).await.unwrap();
    let notice: Notice =
        serde_json::from_value(serde_json::json!({ "type": "create", "href": bus.href("t1") })).unwrap();
    let topic = "things".parse().unwrap();
    let publisher = Publisher::new(&bus.client());
    publisher.publish(&topic, notice.clone()).await.unwrap();
    publisher.publish(&topic, Notice { href: Some(bus.href("t2")), ..notice }).await.unwrap();
    let handler = |event: hob_sdk::wire::Event| {
        let is_first = event.subject.is_some_and(|href| href.ends_with("t1"));
        let later = Handled::Later { delay: Duration::from_secs(1), reason: "no mail today".to_owned() };
        std::future::ready(if is_first { Handled::Done } else { later })
    };
    let stop = until("a batch is acknowledged", async || !bus.shared.acks.lock().unwrap().is_empty());
    consumer.run(handler, stop).await;
    let ack = bus.shared.acks.lock().unwrap()[0].clone();
    assert_eq!((ack.ack.len(), ack.nack.len()), (1, 1));
    assert_eq!((ack.nack[0].delay_ms.unwrap(), ack.nack[0].reason.as_deref()), (1000, Some("no mail today")));
}

/// The messages up to and with the next event, without heartbeats.
async fn up_to_event(stream: &mut Stream) -> Vec<Message> {
    let mut messages = Vec::new();
    while !messages.iter().any(|message| matches!(message, Message::Event(_))) {
        let message = tokio::time::timeout(DEADLINE, stream.next()).await.unwrap();
        if !matches!(message, Message::Heartbeat { .. }) {
            messages.push(message);
        }
    }
    messages
}

fn was_missed(messages: &[Message], href: &str) -> bool {
    let [Message::Connected { resumed: false }, Message::Event(event)] = messages else { return false };
    event.subject.as_deref() == Some(href)
}

#[tokio::test]
async fn a_stream_whose_place_is_gone_says_that_it_missed_something() {
    let bus = Bus::start().await;
    let mut stream = Stream::new(&bus.client(), "things.view", from_now_on(&["things"]).unwrap());
    assert_eq!(stream.next().await, Message::Connected { resumed: false });
    bus.change("t1");
    assert_eq!(next_href(&mut stream).await, bus.href("t1"));
    bus.cut();
    for name in ["t2", "t3", "t4"] {
        bus.change(name);
    }
    // Retention has passed the stream's place and the subscription's cursor, which nobody had moved.
    *bus.shared.gone.lock().unwrap() = 3;
    let messages = up_to_event(&mut stream).await;
    assert!(was_missed(&messages, &bus.href("t4")), "{messages:?}");
    assert_eq!(*bus.shared.seeks.lock().unwrap(), ["start"]);
}

#[tokio::test]
async fn a_reader_without_a_past_goes_on_at_the_end_when_its_place_is_gone() {
    let bus = Bus::start().await;
    let mut stream = Stream::from_now(&bus.client(), "things.view", from_now_on(&["things"]).unwrap());
    assert_eq!(stream.next().await, Message::Connected { resumed: false });
    bus.cut();
    for name in ["t1", "t2"] {
        bus.change(name);
    }
    *bus.shared.gone.lock().unwrap() = 1;
    let seeks = std::sync::Arc::clone(&bus.shared);
    let (messages, ()) = tokio::join!(up_to_event(&mut stream), async {
        until("the end was asked for", async || !seeks.seeks.lock().unwrap().is_empty()).await;
        until("it follows again", async || seeks.followers() > 0).await;
        bus.change("t3");
    });
    assert!(was_missed(&messages, &bus.href("t3")), "{messages:?}");
    assert_eq!(*bus.shared.seeks.lock().unwrap(), ["end"]);
}

#[tokio::test]
async fn a_log_that_begins_anew_is_followed_from_the_cursor() {
    let bus = Bus::start().await;
    let mut stream = Stream::new(&bus.client(), "things.view", from_now_on(&["things"]).unwrap());
    assert_eq!(stream.next().await, Message::Connected { resumed: false });
    for name in ["t1", "t2"] {
        bus.change(name);
        assert_eq!(next_href(&mut stream).await, bus.href(name));
    }
    // Somebody restored an older state of the platform.
    bus.shared.forget();
    bus.cut();
    bus.change("t3");
    let messages = up_to_event(&mut stream).await;
    assert!(was_missed(&messages, &bus.href("t3")), "{messages:?}");
    assert!(bus.shared.seeks.lock().unwrap().is_empty());
}
