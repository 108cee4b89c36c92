//! The promise that the same key means the same request, and is carried out once.
//!
//! What a request resulted in is kept for [`KEPT_FOR`], sealed, in the same transaction as its effects. A request may
//! take several mutations (starting a deployment sets a status and plans instances); each keeps its own result.

use std::time::Duration;

use outrigger_protocol::id::OrganizationId;
use outrigger_secrets::{open_blob, seal_blob};
use outrigger_store::Key;

use crate::catalog::{Catalog, Row, decode};
use crate::error::CatalogError;
use crate::keys;
use crate::model::{Actor, Idempotency};
use crate::mutation::Draft;
use crate::record::{self, IdempotencyRow, KeptResult, Record};

/// Longest key, in bytes.
pub(crate) const KEY_BYTES: usize = 128;

/// How long a repeated request gets the result of the first.
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) enum Promise<T> {
    /// It was carried out before.
    Kept(T),
    /// It is still to be carried out.
    Open(Box<OpenPromise>),
}

/// Where the result is to be kept.
#[derive(Debug)]
pub(crate) struct OpenPromise {
    organization: OrganizationId,
    subject: String,
    idempotency: Idempotency,
    key: Key,
    /// What is there now, also when it is too old to count.
    present: Option<Row<IdempotencyRow>>,
}

impl OpenPromise {
    fn label(&self, operation: &str) -> String {
        label(self.organization, &self.subject, &self.idempotency.key, operation)
    }
}

fn label(organization: OrganizationId, subject: &str, key: &str, operation: &str) -> String {
    format!("idempotency/{organization}/{subject}/{operation}/{key}")
}

impl Catalog {
    pub(crate) async fn promise<T: Record>(
        &self,
        actor: &Actor,
        idempotency: &Idempotency,
        operation: &'static str,
    ) -> Result<Promise<T>, CatalogError> {
        if idempotency.key.is_empty() || idempotency.key.len() > KEY_BYTES {
            let problem = format!("must have 1 to {KEY_BYTES} bytes");
            return Err(CatalogError::invalid("Idempotency-Key", problem));
        }
        let subject = actor.subject.to_string();
        let key = keys::idempotency(actor.organization, &subject, &idempotency.key);
        let present = self.row::<IdempotencyRow>(key.clone()).await?;
        if let Some(Row { value, .. }) = &present
            && self.now().since(value.at) < KEPT_FOR
        {
            if value.request_digest != idempotency.request_digest {
                return Err(CatalogError::IdempotencyMismatch);
            }
            if let Some(kept) = value.results.iter().find(|result| result.operation == operation) {
                let label = label(actor.organization, &subject, &idempotency.key, operation);
                let plain = open_blob(self.master(), &label, &kept.sealed)
                    .map_err(|source| CatalogError::Open { row: IdempotencyRow::ROW, source })?;
                return decode(&plain).map(Promise::Kept);
            }
        }
        let (organization, idempotency) = (actor.organization, idempotency.clone());
        Ok(Promise::Open(Box::new(OpenPromise { organization, subject, idempotency, key, present })))
    }

    /// Adds to a draft what lets a repetition of the request be answered.
    pub(crate) fn keep<T: Record>(
        &self,
        promise: Box<OpenPromise>,
        operation: &'static str,
        value: &T,
        draft: &mut Draft,
    ) -> Result<(), CatalogError> {
        let plain = zeroize::Zeroizing::new(record::encode(value).to_vec());
        let sealed = seal_blob(self.master(), &promise.label(operation), &plain)
            .map_err(|source| CatalogError::Seal { row: IdempotencyRow::ROW, source })?;
        let mut results = match &promise.present {
            Some(row) if draft.now.since(row.value.at) < KEPT_FOR => row.value.results.clone(),
            _ => Vec::new(),
        };
        results.push(KeptResult { operation: operation.to_owned(), sealed });
        draft.relies_on_or_absence(promise.key.clone(), promise.present.as_ref());
        let request_digest = promise.idempotency.request_digest;
        draft.put(promise.key, &IdempotencyRow { request_digest, at: draft.now, results });
        Ok(())
    }
}
