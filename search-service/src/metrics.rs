//! What an operator wants to know of galleries, besides what is counted of every request.

use crate::galleries::Acknowledgement;

const IMAGES: &str = "descry_search_images_total";
const REMOVED: &str = "descry_search_images_removed_total";
const MATCHES: &str = "descry_search_watch_matches_total";

/// Describes the metrics; once a process.
pub(crate) fn describe() {
    metrics::describe_counter!(IMAGES, "Images that were to be indexed, by outcome.");
    metrics::describe_counter!(REMOVED, "Images that were removed because they had been kept long enough.");
    metrics::describe_counter!(MATCHES, "Images that matched a watch and were streamed.");
}

pub(crate) fn count_images(acknowledgements: &[Acknowledgement]) {
    let (mut written, mut unchanged, mut failed) = (0, 0, 0);
    for acknowledgement in acknowledgements {
        match &acknowledgement.outcome {
            Ok(indexed) if indexed.is_unchanged => unchanged += 1,
            Ok(_) => written += 1,
            Err(_) => failed += 1,
        }
    }
    for (outcome, count) in [("written", written), ("unchanged", unchanged), ("failed", failed)] {
        if count > 0 {
            metrics::counter!(IMAGES, "outcome" => outcome).increment(count);
        }
    }
}

pub(crate) fn count_removed(count: u64) {
    metrics::counter!(REMOVED).increment(count);
}

pub(crate) fn count_matches(count: u64) {
    metrics::counter!(MATCHES).increment(count);
}
