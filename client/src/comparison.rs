//! What one generation of a gallery lacks of another, page after page.

use crate::connection::Service;
use crate::retry::repeat;
use crate::{ClientError, Connection, PATIENCE};
use descry_proto::search::v1::{CompareGenerationsRequest, CompareGenerationsResponse};
use std::time::Duration;

/// Ids that are kept of each kind. All are counted.
const MAX_KEPT_IDS: usize = 10_000;
/// Ids that the service names on a page.
const IDS_OF_A_PAGE: u32 = 1_000;

/// What one generation lacks of another, and has beyond it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Images of the generation.
    pub images: u64,
    /// Images of the one that it is held against.
    pub images_against: u64,
    /// Images of the other that it lacks, has from another file, or has with other metadata.
    pub missing: u64,
    /// Their ids, the first 10,000.
    pub missing_ids: Vec<String>,
    /// Images that the other does not have.
    pub surplus: u64,
    /// Their ids, the first 10,000.
    pub surplus_ids: Vec<String>,
    /// Whether the service lets the generation take over, until something is written that it does not get.
    pub is_ready: bool,
}

/// A comparison under way. It may be continued at any time, also when the service was restarted meanwhile.
pub struct Comparison {
    service: Service,
    request: CompareGenerationsRequest,
    retry_for: Duration,
    difference: Difference,
    examined: u64,
    is_over: bool,
}

impl Connection {
    /// Holds a generation of a gallery against another; 0 for the one that serves.
    pub fn compare(&self, gallery: &str, generation: u32, against: u32) -> Comparison {
        let request = CompareGenerationsRequest {
            gallery: gallery.to_owned(),
            generation,
            against,
            limit: IDS_OF_A_PAGE,
            page_token: String::new(),
        };
        Comparison {
            service: self.service(),
            request,
            retry_for: PATIENCE,
            difference: Difference::default(),
            examined: 0,
            is_over: false,
        }
    }
}

impl Comparison {
    /// How long to try again while the service is not available; at first [`PATIENCE`].
    #[must_use]
    pub fn retry_for(mut self, retry_for: Duration) -> Self {
        self.retry_for = retry_for;
        self
    }

    /// Compares some more images. False when all are compared.
    ///
    /// # Errors
    /// [`ClientError::Refused`] and [`ClientError::Unavailable`]. The same page can be asked for again.
    pub async fn advance(&mut self) -> Result<bool, ClientError> {
        if self.is_over {
            return Ok(false);
        }
        let page = repeat(self.retry_for, || {
            let (mut service, request) = (self.service.clone(), self.request.clone());
            async move { service.compare_generations(request).await }
        });
        let page = page.await?;
        if !page.next_page_token.is_empty() && page.next_page_token == self.request.page_token {
            return Err(ClientError::StrangeAnswer { what: "a page of a comparison that ends where it begins" });
        }
        self.is_over = page.next_page_token.is_empty();
        self.request.page_token.clone_from(&page.next_page_token);
        self.examined += page.examined;
        self.difference.add(page);
        Ok(!self.is_over)
    }

    /// Images that were looked at, of [`Comparison::total`].
    pub fn examined(&self) -> u64 {
        self.examined
    }

    /// Images of both generations together; 0 before the first page.
    pub fn total(&self) -> u64 {
        self.difference.images + self.difference.images_against
    }

    /// What was found so far.
    pub fn into_difference(self) -> Difference {
        self.difference
    }
}

impl Difference {
    fn add(&mut self, page: CompareGenerationsResponse) {
        // Pages between the first and the last are not counted.
        if page.images > 0 || page.images_against > 0 {
            (self.images, self.images_against) = (page.images, page.images_against);
        }
        self.missing += page.missing;
        self.surplus += page.surplus;
        extend(&mut self.missing_ids, page.missing_ids);
        extend(&mut self.surplus_ids, page.surplus_ids);
        self.is_ready = page.ready;
    }
}

fn extend(ids: &mut Vec<String>, more: Vec<String>) {
    let room = MAX_KEPT_IDS.saturating_sub(ids.len());
    ids.extend(more.into_iter().take(room));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_add_up_and_what_is_kept_of_them_is_bounded() {
        let mut difference = Difference::default();
        for page in 0..11 {
            let missing_ids = (0..1_000).map(|number| format!("{page}-{number}")).collect();
            let surplus_ids = vec![page.to_string()];
            difference.add(CompareGenerationsResponse {
                images: 5,
                images_against: 20_000,
                missing: 1_500,
                missing_ids,
                surplus: 1,
                surplus_ids,
                ready: page == 10,
                ..CompareGenerationsResponse::default()
            });
        }
        assert_eq!((difference.missing, difference.missing_ids.len()), (16_500, MAX_KEPT_IDS));
        assert_eq!((difference.surplus, difference.surplus_ids.len()), (11, 11));
        assert_eq!((difference.images, difference.images_against, difference.is_ready), (5, 20_000, true));
    }
}
