//! The OpenAPI 3.1 document, derived from the list of endpoints (spec.openapis.org/oas/v3.1.0).

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::auth::Who;
use crate::endpoint::Endpoint;

/// The document that describes `endpoints`.
pub(crate) fn document(endpoints: &[Endpoint]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<hob_wire::Problem>();
    name_shapes(&mut generator);
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in endpoints {
        let operation = operation(endpoint, &mut generator);
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[endpoint.method.as_str().to_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Hob",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Ships, runs, connects, watches and mends services, and shows which orders need a human now."
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {"problem": {
                "description": "It did not work; the problem says why, and what to do.",
                "content": {"application/problem+json": {"schema": problem}}
            }},
            "schemas": generator.take_definitions(true)
        }
    })
}

/// Frames travel by websocket, and resources within their links, so neither would have a name of its own; the console's
/// types are made of these names.
fn name_shapes(generator: &mut SchemaGenerator) {
    generator.subschema_for::<hob_wire::FromClient>();
    generator.subschema_for::<hob_wire::ToClient>();
    generator.subschema_for::<hob_wire::Issue>();
    generator.subschema_for::<hob_wire::Instance>();
    generator.subschema_for::<hob_wire::Record>();
    generator.subschema_for::<hob_wire::Release>();
    generator.subschema_for::<hob_wire::Rollout>();
    generator.subschema_for::<hob_wire::Rule>();
    generator.subschema_for::<hob_wire::Series>();
    generator.subschema_for::<hob_wire::ServiceSummary>();
    generator.subschema_for::<hob_wire::Status>();
    generator.subschema_for::<hob_wire::Me>();
    generator.subschema_for::<hob_wire::Event>();
    generator.subschema_for::<hob_wire::Topic>();
    generator.subschema_for::<hob_wire::Entity>();
    generator.subschema_for::<hob_wire::SubscriptionState>();
    generator.subschema_for::<hob_wire::DeadLetter>();
    generator.subschema_for::<hob_wire::Touched>();
}

fn operation(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Value {
    let in_path = endpoint.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = in_path
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    parameters.extend(endpoint.params.iter().map(
        |p| json!({"name": p.name, "in": "query", "description": p.about, "schema": {"type": "string"}}),
    ));
    let (status, media_type, schema) = endpoint.answer;
    let mut answer = json!({"description": "It worked."});
    if status != 204 {
        let schema = schema.map_or_else(|| json!({}), |schema| schema(generator).into());
        answer["content"] = json!({media_type: {"schema": schema}});
    }
    let mut operation = json!({
        "operationId": operation_id(endpoint),
        "summary": endpoint.summary,
        "description": format!("Serves {}.", endpoint.who.told()),
        "parameters": parameters,
        "responses": {status.to_string(): answer, "default": {"$ref": "#/components/responses/problem"}}
    });
    if let Some((media_type, schema)) = &endpoint.body {
        let schema = schema.map_or_else(|| json!({}), |schema| schema(generator).into());
        operation["requestBody"] = json!({"required": true, "content": {*media_type: {"schema": schema}}});
    }
    if endpoint.who == Who::Public {
        operation["security"] = json!([]);
    }
    operation
}

/// `GET /v1/services/{service}/releases` becomes `get_services_service_releases`.
fn operation_id(endpoint: &Endpoint) -> String {
    let path = endpoint.path.trim_start_matches("/v1").replace(['{', '}', '.'], "");
    format!("{}{}", endpoint.method.as_str().to_lowercase(), path.replace('/', "_"))
}
