use super::*;

fn load(environment: Environment, variables: &[(&str, &str)]) -> Result<Config> {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Config::from_variables(environment, variables)
}

fn refusal(environment: Environment, variables: &[(&str, &str)]) -> String {
    format!("{:#}", load(environment, variables).expect_err("refused"))
}

#[test]
fn the_environment_overrides_the_files() {
    let config = load(
        Environment::Development,
        &[
            ("GUILDHALL__SERVER__PORT", "8081"),
            ("GUILDHALL__SERVER__TRUSTED_PROXIES", "10.0.0.0/8,192.0.2.1/32"),
            ("DATABASE_TENANT_URL", "postgres://a"),
            ("REDIS_URL", "off"),
        ],
    )
    .expect("acceptable");
    assert_eq!(config.server.port, 8081);
    assert_eq!(config.server.trusted_proxies.len(), 2);
    assert!(
        config
            .database
            .tenant_url
            .as_ref()
            .is_some_and(|url| url.expose() == "postgres://a")
    );
    assert!(config.redis_url().is_none());
}

#[test]
fn an_unknown_key_is_named() {
    assert!(refusal(Environment::Development, &[("GUILDHALL__SERVER__PROT", "1")]).contains("prot"));
    assert!(refusal(Environment::Development, &[("GUILDHALL__SERVRE__PORT", "1")]).contains("servre"));
    assert!(refusal(Environment::Development, &[("GUILDHALL__SERVER__PORT", "high")]).contains("server.port"));
}

#[test]
fn production_refuses_what_is_unsafe_and_names_it() {
    let https = ("GUILDHALL__SERVER__PUBLIC_URL", "https://api.example.com");
    load(Environment::Production, &[https]).expect("safe");
    for (variable, value, key) in [
        ("GUILDHALL__HTTP__ALLOW_TARGETS", "127.0.0.0/8", "http.allow_targets"),
        ("GUILDHALL__HTTP__ALLOW_PLAIN", "true", "http.allow_plain"),
        ("GUILDHALL__RUNS__SANDBOX", "true", "runs.sandbox"),
        ("GUILDHALL__MAIL__TRANSPORT", "mailbox", "mail.transport"),
        ("GUILDHALL__AUTH__KEY_MODE", "test", "auth.key_mode"),
        (
            "GUILDHALL__SERVER__PUBLIC_URL",
            "http://api.example.com",
            "server.public_url",
        ),
        ("GUILDHALL__LIMITS__FACTOR", "2", "limits.factor"),
        ("GUILDHALL__SERVER__TRUSTED_PROXIES", "::/0", "server.trusted_proxies"),
        ("GUILDHALL__LIMITS__ENABLED", "false", "limits.enabled"),
        ("GUILDHALL__AUTH__PASSWORD_MIN_LENGTH", "6", "auth.password_min_length"),
    ] {
        assert!(
            refusal(Environment::Production, &[https, (variable, value)]).contains(key),
            "{key}"
        );
    }
}
