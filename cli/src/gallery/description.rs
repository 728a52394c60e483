//! Galleries in words and in JSON.

use crate::time::format_span;
use descry_client::GalleryNote;
use descry_proto::search::v1::{Gallery, IndexState, Recall};
use indicatif::HumanCount;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The first digits of a fingerprint, for people to read.
pub(super) fn short(fingerprint: &str) -> String {
    fingerprint.chars().take(12).collect()
}

/// How the gallery is searched at present, in words.
pub(super) fn index_state(gallery: &Gallery) -> &'static str {
    match gallery.index_state() {
        IndexState::Unspecified => "unknown",
        IndexState::Exact => "exact",
        IndexState::Ready => "index",
        IndexState::Building => "index, being built",
        IndexState::Failed => "index failed",
    }
}

/// How long images are kept, in words; cameras in the order of their names.
pub(super) fn retention_text(gallery: &Gallery) -> String {
    let retention = gallery.retention.clone().unwrap_or_default();
    let cameras: BTreeMap<String, u64> = retention.camera_ms.into_iter().collect();
    let spans = cameras.into_iter().map(|(camera, span_ms)| format!("{camera} {}", format_span(span_ms)));
    std::iter::once(format_span(retention.default_ms)).chain(spans).collect::<Vec<_>>().join(", ")
}

/// What becomes of the images of a gallery that does not keep them for ever, in a sentence.
pub(super) fn retention_advice(gallery: &Gallery) -> Option<String> {
    let retention = gallery.retention.clone().unwrap_or_default();
    if retention.default_ms == 0 && retention.camera_ms.values().all(|&span_ms| span_ms == 0) {
        return None;
    }
    let rule = "Images are removed so long after their capture, or after their indexing where that is not known.";
    Some(match gallery.past_retention {
        0 => rule.to_owned(),
        1 => format!("{rule} One image is older already: the next sweep removes it."),
        count => format!("{rule} {count} images are older already: the next sweep removes them."),
    })
}

/// What to ask before images of a gallery are kept so long that some are too old already; nothing where none is. `preview` is
/// the gallery as it would be.
pub(super) fn retention_question(preview: &Gallery) -> Option<String> {
    let (past, images) = (HumanCount(preview.past_retention), HumanCount(preview.images));
    let kept = format!("Keep images of gallery {:?}: {}?", preview.name, retention_text(preview));
    match preview.past_retention {
        0 => None,
        1 => Some(format!("{kept} 1 of {images} images is already past that; the next sweep removes it.")),
        _ => Some(format!("{kept} {past} of {images} images are already past that; the next sweep removes them.")),
    }
}

fn recall_json(recall: &Recall) -> Value {
    let Recall { share, searches, hits } = *recall;
    json!({ "share": share, "searches": searches, "hits": hits })
}

/// For a program.
pub(super) fn gallery_json(gallery: &Gallery) -> Value {
    Value::Object(gallery_object(gallery))
}

/// The fields of [`gallery_json`].
pub(super) fn gallery_object(gallery: &Gallery) -> Map<String, Value> {
    let state = match gallery.index_state() {
        IndexState::Unspecified => "unspecified",
        IndexState::Exact => "exact",
        IndexState::Ready => "ready",
        IndexState::Building => "building",
        IndexState::Failed => "failed",
    };
    // Name, settings and retention as in exported files.
    let note = serde_json::to_value(GalleryNote::of(gallery)).unwrap_or_default();
    let mut object = note.as_object().cloned().unwrap_or_default();
    let fields = [
        ("fingerprint", json!(gallery.fingerprint)),
        ("embedding_dimension", json!(gallery.embedding_dimension)),
        ("images", json!(gallery.images)),
        ("created_at", json!(gallery.created_at.map(|time| time.to_string()))),
        ("generation", json!(gallery.generation)),
        ("index_state", json!(state)),
        ("bytes", json!(gallery.bytes)),
        ("calibrated", json!(gallery.calibrated)),
        ("past_retention", json!(gallery.past_retention)),
        ("held", json!(gallery.held)),
        ("recall", gallery.recall.as_ref().map_or(Value::Null, recall_json)),
    ];
    object.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_proto::search::v1::Retention;

    #[test]
    fn a_gallery_reads_the_same_for_programs_and_people() {
        let camera_ms = [("c2".to_owned(), 0), ("c1".to_owned(), 604_800_000)].into();
        let gallery = Gallery {
            name: "lobby".to_owned(),
            index_state: IndexState::Building.into(),
            retention: Some(Retention { default_ms: 2_592_000_000, camera_ms }),
            ..Gallery::default()
        };
        assert_eq!(retention_text(&gallery), "30d, c1 7d, c2 forever");
        let old = Gallery { past_retention: 200, ..gallery.clone() };
        assert!(retention_advice(&old).is_some_and(|advice| advice.contains("200 images are older")));
        assert_eq!(retention_advice(&Gallery::default()), None);
        assert_eq!(retention_question(&gallery), None);
        let old = Gallery { past_retention: 1_412, images: 12_800, ..gallery.clone() };
        let question = retention_question(&old).unwrap();
        assert!(
            question.contains("30d, c1 7d, c2 forever? 1,412 of 12,800 images are already past that"),
            "{question}"
        );
        let object = gallery_json(&gallery);
        assert_eq!((&object["name"], &object["index_state"]), (&json!("lobby"), &json!("building")));
        assert_eq!(object["retention"]["camera_ms"]["c1"], 604_800_000);
    }
}
