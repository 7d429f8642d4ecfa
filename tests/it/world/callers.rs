//! Those who call, what they ask, and what they are answered.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    sync::LazyLock,
};

use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::Value;

use crate::isolation::routes::operations::{self, Operation};

/// The operations of the document. Reading them takes a third of a second.
static DOCUMENTED: LazyLock<Vec<Operation>> = LazyLock::new(operations::all);

/// The operation that answers at this address, if the document names it.
fn operation(method: &str, address: &str) -> Option<&'static Operation> {
    let path = address.split('?').next().unwrap_or_default();
    let places = |one: &Operation| one.path.matches('{').count();
    let fits = |one: &&Operation| {
        let (own, asked) = (one.path.split('/'), path.split('/'));
        one.method == *method
            && own.clone().count() == asked.clone().count()
            && own.zip(asked).all(|(own, asked)| own == asked || own.starts_with('{'))
    };
    // A word goes before a place that takes any.
    DOCUMENTED.iter().filter(fits).min_by_key(|one| places(one))
}

#[test]
fn an_address_belongs_to_one_operation() {
    for one in operations::all() {
        let address = format!("{}?limit=1", one.address("x"));
        let found = operation(one.method.as_str(), &address).expect("an operation");
        assert_eq!(found.id, one.id);
        assert!(operation("TRACE", &address).is_none());
    }
}

/// Somebody who calls.
#[derive(Clone)]
pub struct Caller {
    client: reqwest::Client,
    base: String,
    credential: Option<String>,
    headers: Vec<(String, String)>,
}

impl Caller {
    pub fn new(client: reqwest::Client, base: &str, credential: Option<String>) -> Caller {
        Caller {
            client,
            base: base.to_owned(),
            credential,
            headers: Vec::new(),
        }
    }

    /// The same caller with another bearer credential.
    pub fn bearer(&self, token: &str) -> Caller {
        Caller {
            credential: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// The same caller before another server.
    pub fn at(&self, base: &str) -> Caller {
        Caller {
            base: base.to_owned(),
            ..self.clone()
        }
    }

    /// The same caller, who always sends this header too.
    pub fn with(&self, name: &str, value: &str) -> Caller {
        let mut caller = self.clone();
        caller.headers.push((name.to_owned(), value.to_owned()));
        caller
    }

    /// What they send as `Authorization: Bearer`.
    pub fn credential(&self) -> &str {
        self.credential.as_deref().expect("a caller with a credential")
    }

    pub fn get(&self, path: &str) -> Ask {
        self.ask(Method::GET, path, None)
    }

    pub fn post(&self, path: &str, body: Value) -> Ask {
        self.ask(Method::POST, path, Some(body))
    }

    /// A POST without a body.
    pub fn act(&self, path: &str) -> Ask {
        self.ask(Method::POST, path, None)
    }

    pub fn put(&self, path: &str, body: Value) -> Ask {
        self.ask(Method::PUT, path, Some(body))
    }

    pub fn patch(&self, path: &str, body: Value) -> Ask {
        self.ask(Method::PATCH, path, Some(body))
    }

    pub fn delete(&self, path: &str) -> Ask {
        self.ask(Method::DELETE, path, None)
    }

    pub fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Ask {
        let root = [
            "/api/",
            "/healthz",
            "/readyz",
            "/openapi",
            "/docs",
            "/problems",
            "/.well-known",
            "/auth/verify",
            "/auth/reset",
            "/dev/",
            "/metrics",
        ];
        let path = if root.iter().any(|start| path.starts_with(start)) {
            path.to_owned()
        } else {
            format!("/api/v1{path}")
        };
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.base));
        if let Some(credential) = &self.credential {
            request = request.bearer_auth(credential);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        Ask {
            request,
            what: format!("{method} {path}"),
        }
    }
}

/// A question on its way.
pub struct Ask {
    request: reqwest::RequestBuilder,
    what: String,
}

impl Ask {
    pub fn header(self, name: &str, value: &str) -> Ask {
        Ask {
            request: self.request.header(name, value),
            ..self
        }
    }

    /// A body as it is, instead of JSON.
    pub fn raw(self, media: &str, body: impl Into<reqwest::Body>) -> Ask {
        Ask {
            request: self.request.header("content-type", media).body(body),
            ..self
        }
    }
}

impl IntoFuture for Ask {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let response = self
                .request
                .send()
                .await
                .unwrap_or_else(|error| panic!("{}: {error:?}", self.what));
            let (status, headers) = (response.status(), response.headers().clone());
            let bytes = response
                .bytes()
                .await
                .unwrap_or_else(|error| panic!("{}: {error:?}", self.what));
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let body = serde_json::from_str(&text).unwrap_or(Value::Null);
            let answer = Answer {
                what: self.what,
                status,
                headers,
                body,
                text,
            };
            answer.against_the_document()
        })
    }
}

/// What was answered.
pub struct Answer {
    what: String,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Answer {
    /// Whoever asked for whatever, it has an `ETag` where the document says so, and nowhere else.
    fn against_the_document(self) -> Answer {
        let (method, address) = self.what.split_once(' ').expect("a method and an address");
        if let Some(one) = operation(method, address) {
            assert_eq!(one.mistagged(&self), None, "{}", self.what);
        }
        self
    }

    #[track_caller]
    fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status.as_u16(), status, "{}: {}", self.what, self.text);
        self
    }

    #[track_caller]
    pub fn ok(self) -> Answer {
        self.expect(200)
    }

    #[track_caller]
    pub fn created(self) -> Answer {
        self.expect(201)
    }

    #[track_caller]
    pub fn accepted(self) -> Answer {
        self.expect(202)
    }

    #[track_caller]
    pub fn gone(self) -> Answer {
        self.expect(204)
    }

    /// A refusal with this code, as a problem document.
    #[track_caller]
    pub fn refused(self, code: &str) -> Answer {
        assert_eq!(self.body["code"], code, "{}: {} {}", self.what, self.status, self.text);
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.what);
        assert_eq!(self.body["status"], self.status.as_u16(), "{}", self.what);
        assert_eq!(self.body["request_id"], self.header("x-request-id"), "{}", self.what);
        self
    }

    /// A 422 whose errors name this pointer and field code.
    #[track_caller]
    pub fn invalid(self, pointer: &str, code: &str) -> Answer {
        let answer = self.refused("validation-failed");
        let errors = answer.body["errors"].as_array().cloned().unwrap_or_default();
        let found = errors
            .iter()
            .any(|error| error["pointer"] == pointer && error["code"] == code);
        assert!(found, "{}: no {code} at {pointer} in {}", answer.what, answer.text);
        answer
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The `id` of the thing.
    #[track_caller]
    pub fn id(&self) -> String {
        self.text_at("/id")
    }

    /// Where the thing is, from `Location`.
    pub fn path(&self) -> String {
        self.header("location").to_owned()
    }

    /// A string of the body.
    #[track_caller]
    pub fn text_at(&self, pointer: &str) -> String {
        let found = self.body.pointer(pointer).and_then(Value::as_str);
        found
            .unwrap_or_else(|| panic!("{}: no text at {pointer} in {}", self.what, self.text))
            .to_owned()
    }
}
