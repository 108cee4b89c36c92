use std::fmt;

/// Labels of DNS (RFC 1123, 2.1).
const LABEL_BYTES: usize = 63;
/// Names of DNS (RFC 1123, 2.1), as Kubernetes counts them.
const NAME_BYTES: usize = 253;

/// The name of the objects, and the namespace that they are to be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectName {
    name: String,
    namespace: Option<String>,
}

/// A name that Kubernetes would refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidObjectName {
    #[error(
        "the name of an object is at most {NAME_BYTES} lower-case letters, digits, `-` and `.`, with a letter or a \
         digit at both ends of each part"
    )]
    Name,
    #[error(
        "a namespace is at most {LABEL_BYTES} lower-case letters, digits and `-`, with a letter or a digit at both ends"
    )]
    Namespace,
}

impl ObjectName {
    /// `name` is a subdomain of RFC 1123, `namespace` a label.
    ///
    /// # Errors
    /// One of them is not.
    pub fn new(name: &str, namespace: Option<&str>) -> Result<Self, InvalidObjectName> {
        if name.len() > NAME_BYTES || !name.split('.').all(is_label) {
            return Err(InvalidObjectName::Name);
        }
        if namespace.is_some_and(|namespace| namespace.len() > LABEL_BYTES || !is_label(namespace)) {
            return Err(InvalidObjectName::Namespace);
        }
        Ok(Self { name: name.to_owned(), namespace: namespace.map(str::to_owned) })
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// But for its length, which for the parts of a name Kubernetes leaves open.
fn is_label(text: &str) -> bool {
    let is_edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(is_edge)
        && text.ends_with(is_edge)
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_subdomains_and_namespaces_labels() {
        for (name, namespace) in [("a", None), ("shop.eu-1", Some("prod-2")), ("0", Some("0"))] {
            assert!(ObjectName::new(name, namespace).is_ok(), "{name}");
        }
        let long = "a".repeat(NAME_BYTES + 1);
        for name in ["", "A", "a_b", "-a", "a-", "a..b", ".a", "a.", "a\n", "é", &long] {
            assert_eq!(ObjectName::new(name, None), Err(InvalidObjectName::Name), "{name}");
        }
        for namespace in ["", "a.b", "a-", &long[..LABEL_BYTES + 1]] {
            assert_eq!(ObjectName::new("a", Some(namespace)), Err(InvalidObjectName::Namespace), "{namespace}");
        }
    }
}
