//! One record about an image, whatever file format it came in, and what is known of the image by it.

use crate::IntakeError;
use prost_types::Timestamp;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Fields by name. `null` counts as absent.
pub(crate) type Record = Map<String, Value>;

/// A record and the embedding beside it, as a file of embeddings stores a row.
pub(crate) struct EmbeddingRecord {
    pub(crate) record: Record,
    pub(crate) values: Vec<f32>,
}

/// The field that names the image.
pub(crate) const IMAGE_ID: &str = "image_id";

/// Most values of an embedding.
pub(crate) const MAX_DIMENSION: usize = 65_536;

/// Where in a frame a crop was cut, in pixels of the frame. It may reach beyond the frame where somebody else cut it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CropBox {
    /// Distance from the frame's left edge.
    pub left_px: i32,
    /// Distance from the frame's upper edge.
    pub top_px: i32,
    /// Width.
    pub width_px: u32,
    /// Height.
    pub height_px: u32,
}

impl CropBox {
    /// As records write it: `[left,top,width,height]`.
    pub(crate) fn to_json(self) -> String {
        let Self { left_px, top_px, width_px, height_px } = self;
        format!("[{left_px},{top_px},{width_px},{height_px}]")
    }
}

/// What a record, a sidecar or a table row says of one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownMetadata {
    /// Whose image it is.
    pub person_id: Option<String>,
    /// Which camera took it.
    pub camera_id: Option<String>,
    /// A tracker's name for one person's passage; it counts within its camera.
    pub track_id: Option<String>,
    /// The frame that it was cut from.
    pub frame_id: Option<String>,
    /// Where in that frame.
    pub crop_box: Option<CropBox>,
    /// When it was taken, in milliseconds since 1970-01-01T00:00:00Z.
    pub captured_at_ms: Option<i64>,
    /// Everything else, by name.
    pub attributes: BTreeMap<String, String>,
}

impl KnownMetadata {
    /// What the texts take in memory beside the record itself, about.
    pub(crate) fn held_bytes(&self) -> u64 {
        /// Of a text: what points at it, and what the system keeps of it.
        const TEXT_BYTES: usize = 48;
        let texts = [&self.person_id, &self.camera_id, &self.track_id, &self.frame_id].into_iter().flatten();
        let attributes = self.attributes.iter().map(|(name, value)| name.len() + value.len() + 2 * TEXT_BYTES);
        (texts.map(|text| text.len() + TEXT_BYTES).sum::<usize>() + attributes.sum::<usize>()) as u64
    }

    /// Lets each field that `stronger` knows replace the one known here.
    pub(crate) fn overlay(&mut self, stronger: Self) {
        self.person_id = stronger.person_id.or(self.person_id.take());
        self.camera_id = stronger.camera_id.or(self.camera_id.take());
        self.track_id = stronger.track_id.or(self.track_id.take());
        self.frame_id = stronger.frame_id.or(self.frame_id.take());
        self.crop_box = stronger.crop_box.or(self.crop_box);
        self.captured_at_ms = stronger.captured_at_ms.or(self.captured_at_ms);
        self.attributes.extend(stronger.attributes);
    }
}

/// Takes the field that names the image, [`IMAGE_ID`] mostly.
pub(crate) fn take_image_id(record: &mut Record, field: &str) -> Result<String, String> {
    if let Some(Value::Object(_)) = record.get(field) {
        return Err(format!(
            "`{field}` holds an object; did pandas write columns? Write records: df.to_json(path, orient=\"records\", \
             lines=True)"
        ));
    }
    match take_text(record, field)? {
        Some(image_id) if !image_id.is_empty() => Ok(image_id),
        Some(_) | None => Err(format!("no `{field}`; it names the image as the input does")),
    }
}

/// Takes an optional text field; numbers count as text.
pub(crate) fn take_text(record: &mut Record, name: &str) -> Result<Option<String>, String> {
    match record.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => text(value).map(Some).map_err(|reason| format!("`{name}`: {reason}")),
    }
}

/// Reads everything but the image id. Fields without a meaning of their own become attributes.
pub(crate) fn known(mut record: Record) -> Result<KnownMetadata, String> {
    record.retain(|_, value| !value.is_null());
    let mut known = KnownMetadata {
        person_id: take_text(&mut record, "person_id")?,
        camera_id: take_text(&mut record, "camera_id")?,
        track_id: take_text(&mut record, "track_id")?,
        frame_id: take_text(&mut record, "frame_id")?,
        crop_box: take_box(&mut record)?,
        captured_at_ms: take_time_ms(&mut record)?,
        ..KnownMetadata::default()
    };
    match record.remove("attributes") {
        None => {}
        Some(Value::Object(attributes)) => record.extend(attributes),
        // Tables have no objects, so they hold one as text.
        Some(Value::String(json)) => match serde_json::from_str::<Record>(&json) {
            Ok(attributes) => record.extend(attributes),
            Err(error) => return Err(format!("`attributes` must be a JSON object: {error}")),
        },
        Some(other) => return Err(format!("`attributes` must be an object, found {other}")),
    }
    for (name, value) in record.into_iter().filter(|(_, value)| !value.is_null()) {
        // What has parts, such as a box, is kept as JSON: it can be read again, and costs nobody the image.
        let value = if value.is_array() || value.is_object() { value.to_string() } else { text(value)? };
        known.attributes.insert(name, value);
    }
    Ok(known)
}

/// Takes `box`: a list of left, top, width and height in pixels, which a table holds as text. Parts of pixels are rounded.
fn take_box(record: &mut Record) -> Result<Option<CropBox>, String> {
    let given = match record.remove("box") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
        Some(Value::String(text)) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        Some(value) => value,
    };
    let sides = given.as_array().map(|sides| sides.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>());
    match sides.flatten().as_deref() {
        Some(&[left, top, width, height]) if width.round() >= 1.0 && height.round() >= 1.0 => {
            // What is beyond the numbers' range becomes their end.
            let (left_px, top_px) = (left.round() as i32, top.round() as i32);
            Ok(Some(CropBox { left_px, top_px, width_px: width.round() as u32, height_px: height.round() as u32 }))
        }
        _ => Err(format!("`box` must be a list of left, top, width and height in pixels, found {given}")),
    }
}

fn take_time_ms(record: &mut Record) -> Result<Option<i64>, String> {
    let (time, time_ms) = (take_text(record, "captured_at")?, take_text(record, "captured_at_ms")?);
    match (time, time_ms) {
        (None, None) => Ok(None),
        (Some(time), None) => parse_time_ms(&time).map(Some).map_err(|error| format!("`captured_at`: {error}")),
        (None, Some(time)) => match time.parse::<i64>() {
            Ok(time_ms) => Ok(Some(time_ms)),
            // A table's column of timestamps arrives as text, whatever it is called.
            Err(_) => parse_time_ms(&time).map(Some).map_err(|_| {
                format!("`captured_at_ms`: {time:?} is not a whole number of milliseconds since 1970-01-01")
            }),
        },
        (Some(_), Some(_)) => Err("both `captured_at` and `captured_at_ms`; keep one of them".to_owned()),
    }
}

fn text(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(format!("expected text or a number, found {value}")),
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z of an RFC 3339 time such as `2026-05-01T12:30:00Z`.
///
/// # Errors
/// [`IntakeError::NotATime`] for anything else.
pub fn parse_time_ms(text: &str) -> Result<i64, IntakeError> {
    let not_a_time = || IntakeError::NotATime { text: text.chars().take(80).collect() };
    let Timestamp { seconds, nanos } = text.trim().parse::<Timestamp>().map_err(|_| not_a_time())?;
    let below_second_ms = i64::from(nanos / 1_000_000);
    seconds.checked_mul(1000).and_then(|time_ms| time_ms.checked_add(below_second_ms)).ok_or_else(not_a_time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(json: &str) -> Result<KnownMetadata, String> {
        known(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn fields_are_replaced_one_by_one() {
        let attributes = |weather: &str| BTreeMap::from([("weather".to_owned(), weather.to_owned())]);
        let mut known = KnownMetadata {
            person_id: Some("7".to_owned()),
            attributes: attributes("sun"),
            ..KnownMetadata::default()
        };
        known.overlay(KnownMetadata {
            camera_id: Some("c2".to_owned()),
            attributes: attributes("rain"),
            ..KnownMetadata::default()
        });
        assert_eq!(known.person_id.as_deref(), Some("7"));
        assert_eq!(known.camera_id.as_deref(), Some("c2"));
        assert_eq!(known.attributes["weather"], "rain");
    }

    #[test]
    fn times_have_two_spellings() {
        let text = parse(r#"{"captured_at": "2026-05-01T12:30:00.250Z"}"#).unwrap();
        assert_eq!(text.captured_at_ms, Some(1_777_638_600_250));
        for other in ["1777638600250", "\"1777638600250\"", "\"2026-05-01T14:30:00.25+02:00\""] {
            assert_eq!(parse(&format!("{{\"captured_at_ms\": {other}}}")).unwrap(), text);
        }
        for fault in [
            r#"{"captured_at": "yesterday"}"#,
            r#"{"captured_at_ms": 1.5}"#,
            r#"{"captured_at": "2026-05-01T12:30:00Z", "captured_at_ms": 1}"#,
        ] {
            assert!(parse(fault).unwrap_err().contains("captured_at"));
        }
    }

    #[test]
    fn attributes_come_as_fields_object_or_text() {
        let flat = parse(r#"{"weather": "rain", "lane": 3}"#).unwrap();
        assert_eq!(flat.attributes["lane"], "3");
        assert_eq!(parse(r#"{"attributes": {"weather": "rain", "lane": 3, "x": null}}"#).unwrap(), flat);
        assert_eq!(parse(r#"{"attributes": "{\"weather\": \"rain\", \"lane\": 3}"}"#).unwrap(), flat);
        assert!(parse(r#"{"attributes": [1]}"#).is_err());
        let boxed = parse(r#"{"bbox": [ 1, 2.5, {"a": "x"} ], "empty": []}"#).unwrap();
        assert_eq!(
            (boxed.attributes["bbox"].as_str(), boxed.attributes["empty"].as_str()),
            (r#"[1,2.5,{"a":"x"}]"#, "[]")
        );
        let crop_box = Some(CropBox { left_px: -3, top_px: 4, width_px: 50, height_px: 121 });
        let cut = r#"{"track_id": 9, "frame_id": "f.jpg", "box": "[-3, 4.2, 50, 120.5]", "bbox": 1}"#;
        let cut = parse(cut).unwrap();
        assert_eq!(
            (cut.track_id.as_deref(), cut.frame_id.as_deref(), cut.crop_box),
            (Some("9"), Some("f.jpg"), crop_box)
        );
        for wrong in ["[1,2,3]", "[1,2,0,4]", "\"wide\"", "{\"left\": 1}", "[1,2,\"3\",4]"] {
            assert!(parse(&format!("{{\"box\": {wrong}}}")).unwrap_err().contains("`box`"), "{wrong}");
        }
        assert!(parse(r#"{"person_id": ["7"]}"#).unwrap_err().contains("person_id"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_time_or_a_fault(text in ".{0,40}") {
            let _ = parse_time_ms(&text);
        }
    }
}
