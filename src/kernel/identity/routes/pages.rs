//! The few pages behind mailed links, for deployments without a frontend of their own. A page posts; merely opening it changes nothing,
//! because mail scanners open links.

use actix_web::{HttpResponse, http::header::CONTENT_SECURITY_POLICY, web};
use minijinja::{Environment, context};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::kernel::{crypto, error::Result, http::only_looked_at};

/// The pages.
pub fn routes(routes: &mut ServiceConfig) {
    let page = |path: &str| web::resource(path.to_owned()).default_service(web::to(only_looked_at));
    routes.map(|routes| {
        routes
            .service(page("/auth/verify").route(web::get().to(verify)))
            .service(page("/auth/reset").route(web::get().to(reset)))
    });
}

async fn verify() -> Result<HttpResponse> {
    page(context! {
        title => "Confirm your address",
        lead => "Choose the password of your new account. It takes the place of one that was chosen before.",
        button => "Confirm",
        done => "Your address is confirmed. You can sign in now.",
        action => "/api/v1/auth/email/verify",
        asks_address => false,
    })
}

async fn reset() -> Result<HttpResponse> {
    page(context! {
        title => "Choose a new password",
        lead => "You will be signed out everywhere.",
        button => "Change the password",
        done => "The password was changed. You can sign in now.",
        action => "/api/v1/auth/password/reset",
        asks_address => true,
    })
}

fn page(values: minijinja::Value) -> Result<HttpResponse> {
    let nonce = hex::encode(crypto::random::<16>());
    let mut pages = Environment::new();
    pages
        .add_template("page.html", include_str!("page.html"))
        .map_err(anyhow::Error::from)?;
    let html = pages
        .get_template("page.html")
        .and_then(|page| page.render(context! { nonce => &nonce, ..values }))
        .map_err(anyhow::Error::from)?;
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; form-action 'none'; \
         base-uri 'none'; frame-ancestors 'none'"
    );
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_SECURITY_POLICY, policy))
        .content_type("text/html; charset=utf-8")
        .body(html))
}
