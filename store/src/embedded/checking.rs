//! Reading every image of a generation, to find those that cannot be read, and removing these.

use super::codes::Code;
use super::database::Database;
use super::error::store_error;
use super::galleries::LoadedGeneration;
use super::readers::Reader;
use super::rows::{METADATA_COLUMNS, decode_embedding, metadata};
use super::{EmbeddedError, EmbeddedStore};
use crate::{CheckPage, CheckRequest, DamagedImage, Generation, StoreError};
use rusqlite::{Connection, OptionalExtension as _, Row};
use std::sync::{Arc, Mutex, PoisonError};

/// What may come behind a stretch of the table that cannot be read.
const WIDEST_STRETCH: i64 = 1 << 40;

impl EmbeddedStore {
    /// Reads some images of a generation closely, and removes those that cannot be read where that is asked for.
    pub(super) async fn check_images(
        &self,
        generation: &Generation,
        request: CheckRequest,
    ) -> Result<CheckPage, StoreError> {
        const CHECKING: &str = "checking images";
        let CheckRequest { after, limit, repair } = request;
        let after = parse_place(after.as_deref())?;
        let checked = self.read_generation(CHECKING, generation, move |generation, reader| {
            reader.check(generation, after, limit).map_err(|source| store_error(CHECKING, source))
        });
        let mut checked = checked.await?;
        let damage = self.damage();
        if repair && checked.left().next().is_some() {
            let (handle, found) = (generation.clone(), Arc::new(Mutex::new(checked)));
            let removing = Arc::clone(&found);
            self.change_always(CHECKING, move |database, galleries| {
                let mut checked = removing.lock().unwrap_or_else(PoisonError::into_inner);
                let held = galleries.held(&handle)?;
                checked.remove(database, &held)
            })
            .await?;
            checked = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
        }
        for (id, image) in checked.left() {
            damage.note(id, Some(&image.image_id).filter(|id| !id.is_empty()).map(String::as_str), &image.reason);
        }
        damage.forget(checked.removed());
        Ok(checked.page())
    }
}

/// An image that was found damaged.
pub(super) struct Found {
    id: i64,
    image: DamagedImage,
}

/// A part of the table of images, checked.
#[derive(Default)]
pub(super) struct Checked {
    examined: u64,
    found: Vec<Found>,
    /// The number behind which to go on.
    next: Option<i64>,
}

/// Where a page begins.
pub(super) fn parse_place(after: Option<&str>) -> Result<i64, StoreError> {
    after.map_or(Ok(0), |place| {
        place.parse().map_err(|_| {
            let reason = "is no place where a page of a check ended".to_owned();
            StoreError::Invalid { field: "page_token".to_owned(), reason }
        })
    })
}

impl Reader<'_> {
    /// Reads the next `limit` rows of the table of images, and looks closely at those of a generation.
    pub(super) fn check(
        &self,
        generation: &LoadedGeneration,
        after: i64,
        limit: usize,
    ) -> Result<Checked, EmbeddedError> {
        let mut checked = Checked { examined: 0, found: Vec::new(), next: None };
        let mut last = after;
        for _ in 0..limit {
            let next = match row_behind(self, last) {
                Err(error) if error.is_damage() => {
                    let readable = readable_behind(self, last)?;
                    let reason = format!("the table of images cannot be read behind row {last}: {error}");
                    let image = DamagedImage { image_id: String::new(), reason, is_removed: false };
                    checked.found.push(Found { id: last + 1, image });
                    readable
                }
                next => next?,
            };
            let Some(id) = next else { return Ok(checked) };
            last = id;
            let of: Option<i64> = self
                .prepare_cached("SELECT generation_id FROM image WHERE id = ?1")?
                .query_row([id], |row| row.get(0))
                .optional()?;
            if of != Some(generation.id) {
                continue;
            }
            checked.examined += 1;
            if let Err(error) = self.read_closely(id, generation.identity().dimension) {
                if !error.is_damage() {
                    return Err(error);
                }
                let image_id = image_id_at(self, id).unwrap_or_default();
                let image = DamagedImage { image_id, reason: error.to_string(), is_removed: false };
                checked.found.push(Found { id, image });
            }
        }
        checked.next = Some(last);
        Ok(checked)
    }

    /// Everything of an image, also what is made of something else.
    fn read_closely(&self, id: i64, dimension: usize) -> Result<(), EmbeddedError> {
        let sql = format!("SELECT {METADATA_COLUMNS} FROM image WHERE id = ?1");
        self.prepare_cached(&sql)?.query_row([id], |row| metadata(row, 0))?;
        let damaged = |reason: &str| EmbeddedError::DamagedImage { image: id, reason: reason.to_owned() };
        let blob = |row: &Row<'_>| row.get::<_, Vec<u8>>(0);
        let vector = self.prepare_cached("SELECT vector FROM embedding WHERE image = ?1")?.query_row([id], blob);
        let vector = vector.optional()?.ok_or_else(|| damaged("it has no embedding"))?;
        let mut values = Vec::new();
        decode_embedding(&vector, dimension, &mut values).map_err(|reason| damaged(&reason))?;
        let code = self.prepare_cached("SELECT code FROM image WHERE id = ?1")?.query_row([id], blob)?;
        if code != Code::of(&values).as_bytes() {
            return Err(damaged("the code by which it is searched is not that of its embedding"));
        }
        Ok(())
    }
}

/// The id of an image, as far as it can be read.
pub(super) fn image_id_at(connection: &Connection, id: i64) -> Option<String> {
    let mut statement = connection.prepare_cached("SELECT image_id FROM image WHERE id = ?1").ok()?;
    statement.query_row([id], |row| row.get(0)).ok()
}

fn row_behind(connection: &Connection, id: i64) -> Result<Option<i64>, EmbeddedError> {
    let mut statement =
        connection.prepare_cached("SELECT id FROM image NOT INDEXED WHERE id > ?1 ORDER BY id LIMIT 1")?;
    Ok(statement.query_row([id], |row| row.get(0)).optional()?)
}

/// The first row behind a stretch that cannot be read; none where nothing can.
pub(super) fn readable_behind(connection: &Connection, id: i64) -> Result<Option<i64>, EmbeddedError> {
    let is_readable = |width: i64| match row_behind(connection, id.saturating_add(width)) {
        Ok(_) => Ok(true),
        Err(error) if error.is_damage() => Ok(false),
        Err(error) => Err(error),
    };
    let (mut unreadable, mut width) = (0, 1);
    while !is_readable(width)? {
        if width >= WIDEST_STRETCH {
            return Ok(None);
        }
        (unreadable, width) = (width, width * 2);
    }
    while width - unreadable > 1 {
        let middle = unreadable + (width - unreadable) / 2;
        if is_readable(middle)? {
            width = middle;
        } else {
            unreadable = middle;
        }
    }
    row_behind(connection, id.saturating_add(width))
}

impl Checked {
    /// Removes what cannot be read, one by one: a page that is damaged itself may keep some of it from going.
    pub(super) fn remove(&mut self, database: &mut Database, generation: &LoadedGeneration) -> Result<(), StoreError> {
        for found in self.found.iter_mut().filter(|found| !found.image.is_removed) {
            match database.delete_rows(&[found.id]) {
                Ok(count) => found.image.is_removed = count > 0,
                Err(error) if error.is_damage() => found.image.reason += "; nor can it be removed",
                Err(error) => return Err(store_error("removing damaged images", error)),
            }
            if found.image.is_removed {
                generation.write()?.remove(&[found.id]);
            }
        }
        Ok(())
    }

    /// Numbers of the damaged images that are still there, with what is wrong.
    pub(super) fn left(&self) -> impl Iterator<Item = (i64, &DamagedImage)> {
        self.found.iter().filter(|found| !found.image.is_removed).map(|found| (found.id, &found.image))
    }

    /// Numbers of those that were removed.
    pub(super) fn removed(&self) -> impl Iterator<Item = i64> {
        self.found.iter().filter(|found| found.image.is_removed).map(|found| found.id)
    }

    pub(super) fn page(self) -> CheckPage {
        let damaged = self.found.into_iter().map(|found| found.image).collect();
        CheckPage { examined: self.examined, damaged, next: self.next.map(|id| id.to_string()) }
    }
}

#[cfg(test)]
mod tests;
