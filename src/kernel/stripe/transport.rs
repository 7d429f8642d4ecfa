//! One request to Stripe: deadlines, retries, keys.

use std::{fmt, time::Duration};

use reqwest::{Method, Response, StatusCode};
use serde::de::DeserializeOwned;
use stripe::StripeRequest;
use stripe_client_core::{RequestBuilder, StripeMethod};

use super::{API_VERSION, PUBLIC_BASE, refusal::StripeError};
use crate::kernel::{secret::Secret, standing::Standing};

/// The road to Stripe. Copies share their connections.
#[derive(Clone)]
pub struct Stripe {
    http: reqwest::Client,
    base: reqwest::Url,
    standing: Standing,
}

/// How long a caller waits, and how often we try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Somebody is waiting for an answer: 8 s in all, one retry.
    Interactive,
    /// A job: 30 s a try, three retries.
    Job,
}

impl Patience {
    fn total(self) -> Duration {
        match self {
            Patience::Interactive => Duration::from_secs(8),
            Patience::Job => Duration::from_secs(30),
        }
    }

    fn pauses(self) -> &'static [u64] {
        match self {
            Patience::Interactive => &[500],
            Patience::Job => &[500, 2_000, 8_000],
        }
    }
}

/// The key of a call with an effect. It names a row of ours, never a click or a time, so that a repeated call is the same call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent(String);

impl Intent {
    /// The key of an intent of this connection: `gld:{connection}:customer:{row}`.
    pub fn new(connection: impl fmt::Display, what: &str, row: impl fmt::Display) -> Intent {
        Intent(format!("gld:{connection}:{what}:{row}"))
    }

    pub(super) fn key(&self) -> &str {
        &self.0
    }
}

impl Stripe {
    /// The road to the operator's Stripe, or to Stripe's own address.
    ///
    /// # Errors
    /// When the address is no URL, or no HTTP client can be made.
    pub fn new(base: Option<&str>) -> anyhow::Result<Stripe> {
        let mut base: reqwest::Url = base.unwrap_or(PUBLIC_BASE).parse()?;
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("Guildhall/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Stripe {
            http,
            base,
            standing: Standing::default(),
        })
    }

    /// How it stands with Stripe.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Performs what a builder of async-stripe describes. A call with an effect carries its intent; one without is a read.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        key: &Secret<String>,
        request: &impl StripeRequest,
        intent: Option<&Intent>,
        patience: Patience,
    ) -> Result<T, StripeError> {
        self.perform(key, request.build(), intent, patience).await
    }

    /// As [`Stripe::send`], for what async-stripe has no builder for.
    pub(super) async fn perform<T: DeserializeOwned>(
        &self,
        key: &Secret<String>,
        request: RequestBuilder,
        intent: Option<&Intent>,
        patience: Patience,
    ) -> Result<T, StripeError> {
        let mut pauses = patience.pauses().iter();
        let started = tokio::time::Instant::now();
        loop {
            let left = match patience {
                Patience::Interactive => patience.total().saturating_sub(started.elapsed()),
                Patience::Job => patience.total(),
            };
            let (error, again) = match tokio::time::timeout(left, self.once(key, &request, intent)).await {
                Ok(Ok(body)) => match decode(&body) {
                    // Not JSON at all: a proxy's page under a good status, or half an answer.
                    Err(StripeError::Away) => (StripeError::Away, true),
                    answer => {
                        self.standing.note(true);
                        return answer;
                    }
                },
                Ok(Err(failure)) => failure,
                Err(_) => (StripeError::Away, true),
            };
            self.standing.note(!matches!(error, StripeError::Away));
            let pause = pauses
                .next()
                .filter(|_| again)
                .map(|millis| Duration::from_millis(millis + jitter(millis / 2)));
            match pause {
                Some(pause) if patience == Patience::Job || started.elapsed() + pause < patience.total() => {
                    tracing::debug!(%error, path = request.path, "Stripe is asked again");
                    tokio::time::sleep(pause).await;
                }
                _ => return Err(error),
            }
        }
    }

    /// One try. A failure comes with the advice whether to try again.
    async fn once(
        &self,
        key: &Secret<String>,
        request: &RequestBuilder,
        intent: Option<&Intent>,
    ) -> Result<Vec<u8>, (StripeError, bool)> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}v1{}", self.base.path(), request.path));
        url.set_query(request.query.as_deref());
        let method = match request.method {
            StripeMethod::Get => Method::GET,
            StripeMethod::Post => Method::POST,
            StripeMethod::Delete => Method::DELETE,
        };
        let mut call = self
            .http
            .request(method, url)
            .bearer_auth(key.expose())
            .header("Stripe-Version", API_VERSION);
        if let Some(intent) = intent {
            call = call.header("Idempotency-Key", intent.key());
        }
        if let Some(form) = &request.body {
            call = call
                .header("Content-Type", "application/x-www-form-urlencoded")
                .body(form.clone());
        }
        let response = call.send().await.map_err(|_| (StripeError::Away, true))?;
        read(response).await
    }
}

async fn read(response: Response) -> Result<Vec<u8>, (StripeError, bool)> {
    let status = response.status();
    let advice = response
        .headers()
        .get("Stripe-Should-Retry")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<bool>().ok());
    let body = response.bytes().await.map_err(|_| (StripeError::Away, true))?;
    if status.is_success() {
        return Ok(body.into());
    }
    let passing = status == StatusCode::CONFLICT || status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
    match StripeError::read(status.as_u16(), &body) {
        Some(error) => Err((error, advice.unwrap_or(passing))),
        // Whatever answered was not Stripe: a proxy, or half an answer.
        None => Err((StripeError::Away, advice.unwrap_or(true))),
    }
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, StripeError> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| match error.inner().classify() {
        serde_json::error::Category::Data => StripeError::Unreadable(error.to_string()),
        _ => StripeError::Away,
    })
}

/// Some milliseconds below the bound, so that many waiting callers do not return at once.
fn jitter(below: u64) -> u64 {
    (uuid::Uuid::new_v4().as_u128() as u64) % below.max(1)
}

#[cfg(test)]
mod tests {
    use super::{Intent, Stripe};

    #[test]
    fn an_address_below_a_path_keeps_its_path() {
        let stripe = Stripe::new(Some("http://127.0.0.1:1/stripe")).expect("an address");
        assert_eq!(stripe.base.as_str(), "http://127.0.0.1:1/stripe/");
    }

    #[test]
    fn a_key_names_the_connection_and_the_row() {
        assert_eq!(
            Intent::new("con_1", "customer", "cst_2").key(),
            "gld:con_1:customer:cst_2"
        );
    }
}
