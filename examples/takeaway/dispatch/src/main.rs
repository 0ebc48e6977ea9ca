//! Decides each simulated minute which rider fetches which orders.
//!
//! Dispatch follows the notices of orders, riders and restaurants and the city's clock in one stream, reads the entities
//! through its cache, decides with the world's own rules, and tells the city, which answers what it refused.

mod decide;
mod known;

use std::process::ExitCode;
use std::time::Duration;

use hob_sdk::events::{Message, Stream, from_now_on};
use hob_sdk::{Cache, CacheOptions, Client, Config};
use takeaway_world::SimTime;

use crate::decide::Dispatch;
use crate::known::Known;

/// The pause before a decision that failed is tried again.
const PAUSE: Duration = Duration::from_millis(200);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    hob_sdk::server::run(work).await
}

async fn work(config: Config) -> Result<(), hob_sdk::ClientError> {
    let client = Client::new(&config)?;
    let topics = ["orders", "riders", "restaurants", "city.clock"];
    let spec = from_now_on(&topics).expect("these are names of topics");
    let stream = Stream::from_now(&client, "dispatch.cache", spec);
    let cache = Cache::new(&client, CacheOptions::default());
    let dispatch = Dispatch { client, cache, known: Known::default(), speed: None, decided: None };
    tokio::select! {
        () = follow(dispatch, stream) => {}
        () = hob_sdk::server::stop_signal() => {}
    }
    Ok(())
}

async fn follow(mut dispatch: Dispatch, mut stream: Stream) {
    let mut is_current = false;
    loop {
        let message = stream.next().await;
        dispatch.cache.apply(&message);
        let mut due = None;
        match message {
            Message::Connected { resumed } => is_current &= resumed,
            Message::Heartbeat { .. } => {}
            Message::Event(event) if event.topic.as_str() == "city.clock" => {
                let time: Option<SimTime> = event.time.to_string().parse().ok();
                due = time.filter(|time| time.is_minute());
            }
            Message::Event(event) => dispatch.known.note(&event),
        }
        // The lists are read once the stream is connected, so that nothing falls between the two. The city may be waiting
        // for us and its clock stand still: then the minute is asked for.
        while !is_current {
            match dispatch.begin().await {
                Ok(time) => (is_current, due) = (true, Some(time)),
                Err(error) => failed(&error, "what there is cannot be listed yet").await,
            }
        }
        if let Some(minute) = due {
            while let Err(error) = dispatch.minute(minute).await {
                failed(&error, "the minute cannot be decided yet").await;
            }
        }
    }
}

async fn failed(error: &hob_sdk::ClientError, what: &str) {
    tracing::warn!(error = error as &dyn std::error::Error, "{what}");
    tokio::time::sleep(PAUSE).await;
}
