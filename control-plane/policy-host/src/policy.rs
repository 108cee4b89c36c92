//! A policy that is ready to be asked.

use std::fmt;

use crate::bindings::PolicyPre;
use crate::context::Context;
use crate::description::Description;
use crate::digest::Digest;
use crate::schema::ConfigSchema;
use crate::stats::{Counters, PolicyStats};

/// A component that was compiled, fits the contract and has described itself. It holds no instance and no memory of
/// earlier calls; replacing it leaves calls under way untouched, since they hold their own reference.
pub struct Policy {
    pub(crate) digest: Digest,
    pub(crate) description: Description,
    pub(crate) pre: PolicyPre<Context>,
    pub(crate) schema: ConfigSchema,
    pub(crate) counters: Counters,
}

impl Policy {
    /// The SHA-256 of the component: what the policy is addressed by.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    #[must_use]
    pub const fn description(&self) -> &Description {
        &self.description
    }

    /// What its evaluations came to since it was loaded.
    #[must_use]
    pub fn stats(&self) -> PolicyStats {
        self.counters.read()
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.description.name)
            .field("version", &self.description.version)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}
