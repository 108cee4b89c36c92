//! The program's own output, on its way to the agent's: as it is, or with secrets masked.

use std::io;
use std::sync::Arc;

use zeroize::Zeroize;

use super::mask::{Masker, SecretSet};
use super::mirror::Mirror;

/// Memory that is kept between reads.
const KEPT_BYTES: usize = 4096;

/// One stream.
#[derive(Debug)]
pub struct Passage {
    mirror: Mirror,
    masker: Option<Masker>,
    masked: Vec<u8>,
}

impl Passage {
    /// Byte for byte.
    #[must_use]
    pub const fn plain(mirror: Mirror) -> Self {
        Self { mirror, masker: None, masked: Vec::new() }
    }

    #[must_use]
    pub fn masked(mirror: Mirror) -> Self {
        Self { mirror, masker: Some(Masker::new(Arc::new(SecretSet::empty()))), masked: Vec::new() }
    }

    /// Whether something waits that [`flush`](Self::flush) would pass on.
    pub(super) fn is_holding(&self) -> bool {
        self.masker.as_ref().is_some_and(Masker::is_holding)
    }

    /// Passes on what was read; waits while the reader is slow.
    pub(super) async fn pass(&mut self, chunk: &[u8], secrets: impl FnOnce() -> Arc<SecretSet>) -> io::Result<()> {
        let Some(masker) = &mut self.masker else { return self.mirror.write_all(chunk).await };
        masker.replace(secrets());
        masker.feed(chunk, &mut self.masked);
        self.write().await
    }

    /// Passes on what waits, although it may be the beginning of a secret.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if let Some(masker) = &mut self.masker {
            masker.flush(&mut self.masked);
        }
        self.write().await
    }

    /// The stream has ended.
    pub(super) async fn end(mut self) -> io::Result<()> {
        if let Some(masker) = &mut self.masker {
            masker.release(&mut self.masked);
        }
        self.write().await
    }

    async fn write(&mut self) -> io::Result<()> {
        let written = self.mirror.write_all(&self.masked).await;
        // What is not marked as secret may be one all the same.
        self.masked.zeroize();
        self.masked.shrink_to(KEPT_BYTES);
        written
    }
}
