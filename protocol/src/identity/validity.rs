//! The period of validity of a certificate, which webpki checks and does not tell.
//!
//! Just enough DER (X.690) to walk to it (RFC 5280, 4.1): six elements are stepped over, two times are read. A parser
//! for all of X.509 would be the largest dependency of the agent for these two numbers.

use rustls_pki_types::CertificateDer;

use super::IdentityError;
use crate::time::UnixMillis;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// From the first to the last moment, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub not_before: UnixMillis,
    pub not_after: UnixMillis,
}

/// Reads the period of validity of a certificate.
///
/// # Errors
/// The bytes are not a certificate, or its times are outside of 1970 to 9999.
pub fn validity(certificate: &CertificateDer<'_>) -> Result<Validity, IdentityError> {
    read_validity(certificate).ok_or(IdentityError::Validity)
}

fn read_validity(certificate: &[u8]) -> Option<Validity> {
    let mut certificate = Der(Der(certificate).take(SEQUENCE)?);
    let mut fields = Der(certificate.take(SEQUENCE)?);
    if fields.0.first() == Some(&VERSION) {
        fields.take(VERSION)?;
    }
    fields.take(INTEGER)?; // serial number
    fields.take(SEQUENCE)?; // signature algorithm
    fields.take(SEQUENCE)?; // issuer
    let mut period = Der(fields.take(SEQUENCE)?);
    Some(Validity { not_before: period.take_time()?, not_after: period.take_time()? })
}

struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next element, which must have this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content) = self.next()?;
        (found == tag).then_some(content)
    }

    /// Tag and content of the next element. Lengths of up to two bytes: a certificate is not longer.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (length, rest) = match *self.0.get(1..)? {
            [length @ 0..=0x7f, ref rest @ ..] => (usize::from(length), rest),
            [0x81, length, ref rest @ ..] => (usize::from(length), rest),
            [0x82, high, low, ref rest @ ..] => (usize::from(u16::from_be_bytes([high, low])), rest),
            _ => return None,
        };
        let tag = self.0[0];
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280, 4.1.2.5).
    fn take_time(&mut self) -> Option<UnixMillis> {
        let (tag, text) = self.next()?;
        let (year, rest) = match tag {
            UTC_TIME => {
                let (year, rest) = digits(text)?;
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            GENERALIZED_TIME => {
                let (century, rest) = digits(text)?;
                let (year, rest) = digits(rest)?;
                (century * 100 + year, rest)
            }
            _ => return None,
        };
        let (month, rest) = digits(rest)?;
        let (day, rest) = digits(rest)?;
        let (hour, rest) = digits(rest)?;
        let (minute, rest) = digits(rest)?;
        let (second, rest) = digits(rest)?;
        let valid = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
        if !valid || year < 1970 || rest != b"Z" {
            return None;
        }
        let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
        Some(UnixMillis::from_millis(seconds * 1_000))
    }
}

fn digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let (pair, rest) = text.split_first_chunk::<2>()?;
    let [tens, units] = pair.map(|byte| byte.wrapping_sub(b'0'));
    (tens < 10 && units < 10).then(|| (u64::from(tens) * 10 + u64::from(units), rest))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, from 1970 on. The year is taken to begin in March, so that
/// the leap day is its last (Howard Hinnant, "chrono-compatible low-level date algorithms", `days_from_civil`).
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time(tag: u8, text: &str) -> Option<u64> {
        let mut der = vec![tag, u8::try_from(text.len()).expect("short")];
        der.extend_from_slice(text.as_bytes());
        Der(&der).take_time().map(UnixMillis::as_millis)
    }

    #[test]
    fn both_forms_of_time_are_read() {
        assert_eq!(time(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(time(UTC_TIME, "240229235959Z"), Some(1_709_251_199_000));
        assert_eq!(time(UTC_TIME, "000301000000Z"), Some(951_868_800_000));
        assert_eq!(time(GENERALIZED_TIME, "99991231235959Z"), Some(253_402_300_799_000));
    }

    #[test]
    fn other_times_are_refused() {
        assert_eq!(time(UTC_TIME, "500101000000Z"), None, "1950");
        assert_eq!(time(UTC_TIME, "701301000000Z"), None, "month 13");
        assert_eq!(time(UTC_TIME, "7001010000Z"), None, "no seconds");
        assert_eq!(time(UTC_TIME, "700101000000+0100"), None, "a zone");
        assert_eq!(time(INTEGER, "700101000000Z"), None, "not a time");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read_validity(&bytes);
        }
    }
}
