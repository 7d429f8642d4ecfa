#[cfg(feature = "stripe-stub")]
mod billing_stub;
