//! Hits for people.

use crate::contact_sheet::percent;
use crate::output::{say, say_lines};
use crate::time::{column_time, column_title};
use descry_client::PATH_ATTRIBUTE;
use descry_proto::search::v1::{GroupBy, Hit, ImageMetadata, SearchResponse};
use descry_terminal::table::{Column, Table};
use prost_types::Timestamp;
use std::collections::BTreeSet;

/// Behind the number of images of a person or track of which the service named only some.
const MARK: &str = "*";

/// What is printed besides the hits themselves.
pub(super) struct Shown<'a> {
    pub(super) gallery: &'a str,
    pub(super) by: GroupBy,
    /// Better hits that were left out.
    pub(super) offset: u32,
}

impl Shown<'_> {
    fn of_groups(&self) -> bool {
        matches!(self.by, GroupBy::Person | GroupBy::Track)
    }
}

pub(super) fn print(reply: &SearchResponse, shown: &Shown<'_>) {
    if reply.truncated {
        say!("a description is longer than the model reads; its end did not count");
    }
    if !reply.unknown_letters.is_empty() {
        say!("the model has no token for some letters, which did not count: {}", reply.unknown_letters);
    }
    if reply.hits.is_empty() {
        say!("no image in the gallery meets the conditions");
    } else {
        say_lines!("{}", table(&reply.hits, shown));
    }
    if shown.of_groups() && reply.hits.iter().any(is_cut) {
        let condition = if shown.by == GroupBy::Track { "--camera ID --track ID" } else { "--person ID" };
        say!(
            "{MARK} cameras and times are those of some of the images; `descry gallery list-images {} {condition}` lists all \
             of them",
            shown.gallery
        );
    }
    if let Some(probability) = reply.not_in_gallery_probability {
        say!("probability that nobody here matches: {}", percent(probability));
    }
}

fn table(hits: &[Hit], shown: &Shown<'_>) -> Table {
    let mut columns = vec![
        Column::new("").right(),
        Column::new("score").right(),
        Column::new("prob.").right(),
        Column::new("image").at_least(16),
        Column::new("person").at_least(4),
    ];
    if shown.by == GroupBy::Track {
        columns.push(Column::new("track").at_least(4));
    }
    if shown.of_groups() {
        columns.extend([
            Column::new("images").right(),
            Column::new("cameras").at_least(4),
            Column::new(column_title("seen")),
        ]);
    } else {
        columns.extend([
            Column::new("camera").at_least(4),
            Column::new(column_title("captured")),
            Column::new("attributes").at_least(8),
        ]);
    }
    let mut table = Table::new(columns);
    for (index, hit) in hits.iter().enumerate() {
        let metadata = hit.metadata.clone().unwrap_or_default();
        let mut row = vec![
            (shown.offset as usize + index + 1).to_string(),
            format!("{:.4}", hit.score),
            hit.match_probability.map(percent).unwrap_or_default(),
            hit.image_id.clone(),
            metadata.person_id.clone().unwrap_or_default(),
        ];
        if shown.by == GroupBy::Track {
            row.push(metadata.track_id.clone().unwrap_or_default());
        }
        if shown.of_groups() {
            row.extend(presence(hit));
        } else {
            let attributes = attributes_text(&metadata);
            row.extend([metadata.camera_id.unwrap_or_default(), column_time(metadata.captured_at), attributes]);
        }
        table.add(row);
    }
    table
}

/// Attributes in the order of their names; the path says where an image was, not what it shows.
pub(crate) fn attributes_text(metadata: &ImageMetadata) -> String {
    let told = metadata.attributes.iter().filter(|(name, _)| *name != PATH_ATTRIBUTE);
    let sorted: BTreeSet<String> = told.map(|(name, value)| format!("{name}={value}")).collect();
    sorted.into_iter().collect::<Vec<_>>().join(", ")
}

/// Of very many images of a person the service names some; where and when is told of these.
fn is_cut(hit: &Hit) -> bool {
    hit.sighting_count > hit.sightings.len() as u64
}

/// How often, where and from when to when a person was seen.
fn presence(hit: &Hit) -> [String; 3] {
    let count = hit.sighting_count.max(hit.sightings.len() as u64);
    let mark = if is_cut(hit) { MARK } else { "" };
    let cameras: BTreeSet<&str> = hit.sightings.iter().filter_map(|sighting| sighting.camera_id.as_deref()).collect();
    let times = || hit.sightings.iter().filter_map(|sighting| sighting.captured_at);
    let order = |time: &Timestamp| (time.seconds, time.nanos);
    [
        format!("{count}{mark}"),
        cameras.into_iter().collect::<Vec<_>>().join(", "),
        span(&column_time(times().min_by_key(order)), &column_time(times().max_by_key(order))),
    ]
}

/// From the first to the last time, without what both have in common: a day and two times of it, or two days.
fn span(first: &str, last: &str) -> String {
    let parts = |time: &str| Some((time.get(..10)?.to_owned(), time.get(11..16)?.to_owned()));
    match (parts(first), parts(last)) {
        (Some((day, from)), Some((last_day, to))) if day == last_day && from == to => format!("{day} {from}"),
        (Some((day, from)), Some((last_day, to))) if day == last_day => format!("{day} {from}–{to}"),
        (Some((day, _)), Some((last_day, _))) => format!("{day} – {last_day}"),
        _ => first.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_proto::search::v1::Sighting;

    fn sighting(camera: &str, seconds: i64) -> Sighting {
        let captured_at = Some(Timestamp { seconds, nanos: 0 });
        Sighting { image_id: String::new(), camera_id: Some(camera.to_owned()), captured_at, track_id: None }
    }

    fn shown(by: GroupBy) -> Shown<'static> {
        Shown { gallery: "lobby", by, offset: 0 }
    }

    #[test]
    fn a_person_has_cameras_and_times() {
        let unknown = Sighting { image_id: "x".to_owned(), ..Sighting::default() };
        let sightings = [sighting("c2", 60), sighting("c1", 0), sighting("c2", 30), unknown];
        let expected = ["4", "c1, c2", "1970-01-01 00:00–00:01"];
        let hit = Hit { sightings: sightings.to_vec(), match_probability: Some(0.124), ..Hit::default() };
        assert_eq!(presence(&hit), expected);
        assert_eq!(presence(&Hit { sighting_count: 1500, ..hit.clone() })[0], "1500*");
        let text = table(&[hit], &shown(GroupBy::Person)).to_string();
        assert!(text.contains("c1, c2") && text.contains("12 %") && text.contains("cameras"), "{text}");
    }

    #[test]
    fn a_span_says_once_what_is_the_same() {
        for (first, last, expected) in [
            ("2026-05-01 08:00:10", "2026-05-01 08:00:20", "2026-05-01 08:00"),
            ("2026-05-01 08:00:10", "2026-05-01 18:30:20", "2026-05-01 08:00–18:30"),
            ("2026-05-01 08:00:10", "2026-05-03 08:00:00", "2026-05-01 – 2026-05-03"),
            ("", "", ""),
        ] {
            assert_eq!(span(first, last), expected);
        }
    }

    #[test]
    fn without_calibration_there_are_no_probabilities() {
        let text = table(&[Hit { image_id: "a.jpg".to_owned(), ..Hit::default() }], &shown(GroupBy::Image)).to_string();
        assert!(text.contains("a.jpg") && !text.contains("prob."), "{text}");
    }

    #[test]
    fn a_hit_is_a_line_at_80_columns() {
        let attributes = [("weather", "rain"), ("colour of the bag", "blue\nred"), (PATH_ATTRIBUTE, "/data/a.jpg")];
        let hit = Hit {
            image_id: "camera-network-07/2026-05-01/0017_c7s1_000351_01.jpg".to_owned(),
            score: 0.7743,
            match_probability: Some(0.85),
            metadata: Some(ImageMetadata {
                person_id: Some("0017".to_owned()),
                camera_id: Some("c7".to_owned()),
                captured_at: Some(Timestamp::default()),
                attributes: attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
                ..ImageMetadata::default()
            }),
            ..Hit::default()
        };
        let sightings = ["c1", "c2", "c3"].map(|camera| sighting(camera, 86_400 * i64::from(camera == "c1"))).to_vec();
        let hits = vec![Hit { sightings, sighting_count: 15_000, ..hit }; 12];
        for by in [GroupBy::Image, GroupBy::Person, GroupBy::Track] {
            let narrow = table(&hits, &shown(by)).within(Some(80)).to_string();
            assert_eq!(narrow.lines().count(), 13, "{narrow}");
            assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
        }
        let wide = table(&hits, &shown(GroupBy::Image)).within(None).to_string();
        assert!(wide.contains("colour of the bag=blue\\nred, weather=rain") && !wide.contains("/data"), "{wide}");
        let later = table(&hits, &Shown { offset: 20, ..shown(GroupBy::Image) }).within(None).to_string();
        assert!(later.lines().nth(1).unwrap().starts_with("21  0.7743"), "{later}");
    }
}
