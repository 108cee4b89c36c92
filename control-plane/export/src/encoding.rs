//! As much of the encoding of Protocol Buffers as the messages here need (protobuf.dev/programming-guides/encoding): a
//! writer for requests, and a reader for the few fields of an answer that matter. Neither needs a schema compiler.

/// Wire types.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

/// Appends fields to a message. What is written is there, also when it is zero.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn varint(&mut self, field: u32, value: u64) {
        self.tag(field, VARINT);
        self.raw_varint(value);
    }

    /// `int64`: negative ones take ten bytes.
    pub(crate) fn int64(&mut self, field: u32, value: i64) {
        self.varint(field, value.cast_unsigned());
    }

    pub(crate) fn fixed64(&mut self, field: u32, value: u64) {
        self.tag(field, FIXED64);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn double(&mut self, field: u32, value: f64) {
        self.fixed64(field, value.to_bits());
    }

    pub(crate) fn string(&mut self, field: u32, text: &str) {
        self.tag(field, LENGTH);
        self.raw_varint(text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// A packed repeated field of `fixed64` or `double`.
    pub(crate) fn packed64(&mut self, field: u32, values: impl ExactSizeIterator<Item = u64>) {
        self.tag(field, LENGTH);
        self.raw_varint(8 * values.len() as u64);
        values.for_each(|value| self.bytes.extend_from_slice(&value.to_le_bytes()));
    }

    /// A message in the message. Its length, which stands before it, is known afterwards: the content moves up by as many
    /// bytes as that takes.
    pub(crate) fn message(&mut self, field: u32, content: impl FnOnce(&mut Self)) {
        self.tag(field, LENGTH);
        let start = self.bytes.len();
        content(self);
        let end = self.bytes.len();
        self.raw_varint((end - start) as u64);
        let prefix = self.bytes.len() - end;
        self.bytes[start..].rotate_right(prefix);
    }

    fn tag(&mut self, field: u32, kind: u64) {
        self.raw_varint(u64::from(field) << 3 | kind);
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.bytes.push(value.to_le_bytes()[0]);
    }
}

/// A field of a message that somebody else wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Of a wire type that no field of interest has.
    Other,
}

/// The fields of a message up to its end, or up to where it is no message any more.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(count).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            VARINT => Value::Varint(self.varint()?),
            LENGTH => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            FIXED64 => self.take(8).map(|_| Value::Other)?,
            FIXED32 => self.take(4).map(|_| Value::Other)?,
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_the_bytes_of_the_encoding_guide() {
        // The guide's own examples: `a = 150`, `b = "testing"`, and the first inside of field 3.
        let mut writer = Writer::default();
        writer.varint(1, 150);
        writer.string(2, "testing");
        writer.message(3, |inner| inner.varint(1, 150));
        let expected = b"\x08\x96\x01\x12\x07testing\x1a\x03\x08\x96\x01";
        assert_eq!(writer.into_bytes(), expected);
    }

    #[test]
    fn a_long_message_gets_a_long_length() {
        let text = "x".repeat(300);
        let mut writer = Writer::default();
        writer.message(1, |inner| inner.string(1, &text));
        let bytes = writer.into_bytes();
        assert_eq!(bytes[..6], [0x0a, 0xaf, 0x02, 0x0a, 0xac, 0x02]);
        assert_eq!(bytes[6..], *text.as_bytes());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(numbers in prop::collection::vec((1_u32..500, any::<u64>()), 0..20), text: String) {
            let mut writer = Writer::default();
            for (field, value) in &numbers {
                writer.message(7, |inner| inner.varint(*field, *value));
            }
            writer.double(9, 0.5);
            writer.string(8, &text);
            let bytes = writer.into_bytes();
            let mut fields: Vec<_> = Reader::new(&bytes).collect();
            prop_assert_eq!(fields.pop(), Some((8, Value::Bytes(text.as_bytes()))));
            prop_assert_eq!(fields.pop(), Some((9, Value::Other)));
            let inner: Vec<_> = fields.iter().filter_map(|(_, value)| match value {
                Value::Bytes(bytes) => Reader::new(bytes).next(),
                _ => None,
            }).collect();
            let expected: Vec<_> = numbers.iter().map(|(f, v)| (u64::from(*f), Value::Varint(*v))).collect();
            prop_assert_eq!(inner, expected);
        }

        #[test]
        fn no_bytes_make_the_reader_run_away(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Reader::new(&bytes).count() <= bytes.len());
        }
    }
}
