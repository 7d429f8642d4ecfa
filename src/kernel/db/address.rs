//! Where the database is: a URL that holds a password, and is therefore never shown, neither whole nor in libpq's words about it.

use anyhow::{Result, bail, ensure};
use diesel::ConnectionError;
use url::Url;

use crate::kernel::{check::is_percent_encoded, secret::Secret};

const EXPECTED: &str =
    "expected postgres://user:password@host:5432/database, what is special in a password percent-encoded";

/// The address as libpq reads it without a doubt: a URL, what is special in it percent-encoded; it may name several servers
/// (<https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>). `name` is the variable that holds it.
///
/// # Errors
/// What is wrong with it, without saying any of it.
pub fn address(name: &str, text: &Secret<String>) -> Result<Secret<String>> {
    let text = text.expose().trim();
    let (one, others) = first_of_several(text);
    let Ok(url) = Url::parse(&one) else {
        bail!("{name} is no URL; {EXPECTED}");
    };
    ensure!(
        matches!(url.scheme(), "postgres" | "postgresql"),
        "{name} does not begin with postgres://; {EXPECTED}"
    );
    ensure!(
        is_percent_encoded(text),
        "{name} has a % that is not followed by two hexadecimal digits; {EXPECTED}"
    );
    if let Some(why) = url.query_pairs().find_map(|(key, value)| is_hopeless(&key, &value)) {
        bail!("{name} {why}");
    }
    if others && url.as_str() != one {
        bail!("{name} names several servers and needs percent-encoding; {EXPECTED}");
    }
    Ok(Secret::new(if others { text.to_owned() } else { url.into() }))
}

/// The same address with the first server alone, and whether there are others: lists of servers are libpq's own idea.
fn first_of_several(text: &str) -> (String, bool) {
    let start = text.find("://").map_or(0, |at| at + 3);
    let end = text[start..].find(['/', '?']).map_or(text.len(), |at| start + at);
    let servers = text[start..end].rfind('@').map_or(start, |at| start + at + 1);
    match text[servers..end].split_once(',') {
        Some((first, _)) => (format!("{}{first}{}", &text[..servers], &text[end..]), true),
        None => (text.to_owned(), false),
    }
}

/// What a parameter must not say, for nothing could be opened by it, and the process would wait for ever: what it means is elsewhere, or no
/// server lets a login begin as somebody else.
fn is_hopeless(name: &str, value: &str) -> Option<&'static str> {
    let begins_as = |setting: &str| {
        let flat: String = value.to_lowercase().split_whitespace().collect();
        let flat = flat.replace("session-", "session_");
        [format!("-c{setting}="), format!("--{setting}=")]
            .iter()
            .any(|said| flat.contains(said.as_str()))
    };
    match name {
        "service" | "servicefile" => Some("names a service: say here what the service says"),
        "options" if ["role", "session_authorization"].into_iter().any(begins_as) => {
            Some("has options that begin as another role: log in as the role itself")
        }
        _ => None,
    }
}

/// Why a connection could not be opened. libpq quotes an address that it cannot read: that is left out.
pub fn told(error: ConnectionError) -> ConnectionError {
    match error {
        ConnectionError::BadConnection(text) if !is_of_a_server(&text) => ConnectionError::BadConnection(format!(
            "the database's address cannot be used as it is (it is not shown, for it holds a password); {EXPECTED}"
        )),
        error => error,
    }
}

/// Whether it says how a server answered, or that none did: not what an address looks like.
fn is_of_a_server(text: &str) -> bool {
    ["connection to server", "could not translate host name"]
        .iter()
        .any(|start| text.starts_with(start))
}

#[cfg(test)]
mod tests {
    use diesel::{Connection, PgConnection};

    use super::*;

    fn read(text: &str) -> Result<String> {
        address("DATABASE_TENANT_URL", &Secret::new(text.to_owned())).map(|url| url.expose().clone())
    }

    #[test]
    fn an_address_that_can_be_read_is_given_to_libpq_as_it_must_be() {
        for (text, canonical) in [
            ("postgres://u:p@h/d", "postgres://u:p@h/d"),
            (
                "postgresql://u:p%40@h:6000/d?sslmode=require",
                "postgresql://u:p%40@h:6000/d?sslmode=require",
            ),
            (" postgres://u:p@ss word@h/d\n", "postgres://u:p%40ss%20word@h/d"),
            ("postgres:///d?host=/run/pg&user=u", "postgres:///d?host=/run/pg&user=u"),
            (
                "postgresql://u:p@db1:5432,db2:5433/x",
                "postgresql://u:p@db1:5432,db2:5433/x",
            ),
        ] {
            assert_eq!(read(text).expect("readable"), canonical);
        }
    }

    #[test]
    fn whatever_is_wrong_is_said_without_the_password() {
        for text in [
            "postgre://app:S3CRET@db/d",
            "app:S3CRET@db/d",
            "postgres://app:S3CRET%ET@db/d",
            "postgres://app:S3CRET/PW@db/d",
            "host=db password=S3CRET",
            "postgres://app:S3 CRET@db1,db2/d",
            "S3CRET",
            "",
        ] {
            let refused = read(text).expect_err(text).to_string();
            assert!(refused.contains("DATABASE_TENANT_URL"), "{refused}");
            assert!(!refused.contains("S3CRET"), "{refused}");
        }
    }

    #[test]
    fn what_nothing_can_be_opened_by_is_refused_before_it_is_tried_for_ever() {
        for (said, why) in [
            ("service=guildhall", "names a service"),
            ("sslmode=require&servicefile=/etc/pg.conf", "names a service"),
            ("options=-crole%3Downer", "another role"),
            ("options=-c%20Role%20%3D%20owner", "another role"),
            ("options=-c%20work_mem%3D1MB%20--role%3Downer", "another role"),
            ("options=-csession_authorization%3Downer", "another role"),
            ("options=--session-authorization%3Downer", "another role"),
        ] {
            let refused = read(&format!("postgres://u:S3CRET@h/d?{said}"))
                .expect_err(said)
                .to_string();
            assert!(
                refused.starts_with("DATABASE_TENANT_URL ") && refused.contains(why),
                "{refused}"
            );
            assert!(!refused.contains("S3CRET"), "{refused}");
        }
        for fine in [
            "options=-cwork_mem%3D1MB",
            "application_name=role%3Dx",
            "sslmode=require",
        ] {
            read(&format!("postgres://u@h/d?{fine}")).expect(fine);
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "what libpq says is looked at")]
    fn libpq_does_not_get_to_quote_it() {
        for text in [
            "postgre://app:S3CRET@db/d",
            "postgres://app:S3CR%ET@db/d",
            "postgres://app:S3CRET/PW@db/d",
        ] {
            let error = PgConnection::establish(text).err().expect("no address");
            assert!(!told(error).to_string().contains("S3C"), "{text}");
        }
        let nobody = PgConnection::establish("postgres://u:S3CRET@127.0.0.1:1/d")
            .err()
            .expect("nobody is there");
        let nobody = told(nobody).to_string();
        assert!(nobody.contains("127.0.0.1") && !nobody.contains("S3CRET"), "{nobody}");
    }
}
