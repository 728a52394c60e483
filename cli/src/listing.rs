//! A gallery's images, page after page.

use crate::connection::{Client, explain};
use crate::job::retry::{Backoff, is_transient};
use anyhow::Context as _;
use descry_proto::search::v1::{Filter, ListImagesRequest, StoredImage};
use std::time::Duration;

/// Images of a page.
pub(crate) const PAGE_IMAGES: usize = 256;

/// Pages that have not been read yet. A service that restarts meanwhile is waited for.
pub(crate) struct Pages {
    client: Client,
    request: ListImagesRequest,
    backoff: Backoff,
    is_over: bool,
}

impl Pages {
    /// All images of a gallery, or of a generation of one.
    pub(crate) fn all(client: Client, address: &str, with_embeddings: bool, retry_for: Duration) -> Self {
        let request = ListImagesRequest {
            gallery: address.to_owned(),
            page_size: PAGE_IMAGES as u32,
            with_embeddings,
            ..ListImagesRequest::default()
        };
        Self { client, request, backoff: Backoff::new(retry_for), is_over: false }
    }

    /// Those of the images that exist; at most as many as a page holds.
    pub(crate) fn of_ids(client: Client, address: &str, image_ids: Vec<String>, retry_for: Duration) -> Self {
        let mut pages = Self::all(client, address, false, retry_for);
        // No ids at all would not restrict anything.
        pages.is_over = image_ids.is_empty();
        pages.request.filter = Some(Filter { image_ids, ..Filter::default() });
        pages
    }

    /// The next page; none behind the last.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Vec<StoredImage>>> {
        if self.is_over {
            return Ok(None);
        }
        loop {
            match self.client.list_images(self.request.clone()).await {
                Ok(reply) => {
                    self.backoff.succeed();
                    let reply = reply.into_inner();
                    self.is_over = reply.next_page_token.is_empty();
                    self.request.page_token = reply.next_page_token;
                    return Ok(Some(reply.images));
                }
                Err(status) if is_transient(&status) => {
                    self.backoff.wait(&status).await.context("the gallery was not read to its end")?;
                }
                Err(status) => return Err(explain(&status)),
            }
        }
    }

    /// Everything that is left.
    pub(crate) async fn collect(mut self) -> anyhow::Result<Vec<StoredImage>> {
        let mut images = Vec::new();
        while let Some(page) = self.next().await? {
            images.extend(page);
        }
        Ok(images)
    }
}
