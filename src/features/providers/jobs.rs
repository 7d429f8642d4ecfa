//! One call to a model, over the wire. Made once: whoever asks decides about a second try.

use super::{
    model::{CallFailure, ChatRequest, Completion},
    service::{Model, sandbox},
};

/// Asks a model. `attempt` counts from 1.
///
/// # Errors
/// What came instead of an answer.
pub async fn complete(model: &Model, request: &ChatRequest, attempt: u32) -> Result<Completion, CallFailure> {
    debug_assert_eq!(
        model.provider, "sandbox",
        "the only provider that `Providers::find` finds"
    );
    let script = sandbox::script(request, attempt);
    tokio::time::sleep(script.wait).await;
    #[cfg(feature = "lab")]
    super::held::let_go(request).await;
    script.end
}
