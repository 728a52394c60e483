//! COCO's detection JSON: annotations with their images, and lists of results.

use super::{BoxOptions, BoxTable, GivenBox, MAX_BOXES, MAX_FILE_BYTES, Sides, not_numbers};
use crate::text_file::open_text;
use crate::{IntakeError, KnownMetadata};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::Read as _;
use std::marker::PhantomData;
use std::path::Path;

/// COCO's number for a person, where a file does not name its categories.
const PERSON: i64 = 1;

#[derive(Deserialize)]
struct Annotated {
    #[serde(deserialize_with = "bounded")]
    images: Vec<Entry<Image>>,
    #[serde(default, deserialize_with = "bounded")]
    annotations: Vec<Entry<Found>>,
    #[serde(default)]
    categories: Vec<Category>,
}

/// A list of results.
#[derive(Deserialize)]
#[serde(transparent)]
struct Results(#[serde(deserialize_with = "bounded")] Vec<Entry<Found>>);

/// An element of a list, or what stands in its place: what is wrong with one costs no other.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry<T> {
    Sound(T),
    Other(Value),
}

#[derive(Deserialize)]
struct Image {
    id: Value,
    file_name: String,
}

#[derive(Deserialize)]
struct Category {
    id: i64,
    name: String,
}

/// An annotation or a result.
#[derive(Deserialize)]
struct Found {
    image_id: Value,
    #[serde(default)]
    bbox: Value,
    score: Option<f64>,
    category_id: Option<i64>,
    #[serde(default)]
    track_id: Value,
    #[serde(default)]
    iscrowd: Value,
}

/// Reads the boxes of people.
pub(super) fn read(options: &BoxOptions, table: &mut BoxTable) -> Result<(), IntakeError> {
    let path = options.path.as_path();
    let bytes = content(path)?;
    let is_results = bytes.trim_ascii_start().starts_with(b"[");
    let (found, images, categories) = if is_results {
        let Results(found) = parse(path, &bytes, "a list of results with image_id and bbox")?;
        match &options.images {
            None => (found, None, Vec::new()),
            Some(path) => {
                let annotated: Annotated = parse(path, &content(path)?, "an object with images")?;
                (found, Some(annotated.images), annotated.categories)
            }
        }
    } else {
        let Annotated { images, annotations, categories } =
            parse(path, &bytes, "an object with images and annotations, or a list of results")?;
        (annotations, Some(images), categories)
    };
    let wanted = wanted(path, options.category.as_deref(), &categories, table)?;
    let names = images.map(|images| {
        // Boxes of an image without a name say that they have none.
        let named = images.into_iter().filter_map(|image| match image {
            Entry::Sound(image) => Some((image.id.to_string(), image.file_name)),
            Entry::Other(_) => None,
        });
        named.collect::<HashMap<_, _>>()
    });
    for (found, place) in found.into_iter().zip(1..) {
        let found = match found {
            Entry::Sound(found) => found,
            Entry::Other(other) => {
                let reason =
                    format!("expected image_id, bbox, and perhaps category_id and score, found {}", shortened(&other));
                table.skip(path, place, reason);
                continue;
            }
        };
        if found.category_id.is_some_and(|category| !wanted.contains(&category)) {
            table.left_out.add("boxes of other categories", || super::origin(path, place));
        } else if found.iscrowd.as_i64() == Some(1) {
            table.left_out.add("boxes of crowds", || super::origin(path, place));
        } else {
            match given(&found, names.as_ref(), place) {
                Ok(given) => table.boxes.push(given),
                Err(reason) => table.skip(path, place, reason),
            }
        }
    }
    Ok(())
}

fn content(path: &Path) -> Result<Vec<u8>, IntakeError> {
    let mut bytes = Vec::new();
    open_text(path, MAX_FILE_BYTES)?.read_to_end(&mut bytes).map_err(IntakeError::unreadable(path))?;
    Ok(bytes)
}

fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8], expected: &str) -> Result<T, IntakeError> {
    let parsed = serde_json::from_slice(bytes).or_else(|error| match not_numbers::as_null(bytes) {
        Some(mended) => serde_json::from_slice(&mended),
        None => Err(error),
    });
    parsed.map_err(|error| IntakeError::malformed(path, format!("expected COCO's JSON, {expected}: {error}")))
}

/// Reads a list that is not longer than a run can hold.
fn bounded<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_seq(Bounded(PhantomData))
}

struct Bounded<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<T> {
    type Value = Vec<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            if list.len() == MAX_BOXES {
                return Err(A::Error::custom(format!("a list of over {MAX_BOXES}; index the cameras one by one")));
            }
            list.push(element);
        }
        Ok(list)
    }
}

/// The numbers of the categories that stand for people.
fn wanted(
    path: &Path,
    asked: Option<&str>,
    categories: &[Category],
    table: &mut BoxTable,
) -> Result<HashSet<i64>, IntakeError> {
    if let Some(number) = asked.and_then(|asked| asked.parse().ok()) {
        return Ok(HashSet::from([number]));
    }
    if categories.is_empty() {
        if let Some(asked) = asked {
            let reason = format!("it does not name its categories; give the number of {asked:?} instead");
            return Err(IntakeError::malformed(path, reason));
        }
        table.notes.push(format!("{}: category {PERSON} is taken for people", path.display()));
        return Ok(HashSet::from([PERSON]));
    }
    let is_person = |name: &str| match asked {
        Some(asked) => name.eq_ignore_ascii_case(asked),
        None => ["person", "pedestrian", "people"].iter().any(|person| name.eq_ignore_ascii_case(person)),
    };
    let wanted: HashSet<i64> =
        categories.iter().filter(|category| is_person(&category.name)).map(|category| category.id).collect();
    if wanted.is_empty() {
        let names: Vec<&str> = categories.iter().take(20).map(|category| category.name.as_str()).collect();
        let asked = asked.unwrap_or("person");
        let reason = format!("it has no category {asked:?}; give one of {} with --category", names.join(", "));
        return Err(IntakeError::malformed(path, reason));
    }
    Ok(wanted)
}

fn given(found: &Found, names: Option<&HashMap<String, String>>, place: u64) -> Result<GivenBox, String> {
    let numbers = found.bbox.as_array().and_then(|sides| sides.iter().map(Value::as_f64).collect::<Option<Vec<_>>>());
    let Some(Ok(sides)) = numbers.map(<[f64; 4]>::try_from) else {
        return Err(format!("bbox must be [left, top, width, height], found {}", shortened(&found.bbox)));
    };
    let frame = match names {
        Some(names) => names
            .get(&found.image_id.to_string())
            .cloned()
            .ok_or_else(|| format!("there is no image with the id {}", shortened(&found.image_id)))?,
        None => text(&found.image_id).ok_or_else(|| "image_id must be a number or a text".to_owned())?,
    };
    let metadata = KnownMetadata { track_id: text(&found.track_id), ..KnownMetadata::default() };
    Ok(GivenBox { frame, place, sides: Sides::Pixels(sides), score: found.score, metadata })
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn shortened(value: &Value) -> String {
    value.to_string().chars().take(80).collect()
}
