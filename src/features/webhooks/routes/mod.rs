//! HTTP of webhooks.

mod deliveries;
mod endpoints;
mod event_types;

use utoipa_actix_web::service_config::ServiceConfig;

/// The routes of this slice.
pub fn routes(routes: &mut ServiceConfig) {
    endpoints::routes(routes);
    deliveries::routes(routes);
    event_types::routes(routes);
}
