//! The first people and things of a development stack: an administrator of `platform`, and a demonstration workspace with an API key.
//! All but the first person comes through the front door, as it would for anybody.

use anyhow::{Context, Result, anyhow, bail};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use super::{home::Home, secrets::Secrets};
use crate::{app::boot::Deployment, kernel::secret::Secret};

/// The administrator's address. The name is reserved: no mail to it can leave.
pub(super) const ADMINISTRATOR: &str = "admin@guildhall.test";

/// The demonstration's readable name.
const DEMO: &str = "demo";

/// Makes what is missing; answers whether anything was.
///
/// # Errors
/// The served API refuses what everybody may do.
pub(super) async fn seed(deployment: &Deployment, home: &Home, secrets: &mut Secrets, url: &str) -> Result<bool> {
    let api = Api { client: Client::builder().no_proxy().build()?, base: format!("{url}/api/v1") };
    if let Some(key) = &secrets.demo_key
        && api.answers(key).await?
    {
        return Ok(false);
    }
    let link = deployment.identity.found(ADMINISTRATOR).await.map_err(|refusal| anyhow!("{refusal}"))?;
    let token = api.administrator(&link, &secrets.administrator).await?;
    let workspace = api.demonstration(&token).await?;
    let wanted = json!({ "name": "Demonstration", "expires_in_days": 365 });
    let key = api.ask(Method::POST, "/api-keys", &token, Some(&workspace), wanted).await?;
    secrets.demo_key = Some(text(&key, "/secret")?);
    secrets.keep(home)?;
    Ok(true)
}

struct Api {
    client: Client,
    base: String,
}

impl Api {
    /// True if the key opens a workspace here: the database may be another one than last time.
    async fn answers(&self, key: &str) -> Result<bool> {
        let answer = self.client.get(format!("{}/workspace", self.base)).bearer_auth(key).send().await?;
        Ok(answer.status().is_success())
    }

    /// Gives the administrator the stack's password, and signs in with it.
    async fn administrator(&self, link: &Secret<String>, password: &str) -> Result<String> {
        let reset = json!({ "token": link.expose(), "password": password });
        self.ask(Method::POST, "/auth/password/reset", "", None, reset).await?;
        let login = json!({ "identifier": ADMINISTRATOR, "password": password });
        text(&self.ask(Method::POST, "/auth/login", "", None, login).await?, "/access_token")
    }

    /// The demonstration workspace, made if it is not there.
    async fn demonstration(&self, token: &str) -> Result<String> {
        let own = self.ask(Method::GET, "/workspaces", token, None, Value::Null).await?;
        let known = own["data"].as_array().into_iter().flatten().find(|workspace| workspace["slug"] == DEMO);
        match known {
            Some(workspace) => text(workspace, "/id"),
            None => {
                let wanted = json!({ "name": "Demo", "slug": DEMO });
                text(&self.ask(Method::POST, "/workspaces", token, None, wanted).await?, "/id")
            }
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        token: &str,
        workspace: Option<&str>,
        body: Value,
    ) -> Result<Value> {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if let Some(workspace) = workspace {
            request = request.header("Guildhall-Workspace", workspace);
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        if !status.is_success() {
            bail!("{path} answered {status}: {body}");
        }
        match status {
            StatusCode::NO_CONTENT => Ok(Value::Null),
            _ => serde_json::from_str(&body).with_context(|| format!("{path} answered something that is no JSON")),
        }
    }
}

fn text(value: &Value, pointer: &str) -> Result<String> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.map(str::to_owned).with_context(|| format!("an answer has no {pointer}"))
}
