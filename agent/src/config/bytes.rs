//! Sizes as people write them: a whole number of bytes, or with a unit, `512KiB`, `8MiB`.

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a size is a whole number of bytes, or of KiB or MiB with the unit behind it: 512KiB, 8MiB")]
pub(super) struct ParseBytesError;

/// # Errors
/// The text is not a number, alone or with one of the units `KiB` and `MiB`, or is too large to be a size here.
pub(super) fn parse(text: &str) -> Result<usize, ParseBytesError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        _ => return Err(ParseBytesError),
    };
    number.parse::<usize>().ok().and_then(|number| number.checked_mul(factor)).ok_or(ParseBytesError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_alone_or_with_a_unit_is_a_size() {
        for (text, bytes) in [("0", 0), ("1000", 1_000), ("512KiB", 512 << 10), ("8MiB", 8 << 20)] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "MiB", "8 MiB", "8M", "8MB", "8mib", "-1", "1.5MiB", "99999999999999999999", "1GiB"] {
            assert_eq!(parse(text), Err(ParseBytesError), "{text}");
        }
        assert_eq!(parse(&format!("{}MiB", usize::MAX)), Err(ParseBytesError));
    }
}
