//! What an operator wants to know of galleries, besides what is counted of every request.

use crate::galleries::Acknowledgement;
use descry_store::StoreCondition;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

const IMAGES: &str = "descry_search_images_total";
const REMOVED: &str = "descry_search_images_removed_total";
const RUNNING: &str = "descry_search_running";
const WAITING: &str = "descry_search_waiting";
const REFUSED: &str = "descry_search_refused_total";
const MATCHES: &str = "descry_search_watch_matches_total";
const ENCODER_UP: &str = "descry_search_encoder_up";
const ENCODER_CALLS: &str = "descry_search_encoder_calls_total";
const ENCODER_IN_FLIGHT: &str = "descry_search_encoder_in_flight";
const CLOCK_WAITING: &str = "descry_search_retention_clock_waiting";
const DAMAGED: &str = "descry_search_damaged_images";
const STORE_FULL: &str = "descry_search_store_full";
const AUDIT_WRITABLE: &str = "descry_search_audit_writable";

const RECALL: &str = "descry_search_recall_at_10";

/// Describes the metrics; once a process.
pub(crate) fn describe() {
    metrics::describe_counter!(IMAGES, "Images that were to be indexed, by outcome.");
    metrics::describe_counter!(REMOVED, "Images that were removed because they had been kept long enough, by gallery.");
    metrics::describe_gauge!(RUNNING, "Images, texts or searches of stored images that are being worked on, by kind.");
    metrics::describe_gauge!(WAITING, "Searches that wait for their turn, by kind.");
    metrics::describe_counter!(
        REFUSED,
        "Searches that were refused because they could not have been answered in time."
    );
    metrics::describe_gauge!(RECALL, "Share of the ten nearest images that searches of a gallery find.");
    metrics::describe_counter!(MATCHES, "Images that matched a watch and were streamed.");
    metrics::describe_gauge!(ENCODER_UP, "Whether work goes to an encoder (1), or it is left out (0), by member.");
    metrics::describe_gauge!(ENCODER_IN_FLIGHT, "Items that an encoder was given and did not answer yet, by member.");
    metrics::describe_counter!(
        ENCODER_CALLS,
        "Calls to encoders, by member and outcome. Beside answered and failed ones: those that moved here from another \
         member, and those that were made here as well because another one was slow (hedged)."
    );
    metrics::describe_gauge!(CLOCK_WAITING, "1 while the clock is ahead of the time by which images are removed.");
    metrics::describe_gauge!(DAMAGED, "Images that are known to be damaged and are passed over.");
    metrics::describe_gauge!(STORE_FULL, "1 while writes are refused because the store's disk is full.");
    metrics::describe_gauge!(
        AUDIT_WRITABLE,
        "Whether the audit log can be written (1); while it cannot (0), nothing is answered."
    );
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

/// Of few galleries: those whose searches are compared.
pub(crate) fn set_recall(gallery: &str, share: f32) {
    metrics::gauge!(RECALL, "gallery" => gallery.to_owned()).set(f64::from(share));
}

/// Galleries of which the removed images are counted apart; those of all others are counted together.
const MAX_SWEPT_GALLERIES: usize = 64;

/// Under a label that no gallery can have as its name, for those beyond the first.
const OTHER_GALLERIES: &str = "(others)";

pub(crate) fn count_removed(gallery: &str, count: u64) {
    static SWEPT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut swept = SWEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let is_named = swept.contains(gallery) || (swept.len() < MAX_SWEPT_GALLERIES && swept.insert(gallery.to_owned()));
    let label = if is_named { gallery } else { OTHER_GALLERIES };
    metrics::counter!(REMOVED, "gallery" => label.to_owned()).increment(count);
}

pub(crate) fn count_matches(count: u64) {
    metrics::counter!(MATCHES).increment(count);
}

/// Of the line that changed last, where several models have one.
pub(crate) fn measure_line(kind: &'static str, running: usize, waiting: usize) {
    metrics::gauge!(RUNNING, "kind" => kind).set(running as f64);
    metrics::gauge!(WAITING, "kind" => kind).set(waiting as f64);
}

pub(crate) fn count_refused_search() {
    metrics::counter!(REFUSED).increment(1);
}

/// `member` is an address from the settings, or a name of them with a number; never a caller's word.
pub(crate) fn encoder_is_up(member: &str, is_up: bool) {
    metrics::gauge!(ENCODER_UP, "member" => member.to_owned()).set(f64::from(u8::from(is_up)));
}

pub(crate) fn encoder_has_in_flight(member: &str, items: usize) {
    metrics::gauge!(ENCODER_IN_FLIGHT, "member" => member.to_owned()).set(items as f64);
}

pub(crate) fn count_encoder_call(member: &str, outcome: &'static str) {
    metrics::counter!(ENCODER_CALLS, "member" => member.to_owned(), "outcome" => outcome).increment(1);
}

pub(crate) fn show_clock_waiting(is_waiting: bool) {
    metrics::gauge!(CLOCK_WAITING).set(f64::from(u8::from(is_waiting)));
}

pub(crate) fn show_audit(is_writable: bool) {
    metrics::gauge!(AUDIT_WRITABLE).set(f64::from(u8::from(is_writable)));
}

pub(crate) fn show_condition(condition: StoreCondition) {
    metrics::gauge!(DAMAGED).set(condition.damaged_images as f64);
    metrics::gauge!(STORE_FULL).set(f64::from(u8::from(condition.is_full)));
}
