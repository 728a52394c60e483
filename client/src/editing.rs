//! Changing and removing what a gallery holds.

use crate::connection::answer;
use crate::listing::PAGE_IMAGES;
use crate::metadata::{PATH_ATTRIBUTE, image_metadata};
use crate::{ClientError, Connection};
use descry_intake::KnownMetadata;
use descry_proto::search::v1::update_images_request::Change;
use descry_proto::search::v1::{DeleteImagesRequest, Filter, StoredImage, UpdateImagesRequest};
use prost_types::FieldMask;
use std::collections::HashMap;

/// The attributes that tell where an image came from.
const SOURCE_ATTRIBUTES: [&str; 2] = [PATH_ATTRIBUTE, "archive"];

/// Images named in one request.
const IDS_TOGETHER: usize = 1000;

impl Connection {
    /// Removes the images of a gallery, or of a generation of one, but for those under a hold.
    ///
    /// # Errors
    /// [`ClientError::Refused`]; some of the images may be removed then.
    pub async fn remove_images(&self, address: &str, image_ids: &[String]) -> Result<RemovedImages, ClientError> {
        let mut removed = RemovedImages::default();
        for group in image_ids.chunks(IDS_TOGETHER) {
            let request = DeleteImagesRequest {
                gallery: address.to_owned(),
                image_ids: group.to_vec(),
                ..DeleteImagesRequest::default()
            };
            let reply = answer(self.service().delete_images(request).await)?;
            removed.count += reply.deleted;
            removed.held += reply.held;
        }
        Ok(removed)
    }

    /// Removes the images that meet conditions, which must restrict something, but for those under a hold.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn remove_matching(&self, address: &str, filter: Filter) -> Result<RemovedImages, ClientError> {
        let request =
            DeleteImagesRequest { gallery: address.to_owned(), filter: Some(filter), ..DeleteImagesRequest::default() };
        let reply = answer(self.service().delete_images(request).await)?;
        Ok(RemovedImages { count: reply.deleted, held: reply.held })
    }

    /// Changes what is known of images. What a record does not say is kept; with [`Untold::Cleared`] a record says
    /// everything, but for where its image's file is. `updated` hears how many records are done. Returns how many of them
    /// are of images of the gallery.
    ///
    /// # Errors
    /// [`ClientError::Refused`]; some of the images may be updated then.
    pub async fn update_metadata(
        &self,
        gallery: &str,
        records: impl IntoIterator<Item = (String, KnownMetadata)>,
        untold: Untold,
        mut updated: impl FnMut(usize),
    ) -> Result<u64, ClientError> {
        let mut records: Vec<(String, KnownMetadata)> = records.into_iter().collect();
        records.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut found = 0;
        for (index, group) in records.chunks(PAGE_IMAGES).enumerate() {
            found += self.update_some_metadata(gallery, group, untold).await?;
            updated(index * PAGE_IMAGES + group.len());
        }
        Ok(found)
    }

    async fn update_some_metadata(
        &self,
        gallery: &str,
        records: &[(String, KnownMetadata)],
        untold: Untold,
    ) -> Result<u64, ClientError> {
        // Where an image came from is what indexing told, and no record's to clear.
        let sources = match untold {
            Untold::Kept => HashMap::new(),
            Untold::Cleared => self.sources(gallery, records).await?,
        };
        let change = |(image_id, known): &(String, KnownMetadata)| {
            let mut metadata = image_metadata(known.clone());
            for (name, value) in sources.get(image_id).into_iter().flatten() {
                metadata.attributes.entry(name.clone()).or_insert_with(|| value.clone());
            }
            Change { image_id: image_id.clone(), metadata: Some(metadata) }
        };
        let changes = records.iter().map(change).collect();
        let request =
            UpdateImagesRequest { gallery: gallery.to_owned(), changes, metadata_mask: untold.metadata_mask() };
        Ok(answer(self.service().update_images(request).await)?.updated)
    }

    /// The attributes that tell where images came from, by image id.
    async fn sources(
        &self,
        gallery: &str,
        records: &[(String, KnownMetadata)],
    ) -> Result<HashMap<String, Vec<(String, String)>>, ClientError> {
        let image_ids = records.iter().map(|(image_id, _)| image_id.clone()).collect();
        let images = self.images(gallery).of_ids(image_ids).collect().await?;
        let source = |image: StoredImage| {
            let mut attributes = image.metadata.unwrap_or_default().attributes;
            let told = SOURCE_ATTRIBUTES.iter().filter_map(|&name| attributes.remove_entry(name)).collect();
            (image.image_id, told)
        };
        Ok(images.into_iter().map(source).collect())
    }
}

/// What came of a removal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemovedImages {
    /// Images that were there and are gone.
    pub count: u64,
    /// Images that were there and stay, because a hold keeps them.
    pub held: u64,
}

/// What becomes of what is known of an image and is not told again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Untold {
    /// It stays.
    #[default]
    Kept,
    /// It goes.
    Cleared,
}

impl Untold {
    /// For a request.
    pub(crate) fn metadata_mask(self) -> Option<FieldMask> {
        match self {
            Self::Kept => None,
            Self::Cleared => Some(FieldMask { paths: vec!["*".to_owned()] }),
        }
    }
}
