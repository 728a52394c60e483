//! COCO's detection JSON: annotations with their images, and lists of results.

use super::json_parts::{element, elements, members, shortened};
use super::{BoxOptions, BoxTable, GivenBox, MAX_FILE_BYTES, Sides};
use crate::text_file::open_text;
use crate::{IntakeError, KnownMetadata};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

/// COCO's number for a person, where a file does not name its categories.
const PERSON: i64 = 1;
/// COCO has 91.
const MAX_CATEGORIES: usize = 100_000;

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

/// The elements of a file's lists, as its text has them.
#[derive(Default)]
struct Lists<'text> {
    found: Vec<&'text [u8]>,
    /// None where the file is a list of results.
    images: Option<Vec<&'text [u8]>>,
    categories: Vec<&'text [u8]>,
}

impl<'text> Lists<'text> {
    fn of(path: &Path, text: &'text [u8]) -> Result<Self, IntakeError> {
        let malformed = |reason: String| {
            let expected = "an object with images and annotations, or a list of results with image_id and bbox";
            IntakeError::malformed(path, format!("expected COCO's JSON, {expected}: {reason}"))
        };
        if text.trim_ascii_start().starts_with(b"[") {
            return Ok(Self { found: elements(text).map_err(malformed)?, ..Self::default() });
        }
        let mut lists = Self::default();
        for (name, value) in members(text).map_err(malformed)? {
            let list = || elements(value).map_err(|reason| malformed(format!("`{name}`: {reason}")));
            match name.as_str() {
                "images" => lists.images = Some(list()?),
                "annotations" => lists.found = list()?,
                "categories" => lists.categories = list()?,
                _ => {}
            }
        }
        if lists.images.is_none() {
            return Err(malformed("there is no `images`".to_owned()));
        }
        Ok(lists)
    }

    fn categories(&self, path: &Path) -> Result<Vec<Category>, IntakeError> {
        if self.categories.len() > MAX_CATEGORIES {
            return Err(IntakeError::malformed(path, format!("it has over {MAX_CATEGORIES} categories")));
        }
        let read = self.categories.iter().map(|text| element(text)).collect::<Result<Vec<_>, _>>();
        read.map_err(|reason| IntakeError::malformed(path, format!("a category must have an id and a name: {reason}")))
    }
}

/// Reads the boxes of people.
pub(super) fn read(options: &BoxOptions, table: &mut BoxTable) -> Result<(), IntakeError> {
    let path = options.path.as_path();
    let (text, other_text) = (content(path)?, options.images.as_deref().map(content).transpose()?.unwrap_or_default());
    let mut lists = Lists::of(path, &text)?;
    if let (None, Some(images)) = (&lists.images, &options.images) {
        let Lists { images: of_images, categories, .. } = Lists::of(images, &other_text)?;
        if of_images.is_none() {
            return Err(IntakeError::malformed(images, "expected COCO's JSON, an object with images"));
        }
        (lists.images, lists.categories) = (of_images, categories);
    }
    let wanted = wanted(path, options.category.as_deref(), &lists.categories(path)?, table)?;
    let names = lists.images.map(|images| {
        // Boxes of an image without a name say that they have none.
        let named = images.into_iter().filter_map(|text| element::<Image>(text).ok());
        named.map(|image| (image.id.to_string(), Arc::from(image.file_name))).collect::<HashMap<_, _>>()
    });
    for (text, place) in lists.found.into_iter().zip(1..) {
        let found: Found = match element(text) {
            Ok(found) => found,
            Err(reason) => {
                let found = shortened(text);
                let expected = "expected image_id, bbox, and perhaps category_id and score, found";
                table.skip(path, place, format!("{expected} {found}: {reason}"));
                continue;
            }
        };
        if found.category_id.is_some_and(|category| !wanted.contains(&category)) {
            table.left_out.add("boxes of other categories", || super::origin(path, place));
        } else if found.iscrowd.as_i64() == Some(1) {
            table.left_out.add("boxes of crowds", || super::origin(path, place));
        } else {
            match given(&found, names.as_ref(), place) {
                Ok(given) => table.push(path, given)?,
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

fn given(found: &Found, names: Option<&HashMap<String, Arc<str>>>, place: u64) -> Result<GivenBox, String> {
    let of_list = |sides: &Vec<Value>| match sides.as_slice() {
        [left, top, width, height] => Some([left.as_f64()?, top.as_f64()?, width.as_f64()?, height.as_f64()?]),
        _ => None,
    };
    let Some(sides) = found.bbox.as_array().and_then(of_list) else {
        return Err(format!(
            "bbox must be [left, top, width, height], found {}",
            shortened(found.bbox.to_string().as_bytes())
        ));
    };
    let frame = match names {
        Some(names) => names.get(&found.image_id.to_string()).cloned().ok_or_else(|| {
            format!("there is no image with the id {}", shortened(found.image_id.to_string().as_bytes()))
        })?,
        None => text(&found.image_id).map(Arc::from).ok_or_else(|| "image_id must be a number or a text".to_owned())?,
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
