//! The first people and things of a development stack: an administrator of `platform`, and a demonstration workspace with an API key.
//! All but the first person comes through the front door, as it would for anybody.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{home::Home, secrets::Secrets};
use crate::{app::boot::Deployment, kernel::error::Error};

/// The administrator's address. The name is reserved, so that no mail to it can leave.
const ADMINISTRATOR: &str = "admin@guildhall.test";

/// What people call the demonstration workspace.
const DEMO: &str = "Demo";

/// How somebody who has just started the stack gets in.
#[derive(Serialize, Deserialize)]
pub(super) struct Demonstration {
    /// The administrator's address.
    pub(super) email: String,
    /// The administrator's password, made once for each stack.
    pub(super) password: String,
    /// The readable name of the demonstration workspace.
    pub(super) workspace: String,
    /// A key to it, which may do whatever its owner may.
    pub(super) api_key: String,
}

/// Makes what is missing. What the last start has made is used again for as long as its key opens the workspace.
///
/// # Errors
/// `platform` belongs to somebody else, or the served API refuses what everybody may do.
pub(super) async fn seed(
    deployment: &Deployment,
    home: &Home,
    secrets: &mut Secrets,
    url: &str,
) -> Result<Demonstration> {
    let api = Api {
        client: Client::builder().no_proxy().build()?,
        base: format!("{url}/api/v1"),
    };
    let (workspace, api_key) = patiently(PAUSE, async || demonstration(deployment, &api, secrets).await).await?;
    if secrets.demo_key.as_ref() != Some(&api_key) {
        secrets.demo_key = Some(api_key.clone());
        secrets.keep(home)?;
    }
    Ok(Demonstration {
        email: ADMINISTRATOR.to_owned(),
        password: secrets.administrator.clone(),
        workspace: text(&workspace, "/slug")?,
        api_key,
    })
}

/// Between two tries, while the server has too much to do.
const PAUSE: Duration = Duration::from_secs(1);

/// So often a busy server is asked again.
const TRIES: usize = 20;

/// The server had too much to do, as on a machine that is building something meanwhile.
#[derive(Debug)]
struct Busy(String);

impl std::fmt::Display for Busy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} answered that it has too much to do", self.0)
    }
}

impl std::error::Error for Busy {}

/// Does it again for as long as the server is only busy. What is done so has to find what an earlier try has made.
async fn patiently<T>(pause: Duration, work: impl AsyncFn() -> Result<T>) -> Result<T> {
    let mut tries = 1;
    loop {
        match work().await {
            Err(error) if error.is::<Busy>() && tries < TRIES => tokio::time::sleep(pause).await,
            done => return done,
        }
        tries += 1;
    }
}

/// The demonstration workspace and a key to it: what the last start has made, or new.
async fn demonstration(deployment: &Deployment, api: &Api, secrets: &Secrets) -> Result<(Value, String)> {
    if let Some(key) = &secrets.demo_key
        && let Some(workspace) = api.opened_by(key).await?
    {
        return Ok((workspace, key.clone()));
    }
    made(deployment, api, secrets).await
}

/// The demonstration workspace and a new key to it.
async fn made(deployment: &Deployment, api: &Api, secrets: &Secrets) -> Result<(Value, String)> {
    let link = deployment.identity.bootstrap(ADMINISTRATOR).await;
    let link = link.map_err(|error| match &error {
        Error::Refused(problem) if problem.kind().status == 503 => Busy("the database".to_owned()).into(),
        error => anyhow!("{error}"),
    })?;
    let token = api.administrator(link.expose(), &secrets.administrator).await?;
    let workspace = api.demonstration(&token).await?;
    let wanted = json!({ "name": "Demonstration", "expires_in_days": 365 });
    let asked = api
        .request(Method::POST, "/api-keys")
        .bearer_auth(&token)
        .header("Guildhall-Workspace", text(&workspace, "/id")?)
        .json(&wanted);
    let key = text(&answer(asked).await?, "/secret")?;
    Ok((workspace, key))
}

struct Api {
    client: Client,
    base: String,
}

impl Api {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// The workspace that a key opens, if it opens one here: it may have been revoked, and the database may be another one than last time.
    async fn opened_by(&self, key: &str) -> Result<Option<Value>> {
        let answer = self.request(Method::GET, "/workspace").bearer_auth(key).send().await?;
        match answer.status() {
            StatusCode::OK => Ok(Some(answer.json().await?)),
            StatusCode::UNAUTHORIZED => Ok(None),
            StatusCode::SERVICE_UNAVAILABLE => Err(Busy("/workspace".to_owned()).into()),
            status => bail!("/workspace answered {status}: {}", answer.text().await?),
        }
    }

    /// Gives the administrator the stack's password, and signs in with it. Answers the access token.
    async fn administrator(&self, link: &str, password: &str) -> Result<String> {
        let reset = json!({ "token": link, "password": password });
        answer(self.request(Method::POST, "/auth/password/reset").json(&reset)).await?;
        let login = json!({ "identifier": ADMINISTRATOR, "password": password });
        let session = answer(self.request(Method::POST, "/auth/login").json(&login)).await?;
        text(&session, "/access_token")
    }

    /// The administrator's demonstration workspace, made if it is not there.
    async fn demonstration(&self, token: &str) -> Result<Value> {
        let own = answer(self.request(Method::GET, "/workspaces").bearer_auth(token)).await?;
        let mut own = own["data"].as_array().into_iter().flatten();
        if let Some(known) = own.find(|workspace| workspace["name"] == DEMO && workspace["role"] == "owner") {
            return Ok(known.clone());
        }
        let new = json!({ "name": DEMO });
        answer(self.request(Method::POST, "/workspaces").bearer_auth(token).json(&new)).await
    }
}

/// What a request is answered with, if it is granted.
async fn answer(request: RequestBuilder) -> Result<Value> {
    let answer = request.send().await?;
    let (status, path) = (answer.status(), answer.url().path().to_owned());
    let body = answer.text().await?;
    match status {
        StatusCode::NO_CONTENT => Ok(Value::Null),
        StatusCode::SERVICE_UNAVAILABLE => Err(Busy(path).into()),
        status if status.is_success() => {
            serde_json::from_str(&body).with_context(|| format!("{path} answered something that is no JSON"))
        }
        status => bail!("{path} answered {status}: {body}"),
    }
}

fn text(value: &Value, pointer: &str) -> Result<String> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found
        .map(str::to_owned)
        .with_context(|| format!("an answer has no {pointer}"))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_busy_server_is_asked_again_and_a_refusal_is_taken_at_its_word() {
        let asked = Cell::new(0);
        let answered = |busy: usize| {
            asked.set(asked.get() + 1);
            match asked.get() <= busy {
                true => Err(Busy("/workspaces".to_owned()).into()),
                false => Ok("done"),
            }
        };
        let done = patiently(Duration::ZERO, async || answered(3)).await;
        assert_eq!((done.expect("in the end"), asked.get()), ("done", 4));

        asked.set(0);
        patiently(Duration::ZERO, async || answered(usize::MAX))
            .await
            .expect_err("it never came to it");
        assert_eq!(asked.get(), TRIES);

        asked.set(0);
        let refused = patiently(Duration::ZERO, async || {
            answered(0)?;
            Err::<(), _>(anyhow!("refused"))
        });
        assert_eq!(refused.await.expect_err("refused").to_string(), "refused");
        assert_eq!(asked.get(), 1);
    }
}
