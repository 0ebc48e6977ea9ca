//! Series over a real log: rolled up by step, found by name, bounded, also after the log was opened again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;
use std::time::Duration;

use hob_core::Timestamp;
use hob_metrics::{Error, Metrics, POINTS_MAX, Query, Sample, Value};
use hob_store::{Store, StoreOptions};

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

fn sample(second: i64, name: &str, value: Value) -> Sample {
    Sample {
        time: at(second),
        scope: "demo/uk".parse().unwrap(),
        service: "orders".parse().unwrap(),
        name: name.to_owned(),
        labels: BTreeMap::new(),
        value,
    }
}

fn query(from: i64, to: i64, step: u64) -> Query {
    Query {
        scope: "demo/uk".parse().unwrap(),
        name: Some("placed".to_owned()),
        service: None,
        instance: None,
        from: at(from),
        to: at(to),
        step: Duration::from_secs(step),
    }
}

#[tokio::test]
async fn samples_outlive_a_restart_and_roll_up() {
    let folder = tempfile::tempdir().unwrap();
    {
        let store = Store::open(folder.path(), StoreOptions::default()).await.unwrap();
        let metrics = Metrics::new(store.signals.clone());
        let placed = (1000..1100).map(|second| sample(second, "placed", Value::Count(1.0)));
        metrics.append(placed.collect()).await.unwrap();
        metrics.append(vec![sample(1100, "queue", Value::Gauge(4.0))]).await.unwrap();
    }
    let store = Store::open(folder.path(), StoreOptions::default()).await.unwrap();
    let metrics = Metrics::new(store.signals.clone());
    let series = metrics.query(&query(1010, 1030, 10)).await.unwrap();
    assert_eq!(series.len(), 1);
    let points: Vec<(i64, f64)> =
        series[0].points.iter().map(|p| (p.time.as_micros() / 1_000_000, p.value)).collect();
    assert_eq!(points, [(1010, 10.0), (1020, 10.0)]);
    let names = metrics.names(&"demo/uk".parse().unwrap(), at(0)).await.unwrap();
    assert_eq!(names.keys().map(String::as_str).collect::<Vec<_>>(), ["placed", "queue"]);
    assert!(metrics.query(&query(5000, 6000, 10)).await.unwrap().is_empty());
}

#[tokio::test]
async fn too_many_points_are_refused_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), StoreOptions::default()).await.unwrap();
    let metrics = Metrics::new(store.signals.clone());
    let seconds = i64::try_from(POINTS_MAX).unwrap() + 2;
    let error = metrics.query(&query(0, seconds, 1)).await.unwrap_err();
    assert!(matches!(error, Error::Points { .. }));
    assert!(error.to_string().contains("narrow the range"));
}
