//! What was erased, for whoever asked for it.

use super::SubjectArguments;
use crate::output::say;
use crate::time::time_text;
use anyhow::Context as _;
use descry_intake::{JobIdentity, forget_images};
use descry_proto::search::v1::{EraseImagesResponse, ErasedGeneration};
use descry_terminal::new_file;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Of all galleries and journals.
pub(super) struct Receipt {
    subject: SubjectArguments,
    pub(super) galleries: Vec<(String, EraseImagesResponse)>,
    /// Journals, and how many notes were taken out of each.
    pub(super) journals: Vec<(PathBuf, u64)>,
}

impl Receipt {
    pub(super) fn new(subject: &SubjectArguments) -> Self {
        Self { subject: subject.clone(), galleries: Vec::new(), journals: Vec::new() }
    }

    /// For people.
    pub(super) fn say(&self, file: Option<&Path>) {
        for (gallery, erased) in &self.galleries {
            let EraseImagesResponse {
                erasure_id, erased_at, generations, images, watches, pending, held, marks, ..
            } = erased;
            say!("gallery {gallery}: {images} images erased at {}, erasure {erasure_id}", time_text(*erased_at));
            if generations.len() > 1 {
                let of = |of: &ErasedGeneration| format!("{} from generation {}", of.images, of.generation);
                say!("  {}", generations.iter().map(of).collect::<Vec<_>>().join(", "));
            }
            if !watches.is_empty() {
                say!("  watches removed: {}", watches.join(", "));
            }
            if *held > 0 {
                say!("  {held} images must be kept and were left alone");
            }
            say!("  {marks} marks keep it away from now on");
            pending.iter().for_each(|pending| say!("  pending: {pending}"));
        }
        for (journal, count) in &self.journals {
            say!("journal {}: {count} notes taken out", journal.display());
        }
        let unnamed: u64 = self.galleries.iter().map(|(_, erased)| unnamed(erased)).sum();
        if unnamed > 0 && !self.journals.is_empty() {
            say!("{unnamed} images are too many to be named, so journals may still name them: remove the journals");
        }
        if let Some(file) = file {
            say!("receipt written to {}; it names what was erased", file.display());
        }
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let SubjectArguments { persons, tracks, images } = &self.subject;
        let tracks = tracks.iter().map(|track| json!({ "camera_id": track.camera_id, "track_id": track.track_id }));
        let journal = |(path, count): &(PathBuf, u64)| json!({ "journal": path, "notes": count });
        json!({
            "person_ids": persons,
            "tracks": tracks.collect::<Value>(),
            "image_ids": images,
            "galleries": self.galleries.iter().map(of_gallery).collect::<Value>(),
            "journals": self.journals.iter().map(journal).collect::<Value>(),
        })
    }
}

/// Images that were erased and are not among the names.
fn unnamed(erased: &EraseImagesResponse) -> u64 {
    erased.images.saturating_sub(erased.image_ids.len() as u64)
}

fn of_gallery((gallery, erased): &(String, EraseImagesResponse)) -> Value {
    let generation = |of: &ErasedGeneration| json!({ "generation": of.generation, "images": of.images });
    json!({
        "gallery": gallery,
        "erasure_id": erased.erasure_id,
        "erased_at": erased.erased_at.map(|time| time.to_string()),
        "images": erased.images,
        "image_ids": erased.image_ids,
        "image_ids_left_out": unnamed(erased),
        "generations": erased.generations.iter().map(generation).collect::<Value>(),
        "watches": erased.watches,
        "held": erased.held,
        "marks": erased.marks,
        "pending": erased.pending,
    })
}

/// Writes the receipt, whole or not at all.
pub(super) fn write_receipt(file: &Path, receipt: &Receipt) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(&receipt.json()).context("writing the receipt")?;
    Ok(new_file::write(file, format!("{text}\n").as_bytes())?)
}

/// Takes what galleries have erased out of journals.
pub(super) fn clean_journals(
    journals: &[PathBuf],
    galleries: &[(String, EraseImagesResponse)],
) -> anyhow::Result<Vec<(PathBuf, u64)>> {
    let erased: HashMap<&str, HashSet<&str>> = galleries
        .iter()
        .map(|(gallery, erased)| (gallery.as_str(), erased.image_ids.iter().map(String::as_str).collect()))
        .collect();
    // A journal may be that of one generation, such as lobby.2.
    let is_erased = |identity: &JobIdentity, image_id: &str| {
        let gallery = identity.gallery.split_once('.').map_or(identity.gallery.as_str(), |(name, _)| name);
        erased.get(gallery).is_some_and(|image_ids| image_ids.contains(image_id))
    };
    let mut cleaned = Vec::with_capacity(journals.len());
    for journal in journals {
        cleaned.push((journal.clone(), forget_images(journal, is_erased)?));
    }
    Ok(cleaned)
}
