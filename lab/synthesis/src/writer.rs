//! The data set's files, and the threads that make them.

mod json_file;

use crate::caption;
use crate::person::{Person, crowd};
use crate::shot;
use crate::{SynthesisError, SynthesisSettings};
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// As CUHK-PEDES has them.
const ANNOTATIONS: &str = "reid_raw.json";
const IMAGES: &str = "imgs";
/// Tells how the data set was made, and by which folder is known to be ours.
const SETTINGS: &str = "synthesis.json";

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SynthesisSummary {
    /// Number of people.
    pub identities: usize,
    /// Number of images.
    pub images: usize,
    /// Number of captions.
    pub captions: usize,
    /// Identities of the split `train`.
    pub train_identities: usize,
    /// Identities of the split `val`.
    pub validation_identities: usize,
    /// Identities of the split `test`.
    pub test_identities: usize,
}

/// An entry of the annotation file.
#[derive(Debug, Serialize)]
struct Entry {
    split: &'static str,
    id: usize,
    file_path: String,
    captions: Vec<String>,
}

/// What `synthesis.json` holds.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Origin {
    descry_synthesis: u32,
    settings: SynthesisSettings,
}

/// Makes a data set in the folder `out`: images in `imgs/`, then `reid_raw.json`, which is there only when everything
/// else is, and `synthesis.json` with the settings.
///
/// The folder may be missing, empty, or hold a data set of the same settings, complete or not, which is made anew.
/// `progress` is told after every identity how many are done, from any thread; `is_cancelled` is asked as often.
///
/// # Errors
/// [`SynthesisError::Setting`]; [`SynthesisError::NotOurs`] and [`SynthesisError::OtherSettings`] for a folder that holds
/// something else, which stays as it is; [`SynthesisError::Unreadable`] and [`SynthesisError::Unwritable`];
/// [`SynthesisError::Picture`]; [`SynthesisError::Cancelled`].
pub fn synthesize(
    settings: &SynthesisSettings,
    out: &Path,
    is_cancelled: &(dyn Fn() -> bool + Sync),
    progress: &(dyn Fn(usize) + Sync),
) -> Result<SynthesisSummary, SynthesisError> {
    settings.validate()?;
    prepare(settings, out)?;
    let counts = settings.split_counts();
    let people = crowd(settings.world_seed(), settings.identities, settings.domain);
    let entries = draw_all(settings, out, &people, (is_cancelled, progress))?;
    let summary = SynthesisSummary {
        identities: settings.identities,
        images: entries.len(),
        captions: entries.iter().map(|entry| entry.captions.len()).sum(),
        train_identities: counts.train,
        validation_identities: counts.validation,
        test_identities: counts.test,
    };
    json_file::write(&out.join(ANNOTATIONS), &entries)?;
    Ok(summary)
}

/// Makes the folder and says in it what it will hold, unless it holds something else.
fn prepare(settings: &SynthesisSettings, out: &Path) -> Result<(), SynthesisError> {
    let path = out.join(SETTINGS);
    let origin = Origin { descry_synthesis: 1, settings: settings.clone() };
    fs::create_dir_all(out).map_err(SynthesisError::unwritable(out))?;
    // A run that was killed before it could say what the folder will hold leaves this.
    let partial = json_file::partial_path(&path);
    let mut entries = fs::read_dir(out).map_err(SynthesisError::unreadable(out))?;
    let is_empty = entries.all(|entry| entry.is_ok_and(|entry| entry.path() == partial));
    if is_empty {
        json_file::write(&path, &origin)?;
    } else {
        if !path.is_file() {
            return Err(SynthesisError::NotOurs { path: out.to_owned() });
        }
        let text = fs::read(&path).map_err(SynthesisError::unreadable(&path))?;
        let Ok(found) = serde_json::from_slice::<Origin>(&text) else {
            return Err(SynthesisError::NotOurs { path: out.to_owned() });
        };
        // The number of threads is not written down, and changes nothing.
        let found = Origin { settings: SynthesisSettings { threads: settings.threads, ..found.settings }, ..found };
        if found != origin {
            return Err(SynthesisError::OtherSettings { path: out.to_owned(), settings: path });
        }
        // While images are made anew, nobody shall take the data set for a complete one.
        let annotations = out.join(ANNOTATIONS);
        if annotations.exists() {
            fs::remove_file(&annotations).map_err(SynthesisError::unwritable(&annotations))?;
        }
    }
    for split in ["train", "val", "test"] {
        let folder = out.join(IMAGES).join(split);
        fs::create_dir_all(&folder).map_err(SynthesisError::unwritable(&folder))?;
    }
    Ok(())
}

type Callbacks<'a> = (&'a (dyn Fn() -> bool + Sync), &'a (dyn Fn(usize) + Sync));

/// Every entry, in the order of identities and images.
fn draw_all(
    settings: &SynthesisSettings,
    out: &Path,
    people: &[Person],
    (is_cancelled, progress): Callbacks<'_>,
) -> Result<Vec<Entry>, SynthesisError> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let is_over = AtomicBool::new(false);
    let finished: Mutex<Vec<(usize, Vec<Entry>)>> = Mutex::new(Vec::with_capacity(people.len()));
    let failure: Mutex<Option<SynthesisError>> = Mutex::new(None);
    let work = || {
        while !is_over.load(Ordering::Relaxed) {
            let identity = next.fetch_add(1, Ordering::Relaxed);
            if identity >= people.len() {
                break;
            }
            let entries = if is_cancelled() {
                Err(SynthesisError::Cancelled)
            } else {
                draw_identity(settings, out, people, identity)
            };
            match entries {
                Ok(entries) => {
                    finished.lock().unwrap_or_else(PoisonError::into_inner).push((identity, entries));
                    progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                }
                Err(error) => {
                    is_over.store(true, Ordering::Relaxed);
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..settings.threads.min(people.len()) {
            scope.spawn(work);
        }
    });
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let mut finished = finished.into_inner().unwrap_or_else(PoisonError::into_inner);
    finished.sort_by_key(|(identity, _)| *identity);
    Ok(finished.into_iter().flat_map(|(_, entries)| entries).collect())
}

fn draw_identity(
    settings: &SynthesisSettings,
    out: &Path,
    people: &[Person],
    identity: usize,
) -> Result<Vec<Entry>, SynthesisError> {
    let counts = settings.split_counts();
    let split = if identity < counts.train {
        "train"
    } else if identity < counts.train + counts.validation {
        "val"
    } else {
        "test"
    };
    let id = identity + 1;
    let mut entries = Vec::with_capacity(settings.images_per_identity);
    for image in 0..settings.images_per_identity {
        let failed =
            |reason: String| SynthesisError::Picture { name: format!("{split}/p{id:04}, image {image}"), reason };
        let shot = shot::take(settings, people, identity, image)
            .ok_or_else(|| failed("the drawing could not be laid out".to_owned()))?;
        let file_path = format!("{split}/p{id:04}_c{}_{image}.jpg", shot.camera);
        let jpeg = encode(settings, &shot.pixels).map_err(|error| failed(error.to_string()))?;
        let path: PathBuf = out.join(IMAGES).join(&file_path);
        fs::write(&path, jpeg).map_err(SynthesisError::unwritable(&path))?;
        let captions = caption::write(settings, &shot.facts, identity, image);
        entries.push(Entry { split, id, file_path, captions });
    }
    Ok(entries)
}

fn encode(settings: &SynthesisSettings, pixels: &[u8]) -> Result<Vec<u8>, image::ImageError> {
    let mut jpeg = Vec::new();
    // Both sizes are far below this type's limits: see the settings' checks.
    let (width, height) = (settings.width_px as u32, settings.height_px as u32);
    JpegEncoder::new_with_quality(&mut jpeg, settings.jpeg_quality).encode(
        pixels,
        width,
        height,
        ExtendedColorType::Rgb8,
    )?;
    Ok(jpeg)
}

#[cfg(test)]
mod tests;
