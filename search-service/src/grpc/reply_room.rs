//! How much of an answer fits into one reply: a caller's client refuses what is larger than it expects, and a reply that is
//! not read lies in memory.

use prost::Message;

/// Tag and length in front of an item.
pub(super) const PREFIX_BYTES: usize = 6;

/// What a reply says beside its items.
const HEAD_BYTES: usize = 1 << 10;

/// Most items of a page, where a request says so.
pub(super) fn page_limit(page_size: u32) -> usize {
    if page_size == 0 { usize::MAX } else { usize::try_from(page_size).unwrap_or(usize::MAX) }
}

/// The room that is left in a reply.
#[derive(Debug)]
pub(super) struct ReplyRoom {
    left_bytes: usize,
    is_empty: bool,
}

impl ReplyRoom {
    pub(super) fn new(max_reply_bytes: usize) -> Self {
        Self { left_bytes: max_reply_bytes.saturating_sub(HEAD_BYTES), is_empty: true }
    }

    /// Takes the room of an item, if there is so much. The first one always fits, or whoever asks page after page would
    /// never get past it; each item is bounded by itself.
    pub(super) fn fits(&mut self, item: &impl Message) -> bool {
        self.takes(item.encoded_len())
    }

    /// The same for a text of so many bytes, or a whole message.
    pub(super) fn takes(&mut self, bytes: usize) -> bool {
        let left = self.left_bytes.checked_sub(bytes.saturating_add(PREFIX_BYTES));
        if left.is_none() && !self.is_empty {
            // What comes later does not fit either, or pages would have holes.
            self.left_bytes = 0;
            return false;
        }
        (self.left_bytes, self.is_empty) = (left.unwrap_or_default(), false);
        true
    }

    /// The items from the first that fit.
    pub(super) fn fill<Item: Message>(&mut self, items: impl IntoIterator<Item = Item>) -> Vec<Item> {
        items.into_iter().take_while(|item| self.fits(item)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_proto::search::v1::{Hit, SearchResponse};

    #[test]
    fn a_full_reply_is_no_larger_than_allowed() {
        for (max_bytes, id_bytes) in [(10_000, 1), (10_000, 100), (100_000, 517), (1_000_000, 16_384)] {
            let hit = || Hit { image_id: "i".repeat(id_bytes), ..Hit::default() };
            let hits = ReplyRoom::new(max_bytes).fill(std::iter::repeat_with(hit).take(100_000));
            let reply = SearchResponse { hits, ..SearchResponse::default() };
            assert!(reply.encoded_len() <= max_bytes, "{max_bytes} {id_bytes}");
            // Full but for the head and what was counted for prefixes.
            let unused = max_bytes - reply.encoded_len();
            assert!(unused <= HEAD_BYTES + reply.hits.len() * PREFIX_BYTES + id_bytes + PREFIX_BYTES, "{unused}");
        }
    }

    #[test]
    fn the_first_item_fits_whatever_its_size() {
        let hit = |bytes: usize| Hit { image_id: "i".repeat(bytes), ..Hit::default() };
        let mut room = ReplyRoom::new(2_000);
        assert!(room.fits(&hit(5_000)));
        assert!(!room.fits(&hit(1)));
        let mut room = ReplyRoom::new(2_000);
        assert_eq!(room.fill([hit(500), hit(5_000), hit(1)]).len(), 1, "nothing is passed over");
    }
}
