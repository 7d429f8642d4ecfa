#[cfg(feature = "stripe-stub")]
mod billing_client;
#[cfg(feature = "stripe-stub")]
mod billing_stub;
