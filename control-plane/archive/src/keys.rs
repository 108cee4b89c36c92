//! Where everything stands in the store. This is the whole schema; the first segment of every key is `history`.
//!
//! | key | value |
//! |---|---|
//! | `epoch` | how often the archive was opened, u64 |
//! | `journal`, number u64, part u64 | samples of many deployments as they came in ([`crate::journal`]) |
//! | `deployment`, deployment | empty; there are rows of it |
//! | `pending`, deployment, scope, tier, start u64 | empty; rows of this period are to be sealed or joined |
//! | `rows`, deployment, scope, tier, start u64, sequence u64, last source, part u64, first source | a row of `outrigger-history` |
//!
//! Scope and tier are a byte each. `start` is where the period begins that the row belongs to. Sequences grow: of two
//! values of the same source, metric and time, that in the row with the greater one counts. Sources ascend over the rows
//! of a sequence, so that the first key from (sequence, source) on is that of the row which has the source.

use outrigger_history::SourceId;
use outrigger_protocol::id::DeploymentId;
use outrigger_store::{Key, KeyBuilder, KeyRange, KeyShapeError};

/// Whose series are in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Scope {
    /// Those of each instance.
    Members = 0,
    /// Those of the deployment as a whole; see [`crate::whole`].
    Whole = 1,
}

/// A span of one tier, of one deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Period {
    pub(crate) deployment: DeploymentId,
    pub(crate) scope: Scope,
    pub(crate) tier: u8,
    pub(crate) start: u64,
}

/// What the key of a row says besides its [`Period`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowKey {
    pub(crate) start: u64,
    pub(crate) sequence: u64,
    pub(crate) last: SourceId,
    pub(crate) part: u64,
    pub(crate) first: SourceId,
}

fn under(table: &str) -> KeyBuilder {
    Key::builder().text("history").text(table)
}

pub(crate) fn epoch() -> Key {
    under("epoch").build()
}

pub(crate) fn journal(number: u64, part: u64) -> Key {
    under("journal").u64(number).u64(part).build()
}

/// The journal before `number`; all of it when there is none.
pub(crate) fn journal_before(number: Option<u64>) -> KeyRange {
    let all = under("journal").build();
    match number {
        Some(number) => KeyRange::between(all, under("journal").u64(number).build()),
        None => KeyRange::prefix(&all),
    }
}

pub(crate) fn read_journal(key: &Key) -> Result<u64, KeyShapeError> {
    let mut reader = key.reader_after(&under("journal").build()).ok_or(KeyShapeError::NotText)?;
    let number = reader.u64()?;
    reader.u64()?;
    reader.finish()?;
    Ok(number)
}

pub(crate) fn deployment(deployment: DeploymentId) -> Key {
    under("deployment").array(&deployment.to_bytes()).build()
}

pub(crate) fn deployments() -> KeyRange {
    KeyRange::prefix(&under("deployment").build())
}

pub(crate) fn read_deployment(key: &Key) -> Result<DeploymentId, KeyShapeError> {
    let mut reader = key.reader_after(&under("deployment").build()).ok_or(KeyShapeError::NotText)?;
    let id = reader.array()?;
    reader.finish()?;
    Ok(DeploymentId::from_bytes(id))
}

fn period_under(table: &str, period: &Period) -> KeyBuilder {
    let place = [period.scope as u8, period.tier];
    under(table).array(&period.deployment.to_bytes()).array(&place).u64(period.start)
}

pub(crate) fn pending(period: &Period) -> Key {
    period_under("pending", period).build()
}

pub(crate) fn all_pending() -> KeyRange {
    KeyRange::prefix(&under("pending").build())
}

pub(crate) fn pending_of(deployment: DeploymentId) -> KeyRange {
    KeyRange::prefix(&under("pending").array(&deployment.to_bytes()).build())
}

pub(crate) fn read_pending(key: &Key) -> Result<Period, KeyShapeError> {
    let mut reader = key.reader_after(&under("pending").build()).ok_or(KeyShapeError::NotText)?;
    let deployment = DeploymentId::from_bytes(reader.array()?);
    let [scope, tier] = reader.array()?;
    let scope = if scope == Scope::Members as u8 { Scope::Members } else { Scope::Whole };
    let start = reader.u64()?;
    reader.finish()?;
    Ok(Period { deployment, scope, tier, start })
}

pub(crate) fn row(period: &Period, key: &RowKey) -> Key {
    let place = period_under("rows", &Period { start: key.start, ..*period }).u64(key.sequence);
    place.array(&key.last.to_bytes()).u64(key.part).array(&key.first.to_bytes()).build()
}

/// Reads back what follows the tier.
pub(crate) fn read_row(key: &Key) -> Result<RowKey, KeyShapeError> {
    let mut reader = key.reader_after(&under("rows").build()).ok_or(KeyShapeError::NotText)?;
    reader.array::<18>()?;
    let (start, sequence) = (reader.u64()?, reader.u64()?);
    let last = SourceId::from_bytes(reader.array()?);
    let part = reader.u64()?;
    let first = SourceId::from_bytes(reader.array()?);
    reader.finish()?;
    Ok(RowKey { start, sequence, last, part, first })
}

/// Everything of a deployment.
pub(crate) fn rows_of(deployment: DeploymentId) -> KeyRange {
    KeyRange::prefix(&under("rows").array(&deployment.to_bytes()).build())
}

/// The rows of the periods that begin in `from..to`.
pub(crate) fn rows_between(period: &Period, from: u64, to: u64) -> KeyRange {
    let at = |start| period_under("rows", &Period { start, ..*period }).build();
    KeyRange::between(at(from), at(to))
}

/// The rows of one period.
pub(crate) fn rows_in(period: &Period) -> KeyRange {
    KeyRange::prefix(&period_under("rows", period).build())
}

/// The rows of one period and sequence.
pub(crate) fn sequence(period: &Period, sequence: u64) -> KeyRange {
    KeyRange::prefix(&period_under("rows", period).u64(sequence).build())
}

/// The rows of one period and sequence that end with `source` or a later one.
pub(crate) fn sequence_from(period: &Period, sequence: u64, source: SourceId) -> KeyRange {
    let start = period_under("rows", period).u64(sequence).array(&source.to_bytes()).build();
    let end = period_under("rows", period).u64(sequence.saturating_add(1)).build();
    KeyRange::between(start, end)
}

/// The rows of one period whose sequence is greater.
pub(crate) fn after_sequence(period: &Period, sequence: u64) -> KeyRange {
    let start = period_under("rows", period).u64(sequence.saturating_add(1)).build();
    let whole = rows_in(period);
    match whole.end() {
        Some(end) => KeyRange::between(start, end.clone()),
        None => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(number: u8) -> SourceId {
        SourceId::from_bytes([number; 16])
    }

    #[test]
    fn keys_read_back_as_they_were_written() {
        let period =
            Period { deployment: DeploymentId::generate(), scope: Scope::Whole, tier: 3, start: 1_790_000_000_000 };
        assert_eq!(read_pending(&pending(&period)), Ok(period));
        assert_eq!(read_deployment(&deployment(period.deployment)), Ok(period.deployment));
        assert_eq!(read_journal(&journal(7, 8)), Ok(7));
        let key = RowKey { start: period.start, sequence: 9, last: source(3), part: 4, first: source(0) };
        assert_eq!(read_row(&row(&period, &key)), Ok(key));
        assert!(read_row(&pending(&period)).is_err());
    }

    #[test]
    fn the_first_row_from_a_source_on_is_the_one_that_has_it() {
        let period = Period { deployment: DeploymentId::generate(), scope: Scope::Members, tier: 0, start: 0 };
        let key = |sequence, first, last| {
            row(&period, &RowKey { start: 0, sequence, last: source(last), part: 0, first: source(first) })
        };
        let wanted = sequence_from(&period, 5, source(4));
        assert!(!wanted.contains(&key(5, 1, 3)));
        assert!(wanted.contains(&key(5, 4, 6)) && wanted.contains(&key(5, 7, 255)));
        assert!(!wanted.contains(&key(4, 0, 9)) && !wanted.contains(&key(6, 0, 9)));
        assert!(
            after_sequence(&period, 5).contains(&key(6, 0, 0)) && !after_sequence(&period, 5).contains(&key(5, 9, 9))
        );
        assert!(journal_before(Some(7)).contains(&journal(6, 9)) && !journal_before(Some(7)).contains(&journal(7, 0)));
    }
}
