//! What is looked for in the files of a store: everything that was ever written, and whether it is deleted.

use super::super::super::codes::Code;
use super::super::super::rows::encode_embedding;
use crate::{GalleryImage, ImageMetadata};
use descry_model::Embedding;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Numbers by seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

/// By the first bytes of each, which no two have in common: what it is of, and whether that is deleted.
type Needles = HashMap<[u8; 8], (String, bool)>;

/// Parts of an embedding, as they lie in the file.
type Parts = Vec<[u8; 8]>;

/// What was written so far.
pub(super) struct Ledger {
    dimension: usize,
    needles: Needles,
    /// The needles of the metadata and of the embedding of each image, by id.
    images: BTreeMap<String, (Parts, Parts)>,
    documents: BTreeMap<String, (String, [u8; 8])>,
}

impl Ledger {
    pub(super) fn new(dimension: usize) -> Self {
        Self { dimension, needles: HashMap::new(), images: BTreeMap::new(), documents: BTreeMap::new() }
    }

    pub(super) fn dimension(&self) -> usize {
        self.dimension
    }

    fn note(&mut self, bytes: &[u8], what: String) -> [u8; 8] {
        let needle = *bytes.first_chunk().unwrap();
        assert!(self.needles.insert(needle, (what, false)).is_none(), "seeds give no needle twice");
        needle
    }

    /// A text that is nowhere else, as long as is wanted.
    fn text(&mut self, random: &mut Random, what: &str, length: u64) -> (String, [u8; 8]) {
        let word = format!("{:016x}", random.number());
        let needle = self.note(word.as_bytes(), format!("{what} {word}"));
        (word.repeat((length / 16).max(1) as usize), needle)
    }

    fn metadata(&mut self, random: &mut Random) -> (ImageMetadata, Vec<[u8; 8]>) {
        let mut needles = Vec::new();
        let mut text = |ledger: &mut Self, random: &mut Random, what, length| {
            let (text, needle) = ledger.text(random, what, length);
            needles.push(needle);
            text
        };
        let long = [16, 16, 16, 32, 32, 64, 64, 320, 320, 3_200, 9_600, 24_000][random.below(12) as usize];
        let metadata = ImageMetadata {
            person_id: Some(text(self, random, "person", 16)),
            camera_id: Some(text(self, random, "camera", 32)),
            track_id: Some(text(self, random, "track", 16)),
            frame_id: Some(text(self, random, "frame", 16)),
            attributes: [("note".to_owned(), text(self, random, "attribute", long))].into(),
            content_sha256: String::new(),
            ..ImageMetadata::default()
        };
        (metadata, needles)
    }

    fn embedding(&mut self, random: &mut Random) -> (Embedding, Vec<[u8; 8]>) {
        let values = (0..self.dimension).map(|_| random.below(2_001) as f32 - 1_000.3).collect();
        let embedding = Embedding::normalized(values).unwrap();
        let vector = encode_embedding(embedding.as_slice());
        let code = Code::of(embedding.as_slice()).as_bytes().to_vec();
        // Of a vector that lies on several pages more than one part.
        let parts = [&vector[..8], &vector[vector.len() / 16 * 8..][..8], &vector[vector.len() - 8..]];
        let mut needles: Vec<_> = parts.iter().map(|part| self.note(part, "vector".to_owned())).collect();
        needles.push(self.note(&code[code.len() - 8..], "code".to_owned()));
        (embedding, needles)
    }

    pub(super) fn new_image(&mut self, random: &mut Random) -> GalleryImage {
        let (image_id, needle) = self.text(random, "image", 16);
        let image = self.new_version_of(&image_id, random);
        // The name goes only with the image.
        self.images.get_mut(&image_id).unwrap().1.push(needle);
        image
    }

    /// The image with everything else of it anew.
    pub(super) fn new_version_of(&mut self, image_id: &str, random: &mut Random) -> GalleryImage {
        let name = *image_id.as_bytes().first_chunk::<8>().unwrap();
        let known = self.images.contains_key(image_id);
        self.forget(&[image_id.to_owned()]);
        let (metadata, of_metadata) = self.metadata(random);
        let (embedding, mut of_embedding) = self.embedding(random);
        if known {
            self.needles.get_mut(&name).unwrap().1 = false;
            of_embedding.push(name);
        }
        self.images.insert(image_id.to_owned(), (of_metadata, of_embedding));
        GalleryImage { image_id: image_id.to_owned(), embedding, metadata }
    }

    pub(super) fn new_metadata_of(&mut self, image_id: &str, random: &mut Random) -> ImageMetadata {
        let (metadata, needles) = self.metadata(random);
        let replaced = std::mem::replace(&mut self.images.get_mut(image_id).unwrap().0, needles);
        self.delete(&replaced);
        metadata
    }

    /// A document, or the end of one.
    pub(super) fn new_document(&mut self, random: &mut Random) -> (String, Option<String>) {
        let (key, _, text) = self.replaced_document(random);
        (key, text)
    }

    /// As [`Ledger::new_document`], with what was there before.
    pub(super) fn replaced_document(&mut self, random: &mut Random) -> (String, Option<String>, Option<String>) {
        let key = format!("key{}", random.below(4));
        let known = self.documents.remove(&key);
        let known = known.map(|(text, needle)| {
            self.delete(&[needle]);
            text
        });
        let text = (random.below(3) > 0).then(|| {
            let length = 16 + random.below(12_000);
            let (text, needle) = self.text(random, "document", length);
            self.documents.insert(key.clone(), (text.clone(), needle));
            text
        });
        (key, known, text)
    }

    pub(super) fn any_ids(&self, random: &mut Random, most: usize) -> Vec<String> {
        let mut ids: Vec<String> = self.images.keys().cloned().collect();
        random.shuffle(&mut ids);
        ids.truncate(most);
        ids
    }

    fn delete(&mut self, needles: &[[u8; 8]]) {
        for needle in needles {
            self.needles.get_mut(needle).unwrap().1 = true;
        }
    }

    pub(super) fn forget(&mut self, image_ids: &[String]) {
        for image_id in image_ids {
            if let Some((of_metadata, of_embedding)) = self.images.remove(image_id) {
                self.delete(&of_metadata);
                self.delete(&of_embedding);
            }
        }
    }

    pub(super) fn forget_all(&mut self) {
        self.images.clear();
        self.documents.clear();
        self.needles.values_mut().for_each(|(_, is_deleted)| *is_deleted = true);
    }

    /// What of that which is deleted is found, each with its file, and how much of the rest.
    fn look(&self, folder: &Path) -> (Vec<String>, usize) {
        let mut may_begin = vec![false; 1 << 16];
        let pair = |bytes: &[u8]| usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
        self.needles.keys().for_each(|needle| may_begin[pair(needle)] = true);
        let (mut deleted, mut kept) = (Vec::new(), std::collections::HashSet::new());
        for (name, content) in contents(folder) {
            for (place, bytes) in content.windows(8).enumerate() {
                if !may_begin[pair(bytes)] {
                    continue;
                }
                match self.needles.get(bytes) {
                    Some((what, true)) => deleted.push(format!("{what} in {name} at {place}")),
                    Some((_, false)) => drop(kept.insert(bytes.to_vec())),
                    None => {}
                }
            }
        }
        (deleted, kept.len())
    }

    /// How much of what is deleted is found.
    pub(super) fn found(&self, folder: &Path) -> usize {
        self.look(folder).0.len()
    }

    /// Nothing that is deleted is there, and everything else is.
    pub(super) fn check(&self, folder: &Path, when: &str) {
        let (deleted, kept) = self.look(folder);
        assert!(deleted.is_empty(), "{when}: {} found: {:#?}", deleted.len(), &deleted[..deleted.len().min(5)]);
        let expected = self.needles.values().filter(|(_, is_deleted)| !is_deleted).count();
        assert_eq!(kept, expected, "{when}");
    }
}

/// All files of a folder by name.
pub(super) fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> =
        entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect();
    files.sort();
    files
}
