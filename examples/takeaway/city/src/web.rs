//! The city's small web process: how the day goes, the truth for scoring, and the doors for what dispatch decides and for
//! what operators do.

use std::time::Duration;

use hob_sdk::axum::extract::rejection::JsonRejection;
use hob_sdk::axum::extract::{Path, State};
use hob_sdk::axum::http::{HeaderMap, StatusCode};
use hob_sdk::axum::response::{IntoResponse, Response};
use hob_sdk::axum::routing::{get, post};
use hob_sdk::axum::{Json, Router};
use hob_sdk::core::{Id, code};
use hob_sdk::server::{Failure, bad_request, not_found};
use hob_sdk::wire::Problem;
use serde_json::{Value, json};
use takeaway_domain::{Decided, Decision};
use takeaway_world::{Input, ORDERS_PER_JOB_MAX, Refusal, SimTime};
use tokio::time::Instant;

use crate::rows::Rows;

/// How long an answer waits for the worker.
const WAIT: Duration = Duration::from_secs(2);
/// The pause between looks at what the worker has made of it.
const LOOK_EVERY: Duration = Duration::from_millis(3);
/// Jobs in one decision.
const JOBS_MAX: usize = 1000;
/// Bytes of an `Idempotency-Key`.
const KEY_BYTES_MAX: usize = 200;

pub(crate) fn router(rows: Rows) -> Router {
    Router::new()
        .route("/city/status", get(status))
        .route("/city/truth", get(truth))
        .route("/city/assignments", post(assign))
        .route("/city/{collection}/{id}/{relation}", post(intervene))
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
    if !decision.interventions.is_empty() {
        let detail = "dispatch gives jobs; what operators want is posted to the links of what it is about";
        return Err(Problem::new(code::INVALID, detail).into());
    }
    match decided(&rows, &decision).await? {
        Some(decided) => Ok(Json(decided).into_response()),
        None => Ok((StatusCode::ACCEPTED, Json(json!({ "id": decision.id }))).into_response()),
    }
}

/// What an operator, or a rule, does about an order, a rider or a restaurant. When nothing is wrong that it could mend, it
/// is done all the same, and the answer says so. The same `Idempotency-Key` does it once.
async fn intervene(
    State(rows): State<Rows>,
    Path((collection, id, relation)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let missing = || not_found(format!("there is no {relation} of {id} among the {collection}"));
    let input = Input::of_link(&collection, &id, &relation).ok_or_else(missing)?;
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let key = key.filter(|key| key.len() <= KEY_BYTES_MAX).map_or_else(Id::short, str::to_owned);
    let id = format!("intervention-{collection}-{id}-{relation}-{key}");
    // Of no minute: dispatch's are what time waits for.
    let minute = SimTime::from_seconds(0);
    let decision = Decision { id, minute, jobs: Vec::new(), interventions: vec![input] };
    let Some(decided) = decided(&rows, &decision).await? else {
        return Ok((StatusCode::ACCEPTED, Json(json!({ "id": decision.id }))).into_response());
    };
    match decided.refusals.into_iter().flatten().next() {
        None => Ok(Json(json!({ "mended": true })).into_response()),
        Some(Refusal::NothingToMend) => Ok(Json(json!({ "mended": false })).into_response()),
        Some(refusal) => Err(Problem::new(code::CONFLICT, format!("failed to {refusal}")).into()),
    }
}

/// Hands a decision to the worker; what became of it, unless the worker is slower than a caller should wait.
async fn decided(rows: &Rows, decision: &Decision) -> Result<Option<Decided>, Failure> {
    rows.add(decision).await?;
    let begun = Instant::now();
    while begun.elapsed() < WAIT {
        if let Some(decided) = rows.outcome(&decision.id).await? {
            return Ok(Some(decided));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use hob_sdk::axum::body::{Body, to_bytes};
    use hob_sdk::axum::http::Request;
    use takeaway_world::{OrderId, RestaurantId};
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
    async fn what_an_operator_does_is_done_once_for_each_key() {
        let folder = tempfile::tempdir().unwrap();
        let rows = Rows::open(folder.path()).await.unwrap();
        let call_it = |rows: Rows, path: &'static str| async move {
            let request = Request::post(path).header("idempotency-key", "k1").body(Body::empty()).unwrap();
            call(&rows, request).await
        };
        assert_eq!(call_it(rows.clone(), "/city/restaurants/r1/dance").await.0, 404);
        assert_eq!(call_it(rows.clone(), "/city/restaurants/c1/call").await.0, 404);
        let asked = tokio::spawn(call_it(rows.clone(), "/city/restaurants/r1/call"));
        let recorded = loop {
            match rows.open_decisions().await.unwrap().pop() {
                Some(recorded) => break recorded,
                None => tokio::task::yield_now().await,
            }
        };
        let restaurant = RestaurantId(1);
        assert_eq!(recorded.decision.interventions, [Input::CallRestaurant { restaurant }]);
        rows.decided(recorded.number, &Decided { refusals: vec![Some(Refusal::NothingToMend)] })
            .await
            .unwrap();
        assert_eq!(asked.await.unwrap(), (200, json!({ "mended": false })));
        let again = call_it(rows.clone(), "/city/restaurants/r1/call").await;
        assert_eq!(again, (200, json!({ "mended": false })));
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
