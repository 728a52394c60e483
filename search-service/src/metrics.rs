//! What an operator wants to know of galleries, besides what is counted of every request.

use crate::galleries::Acknowledgement;

const IMAGES: &str = "descry_search_images_total";
const REMOVED: &str = "descry_search_images_removed_total";
const RUNNING: &str = "descry_search_running";
const WAITING: &str = "descry_search_waiting";
const REFUSED: &str = "descry_search_refused_total";
const MATCHES: &str = "descry_search_watch_matches_total";

/// Describes the metrics; once a process.
pub(crate) fn describe() {
    metrics::describe_counter!(IMAGES, "Images that were to be indexed, by outcome.");
    metrics::describe_counter!(REMOVED, "Images that were removed because they had been kept long enough.");
    metrics::describe_gauge!(RUNNING, "Searches that are being worked on.");
    metrics::describe_gauge!(WAITING, "Searches that wait for their turn.");
    metrics::describe_counter!(
        REFUSED,
        "Searches that were refused because they could not have been answered in time."
    );
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

pub(crate) fn measure_line(running: usize, waiting: usize) {
    metrics::gauge!(RUNNING).set(running as f64);
    metrics::gauge!(WAITING).set(waiting as f64);
}

pub(crate) fn count_refused_search() {
    metrics::counter!(REFUSED).increment(1);
}
