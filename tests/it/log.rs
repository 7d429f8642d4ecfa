//! What the log says of each request.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    dev::Stack,
    world::{Caller, Wire, patience::found},
};

/// The value of a field in the line of that request.
fn field(stack: &Stack, request: &str, name: &str) -> Option<String> {
    let mark = format!(" request_id={request} ");
    let line = found(
        Duration::from_secs(10),
        || format!("a line of {request}"),
        || {
            let said = stack.said();
            said.lines().find(|line| line.contains(&mark)).map(str::to_owned)
        },
    );
    let words = line
        .split(' ')
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    words.map(str::to_owned)
}

fn text<'v>(running: &'v Value, pointer: &str) -> &'v str {
    running.pointer(pointer).and_then(Value::as_str).expect("a text")
}

#[actix_web::test]
async fn a_request_s_line_says_what_came_and_what_went() {
    let mut stack = Stack::new("log");
    let running = stack.start();
    let (base, key) = (text(&running, "/url"), text(&running, "/demonstration/api_key"));
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let owner = Caller::new(client, base, Some(key.to_owned()));
    let fields = |request: &str, names: [&str; 3]| names.map(|name| field(&stack, request, name));
    let says = |text: &str| Some(text.to_owned());

    let body = json!({ "name": "Echo", "external_id": "log-1" });
    let length = says(&body.to_string().len().to_string());
    for replayed in [None, says("true")] {
        let ask = owner
            .post("/customers", body.clone())
            .header("idempotency-key", "log-1");
        let answer = ask.await.created();
        let sent = says(&answer.text.len().to_string());
        let seen = fields(answer.header("x-request-id"), ["bytes_in", "bytes_out", "replayed"]);
        assert_eq!(seen, [length.clone(), sent, replayed]);
    }
    let known = owner.get("/workspace").await.ok();
    let head = owner.ask(reqwest::Method::HEAD, "/workspace", None).await.ok();
    let names = ["method", "bytes_in", "bytes_out"];
    assert_eq!(fields(head.header("x-request-id"), names), [says("HEAD"), None, None]);
    let same = owner
        .get("/workspace")
        .header("if-none-match", known.header("etag"))
        .await;
    let names = ["status", "bytes_in", "bytes_out"];
    assert_eq!(fields(same.header("x-request-id"), names), [says("304"), None, None]);

    // As much as came, whatever was announced.
    let head = format!(
        "POST /api/v1/customers HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
    );
    for (rest, status, came) in [
        ("content-length: 9999999999999\r\n\r\n", "413", None),
        (
            "transfer-encoding: chunked\r\n\r\n5\r\n{    \r\n2\r\n }\r\n0\r\n\r\n",
            "201",
            says("7"),
        ),
    ] {
        let answer = Wire::exchange(base, format!("{head}{rest}")).await;
        let id = answer.head.lines().find_map(|line| line.strip_prefix("x-request-id: "));
        let seen = fields(id.expect("its id").trim(), ["status", "bytes_in", "replayed"]);
        assert_eq!(seen, [says(status), came, None], "{}", answer.body);
    }
}
