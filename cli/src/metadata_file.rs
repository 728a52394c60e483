//! What is known of each image, from a CSV or JSON Lines file.

use anyhow::{Context as _, bail};
use descry_proto::search::v1::ImageMetadata;
use prost_types::Timestamp;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

/// Metadata by image id.
pub(crate) type MetadataById = HashMap<String, ImageMetadata>;

/// Reads a file whose records name an image (`image_id`: its path relative to the indexed folder) and optionally
/// `person_id`, `camera_id`, `captured_at` (RFC 3339); everything else becomes an attribute.
pub(crate) fn read(path: &Path) -> anyhow::Result<MetadataById> {
    let is_csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    let records = if is_csv { read_csv(path)? } else { read_json_lines(path)? };
    let mut by_id = MetadataById::with_capacity(records.len());
    for (line, record) in records {
        let at = || format!("{} line {line}", path.display());
        let (image_id, metadata) = metadata(record).with_context(at)?;
        if by_id.insert(image_id.clone(), metadata).is_some() {
            bail!("{}: {image_id:?} stands there twice", at());
        }
    }
    Ok(by_id)
}

type Record = Map<String, Value>;

fn read_csv(path: &Path) -> anyhow::Result<Vec<(u64, Record)>> {
    let mut reader = csv::Reader::from_path(path).with_context(|| format!("cannot read {}", path.display()))?;
    let names = reader.headers().with_context(|| format!("cannot read {}", path.display()))?.clone();
    let mut records = Vec::new();
    for row in reader.records() {
        let row = row.with_context(|| format!("cannot read {}", path.display()))?;
        let line = row.position().map_or(0, csv::Position::line);
        let cells = names.iter().zip(&row).filter(|(_, cell)| !cell.is_empty());
        records.push((line, cells.map(|(name, cell)| (name.to_owned(), Value::from(cell))).collect()));
    }
    Ok(records)
}

fn read_json_lines(path: &Path) -> anyhow::Result<Vec<(u64, Record)>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut records = Vec::new();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let line = line.with_context(|| format!("cannot read {}", path.display()))?;
        let number = index as u64 + 1;
        // Some programs begin a file with a byte order mark.
        let line = line.trim_start_matches('\u{feff}');
        if !line.trim().is_empty() {
            let record = serde_json::from_str(line)
                .with_context(|| format!("{} line {number}: expected a JSON object", path.display()))?;
            records.push((number, record));
        }
    }
    Ok(records)
}

fn metadata(mut record: Record) -> anyhow::Result<(String, ImageMetadata)> {
    record.retain(|_, value| !value.is_null());
    let image_id = record.remove("image_id").context("no `image_id`: the image's path below the indexed folder")?;
    let mut metadata = ImageMetadata {
        person_id: record.remove("person_id").map(text).transpose()?,
        camera_id: record.remove("camera_id").map(text).transpose()?,
        ..ImageMetadata::default()
    };
    if let Some(time) = record.remove("captured_at") {
        metadata.captured_at = Some(parse_time(&text(time)?)?);
    }
    match record.remove("attributes") {
        Some(Value::Object(attributes)) => record.extend(attributes.into_iter().filter(|(_, value)| !value.is_null())),
        Some(other) => bail!("`attributes` must be an object, found {other}"),
        None => {}
    }
    for (name, value) in record {
        metadata.attributes.insert(name, text(value)?);
    }
    Ok((text(image_id)?, metadata))
}

fn text(value: Value) -> anyhow::Result<String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => bail!("expected text or a number, found {value}"),
    }
}

/// RFC 3339, such as `2026-05-01T12:30:00Z`.
pub(crate) fn parse_time(text: &str) -> anyhow::Result<Timestamp> {
    text.parse().with_context(|| format!("{text:?} is not a time such as 2026-05-01T12:30:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, content: &str) -> anyhow::Result<MetadataById> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        read(&path)
    }

    #[test]
    fn both_formats_say_the_same() {
        let csv =
            "image_id,person_id,camera_id,captured_at,weather\na/1.jpg,7,c2,2026-05-01T12:30:00Z,rain\nb.jpg,,,,\n";
        let jsonl = r#"{"image_id": "a/1.jpg", "person_id": 7, "camera_id": "c2", "captured_at": "2026-05-01T12:30:00Z", "attributes": {"weather": "rain"}}

{"image_id": "b.jpg", "person_id": null, "weather": null}
"#;
        let from_csv = check("metadata.csv", csv).unwrap();
        assert_eq!(from_csv, check("metadata.jsonl", jsonl).unwrap());
        let known = &from_csv["a/1.jpg"];
        assert_eq!(known.person_id.as_deref(), Some("7"));
        assert_eq!(known.captured_at.unwrap().seconds, 1_777_638_600);
        assert_eq!(known.attributes["weather"], "rain");
        assert_eq!(from_csv["b.jpg"], ImageMetadata::default());
    }

    #[test]
    fn faults_name_the_line() {
        for (name, content) in [
            ("m.csv", "image_id,captured_at\na.jpg,yesterday\n"),
            ("m.csv", "person_id,camera_id\n1,2\n"),
            ("m.jsonl", "\n[1]\n"),
            ("m.jsonl", "\n{\"image_id\": [1]}\n"),
        ] {
            let message = format!("{:#}", check(name, content).unwrap_err());
            assert!(message.contains("line 2"), "{message}");
        }
        let message = format!("{:#}", check("m.csv", "image_id\na\na\n").unwrap_err());
        assert!(message.contains("twice"), "{message}");
    }
}
