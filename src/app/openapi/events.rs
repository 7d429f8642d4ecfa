//! The events that webhook endpoints are told, as the document describes them: from the catalogue alone.

use serde_json::{Value, json};

use crate::kernel::{http::front::API_VERSION, outbox::EventInfo};

/// Adds a webhook for every type of event that endpoints can ask for, and the schemas that they need.
pub(super) fn describe(document: &mut Value, events: &[&EventInfo]) {
    let told: Vec<_> = events.iter().filter(|event| event.audience.webhook).collect();
    for event in &told {
        for (name, schema) in event.schemas() {
            let known = &mut document["components"]["schemas"][name];
            if known.is_null() {
                *known = schema;
            }
        }
    }
    document["components"]["schemas"]["WebhookEvent"] = envelope();
    let webhooks = told
        .iter()
        .map(|event| (event.name.to_owned(), json!({ "post": webhook(event) })));
    document["webhooks"] = Value::Object(webhooks.collect());
}

fn webhook(event: &EventInfo) -> Value {
    let data = format!("#/components/schemas/{}", (event.schema)());
    let own = json!({"type": "object", "properties": {"type": {"const": event.name}, "data": {"$ref": data}}});
    json!({
        "operationId": format!("{}_told", event.name.replace('.', "_")),
        "summary": event.name,
        "description": event.description(),
        "security": [],
        "requestBody": {
            "required": true,
            "content": {"application/json": {
                "schema": {"allOf": [{"$ref": "#/components/schemas/WebhookEvent"}, own]},
                "example": {
                    "id": "evt_01jd8qv4x2fkr9s3m5n7p0t1wz", "type": event.name, "timestamp": "2026-11-20T17:30:00.123Z", "api_version": API_VERSION,
                    "workspace_id": "wsp_01jd8qv4x2fkr9s3m5n7p0t1wz", "actor": {"type": "user", "id": "usr_01jd8qv4x2fkr9s3m5n7p0t1wz"},
                    "request_id": "req_01jd8qv4x2fkr9s3m5n7p0t1wz", "data": event.example(),
                },
            }},
        },
        "responses": {"2XX": {"description": "It has arrived. Any other answer, or none within 15 s, is a failure, and it is sent again."}},
    })
}

/// What every event has around its data.
fn envelope() -> Value {
    json!({
        "type": "object",
        "description": "An event, as webhook endpoints are told it. Its request is signed to Standard Webhooks.",
        "required": ["id", "type", "timestamp", "api_version", "workspace_id", "actor", "request_id", "data"],
        "properties": {
            "id": {"$ref": "#/components/schemas/evt_id", "description": "Names the event: the same in every copy."},
            "type": {"type": "string", "description": "What happened; new types may come.", "example": "member.joined"},
            "timestamp": {"type": "string", "format": "date-time", "description": "When it happened."},
            "api_version": {"type": "string", "description": "The version of the API whose words it is told in.", "example": "2026-11-01"},
            "workspace_id": {"$ref": "#/components/schemas/wsp_id", "description": "Where it happened."},
            "actor": {
                "type": "object", "description": "Who did it.", "required": ["type", "id"],
                "properties": {
                    "type": {"type": "string", "description": "What kind of actor; new ones may come.", "example": "user"},
                    "id": {"type": ["string", "null"], "description": "Which one, where it has an id.",
                           "example": "usr_01jd8qv4x2fkr9s3m5n7p0t1wz"},
                },
            },
            "request_id": {"type": "string", "description": "The request that caused it.", "example": "req_01jd8qv4x2fkr9s3m5n7p0t1wz"},
            "data": {"type": "object", "description": "The resource, as a GET shows it. If `thin`: what names it, its `version`, and in `href` the path that shows it, each where there is one."},
            "previous": {"type": "object", "description": "Of an update: the old values of what changed."},
            "thin": {"type": "boolean", "description": "True if the resource is not told whole: it was larger than 256 KiB, or the endpoint asked for that."},
            "test": {"type": "boolean", "description": "True if somebody tries the endpoint out: nothing has happened."},
        },
    })
}
