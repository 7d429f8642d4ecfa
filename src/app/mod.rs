//! Floor 3: wiring.

pub mod admin;
pub mod api;
pub mod boot;
pub mod cli;
pub mod dev;
pub mod doctor;
mod end;
pub mod events;
pub mod guard;
pub mod health;
pub mod keks;
mod memory;
pub mod migrate;
pub mod openapi;
pub mod operator;
pub mod pages;
pub mod problems;
pub mod serve;
pub mod work;
pub mod worker;
