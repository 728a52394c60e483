//! Legal holds.

use super::SearchGrpc;
use super::images::check_watch_name;
use super::messages::{filter_message, timestamp};
use super::reply_room::ReplyRoom;
use crate::SearchError;
use crate::galleries::Released;
use crate::holds::{Hold, Holds, MAX_HOLDS};
use crate::retention::Retention;
use crate::validation::{check_gallery_name, invalid};
use descry_proto::search::v1 as proto;
use descry_store::{SearchFilter, now_ms};

/// Longest reason of a hold in bytes.
const MAX_REASON_BYTES: usize = 1_024;

/// Holds of a page where the caller does not say.
const DEFAULT_PAGE_HOLDS: u32 = 100;

impl SearchGrpc {
    pub(super) async fn place_hold(&self, request: proto::PlaceHoldRequest) -> Result<proto::Hold, SearchError> {
        let proto::PlaceHoldRequest { gallery, name, filter, reason } = request;
        check_gallery_name(&gallery)?;
        check_watch_name(&name, &self.limits)?;
        let reason = reason.trim().to_owned();
        if reason.is_empty() {
            return Err(invalid("reason", "must say why the images are held, such as the number of a case"));
        }
        if reason.len() > MAX_REASON_BYTES {
            let said = format!("{} bytes, at most {MAX_REASON_BYTES} are allowed", reason.len());
            return Err(invalid("reason", said));
        }
        let filter = self.checked_filter(filter)?;
        let hold = Hold { filter, reason, placed_at_ms: now_ms() };
        let (hold, images) = self.galleries.place_hold(&gallery, &name, hold).await?;
        tracing::info!(gallery, hold = name, images, "a hold is placed");
        Ok(hold_message(&gallery, name, hold, images))
    }

    pub(super) async fn list_holds(
        &self,
        request: proto::ListHoldsRequest,
    ) -> Result<proto::ListHoldsResponse, SearchError> {
        let proto::ListHoldsRequest { gallery, page_size, page_token } = request;
        check_gallery_name(&gallery)?;
        let most = if page_size == 0 { DEFAULT_PAGE_HOLDS } else { page_size };
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(MAX_HOLDS);
        let serving = self.store.resolve(&gallery).await?;
        let all = Holds::of(&*self.store, &serving).await?;
        let mut room = ReplyRoom::new(self.limits.max_reply_bytes);
        let (mut holds, mut next_page_token) = (Vec::<proto::Hold>::new(), String::new());
        // Counted one by one, so that a page costs what is on it.
        for (name, hold) in all.iter().filter(|(name, _)| page_token.is_empty() || **name > page_token) {
            let images = if holds.len() < most { self.store.count(&serving, &hold.filter).await? } else { 0 };
            let message = hold_message(&gallery, name.clone(), hold.clone(), images);
            if holds.len() >= most || !room.fits(&message) {
                next_page_token = holds.last().map(|last| last.name.clone()).unwrap_or_default();
                break;
            }
            holds.push(message);
        }
        Ok(proto::ListHoldsResponse { holds, next_page_token })
    }

    pub(super) async fn lift_hold(
        &self,
        request: proto::LiftHoldRequest,
    ) -> Result<proto::LiftHoldResponse, SearchError> {
        let proto::LiftHoldRequest { gallery, name } = request;
        check_gallery_name(&gallery)?;
        check_watch_name(&name, &self.limits)?;
        let serving = self.store.resolve(&gallery).await?;
        let expired = Retention::of(&*self.store, &serving).await?.expired(self.retention_clock.now_ms());
        let Released { images: released, expired: past_retention } =
            self.galleries.lift_hold(&gallery, &name, expired).await?;
        tracing::info!(gallery, hold = name, released, "a hold is lifted");
        Ok(proto::LiftHoldResponse { released, past_retention })
    }
}

fn hold_message(gallery: &str, name: String, hold: Hold, images: u64) -> proto::Hold {
    let Hold { filter, reason, placed_at_ms } = hold;
    proto::Hold {
        gallery: gallery.to_owned(),
        name,
        filter: Some(filter).filter(|filter| *filter != SearchFilter::default()).map(filter_message),
        reason,
        placed_at: Some(timestamp(placed_at_ms)),
        images,
    }
}
