//! A gallery's images, page after page.

use crate::connection::Service;
use crate::retry::repeat;
use crate::{ClientError, Connection, PATIENCE};
use descry_proto::search::v1::{Filter, ListImagesRequest, StoredImage};
use std::time::Duration;

/// Images of a page.
pub(crate) const PAGE_IMAGES: usize = 256;

/// Pages of a gallery that have not been read yet, in an order of the store's own. A service that restarts meanwhile is
/// waited for.
pub struct Listing {
    service: Service,
    request: ListImagesRequest,
    retry_for: Duration,
    is_over: bool,
}

impl Connection {
    /// All images of a gallery, or of a generation of one such as `lobby.2`.
    pub fn images(&self, address: &str) -> Listing {
        let request = ListImagesRequest {
            gallery: address.to_owned(),
            page_size: PAGE_IMAGES as u32,
            ..ListImagesRequest::default()
        };
        Listing { service: self.service(), request, retry_for: PATIENCE, is_over: false }
    }
}

impl Listing {
    /// Only images that meet the conditions.
    #[must_use]
    pub fn matching(mut self, filter: Filter) -> Self {
        self.request.filter = Some(filter);
        self
    }

    /// Only these images, where they exist.
    #[must_use]
    pub fn of_ids(mut self, image_ids: Vec<String>) -> Self {
        // No ids at all would not restrict anything.
        self.is_over = image_ids.is_empty();
        self.matching(Filter { image_ids, ..Filter::default() })
    }

    /// With embeddings, which are otherwise empty.
    #[must_use]
    pub fn with_embeddings(mut self) -> Self {
        self.request.with_embeddings = true;
        self
    }

    /// How long to try again while the service is not available; at first [`PATIENCE`].
    #[must_use]
    pub fn retry_for(mut self, retry_for: Duration) -> Self {
        self.retry_for = retry_for;
        self
    }

    /// The next page, of at most 256 images; none behind the last.
    ///
    /// # Errors
    /// [`ClientError::Refused`] and [`ClientError::Unavailable`]. The same page can be asked for again.
    pub async fn next(&mut self) -> Result<Option<Vec<StoredImage>>, ClientError> {
        if self.is_over {
            return Ok(None);
        }
        let reply = repeat(self.retry_for, || {
            let (mut service, request) = (self.service.clone(), self.request.clone());
            async move { service.list_images(request).await }
        });
        let reply = reply.await?;
        self.is_over = reply.next_page_token.is_empty();
        self.request.page_token = reply.next_page_token;
        Ok(Some(reply.images))
    }

    /// Everything that is left, in memory.
    ///
    /// # Errors
    /// As [`Listing::next`].
    pub async fn collect(mut self) -> Result<Vec<StoredImage>, ClientError> {
        let mut images = Vec::new();
        while let Some(page) = self.next().await? {
            images.extend(page);
        }
        Ok(images)
    }
}
