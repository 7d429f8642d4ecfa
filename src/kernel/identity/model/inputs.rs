//! What callers send.

use serde::Deserialize;
use utoipa::ToSchema;

use super::address::Address;
use crate::kernel::{
    check::{Check, Validate, trimmed, trimmed_option},
    error::FieldCode,
    secret::Secret,
};

crate::words! {
    /// How the tokens of a session travel.
    pub enum Transport {
        /// In the body: for programs.
        Body "body",
        /// In cookies that scripts cannot read: for browsers.
        Cookie "cookie",
    }
}

/// Names that would read as ours.
const RESERVED: [&str; 12] = [
    "admin",
    "administrator",
    "api",
    "guildhall",
    "help",
    "me",
    "owner",
    "platform",
    "root",
    "security",
    "support",
    "system",
];

/// Notes what is wrong with an address.
fn judge_address(check: &mut Check, pointer: &str, text: &str) {
    if Address::parse(text).is_none() {
        check.refuse(
            pointer,
            FieldCode::InvalidFormat,
            "An e-mail address, as ann@example.com.",
        );
    }
}

/// Notes what is wrong with a name that people choose for themselves.
pub(super) fn judge_username(check: &mut Check, name: &str) {
    check.text("/username", name, 3..=30);
    if !name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
        check.refuse(
            "/username",
            FieldCode::InvalidFormat,
            "Lower-case letters, digits and underscores.",
        );
    }
    if RESERVED.contains(&name) {
        check.refuse("/username", FieldCode::NotUnique, "That name is reserved.");
    }
}

/// Notes a credential that is too long to be one. What is wrong with it otherwise, only the database can tell.
fn judge_token(check: &mut Check, pointer: &str, token: &Secret<String>) {
    if token.expose().len() > 200 {
        check.refuse(pointer, FieldCode::TooLong, "At most 200 characters.");
    }
}

/// Notes a password that could not be right. The policy is for new ones.
fn judge_password(check: &mut Check, pointer: &str, password: &Secret<String>) {
    if password.expose().chars().count() > 1_024 {
        check.refuse(pointer, FieldCode::TooLong, "At most 1,024 characters.");
    }
}

/// A new account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"email": "ann@example.com", "password": "seven green lamps hum", "display_name": "Ann"}))]
pub struct Registration {
    /// The address; a link is mailed there.
    #[serde(deserialize_with = "trimmed")]
    #[schema(max_length = 254, format = "email")]
    pub email: String,
    /// The password: 15 to 128 characters that nobody would try first. Spaces are welcome.
    #[schema(value_type = String, format = "password", max_length = 128)]
    pub password: Secret<String>,
    /// What people call the person. Made from the address if absent.
    #[serde(default, deserialize_with = "trimmed_option")]
    #[schema(min_length = 1, max_length = 100)]
    pub display_name: Option<String>,
    /// A public name to sign in with: lower-case letters, digits and underscores.
    #[serde(default, deserialize_with = "trimmed_option")]
    #[schema(min_length = 3, max_length = 30)]
    pub username: Option<String>,
    /// The language of mails, as `en` or `pt-BR`.
    #[serde(default, deserialize_with = "trimmed_option")]
    #[schema(max_length = 35)]
    pub locale: Option<String>,
    /// The invitation that this follows.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 200)]
    pub invitation_token: Option<Secret<String>>,
    /// The version of the terms that the person agreed to.
    #[serde(default, deserialize_with = "trimmed_option")]
    #[schema(max_length = 40)]
    pub terms_version: Option<String>,
}

impl Validate for Registration {
    fn validate(&self, check: &mut Check) {
        judge_address(check, "/email", &self.email);
        judge_password(check, "/password", &self.password);
        if let Some(name) = &self.display_name {
            check.line("/display_name", name, 1..=100);
        }
        if let Some(name) = &self.username {
            judge_username(check, name);
        }
        if let Some(locale) = &self.locale {
            check.locale("/locale", locale);
        }
        if let Some(token) = &self.invitation_token {
            judge_token(check, "/invitation_token", token);
        }
        if let Some(version) = &self.terms_version {
            check.line("/terms_version", version, 1..=40);
        }
    }
}

/// Proof that an address is the caller's own: the mailed token, and what only whoever registered knows, or a password typed now.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"token": "gld_live_ot_0123456789ABCDEFGHIJKLMNOPQRST3Q0mO4", "client_token": "gld_live_ot_0123456789ABCDEFGHIJKLMNOPQRST3Q0mO4"}))]
pub struct Proof {
    /// The token that was mailed.
    #[schema(value_type = String, max_length = 200)]
    pub token: Secret<String>,
    /// The token that registering answered with: the password that was chosen then holds.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 200)]
    pub client_token: Option<Secret<String>>,
    /// A password typed now: it holds instead of the one that was chosen when registering.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = "password", max_length = 128)]
    pub password: Option<Secret<String>>,
}

impl Validate for Proof {
    fn validate(&self, check: &mut Check) {
        judge_token(check, "/token", &self.token);
        match (&self.client_token, &self.password) {
            (None, None) => check.refuse("/client_token", FieldCode::Required, "This, or a password."),
            (Some(_), Some(_)) => check.refuse("/password", FieldCode::ConflictsWith, "This, or a client_token."),
            (Some(token), None) => judge_token(check, "/client_token", token),
            (None, Some(password)) => judge_password(check, "/password", password),
        }
    }
}

/// Asks for the mail again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"email": "ann@example.com"}))]
pub struct Resend {
    /// The address that was registered.
    #[serde(deserialize_with = "trimmed")]
    #[schema(max_length = 254, format = "email")]
    pub email: String,
    /// Which registration is meant, where there are several of the address: the newest without it.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 200)]
    pub client_token: Option<Secret<String>>,
}

impl Validate for Resend {
    fn validate(&self, check: &mut Check) {
        judge_address(check, "/email", &self.email);
        if let Some(token) = &self.client_token {
            judge_token(check, "/client_token", token);
        }
    }
}

/// Signing in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"identifier": "ann@example.com", "password": "seven green lamps hum"}))]
pub struct Login {
    /// The address, or the user name.
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 254)]
    pub identifier: String,
    /// The password.
    #[schema(value_type = String, format = "password", max_length = 1024)]
    pub password: Secret<String>,
    /// Whether the session outlasts the day: 30 days instead of 12 hours.
    #[serde(default)]
    pub remember: bool,
    /// How the tokens travel; `body` without it.
    #[serde(default = "body")]
    #[schema(default = "body")]
    pub transport: Transport,
}

fn body() -> Transport {
    Transport::Body
}

impl Validate for Login {
    fn validate(&self, check: &mut Check) {
        check.line("/identifier", &self.identifier, 1..=254);
        judge_password(check, "/password", &self.password);
    }
}

/// The refresh token of a session.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"refresh_token": "gld_live_rt_00000000000000000000000000000000000000000000000000280nRb"}))]
pub struct Renewal {
    /// The refresh token. Browsers whose tokens travel in cookies leave it out.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 200)]
    pub refresh_token: Option<Secret<String>>,
}

impl Validate for Renewal {
    fn validate(&self, check: &mut Check) {
        if let Some(token) = &self.refresh_token {
            judge_token(check, "/refresh_token", token);
        }
    }
}

/// Whose password was forgotten.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"email": "ann@example.com"}))]
pub struct Forgotten {
    /// The address of the account.
    #[serde(deserialize_with = "trimmed")]
    #[schema(max_length = 254, format = "email")]
    pub email: String,
}

impl Validate for Forgotten {
    fn validate(&self, check: &mut Check) {
        judge_address(check, "/email", &self.email);
    }
}

/// A new password, by the token that was mailed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"token": "gld_live_ot_0123456789ABCDEFGHIJKLMNOPQRST3Q0mO4", "password": "seven green lamps hum"}))]
pub struct Reset {
    /// The token that was mailed.
    #[schema(value_type = String, max_length = 200)]
    pub token: Secret<String>,
    /// The new password.
    #[schema(value_type = String, format = "password", max_length = 128)]
    pub password: Secret<String>,
}

impl Validate for Reset {
    fn validate(&self, check: &mut Check) {
        judge_token(check, "/token", &self.token);
        judge_password(check, "/password", &self.password);
    }
}

/// A new password, by the present one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"current_password": "seven green lamps hum", "new_password": "eight red lamps flicker"}))]
pub struct NewPassword {
    /// The present password.
    #[schema(value_type = String, format = "password", max_length = 1024)]
    pub current_password: Secret<String>,
    /// The new password.
    #[schema(value_type = String, format = "password", max_length = 128)]
    pub new_password: Secret<String>,
}

impl Validate for NewPassword {
    fn validate(&self, check: &mut Check) {
        judge_password(check, "/current_password", &self.current_password);
        judge_password(check, "/new_password", &self.new_password);
        if self.current_password == self.new_password {
            check.refuse(
                "/new_password",
                FieldCode::ConflictsWith,
                "Another one than the present password.",
            );
        }
    }
}

/// Proves again who is signed in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"password": "seven green lamps hum"}))]
pub struct StepUp {
    /// The password.
    #[schema(value_type = String, format = "password", max_length = 1024)]
    pub password: Secret<String>,
}

impl Validate for StepUp {
    fn validate(&self, check: &mut Check) {
        judge_password(check, "/password", &self.password);
    }
}
