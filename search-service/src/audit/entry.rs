//! What is written down of one request while it is worked on.

use super::{AuditedReply, AuditedRequest, Trail, of_generation};
use crate::SearchError;
use descry_audit::{AuditError, Kind, Record};
use descry_serving::code_name;
use descry_store::Generation;
use descry_trust::Caller;
use http::{Extensions, HeaderMap, HeaderName};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tonic::metadata::MetadataMap;
use tonic::transport::server::TcpConnectInfo;
use tonic::{Code, Status};

tokio::task_local! {
    /// The entry of the request, or of the one of its searches, that is worked on.
    static ENTRY: Entry;
}

/// Where in a record something goes that a caller states.
type Place = fn(&mut Record) -> &mut Option<String>;

/// What callers state: the header, and where it goes.
const STATED: [(&str, Place); 4] = [
    ("x-descry-purpose", |record| &mut record.purpose),
    ("x-descry-case", |record| &mut record.case_number),
    ("x-descry-authorization", |record| &mut record.authorization),
    ("x-descry-verifier", |record| &mut record.verifier),
];

/// A request's entry. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(super) trail: Trail,
    pub(super) record: Arc<Mutex<Record>>,
    /// The searches of a request with several, each with a record of its own.
    searches: Arc<Mutex<Vec<Arc<Mutex<Record>>>>>,
    /// Whether a stream goes on with it, which writes it at its end.
    is_stream: Arc<AtomicBool>,
}

impl Entry {
    /// An entry for a request to this method, which is `CANCELLED` unless it is told otherwise.
    pub(super) fn begin(trail: Trail, path: &str, headers: &HeaderMap, extensions: &Extensions) -> Self {
        let caller = caller(extensions);
        let mut record = Record {
            rpc: Some(path.trim_start_matches('/').to_owned()),
            principal: caller.principal.map(|principal| principal.name.clone()),
            address: caller.address.map(|address| address.to_string()),
            status: Some(code_name(Code::Cancelled).to_owned()),
            ..Record::new(Kind::Request)
        };
        state(&mut record, headers);
        let record = Arc::new(Mutex::new(record));
        Self { trail, record, searches: Arc::default(), is_stream: Arc::default() }
    }

    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whatever is done within `future` is noted here.
    pub(super) async fn scope<Answer>(self, future: impl Future<Output = Answer>) -> Answer {
        ENTRY.scope(self, future).await
    }

    /// The same for what is done at once.
    pub(super) fn sync_scope<Answer>(&self, work: impl FnOnce() -> Answer) -> Answer {
        ENTRY.sync_scope(self.clone(), work)
    }

    pub(super) fn become_stream(&self) {
        self.is_stream.store(true, Ordering::Release);
    }

    pub(super) fn is_stream(&self) -> bool {
        self.is_stream.load(Ordering::Acquire)
    }

    /// How the request ended.
    pub(super) fn end(&self, code: Code) {
        end(&mut self.record(), code);
    }

    /// All records of the request as they are now, those of its searches first.
    pub(super) fn records(&self) -> Vec<Record> {
        let searches = std::mem::take(&mut *self.searches.lock().unwrap_or_else(PoisonError::into_inner));
        let taken = |record: &Arc<Mutex<Record>>| record.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut records: Vec<Record> = searches.iter().map(taken).collect();
        records.push(self.record().clone());
        records
    }

    fn asked(&self, request: &impl AuditedRequest) -> Result<(), AuditError> {
        let mut record = self.record();
        record.gallery = Some(request.gallery().to_owned()).filter(|gallery| !gallery.is_empty());
        request.describe(&mut record, &self.trail.rules.words)
    }

    /// Refuses what states too little.
    fn check_stated(&self) -> Result<(), SearchError> {
        let record = self.record();
        match self.trail.unstated(&record) {
            None => Ok(()),
            Some(reason) => {
                let name = record.gallery.clone().unwrap_or_default();
                Err(SearchError::NotReady { name, reason: reason.to_owned() })
            }
        }
    }

    /// Writes that the request begins, before anything is done.
    pub(super) async fn write_begun(&self) -> Result<(), SearchError> {
        let begun = Record { kind: Kind::Begun, status: None, ..self.record().clone() };
        self.trail.log.append(begun).await?;
        Ok(())
    }
}

/// Where a request comes from: who proved who they are, or at least an address.
fn caller(extensions: &Extensions) -> Caller {
    let address = || extensions.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    extensions.get::<Caller>().cloned().unwrap_or_else(|| Caller { address: address(), ..Caller::default() })
}

/// Notes what the caller states, as text or, in a header whose name ends with `-bin`, as bytes of UTF-8.
fn state(record: &mut Record, headers: &HeaderMap) {
    for (name, field) in STATED {
        let text = match headers.get(name) {
            Some(value) => Some(String::from_utf8_lossy(value.as_bytes()).into_owned()),
            None => binary_header(headers, &format!("{name}-bin")),
        };
        *field(record) = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    }
}

fn binary_header(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    // How it is written is tonic's to know.
    let metadata = MetadataMap::from_headers(
        [(HeaderName::from_bytes(name.as_bytes()).ok()?, value.clone())].into_iter().collect(),
    );
    let bytes = metadata.get_bin(name)?.to_bytes().ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn end(record: &mut Record, code: Code) {
    record.end_ms = now_ms();
    record.status = Some(code_name(code).to_owned());
}

pub(super) fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn current() -> Option<Entry> {
    ENTRY.try_with(Clone::clone).ok()
}

/// Notes what a message asks for. Nothing where no log is kept.
///
/// # Errors
/// `UNAVAILABLE` where its words cannot be sealed.
pub(crate) fn asked(request: &impl AuditedRequest) -> Result<(), SearchError> {
    match current() {
        Some(entry) => Ok(entry.asked(request)?),
        None => Ok(()),
    }
}

/// Refuses a message that states too little; and records one that changes something before it does.
///
/// # Errors
/// `FAILED_PRECONDITION` with what must be stated, `UNAVAILABLE` where the log cannot be written.
pub(crate) async fn begin(request: &impl AuditedRequest) -> Result<(), SearchError> {
    let Some(entry) = current() else { return Ok(()) };
    entry.check_stated()?;
    if request.changes() { entry.write_begun().await } else { Ok(()) }
}

/// Notes which generation answers, and by which calibration.
pub(crate) fn note(generation: &Generation, calibrated_at_ms: Option<i64>) {
    // Nothing is noted of what is done for no request.
    let _ = ENTRY.try_with(|entry| {
        let mut record = entry.record();
        of_generation(&mut record, generation);
        record.calibrated_at_ms = calibrated_at_ms.or(record.calibrated_at_ms);
    });
}

/// Notes a number of what is done.
pub(crate) fn count(what: &str, number: u64) {
    let _ = ENTRY.try_with(|entry| entry.record().count(what, number));
}

/// Whether what is done now is recorded.
pub(crate) fn is_recorded() -> bool {
    ENTRY.try_with(|_| ()).is_ok()
}

/// Notes what is answered.
pub(crate) fn told(reply: &impl AuditedReply) {
    let _ = ENTRY.try_with(|entry| reply.told(&mut entry.record()));
}

/// One search of a request with several: it has a record of its own, which is written before the answer to the request leaves.
///
/// # Errors
/// As [`begin`], and what `search` fails with.
pub(crate) async fn of_list<Asked: AuditedRequest, Told: AuditedReply, Searching>(
    request: Asked,
    search: impl FnOnce(Asked) -> Searching,
) -> Result<Told, SearchError>
where
    Searching: Future<Output = Result<Told, SearchError>>,
{
    let Some(whole) = current() else { return search(request).await };
    let whole_record = whole.record().clone();
    let record = Record { kind: Kind::Search, begin_ms: now_ms(), counts: BTreeMap::new(), ..whole_record };
    let record = Arc::new(Mutex::new(record));
    whole.searches.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&record));
    let entry = Entry { record, ..whole };
    let searching = async {
        entry.asked(&request)?;
        entry.check_stated()?;
        search(request).await
    };
    let answer = entry.clone().scope(searching).await;
    let code = match &answer {
        Ok(reply) => {
            reply.told(&mut entry.record());
            Code::Ok
        }
        Err(error) => Status::from(error.clone()).code(),
    };
    entry.end(code);
    answer
}
