//! Hits for people.

use crate::output::say;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use descry_proto::search::v1::{Hit, SearchResponse};
use prost_types::Timestamp;
use std::collections::BTreeSet;

pub(super) fn print(reply: &SearchResponse, by_person: bool) {
    if reply.truncated {
        say!("a description is longer than the model reads; its end did not count");
    }
    if reply.hits.is_empty() {
        say!("no image in the gallery meets the conditions");
    } else {
        say!("{}", table(&reply.hits, by_person));
    }
    if let Some(probability) = reply.not_in_gallery_probability {
        say!("probability that nobody here matches: {}", percent(probability));
    }
}

fn table(hits: &[Hit], by_person: bool) -> Table {
    let has_probabilities = hits.iter().any(|hit| hit.match_probability.is_some());
    let mut header = vec!["", "score"];
    if has_probabilities {
        header.push("probability");
    }
    header.extend(["image", "person"]);
    let places: &[&str] = if by_person { &["images", "cameras", "first", "last"] } else { &["camera", "captured"] };
    header.extend(places);
    let mut table = Table::new();
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    for (index, hit) in hits.iter().enumerate() {
        let metadata = hit.metadata.clone().unwrap_or_default();
        let mut row = vec![(index + 1).to_string(), format!("{:.4}", hit.score)];
        if has_probabilities {
            row.push(hit.match_probability.map(percent).unwrap_or_default());
        }
        row.extend([hit.image_id.clone(), metadata.person_id.unwrap_or_default()]);
        if by_person {
            row.extend(presence(hit));
        } else {
            row.extend([metadata.camera_id.unwrap_or_default(), time_text(metadata.captured_at)]);
        }
        table.add_row(row);
    }
    if let Some(column) = table.column_mut(0) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// How often, where and from when to when a person was seen. Of very many images the service names some; where and when is
/// told of these.
fn presence(hit: &Hit) -> [String; 4] {
    let Hit { sightings, sighting_count, .. } = hit;
    let named = sightings.len() as u64;
    let count = if *sighting_count > named { format!("{sighting_count} (of {named}:)") } else { named.to_string() };
    let cameras: BTreeSet<&str> = sightings.iter().filter_map(|sighting| sighting.camera_id.as_deref()).collect();
    let times = || sightings.iter().filter_map(|sighting| sighting.captured_at);
    let order = |time: &Timestamp| (time.seconds, time.nanos);
    [
        count,
        cameras.into_iter().collect::<Vec<_>>().join(", "),
        time_text(times().min_by_key(order)),
        time_text(times().max_by_key(order)),
    ]
}

fn time_text(time: Option<Timestamp>) -> String {
    time.map(|time| time.to_string()).unwrap_or_default()
}

fn percent(probability: f32) -> String {
    format!("{:.0} %", probability * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_proto::search::v1::Sighting;

    fn sighting(camera: &str, seconds: i64) -> Sighting {
        let captured_at = Some(Timestamp { seconds, nanos: 0 });
        Sighting { image_id: String::new(), camera_id: Some(camera.to_owned()), captured_at }
    }

    #[test]
    fn a_person_has_cameras_and_times() {
        let unknown = Sighting { image_id: "x".to_owned(), camera_id: None, captured_at: None };
        let sightings = [sighting("c2", 60), sighting("c1", 0), sighting("c2", 30), unknown];
        let expected = ["4", "c1, c2", "1970-01-01T00:00:00Z", "1970-01-01T00:01:00Z"];
        let hit = Hit { sightings: sightings.to_vec(), match_probability: Some(0.124), ..Hit::default() };
        assert_eq!(presence(&hit), expected);
        assert_eq!(presence(&Hit { sighting_count: 90, ..hit.clone() })[0], "90 (of 4:)");
        let text = table(&[hit], true).to_string();
        assert!(text.contains("c1, c2") && text.contains("12 %") && text.contains("cameras"), "{text}");
    }

    #[test]
    fn without_calibration_there_are_no_probabilities() {
        let text = table(&[Hit { image_id: "a.jpg".to_owned(), ..Hit::default() }], false).to_string();
        assert!(text.contains("a.jpg") && !text.contains("probability"), "{text}");
    }
}
