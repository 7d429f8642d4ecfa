//! What every operation has, added by rule: its tag, its security, the headers it takes and the refusals it may answer with.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use crate::kernel::{example::example, http::front::API_VERSION};

/// Completes the description of the mounted routes.
///
/// # Errors
/// An operation without an `operation_id` of the right form, or one that two operations share.
pub(super) fn complete(document: &mut Value) -> Result<()> {
    document["openapi"] = json!("3.1.0");
    document["jsonSchemaDialect"] = json!("https://spec.openapis.org/oas/3.1/dialect/base");
    let components = document["components"].as_object_mut().context("no components")?;
    components.entry("schemas").or_insert_with(|| json!({}))["Problem"] = problem_schema();
    components.insert("securitySchemes".into(), security_schemes());
    components.insert("parameters".into(), parameters());
    components.insert("headers".into(), headers());

    let schemas = document["components"]["schemas"].clone();
    exemplify(&mut document["components"]["schemas"], &schemas);
    let mut ids = Vec::new();
    let paths = document["paths"].as_object_mut().context("no paths")?;
    for (path, item) in paths.iter_mut() {
        for method in ["get", "post", "put", "patch", "delete"] {
            if let Some(operation) = item.get_mut(method).and_then(Value::as_object_mut) {
                ids.push(operation_id(operation).with_context(|| format!("{method} {path}"))?);
                if method == "post" && path.contains('{') {
                    spare_body(operation, &schemas);
                }
                finish(path, method, operation);
            }
        }
    }
    tag_answers(paths);
    // A scheme that no operation uses says nothing.
    let used = paths.values().any(|item| item.to_string().contains("\"x-license\""));
    if !used && let Some(schemes) = document["components"]["securitySchemes"].as_object_mut() {
        schemes.remove("license");
    }
    ids.sort();
    let twin = ids
        .windows(2)
        .find(|pair| pair[0] == pair[1])
        .map(|pair| pair[0].clone());
    ensure!(twin.is_none(), "two operations are called {}", twin.unwrap_or_default());
    let mut tags: Vec<_> = ids.iter().map(|id| tag(id)).collect();
    tags.dedup();
    document["tags"] = tags
        .into_iter()
        .map(|name| json!({"name": name, "description": about(name)}))
        .collect();
    Ok(())
}

/// What a GET shows with an `ETag` has one in every answer that shows it; what is shown with something beside it says so itself.
fn tag_answers(paths: &mut Map<String, Value>) {
    let shown = |answer: &Value| {
        answer["content"]["application/json"]["schema"]["$ref"]
            .as_str()
            .map(str::to_owned)
    };
    let gets = paths.values().map(|item| &item["get"]["responses"]);
    let tagged = gets.filter(|responses| responses.get("304").is_some());
    let tagged: BTreeSet<String> = tagged.filter_map(|responses| shown(&responses["200"])).collect();
    for operation in paths
        .values_mut()
        .filter_map(Value::as_object_mut)
        .flat_map(Map::values_mut)
    {
        for status in ["200", "201"] {
            let Some(answer) = operation.pointer_mut(&format!("/responses/{status}")) else {
                continue;
            };
            let is_tagged = shown(answer).is_some_and(|shown| tagged.contains(&shown));
            let Some(headers) = answer["headers"].as_object_mut() else {
                continue;
            };
            if is_tagged || headers.contains_key("ETag") {
                headers.insert("ETag".into(), json!({"$ref": "#/components/headers/ETag"}));
            }
        }
    }
}

/// Whatever has no example of its own gets one that is made of its parts' examples.
fn exemplify(described: &mut Value, schemas: &Value) {
    for schema in described.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if schema.get("example").is_none() && schema.get("examples").is_none() {
            schema["example"] = example(schema, &|name| schemas.get(name));
        }
    }
}

/// The body of a verb may be absent if all of its fields may be.
fn spare_body(operation: &mut Map<String, Value>, schemas: &Value) {
    let Some(body) = operation.get_mut("requestBody") else {
        return;
    };
    let name = body["content"]["application/json"]["schema"]["$ref"].as_str();
    let schema = name.and_then(|name| schemas.get(name.rsplit('/').next()?));
    let needs_none =
        |schema: &Value| schema["type"] == "object" && schema["required"].as_array().is_none_or(Vec::is_empty);
    if schema.is_some_and(needs_none) {
        body["required"] = json!(false);
    }
}

/// `resource_action`.
fn operation_id(operation: &Map<String, Value>) -> Result<String> {
    let id = operation
        .get("operationId")
        .and_then(Value::as_str)
        .context("no operation_id")?;
    let shaped = id.contains('_')
        && id
            .split('_')
            .all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
        && id.starts_with(|c: char| c.is_ascii_lowercase());
    ensure!(shaped, "the operation_id {id} is not of the form resource_action");
    Ok(id.to_owned())
}

fn tag(id: &str) -> &str {
    id.split('_').next().unwrap_or(id)
}

/// Why an operation that writes takes no `Idempotency-Key`, if it takes none: the list that may only shrink.
fn unkeyed(id: &str) -> Option<&'static str> {
    static LIST: LazyLock<BTreeMap<String, String>> =
        LazyLock::new(|| toml::from_str(include_str!("unkeyed.toml")).expect("a test reads the list"));
    LIST.get(id).map(String::as_str)
}

/// What a group of operations is about. A tag without a line of its own is described by its name.
fn about(tag: &str) -> String {
    match tag {
        "auth" => "Signing up, in and out.".into(),
        "me" => "The person who is signed in.".into(),
        "health" => "Whether the process lives, and should get traffic.".into(),
        "documents" => "The API's description of itself.".into(),
        "problems" => "What each refusal means.".into(),
        "inbox" => "Events of payment providers.".into(),
        other => format!("Everything about {other}."),
    }
}

fn finish(path: &str, method: &str, operation: &mut Map<String, Value>) {
    let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
    operation.insert("tags".into(), json!([tag(&id)]));
    let facts = Facts {
        public: operation.contains_key("x-public"),
        scoped: operation.contains_key("x-permission"),
        placed: operation.contains_key("x-workspace"),
        license: operation.contains_key("x-license"),
        software_only: operation.get("x-license").is_some_and(|said| said == "only"),
        body: operation.contains_key("requestBody"),
        writes: method != "get",
        versioned: operation.contains_key("x-if-match"),
        placeholder: path.contains('{'),
        signs_in: id.starts_with("auth"),
        pages: operation
            .get("parameters")
            .and_then(Value::as_array)
            .is_some_and(|all| all.iter().any(|one| one["name"] == "cursor")),
    };
    operation.insert("security".into(), facts.security());
    let idempotent = operation.contains_key("x-idempotent");
    let tagged = operation["responses"].get("304").is_some();
    if let Some(why) = unkeyed(&id) {
        let said = operation.get("description").and_then(Value::as_str).unwrap_or_default();
        let described = format!("{said}\n\nTakes no `Idempotency-Key`; one that is sent is not looked at: {why}");
        operation.insert("description".into(), described.trim().into());
    }
    if let Some(list) = operation
        .entry("parameters")
        .or_insert_with(|| json!([]))
        .as_array_mut()
    {
        let named = |name: &str| json!({"$ref": format!("#/components/parameters/{name}")});
        list.extend((facts.scoped || facts.placed).then(|| named("Workspace")));
        list.extend(idempotent.then(|| named("IdempotencyKey")));
        list.extend(facts.versioned.then(|| named("IfMatch")));
        list.extend(tagged.then(|| named("IfNoneMatch")));
    }
    if let Some(responses) = operation
        .entry("responses")
        .or_insert_with(|| json!({}))
        .as_object_mut()
    {
        for (status, response) in responses.iter_mut() {
            if let (Some('4'), Some(meaning)) = (status.chars().next(), response["description"].as_str()) {
                *response = refusal(meaning);
            }
            name_headers(response);
        }
        for status in ["200", "304"] {
            if tagged && let Some(headers) = responses[status]["headers"].as_object_mut() {
                headers.insert("ETag".into(), json!({"$ref": "#/components/headers/ETag"}));
            }
        }
        for (status, meaning) in facts.refusals() {
            responses.entry(status.to_string()).or_insert_with(|| refusal(meaning));
        }
    }
}

/// What the refusals of an operation follow from.
struct Facts {
    public: bool,
    scoped: bool,
    /// It tells of a person in the workspace that they name.
    placed: bool,
    license: bool,
    /// No other credential will do.
    software_only: bool,
    body: bool,
    writes: bool,
    /// It is only done to the version that the caller saw, if they say which.
    versioned: bool,
    placeholder: bool,
    signs_in: bool,
    /// It is a list.
    pages: bool,
}

impl Facts {
    fn security(&self) -> Value {
        let mut ways = Vec::new();
        if !self.public && !self.software_only {
            ways.extend([json!({"token": []}), json!({"api_key": []}), json!({"cookie": []})]);
        }
        if self.license {
            ways.push(json!({"license": []}));
        }
        Value::Array(ways)
    }

    fn refusals(&self) -> Vec<(u16, &'static str)> {
        let known = !self.public;
        let all = [
            (400, "The request cannot be understood.", true),
            (
                401,
                "The credential is missing or not valid.",
                known || self.license || self.signs_in,
            ),
            (402, "The plan does not allow it.", self.scoped && self.writes),
            (403, "The caller may not do this.", known || self.writes),
            (404, "There is no such thing.", self.placeholder || known),
            (406, "Not in that media type.", self.pages),
            (408, "The request took too long to arrive.", self.body),
            (409, "Not in its present state.", self.writes),
            (410, "No longer there.", self.placeholder && known),
            (412, "It was changed meanwhile.", self.versioned),
            (413, "The body is too large.", self.body),
            (415, "Not in this media type.", self.body),
            (422, "Some fields are not acceptable.", self.writes),
            (428, "Say which version you are changing.", self.versioned),
            (429, "Too many requests.", true),
            (500, "Something broke on our side.", true),
            (503, "Too busy, or something that is needed is away.", true),
        ];
        all.into_iter()
            .filter(|(_, _, applies)| *applies)
            .map(|(status, meaning, _)| (status, meaning))
            .collect()
    }
}

/// The headers that every answer has.
fn name_headers(response: &mut Value) {
    if let Some(response) = response.as_object_mut()
        && let Some(kept) = response.entry("headers").or_insert_with(|| json!({})).as_object_mut()
    {
        kept.insert("X-Request-Id".into(), json!({"$ref": "#/components/headers/RequestId"}));
        kept.insert(
            "Guildhall-Version".into(),
            json!({"$ref": "#/components/headers/Version"}),
        );
    }
}

fn refusal(meaning: &str) -> Value {
    json!({
        "description": meaning,
        "headers": {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}, "Guildhall-Version": {"$ref": "#/components/headers/Version"}},
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    })
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "description": "A refusal (RFC 9457). Programs branch on `code`, which never changes its meaning; `detail` is for people. \
                        Some codes have further members; the page that `type` names describes them.",
        "required": ["type", "title", "status", "code", "request_id"],
        "additionalProperties": true,
        "properties": {
            "type": {"type": "string", "format": "uri", "description": "The page of this kind of refusal."},
            "title": {"type": "string", "description": "The same sentence for every occurrence."},
            "status": {"type": "integer", "minimum": 400, "maximum": 599, "description": "The HTTP status."},
            "detail": {"type": "string", "description": "A sentence for people about this occurrence."},
            "code": {"type": "string", "description": "What programs branch on. New codes may come."},
            "request_id": {"type": "string", "description": "Names the request in our logs."},
            "errors": {
                "type": "array",
                "description": "The fields that are not acceptable.",
                "items": {
                    "type": "object",
                    "description": "One field that is not acceptable.",
                    "required": ["pointer", "code", "detail"],
                    "properties": {
                        "pointer": {"type": "string", "description": "A JSON pointer into the body, or `query/…`, `header/…`, `path/…`."},
                        "code": {"type": "string", "description": "What is wrong with it. New codes may come."},
                        "detail": {"type": "string", "description": "The same for people."}
                    }
                }
            },
            "retry_after_seconds": {"type": "integer", "minimum": 1, "description": "When to try again; the same as the header `Retry-After`."},
            "outcome": {"type": "string", "description": "With 503: `none`, or `unknown` when a write may have happened: repeat it with the same `Idempotency-Key`."}
        },
        "example": {
            "type": "https://api.example.com/problems/validation-failed", "title": "Some fields are not acceptable", "status": 422,
            "detail": "1 field needs attention.", "code": "validation-failed", "request_id": "req_01jd8qv4x2fkr9s3m5n7p0t1wz",
            "errors": [{"pointer": "/name", "code": "too-long", "detail": "At most 100 characters."}]
        }
    })
}

fn security_schemes() -> Value {
    json!({
        "token": {"type": "http", "scheme": "bearer", "description": "An access token from `POST /api/v1/auth/login`, or an API key."},
        "api_key": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "An API key, `gld_…`."},
        "cookie": {"type": "apiKey", "in": "cookie", "name": "__Host-gld_at", "description": "The session cookie of a browser."},
        "license": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "`License` and a licence key: the customer's software."}
    })
}

fn parameters() -> Value {
    json!({
        "Workspace": {
            "name": "Guildhall-Workspace", "in": "header", "required": false, "schema": {"type": "string"},
            "description": "The id or slug of the workspace that the request is about. Only needed by people who belong to several."
        },
        "IdempotencyKey": {
            "name": "Idempotency-Key", "in": "header", "required": false, "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
            "description": "Your name for this effect. A repetition within 24 hours gets the first answer again, and has no second effect."
        },
        "IfMatch": {
            "name": "If-Match", "in": "header", "required": false, "schema": {"type": "string"},
            "description": "The `ETag` that you read. If the thing was changed since, the answer is 412."
        },
        "IfNoneMatch": {
            "name": "If-None-Match", "in": "header", "required": false, "schema": {"type": "string"},
            "description": "The `ETag` of what you have. If it is still so, the answer is 304 and has no body."
        }
    })
}

fn headers() -> Value {
    json!({
        "RequestId": {"description": "Names the request in our logs.", "schema": {"type": "string"}},
        "Version": {"description": "The API version that answered.", "schema": {"type": "string", "example": API_VERSION}},
        "ETag": {"required": true, "description": "Which version this is, and where time alone changes what is shown, what it made of it: for `If-Match` and `If-None-Match`.", "schema": {"type": "string", "example": "\"3\""}}
    })
}
