//! Prompts: texts with placeholders. What may stand in one, and how it becomes the text that a model reads.
//!
//! A template can take from its bindings and from nothing else: no loader, no include, no import, no macro, and no way to build a
//! value that is larger than what it is given.

mod service;

pub use service::{Binding, Fault, check, evaluate, render, render_all, words};
