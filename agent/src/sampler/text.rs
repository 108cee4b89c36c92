//! Reading the kernel's text formats as bytes, without allocating and without trusting them: what does not parse is
//! absent.

/// A decimal number with nothing but blanks around it. A number beyond `u64` is none.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    let digits = text.trim_ascii();
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then_some(())?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A decimal fraction such as `0.42`.
pub(super) fn fraction(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok().filter(|value: &f64| value.is_finite())
}

/// Lines, without their newline.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// What stands between blanks.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// The number after `key` in a file of `key number` lines, such as `memory.stat`.
pub(super) fn keyed(text: &[u8], key: &str) -> Option<u64> {
    lines(text).find_map(|line| {
        let rest = line.strip_prefix(key.as_bytes())?;
        rest.first().filter(|byte| byte.is_ascii_whitespace())?;
        number(rest)
    })
}

/// The number after `key:` in a file of `key: number` lines, such as `/proc/PID/io`.
pub(super) fn keyed_colon(text: &[u8], key: &str) -> Option<u64> {
    lines(text).find_map(|line| number(line.strip_prefix(key.as_bytes())?.strip_prefix(b":")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_that_do_not_fit_are_none() {
        assert_eq!(number(b"18446744073709551615\n"), Some(u64::MAX));
        assert_eq!(number(b"18446744073709551616"), None);
        for text in ["", " ", "-1", "1 2", "max", "0x10", "1.5"] {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
        assert_eq!(fraction(b"NaN"), None);
        assert_eq!(fraction(b"0.42"), Some(0.42));
    }

    #[test]
    fn a_key_is_matched_whole() {
        let text = b"anon_thp 7\nanon 5\nfile\n";
        assert_eq!(keyed(text, "anon"), Some(5));
        assert_eq!(keyed(text, "file"), None);
        assert_eq!(keyed(text, "absent"), None);
    }

    proptest! {
        #[test]
        fn every_number_leads_back(value: u64) {
            prop_assert_eq!(number(format!(" {value}\n").as_bytes()), Some(value));
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            let _ = (number(&bytes), fraction(&bytes), keyed(&bytes, "a"));
        }
    }
}
