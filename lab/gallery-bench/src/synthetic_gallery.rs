//! Embeddings that look like a gallery's, made on the fly: a million of them would fill the memory.
//!
//! An identity is a direction; its images lie around it, so that two of them have a cosine of 0.6 to 0.9. Every vector
//! depends on the seed and its own number alone, whatever was made before it.

use crate::GalleryBenchError;
use descry_model::{Embedding, Fingerprint};
use descry_store::{GalleryImage, ImageMetadata};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use rand_distr::{Distribution as _, StandardNormal};
use serde::Serialize;
use std::ops::Range;

/// Cameras of a gallery; each has about one in a hundred images.
pub(crate) const CAMERAS: u64 = 100;

/// Cosine of an image to its identity: two images have the product of theirs, 0.6 to 0.9.
const LEAST_COSINE: f64 = 0.774_6;
const LARGEST_COSINE: f64 = 0.948_7;

/// Cosine of an identity to the centre of its cluster: two identities of a cluster have 0.25.
const CLUSTER_COSINE: f64 = 0.5;

/// 2026-01-01, and the thirty days from then on in which the images were captured.
const FIRST_CAPTURE_MS: i64 = 1_767_225_600_000;
const CAPTURE_SPAN_MS: u64 = 30 * 86_400_000;

/// Half of the images were captured later.
pub(crate) const MIDDLE_OF_CAPTURES_MS: i64 = FIRST_CAPTURE_MS + CAPTURE_SPAN_MS as i64 / 2;

/// Longest embeddings that are made.
const MAX_DIMENSION: usize = 4_096;

/// What the embeddings look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct GalleryShape {
    /// Length of the embeddings.
    pub dimension: usize,
    /// People in the gallery.
    pub identities: u64,
    /// Groups of people who look alike; 0 for none.
    pub clusters: u64,
    /// Equal seeds give equal embeddings.
    pub seed: u64,
}

/// How the images are shared among the people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PersonSizes {
    /// All people have about equally many, of all cameras.
    Equal,
    /// Everybody has one, and a few have hundreds, as where people work; each passed one camera once, on one track.
    Drawn,
}

/// Makes images and queries.
#[derive(Debug, Clone)]
pub(crate) struct SyntheticGallery {
    shape: GalleryShape,
    sizes: PersonSizes,
    fingerprint: Fingerprint,
}

/// What a sequence of random numbers is for: each has its own for every number.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Cluster,
    Identity,
    Image,
    Query,
}

impl SyntheticGallery {
    /// People with equally many images.
    pub(crate) fn new(shape: GalleryShape) -> Result<Self, GalleryBenchError> {
        Self::with_sizes(shape, PersonSizes::Equal, format!("{shape:?}"))
    }

    /// People with one image to hundreds, each on one track before one camera.
    pub(crate) fn with_drawn_sizes(shape: GalleryShape) -> Result<Self, GalleryBenchError> {
        Self::with_sizes(shape, PersonSizes::Drawn, format!("{shape:?} with drawn sizes"))
    }

    fn with_sizes(shape: GalleryShape, sizes: PersonSizes, parameters: String) -> Result<Self, GalleryBenchError> {
        if !(2..=MAX_DIMENSION).contains(&shape.dimension) {
            let reason = format!("must be 2 to {MAX_DIMENSION}, got {}", shape.dimension);
            return Err(GalleryBenchError::Setting { setting: "--dimension", reason });
        }
        if shape.identities == 0 {
            let reason = "must be at least 1".to_owned();
            return Err(GalleryBenchError::Setting { setting: "--identities", reason });
        }
        let fingerprint = Fingerprint::of_parts([("synthetic gallery", parameters.as_bytes())]);
        Ok(Self { shape, sizes, fingerprint })
    }

    pub(crate) fn shape(&self) -> GalleryShape {
        self.shape
    }

    /// Stands for the parameters: galleries of other ones have another.
    pub(crate) fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    pub(crate) fn images(&self, numbers: Range<u64>) -> Result<Vec<GalleryImage>, GalleryBenchError> {
        numbers.map(|number| self.image(number)).collect()
    }

    pub(crate) fn image(&self, number: u64) -> Result<GalleryImage, GalleryBenchError> {
        let mut random = self.random(Purpose::Image, number);
        let identity = match self.sizes {
            PersonSizes::Equal => number % self.shape.identities,
            PersonSizes::Drawn => self.drawn_identity(number, &mut random),
        };
        let (camera, track) = match self.sizes {
            PersonSizes::Equal => (random.next_u64() % CAMERAS, None),
            PersonSizes::Drawn => (identity % CAMERAS, Some(format!("t{identity}"))),
        };
        let metadata = ImageMetadata {
            person_id: Some(format!("p{identity}")),
            camera_id: Some(camera_id(camera)),
            track_id: track,
            captured_at_ms: Some(FIRST_CAPTURE_MS + (random.next_u64() % CAPTURE_SPAN_MS) as i64),
            indexed_at_ms: FIRST_CAPTURE_MS,
            ..ImageMetadata::default()
        };
        let embedding = self.around_identity(identity, &mut random)?;
        Ok(GalleryImage { image_id: format!("crops/{number:09}.jpg"), embedding, metadata })
    }

    /// The first images are of one person each. Of the others a person has the more, the lower its number is: the share of
    /// the first `n` people is the root of their share of all people.
    fn drawn_identity(&self, number: u64, random: &mut ChaCha8Rng) -> u64 {
        let identities = self.shape.identities;
        let drawn = (unit(random).powi(2) * identities as f64) as u64;
        if number < identities { number } else { drawn.min(identities - 1) }
    }

    /// As near to some person as that person's images are to each other. `images` are in the gallery.
    pub(crate) fn queries(&self, count: u64, images: u64) -> Result<Vec<Embedding>, GalleryBenchError> {
        let query = |number| {
            let mut random = self.random(Purpose::Query, number);
            let identity = random.next_u64() % self.shape.identities.min(images).max(1);
            self.around_identity(identity, &mut random)
        };
        (0..count).map(query).collect()
    }

    fn around_identity(&self, identity: u64, random: &mut ChaCha8Rng) -> Result<Embedding, GalleryBenchError> {
        let cosine = LEAST_COSINE + (LARGEST_COSINE - LEAST_COSINE) * unit(random);
        Ok(Embedding::normalized(beside(&self.identity(identity), cosine, random))?)
    }

    fn identity(&self, identity: u64) -> Vec<f32> {
        let mut random = self.random(Purpose::Identity, identity);
        match self.shape.clusters {
            0 => direction(self.shape.dimension, &mut random),
            clusters => {
                let mut of_cluster = self.random(Purpose::Cluster, identity % clusters);
                let centre = direction(self.shape.dimension, &mut of_cluster);
                beside(&centre, CLUSTER_COSINE, &mut random)
            }
        }
    }

    fn random(&self, purpose: Purpose, number: u64) -> ChaCha8Rng {
        let mut random = ChaCha8Rng::seed_from_u64(self.shape.seed);
        let offset = match purpose {
            Purpose::Cluster => 0,
            Purpose::Identity => 1,
            Purpose::Image => 2,
            Purpose::Query => 3,
        };
        random.set_stream(number.wrapping_mul(4).wrapping_add(offset));
        random
    }
}

/// How a camera is named.
pub(crate) fn camera_id(number: u64) -> String {
    format!("c{number:02}")
}

/// 0 to 1, without 1.
fn unit(random: &mut ChaCha8Rng) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

fn noise(dimension: usize, random: &mut ChaCha8Rng) -> Vec<f32> {
    (0..dimension).map(|_| StandardNormal.sample(random)).collect()
}

/// Any direction, of unit length.
fn direction(dimension: usize, random: &mut ChaCha8Rng) -> Vec<f32> {
    let mut values = noise(dimension, random);
    let length = dot(&values, &values).sqrt();
    values.iter_mut().for_each(|value| *value /= length);
    values
}

/// A vector of unit length with this cosine to a direction of unit length.
fn beside(direction: &[f32], cosine: f64, random: &mut ChaCha8Rng) -> Vec<f32> {
    let mut values = noise(direction.len(), random);
    let along = dot(&values, direction);
    values.iter_mut().zip(direction).for_each(|(value, direction)| *value -= along * direction);
    let length = dot(&values, &values).sqrt();
    let across = (1.0 - cosine * cosine).sqrt() as f32 / length;
    let cosine = cosine as f32;
    values.iter_mut().zip(direction).for_each(|(value, direction)| *value = cosine * direction + across * *value);
    values
}

fn dot(left: &[f32], right: &[f32]) -> f32 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn gallery(clusters: u64, seed: u64) -> SyntheticGallery {
        SyntheticGallery::new(GalleryShape { dimension: 128, identities: 50, clusters, seed }).unwrap()
    }

    fn cosine(left: &GalleryImage, right: &GalleryImage) -> f32 {
        left.embedding.cosine(&right.embedding).unwrap()
    }

    #[test]
    fn images_of_a_person_are_alike_and_others_are_not() {
        let gallery = gallery(0, 7);
        let images = gallery.images(0..150).unwrap();
        for (image, next) in images.iter().zip(&images[50..]) {
            assert_eq!(image.metadata.person_id, next.metadata.person_id);
            let found = cosine(image, next);
            // The noise of two images is not quite orthogonal.
            assert!((0.4..=1.0).contains(&found), "{found}");
        }
        let strangers: f32 = images.windows(2).map(|pair| cosine(&pair[0], &pair[1]).abs()).sum();
        assert!(strangers / 149.0 < 0.2, "{strangers}");
    }

    #[test]
    fn every_vector_depends_on_its_number_and_the_seed_alone() {
        let (one, other) = (gallery(4, 7), gallery(4, 8));
        assert_eq!(one.images(3..9).unwrap()[2], one.image(5).unwrap());
        assert_ne!(one.image(5).unwrap().embedding, other.image(5).unwrap().embedding);
        assert_ne!(one.fingerprint(), other.fingerprint());
        assert_eq!(one.queries(3, 100).unwrap()[..2], one.queries(2, 100).unwrap());
    }

    #[test]
    fn people_of_a_cluster_look_a_little_alike() {
        let gallery = gallery(2, 7);
        let likeness = |step: u64| -> f32 {
            (0..20).map(|identity| dot(&gallery.identity(identity), &gallery.identity(identity + step))).sum()
        };
        let (same, other) = (likeness(2), likeness(1));
        assert!(same > other + 1.0, "{same} {other}");
    }

    #[test]
    fn cameras_share_the_images() {
        let mut images: BTreeMap<String, u32> = BTreeMap::new();
        for image in gallery(0, 7).images(0..3_000).unwrap() {
            *images.entry(image.metadata.camera_id.unwrap()).or_default() += 1;
        }
        assert_eq!(images.len() as u64, CAMERAS);
        assert!(images.values().all(|&count| count < 90));
    }

    #[test]
    fn drawn_sizes_differ_and_leave_nobody_out() {
        let shape = GalleryShape { dimension: 8, identities: 200, clusters: 0, seed: 7 };
        let gallery = SyntheticGallery::with_drawn_sizes(shape).unwrap();
        let images = gallery.images(0..2_000).unwrap();
        let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
        let mut tracks: BTreeMap<(String, String), u64> = BTreeMap::new();
        for ImageMetadata { person_id, camera_id, track_id, .. } in images.into_iter().map(|image| image.metadata) {
            *sizes.entry(person_id.unwrap()).or_default() += 1;
            *tracks.entry((camera_id.unwrap(), track_id.unwrap())).or_default() += 1;
        }
        assert_eq!((sizes.len(), tracks.len()), (200, 200));
        let (least, most) = (sizes.values().min().unwrap(), sizes.values().max().unwrap());
        assert!(*least < 6 && *most > 60, "{least} {most}");
        assert_ne!(gallery.fingerprint(), SyntheticGallery::new(shape).unwrap().fingerprint());
    }

    #[test]
    fn shapes_that_cannot_be_are_refused() {
        let shape = GalleryShape { dimension: 1, identities: 1, clusters: 0, seed: 0 };
        assert!(SyntheticGallery::new(shape).unwrap_err().to_string().contains("--dimension"));
        let shape = GalleryShape { dimension: 8, identities: 0, ..shape };
        assert!(SyntheticGallery::new(shape).unwrap_err().to_string().contains("--identities"));
    }
}
