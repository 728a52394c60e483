//! Streams: that they begin, what they do piece by piece before anybody is told, and how they end.

use super::entry::{Entry, asked};
use super::layer::Unwritten;
use super::requests::AuditedRequest;
use super::{begin, entry};
use crate::SearchError;
use descry_audit::{Kind, Record, Returned};
use ring::digest::{Context, SHA256};
use std::sync::Arc;
use tonic::Code;

/// The entry of a stream. Its end is written when it is dropped.
pub(crate) struct StreamEntry {
    entry: Entry,
    _end: Unwritten,
}

/// Records that a stream begins; nothing where no log is kept.
///
/// # Errors
/// As [`begin`].
pub(crate) async fn stream(request: &impl AuditedRequest) -> Result<Option<StreamBegun>, SearchError> {
    asked(request)?;
    begin(request).await?;
    let Some(entry) = entry::current() else { return Ok(None) };
    if !request.changes() {
        entry.write_begun().await?;
    }
    Ok(Some(StreamBegun(entry)))
}

/// A stream that may still be refused as any other request.
pub(crate) struct StreamBegun(Entry);

impl StreamBegun {
    /// The stream goes on when its request is over.
    pub(crate) fn go_on(self) -> Arc<StreamEntry> {
        let Self(entry) = self;
        entry.become_stream();
        Arc::new(StreamEntry { _end: Unwritten(Some(entry.clone())), entry })
    }
}

impl StreamEntry {
    /// Records images that are about to be acknowledged: how many and what their ids hash to ([`hash_of_ids`]), and how many of
    /// them failed, were refused because they had been erased, and were let back although.
    ///
    /// # Errors
    /// `UNAVAILABLE`; then they must not be acknowledged.
    pub(crate) async fn chunk(
        &self,
        (count, hash): (u64, String),
        counted: Vec<(&'static str, u64)>,
    ) -> Result<(), SearchError> {
        let mut record = self.piece(Kind::Chunk);
        record.image_ids_sha256 = Some(hash);
        let counted: Vec<_> = std::iter::once(("images", count)).chain(counted).collect();
        counted.iter().for_each(|(what, number)| record.count(what, *number));
        self.write(record, &counted).await
    }

    /// Records matches that are about to leave.
    ///
    /// # Errors
    /// `UNAVAILABLE`; then they must not leave.
    pub(crate) async fn matches(&self, told: Vec<Returned>) -> Result<(), SearchError> {
        let mut record = self.piece(Kind::Matches);
        let count = told.len() as u64;
        record.returned = told;
        self.write(record, &[("matches", count)]).await
    }

    /// The stream came to its end.
    pub(crate) fn ended(&self, code: Code) {
        self.entry.end(code);
    }

    fn piece(&self, kind: Kind) -> Record {
        let whole = self.entry.record();
        Record {
            rpc: whole.rpc.clone(),
            principal: whole.principal.clone(),
            address: whole.address.clone(),
            purpose: whole.purpose.clone(),
            case_number: whole.case_number.clone(),
            authorization: whole.authorization.clone(),
            gallery: whole.gallery.clone(),
            generation: whole.generation,
            fingerprint: whole.fingerprint.clone(),
            ..Record::new(kind)
        }
    }

    /// Writes a piece, and adds it up for the end.
    async fn write(&self, record: Record, counted: &[(&str, u64)]) -> Result<(), SearchError> {
        self.entry.trail.log.append(record).await?;
        let mut whole = self.entry.record();
        for (what, number) in counted {
            *whole.counts.entry((*what).to_owned()).or_default() += number;
        }
        Ok(())
    }
}

/// How many ids there are, and the SHA-256 of them, each followed by a line feed.
pub(crate) fn hash_of_ids<'ids>(image_ids: impl Iterator<Item = &'ids str>) -> (u64, String) {
    let mut hash = Context::new(&SHA256);
    let mut count = 0;
    for image_id in image_ids {
        hash.update(image_id.as_bytes());
        hash.update(b"\n");
        count += 1;
    }
    (count, hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}
