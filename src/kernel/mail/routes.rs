//! The mailbox of `guildhall dev` and of the tests. Mounted in development only.

use actix_web::{
    HttpResponse, Responder, get,
    http::header::ContentType,
    web::{Data, Path, Query, ServiceConfig},
};
use minijinja::{AutoEscape, Environment, value::Serde};
use serde::Deserialize;

use super::{Captured, Mailer};
use crate::kernel::{
    error::{Error, NOT_FOUND},
    id::{Id, MailId},
};

/// The mailbox's two addresses.
pub fn routes(routes: &mut ServiceConfig) {
    routes.service(list).service(show);
}

#[derive(Deserialize)]
struct Wanted {
    to: Option<String>,
}

#[get("/dev/mails")]
async fn list(mailer: Data<Mailer>, wanted: Query<Wanted>) -> Result<impl Responder, Error> {
    let mailbox = mailer.mailbox().ok_or(NOT_FOUND)?;
    let mails = mailbox.mails(wanted.to.as_deref());
    Ok(HttpResponse::Ok().json(serde_json::json!({ "data": mails })))
}

#[get("/dev/mails/{id}")]
async fn show(mailer: Data<Mailer>, id: Path<String>) -> Result<impl Responder, Error> {
    let mailbox = mailer.mailbox().ok_or(NOT_FOUND)?;
    let id: MailId = id.parse().unwrap_or_else(|_| Id::nil());
    let mail = mailbox.find(id).ok_or(NOT_FOUND)?;
    let page = page(&mail).map_err(anyhow::Error::from)?;
    Ok(HttpResponse::Ok()
        .insert_header(ContentType::html())
        // The mail itself sits in a frame without scripts, forms or an origin.
        .insert_header((
            "content-security-policy",
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'",
        ))
        .body(page))
}

fn page(mail: &Captured) -> Result<String, minijinja::Error> {
    let mut pages = Environment::new();
    pages.set_auto_escape_callback(|_| AutoEscape::Html);
    pages.add_template("mail", include_str!("templates/mailbox.html"))?;
    pages
        .get_template("mail")?
        .render(Serde(serde_json::json!({ "mail": mail })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mails_links_open_beside_its_frame_and_its_own_markup_stays_inside() {
        let mail = Captured {
            id: Id::nil(),
            message_id: "<1@example.com>".into(),
            template: "verify_email".into(),
            from: "a@example.com".into(),
            to: "b@example.com".into(),
            subject: "One".into(),
            text: "text".into(),
            html: r#"<a href="https://example.com/auth/verify">Confirm</a>"></iframe><script>"#.into(),
            sent_at: crate::kernel::clock::Clock::system().now(),
        };
        let page = page(&mail).expect("a page");
        let frame = page.split("<iframe ").nth(1).expect("a frame");
        let frame = frame.split('>').next().expect("its attributes");
        assert!(
            frame.contains(r#"sandbox="allow-popups allow-popups-to-escape-sandbox""#),
            "{frame}"
        );
        assert!(
            frame.contains(r#"srcdoc="&lt;base target=&quot;_blank&quot;&gt;&lt;a href="#),
            "{frame}"
        );
        assert!(!page.contains("<script>"), "{page}");
    }
}
