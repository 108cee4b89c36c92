//! The chain of an organisation's audit log.
//!
//! An entry is stored as `2 | hash of the entry before (32 bytes) | the entry's row`. Its own hash is taken over its
//! organisation, its position and all of those bytes, so that none can be changed, taken out or moved without the next
//! one disagreeing. Where the log ends says the head, a row that is written with every entry and signed under a key that
//! is derived from the master key: whoever has the database alone can make no other end.
//!
//! Entries of releases without a chain are a row and nothing else, whose first byte is 1. The head says where the chain
//! begins, so that an entry behind it cannot pass for one of them.

use bytes::Bytes;
use outrigger_protocol::id::OrganizationId;
use outrigger_secrets::AuditKeys;
use outrigger_store::{Link, Linked, LogPosition};
use ring::digest::{Context, SHA256};

use crate::keyring::Keyring;
use crate::record;

/// The first byte of an entry that is in the chain.
const CHAINED: u8 = 2;
const DIGEST_BYTES: usize = 32;

/// A SHA-256.
pub(crate) type Digest = [u8; DIGEST_BYTES];

/// What the first entry has for the hash of the one before.
pub(crate) const BEGINNING: Digest = [0; DIGEST_BYTES];

/// Where a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AuditHead {
    /// The position of the chain's first entry.
    pub(crate) start: LogPosition,
    /// The position behind its last.
    pub(crate) next: LogPosition,
    /// The hash of its last.
    pub(crate) digest: Digest,
    pub(crate) signature: [u8; 32],
}

impl AuditHead {
    fn signed(
        keys: &AuditKeys,
        organization: OrganizationId,
        start: LogPosition,
        next: LogPosition,
        digest: Digest,
    ) -> Self {
        let fields: [&[u8]; 4] = [&organization.to_bytes(), &start.to_be_bytes(), &next.to_be_bytes(), &digest];
        Self { start, next, digest, signature: keys.sign_head(&fields) }
    }

    pub(crate) fn is_genuine(&self, keys: &AuditKeys, organization: OrganizationId) -> bool {
        let Self { start, next, digest, signature } = self;
        let fields: [&[u8]; 4] = [&organization.to_bytes(), &start.to_be_bytes(), &next.to_be_bytes(), digest];
        keys.signed_head(&fields, signature)
    }
}

/// An entry as the log has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored<'a> {
    /// The hash of the entry before; absent before the chain.
    pub(crate) before: Option<&'a Digest>,
    pub(crate) row: &'a [u8],
}

/// What stands in the log, whoever wrote it there.
pub(crate) fn parse(entry: &[u8]) -> Stored<'_> {
    match entry.split_first() {
        Some((&CHAINED, rest)) => match rest.split_first_chunk() {
            Some((before, row)) => Stored { before: Some(before), row },
            // Too short to be anything: as a row it is empty, which is an error of its own.
            None => Stored { before: None, row: &[] },
        },
        _ => Stored { before: None, row: entry },
    }
}

/// The hash of an entry at its place.
pub(crate) fn digest(organization: OrganizationId, position: LogPosition, entry: &[u8]) -> Digest {
    let mut context = Context::new(&SHA256);
    // Of fixed lengths, all but the last.
    for part in [&b"outrigger audit entry v1"[..], &organization.to_bytes(), &position.to_be_bytes(), entry] {
        context.update(part);
    }
    let mut digest = BEGINNING;
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// The keys of one organisation's audit log: those that sign, and while the master key is replaced those that have signed
/// as well.
#[derive(Debug, Clone)]
pub(crate) struct Signers {
    organization: OrganizationId,
    signing: AuditKeys,
    other: Option<AuditKeys>,
}

impl Signers {
    pub(crate) fn new(keyring: &Keyring, organization: OrganizationId) -> Self {
        let derive = |master| AuditKeys::derive(master, organization);
        Self { organization, signing: derive(keyring.sealing()), other: keyring.other().map(derive) }
    }

    /// Makes fingerprints of values.
    pub(crate) const fn signing(&self) -> &AuditKeys {
        &self.signing
    }

    pub(crate) fn is_genuine(&self, head: &AuditHead) -> bool {
        [Some(&self.signing), self.other.as_ref()]
            .into_iter()
            .flatten()
            .any(|keys| head.is_genuine(keys, self.organization))
    }

    /// The same end, signed anew; nothing for one that is so already, or that nobody of these has signed: it stays as
    /// it was found.
    pub(crate) fn resigned(&self, head: &AuditHead) -> Option<AuditHead> {
        let is_due = !head.is_genuine(&self.signing, self.organization) && self.is_genuine(head);
        let AuditHead { start, next, digest, .. } = *head;
        is_due.then(|| AuditHead::signed(&self.signing, self.organization, start, next, digest))
    }
}

/// Chains the entries of one organisation, inside the transactions that append them.
pub(crate) struct Chain {
    signers: Signers,
}

impl Chain {
    pub(crate) fn new(keyring: &Keyring, organization: OrganizationId) -> Self {
        Self { signers: Signers::new(keyring, organization) }
    }
}

impl Link for Chain {
    /// A head that was tampered with is built upon and not signed again: the log goes on, and every later look at it
    /// finds that it cannot be trusted.
    fn link(&self, head: Option<&[u8]>, position: LogPosition, value: &[u8]) -> Linked {
        let present = head.map(record::decode::<AuditHead>);
        let (start, before, trusted) = match present {
            None => (position, BEGINNING, true),
            Some(Ok(head)) => (head.start, head.digest, self.signers.is_genuine(&head)),
            Some(Err(_)) => (position, BEGINNING, false),
        };
        let mut entry = Vec::with_capacity(1 + DIGEST_BYTES + value.len());
        entry.push(CHAINED);
        entry.extend_from_slice(&before);
        entry.extend_from_slice(value);
        let Signers { organization, signing, .. } = &self.signers;
        let digest = digest(*organization, position, &entry);
        let next = position.saturating_add(1);
        let signed = AuditHead::signed(signing, *organization, start, next, digest);
        let head = if trusted { signed } else { AuditHead { signature: [0; 32], ..signed } };
        Linked { entry: Bytes::from(entry), head: record::encode(&head) }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_secrets::MasterKey;

    use super::*;

    fn chain() -> Chain {
        let organization = OrganizationId::generate();
        let signing = AuditKeys::derive(&MasterKey::generate(), organization);
        Chain { signers: Signers { organization, signing, other: None } }
    }

    fn head(linked: &Linked) -> AuditHead {
        record::decode(&linked.head).unwrap()
    }

    #[test]
    fn each_entry_has_the_hash_of_the_one_before_and_the_head_that_of_the_last() {
        let chain = chain();
        let first = chain.link(None, 5, b"\x01{}");
        let second = chain.link(Some(&first.head), 6, b"\x01[]");
        assert_eq!(parse(&first.entry), Stored { before: Some(&BEGINNING), row: b"\x01{}" });
        let digest_of_first = digest(chain.signers.organization, 5, &first.entry);
        assert_eq!(parse(&second.entry), Stored { before: Some(&digest_of_first), row: b"\x01[]" });
        let end = head(&second);
        assert_eq!((end.start, end.next), (5, 7));
        assert_eq!(end.digest, digest(chain.signers.organization, 6, &second.entry));
        assert!(chain.signers.is_genuine(&end));
        assert!(!end.is_genuine(&chain.signers.signing, OrganizationId::generate()));
        assert!(!chain.signers.is_genuine(&AuditHead { next: 6, ..end }));
    }

    #[test]
    fn a_head_that_is_not_genuine_is_never_signed_again() {
        let chain = chain();
        let first = chain.link(None, 0, b"\x01{}");
        let forged = record::encode(&AuditHead { start: 1, ..head(&first) });
        for bad in [&forged[..], b"", b"\x01nonsense"] {
            let next = chain.link(Some(bad), 1, b"\x01{}");
            assert!(!chain.signers.is_genuine(&head(&next)));
            let after = chain.link(Some(&next.head), 2, b"\x01{}");
            assert!(!chain.signers.is_genuine(&head(&after)));
        }
    }

    #[test]
    fn a_log_goes_on_under_a_new_key_and_what_the_old_one_signed_can_be_signed_anew() {
        let old = chain();
        let organization = old.signers.organization;
        let signing = AuditKeys::derive(&MasterKey::generate(), organization);
        let both = Signers { organization, signing, other: Some(old.signers.signing.clone()) };
        let alone = Signers { other: None, ..both.clone() };
        let first = old.link(None, 0, b"\x01{}");
        let resigned = both.resigned(&head(&first)).unwrap();
        assert!(alone.is_genuine(&resigned) && both.resigned(&resigned).is_none());
        assert_eq!(alone.resigned(&head(&first)), None, "whoever has the new key alone vouches for nothing");
        let second = Chain { signers: both }.link(Some(&first.head), 1, b"\x01{}");
        assert!(alone.is_genuine(&head(&second)));
    }

    #[test]
    fn any_bytes_are_an_entry_of_before_the_chain_or_one_of_it() {
        assert_eq!(parse(b""), Stored { before: None, row: b"" });
        assert_eq!(parse(b"\x01{}"), Stored { before: None, row: b"\x01{}" });
        assert_eq!(parse(b"\x02short"), Stored { before: None, row: b"" });
    }
}
