//! From a template and its data to a mail. Everything in HTML is escaped; a value that a template wants and does not get is an error.

use std::sync::LazyLock;

use anyhow::{Context, Result};
use minijinja::{Environment, UndefinedBehavior, value::Serde};
use serde_json::Value;

use super::model::{ENGLISH, Template};

/// A mail's three texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rendered {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    for (name, text) in ENGLISH {
        templates.add_template(name, text).expect("our own templates are sound");
    }
    templates
});

/// Renders a mail in a locale, or in English where there is no such translation.
pub(super) fn render(template: Template, locale: &str, data: &Value) -> Result<Rendered> {
    let name = template.name();
    let find = |extension: &str| {
        let wanted = format!("{locale}/{name}.{extension}");
        TEMPLATES
            .get_template(&wanted)
            .or_else(|_| TEMPLATES.get_template(&format!("en/{name}.{extension}")))
    };
    let mut values = data.clone();
    values["product"] = "Guildhall".into();
    let text = find("txt")?
        .render(Serde(&values))
        .with_context(|| format!("{name}.txt"))?;
    let body = find("html")?
        .render(Serde(&values))
        .with_context(|| format!("{name}.html"))?;
    // What was rendered is escaped already; the layout adds a frame and nothing of anybody's.
    values["body"] = body.into();
    let html = TEMPLATES.get_template("en/layout.html")?.render(Serde(&values))?;
    let (subject, text) = text
        .strip_prefix("Subject: ")
        .and_then(|text| text.split_once("\n\n"))
        .with_context(|| format!("{name}.txt does not begin with its subject"))?;
    // A value in the subject may hold a line end; what follows it must not become a header.
    let subject = subject.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(Rendered {
        subject,
        text: text.to_owned(),
        html,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn everything() -> Value {
        json!({ "link": "https://app.example.com/auth/verify#gld_test_ot_abc", "within": "60 minutes", "at": "20 November 2026, 17:30 UTC",
                "ip": "192.0.2.7", "workspace": "Acme", "inviter": "Ann", "role": "member", "days": 7,
                "url": "https://hooks.example.com/in", "event": "run.completed", "reason": "the receiver is gone" })
    }

    #[test]
    fn every_mail_reads_as_it_should() {
        let all: Vec<String> = Template::ALL
            .iter()
            .map(|template| {
                let mail = render(*template, "de", &everything()).expect("renders");
                format!(
                    "== {}\nSubject: {}\n\n{}\n-- html\n{}",
                    template.name(),
                    mail.subject,
                    mail.text,
                    mail.html
                )
            })
            .collect();
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn what_people_call_themselves_stays_text() {
        let mut data = everything();
        data["inviter"] = "<a href=\"https://evil.example\">Click</a>".into();
        data["workspace"] = "Acme\r\nBcc: eve@example.com".into();
        let mail = render(Template::INVITATION, "en", &data).expect("renders");
        assert!(!mail.html.contains("<a href=\"https://evil.example\""), "{}", mail.html);
        assert!(mail.html.contains("&lt;a href="));
        assert!(!mail.subject.contains(['\r', '\n']));
    }

    #[test]
    fn a_value_that_is_missing_is_an_error() {
        assert!(render(Template::VERIFY_EMAIL, "en", &json!({})).is_err());
    }
}
