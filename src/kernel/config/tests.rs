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
            ("GUILDHALL__SERVER__TRUSTED_PROXIES", "10.0.0.0/8,192.0.2.1,2001:db8::7"),
            ("DATABASE_TENANT_URL", "postgres://a"),
            ("REDIS_URL", "off"),
        ],
    )
    .expect("acceptable");
    assert_eq!(config.server.port, 8081);
    let proxies: Vec<String> = config.server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::7/128"]);
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
    let below = [("GUILDHALL__SERVER__PORT", "8081"), ("GUILDHALL__SERVER__PORT__X", "1")];
    assert!(refusal(Environment::Development, &below).starts_with("GUILDHALL__SERVER__PORT__X is an unknown key"));
    for text in ["18393.7", "1e3", " 8081", "0x10", "-1", "70000"] {
        let refused = refusal(Environment::Development, &[("GUILDHALL__SERVER__PORT", text)]);
        assert!(refused.contains("server.port"), "{text}: {refused}");
    }
    for name in [
        "guildhall__server__port",
        "Guildhall__SERVER__PORT",
        "GUILDHALL__SERVER__Port",
        "guildhall_server__port",
    ] {
        let refused = refusal(Environment::Development, &[(name, "8081")]);
        assert!(refused.starts_with(&format!("{name} sets nothing")), "{refused}");
    }
    let short = refusal(Environment::Development, &[("GUILDHALL_SERVER__PORT", "1")]);
    assert!(short.starts_with("GUILDHALL_SERVER__PORT sets nothing"), "{short}");
}

#[test]
fn a_list_may_be_spaced_or_empty() {
    let proxies = |value: &str| {
        let config = load(
            Environment::Development,
            &[("GUILDHALL__SERVER__TRUSTED_PROXIES", value), ("GUILDHALL_CONFIG", "")],
        );
        let proxies = config.expect("acceptable").server.trusted_proxies;
        proxies.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(proxies(" 10.0.0.0/8 , 192.0.2.1,"), ["10.0.0.0/8", "192.0.2.1/32"]);
    assert!(proxies("").is_empty() && proxies(" , ").is_empty());
}

/// What a file of one's own with this text is refused by, and the file's name.
fn refused_file(text: &str) -> (String, String) {
    let path = std::env::temp_dir().join(format!("guildhall-{}.toml", uuid::Uuid::new_v4()));
    std::fs::write(&path, text).expect("written");
    let name = path.to_str().expect("text");
    let refused = refusal(Environment::Development, &[("GUILDHALL_CONFIG", name)]);
    std::fs::remove_file(&path).expect("removed");
    (refused, name.to_owned())
}

#[test]
fn fractions_are_not_rounded_to_whole_numbers() {
    let (refused, _) = refused_file("[server]\nport = 8081.7");
    assert!(refused.contains("server.port"), "{refused}");
    // What is written with digits alone is text where text is wanted, as it was written.
    let config = load(Environment::Development, &[("GUILDHALL__REDIS__PREFIX", "007.50")]);
    assert_eq!(config.expect("acceptable").redis.prefix, "007.50");
}

#[test]
fn a_file_that_is_no_toml_is_named() {
    let (refused, name) = refused_file("[server]\nport = \"S3CRET");
    assert!(
        refused.starts_with(&format!("{name} is no TOML: line 2: ")) && !refused.contains("S3CRET"),
        "{refused}"
    );
}

#[test]
fn what_makes_no_sense_is_refused_everywhere_and_named() {
    for (variable, value) in [
        ("SERVER__REPLICAS", "0"),
        ("SERVER__TRUSTED_PROXIES", "192.0.2.1,here"),
        ("SERVER__PUBLIC_URL", "https://"),
        ("SERVER__PUBLIC_URL", "ftp://api.example.com"),
        ("SERVER__PUBLIC_URL", "https://api.example.com?a=b"),
        ("SERVER__PUBLIC_URL", "https://api.example.com/#top"),
        ("SERVER__PUBLIC_URL", "https://ann:secret@api.example.com"),
        ("DATABASE__TENANT_CONNECTIONS", "0"),
        ("DATABASE__WORKER_KERNEL_CONNECTIONS", "1"),
        ("REDIS__PREFIX", ""),
        ("AUTH__ACCESS_TOKEN_SECONDS", "0"),
        ("AUTH__SESSION_SECONDS", "0"),
        ("AUTH__SESSION_IDLE_SECONDS", "0"),
        ("AUTH__SESSION_SHORT_SECONDS", "0"),
        ("AUTH__SESSIONS_PER_USER", "0"),
        ("AUTH__PASSWORD_MIN_LENGTH", "6"),
        ("AUTH__SIGN_UPS_PER_HOUR", "-1"),
        ("LIMITS__FACTOR", "0"),
        ("LIMITS__ANONYMOUS_PER_MINUTE", "0"),
        ("LIMITS__ANONYMOUS_BURST", "0"),
        ("LIMITS__IP_PER_MINUTE", "0"),
        ("LIMITS__IP_BURST", "0"),
        ("WORKER__CONCURRENCY", "0"),
        ("LOG__LEVEL", "foo"),
        ("LOG__LEVEL", "info,loud"),
        ("LOG__LEVEL", "info,guildhall=loud"),
        ("LOG__LEVEL", ""),
        ("SENTRY__DSN", "sentry.example.com"),
    ] {
        let refused = refusal(Environment::Development, &[(&format!("GUILDHALL__{variable}"), value)]);
        let key = variable.to_lowercase().replace("__", ".");
        assert!(refused.contains(&key), "{variable}={value}: {refused}");
    }
    for level in ["warn", "INFO", "info,guildhall=debug", "off", "error,actix_http=trace"] {
        load(Environment::Development, &[("GUILDHALL__LOG__LEVEL", level)]).expect(level);
    }
}

#[test]
fn one_of_some_words_is_read_in_any_case_and_whoever_sets_another_is_told_them() {
    let refused = refusal(Environment::Development, &[("GUILDHALL__LOG__FORMAT", "xml")]);
    assert!(
        refused.contains("log.format") && refused.contains("`xml`, expected `json` or `text`"),
        "{refused}"
    );
    for (variable, value) in [
        ("LOG__FORMAT", "JSON"),
        ("AUTH__SIGN_UP", "invite_only"),
        ("AUTH__KEY_MODE", "test"),
        ("MAIL__TRANSPORT", "mailbox"),
    ] {
        load(Environment::Development, &[(&format!("GUILDHALL__{variable}"), value)]).expect(value);
    }
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
        ("GUILDHALL__SERVER__ADMIN_HOST", "0.0.0.0", "server.admin_host"),
        ("GUILDHALL__SERVER__ADMIN_HOST", "::", "server.admin_host"),
        ("GUILDHALL__SERVER__ADMIN_HOST", "93.184.215.14", "server.admin_host"),
        ("GUILDHALL__SERVER__ADMIN_HOST", "2606:4700::1111", "server.admin_host"),
        ("GUILDHALL__SERVER__OWN_NETWORKS", "0.0.0.0/0", "server.own_networks"),
        ("GUILDHALL__SERVER__OWN_NETWORKS", "240.0.0.0/4", "server.own_networks"),
        (
            "GUILDHALL__SERVER__OWN_NETWORKS",
            "240.1.0.0/16,2000::/3",
            "server.own_networks",
        ),
        ("GUILDHALL__LIMITS__FACTOR", "2", "limits.factor"),
        ("GUILDHALL__SERVER__TRUSTED_PROXIES", "::/0", "server.trusted_proxies"),
        (
            "GUILDHALL__SERVER__TRUSTED_PROXIES",
            "10.0.0.0/8,0.0.0.0/0",
            "server.trusted_proxies",
        ),
        (
            "GUILDHALL__SERVER__TRUSTED_PROXIES",
            "128.0.0.0/1",
            "server.trusted_proxies",
        ),
        (
            "GUILDHALL__MAIL__SMTP_URL",
            "smtp://user:secret@smtp.example.com",
            "mail.smtp_url",
        ),
        (
            "GUILDHALL__MAIL__SMTP_URL",
            "smtp://smtp.example.com?tls=opportunistic",
            "mail.smtp_url",
        ),
        ("GUILDHALL__LIMITS__ENABLED", "false", "limits.enabled"),
        (
            "GUILDHALL__CORS__ORIGINS",
            "https://a.example.com,http://b.example.com",
            "cors.origins",
        ),
        ("STRIPE_SECRET_KEY", "sk_live_x", "stripe.webhook_secrets"),
        ("STRIPE_SECRET_KEY", "sk_test_x", "stripe.secret_key"),
        ("STRIPE_SECRET_KEY", "rk_test_x", "stripe.secret_key"),
        ("GUILDHALL__AUTH__PASSWORD_MIN_LENGTH", "6", "auth.password_min_length"),
    ] {
        assert!(
            refusal(Environment::Production, &[https, (variable, value)]).contains(key),
            "{key}"
        );
    }
}

#[test]
fn the_admin_listener_of_a_cluster_is_where_its_pods_are() {
    let variables = |host, own| {
        [
            ("GUILDHALL__SERVER__PUBLIC_URL", "https://api.example.com"),
            ("GUILDHALL__SERVER__ADMIN_HOST", host),
            ("GUILDHALL__SERVER__OWN_NETWORKS", own),
        ]
    };
    for (host, own) in [
        ("2600:1f14::5", "2600:1f14::/56"),
        ("240.1.1.1", "10.0.0.0/8,240.0.0.0/8"),
        ("34.118.3.4", "34.118.0.0/17"),
    ] {
        load(Environment::Production, &variables(host, own)).expect(host);
        let elsewhere = refusal(Environment::Production, &variables(host, "203.0.113.0/24"));
        assert!(
            elsewhere.contains("server.admin_host") && elsewhere.contains("server.own_networks"),
            "{elsewhere}"
        );
    }
    for (host, own) in [("0.0.0.0", "0.0.0.0/8"), ("::", "::/16")] {
        let refused = refusal(Environment::Production, &variables(host, own));
        assert!(refused.contains("server.admin_host"), "{refused}");
    }
}

#[test]
fn two_listeners_have_two_ports() {
    let ports = |host, port, admin_host, admin_port| {
        [
            ("GUILDHALL__SERVER__HOST", host),
            ("GUILDHALL__SERVER__PORT", port),
            ("GUILDHALL__SERVER__ADMIN_HOST", admin_host),
            ("GUILDHALL__SERVER__ADMIN_PORT", admin_port),
        ]
    };
    for (host, admin_host) in [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")] {
        let refused = refusal(Environment::Development, &ports(host, "7000", admin_host, "7000"));
        assert!(refused.contains("server.admin_port"), "{refused}");
        load(Environment::Development, &ports(host, "7000", admin_host, "7001")).expect("two");
        load(Environment::Development, &ports(host, "0", admin_host, "0")).expect("any");
    }
    load(
        Environment::Development,
        &ports("10.0.0.1", "7000", "127.0.0.1", "7000"),
    )
    .expect("two addresses");
}

#[test]
fn production_takes_what_is_safe() {
    let https = ("GUILDHALL__SERVER__PUBLIC_URL", "https://api.example.com/guildhall");
    for (variable, value) in [
        ("GUILDHALL__SERVER__ADMIN_HOST", "10.1.2.3"),
        ("GUILDHALL__SERVER__ADMIN_HOST", "100.64.0.9"),
        ("GUILDHALL__SERVER__ADMIN_HOST", "fd00::7"),
        ("GUILDHALL__SERVER__TRUSTED_PROXIES", "10.0.0.0/8,fc00::/7,203.0.113.9"),
        ("GUILDHALL__MAIL__SMTP_URL", "smtps://user:secret@smtp.example.com"),
        ("GUILDHALL__MAIL__SMTP_URL", "smtp://smtp.example.com:587?tls=required"),
        ("GUILDHALL__MAIL__SMTP_URL", "smtp://127.0.0.1:25"),
        ("GUILDHALL__MAIL__SMTP_URL", "smtp://localhost"),
    ] {
        load(Environment::Production, &[https, (variable, value)]).expect(value);
    }
}

#[cfg(unix)]
#[test]
fn a_setting_that_is_no_text_is_refused_by_name_and_anything_else_is_nobodys() {
    use std::os::unix::ffi::OsStringExt;
    let given = |name: &str| {
        let no_text = OsString::from_vec(b"p\xe4ss".to_vec());
        texts([("PATH".into(), "/bin".into()), (OsString::from(name), no_text)].into_iter())
    };
    for name in [
        "REDIS_URL",
        "GUILDHALL__SERVER__PORT",
        "guildhall__server__port",
        "GUILDHALL_CONFIG",
    ] {
        let refused = given(name).expect_err(name).to_string();
        assert!(refused.starts_with(name) && !refused.contains("ss"), "{refused}");
    }
    let texts = given("LS_COLORS").expect("nobody's");
    assert_eq!(texts.into_keys().collect::<Vec<_>>(), ["PATH"]);
}
