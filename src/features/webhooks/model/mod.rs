//! Endpoints and deliveries as rows and on the wire.

mod delivery;
mod endpoint;
mod input;

pub use delivery::*;
pub use endpoint::*;
pub use input::*;

crate::problems! {
    /// The endpoint is disabled; nothing is sent to it.
    /// Cause: somebody disabled it, or it failed for days and was disabled.
    /// Fix: enable it first.
    pub ENDPOINT_DISABLED = 409, "endpoint-disabled", "The endpoint is disabled";
    /// The delivery is being sent at this moment.
    /// Cause: it is resent by hand while it is being tried.
    /// Fix: look at it again in a few seconds.
    pub DELIVERY_IN_FLIGHT = 409, "delivery-in-flight", "The delivery is under way";
}

crate::events! {
    /// A webhook endpoint was made.
    pub ENDPOINT_CREATED: Endpoint = "webhook_endpoint.created", group "integrations", at "/webhook-endpoints/{id}", filterable [], audience [audit];
    /// A webhook endpoint was changed.
    pub ENDPOINT_UPDATED: Endpoint = "webhook_endpoint.updated", group "integrations", at "/webhook-endpoints/{id}", filterable [], audience [audit];
    /// A webhook endpoint was deleted.
    pub ENDPOINT_DELETED: Endpoint = "webhook_endpoint.deleted", group "integrations", at "/webhook-endpoints/{id}", filterable [], audience [audit];
    /// A webhook endpoint was enabled. Told to the other endpoints only.
    pub ENDPOINT_ENABLED: Endpoint = "webhook_endpoint.enabled", group "integrations", at "/webhook-endpoints/{id}", filterable [], audience [audit, webhook, live],
        example {"enabled": true, "disabled_reason": null, "disabled_at": null};
    /// A webhook endpoint was disabled, by somebody or by its failures. Told to the other endpoints only.
    pub ENDPOINT_DISABLED_EVENT: Endpoint = "webhook_endpoint.disabled", group "integrations", at "/webhook-endpoints/{id}", filterable [], audience [audit, webhook, live],
        example {"enabled": false, "disabled_reason": "manual", "disabled_at": "2026-11-20T17:30:00.123Z"};
    /// A webhook endpoint was sent a test.
    pub ENDPOINT_TESTED: Endpoint = "webhook_endpoint.tested", group "integrations", at "/webhook-endpoints/{id}", filterable [], audience [audit];
    /// A new signing secret was made for a webhook endpoint.
    pub SECRET_ROTATED: Endpoint = "webhook_endpoint.secret_rotated", group "integrations", at "/webhook-endpoints/{id}", filterable [], audience [audit];
    /// A delivery failed for the fourth time. Told to the other endpoints only.
    pub DELIVERY_FAILING: Delivery = "webhook_delivery.failing", group "integrations", at "/webhook-deliveries/{id}", filterable ["endpoint_id"], audience [webhook],
        example {"state": "pending", "attempts": 4, "last_status": 503, "next_attempt_at": "2026-11-20T20:00:00.000Z",
                 "finished_at": null};
    /// A delivery was given up. Told to the other endpoints only.
    pub DELIVERY_EXHAUSTED: Delivery = "webhook_delivery.exhausted", group "integrations", at "/webhook-deliveries/{id}", filterable ["endpoint_id"], audience [webhook],
        example {"state": "exhausted", "attempts": 10, "last_status": 503, "finished_at": "2026-11-23T17:30:00.123Z"};
    /// A delivery that had failed four times or more arrived after all. Told to the other endpoints only.
    pub DELIVERY_RECOVERED: Delivery = "webhook_delivery.recovered", group "integrations", at "/webhook-deliveries/{id}", filterable ["endpoint_id"], audience [webhook],
        example {"state": "delivered", "attempts": 5, "last_status": 204, "finished_at": "2026-11-20T20:00:00.456Z"};
    /// Somebody had a delivery sent again.
    pub DELIVERY_RETRIED: Delivery = "webhook_delivery.retried", group "integrations", at "/webhook-deliveries/{id}", filterable [], audience [audit],
        example {"state": "pending", "next_attempt_at": "2026-11-20T17:40:00.123Z", "finished_at": null};
}
