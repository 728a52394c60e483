//! One gallery as a matrix of embeddings, with what filters and hits need beside each row.

use super::interner::Interner;
use crate::vector_store::ImageMetadata;
use std::collections::HashMap;
use std::sync::Arc;

/// What a filter looks at, as integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FilterKeys {
    pub(super) person: usize,
    pub(super) camera: usize,
    pub(super) captured_at_ms: Option<i64>,
}

/// What a hit reports.
#[derive(Debug)]
pub(super) struct ImageRow {
    pub(super) image_id: Arc<str>,
    pub(super) metadata: ImageMetadata,
}

/// The images of one gallery; every list has one entry per image, in the same order.
pub(super) struct GalleryMatrix {
    dimension: usize,
    /// `[images, dimension]` f32, row-major, rows of unit length.
    values: Vec<f32>,
    keys: Vec<FilterKeys>,
    rows: Vec<ImageRow>,
    row_of_image: HashMap<Arc<str>, usize>,
    persons: Interner,
    cameras: Interner,
}

impl GalleryMatrix {
    pub(super) fn new(dimension: usize) -> Self {
        Self {
            dimension,
            values: Vec::new(),
            keys: Vec::new(),
            rows: Vec::new(),
            row_of_image: HashMap::new(),
            persons: Interner::default(),
            cameras: Interner::default(),
        }
    }

    /// Makes room for that many images at once: growing step by step would need twice the memory at the last step.
    pub(super) fn reserve(&mut self, images: usize) {
        self.values.reserve_exact(images * self.dimension);
        self.keys.reserve_exact(images);
        self.rows.reserve_exact(images);
        self.row_of_image.reserve(images);
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn dimension(&self) -> usize {
        self.dimension
    }

    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    pub(super) fn keys(&self) -> &[FilterKeys] {
        &self.keys
    }

    pub(super) fn rows(&self) -> &[ImageRow] {
        &self.rows
    }

    pub(super) fn persons(&self) -> &Interner {
        &self.persons
    }

    pub(super) fn cameras(&self) -> &Interner {
        &self.cameras
    }

    pub(super) fn metadata(&self, image_id: &str) -> Option<&ImageMetadata> {
        self.row_of_image.get(image_id).map(|&row| &self.rows[row].metadata)
    }

    /// Adds an image, or replaces the one of the same id.
    ///
    /// # Shapes
    /// - `embedding`: `[dimension]` f32, unit length
    pub(super) fn upsert(&mut self, image_id: &str, embedding: &[f32], metadata: ImageMetadata) {
        let keys = FilterKeys {
            person: self.persons.acquire(metadata.person_id.as_deref()),
            camera: self.cameras.acquire(metadata.camera_id.as_deref()),
            captured_at_ms: metadata.captured_at_ms,
        };
        if let Some(&row) = self.row_of_image.get(image_id) {
            let replaced = std::mem::replace(&mut self.rows[row].metadata, metadata);
            self.release_keys(&replaced);
            self.keys[row] = keys;
            self.values[row * self.dimension..][..self.dimension].copy_from_slice(embedding);
            return;
        }
        let image_id: Arc<str> = image_id.into();
        self.row_of_image.insert(Arc::clone(&image_id), self.rows.len());
        self.rows.push(ImageRow { image_id, metadata });
        self.keys.push(keys);
        self.values.extend_from_slice(embedding);
    }

    /// Removes an image if it is there; the last row takes its place.
    pub(super) fn remove(&mut self, image_id: &str) {
        let Some(row) = self.row_of_image.remove(image_id) else { return };
        let removed = self.rows.swap_remove(row);
        self.release_keys(&removed.metadata);
        self.keys.swap_remove(row);
        let last = self.rows.len();
        if row < last {
            self.values.copy_within(last * self.dimension.., row * self.dimension);
            self.row_of_image.insert(Arc::clone(&self.rows[row].image_id), row);
        }
        self.values.truncate(last * self.dimension);
    }

    fn release_keys(&mut self, metadata: &ImageMetadata) {
        self.persons.release(metadata.person_id.as_deref());
        self.cameras.release(metadata.camera_id.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn metadata(person: u8) -> ImageMetadata {
        ImageMetadata { person_id: (person > 0).then(|| person.to_string()), ..ImageMetadata::default() }
    }

    proptest! {
        /// Whatever the order of writes and removals, the matrix holds what a plain map would.
        #[test]
        fn agrees_with_a_map(changes in proptest::collection::vec((0u8..12, 0u8..4, any::<bool>()), 0..80)) {
            let mut matrix = GalleryMatrix::new(2);
            let mut expected = BTreeMap::new();
            for (step, (image, person, remove)) in changes.into_iter().enumerate() {
                let image_id = format!("image {image}");
                if remove {
                    matrix.remove(&image_id);
                    expected.remove(&image_id);
                } else {
                    matrix.upsert(&image_id, &[step as f32, -1.0], metadata(person));
                    expected.insert(image_id, (step as f32, person));
                }
            }
            prop_assert_eq!(matrix.len(), expected.len());
            prop_assert_eq!(matrix.values().len(), expected.len() * 2);
            prop_assert_eq!(matrix.keys().len(), expected.len());
            for (row, image) in matrix.rows().iter().enumerate() {
                let (value, person) = expected[&*image.image_id];
                prop_assert_eq!(&matrix.values()[row * 2..][..2], &[value, -1.0]);
                prop_assert_eq!(&image.metadata, &metadata(person));
                prop_assert_eq!(matrix.metadata(&image.image_id), Some(&metadata(person)));
                let chosen = matrix.persons().flags(&[person.to_string()]).unwrap();
                prop_assert_eq!(chosen[matrix.keys()[row].person], person > 0);
            }
        }
    }
}
