//! Changing and removing what a gallery holds.

use crate::connection::answer;
use crate::listing::PAGE_IMAGES;
use crate::metadata::{PATH_ATTRIBUTE, image_metadata};
use crate::{ClientError, Connection};
use descry_intake::KnownMetadata;
use descry_proto::search::v1::update_images_request::Change;
use descry_proto::search::v1::{DeleteImagesRequest, Filter, UpdateImagesRequest};
use std::collections::HashMap;

/// Images named in one request.
const IDS_TOGETHER: usize = 1000;

impl Connection {
    /// Removes the images of a gallery, or of a generation of one. Returns how many existed.
    ///
    /// # Errors
    /// [`ClientError::Refused`]; some of the images may be removed then.
    pub async fn remove_images(&self, address: &str, image_ids: &[String]) -> Result<u64, ClientError> {
        let mut removed = 0;
        for group in image_ids.chunks(IDS_TOGETHER) {
            let request = DeleteImagesRequest {
                gallery: address.to_owned(),
                image_ids: group.to_vec(),
                ..DeleteImagesRequest::default()
            };
            removed += answer(self.service().delete_images(request).await)?.deleted;
        }
        Ok(removed)
    }

    /// Removes the images that meet conditions, which must restrict something. Returns how many there were.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn remove_matching(&self, address: &str, filter: Filter) -> Result<u64, ClientError> {
        let request =
            DeleteImagesRequest { gallery: address.to_owned(), filter: Some(filter), ..DeleteImagesRequest::default() };
        Ok(answer(self.service().delete_images(request).await)?.deleted)
    }

    /// Replaces all that is known of images, except where their files are. `updated` hears how many records are done.
    /// Returns how many of them are of images of the gallery.
    ///
    /// # Errors
    /// [`ClientError::Refused`]; some of the images may be updated then.
    pub async fn replace_metadata(
        &self,
        gallery: &str,
        records: impl IntoIterator<Item = (String, KnownMetadata)>,
        mut updated: impl FnMut(usize),
    ) -> Result<u64, ClientError> {
        let mut records: Vec<(String, KnownMetadata)> = records.into_iter().collect();
        records.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut found = 0;
        for (index, group) in records.chunks(PAGE_IMAGES).enumerate() {
            found += self.replace_some_metadata(gallery, group).await?;
            updated(index * PAGE_IMAGES + group.len());
        }
        Ok(found)
    }

    async fn replace_some_metadata(
        &self,
        gallery: &str,
        records: &[(String, KnownMetadata)],
    ) -> Result<u64, ClientError> {
        let image_ids = records.iter().map(|(image_id, _)| image_id.clone()).collect();
        let mut paths: HashMap<String, String> = HashMap::new();
        for image in self.images(gallery).of_ids(image_ids).collect().await? {
            let path = image.metadata.and_then(|mut metadata| metadata.attributes.remove(PATH_ATTRIBUTE));
            paths.extend(path.map(|path| (image.image_id, path)));
        }
        let change = |(image_id, known): &(String, KnownMetadata)| {
            let mut metadata = image_metadata(known.clone());
            if let Some(path) = paths.remove(image_id) {
                metadata.attributes.entry(PATH_ATTRIBUTE.to_owned()).or_insert(path);
            }
            Change { image_id: image_id.clone(), metadata: Some(metadata) }
        };
        let changes = records.iter().map(change).collect();
        let request = UpdateImagesRequest { gallery: gallery.to_owned(), changes, ..UpdateImagesRequest::default() };
        Ok(answer(self.service().update_images(request).await)?.updated)
    }
}
