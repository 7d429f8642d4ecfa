//! Providers of models: who answers, what it costs, and how one call goes.
//!
//! A call is made once: whoever asks decides about a second try.

#[cfg(feature = "lab")]
mod held;
mod jobs;
mod model;
mod service;

#[cfg(feature = "lab")]
pub use held::Held;
pub use jobs::complete;
pub use model::{CallFailure, ChatRequest, Completion, Finish, Message, Price, ResponseFormat, Role, TokenUsage};
pub use service::{Model, Providers};
