//! A person's images in all generations of a gallery.

use super::files::NewFolder;
use super::naming::Subject;
use crate::hit_json::metadata_json;
use descry_client::{Connection, generation_address, unix_ms};
use descry_proto::search::v1::{Gallery, ListGenerationsResponse, Retention, StoredImage};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What a gallery keeps of the person.
#[derive(Debug, Default)]
pub(super) struct OfGallery {
    pub(super) name: String,
    pub(super) generations: Vec<OfGeneration>,
    /// The ids of the person's images, in whichever generation.
    pub(super) image_ids: BTreeSet<String>,
    /// By camera, in the generation that answers; empty for what is of no known one.
    pub(super) cameras: BTreeMap<String, u64>,
    /// Between which times they were captured, in milliseconds since 1970.
    pub(super) captured_ms: Option<(i64, i64)>,
    pub(super) retention: Retention,
}

/// What one generation keeps of them.
#[derive(Debug)]
pub(super) struct OfGeneration {
    pub(super) number: u32,
    pub(super) is_active: bool,
    pub(super) fingerprint: String,
    pub(super) images: u64,
}

/// The names that people of other galleries may have as well.
#[derive(Debug, Clone)]
pub(super) struct NamesOfGallery {
    pub(super) gallery: String,
    pub(super) image_ids: BTreeSet<String>,
}

pub(super) fn names(galleries: &[OfGallery]) -> Vec<NamesOfGallery> {
    let of = |found: &OfGallery| NamesOfGallery { gallery: found.name.clone(), image_ids: found.image_ids.clone() };
    galleries.iter().map(of).collect()
}

impl OfGallery {
    /// The file with the images.
    pub(super) fn file(&self) -> String {
        format!("gallery-{}.jsonl", self.name)
    }
}

/// As it is written.
#[derive(Serialize)]
struct ImageLine<'a> {
    image_id: &'a str,
    gallery: &'a str,
    generation: u32,
    /// Whether this generation answers.
    is_active: bool,
    #[serde(flatten)]
    metadata: Map<String, Value>,
    content_sha256: &'a str,
    model: &'a str,
    /// Long, and no matter for who reads: last.
    embedding: &'a [f32],
}

/// Writes the images of one gallery, page after page. `written` hears how many there are so far, and may end it.
///
/// # Errors
/// Where the service refuses, the file cannot be written, or `written` ends it.
pub(super) async fn write(
    connection: &Connection,
    name: &str,
    subject: &Subject,
    folder: &NewFolder,
    mut written: impl FnMut(u64) -> anyhow::Result<()>,
) -> anyhow::Result<OfGallery> {
    let ListGenerationsResponse { generations, active } = connection.generations(name).await?;
    let mut found = OfGallery { name: name.to_owned(), ..OfGallery::default() };
    let mut file = folder.file(&found.file())?;
    let mut lines = 0;
    for Gallery { generation, fingerprint, retention, .. } in generations {
        let is_active = generation == active;
        let mut of_generation = OfGeneration { number: generation, is_active, fingerprint, images: 0 };
        if is_active {
            found.retention = retention.unwrap_or_default();
        }
        let address = generation_address(name, generation);
        let mut listing = connection.images(&address).matching(subject.filter()).with_embeddings();
        while let Some(page) = listing.next().await? {
            for image in page {
                file.line(&line(name, &of_generation, &image))?;
                found.note(image, is_active);
                of_generation.images += 1;
                lines += 1;
            }
            written(lines)?;
        }
        found.generations.push(of_generation);
    }
    file.finish()?;
    Ok(found)
}

fn line<'a>(gallery: &'a str, generation: &'a OfGeneration, image: &'a StoredImage) -> ImageLine<'a> {
    ImageLine {
        image_id: &image.image_id,
        gallery,
        generation: generation.number,
        is_active: generation.is_active,
        metadata: metadata_json(&image.metadata.clone().unwrap_or_default()),
        content_sha256: &image.content_sha256,
        model: &generation.fingerprint,
        embedding: &image.embedding,
    }
}

impl OfGallery {
    fn note(&mut self, image: StoredImage, is_active: bool) {
        let metadata = image.metadata.unwrap_or_default();
        if is_active {
            *self.cameras.entry(metadata.camera_id.unwrap_or_default()).or_default() += 1;
        }
        if let Some(time) = metadata.captured_at {
            let ms = unix_ms(&time);
            let (first, last) = self.captured_ms.unwrap_or((ms, ms));
            self.captured_ms = Some((first.min(ms), last.max(ms)));
        }
        self.image_ids.insert(image.image_id);
    }
}
