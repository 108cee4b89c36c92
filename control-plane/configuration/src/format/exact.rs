//! Text with secrets in it, in a buffer that never grows: one that did would leave plaintext behind in freed memory.

use std::fmt::{self, Write as _};

use zeroize::Zeroizing;

/// What `display` comes to.
pub(super) fn text(display: &impl fmt::Display) -> Zeroizing<String> {
    const INFALLIBLE: &str = "memory takes every byte, and nothing that is displayed here fails";
    let mut length = Length(0);
    write!(length, "{display}").expect(INFALLIBLE);
    let mut text = Zeroizing::new(String::with_capacity(length.0));
    write!(*text, "{display}").expect(INFALLIBLE);
    text
}

/// Display by a function.
pub(super) struct By<F>(pub(super) F);

impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> fmt::Display for By<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0)(f)
    }
}

struct Length(usize);

impl fmt::Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.saturating_add(text.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_has_the_size_of_the_text() {
        let written = text(&By(|f: &mut fmt::Formatter<'_>| write!(f, "{}-{}", "é".repeat(100), 7)));
        assert_eq!(written.len(), written.capacity());
        assert!(written.ends_with("é-7"));
    }
}
