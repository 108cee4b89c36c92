use zeroize::Zeroizing;

use crate::format::tree::Value;

/// What a plain scalar is in the core schema (YAML 1.2.2, 10.3.2). Its text stays as it is.
pub(super) fn resolve(text: Zeroizing<String>) -> Value {
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Value::Boolean(text),
        number if is_number(number) => Value::Number(text),
        _ => Value::Text(text),
    }
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let all = |digits: &str, is_digit: fn(&u8) -> bool| !digits.is_empty() && digits.as_bytes().iter().all(is_digit);
    if let Some(digits) = text.strip_prefix("0x") {
        return all(digits, u8::is_ascii_hexdigit);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return all(digits, |digit| matches!(digit, b'0'..=b'7'));
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let decimal = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
    let has_digits = !whole.is_empty() || !fraction.is_empty();
    has_digits && decimal(whole) && decimal(fraction) && exponent.is_none_or(|digits| all(digits, u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_core_schema() {
        for text in ["0", "-0", "+12", "012", "0o14", "0x1F", "1.", ".5", "-1.5e+3", "12e03", ".inf", "-.INF", ".NaN"] {
            assert!(is_number(text), "{text}");
        }
        for text in
            ["", "-", "+", ".", "1_000", "0b1", "0o8", "0x", "1e", "e5", "1.2.3", "2026-01-01", "12:30", "-.nan"]
        {
            assert!(!is_number(text), "{text}");
        }
    }

    #[test]
    fn words_of_yaml_1_1_and_dates_are_text() {
        for text in ["yes", "no", "on", "off", "y", "N", "tRuE", "nULL", "2026-01-01", "<<"] {
            assert!(matches!(resolve(Zeroizing::new(text.to_owned())), Value::Text(_)), "{text}");
        }
    }
}
