//! How much the control plane logs, and the means to change it while it runs.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Has a filter take effect, or says in a sentence why it cannot.
type Apply = dyn Fn(&str) -> Result<(), String> + Send + Sync;

/// What is logged; clones are the same.
#[derive(Clone)]
pub struct LogFilter(Arc<Inner>);

struct Inner {
    text: Mutex<String>,
    apply: Box<Apply>,
}

impl LogFilter {
    /// `text` is in effect now; `apply` has another one take effect.
    #[must_use]
    pub fn new(text: String, apply: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { text: Mutex::new(text), apply: Box::new(apply) }))
    }

    pub(crate) fn read(&self) -> String {
        self.0.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, text: &str) -> Result<(), String> {
        // Held meanwhile, so that what is read is what is in effect.
        let mut present = self.0.text.lock().unwrap_or_else(PoisonError::into_inner);
        (self.0.apply)(text)?;
        text.clone_into(&mut present);
        Ok(())
    }
}

impl fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogFilter").field(&self.read()).finish()
    }
}
