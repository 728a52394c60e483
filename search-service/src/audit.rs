//! The audit log of this service: each request leaves a record before its answer leaves.
//!
//! `layer` stands around all methods, so none can forget its record: it begins an entry, and writes it when the answer is
//! known. What the entry says is added on the way: what a message asks for (`requests`), what is answered (`replies`), which
//! generation and calibration answered ([`note`]). Streams write records of their own as they go on (`stream`). What never
//! reaches a method is counted (`refusals`).

mod entry;
mod layer;
mod refusals;
mod replies;
mod requests;
mod settings;
mod stream;

pub(crate) use entry::{asked, begin, count, is_recorded, note, of_list, told};
pub(crate) use layer::Audited;
pub(crate) use replies::{AuditedReply, counts_of, of_hit};
pub(crate) use requests::AuditedRequest;
use requests::filter_words;
pub use settings::AuditConfig;
pub(crate) use stream::{StreamBegun, StreamEntry, hash_of_ids, stream};

use self::refusals::Refusals;
use crate::SearchError;
use descry_audit::{Anchoring, AuditError, AuditLog, Kind, Record, Words};
use descry_serving::RefusalObserver;
use descry_store::{Generation, SearchFilter};
use descry_trust::{Scope, Verb};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The log, and what it asks of callers. Clones share it.
#[derive(Clone)]
pub(crate) struct Trail {
    log: AuditLog,
    refusals: Refusals,
    rules: Arc<Rules>,
}

struct Rules {
    words: Words,
    /// Galleries that are used for a stated purpose alone.
    purpose: Vec<Scope>,
    /// Galleries that are used in a stated case alone.
    case: Vec<Scope>,
    anchoring: Anchoring,
    anchor_every: Duration,
}

impl Trail {
    /// Opens the log where the settings name a folder. `all_settings` are those of the whole service.
    ///
    /// # Errors
    /// [`SearchError::Audit`] where it cannot be written: then the service does not start.
    pub(crate) fn open(config: &AuditConfig, all_settings: &impl Debug) -> Result<Option<Self>, SearchError> {
        if config.folder.as_os_str().is_empty() {
            return Ok(None);
        }
        let rules = Rules {
            words: Words::open(config.queries, &config.query_key_file)?,
            purpose: config.purpose_galleries()?,
            case: config.case_galleries()?,
            anchoring: config.anchoring(),
            anchor_every: Duration::from_secs(config.anchor_interval_s),
        };
        // Keys and passwords are not shown among the settings, so their hash says nothing of them.
        let log = AuditLog::open(&config.settings(), &format!("{all_settings:?}"))?;
        Ok(Some(Self { refusals: Refusals::new(log.clone()), log, rules: Arc::new(rules) }))
    }

    /// # Errors
    /// [`SearchError::Audit`] while the log cannot be written.
    pub(crate) async fn ready(&self) -> Result<(), SearchError> {
        Ok(self.log.ready().await?)
    }

    /// Looks after the log's files, and writes what is refused before it reaches a method, until `shutdown`.
    pub(crate) async fn tend(self, shutdown: CancellationToken) {
        let Self { log, refusals, rules } = self;
        let tending = log.tend(rules.anchoring.clone(), rules.anchor_every, shutdown.clone().cancelled_owned());
        tokio::join!(tending, refusals.tend(shutdown));
    }

    /// Who is to be told of what is refused before it reaches a method.
    pub(crate) fn observer(&self) -> Arc<dyn RefusalObserver> {
        Arc::new(self.refusals.clone())
    }

    /// Records that images are about to be removed because they have been kept long enough: which, and how many.
    ///
    /// # Errors
    /// [`SearchError::Audit`].
    pub(crate) async fn sweep_begins(
        &self,
        gallery: &Generation,
        due: &[SearchFilter],
        images: u64,
    ) -> Result<(), SearchError> {
        let mut record = of_sweep(Kind::Begun, gallery);
        record.note = Some("sweep".to_owned());
        record.filter = filter_words(&SearchFilter { any: due.to_vec(), ..SearchFilter::default() });
        record.count("images", images);
        self.log.append(record).await?;
        Ok(())
    }

    /// Records that images were removed because they had been kept long enough, and how many stayed under a hold.
    ///
    /// # Errors
    /// [`SearchError::Audit`].
    pub(crate) async fn swept(&self, gallery: &Generation, removed: u64, held: u64) -> Result<(), SearchError> {
        let mut record = of_sweep(Kind::Sweep, gallery);
        record.count("deleted", removed);
        record.count("held", held);
        self.log.append(record).await?;
        Ok(())
    }

    /// What must be stated for a gallery and is not, with the header and the flag that state it.
    fn unstated(&self, record: &Record) -> Option<&'static str> {
        let gallery = record.gallery.as_deref()?;
        let gallery = gallery.split_once('.').map_or(gallery, |(name, _)| name);
        let is_asked = |galleries: &[Scope]| galleries.iter().any(|scope| scope.allows(Verb::Search, gallery));
        if record.purpose.is_none() && is_asked(&self.rules.purpose) {
            return Some("it is used for a stated purpose alone: state it with x-descry-purpose (descry: --purpose)");
        }
        if record.case_number.is_none() && is_asked(&self.rules.case) {
            return Some("it is used in a numbered case alone: give its number with x-descry-case (descry: --case)");
        }
        None
    }
}

fn of_sweep(kind: Kind, gallery: &Generation) -> Record {
    let mut record = Record::new(kind);
    of_generation(&mut record, gallery);
    record.gallery = Some(gallery.gallery.clone());
    record
}

fn of_generation(record: &mut Record, generation: &Generation) {
    record.generation = Some(generation.number);
    record.fingerprint = Some(generation.fingerprint.to_string());
}

impl From<AuditError> for SearchError {
    fn from(error: AuditError) -> Self {
        Self::Audit(error)
    }
}
