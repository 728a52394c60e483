//! Images that are in a gallery, or come with their embeddings.

use super::SearchGrpc;
use super::answers::Answering;
use super::galleries::parse_fingerprint;
use super::messages::{image_metadata, metadata_mask, metadata_message, milliseconds, search_filter};
use super::reply_room::{PREFIX_BYTES, ReplyRoom};
use crate::SearchError;
use crate::audit;
use crate::erasure::Comeback;
use crate::galleries::{Removal, Removed};
use crate::indexing::write_embeddings;
use crate::validation::{check_address, check_filter, check_id, check_metadata, invalid};
use descry_model::Embedding;
use descry_proto::search::v1 as proto;
use descry_proto::search::v1::index_images_response::Outcome;
use descry_store::{CheckRequest, DamagedImage, GalleryImage, ImageMetadata, PageRequest, SearchFilter};
use prost::Message as _;
use std::sync::Arc;

const DEFAULT_PAGE_IMAGES: usize = 256;

impl SearchGrpc {
    pub(super) async fn index_embeddings(
        &self,
        request: proto::IndexEmbeddingsRequest,
    ) -> Result<proto::IndexEmbeddingsResponse, SearchError> {
        let proto::IndexEmbeddingsRequest { gallery, fingerprint, images, metadata_mask: mask, allow_erased } = request;
        check_address(&gallery)?;
        self.check_count("images", images.len())?;
        let mask = metadata_mask(mask, &self.limits)?;
        let fingerprint = parse_fingerprint("fingerprint", &fingerprint)?;
        let images = images.into_iter().map(|image| (image.image_id.clone(), gallery_image(image))).collect();
        let rules = (&mask, Comeback::of(allow_erased));
        let written = write_embeddings(&self.galleries, &self.limits, &gallery, &fingerprint, rules, images).await?;
        let mut results = Answering::new(Arc::clone(&self.store), gallery).answers(written).await;
        leave_out_replaced(&mut results, self.limits.max_reply_bytes);
        Ok(proto::IndexEmbeddingsResponse { results })
    }

    pub(super) async fn list_images(
        &self,
        request: proto::ListImagesRequest,
    ) -> Result<proto::ListImagesResponse, SearchError> {
        let proto::ListImagesRequest { gallery, filter, page_size, page_token, with_embeddings } = request;
        check_address(&gallery)?;
        let filter = self.checked_filter(filter)?;
        let limit = match usize::try_from(page_size).unwrap_or(usize::MAX) {
            0 => DEFAULT_PAGE_IMAGES.min(self.limits.max_page_images),
            limit => limit,
        };
        self.check_count("page_size", limit)?;
        let after = Some(page_token).filter(|token| !token.is_empty());
        let generation = self.store.resolve(&gallery).await?;
        audit::note(&generation, None);
        let mut request = PageRequest { filter, after, limit };
        loop {
            let page = self.store.page(&generation, request.clone()).await?;
            let found = page.images.len();
            let stored = page.images.into_iter().map(|image| stored_image(image, with_embeddings));
            let images = ReplyRoom::new(self.limits.max_reply_bytes).fill(stored);
            if images.len() == found {
                return Ok(proto::ListImagesResponse {
                    images,
                    next_page_token: page.next.unwrap_or_default(),
                    fingerprint: generation.fingerprint.to_string(),
                });
            }
            // Only the store knows how to go on behind the last one that fits.
            request.limit = images.len();
        }
    }

    pub(super) async fn check_gallery(
        &self,
        request: proto::CheckGalleryRequest,
    ) -> Result<proto::CheckGalleryResponse, SearchError> {
        let proto::CheckGalleryRequest { gallery, repair, page_size, page_token } = request;
        check_address(&gallery)?;
        let limit = match usize::try_from(page_size).unwrap_or(usize::MAX) {
            0 => DEFAULT_PAGE_IMAGES.min(self.limits.max_page_images),
            limit => limit,
        };
        self.check_count("page_size", limit)?;
        let after = Some(page_token).filter(|token| !token.is_empty());
        let page = self.galleries.check(&gallery, CheckRequest { after, limit, repair }).await?;
        let damaged = page.damaged.into_iter().map(|DamagedImage { image_id, reason, is_removed }| {
            proto::DamagedImage { image_id, reason, removed: is_removed }
        });
        Ok(proto::CheckGalleryResponse {
            examined: page.examined,
            damaged: damaged.collect(),
            next_page_token: page.next.unwrap_or_default(),
        })
    }

    pub(super) async fn update_images(
        &self,
        request: proto::UpdateImagesRequest,
    ) -> Result<proto::UpdateImagesResponse, SearchError> {
        let proto::UpdateImagesRequest { gallery, changes, metadata_mask: mask } = request;
        check_address(&gallery)?;
        self.check_count("changes", changes.len())?;
        let mask = metadata_mask(mask, &self.limits)?;
        let mut changed = Vec::with_capacity(changes.len());
        for (index, change) in changes.into_iter().enumerate() {
            let metadata = image_metadata(change.metadata.unwrap_or_default())
                .and_then(|metadata| check_metadata(&metadata, &self.limits).map(|()| metadata))
                .map_err(|error| invalid(format!("changes[{index}]"), error.to_string()))?;
            changed.push((change.image_id, metadata));
        }
        let updated = self.galleries.update_metadata(&gallery, changed, mask).await?;
        let answering = Answering::new(Arc::clone(&self.store), gallery);
        let past_retention = answering.count_past_retention(&updated).await;
        Ok(proto::UpdateImagesResponse { updated: updated.len() as u64, past_retention })
    }

    pub(super) async fn delete_images(
        &self,
        request: proto::DeleteImagesRequest,
    ) -> Result<proto::DeleteImagesResponse, SearchError> {
        let proto::DeleteImagesRequest { gallery, image_ids, filter } = request;
        check_address(&gallery)?;
        let (count, max) = (image_ids.len(), self.limits.max_deleted_ids);
        if count > max {
            return Err(invalid("image_ids", format!("{count} ids, at most {max} are allowed")));
        }
        let filter = filter.map(|filter| self.checked_filter(Some(filter))).transpose()?;
        if filter.is_some() && count > 0 {
            return Err(invalid("filter", "give ids or a filter, not both"));
        }
        // A filter that restricts nothing would empty the gallery; whoever wants that deletes it.
        if filter.as_ref().is_some_and(|filter| !filter.restricts()) {
            return Err(invalid("filter", "must restrict something; delete the gallery to remove all of it"));
        }
        let removal = filter.map_or(Removal::Images(image_ids), |filter| Removal::Matching(Box::new(filter)));
        let Removed { images: deleted, held } = self.galleries.remove(&gallery, removal).await?;
        tracing::info!(gallery, deleted, held, "images are deleted");
        Ok(proto::DeleteImagesResponse { deleted, held })
    }

    pub(super) fn checked_filter(&self, filter: Option<proto::Filter>) -> Result<SearchFilter, SearchError> {
        let filter = filter.map(search_filter).transpose()?.unwrap_or_default();
        check_filter(&filter, &self.limits)?;
        Ok(filter)
    }

    fn check_count(&self, field: &str, count: usize) -> Result<(), SearchError> {
        let max = self.limits.max_page_images;
        if count > max {
            return Err(invalid(field, format!("{count} images, at most {max} are allowed")));
        }
        Ok(())
    }
}

fn stored_image(image: GalleryImage, with_embedding: bool) -> proto::StoredImage {
    proto::StoredImage {
        image_id: image.image_id,
        content_sha256: image.metadata.content_sha256.clone(),
        metadata: Some(metadata_message(image.metadata)),
        embedding: if with_embedding { image.embedding.into_vec() } else { Vec::new() },
    }
}

/// Leaves out what was known of replaced images where the reply has no room for it. That an image is on disk is always told.
fn leave_out_replaced(results: &mut [proto::IndexImagesResponse], max_reply_bytes: usize) {
    let mut replaced = Vec::with_capacity(results.len());
    for result in results.iter_mut() {
        replaced.push(match &mut result.outcome {
            Some(Outcome::Indexed(indexed)) => indexed.replaced.take(),
            Some(Outcome::Error(_)) | None => None,
        });
    }
    let told: usize = results.iter().map(|result| result.encoded_len() + 2 * PREFIX_BYTES).sum();
    let mut room = ReplyRoom::new(max_reply_bytes.saturating_sub(told));
    for (result, replaced) in results.iter_mut().zip(replaced) {
        if let (Some(Outcome::Indexed(indexed)), Some(replaced)) = (&mut result.outcome, replaced) {
            indexed.replaced = Some(replaced).filter(|replaced| room.fits(replaced));
        }
    }
}

/// An image as sent, with what is wrong with it.
fn gallery_image(image: proto::StoredImage) -> Result<GalleryImage, SearchError> {
    let proto::StoredImage { image_id, metadata, content_sha256, embedding } = image;
    let is_hash = content_sha256.is_empty()
        || (content_sha256.len() == 64 && content_sha256.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if !is_hash {
        return Err(invalid("content_sha256", "must be 64 hexadecimal digits or nothing"));
    }
    let embedding = Embedding::normalized(embedding).map_err(|error| invalid("embedding", error.to_string()))?;
    let metadata = metadata.unwrap_or_default();
    let indexed_at_ms = metadata.indexed_at.map(|time| milliseconds("metadata.indexed_at", time)).transpose()?;
    let indexed_at_ms = indexed_at_ms.unwrap_or_default();
    let metadata = ImageMetadata { content_sha256, indexed_at_ms, ..image_metadata(metadata)? };
    Ok(GalleryImage { image_id, embedding, metadata })
}

/// Names of watches and holds follow the rules of ids, within what a key of a document may be.
pub(super) fn check_watch_name(name: &str, limits: &crate::RequestLimits) -> Result<(), SearchError> {
    check_id("name", name, limits)?;
    crate::validation::check_gallery_name(name)
        .map_err(|_| invalid("name", "1 to 63 small letters, digits, '-' or '_', a letter or digit first"))
}
