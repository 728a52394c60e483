//! Hits for programs.

use descry_proto::search::v1::{Hit, ImageMetadata, SearchResponse, Sighting};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Everything that a search answers.
pub(crate) fn reply(reply: &SearchResponse) -> Value {
    json!({
        "fingerprint": reply.fingerprint,
        "truncated": reply.truncated,
        "unknown_letters": reply.unknown_letters,
        "not_in_gallery_probability": reply.not_in_gallery_probability,
        "hits": reply.hits.iter().map(hit).collect::<Value>(),
    })
}

/// One hit.
pub(crate) fn hit(hit: &Hit) -> Value {
    let mut object = metadata_json(&hit.metadata.clone().unwrap_or_default());
    let fields = [
        ("image_id", json!(hit.image_id)),
        ("score", json!(hit.score)),
        ("contributions", json!(hit.contributions)),
        ("match_probability", json!(hit.match_probability)),
        ("sightings", hit.sightings.iter().map(sighting).collect::<Value>()),
        ("sighting_count", json!(hit.sighting_count)),
        ("pooled_images", json!(hit.pooled_images)),
        ("image_score", json!(hit.image_score)),
    ];
    object.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Value::Object(object)
}

/// What is known of an image; attributes in the order of their names.
pub(crate) fn metadata_json(metadata: &ImageMetadata) -> Map<String, Value> {
    let attributes: BTreeMap<&String, &String> = metadata.attributes.iter().collect();
    let fields = [
        ("person_id", json!(metadata.person_id)),
        ("camera_id", json!(metadata.camera_id)),
        ("track_id", json!(metadata.track_id)),
        ("frame_id", json!(metadata.frame_id)),
        ("box", json!(metadata.r#box.map(|of| (of.left, of.top, of.width, of.height)))),
        ("captured_at", json!(metadata.captured_at.map(|time| time.to_string()))),
        ("indexed_at", json!(metadata.indexed_at.map(|time| time.to_string()))),
        ("attributes", json!(attributes)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn sighting(sighting: &Sighting) -> Value {
    json!({
        "image_id": sighting.image_id,
        "camera_id": sighting.camera_id,
        "track_id": sighting.track_id,
        "captured_at": sighting.captured_at.map(|time| time.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_reply_is_left_out() {
        let attributes = [("weather".to_owned(), "rain".to_owned())].into();
        let metadata = ImageMetadata { person_id: Some("7".to_owned()), attributes, ..ImageMetadata::default() };
        let sightings =
            vec![Sighting { image_id: "b".to_owned(), camera_id: Some("c2".to_owned()), ..Sighting::default() }];
        let hit = Hit {
            image_id: "a".to_owned(),
            score: 0.5,
            metadata: Some(metadata),
            contributions: vec![0.75, -0.25],
            match_probability: Some(0.25),
            sightings,
            sighting_count: 40,
            pooled_images: 40,
            image_score: Some(0.75),
        };
        let response = SearchResponse { hits: vec![hit], not_in_gallery_probability: Some(0.5), ..Default::default() };
        let value = reply(&response);
        let hit = &value["hits"][0];
        assert_eq!((&hit["image_id"], &hit["person_id"], &hit["camera_id"]), (&json!("a"), &json!("7"), &Value::Null));
        assert_eq!(hit["attributes"]["weather"], "rain");
        assert_eq!((&hit["contributions"], &hit["match_probability"]), (&json!([0.75, -0.25]), &json!(0.25)));
        assert_eq!(
            (&hit["sightings"][0]["camera_id"], &value["not_in_gallery_probability"]),
            (&json!("c2"), &json!(0.5))
        );
        assert_eq!(hit["sighting_count"], 40, "more than are named");
        assert_eq!((&hit["pooled_images"], &hit["image_score"]), (&json!(40), &json!(0.75)));
    }
}
