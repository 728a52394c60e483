//! The images that a generation lacks, with their files and with what the other generation knows of them.

use super::ModelChange;
use crate::job::reader::{Item, MAX_IMAGE_BYTES};
use crate::listing::{Listing, PAGE_IMAGES};
use crate::metadata::{PATH_ATTRIBUTE, frame_part};
use crate::time::unix_ms;
use crate::{ClientError, Connection};
use descry_intake::{Content, FileVersion, FrameCrops, ImageEntry, ImageSource, KnownMetadata, SkippedEntry};
use descry_proto::search::v1::{ImageMetadata, StoredImage};
use prost_types::Timestamp;
use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Handle;

/// Contents out of archives that are held at once while the service is asked about them.
const MAX_BYTES_HELD: u64 = 32 << 20;

/// Where the candidates come from.
pub(super) enum Supply {
    /// Inputs, read once. Most of them may not be missing.
    Files(Box<ImageSource>),
    /// The ids of all that is missing.
    Named(std::vec::IntoIter<String>),
    /// Everything the old generation has.
    Stored(Box<Listing>),
}

/// Iterates over what is to be sent. It asks the service meanwhile, so it must run on a thread that may block.
pub(super) struct MissingImages {
    runtime: Handle,
    connection: Connection,
    old_address: String,
    new_address: String,
    retry_for: Duration,
    supply: Supply,
    /// With inputs: all ids that are missing, where they are known.
    wanted: Option<HashSet<String>>,
    ready: VecDeque<Item>,
    crops: FrameCrops,
    /// Why the iteration ended early.
    error: Option<ClientError>,
}

impl MissingImages {
    pub(super) fn new(change: &ModelChange, supply: Supply, wanted: Option<HashSet<String>>) -> Self {
        Self {
            runtime: Handle::current(),
            connection: change.connection.clone(),
            old_address: change.address(change.old),
            new_address: change.address(change.new),
            retry_for: change.options.job.retry_for,
            supply,
            wanted,
            ready: VecDeque::new(),
            crops: FrameCrops::default(),
            error: None,
        }
    }

    /// Why the iteration ended early, if it did.
    pub(super) fn into_error(self) -> Option<ClientError> {
        self.error
    }

    /// Gets some more ready; false behind the last.
    fn supply_more(&mut self) -> Result<bool, ClientError> {
        match &mut self.supply {
            Supply::Files(source) => {
                let found = take_found(source, self.wanted.as_ref());
                if found.is_empty() {
                    return Ok(false);
                }
                let ids = found.iter().map(|item| image_id_of(item).to_owned()).collect();
                let mut stored = by_id(self.list(&self.old_address, ids)?);
                let lacking = found.into_iter().filter_map(|item| Some((stored.remove(image_id_of(&item))?, item)));
                self.get_ready(lacking.collect())
            }
            Supply::Named(ids) => {
                let ids: Vec<String> = ids.by_ref().take(PAGE_IMAGES).collect();
                if ids.is_empty() {
                    return Ok(false);
                }
                let stored = self.list(&self.old_address, ids)?;
                self.get_ready_with_files(stored)
            }
            Supply::Stored(listing) => match self.runtime.block_on(listing.next())? {
                None => Ok(false),
                Some(stored) => self.get_ready_with_files(stored),
            },
        }
    }

    fn get_ready_with_files(&mut self, stored: Vec<StoredImage>) -> Result<bool, ClientError> {
        let candidates = stored.into_iter().map(|stored| with_entry(stored, &mut self.crops)).collect();
        self.get_ready(candidates)
    }

    /// Leaves out what the new generation has, unless it is known that it has none of them.
    fn get_ready(
        &mut self,
        candidates: Vec<(StoredImage, Result<ImageEntry, SkippedEntry>)>,
    ) -> Result<bool, ClientError> {
        let are_missing = match &self.supply {
            Supply::Files(_) => self.wanted.is_some(),
            Supply::Named(_) => true,
            Supply::Stored(_) => false,
        };
        let present = if are_missing {
            HashMap::new()
        } else {
            let ids = candidates.iter().map(|(stored, _)| stored.image_id.clone()).collect();
            by_id(self.list(&self.new_address, ids)?)
        };
        for (stored, entry) in candidates {
            let mut metadata = stored.metadata.unwrap_or_default();
            // The service sets it.
            metadata.indexed_at = None;
            let is_present = present.get(&stored.image_id).is_some_and(|other| {
                let other_metadata = ImageMetadata { indexed_at: None, ..other.metadata.clone().unwrap_or_default() };
                other.content_sha256 == stored.content_sha256 && other_metadata == metadata
            });
            if !is_present {
                self.ready.push_back(entry.map(|entry| (entry, metadata)));
            }
        }
        Ok(true)
    }

    fn list(&self, address: &str, image_ids: Vec<String>) -> Result<Vec<StoredImage>, ClientError> {
        let listing = self.connection.images(address).of_ids(image_ids).retry_for(self.retry_for);
        self.runtime.block_on(listing.collect())
    }
}

impl Iterator for MissingImages {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            match self.supply_more() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.error = Some(error);
                    return None;
                }
            }
        }
    }
}

/// Some of the wanted images, or of all where it is not known which are wanted. What cannot be read and has no name is
/// no image of the gallery.
fn take_found(source: &mut ImageSource, wanted: Option<&HashSet<String>>) -> Vec<Result<ImageEntry, SkippedEntry>> {
    let mut found = Vec::new();
    let mut bytes_held = 0;
    while found.len() < PAGE_IMAGES && bytes_held < MAX_BYTES_HELD {
        let Some(item) = source.next() else { break };
        let image_id = image_id_of(&item);
        if image_id.is_empty() || wanted.is_some_and(|wanted| !wanted.contains(image_id)) {
            continue;
        }
        if let Ok(ImageEntry { content: Content::Bytes(bytes), .. }) = &item {
            bytes_held += bytes.len() as u64;
        }
        found.push(item);
    }
    found
}

fn image_id_of(item: &Result<ImageEntry, SkippedEntry>) -> &str {
    match item {
        Ok(entry) => &entry.image_id,
        Err(skipped) => &skipped.image_id,
    }
}

fn by_id(images: Vec<StoredImage>) -> HashMap<String, StoredImage> {
    images.into_iter().map(|image| (image.image_id.clone(), image)).collect()
}

/// An image's file; or the part of its frame, where the image was cut out of one by us.
fn content_of(stored: &StoredImage, path: PathBuf, crops: &mut FrameCrops) -> Content {
    match stored.metadata.as_ref().and_then(|metadata| frame_part(&stored.image_id, metadata)) {
        Some(part) => Content::Crop(crops.crop(path, part, MAX_IMAGE_BYTES)),
        None => Content::File(path),
    }
}

/// The file that an image was indexed from.
fn with_entry(stored: StoredImage, crops: &mut FrameCrops) -> (StoredImage, Result<ImageEntry, SkippedEntry>) {
    let path = stored.metadata.as_ref().and_then(|metadata| metadata.attributes.get(PATH_ATTRIBUTE)).map(PathBuf::from);
    let image_id = stored.image_id.clone();
    let skip = |origin: String, reason: String| SkippedEntry { image_id: stored.image_id.clone(), origin, reason };
    let entry = match path {
        None => Err(skip(String::new(), "its file is not known; give it with --images".to_owned())),
        Some(path) => {
            let origin = path.display().to_string();
            match std::fs::metadata(&path) {
                Ok(file) => {
                    let modified_ms = file.modified().map_or(0, |time| unix_ms(&Timestamp::from(time)));
                    let version = FileVersion { bytes: file.len(), modified_ms };
                    let (metadata, content) = (KnownMetadata::default(), content_of(&stored, path, crops));
                    Ok(ImageEntry { image_id, origin, version, metadata, content })
                }
                Err(error) => Err(skip(origin, format!("cannot be read: {error}"))),
            }
        }
    };
    (stored, entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_proto::search::v1::ImageMetadata;

    fn stored(path: Option<&str>) -> StoredImage {
        let attributes = path.map(|path| (PATH_ATTRIBUTE.to_owned(), path.to_owned())).into_iter().collect();
        let metadata = Some(ImageMetadata { attributes, ..ImageMetadata::default() });
        StoredImage { image_id: "a.jpg".to_owned(), metadata, ..StoredImage::default() }
    }

    #[test]
    fn files_are_where_they_were_indexed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let with_entry = |stored| with_entry(stored, &mut FrameCrops::default()).1;
        let entry = with_entry(stored(file.path().to_str())).unwrap();
        assert_eq!((entry.image_id.as_str(), entry.path()), ("a.jpg", Some(file.path())));
        assert!(matches!(entry.content, Content::File(_)));
        // What we cut out of a frame is cut again.
        let mut cut = stored(file.path().to_str());
        let metadata = cut.metadata.as_mut().unwrap();
        metadata.frame_id = Some("f.jpg".to_owned());
        metadata.r#box = Some(descry_proto::search::v1::CropBox { left: 1, top: 2, width: 3, height: 4 });
        cut.image_id = "f.jpg#1,2,3,4".to_owned();
        assert!(matches!(with_entry(cut).unwrap().content, Content::Crop(_)));
        assert!(with_entry(stored(Some("/nowhere/a.jpg"))).unwrap_err().reason.contains("cannot be read"));
        assert!(with_entry(stored(None)).unwrap_err().reason.contains("--images"));
    }
}
