//! What opening reads: everything but the embeddings.

use super::EmbeddedError;
use super::checking::{image_id_at, readable_behind};
use super::damage::Damage;
use super::galleries::{LoadedGallery, LoadedGeneration};
use super::matrix::{GalleryMatrix, RowKeys};
use crate::gallery::check_dimension;
use crate::{GallerySettings, Generation};
use rusqlite::{Connection, Row};
use std::collections::{BTreeMap, HashMap};

/// Reads all galleries, and checks them on the way. Images that are damaged are noted and left on disk.
pub(super) fn load_galleries(connection: &Connection, damage: &Damage) -> Result<Vec<LoadedGallery>, EmbeddedError> {
    let mut statement = connection.prepare("SELECT id, name, active, settings FROM gallery")?;
    let mut rows = statement.query([])?;
    let mut loaded: Vec<Loading> = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(1)?;
        let damaged = |reason: String| EmbeddedError::DamagedGallery { gallery: name.clone(), reason };
        let settings: GallerySettings =
            serde_json::from_str(row.get_ref(3)?.as_str().map_err(|error| damaged(error.to_string()))?)
                .map_err(|error| damaged(format!("settings: {error}")))?;
        let (id, active): (i64, u32) = (row.get(0)?, row.get(2)?);
        let generations = load_generations(connection, id, &name, &settings)?;
        if !generations.contains_key(&active) {
            return Err(damaged(format!("generation {active} is to serve, but does not exist")));
        }
        loaded.push((id, name, active, generations));
    }
    load_images(connection, &mut loaded, damage)?;
    Ok(loaded
        .into_iter()
        .map(|(id, name, active, generations)| LoadedGallery::new(id, name, active, generations))
        .collect())
}

/// A gallery on its way: its row, its name, the number of the generation that serves, and all of them by number.
type Loading = (i64, String, u32, BTreeMap<u32, LoadedGeneration>);

fn load_generations(
    connection: &Connection,
    gallery_id: i64,
    name: &str,
    settings: &GallerySettings,
) -> Result<BTreeMap<u32, LoadedGeneration>, EmbeddedError> {
    let mut statement = connection.prepare(
        "SELECT id, number, fingerprint, dimension, created_at_ms,
                (SELECT count(*) FROM image WHERE generation_id = generation.id)
         FROM generation WHERE gallery_id = ?1",
    )?;
    let mut rows = statement.query([gallery_id])?;
    let mut generations = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let identity = identity(row, name, settings)?;
        let number = identity.number;
        let id: i64 = row.get(0)?;
        let images = usize::try_from(row.get::<_, i64>(5)?).unwrap_or(0);
        let mut generation = LoadedGeneration::empty(id, identity);
        generation.matrix_mut()?.reserve(images);
        generations.insert(number, generation);
    }
    Ok(generations)
}

fn identity(row: &Row<'_>, name: &str, settings: &GallerySettings) -> Result<Generation, EmbeddedError> {
    let damaged = |reason: String| EmbeddedError::DamagedGallery { gallery: name.to_owned(), reason };
    let fingerprint =
        row.get::<_, String>(2)?.parse().map_err(|error: descry_model::ModelError| damaged(error.to_string()))?;
    let dimension: i64 = row.get(3)?;
    let dimension = usize::try_from(dimension).map_err(|_| damaged(format!("dimension {dimension}")))?;
    check_dimension(dimension).map_err(|error| damaged(error.to_string()))?;
    Ok(Generation {
        gallery: name.to_owned(),
        number: row.get(1)?,
        fingerprint,
        dimension,
        created_at_ms: row.get(4)?,
        settings: settings.clone(),
    })
}

/// Reads the images of all generations in one go, ordered by their numbers.
fn load_images(connection: &Connection, loaded: &mut [Loading], damage: &Damage) -> Result<(), EmbeddedError> {
    let mut generations = Generations::new();
    for generation in loaded.iter_mut().flat_map(|(.., generations)| generations.values_mut()) {
        let (id, declared) = (generation.id, generation.identity().settings.indexed_attributes.clone());
        generations.insert(id, (generation.matrix_mut()?, declared));
    }
    // Reading attributes as JSON is most of the work, and only declared ones are kept.
    let is_declared = generations.values().any(|(_, declared)| !declared.is_empty());
    let attributes = if is_declared { "attributes" } else { "NULL" };
    let mut statement = connection.prepare(&format!(
        "SELECT id, generation_id, person_id, camera_id, captured_at_ms, indexed_at_ms, code, {attributes}, write_number,
                track_id
         FROM image NOT INDEXED WHERE id > ?1 ORDER BY id"
    ))?;
    let mut last = 0;
    loop {
        let mut rows = statement.query([last])?;
        let unreadable = loop {
            let row = match rows.next() {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(()),
                Err(error) => break EmbeddedError::from(error),
            };
            last = row.get(0)?;
            if let Err(error) = load_image(last, row, &mut generations) {
                if !error.is_damage() {
                    return Err(error);
                }
                let image_id = image_id_at(connection, last);
                damage.note_unloaded(last, image_id.as_deref(), &error.to_string());
            }
        };
        drop(rows);
        if !unreadable.is_damage() {
            return Err(unreadable);
        }
        damage.note_unloaded(last + 1, None, &unreadable.to_string());
        // The rest of the table may be whole.
        let Some(readable) = readable_behind(connection, last)? else { return Ok(()) };
        last = readable - 1;
    }
}

/// The generations that are being loaded, with the attributes that each declares.
type Generations<'a> = HashMap<i64, (&'a mut GalleryMatrix, Vec<String>)>;

fn load_image(id: i64, row: &Row<'_>, generations: &mut Generations<'_>) -> Result<(), EmbeddedError> {
    let damaged = |reason: String| EmbeddedError::DamagedImage { image: id, reason };
    let Some((matrix, declared)) = generations.get_mut(&row.get(1)?) else {
        return Err(damaged("it belongs to no generation".to_owned()));
    };
    let text = |column: usize| row.get_ref(column).ok().and_then(|value| value.as_str_or_null().ok().flatten());
    let attributes: BTreeMap<String, String> = match text(7) {
        Some(attributes) if !declared.is_empty() => {
            serde_json::from_str(attributes).map_err(|error| damaged(format!("attributes: {error}")))?
        }
        Some(_) | None => BTreeMap::new(),
    };
    let keys = RowKeys {
        person_id: text(2),
        camera_id: text(3),
        track_id: text(9),
        captured_at_ms: row.get(4)?,
        indexed_at_ms: row.get(5)?,
        write_number: row.get::<_, i64>(8)?.unsigned_abs(),
        attributes: declared.iter().map(|name| attributes.get(name).map(String::as_str)).collect(),
    };
    let code = row.get_ref(6)?.as_blob().map_err(|error| damaged(error.to_string()))?;
    matrix.push(id, code, &keys).map_err(damaged)
}
