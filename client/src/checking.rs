//! Checking a gallery for damaged images, page after page.

use crate::connection::Service;
use crate::retry::repeat;
use crate::{ClientError, Connection, PATIENCE};
use descry_proto::search::v1::{CheckGalleryRequest, CheckGalleryResponse};

/// Pages of a gallery that have not been checked yet. A service that restarts meanwhile is waited for.
pub struct Check {
    service: Service,
    request: CheckGalleryRequest,
    is_over: bool,
}

impl Connection {
    /// Reads all images of a gallery, or of a generation of one such as `lobby.2`. `repair`: removes those that cannot be read.
    pub fn check(&self, address: &str, repair: bool) -> Check {
        let request = CheckGalleryRequest { gallery: address.to_owned(), repair, ..CheckGalleryRequest::default() };
        Check { service: self.service(), request, is_over: false }
    }
}

impl Check {
    /// The next page; none behind the last.
    ///
    /// # Errors
    /// [`ClientError::Refused`] and [`ClientError::Unavailable`]. The same page can be asked for again.
    pub async fn next(&mut self) -> Result<Option<CheckGalleryResponse>, ClientError> {
        if self.is_over {
            return Ok(None);
        }
        let reply = repeat(PATIENCE, || {
            let (mut service, request) = (self.service.clone(), self.request.clone());
            async move { service.check_gallery(request).await }
        })
        .await?;
        self.is_over = reply.next_page_token.is_empty();
        self.request.page_token.clone_from(&reply.next_page_token);
        Ok(Some(reply))
    }
}
