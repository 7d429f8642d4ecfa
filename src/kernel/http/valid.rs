//! A body that was read, understood and judged.

use std::{
    future::{Future, ready},
    ops::{Deref, DerefMut},
    pin::Pin,
};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    http::{
        Method,
        header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    },
};
use aws_lc_rs::digest;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{body, document::Document, front::LetIn};
use crate::kernel::{
    check::{Check, Validate, escape, unfit},
    error::{Error, FieldCode, INVALID_JSON, Result},
    idempotency::Fingerprint,
    shape::shape,
};

/// An acceptable `T` from a JSON body.
pub struct Valid<T> {
    value: T,
    digest: [u8; 32],
}

impl<T> Valid<T> {
    /// The input itself.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> Deref for Valid<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Valid<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Fingerprint for Valid<T> {
    fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

impl<T: DeserializeOwned + Validate + 'static> FromRequest for Valid<T> {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Valid<T>>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        // Of a verb whose fields may all be absent, the body may be, too.
        if *request.method() == Method::POST
            && is_absent(request)
            && let Ok(valid) = parse::<T>(b"{}")
        {
            return Box::pin(ready(Ok(valid)));
        }
        let request = request.clone();
        let mut payload = payload.take();
        Box::pin(async move {
            body::expect_json(&request)?;
            let limit = request
                .extensions()
                .get::<LetIn>()
                .map_or(body::DEFAULT_LIMIT, |let_in| let_in.operation.body_limit);
            let bytes = body::read(&request, &mut payload, limit).await?;
            parse(&bytes)
        })
    }
}

/// The same where the body may be left out.
pub struct IfAny<T>(pub Option<Valid<T>>);

impl<T: DeserializeOwned + Validate + 'static> FromRequest for IfAny<T> {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<IfAny<T>>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        if is_absent(request) {
            return Box::pin(ready(Ok(IfAny(None))));
        }
        let valid = Valid::from_request(request, payload);
        Box::pin(async move { valid.await.map(|valid| IfAny(Some(valid))) })
    }
}

/// True if the request has no body at all.
fn is_absent(request: &HttpRequest) -> bool {
    let headers = request.headers();
    let length = headers.get(CONTENT_LENGTH).map(|length| length.as_bytes());
    length.is_none_or(|length| length == b"0") && !headers.contains_key(TRANSFER_ENCODING)
}

/// Reads and judges a JSON document.
///
/// # Errors
/// 400 `invalid-json`, 422 `validation-failed`.
pub(in crate::kernel) fn parse<T: DeserializeOwned + Validate>(bytes: &[u8]) -> Result<Valid<T>> {
    let Document(document) = serde_json::from_slice(bytes).map_err(|error| {
        let twice = if error.is_data() {
            "A member is there twice. "
        } else {
            ""
        };
        INVALID_JSON.because(format!("{twice}Line {}, column {}.", error.line(), error.column()))
    })?;
    let mut check = Check::default();
    walk(&document, &mut String::new(), 0, &mut check)?;
    check.done()?;
    let canonical = serde_json_canonicalizer::to_vec(&document).map_err(|_| INVALID_JSON)?;
    let digest = digest::digest(&digest::SHA256, &canonical)
        .as_ref()
        .try_into()
        .expect("32 bytes");
    let value: T = shape(&document).map_err(unfit)?;
    let mut check = Check::default();
    value.validate(&mut check);
    check.done()?;
    Ok(Valid { value, digest })
}

const DEPTH: usize = 64;
const ELEMENTS: usize = 1_000;
const SAFE_INTEGER: i64 = (1 << 53) - 1;

/// What no document may have, whatever it is for: too deep, too many elements, U+0000 (which PostgreSQL cannot hold), integers that
/// JSON readers cannot hold.
fn walk(value: &Value, pointer: &mut String, depth: usize, check: &mut Check) -> Result<()> {
    if depth > DEPTH {
        return Err(INVALID_JSON.because(format!("At most {DEPTH} levels deep.")).into());
    }
    let length = pointer.len();
    match value {
        Value::String(text) if text.contains('\0') => {
            check.refuse(
                pointer.as_str(),
                FieldCode::InvalidCharacters,
                "U+0000 cannot be stored.",
            );
        }
        Value::Number(number) => {
            let safe = number
                .as_i64()
                .is_none_or(|n| (-SAFE_INTEGER..=SAFE_INTEGER).contains(&n));
            if !safe || number.as_u64().is_some_and(|n| n > SAFE_INTEGER as u64) {
                check.refuse(
                    pointer.as_str(),
                    FieldCode::TooLarge,
                    "Integers are within ±(2^53 − 1).",
                );
            }
        }
        Value::Array(elements) => {
            if elements.len() > ELEMENTS {
                check.refuse(pointer.as_str(), FieldCode::TooMany, format!("At most {ELEMENTS}."));
                return Ok(());
            }
            for (place, element) in elements.iter().enumerate() {
                *pointer += &format!("/{place}");
                walk(element, pointer, depth + 1, check)?;
                pointer.truncate(length);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                *pointer += &format!("/{}", escape(name));
                if name.contains('\0') {
                    check.refuse(
                        pointer.replace('\0', "\u{fffd}"),
                        FieldCode::InvalidCharacters,
                        "U+0000 cannot be stored.",
                    );
                }
                walk(member, pointer, depth + 1, check)?;
                pointer.truncate(length);
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::kernel::{error::FieldError, id::UserId};

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Pet {
        name: String,
        legs: u8,
        #[serde(default)]
        owner: Option<UserId>,
        #[serde(default)]
        kind: Option<Kind>,
    }

    #[derive(Deserialize, Debug)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Cat,
    }

    impl Validate for Pet {
        fn validate(&self, check: &mut Check) {
            check.text("/name", &self.name, 1..=5);
        }
    }

    fn refused(body: &str) -> Vec<FieldError> {
        match parse::<Pet>(body.as_bytes()) {
            Err(Error::Refused(problem)) => problem.case().errors.clone(),
            other => panic!(
                "{:?}",
                other.map(|pet| format!("{:?} {:?} {:?} {:?}", pet.name, pet.legs, pet.owner, pet.kind))
            ),
        }
    }

    #[test]
    fn a_field_error_says_where_and_what() {
        for (body, pointer, code) in [
            (r#"{"name":"Tom","legs":4,"tail":1}"#, "/tail", FieldCode::UnknownField),
            (r#"{"name":"Tom"}"#, "/legs", FieldCode::Required),
            (r#"{"name":7,"legs":4}"#, "/name", FieldCode::WrongType),
            (r#"{"name":"Tom","legs":400}"#, "/legs", FieldCode::TooLarge),
            (
                r#"{"name":"Tom","legs":4,"owner":"usr_1"}"#,
                "/owner",
                FieldCode::NotFound,
            ),
            (
                r#"{"name":"Tom","legs":4,"kind":"dog"}"#,
                "/kind",
                FieldCode::InvalidChoice,
            ),
            (r#"{"name":"T\u0000m","legs":4}"#, "/name", FieldCode::InvalidCharacters),
            (r#"{"name":"Thomas","legs":4}"#, "/name", FieldCode::TooLong),
            (
                r#"{"name":"Tom","legs":9007199254740992}"#,
                "/legs",
                FieldCode::TooLarge,
            ),
        ] {
            let errors = refused(body);
            assert_eq!((errors[0].pointer.as_str(), errors[0].code), (pointer, code), "{body}");
        }
    }

    #[test]
    fn what_is_no_document_is_refused_whole() {
        let deep = format!("{}{}", "[".repeat(66), "]".repeat(66));
        for body in ["", "{", "nul", "{\"name\":\"\u{1}\"}", &deep, "[1] [2]"] {
            assert!(
                parse::<Pet>(body.as_bytes()).err().expect("refused").is(INVALID_JSON),
                "{body}"
            );
        }
        assert!(parse::<Pet>(b"\xff").err().expect("refused").is(INVALID_JSON));
    }

    #[test]
    fn the_fingerprint_is_that_of_the_meaning() {
        let one = parse::<Pet>(br#"{"name":"Tom","legs":4}"#).expect("acceptable");
        let two = parse::<Pet>(b"{\"legs\": 4,\n \"name\": \"Tom\"}").expect("acceptable");
        assert_eq!(one.digest(), two.digest());
        assert_ne!(
            one.digest(),
            parse::<Pet>(br#"{"name":"Tim","legs":4}"#)
                .expect("acceptable")
                .digest()
        );
    }
}
