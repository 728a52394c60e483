//! `descry gallery stats`

use crate::output::{say, say_lines};
use crate::server::Server;
use crate::time::time_text;
use descry_proto::search::v1::{GalleryStatistics, GetGalleryStatisticsRequest, ValueStatistics};
use descry_terminal::table::{Column, Table};
use prost_types::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// Count a gallery's cameras, people and attributes, and say from when to when its images are.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry gallery stats lobby
  descry gallery stats lobby --limit 1000 --json")]
pub(super) struct Arguments {
    /// The gallery, or a generation of one such as lobby.2.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    server: Server,
    /// Most values of the cameras and of each attribute, the most frequent ones.
    #[arg(long, short = 'n', default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let connection = arguments.server.connect().await?;
    let request = GetGalleryStatisticsRequest { gallery: arguments.name.clone(), limit: arguments.limit };
    let statistics = connection.get_gallery_statistics(request).await?;
    if arguments.json {
        say!("{}", statistics_json(&arguments.name, &statistics));
        return Ok(ExitCode::SUCCESS);
    }
    let GalleryStatistics { images, persons, images_without_person, .. } = statistics;
    say!("gallery   {}, {images} images", arguments.name);
    say!("people    {persons}{}", without(images_without_person, "name nobody"));
    let untimed = without(statistics.images_without_capture_time, "have no time");
    say!("captured  {}{untimed}", span(statistics.captured_first, statistics.captured_last));
    say!("indexed   {}", span(statistics.indexed_first, statistics.indexed_last));
    if statistics.attributes_left_out > 0 {
        say!("{} further attributes are left out", statistics.attributes_left_out);
    }
    let table = table(&statistics);
    if let Some(table) = table {
        say_lines!("\n{table}");
    }
    Ok(ExitCode::SUCCESS)
}

fn without(images: u64, what: &str) -> String {
    if images == 0 { String::new() } else { format!(", {images} images {what}") }
}

fn span(first: Option<Timestamp>, last: Option<Timestamp>) -> String {
    match (first, last) {
        (None, _) | (_, None) => "unknown".to_owned(),
        (first, last) if first == last => time_text(first),
        (first, last) => format!("{} to {}", time_text(first), time_text(last)),
    }
}

/// Cameras and attributes with their values; none where no image has any.
fn table(statistics: &GalleryStatistics) -> Option<Table> {
    let columns = [Column::new("of").at_least(10), Column::new("value").at_least(20), Column::new("images").right()];
    let mut table = Table::new(columns);
    let attributes: BTreeMap<&String, &ValueStatistics> = statistics.attributes.iter().collect();
    let cameras = statistics.cameras.iter().map(|cameras| ("camera", cameras));
    let lists = cameras.chain(attributes.into_iter().map(|(name, values)| (name.as_str(), values)));
    let mut is_empty = true;
    for (name, values) in lists.filter(|(_, values)| !values.counts.is_empty()) {
        is_empty = false;
        let mut name = name.to_owned();
        // What names each image, as its path does, tells nothing by its values.
        let names_each = values.left_out > 0 && values.counts.iter().all(|count| count.images == 1);
        if names_each {
            let different = values.counts.len() as u64 + values.left_out;
            let images = statistics.images - values.images_without;
            table.add([
                std::mem::take(&mut name),
                format!("{different} values, each of its own image"),
                images.to_string(),
            ]);
        }
        for count in values.counts.iter().filter(|_| !names_each) {
            table.add([std::mem::take(&mut name), count.value.clone(), count.images.to_string()]);
        }
        if values.left_out > 0 && !names_each {
            table.add([String::new(), format!("and {} other values", values.left_out), String::new()]);
        }
        if values.images_without > 0 {
            table.add([String::new(), "(none)".to_owned(), values.images_without.to_string()]);
        }
    }
    (!is_empty).then_some(table)
}

fn statistics_json(gallery: &str, statistics: &GalleryStatistics) -> Value {
    let time = |time: Option<Timestamp>| json!(time.map(|time| time.to_string()));
    let attributes: BTreeMap<&String, &ValueStatistics> = statistics.attributes.iter().collect();
    let attributes: Map<String, Value> =
        attributes.into_iter().map(|(name, values)| (name.clone(), values_json(values))).collect();
    json!({
        "gallery": gallery,
        "images": statistics.images,
        "persons": statistics.persons,
        "images_without_person": statistics.images_without_person,
        "cameras": values_json(&statistics.cameras.clone().unwrap_or_default()),
        "attributes": attributes,
        "attributes_left_out": statistics.attributes_left_out,
        "captured_first": time(statistics.captured_first),
        "captured_last": time(statistics.captured_last),
        "images_without_capture_time": statistics.images_without_capture_time,
        "indexed_first": time(statistics.indexed_first),
        "indexed_last": time(statistics.indexed_last),
    })
}

/// A list and not an object, so that the order is kept: by falling number of images.
fn values_json(values: &ValueStatistics) -> Value {
    let count = |count: &descry_proto::search::v1::value_statistics::Count| json!({ "value": count.value, "images": count.images });
    json!({
        "counts": values.counts.iter().map(count).collect::<Value>(),
        "left_out": values.left_out,
        "images_without": values.images_without,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_proto::search::v1::value_statistics::Count;

    fn values(counts: &[(&str, u64)], left_out: u64, images_without: u64) -> ValueStatistics {
        let counts = counts.iter().map(|(value, images)| Count { value: (*value).to_owned(), images: *images });
        ValueStatistics { counts: counts.collect(), left_out, images_without }
    }

    #[test]
    fn people_and_programs_are_told_the_same() {
        let statistics = GalleryStatistics {
            images: 9,
            persons: 3,
            cameras: Some(values(&[("c2", 5), ("c1", 4)], 0, 0)),
            attributes: [("weather".to_owned(), values(&[("rain", 4)], 2, 1))].into(),
            captured_first: Some(Timestamp::default()),
            captured_last: Some(Timestamp { seconds: 60, nanos: 0 }),
            ..GalleryStatistics::default()
        };
        let text = table(&statistics).unwrap().within(None).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "of       value               images",
                "camera   c2                       5",
                "         c1                       4",
                "weather  rain                     4",
                "         and 2 other values",
                "         (none)                   1",
            ]
        );
        assert_eq!(
            span(statistics.captured_first, statistics.captured_last),
            "1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z"
        );
        let value = statistics_json("lobby", &statistics);
        assert_eq!(value["cameras"]["counts"][0], json!({"value": "c2", "images": 5}));
        assert_eq!((&value["attributes"]["weather"]["left_out"], &value["indexed_first"]), (&json!(2), &Value::Null));
        assert!(table(&GalleryStatistics::default()).is_none());
    }
}
