//! The CloudEvents SDK for Rust, against Hob. See ../../README.md.

use axum::Router;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cloudevents::binding::reqwest::RequestBuilderExt;
use cloudevents::{AttributesReader, Data, Event, EventBuilder, EventBuilderV10};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let given: Value = serde_json::from_str(&arguments[2])?;
    match arguments[1].as_str() {
        "publish" => publish(&given).await,
        _ => receive(&given).await,
    }
}

fn event_of(case: &Value, id: &str) -> Result<Event, Failure> {
    let attributes = case["attributes"].as_object().ok_or("a case has attributes")?;
    let mut builder = EventBuilderV10::new().id(id);
    for (name, value) in attributes {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        builder = match name.as_str() {
            "type" => builder.ty(text),
            "source" => builder.source(text),
            "subject" => builder.subject(text),
            "time" => builder.time(text),
            "datacontenttype" | "dataschema" => builder,
            _ => match value.as_i64() {
                Some(number) => builder.extension(name, number),
                None => builder.extension(name, text),
            },
        };
    }
    let media_type = attributes.get("datacontenttype").and_then(Value::as_str);
    let data = match (case.get("data_base64").and_then(Value::as_str), case.get("data")) {
        (Some(text), _) => Some(Data::Binary(STANDARD.decode(text)?)),
        (None, Some(Value::String(text))) => Some(Data::String(text.clone())),
        (None, Some(value)) => Some(Data::Json(value.clone())),
        (None, None) => None,
    };
    let schema = attributes.get("dataschema").and_then(Value::as_str);
    if let Some(data) = data {
        let media_type = media_type.unwrap_or("application/json");
        builder = match schema {
            Some(schema) => builder.data_with_schema(media_type, schema.to_owned(), data),
            None => builder.data(media_type, data),
        };
    }
    Ok(builder.build()?)
}

async fn publish(given: &Value) -> Result<(), Failure> {
    let (api, token) = (given["api"].as_str().unwrap_or(""), given["token"].as_str().unwrap_or(""));
    let client = reqwest::Client::new();
    for (n, case) in given["cases"].as_array().into_iter().flatten().enumerate() {
        for mode in ["structured", "binary", "batch"] {
            let id = format!("{}-{n}-{mode}", given["run"].as_str().unwrap_or(""));
            let event = event_of(case, &id)?;
            let url = format!("{api}/v1/topics/{}/events", case["topic"].as_str().unwrap_or(""));
            let request = client.post(url).bearer_auth(token);
            let request = match mode {
                "binary" => request.event(event)?,
                "structured" => request
                    .header("content-type", "application/cloudevents+json")
                    .body(serde_json::to_vec(&event)?),
                _ => request
                    .header("content-type", "application/cloudevents-batch+json")
                    .body(serde_json::to_vec(&[event])?),
            };
            let answer = request.send().await?;
            let line = if answer.status().is_success() {
                let published: Value = answer.json().await?;
                json!({"case": n, "mode": mode, "id": id, "sequence": published["first"]})
            } else {
                json!({"case": n, "mode": mode, "id": id, "error": answer.text().await?})
            };
            println!("{line}");
        }
    }
    Ok(())
}

async fn receive(given: &Value) -> Result<(), Failure> {
    let one = |mode: &'static str| {
        post(move |event: Event| async move {
            say(mode, event);
            axum::http::StatusCode::NO_CONTENT
        })
    };
    let batch = post(|body: String| async move {
        match serde_json::from_str::<Vec<Event>>(&body) {
            Ok(events) => events.into_iter().for_each(|event| say("batch", event)),
            Err(error) => println!("{}", json!({"mode": "batch", "error": error.to_string(), "body": body})),
        }
        axum::http::StatusCode::NO_CONTENT
    });
    let app = Router::new()
        .route("/structured", one("structured"))
        .route("/binary", one("binary"))
        .route("/batch", batch);
    let port = given["port"].as_u64().unwrap_or(0);
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    axum::serve(listener, app).await?;
    Ok(())
}

fn say(mode: &str, event: Event) {
    let mut attributes = serde_json::to_value(&event).unwrap_or_default();
    if let Some(members) = attributes.as_object_mut() {
        members.remove("data");
        members.remove("data_base64");
        members.insert("id".to_owned(), json!(event.id()));
    }
    let line = match event.data() {
        Some(Data::Binary(bytes)) if event.datacontenttype().is_some_and(|kind| kind.contains("json")) => {
            let data = serde_json::from_slice::<Value>(bytes).unwrap_or_default();
            json!({"mode": mode, "attributes": attributes, "data": data})
        }
        Some(Data::Binary(bytes)) if event.datacontenttype().is_some_and(|kind| kind.starts_with("text/")) => {
            json!({"mode": mode, "attributes": attributes, "data": String::from_utf8_lossy(bytes)})
        }
        Some(Data::Binary(bytes)) => {
            json!({"mode": mode, "attributes": attributes, "data_base64": STANDARD.encode(bytes)})
        }
        Some(Data::String(text)) => json!({"mode": mode, "attributes": attributes, "data": text}),
        Some(Data::Json(value)) => json!({"mode": mode, "attributes": attributes, "data": value}),
        None => json!({"mode": mode, "attributes": attributes, "data": null}),
    };
    println!("{line}");
}
