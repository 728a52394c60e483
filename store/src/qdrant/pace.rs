//! How many images a search for groups asks for at once. Pure.

use super::group_names::name_bytes;
use super::ranked_group::RankedGroup;
use super::search::MAX_TIED_IMAGES;

/// Images that are asked for with a later question, at most, for each group that the one before it found.
const CROWDED_IMAGES: usize = 64;

/// Bytes of the names in one answer, about: what an answer takes is known when the first one has come.
pub(super) const ANSWER_BYTES: usize = 4 << 20;

/// What an image is taken to need until the first answer has come: names are at most 512 bytes where nobody allows more.
const USUAL_IMAGE_BYTES: usize = 1 << 10;

/// The fewest images of a question, however long their names are.
const LEAST_IMAGES: usize = 16;

/// What the groups are wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The best images are hits. One question mostly has to do.
    Hits,
    /// The groups will be scored otherwise. Many are wanted, and the server reads a whole embedding for each image.
    Candidates,
}

impl Purpose {
    /// Images that are asked for, for each group that is wanted.
    fn images_of_a_group(self) -> usize {
        match self {
            Self::Hits => 8,
            Self::Candidates => 4,
        }
    }
}

/// How many images are asked for.
#[derive(Debug)]
pub(super) struct Pace {
    pub(super) purpose: Purpose,
    /// Groups that the last question found.
    pub(super) found_last: Option<usize>,
    /// The most that images took on the average of one answer.
    image_bytes: usize,
}

impl Pace {
    pub(super) fn new(purpose: Purpose) -> Self {
        Self { purpose, found_last: None, image_bytes: USUAL_IMAGE_BYTES }
    }

    /// Of so many images at least the last one tells that there may be more.
    pub(super) fn images(&self, wanted: usize) -> usize {
        let enough = wanted.saturating_mul(self.purpose.images_of_a_group());
        let images = match self.found_last {
            None => enough,
            Some(groups) => enough.min(groups.max(1).saturating_mul(CROWDED_IMAGES)),
        };
        let most = (ANSWER_BYTES / self.image_bytes.max(1)).clamp(LEAST_IMAGES, MAX_TIED_IMAGES);
        images.saturating_add(1).min(most)
    }

    pub(super) fn note_bytes(&mut self, images: &[RankedGroup]) {
        let bytes: usize = images.iter().map(|image| image.image_id.len() + name_bytes(&image.group)).sum();
        let average = bytes.checked_div(images.len()).unwrap_or_default();
        self.image_bytes = self.image_bytes.max(average);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images_of(person: &str) -> Vec<RankedGroup> {
        vec![RankedGroup::of_image((None, person.to_owned()), "1".to_owned(), 0.1)]
    }

    #[test]
    fn questions_follow_groups_and_real_bytes() {
        let candidates = Pace::new(Purpose::Candidates);
        assert_eq!(candidates.images(128), 513);
        let mut pace = Pace::new(Purpose::Hits);
        assert_eq!((pace.images(1), pace.images(10)), (9, 81));
        assert_eq!(pace.images(usize::MAX), 4_096);
        pace.found_last = Some(1);
        assert_eq!((pace.images(10), pace.images(3)), (65, 25), "a crowd is not read deeper and deeper");
        pace.found_last = Some(0);
        assert_eq!(pace.images(10), 65);
        pace.found_last = Some(100);
        assert_eq!(pace.images(100), 801);
        pace.note_bytes(&images_of(&"x".repeat(1 << 16)));
        assert!((60..=64).contains(&pace.images(100)), "long names: {}", pace.images(100));
        pace.note_bytes(&[]);
        pace.note_bytes(&images_of(&"x".repeat(1 << 24)));
        assert_eq!(pace.images(100), LEAST_IMAGES);
    }
}
