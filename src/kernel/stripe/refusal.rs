//! What Stripe says, in our words.

use std::fmt;

use serde::Deserialize;

use crate::kernel::error::{DEPENDENCY_UNAVAILABLE, Error, NOT_FOUND, Outcome, Problem};

crate::problems! {
    /// The issuer of the card refuses the payment, or its holder has to confirm it first. `next` says what helps:
    /// `try_other_card`, `authenticate` or `contact_bank`; `decline_code` is the issuer's reason.
    /// Cause: too little money, a card that has expired, or a bank that wants its customer to confirm.
    /// Fix: do what `next` says, then try again.
    pub PAYMENT_DECLINED = 402, "payment-declined", "The payment was declined";
    /// The price does not exist any more, is archived, or cannot be bought in this way.
    /// Cause: an old price list, kept on a page or in a program.
    /// Fix: choose another price.
    pub PRICE_UNAVAILABLE = 409, "price-unavailable", "That price is not available";
    /// A customer pays in one currency, and this price is in another; `currency` is the customer's.
    /// Cause: the first purchase was in another currency.
    /// Fix: choose a price in that currency.
    pub CURRENCY_MISMATCH = 409, "currency-mismatch", "The customer pays in another currency";
}

/// Why a call to Stripe gave no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StripeError {
    /// 404: the object is not in this account and mode.
    Missing,
    /// The card was refused, or wants its holder.
    Declined { code: String, decline_code: Option<String> },
    /// The key is wrong, lacks a permission, or the account is closed.
    Denied(String),
    /// Any other refusal; programs branch on the code, people read the message.
    Refused {
        status: u16,
        code: String,
        param: Option<String>,
        message: String,
    },
    /// Network, time-out, rate limit or a fault of Stripe's own: whether it acted is not known.
    Away,
    /// An answer without a field that we need; the text names it.
    Unreadable(String),
}

#[derive(Deserialize)]
struct Body {
    error: Told,
}

#[derive(Deserialize)]
struct Told {
    #[serde(rename = "type")]
    kind: Option<String>,
    code: Option<String>,
    decline_code: Option<String>,
    param: Option<String>,
    message: Option<String>,
}

impl StripeError {
    /// Reads an error body; `None` if it is not one of Stripe's.
    pub(super) fn read(status: u16, body: &[u8]) -> Option<StripeError> {
        let Body { error } = serde_json::from_slice(body).ok()?;
        let code = error.code.unwrap_or_default();
        let message = error.message.unwrap_or_default();
        let holder = ["authentication_required", "invoice_payment_intent_requires_action"].contains(&code.as_str());
        let declined = status == 402 || error.kind.as_deref() == Some("card_error") || holder;
        Some(match status {
            404 => StripeError::Missing,
            401 | 403 => StripeError::Denied(message),
            429 | 500.. => StripeError::Away,
            409 if code == "lock_timeout" || code == "idempotency_key_in_use" => StripeError::Away,
            _ if declined => StripeError::Declined {
                code,
                decline_code: error.decline_code,
            },
            _ => StripeError::Refused {
                status,
                code,
                param: error.param,
                message,
            },
        })
    }

    /// What the customer can do about a declined payment.
    fn next(code: &str, decline_code: Option<&str>) -> &'static str {
        const BANK: [&str; 5] = [
            "insufficient_funds",
            "card_velocity_exceeded",
            "withdrawal_count_limit_exceeded",
            "call_issuer",
            "do_not_honor",
        ];
        match decline_code.unwrap_or_default() {
            "authentication_required" => "authenticate",
            reason if BANK.contains(&reason) => "contact_bank",
            _ if code == "authentication_required" || code == "invoice_payment_intent_requires_action" => {
                "authenticate"
            }
            _ => "try_other_card",
        }
    }
}

impl fmt::Display for StripeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StripeError::Missing => f.write_str("Stripe does not know it"),
            StripeError::Declined { code, decline_code } => write!(f, "declined: {code} {decline_code:?}"),
            StripeError::Denied(message) => write!(f, "Stripe denies us: {message}"),
            StripeError::Refused {
                status, code, message, ..
            } => write!(f, "Stripe refuses ({status} {code}): {message}"),
            StripeError::Away => f.write_str("Stripe is away"),
            StripeError::Unreadable(field) => write!(f, "Stripe's answer cannot be read: {field}"),
        }
    }
}

impl std::error::Error for StripeError {}

impl From<StripeError> for Error {
    fn from(error: StripeError) -> Error {
        let away = |outcome| {
            Problem::from(DEPENDENCY_UNAVAILABLE)
                .with("dependency", "stripe")
                .outcome(outcome)
        };
        match &error {
            StripeError::Missing => NOT_FOUND.into(),
            StripeError::Declined { code, decline_code } => PAYMENT_DECLINED
                .with("decline_code", decline_code.as_deref().unwrap_or(code))
                .with("next", StripeError::next(code, decline_code.as_deref()))
                .into(),
            StripeError::Denied(_) => away(Outcome::None).into(),
            StripeError::Away => away(Outcome::Unknown).into(),
            StripeError::Refused { param, code, .. } if about_price(code, param.as_deref()) => PRICE_UNAVAILABLE.into(),
            StripeError::Refused { message, .. } if message.contains("combine currencies") => {
                let currency = message
                    .split_whitespace()
                    .last()
                    .unwrap_or_default()
                    .trim_end_matches('.');
                CURRENCY_MISMATCH.with("currency", currency.to_lowercase()).into()
            }
            StripeError::Refused { .. } | StripeError::Unreadable(_) => Error::Broken(error.into()),
        }
    }
}

fn about_price(code: &str, param: Option<&str>) -> bool {
    let named = param.is_some_and(|param| param.contains("price"));
    named
        && [
            "resource_missing",
            "parameter_invalid",
            "product_inactive",
            "price_inactive",
            "",
        ]
        .contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, error: serde_json::Value) -> StripeError {
        StripeError::read(status, serde_json::json!({ "error": error }).to_string().as_bytes()).expect("Stripe's shape")
    }

    #[test]
    fn a_declined_card_says_what_helps() {
        let funds =
            serde_json::json!({ "type": "card_error", "code": "card_declined", "decline_code": "insufficient_funds" });
        let Error::Refused(problem) = Error::from(read(402, funds)) else {
            panic!("not a refusal")
        };
        assert_eq!(problem.kind(), PAYMENT_DECLINED);
        assert_eq!(
            StripeError::next("card_declined", Some("insufficient_funds")),
            "contact_bank"
        );
        assert_eq!(
            StripeError::next("card_declined", Some("stolen_card")),
            "try_other_card"
        );
        assert_eq!(StripeError::next("authentication_required", None), "authenticate");
    }

    #[test]
    fn each_answer_has_its_meaning() {
        let plain = |code: &str| serde_json::json!({ "type": "invalid_request_error", "code": code, "message": "No." });
        assert!(Error::from(read(404, plain("resource_missing"))).is(NOT_FOUND));
        assert!(Error::from(read(403, plain("account_invalid"))).is(DEPENDENCY_UNAVAILABLE));
        assert_eq!(read(429, plain("rate_limit")), StripeError::Away);
        assert_eq!(read(409, plain("lock_timeout")), StripeError::Away);
        let price = serde_json::json!({ "type": "invalid_request_error", "code": "resource_missing", "param": "items[0][price]" });
        assert!(Error::from(read(400, price)).is(PRICE_UNAVAILABLE));
        let currency = serde_json::json!({ "type": "invalid_request_error",
            "message": "You cannot combine currencies on a single customer. This customer has an active subscription in eur." });
        assert!(Error::from(read(400, currency)).is(CURRENCY_MISMATCH));
        assert_eq!(StripeError::read(502, b"<html>bad gateway</html>"), None);
    }
}
