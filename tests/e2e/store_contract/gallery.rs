//! Images, models and queries for the checks.

use descry_model::{Embedding, Fingerprint};
use descry_store::{
    AttributeCondition, GalleryImage, GallerySettings, Hit, ImageMetadata, NearestQuery, NewGallery, SearchFilter,
    StoreError,
};

pub(super) fn model(name: &str) -> Fingerprint {
    Fingerprint::of_parts([("name", name.as_bytes())])
}

pub(super) fn embedding(values: &[f32]) -> Embedding {
    Embedding::normalized(values.to_vec()).unwrap()
}

pub(super) fn image(image_id: &str, values: &[f32]) -> GalleryImage {
    let metadata = ImageMetadata {
        content_sha256: format!("sha of {image_id}"),
        indexed_at_ms: 1_700_000_000_000,
        ..ImageMetadata::default()
    };
    GalleryImage { image_id: image_id.to_owned(), embedding: embedding(values), metadata }
}

/// A query without filter, of the model `a`.
pub(super) fn query(values: &[f32], limit: usize) -> NearestQuery {
    NearestQuery::new(embedding(values), model("a"), limit)
}

/// A new gallery of model `a` in which images can be filtered by attributes.
pub(super) fn declaring(name: &str, dimension: usize, attributes: &[&str]) -> NewGallery {
    let settings = GallerySettings { indexed_attributes: texts(attributes), ..GallerySettings::default() };
    NewGallery { settings, ..NewGallery::new(name, &model("a"), dimension) }
}

/// Images with any of these values of an attribute.
pub(super) fn with_attribute(name: &str, values: &[&str]) -> SearchFilter {
    let condition = AttributeCondition { name: name.to_owned(), values: texts(values) };
    SearchFilter { attributes: vec![condition], ..SearchFilter::default() }
}

pub(super) fn of_person(person: &str) -> SearchFilter {
    SearchFilter { person_ids: texts(&[person]), ..SearchFilter::default() }
}

pub(super) fn ids(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.image_id.as_str()).collect()
}

pub(super) fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[track_caller]
pub(super) fn assert_not_found<T: std::fmt::Debug>(result: Result<T, StoreError>, expected: &str) {
    assert!(matches!(&result, Err(StoreError::GalleryNotFound { address }) if address == expected), "{result:?}");
}

/// Model `b` met a gallery of model `a`, and both are named.
#[track_caller]
pub(super) fn assert_other_model<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    match result {
        Err(StoreError::FingerprintMismatch { gallery, given, .. }) => {
            assert_eq!((gallery, given), (model("a"), model("b")));
        }
        other => panic!("expected a fingerprint mismatch, got {other:?}"),
    }
}

/// An embedding of dimension 3 met a gallery of dimension 2.
#[track_caller]
pub(super) fn assert_other_dimension<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(matches!(&result, Err(StoreError::DimensionMismatch { gallery: 2, given: 3, .. })), "{result:?}");
}

/// A filter names an attribute that the gallery does not declare.
#[track_caller]
pub(super) fn assert_undeclared<T: std::fmt::Debug>(result: Result<T, StoreError>, attribute: &str) {
    match &result {
        Err(StoreError::Invalid { field, reason }) => {
            assert!(field == "filter.attributes" && reason.contains(attribute), "{field}: {reason}");
        }
        other => panic!("expected that {attribute:?} is refused, got {other:?}"),
    }
}

#[track_caller]
pub(super) fn assert_same_embedding(found: &Embedding, written: &Embedding) {
    assert_eq!(found.dimension(), written.dimension());
    for (found, written) in found.as_slice().iter().zip(written.as_slice()) {
        assert!((found - written).abs() < 1e-6, "{found} instead of {written}");
    }
}

/// Random numbers that are the same in every run (SplitMix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % bound
    }

    pub(super) fn embedding(&mut self, dimension: usize) -> Embedding {
        let values: Vec<f32> = (0..dimension).map(|_| self.below(20_001) as f32 - 10_000.5).collect();
        embedding(&values)
    }
}
