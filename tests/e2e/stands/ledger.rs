//! What was sent into a gallery, and what of it was acknowledged.

use crate::stands::computed::{ComputedModel, cosine};
use crate::stands::random::Random;
use descry_model::sha256_hex;
use descry_proto::search::v1::index_images_request::Image;
use descry_proto::search::v1::{ImageMetadata, StoredImage};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

/// Used by one writer at a time, and by the test that waits for it.
pub(crate) type SharedLedger = Arc<Mutex<Ledger>>;

/// Images have versions from 1: other bytes each time, under one id.
#[derive(Default)]
pub(crate) struct Ledger {
    images: BTreeMap<String, Versions>,
    /// What the present service has not acknowledged, of each image in the order of sending.
    pending: HashMap<String, VecDeque<u64>>,
    acknowledgements: u64,
    /// Images whose removal was acknowledged, and that are never sent again.
    removed: BTreeSet<String>,
}

#[derive(Default)]
struct Versions {
    sent: u64,
    /// None where no version was acknowledged.
    acknowledged: Option<u64>,
}

/// Most images that are sent together.
const MOST_TOGETHER: u64 = 48;

impl Ledger {
    /// The version of images that are never sent again.
    pub(crate) const ONLY_VERSION: u64 = 1;

    /// A new service acknowledges nothing that was sent to the last one.
    pub(crate) fn begin_round(&mut self) {
        self.pending.clear();
        self.acknowledgements = 0;
    }

    /// How much the present service has acknowledged.
    pub(crate) fn acknowledgements(&self) -> u64 {
        self.acknowledgements
    }

    /// The next images to send, with their versions; one in four was sent before if `again` allows it.
    pub(crate) fn send(&mut self, random: &mut Random, again: bool) -> Vec<(String, u64)> {
        let count = random.within(1..=MOST_TOGETHER);
        let next = |_| {
            let known = self.images.len() as u64;
            let is_again = again && known > 0 && random.within(0..=3) == 0;
            let number = if is_again { random.within(0..=known - 1) } else { known };
            let image_id = format!("{number:06}");
            let versions = self.images.entry(image_id.clone()).or_default();
            versions.sent += 1;
            self.pending.entry(image_id.clone()).or_default().push_back(versions.sent);
            (image_id, versions.sent)
        };
        (0..count).map(next).collect()
    }

    /// A further version of one image is sent.
    pub(crate) fn send_again(&mut self, image_id: &str) -> u64 {
        let versions = self.images.entry(image_id.to_owned()).or_default();
        versions.sent += 1;
        versions.sent
    }

    /// That version of an image is acknowledged.
    pub(crate) fn acknowledge_version(&mut self, image_id: &str, version: u64) {
        self.images.entry(image_id.to_owned()).or_default().acknowledged = Some(version);
        self.acknowledgements += 1;
    }

    /// Versions of one image are acknowledged in the order in which they were sent.
    pub(crate) fn acknowledge(&mut self, image_id: &str) {
        let version = self.pending.get_mut(image_id).and_then(VecDeque::pop_front);
        let version = version.unwrap_or_else(|| panic!("{image_id} was acknowledged more often than sent"));
        self.images.entry(image_id.to_owned()).or_default().acknowledged = Some(version);
        self.acknowledgements += 1;
    }

    /// An image is there in its only version before anything is recorded.
    pub(crate) fn begin_with(&mut self, image_id: &str) {
        let only = Versions { sent: Self::ONLY_VERSION, acknowledged: Some(Self::ONLY_VERSION) };
        self.images.insert(image_id.to_owned(), only);
    }

    /// Images are about to be removed: until that is acknowledged each may be there or not.
    pub(crate) fn begin_removal(&mut self, image_ids: &[String]) {
        for image_id in image_ids {
            self.images.entry(image_id.clone()).or_default().acknowledged = None;
        }
    }

    /// The removal of images is acknowledged.
    pub(crate) fn end_removal(&mut self, image_ids: &[String]) {
        self.removed.extend(image_ids.iter().cloned());
    }

    /// Nothing whose removal was acknowledged is there.
    pub(crate) fn check_removed(&self, stored: &BTreeMap<String, StoredImage>) {
        for image_id in &self.removed {
            assert!(!stored.contains_key(image_id), "{image_id} was removed and is there again");
        }
    }

    /// Everything acknowledged is there, in the version that was acknowledged or a later one.
    pub(crate) fn check_complete(&self, stored: &BTreeMap<String, StoredImage>) {
        for (image_id, versions) in &self.images {
            let Some(acknowledged) = versions.acknowledged else { continue };
            let image = stored.get(image_id).unwrap_or_else(|| panic!("{image_id} was acknowledged and is lost"));
            let version = version_of(image.metadata.as_ref().unwrap());
            assert!(version >= acknowledged, "{image_id}: {version}, acknowledged was {acknowledged}");
        }
    }

    /// Everything that is there was sent, and has the embedding of its file by the model.
    pub(crate) fn check_whole(&self, stored: &BTreeMap<String, StoredImage>, model: &ComputedModel) {
        for (image_id, image) in stored {
            let sent = self.images.get(image_id).unwrap_or_else(|| panic!("{image_id} was never sent")).sent;
            let version = version_of(image.metadata.as_ref().unwrap());
            assert!((1..=sent).contains(&version), "{image_id}: {version} of {sent}");
            let content = content_of(image_id, version);
            assert_eq!(image.content_sha256, sha256_hex(&content), "{image_id} {version}");
            let likeness = cosine(&image.embedding, &model.embedding(&content));
            assert!(likeness > 0.999, "{image_id} {version}: the embedding of something else, {likeness}");
        }
    }
}

/// The image file of a version.
pub(crate) fn content_of(image_id: &str, version: u64) -> Vec<u8> {
    format!("{image_id} {version}").into_bytes()
}

const VERSION: &str = "version";

/// Which version it is that is stored.
pub(crate) fn version_of(metadata: &ImageMetadata) -> u64 {
    metadata.attributes[VERSION].parse().unwrap()
}

fn metadata_of(version: u64) -> ImageMetadata {
    ImageMetadata { attributes: [(VERSION.to_owned(), version.to_string())].into(), ..ImageMetadata::default() }
}

/// For a stream of images.
pub(crate) fn image(image_id: &str, version: u64) -> Image {
    let content = content_of(image_id, version).into();
    Image { image_id: image_id.to_owned(), content, metadata: Some(metadata_of(version)) }
}

/// The same, encoded.
pub(crate) fn encoded_image(image_id: &str, version: u64, model: &ComputedModel) -> StoredImage {
    let content = content_of(image_id, version);
    StoredImage {
        image_id: image_id.to_owned(),
        metadata: Some(metadata_of(version)),
        content_sha256: sha256_hex(&content),
        embedding: model.embedding(&content),
    }
}
