//! Counts of what a gallery's images say of themselves.

use crate::SearchError;
use descry_store::{Generation, ImageMetadata, PageRequest, SearchFilter, VectorStore};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Images read at once.
const PAGE_IMAGES: usize = 1_000;

/// Different values of an attribute that are counted each for itself, the first that are met. What names every image, as a
/// path does, has as many values as there are images, and of those only the number is of interest.
const MAX_COUNTED_VALUES: usize = 10_000;

/// Longer values are not counted each for itself.
const MAX_COUNTED_BYTES: usize = 256;

/// Bytes of all names and values that are counted each for itself.
const MAX_TEXT_BYTES: usize = 32 << 20;

/// Values that are told apart without being counted, of all attributes together. What is beyond is not told apart any more.
const MAX_OTHERS: usize = 4_000_000;

/// Different attributes that are counted.
const MAX_ATTRIBUTES: usize = 1_000;

/// What the images of a gallery say of themselves.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    pub(crate) images: u64,
    pub(crate) persons: Values,
    pub(crate) cameras: Values,
    pub(crate) attributes: BTreeMap<String, Values>,
    attributes_left_out: HashSet<u64>,
    room: Room,
    pub(crate) captured: Span,
    pub(crate) indexed: Span,
}

/// What may still be kept in memory.
#[derive(Debug)]
struct Room {
    text_bytes: usize,
    others: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { text_bytes: MAX_TEXT_BYTES, others: MAX_OTHERS }
    }
}

/// How often which value is there.
#[derive(Debug, Default)]
pub(crate) struct Values {
    counts: HashMap<String, u64>,
    /// Digests of values beyond those that are counted.
    others: HashSet<u64>,
    /// Images that have a value.
    pub(crate) images: u64,
}

/// The first and the last of some times, in milliseconds since the Unix epoch.
#[derive(Debug, Default)]
pub(crate) struct Span {
    pub(crate) first_and_last_ms: Option<(i64, i64)>,
    /// Images that have a time.
    pub(crate) images: u64,
}

impl Statistics {
    /// Reads all metadata of a generation, page after page. What is written meanwhile may or may not be counted.
    pub(crate) async fn of(store: &dyn VectorStore, generation: &Generation) -> Result<Self, SearchError> {
        let mut statistics = Self::default();
        let mut after = None;
        loop {
            let request = PageRequest { filter: SearchFilter::default(), after, limit: PAGE_IMAGES };
            let page = store.listing(generation, request).await?;
            page.images.into_iter().for_each(|(_, metadata)| statistics.add(metadata));
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(statistics),
            }
        }
    }

    fn add(&mut self, metadata: ImageMetadata) {
        self.images += 1;
        self.persons.add(metadata.person_id, &mut self.room);
        self.cameras.add(metadata.camera_id, &mut self.room);
        for (name, value) in metadata.attributes {
            if let Some(values) = self.attributes.get_mut(&name) {
                values.add(Some(value), &mut self.room);
            } else if self.attributes.len() < MAX_ATTRIBUTES && self.room.take(&name) {
                self.attributes.entry(name).or_default().add(Some(value), &mut self.room);
            } else if self.attributes_left_out.len() < MAX_COUNTED_VALUES {
                self.attributes_left_out.insert(digest(&name));
            }
        }
        self.captured.add(metadata.captured_at_ms);
        self.indexed.add(Some(metadata.indexed_at_ms));
    }

    /// Attributes beyond those that are counted.
    pub(crate) fn attributes_left_out(&self) -> u64 {
        self.attributes_left_out.len() as u64
    }
}

impl Room {
    /// Whether a text may be kept.
    fn take(&mut self, text: &str) -> bool {
        let fits = text.len() <= MAX_COUNTED_BYTES && text.len() <= self.text_bytes;
        if fits {
            self.text_bytes -= text.len();
        }
        fits
    }
}

impl Values {
    fn add(&mut self, value: Option<String>, room: &mut Room) {
        let Some(value) = value else { return };
        self.images += 1;
        if let Some(count) = self.counts.get_mut(&value) {
            *count += 1;
        } else if self.counts.len() < MAX_COUNTED_VALUES && room.take(&value) {
            self.counts.insert(value, 1);
        } else if room.others > 0 && self.others.insert(digest(&value)) {
            room.others -= 1;
        }
    }

    /// How many different values there are.
    pub(crate) fn distinct(&self) -> u64 {
        (self.counts.len() + self.others.len()) as u64
    }

    /// The most frequent values, equally frequent ones by value.
    pub(crate) fn most_frequent(self, limit: usize) -> Vec<(String, u64)> {
        let mut counts: Vec<(String, u64)> = self.counts.into_iter().collect();
        counts.sort_unstable_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then_with(|| a.cmp(b)));
        counts.truncate(limit);
        counts
    }
}

impl Span {
    fn add(&mut self, time_ms: Option<i64>) {
        let Some(time_ms) = time_ms else { return };
        self.images += 1;
        let (first, last) = self.first_and_last_ms.unwrap_or((time_ms, time_ms));
        self.first_and_last_ms = Some((first.min(time_ms), last.max(time_ms)));
    }
}

/// Equal texts have equal digests, and among a million of different ones two are alike once in forty million cases.
fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_beyond_the_bound_are_told_apart_and_not_kept() {
        let mut values = Values::default();
        let of = |number: usize| Some(format!("{number:05}"));
        let mut room = Room::default();
        let numbers = (0..MAX_COUNTED_VALUES + 5).chain(MAX_COUNTED_VALUES..MAX_COUNTED_VALUES + 5);
        numbers.for_each(|number| values.add(of(number), &mut room));
        values.add(of(7), &mut room);
        values.add(None, &mut room);
        assert_eq!(values.distinct(), MAX_COUNTED_VALUES as u64 + 5);
        assert_eq!(values.images, MAX_COUNTED_VALUES as u64 + 11);
        assert_eq!(values.counts.len(), MAX_COUNTED_VALUES);
        let first = vec![("00007".to_owned(), 2), ("00000".to_owned(), 1), ("00001".to_owned(), 1)];
        assert_eq!(values.most_frequent(3), first);
    }

    #[test]
    fn long_values_and_many_take_no_more_memory_than_there_is_room_for() {
        let mut room = Room { text_bytes: 10, others: 2 };
        let mut values = Values::default();
        for value in ["0123456789", "a", "b", "c", &"long".repeat(MAX_COUNTED_BYTES)] {
            values.add(Some(value.to_owned()), &mut room);
        }
        assert_eq!((values.counts.len(), values.others.len(), values.images), (1, 2, 5));
    }

    #[test]
    fn images_without_a_value_are_no_value() {
        let mut statistics = Statistics::default();
        statistics.add(ImageMetadata::default());
        let known = ImageMetadata {
            camera_id: Some("c1".to_owned()),
            captured_at_ms: Some(-4),
            indexed_at_ms: 6,
            attributes: [("coat".to_owned(), "red".to_owned())].into(),
            ..ImageMetadata::default()
        };
        statistics.add(known);
        assert_eq!((statistics.images, statistics.cameras.images, statistics.persons.distinct()), (2, 1, 0));
        assert_eq!(statistics.captured.first_and_last_ms, Some((-4, -4)));
        assert_eq!(statistics.indexed.first_and_last_ms, Some((0, 6)));
        assert_eq!(statistics.attributes["coat"].images, 1);
    }
}
