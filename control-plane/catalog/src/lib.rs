//! What the control plane keeps: typed tables on a [`Store`](outrigger_store::Store), and the rules that hold for them.
//!
//! Projects with their environments and sealed variables, deployments with their instances, decisions and events,
//! accounts and tokens, policies, and the audit log live here. [`model`] has them as plain types; [`Catalog`] is the one
//! way to read and change them.
//!
//! **Tenancy.** Every method takes an [`Actor`](model::Actor) and builds its keys from the organisation in it
//! (`keys.rs` lists them all). A row of another tenant is not forbidden, it is not there: there is no check to forget.
//! Inside one's own organisation the [`Role`](model::Role) decides, and a call that it does not allow is
//! [`CatalogError::Forbidden`]. Methods without an actor are for the control plane itself, and say so.
//!
//! | role | may |
//! |---|---|
//! | viewer | read, except secrets |
//! | developer | change variables, deployments, join tokens, policies, templates; run a program with an environment |
//! | admin | create, change and delete projects and environments, reveal secrets, revoke agents |
//! | owner | as admin, and publish a change that somebody else should approve; the operator and the control plane act as owners |
//!
//! **One transaction per mutation.** What changes, the entry of the audit log that tells of it, and the result that an
//! idempotency key stands for are committed together or not at all (`mutation.rs`). What a mutation has read, it
//! compares; a lost race is run again, a bounded number of times. Two kinds of work take several transactions, and both
//! are arranged so that only one of them is visible: the chunks of a large component are written before the row that
//! names it, and what an erased environment leaves behind is deleted after the row that led to it.
//!
//! **Environments among themselves.** One may extend another and refer to others; what that comes to is the pure crate
//! `outrigger-configuration`'s to say. A change is published together with every environment that depends on what is
//! changed, in the same transaction, or refused when one of them could not be put together any more
//! (`variables/publish.rs`). So what is delivered is always what the newest generation says, whoever changed what. A rollout
//! that fails goes back to a whole generation, inherited values included (`variables/restore.rs`).
//!
//! **Approval.** An environment may be protected from changes of a risk, which then somebody else than their author has
//! to approve. That is judged where everything is published, of everything that would be different
//! (`variables/approval.rs`); whoever writes gets [`CatalogError::AwaitsApproval`] and a change request.
//!
//! **Secrets.** A variable that is marked secret, or is so by its kind, is sealed under its project's data key for its
//! exact place (organisation, project, environment, name, generation, key). Data keys are wrapped by the master key,
//! which never touches the storage; [`Catalog::open`] refuses a master key that is not the one that protects the
//! database, and never makes up for a missing one. Keys of both kinds are replaced while everything goes on
//! (`rotation.rs`); what is sealed is committed only while the key that it is sealed under is the one to be used.
//!
//! What must never be true: a plaintext secret in a row, an error or an audit entry; a protected environment that is
//! different without a second person, but for an owner who has said why; a change without its audit entry;
//! a generation of an environment that is used twice or goes back; one whose content hash is not that of what it is put
//! together from; an effect on the outside that was not written down
//! first.

mod accounts;
mod audit;
mod blobs;
mod catalog;
mod changes;
mod deployments;
mod enrolment;
mod environments;
mod erasure;
mod error;
mod export;
mod generations;
mod idempotency;
mod instances;
mod keyring;
mod keys;
pub mod model;
mod mutation;
mod page;
mod policies;
mod projects;
mod record;
mod retention;
mod rollouts;
mod rotation;
mod scaling;
mod templates;
mod tokens;
mod validate;
mod variables;

pub use accounts::NewAccount;
pub use audit::{AuditFault, AuditQuery, AuditVerification};
pub use catalog::{Catalog, Clock};
pub use changes::{Change, Changes};
pub use enrolment::{EnrollGrant, JOIN_TOKEN_TTL, MAX_JOIN_TOKEN_TTL};
pub use environments::{EnvironmentUpdate, NewEnvironment};
pub use error::{CatalogError, EnrollError, FieldProblem, OpenError, Unauthenticated};
pub use generations::GENERATIONS_KEPT;
pub use instances::IntentOutcome;
pub use keyring::MasterKeys;
pub use page::{DEFAULT_LIMIT, Listing, MAX_LIMIT, Page};
pub use policies::{MAX_COMPONENT_BYTES, NewPolicy};
pub use projects::{NewProject, ProjectUpdate};
pub use record::RecordError;
pub use retention::Swept;
pub use rollouts::{ROLLOUTS_KEPT, SaveRollout};
pub use rotation::{KeyUse, RotationStep};
pub use scaling::{DECISIONS_KEPT, EVENTS_KEPT, MAX_EFFECTS, Recorded, ScalingRecord};
pub use templates::MAX_TEMPLATES;
pub use validate::MAX_REPLICAS;
pub use variables::{
    Approval, At, CHANGE_TTL, EffectiveVariable, Import, ImportMode, Imported, MAX_OPEN_CHANGES, Reference, Restored,
    Side, TemplateApplication,
};
