//! The first people and things of a development stack: an administrator of `platform`, and a demonstration workspace with an API key.
//! All but the first person comes through the front door, as it would for anybody.

use anyhow::{Context, Result, anyhow, bail};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{home::Home, secrets::Secrets};
use crate::app::boot::Deployment;

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
    let opened = match &secrets.demo_key {
        Some(key) => api.opened_by(key).await?.map(|workspace| (workspace, key.clone())),
        None => None,
    };
    let (workspace, api_key) = match opened {
        Some(known) => known,
        None => made(deployment, &api, secrets).await?,
    };
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

/// The demonstration workspace and a new key to it.
async fn made(deployment: &Deployment, api: &Api, secrets: &Secrets) -> Result<(Value, String)> {
    let link = deployment.identity.bootstrap(ADMINISTRATOR).await;
    let link = link.map_err(|error| anyhow!("{error}"))?;
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
