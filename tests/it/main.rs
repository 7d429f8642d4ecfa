//! One binary for all tests over HTTP: a file for each slice, the rules of the house, and the world that they share.

mod agents;
mod api_keys;
mod audit;
mod bad_input;
#[cfg(feature = "stripe-stub")]
mod billing_chain;
#[cfg(feature = "stripe-stub")]
mod billing_client;
mod billing_inbox;
#[cfg(feature = "stripe-stub")]
mod billing_stub;
mod bodies;
mod catalogue;
mod changes;
mod database;
mod degraded;
mod deploy;
mod dev;
#[cfg(feature = "stripe-stub")]
mod docs;
mod doctor;
mod document;
mod door;
mod ending;
mod hurry;
mod identity;
mod isolation;
mod keks;
mod licenses;
mod lists;
mod log;
mod mail;
mod migrations;
mod operator;
mod outbox;
mod overload;
mod plans;
mod queue;
mod readme;
mod rules;
mod runs;
mod tenancy;
mod told;
mod unpaid;
mod webhooks;
mod wire;
mod working;
mod workspaces;
mod world;
