//! Requests that are more than one transaction, carried out once per idempotency key.

use std::future::Future;

use outrigger_catalog::model::Actor;
use serde::Serialize;
use serde_json::Value;

use crate::envelope::{Answer, ok};
use crate::error::ApiError;
use crate::state::ApiState;

/// Answers with what `work` answers, or answered when the same request was made before. See
/// [`Catalog::once`](outrigger_catalog::Catalog::once) for what that asks of `work`.
pub(crate) async fn once<T, W, Fut>(
    state: &ApiState,
    actor: &Actor,
    operation: &'static str,
    work: W,
) -> Result<Answer<Value>, ApiError>
where
    T: Serialize,
    W: FnOnce(Actor) -> Fut + Send,
    Fut: Future<Output = Result<T, ApiError>> + Send,
{
    let answered = state.catalog.once(actor, operation, |actor| {
        let answer = work(actor);
        async {
            let data = answer.await?;
            Ok(serde_json::to_value(data).expect("shapes are texts, numbers, lists and objects with names"))
        }
    });
    answered.await.map(ok)
}
