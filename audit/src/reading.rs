//! Looking for records.

use crate::AuditError;
use crate::folder::chain_files;
use crate::line::{Stored, parse_line};
use crate::lines::Lines;
use crate::record::Record;
use crate::wanted::{Said, WantedNames};
use std::fs;
use std::path::{Path, PathBuf};

/// Instances of one folder that are looked at.
const MAX_INSTANCES: usize = 10_000;

/// Which records are looked for; what is none does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordFilter {
    /// Ended at this time or later, in milliseconds since the Unix epoch.
    pub from_ms: Option<i64>,
    /// Ended before this time.
    pub before_ms: Option<i64>,
    /// Of this person or program.
    pub principal: Option<String>,
    /// Of this gallery, or of one of its generations.
    pub gallery: Option<String>,
    /// For this purpose.
    pub purpose: Option<String>,
    /// Of this case.
    pub case_number: Option<String>,
    /// Naming one of these, and one of each further group: as told, judged, looked for, filtered by, changed or deleted.
    pub names: Vec<WantedNames>,
}

impl RecordFilter {
    /// Whether a record is one that is looked for, as far as its names can be read.
    fn said_in(&self, record: &Record) -> Said {
        if !self.matches_but_for_names(record) {
            return Said::No;
        }
        let mut all = Said::Yes;
        for wanted in &self.names {
            match wanted.said_in(record) {
                Said::Yes => {}
                Said::No => return Said::No,
                Said::Closed => all = Said::Closed,
            }
        }
        all
    }

    fn matches_but_for_names(&self, record: &Record) -> bool {
        let is = |wanted: &Option<String>, there: &Option<String>| wanted.is_none() || wanted == there;
        let is_of_gallery = self.gallery.as_deref().is_none_or(|wanted| {
            let there = record.gallery.as_deref().unwrap_or_default();
            there == wanted || there.split_once('.').is_some_and(|(name, _)| name == wanted)
        });
        is_of_gallery
            && self.from_ms.is_none_or(|from_ms| record.end_ms >= from_ms)
            && self.before_ms.is_none_or(|before_ms| record.end_ms < before_ms)
            && is(&self.principal, &record.principal)
            && is(&self.purpose, &record.purpose)
            && is(&self.case_number, &record.case_number)
    }
}

/// The folders of all instances below a folder, or the folder itself where it is that of one.
///
/// # Errors
/// [`AuditError::NoLog`] where there is none, [`AuditError::File`] where it cannot be read.
pub fn instances(folder: &Path) -> Result<Vec<PathBuf>, AuditError> {
    if !folder.is_dir() {
        return Err(AuditError::NoLog { path: folder.to_owned() });
    }
    if !chain_files(folder)?.is_empty() {
        return Ok(vec![folder.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(AuditError::file(folder))?.take(MAX_INSTANCES) {
        let path = entry.map_err(AuditError::file(folder))?.path();
        // A folder without files, but with a head, is a log whose files were taken away.
        if path.is_dir() && (!chain_files(&path)?.is_empty() || path.join("head").exists()) {
            found.push(path);
        }
    }
    found.sort_unstable();
    if found.is_empty() {
        return Err(AuditError::NoLog { path: folder.to_owned() });
    }
    Ok(found)
}

/// Hands the records of one instance that match over, in their order. What is no record is passed over:
/// [`verify`](crate::verify) tells of it. Returns of how many it cannot be told whether they match, as their names are hashed with
/// a key that is not known here.
///
/// # Errors
/// [`AuditError::File`], and what `take` fails with.
pub fn records(
    instance: &Path,
    filter: &RecordFilter,
    mut take: impl FnMut(Stored) -> Result<(), AuditError>,
) -> Result<u64, AuditError> {
    let mut closed = 0;
    for file in chain_files(instance)? {
        let mut lines = Lines::open(&file.path)?;
        while let Some(line) = lines.next()? {
            let Some(stored) = parse_line(line.content) else { continue };
            match filter.said_in(&stored.record) {
                Said::Yes => take(stored)?,
                Said::No => {}
                Said::Closed => closed += 1,
            }
        }
    }
    Ok(closed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Asked, Kind, Named, QueryPart, Returned};

    #[test]
    fn records_are_found_by_whatever_they_say() {
        let returned = vec![Returned { image_id: "7.jpg".to_owned(), score: None, probability: None }];
        let query = vec![QueryPart { asked: Asked::ImageId("8.jpg".to_owned()), weight: 1.0 }];
        let record = Record {
            principal: Some("anna".to_owned()),
            gallery: Some("lobby.2".to_owned()),
            end_ms: 1_000,
            returned,
            query,
            filter: Some(serde_json::json!({ "none": [{ "person_ids": ["anna"] }] })),
            ..Record::new(Kind::Request)
        };
        let some = |text: &str| Some(text.to_owned());
        let all = RecordFilter::default();
        let named = |named, name: &str| vec![WantedNames::new([(named, name.to_owned())], None)];
        let both = || [named(Named::Image, "7.jpg"), named(Named::Person, "anna")].concat();
        for (filter, expected) in [
            (all.clone(), true),
            (RecordFilter { from_ms: Some(1_000), before_ms: Some(1_001), ..all.clone() }, true),
            (RecordFilter { before_ms: Some(1_000), ..all.clone() }, false),
            (RecordFilter { gallery: some("lobby"), ..all.clone() }, true),
            (RecordFilter { gallery: some("lob"), ..all.clone() }, false),
            (RecordFilter { names: named(Named::Image, "7.jpg"), principal: some("anna"), ..all.clone() }, true),
            (RecordFilter { names: named(Named::Image, "8.jpg"), ..all.clone() }, true),
            (RecordFilter { names: named(Named::Image, "9.jpg"), ..all.clone() }, false),
            (RecordFilter { names: both(), ..all.clone() }, true),
            (RecordFilter { names: [both(), named(Named::Track, "3")].concat(), ..all.clone() }, false),
            (RecordFilter { purpose: some("theft"), ..all }, false),
        ] {
            assert_eq!(filter.said_in(&record) == Said::Yes, expected, "{filter:?}");
        }
    }
}
