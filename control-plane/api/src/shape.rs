//! The JSON of the API, and how it is made from and into the types of the control plane.
//!
//! Requests refuse unknown fields. A request's checks that need only its own text (a duration, a size, a name of an
//! enum) are made here, all of them before anything is answered.

pub(crate) mod account;
pub(crate) mod apply;
pub(crate) mod audit;
pub(crate) mod change;
pub(crate) mod decision;
pub(crate) mod deployment;
pub(crate) mod environment;
pub(crate) mod file;
pub(crate) mod history;
pub(crate) mod instance;
pub(crate) mod key;
pub(crate) mod log;
pub(crate) mod metric;
pub(crate) mod observation;
pub(crate) mod policy;
pub(crate) mod probe;
pub(crate) mod project;
pub(crate) mod rollout;
pub(crate) mod template;

use crate::error::{ApiError, Detail};

/// Collects everything that is wrong with a request.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Detail>);

impl Problems {
    pub(crate) fn add(&mut self, field: impl Into<String>, problem: impl Into<String>) {
        self.0.push(Detail::new(field, problem));
    }

    /// The parsed value; a value that does not parse is noted and `None`.
    pub(crate) fn parse<T>(
        &mut self,
        field: &str,
        text: Option<&str>,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let text = text?;
        let value = parse(text);
        if value.is_none() {
            self.add(field, format!("has to be {expected}"));
        }
        value
    }

    pub(crate) fn finish<T>(self, value: impl FnOnce() -> T) -> Result<T, ApiError> {
        if self.0.is_empty() { Ok(value()) } else { Err(ApiError::validation(self.0)) }
    }
}

/// The words of the contract for a duration.
pub(crate) const DURATION: &str = "a duration such as 250ms, 30s or 5m";
