//! What the audit log says of a person: who was told of them, and what was changed.

use super::files::NewFile;
use super::images::NamesOfGallery;
use super::naming::Subject;
use anyhow::Context as _;
use descry_audit::{
    Asked, AuditError, Kind, NameKey, Named, Opener, Record, RecordFilter, Said, Stored, WantedNames, instances,
    records,
};
use descry_client::timestamp;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub(super) const FILE: &str = "audit.jsonl";

/// Where the audit log lies, and what opens it.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct AuditArguments {
    /// Folder of the audit log: who was told of the person is written down as well.
    #[arg(long, value_name = "DIR")]
    audit: Option<PathBuf>,
    /// The key that the service's audit.name_key_file names, where names are hashed.
    #[arg(long, value_name = "FILE", requires = "audit")]
    name_key: Option<PathBuf>,
    /// Private key that `descry audit key` wrote: sealed words of searches are written open.
    #[arg(long, value_name = "FILE", requires = "audit")]
    query_key: Option<PathBuf>,
}

/// A log that can be read.
pub(super) struct AuditSource {
    instances: Vec<PathBuf>,
    name_key: Option<NameKey>,
    opener: Option<Opener>,
}

impl AuditArguments {
    pub(super) fn open(&self) -> anyhow::Result<Option<AuditSource>> {
        let Some(folder) = &self.audit else { return Ok(None) };
        Ok(Some(AuditSource {
            instances: instances(folder)?,
            name_key: self.name_key.as_deref().map(NameKey::read).transpose().context("--name-key")?,
            opener: self.query_key.as_deref().map(Opener::read).transpose().context("--query-key")?,
        }))
    }
}

/// What was found in the log.
#[derive(Debug, Default)]
pub(super) struct OfAudit {
    /// Records that name the person.
    pub(super) records: u64,
    /// Searches and matches of watches that told somebody of the person.
    pub(super) searches: u64,
    /// Changes and deletions that name the person.
    pub(super) changes: u64,
    /// Records of the galleries whose names are hashed with another key.
    pub(super) closed: u64,
    /// Records of the galleries that leave out some names, because there were too many.
    pub(super) cut: u64,
    /// When the log begins and ends, in milliseconds since 1970.
    pub(super) time_ms: Option<(i64, i64)>,
}

/// As it is written: what the record says of the person, and nothing of others.
#[derive(Serialize)]
struct RecordLine {
    time: String,
    what: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    case_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verifier: Option<String>,
    gallery: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    watch: Option<String>,
    /// Words of the query.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    words: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    told: Vec<Told>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    looked_for_like: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    taken_for_right: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    taken_for_wrong: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    image_ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<Value>,
    /// Where the record stands, for who wants to compare.
    instance: String,
    sequence: u64,
}

/// An image of the person that somebody was told of.
#[derive(Debug, PartialEq, Serialize)]
struct Told {
    image_id: String,
    /// From 1; none in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    rank: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<f32>,
}

impl AuditSource {
    /// Goes through the whole log once, and writes each record that names the person.
    ///
    /// # Errors
    /// Where the log cannot be read or the file not written, and when `stop` is cancelled.
    pub(super) fn write(
        &self,
        galleries: &[NamesOfGallery],
        subject: &Subject,
        mut file: NewFile,
        stop: &CancellationToken,
    ) -> anyhow::Result<OfAudit> {
        // Other galleries have other people of the same names.
        let of_gallery = |names: &NamesOfGallery| {
            let images = names.image_ids.iter().map(|image_id| (Named::Image, image_id.clone()));
            (names.gallery.clone(), WantedNames::new(images.chain(subject.names()), self.name_key.as_ref()))
        };
        let wanted: BTreeMap<String, WantedNames> = galleries.iter().map(of_gallery).collect();
        let mut found = OfAudit::default();
        for instance in &self.instances {
            // Why reading was ended, which is none of the log's faults.
            let mut failure = None;
            let reading = records(instance, &RecordFilter::default(), |stored| {
                let taken = self.take(stored, (instance, &wanted), &mut found, &mut file);
                let stopped = || anyhow::anyhow!("stopped before all was read; nothing was written");
                failure = taken.err().or_else(|| stop.is_cancelled().then(stopped));
                if failure.is_none() {
                    Ok(())
                } else {
                    Err(AuditError::Output(Arc::new(ErrorKind::Interrupted.into())))
                }
            });
            if let Some(failure) = failure {
                return Err(failure);
            }
            reading?;
        }
        file.finish()?;
        Ok(found)
    }

    fn take(
        &self,
        mut stored: Stored,
        (instance, wanted): (&Path, &BTreeMap<String, WantedNames>),
        found: &mut OfAudit,
        file: &mut NewFile,
    ) -> anyhow::Result<()> {
        let end_ms = stored.record.end_ms;
        let (first, last) = found.time_ms.unwrap_or((end_ms, end_ms));
        found.time_ms = Some((first.min(end_ms), last.max(end_ms)));
        let Some(address) = stored.record.gallery.clone() else { return Ok(()) };
        let gallery = address.split_once('.').map_or(address.as_str(), |(name, _)| name);
        let Some(wanted) = wanted.get(gallery) else { return Ok(()) };
        let names_cut = ["returned", "image_ids", "accepted", "rejected", "query", "filter"];
        found.cut += u64::from(stored.record.cut.iter().any(|cut| names_cut.contains(&cut.as_str())));
        match wanted.said_in(&stored.record) {
            Said::No => return Ok(()),
            Said::Closed => {
                found.closed += 1;
                return Ok(());
            }
            Said::Yes => {}
        }
        if let Some(opener) = &self.opener {
            opener.open_words(&mut stored.record);
        }
        let instance = instance.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let line = line(&wanted.alone_in(&stored.record), (instance, stored.sequence, address));
        found.records += 1;
        found.searches += u64::from(line.told.iter().any(|told| told.score.is_some()));
        found.changes += u64::from(!line.image_ids.is_empty() && line.what != Kind::Begun);
        file.line(&line)
    }
}

/// `record` has no names but the person's.
fn line(record: &Record, (instance, sequence, gallery): (String, u64, String)) -> RecordLine {
    let theirs = |ids: &[String]| ids.iter().filter(|id| !id.is_empty()).cloned().collect::<Vec<_>>();
    let like = |asked: &Asked| match asked {
        Asked::ImageId(image_id) => Some(image_id.clone()).filter(|id| !id.is_empty()),
        Asked::Text(_)
        | Asked::SealedText(_)
        | Asked::HashedText(_)
        | Asked::ImageSha256(_)
        | Asked::EmbeddingSha256(_) => None,
    };
    RecordLine {
        time: timestamp(record.end_ms).to_string(),
        what: record.kind,
        method: record.rpc.as_deref().and_then(|rpc| rpc.rsplit('/').next()).map(str::to_owned),
        principal: record.principal.clone(),
        purpose: record.purpose.clone(),
        case_number: record.case_number.clone(),
        authorization: record.authorization.clone(),
        verifier: record.verifier.clone(),
        gallery,
        generation: record.generation,
        status: record.status.clone(),
        watch: record.watch.clone(),
        words: record.query.iter().filter_map(|part| words(&part.asked)).collect(),
        told: told(record),
        looked_for_like: record.query.iter().filter_map(|part| like(&part.asked)).collect(),
        taken_for_right: theirs(&record.accepted),
        taken_for_wrong: theirs(&record.rejected),
        image_ids: theirs(&record.image_ids),
        filter: record.filter.clone().and_then(without_others),
        instance,
        sequence,
    }
}

fn words(asked: &Asked) -> Option<String> {
    match asked {
        Asked::Text(text) => Some(text.clone()),
        Asked::SealedText(_) => Some("(sealed)".to_owned()),
        Asked::HashedText(_) => Some("(hashed)".to_owned()),
        Asked::ImageSha256(_) => Some("(an image)".to_owned()),
        Asked::EmbeddingSha256(_) => Some("(an embedding)".to_owned()),
        Asked::ImageId(_) => None,
    }
}

/// The person's images among those that were told, with their ranks. Hits have scores; what stands between them without one are
/// further images of the hit before.
fn told(record: &Record) -> Vec<Told> {
    let (mut rank, mut told) = (record.counts.get("offset").copied().unwrap_or(0), Vec::new());
    for image in &record.returned {
        rank += u64::from(image.score.is_some());
        if !image.image_id.is_empty() {
            told.push(Told {
                image_id: image.image_id.clone(),
                rank: image.score.map(|_| rank),
                score: image.score,
                probability: image.probability,
            });
        }
    }
    told
}

/// The filter without the places of other people's names, and without what is empty then.
fn without_others(filter: Value) -> Option<Value> {
    match filter {
        Value::String(text) => (!text.is_empty()).then_some(Value::String(text)),
        Value::Array(list) => {
            let list: Vec<Value> = list.into_iter().filter_map(without_others).collect();
            (!list.is_empty()).then_some(Value::Array(list))
        }
        Value::Object(fields) => {
            let fields = fields.into_iter().filter_map(|(name, value)| Some((name, without_others(value)?)));
            let fields: serde_json::Map<String, Value> = fields.collect();
            (!fields.is_empty()).then_some(Value::Object(fields))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Some(filter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_audit::Returned;
    use serde_json::json;

    #[test]
    fn ranks_count_hits_and_others_are_left_out() {
        let image = |image_id: &str, score| Returned { image_id: image_id.to_owned(), score, probability: None };
        let mut record = Record {
            returned: vec![image("", Some(0.9)), image("", None), image("a", Some(0.8)), image("b", None)],
            filter: Some(json!({ "person_ids": ["", "7"], "all": [{ "track_ids": [""] }], "captured_from_ms": 5 })),
            ..Record::new(Kind::Request)
        };
        record.count("offset", 10);
        let found = line(&record, ("one".to_owned(), 3, "lobby".to_owned()));
        let ranks: Vec<_> = found.told.iter().map(|told| (told.image_id.as_str(), told.rank)).collect();
        assert_eq!(ranks, [("a", Some(12)), ("b", None)]);
        assert_eq!(found.filter, Some(json!({ "person_ids": ["7"], "captured_from_ms": 5 })));
    }
}
