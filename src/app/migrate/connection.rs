//! Connections by hand, for what runs before the two doors exist, and the quoting that such SQL needs.

use anyhow::{Context, Result};
use diesel::{Connection, PgConnection};
use url::Url;

use crate::kernel::{db, secret::Secret};

/// Opens a connection.
pub(super) fn connect(url: &str) -> Result<PgConnection> {
    let url = db::impatient(db::address("the database's address", &Secret::new(url.to_owned()))?);
    #[expect(clippy::disallowed_methods, reason = "migrations run before the two doors exist")]
    let link = PgConnection::establish(url.expose()).map_err(db::told);
    link.with_context(|| format!("PostgreSQL cannot be reached at {}", without_password(url.expose())))
}

/// The same server as somebody else, in another database.
pub(super) fn address(url: &str, database: &str, login: Option<(&str, Option<&str>)>) -> Result<String> {
    let mut url = parse(url)?;
    url.set_path(database);
    if let Some((user, password)) = login {
        sign_in(&mut url, user, password);
    }
    Ok(url.into())
}

/// Puts user and password where libpq looks for them: before the host or, where the host is a socket's folder, among the parameters.
fn sign_in(url: &mut Url, user: &str, password: Option<&str>) {
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .into_owned()
        .filter(|(name, _)| name != "user" && name != "password")
        .collect();
    url.set_query(None);
    let in_front = url.set_username(user).is_ok() && url.set_password(password).is_ok();
    let login = [("user", Some(user)), ("password", password)];
    let login = login
        .into_iter()
        .filter(|_| !in_front)
        .filter_map(|(name, value)| Some((name, value?)));
    for (name, value) in kept
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .chain(login)
    {
        url.query_pairs_mut().append_pair(name, value);
    }
}

/// The database that a URL names.
pub(super) fn database_of(url: &str) -> Result<String> {
    Ok(parse(url)?.path().trim_start_matches('/').to_owned())
}

fn parse(url: &str) -> Result<Url> {
    let url = db::address("the database's address", &Secret::new(url.to_owned()))?;
    Url::parse(url.expose()).context("the database's address names several servers; name the one to work at")
}

/// For messages.
pub(super) fn without_password(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut url) => {
            // A URL without a host has no password in front either.
            let _ = url.set_password(None);
            url.set_query(None);
            url.into()
        }
        Err(_) => "any of the servers that its address names".into(),
    }
}

/// An identifier, quoted.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text, quoted.
pub(super) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_changes_its_user_and_database_and_keeps_the_rest() {
        let over_tcp = "postgres://root:secret@db.example:6000/postgres?sslmode=require";
        assert_eq!(
            address(over_tcp, "guildhall", Some(("app_tenant", Some("p@ss")))).expect("a URL"),
            "postgres://app_tenant:p%40ss@db.example:6000/guildhall?sslmode=require"
        );
        let over_a_socket = "postgres:///postgres?host=/run/pg&user=root";
        assert_eq!(
            address(over_a_socket, "g", Some(("app_kernel", None))).expect("a URL"),
            "postgres:///g?host=%2Frun%2Fpg&user=app_kernel"
        );
        assert_eq!(database_of("postgres://h/a").expect("a URL"), "a");
    }

    #[test]
    fn several_servers_are_libpqs_business_and_no_place_to_make_roles_at() {
        let several = "postgres://root:secret@127.0.0.1:1,127.0.0.1:2/g";
        let away = format!("{:#}", connect(several).err().expect("nobody is there"));
        assert!(
            away.contains("any of the servers") && away.contains("port 2") && !away.contains("secret"),
            "{away}"
        );
        let which = format!("{:#}", address(several, "x", None).expect_err("which?"));
        assert!(
            which.contains("names several servers") && !which.contains("secret"),
            "{which}"
        );
    }

    #[test]
    fn a_message_about_an_address_holds_no_password() {
        let shown = without_password("postgres://root:secret@h/a?password=secret");
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn a_quoted_name_stays_one_name() {
        assert_eq!(identifier(r#"a"; DROP"#), r#""a""; DROP""#);
        assert_eq!(text("a'b"), "'a''b'");
    }
}
