//! The promise that the same key means the same request, and is carried out once.
//!
//! What a request resulted in is kept for [`KEPT_FOR`], sealed, in the same transaction as its effects. A request that
//! takes several mutations (starting a deployment sets a status and plans instances), or effects of which the catalog
//! knows nothing, cannot have that: [`Catalog::once`] takes the key for it first and keeps the answer last.

use std::future::Future;
use std::time::Duration;

use outrigger_protocol::id::OrganizationId;
use outrigger_protocol::time::UnixMillis;
use outrigger_secrets::{open_blob, seal_blob};
use outrigger_store::Key;
use serde_json::Value;

use crate::catalog::{Catalog, Row, decode};
use crate::error::CatalogError;
use crate::keys;
use crate::model::{Actor, Idempotency, Role};
use crate::mutation::{Draft, MAX_ATTEMPTS};
use crate::record::{self, IdempotencyRow, KeptAnswer, KeptResult, Record};

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

    /// Adds to a draft that the key stands for this request, with what came of it so far.
    fn put(self, results: Vec<KeptResult>, draft: &mut Draft) {
        draft.relies_on_or_absence(self.key.clone(), self.present.as_ref());
        let request_digest = self.idempotency.request_digest;
        draft.put(self.key, &IdempotencyRow { request_digest, at: draft.now, results });
    }

    /// What the request has resulted in so far.
    fn results(&self, now: UnixMillis) -> Option<&[KeptResult]> {
        self.present.as_ref().filter(|row| is_kept(&row.value, now)).map(|row| row.value.results.as_slice())
    }
}

fn is_kept(row: &IdempotencyRow, now: UnixMillis) -> bool {
    now.since(row.at) < KEPT_FOR
}

pub(crate) fn label(organization: OrganizationId, subject: &str, key: &str, operation: &str) -> String {
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
        let present = loop {
            let keyring = self.keyring();
            let present = self.row::<IdempotencyRow>(key.clone()).await?;
            let Some(Row { value, .. }) = present.as_ref().filter(|row| is_kept(&row.value, self.now())) else {
                break present;
            };
            if value.request_digest != idempotency.request_digest {
                return Err(CatalogError::IdempotencyMismatch);
            }
            let Some(kept) = value.results.iter().find(|result| result.operation == operation) else { break present };
            let label = label(actor.organization, &subject, &idempotency.key, operation);
            match keyring.open(|master| open_blob(master, &label, &kept.sealed)) {
                Ok(plain) => return decode(&plain).map(Promise::Kept),
                Err(_) if self.renew_keyring(&keyring).await? => {}
                Err(source) => return Err(CatalogError::Open { row: IdempotencyRow::ROW, source }),
            }
        };
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
        let sealed = seal_blob(draft.keyring(self).sealing(), &promise.label(operation), &plain)
            .map_err(|source| CatalogError::Seal { row: IdempotencyRow::ROW, source })?;
        let mut results = promise.results(draft.now).unwrap_or_default().to_vec();
        results.push(KeptResult { operation: operation.to_owned(), sealed });
        promise.put(results, draft);
        Ok(())
    }

    /// Carries out once under the actor's idempotency key what is more than one mutation. `work` gets the actor without
    /// the key, and has to be repeatable as it is: it is done again when nobody knows how it ended, because this process
    /// did, or the caller did not wait. What it answers is kept; what it refuses leaves the key free. Developer.
    ///
    /// # Errors
    /// [`CatalogError::IdempotencyMismatch`] before `work` is begun, and those of `work`.
    pub async fn once<E, W, Fut>(&self, actor: &Actor, operation: &'static str, work: W) -> Result<Value, E>
    where
        E: From<CatalogError>,
        W: FnOnce(Actor) -> Fut,
        Fut: Future<Output = Result<Value, E>> + Send,
    {
        actor.require(Role::Developer)?;
        let keyless = Actor { idempotency: None, ..actor.clone() };
        let Some(idempotency) = &actor.idempotency else { return work(keyless).await };
        if let Some(KeptAnswer(answer)) = self.claim(actor, idempotency, operation).await? {
            return Ok(answer);
        }
        let answered = work(keyless).await;
        let noted = match &answered {
            Ok(answer) => self.keep_answer(actor, idempotency, operation, answer).await,
            Err(_) => self.release(actor, idempotency).await,
        };
        // What was done is done, and that is the answer: only a repetition will not know of it.
        if let Err(error) = noted {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(operation, error, "how a request ended is not kept under its idempotency key");
        }
        answered
    }

    /// Takes the key for a request, so that no other request does meanwhile. Returns what the same request was answered
    /// before.
    async fn claim(
        &self,
        actor: &Actor,
        idempotency: &Idempotency,
        operation: &'static str,
    ) -> Result<Option<KeptAnswer>, CatalogError> {
        for _ in 0..MAX_ATTEMPTS {
            let open = match self.promise(actor, idempotency, operation).await? {
                Promise::Kept(answer) => return Ok(Some(answer)),
                Promise::Open(open) => open,
            };
            let mut draft = self.draft(actor);
            if open.results(draft.now).is_some() {
                return Ok(None);
            }
            open.put(Vec::new(), &mut draft);
            if self.commit(draft).await? {
                return Ok(None);
            }
        }
        Err(CatalogError::Overloaded)
    }

    async fn keep_answer(
        &self,
        actor: &Actor,
        idempotency: &Idempotency,
        operation: &'static str,
        answer: &Value,
    ) -> Result<(), CatalogError> {
        for _ in 0..MAX_ATTEMPTS {
            // The same request may have been sent twice at once: the answer that was kept first stands.
            let Promise::Open(open) = self.promise::<KeptAnswer>(actor, idempotency, operation).await? else {
                return Ok(());
            };
            let mut draft = self.draft(actor);
            self.keep(open, operation, &KeptAnswer(answer.clone()), &mut draft)?;
            if self.commit(draft).await? {
                return Ok(());
            }
        }
        Err(CatalogError::Overloaded)
    }

    /// Gives a key back under which nothing was done.
    async fn release(&self, actor: &Actor, idempotency: &Idempotency) -> Result<(), CatalogError> {
        let key = keys::idempotency(actor.organization, &actor.subject.to_string(), &idempotency.key);
        if let Some(row) = self.row::<IdempotencyRow>(key.clone()).await?
            && row.value.request_digest == idempotency.request_digest
            && row.value.results.is_empty()
        {
            let mut draft = self.draft(actor);
            draft.relies_on(&row);
            draft.delete(key);
            // When it does not happen, the same request has taken the key further meanwhile.
            self.commit(draft).await?;
        }
        Ok(())
    }
}
