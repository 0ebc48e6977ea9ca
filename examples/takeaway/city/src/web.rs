//! The city's small web process: how the day goes, the truth for scoring, and the door for what dispatch decides.

use std::time::Duration;

use hob_sdk::axum::extract::State;
use hob_sdk::axum::extract::rejection::JsonRejection;
use hob_sdk::axum::http::StatusCode;
use hob_sdk::axum::response::{IntoResponse, Response};
use hob_sdk::axum::routing::{get, post};
use hob_sdk::axum::{Json, Router};
use hob_sdk::core::code;
use hob_sdk::server::{Failure, bad_request};
use hob_sdk::wire::Problem;
use serde_json::Value;
use takeaway_domain::Decision;
use takeaway_world::ORDERS_PER_JOB_MAX;
use tokio::time::Instant;

use crate::rows::Rows;

/// How long an answer waits for the worker.
const WAIT: Duration = Duration::from_secs(2);
/// The pause between looks at what the worker has made of it.
const LOOK_EVERY: Duration = Duration::from_millis(3);
/// Jobs in one decision.
const JOBS_MAX: usize = 1000;

pub(crate) fn router(rows: Rows) -> Router {
    Router::new()
        .route("/city/status", get(status))
        .route("/city/truth", get(truth))
        .route("/city/assignments", post(assign))
        .with_state(rows)
}

async fn status(State(rows): State<Rows>) -> Result<Json<Value>, Failure> {
    let (status, _) = rows.shown().await?;
    let asleep = || Problem::new(code::UNAVAILABLE, "the city has not begun its day: is its worker running?");
    Ok(Json(status.ok_or_else(asleep)?))
}

async fn truth(State(rows): State<Rows>) -> Result<Json<Value>, Failure> {
    let (_, truth) = rows.shown().await?;
    Ok(Json(truth.unwrap_or_else(|| Value::Array(Vec::new()))))
}

/// Hands a decision to the worker, which takes it within a fraction of a step, and answers what became of it. When the
/// worker is slower than a caller should wait, 202: sending the same decision again waits again.
async fn assign(
    State(rows): State<Rows>,
    body: Result<Json<Decision>, JsonRejection>,
) -> Result<Response, Failure> {
    let Json(decision) = body.map_err(|error| bad_request(error.body_text()))?;
    let is_large = decision.jobs.iter().any(|job| job.orders.len() > ORDERS_PER_JOB_MAX);
    if decision.jobs.len() > JOBS_MAX || is_large {
        let detail = format!("send at most {JOBS_MAX} jobs with at most {ORDERS_PER_JOB_MAX} orders each");
        return Err(Problem::new(code::INVALID, detail).into());
    }
    rows.add(&decision).await?;
    let begun = Instant::now();
    while begun.elapsed() < WAIT {
        if let Some(decided) = rows.outcome(&decision.id).await? {
            return Ok(Json(decided).into_response());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok((StatusCode::ACCEPTED, Json(serde_json::json!({ "id": decision.id }))).into_response())
}

#[cfg(test)]
mod tests {
    use hob_sdk::axum::body::{Body, to_bytes};
    use hob_sdk::axum::http::Request;
    use serde_json::json;
    use takeaway_domain::Decided;
    use takeaway_world::{OrderId, Refusal};
    use tower::ServiceExt;

    use super::*;

    async fn call(rows: &Rows, request: Request<Body>) -> (u16, Value) {
        let response = router(rows.clone()).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    fn get(path: &str) -> Request<Body> {
        Request::get(path).body(Body::empty()).unwrap()
    }

    fn post(body: &Value) -> Request<Body> {
        let request = Request::post("/city/assignments").header("content-type", "application/json");
        request.body(Body::from(body.to_string())).unwrap()
    }

    #[tokio::test]
    async fn before_the_day_begins_there_is_no_status_and_no_truth() {
        let folder = tempfile::tempdir().unwrap();
        let rows = Rows::open(folder.path()).await.unwrap();
        assert_eq!(call(&rows, get("/city/status")).await.0, 503);
        assert_eq!(call(&rows, get("/city/truth")).await, (200, json!([])));
    }

    #[tokio::test]
    async fn a_decision_that_comes_again_gets_the_answer_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let rows = Rows::open(folder.path()).await.unwrap();
        let body = json!({ "id": "d1", "minute": "2026-01-05T12:00:00Z", "jobs": [{ "rider": "c1", "orders": ["o1"] }] });
        rows.add(&serde_json::from_value(body.clone()).unwrap()).await.unwrap();
        let number = rows.open_decisions().await.unwrap()[0].number;
        let refusal = Refusal::OrderNotWaiting { order: OrderId(1) };
        rows.decided(number, &Decided { refusals: vec![Some(refusal)] }).await.unwrap();
        let answer = json!({ "refusals": [{ "reason": "order_not_waiting", "order": "o1" }] });
        assert_eq!(call(&rows, post(&body)).await, (200, answer));
        assert!(rows.open_decisions().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn nonsense_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let rows = Rows::open(folder.path()).await.unwrap();
        assert_eq!(call(&rows, post(&json!({ "id": "d1" }))).await.0, 400);
        let job = json!({ "rider": "c1", "orders": ["o1", "o2", "o3", "o4", "o5"] });
        let body = json!({ "id": "d1", "minute": "2026-01-05T12:00:00Z", "jobs": [job] });
        assert_eq!(call(&rows, post(&body)).await.0, 422);
        assert!(rows.open_decisions().await.unwrap().is_empty());
    }
}
