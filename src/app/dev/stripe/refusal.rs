//! Errors in Stripe's shape.

use serde_json::{Value, json};

/// What a handler of the stub answers.
pub type Told<T> = Result<T, Refusal>;

/// An answer that is not 2xx.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The body: `{"error": {…}}`.
    pub body: Value,
}

impl Refusal {
    fn invalid_request(status: u16, code: &str, param: Option<&str>, message: &str) -> Self {
        let error = json!({ "type": "invalid_request_error", "code": code, "message": message, "param": param,
            "doc_url": format!("https://stripe.com/docs/error-codes/{}", code.replace('_', "-")) });
        Self {
            status,
            body: json!({ "error": error }),
        }
    }

    /// An object that does not exist: 404 when it is the address, 400 when a parameter names it.
    pub(super) fn no_such(kind: &str, id: &str, param: &str) -> Self {
        let status = if param == "id" { 404 } else { 400 };
        Self::invalid_request(
            status,
            "resource_missing",
            Some(param),
            &format!("No such {kind}: '{id}'"),
        )
    }

    pub(super) fn unknown_address(method: &str, path: &str) -> Self {
        let message = format!("Unrecognized request URL ({method}: /v1/{path}).");
        let error = json!({ "type": "invalid_request_error", "message": message });
        Self {
            status: 404,
            body: json!({ "error": error }),
        }
    }

    pub(super) fn missing_parameter(name: &str) -> Self {
        Self::invalid_request(
            400,
            "parameter_missing",
            Some(name),
            &format!("Missing required param: {name}."),
        )
    }

    pub(super) fn unknown_parameter(name: &str) -> Self {
        Self::invalid_request(
            400,
            "parameter_unknown",
            Some(name),
            &format!("Received unknown parameter: {name}"),
        )
    }

    pub(super) fn invalid(name: &str, message: &str) -> Self {
        Self::invalid_request(400, "parameter_invalid", Some(name), message)
    }

    /// A state in which the request makes no sense, such as paying a paid invoice.
    pub(super) fn state(code: &str, message: &str) -> Self {
        Self::invalid_request(400, code, None, message)
    }

    pub(super) fn no_key() -> Self {
        let error = json!({ "type": "invalid_request_error",
            "message": "You did not provide an API key. Use Authorization: Bearer YOUR_SECRET_KEY." });
        Self {
            status: 401,
            body: json!({ "error": error }),
        }
    }

    pub(super) fn wrong_key(last4: &str) -> Self {
        let message = format!("Invalid API Key provided: sk_test_****{last4}");
        let error = json!({ "type": "invalid_request_error", "message": message });
        Self {
            status: 401,
            body: json!({ "error": error }),
        }
    }

    pub(super) fn key_reused() -> Self {
        let message =
            "Keys for idempotent requests can only be used with the same parameters they were first used with.";
        Self {
            status: 400,
            body: json!({ "error": { "type": "idempotency_error", "message": message } }),
        }
    }

    /// A card that its issuer refuses.
    pub(super) fn declined(decline_code: &str, payment_intent: Value) -> Self {
        let error = json!({ "type": "card_error", "code": "card_declined", "decline_code": decline_code,
            "message": "Your card was declined.", "payment_intent": payment_intent });
        Self {
            status: 402,
            body: json!({ "error": error }),
        }
    }

    /// A fault that was asked for.
    pub(super) fn fault(status: u16) -> Self {
        let error = match status {
            429 => json!({ "type": "invalid_request_error", "code": "rate_limit", "message": "Too many requests." }),
            409 => json!({ "type": "invalid_request_error", "code": "lock_timeout", "message": "Object locked." }),
            401 | 403 => json!({ "type": "invalid_request_error", "code": "account_invalid", "message": "Closed." }),
            _ => json!({ "type": "api_error", "message": "An unknown error occurred." }),
        };
        Self {
            status,
            body: json!({ "error": error }),
        }
    }
}
