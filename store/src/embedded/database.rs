//! Every statement that changes the embedded store's file.

use super::codes::Code;
use super::database_file::DatabaseFile;
use super::erasing::Erasing;
use super::place::Place;
use super::room::Reserve;
use super::rows::encode_embedding;
use super::{EmbeddedError, schema};
use crate::{GalleryImage, Generation, ImageMetadata, StoreError};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use std::collections::HashSet;
use std::sync::Arc;

/// The open file. Each method that changes it is one transaction, on disk when the method returns.
pub(super) struct Database {
    pub(super) file: DatabaseFile,
    connection: Connection,
    pub(super) reserve: Reserve,
    /// Whether it works within the reserve, because the disk is full.
    pub(super) is_tight: bool,
    /// Whether a change failed that may be in the log all the same.
    has_failed: bool,
    pub(super) erasing: Erasing,
    writes: WriteNumbers,
    /// Other processes are kept out until what was deleted is overwritten, which is when this is dropped.
    place: Option<Arc<Place>>,
}

/// The numbers of writes. Some are reserved on disk at once, so that not every write must note how far it has come; after a
/// restart those that were not used are passed over.
#[derive(Debug, Clone, Copy)]
struct WriteNumbers {
    next: u64,
    reserved: u64,
}

const NUMBERS_RESERVED_AT_ONCE: u64 = 4_096;

/// Images of a generation that is deleted whose numbers are read at once.
const IMAGES_LISTED_AT_ONCE: i64 = 4_096;

/// An image that was written: its number in the table, and in the order of writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct WrittenImage {
    pub(super) id: i64,
    pub(super) write_number: u64,
}

/// An image as it is written: everything that can be computed before it is the writer's turn.
pub(super) struct PreparedImage {
    pub(super) image: GalleryImage,
    attributes: String,
    pub(super) code: Code,
    vector: Vec<u8>,
}

impl PreparedImage {
    pub(super) fn of(image: GalleryImage) -> Result<Self, EmbeddedError> {
        let attributes = serde_json::to_string(&image.metadata.attributes)?;
        let values = image.embedding.as_slice();
        let (code, vector) = (Code::of(values), encode_embedding(values));
        Ok(Self { image, attributes, code, vector })
    }
}

impl Database {
    pub(super) fn open(file: &DatabaseFile, reserve_bytes: u64) -> Result<Self, EmbeddedError> {
        let log_bytes = file.log_bytes();
        let connection = match schema::open_for_writing(file) {
            // What is held back for deleting is enough to begin with; what is left of it is held back again.
            Err(error) if error.is_full() => {
                Reserve::give_up(file);
                schema::open_for_writing(file)?
            }
            opened => opened?,
        };
        let reserve = Reserve::open(file.clone(), reserve_bytes);
        let reserved = connection.query_row("SELECT reserved FROM write_number", [], |row| row.get::<_, i64>(0))?;
        let writes = WriteNumbers { next: reserved.unsigned_abs(), reserved: reserved.unsigned_abs() };
        let (file, erasing) = (file.clone(), Erasing::default());
        let mut database =
            Self { file, connection, reserve, is_tight: false, has_failed: false, erasing, writes, place: None };
        database.start_clean(log_bytes)?;
        Ok(database)
    }

    pub(super) fn lie_at(&mut self, place: &Arc<Place>) {
        self.place = Some(Arc::clone(place));
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Notes whether a change failed in a way that does not say whether the log has it.
    pub(super) fn note_failed_change<T>(&mut self, done: &Result<T, StoreError>) {
        self.has_failed |= matches!(done, Err(StoreError::Unavailable { .. }));
    }

    /// Writes something over what a failed change left in the log. Otherwise it could come back with the next start, also
    /// when a deletion was acknowledged meanwhile that found nothing to delete.
    pub(super) fn bury_failed_change(&mut self) -> Result<(), EmbeddedError> {
        if self.has_failed {
            schema::rewrite_version(&self.connection)?;
            self.has_failed = false;
        }
        Ok(())
    }

    /// Adds a gallery with its first generation. Returns the numbers of both.
    pub(super) fn insert_gallery(&mut self, first: &Generation) -> Result<(i64, i64), EmbeddedError> {
        let settings = serde_json::to_string(&first.settings)?;
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "INSERT INTO gallery (name, active, settings) VALUES (?1, ?2, ?3)",
            params![first.gallery, first.number, settings],
        )?;
        let id = transaction.last_insert_rowid();
        let generation = insert_generation(&transaction, id, first)?;
        transaction.commit()?;
        Ok((id, generation))
    }

    /// Returns the number of the row.
    pub(super) fn insert_generation(&mut self, gallery_id: i64, generation: &Generation) -> Result<i64, EmbeddedError> {
        let transaction = self.connection.transaction()?;
        let id = insert_generation(&transaction, gallery_id, generation)?;
        transaction.commit()?;
        Ok(id)
    }

    pub(super) fn activate(&mut self, gallery_id: i64, number: u32) -> Result<(), EmbeddedError> {
        self.connection.execute("UPDATE gallery SET active = ?2 WHERE id = ?1", params![gallery_id, number])?;
        Ok(())
    }

    /// The highest number of any generation that was deleted: numbers up to it are not given again.
    pub(super) fn highest_retired_number(&self) -> Result<u32, EmbeddedError> {
        Ok(self.connection.query_row("SELECT highest FROM retired_number", [], |row| row.get(0))?)
    }

    /// Removes a gallery whose generations have numbers up to `highest`.
    pub(super) fn delete_gallery(&mut self, id: i64, highest: u32) -> Result<(), EmbeddedError> {
        const GENERATIONS: &str = "SELECT id FROM generation WHERE gallery_id = ?1";
        self.delete_and_retire(GENERATIONS, "DELETE FROM gallery WHERE id = ?1", id, highest)
    }

    /// Removes a generation.
    pub(super) fn delete_generation(&mut self, id: i64, number: u32) -> Result<(), EmbeddedError> {
        const GENERATIONS: &str = "SELECT id FROM generation WHERE id = ?1";
        self.delete_and_retire(GENERATIONS, "DELETE FROM generation WHERE id = ?1", id, number)
    }

    /// Images go one by one, though in one transaction: a statement that removes many keeps all that it might have to take
    /// back in memory.
    fn delete_and_retire(
        &mut self,
        generations: &str,
        deletion: &str,
        id: i64,
        number: u32,
    ) -> Result<(), EmbeddedError> {
        self.note_erased();
        let transaction = self.connection.transaction()?;
        {
            let mut generations = transaction.prepare_cached(generations)?;
            let mut some = transaction.prepare_cached("SELECT id FROM image WHERE generation_id = ?1 LIMIT ?2")?;
            let mut image = transaction.prepare_cached("DELETE FROM image WHERE id = ?1")?;
            let generations = generations.query_map([id], |row| row.get::<_, i64>(0))?;
            for generation in generations.collect::<Result<Vec<_>, _>>()? {
                loop {
                    let ids = some.query_map([generation, IMAGES_LISTED_AT_ONCE], |row| row.get::<_, i64>(0))?;
                    let ids = ids.collect::<Result<Vec<_>, _>>()?;
                    if ids.is_empty() {
                        break;
                    }
                    for id in ids {
                        image.execute([id])?;
                    }
                }
            }
        }
        transaction.execute(deletion, [id])?;
        transaction.execute("UPDATE retired_number SET highest = max(highest, ?1)", [number])?;
        Ok(transaction.commit()?)
    }

    /// The number that the next image gets in the order of writes.
    pub(super) fn next_write_number(&self) -> u64 {
        self.writes.next
    }

    /// Adds or replaces images. One that `serving` holds, indexed at the same time, is the same write: it gets the number
    /// that it has there, all others the next one. `unloaded` are the numbers of damaged images that memory does not know;
    /// returns those of them that went as well.
    pub(super) fn upsert_images(
        &mut self,
        generation: i64,
        serving: Option<i64>,
        images: &[PreparedImage],
        unloaded: &HashSet<i64>,
    ) -> Result<(Vec<WrittenImage>, Vec<i64>), EmbeddedError> {
        let transaction = self.connection.transaction()?;
        // New images get numbers behind all others.
        let last: i64 = transaction
            .prepare_cached("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'image'")?
            .query_row([], |row| row.get(0))?;
        let removed = match unloaded.is_empty() {
            true => Vec::new(),
            false => remove_unloaded(&transaction, generation, images, unloaded)?,
        };
        let WriteNumbers { mut next, mut reserved } = self.writes;
        if next + images.len() as u64 > reserved {
            reserved = next + (images.len() as u64).max(NUMBERS_RESERVED_AT_ONCE);
            transaction.execute("UPDATE write_number SET reserved = ?1", [reserved as i64])?;
        }
        let mut written = Vec::with_capacity(images.len());
        {
            let mut image = transaction.prepare_cached(
                "INSERT INTO image (generation_id, image_id, person_id, camera_id, captured_at_ms, indexed_at_ms,
                                    attributes, content_sha256, code, write_number, track_id, frame_id, crop_box)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
                 ON CONFLICT (generation_id, image_id) DO UPDATE SET
                     person_id = excluded.person_id, camera_id = excluded.camera_id,
                     captured_at_ms = excluded.captured_at_ms, indexed_at_ms = excluded.indexed_at_ms,
                     attributes = excluded.attributes, content_sha256 = excluded.content_sha256,
                     code = excluded.code, write_number = excluded.write_number,
                     track_id = excluded.track_id, frame_id = excluded.frame_id, crop_box = excluded.crop_box
                 RETURNING id",
            )?;
            let mut same_write = transaction.prepare_cached(
                "SELECT write_number FROM image WHERE generation_id = ?1 AND image_id = ?2 AND indexed_at_ms = ?3",
            )?;
            let mut embedding =
                transaction.prepare_cached("INSERT OR REPLACE INTO embedding (image, vector) VALUES (?1, ?2)")?;
            for PreparedImage { image: GalleryImage { image_id, metadata, .. }, attributes, code, vector } in images {
                let same = match serving {
                    Some(serving) => same_write
                        .query_row(params![serving, image_id, metadata.indexed_at_ms], |row| row.get::<_, i64>(0))
                        .optional()?,
                    None => None,
                };
                let write_number = same.map_or(next, i64::unsigned_abs);
                next += u64::from(same.is_none());
                let id: i64 = image.query_row(
                    params![
                        generation,
                        image_id,
                        metadata.person_id,
                        metadata.camera_id,
                        metadata.captured_at_ms,
                        metadata.indexed_at_ms,
                        attributes,
                        metadata.content_sha256,
                        code.as_bytes(),
                        write_number as i64,
                        metadata.track_id,
                        metadata.frame_id,
                        metadata.crop_box.map(|crop_box| serde_json::to_string(&crop_box)).transpose()?,
                    ],
                    |row| row.get(0),
                )?;
                embedding.execute(params![id, vector])?;
                written.push(WrittenImage { id, write_number });
            }
        }
        transaction.commit()?;
        self.writes = WriteNumbers { next, reserved };
        if !removed.is_empty() || written.iter().any(|written| written.id <= last) {
            self.note_erased();
        }
        Ok((written, removed))
    }

    /// Replaces metadata. Returns for each image its numbers and the time of its writing, `None` for images that are not
    /// there.
    pub(super) fn update_metadata(
        &mut self,
        generation: i64,
        images: &[(String, ImageMetadata)],
    ) -> Result<Vec<Option<(WrittenImage, i64)>>, EmbeddedError> {
        let transaction = self.connection.transaction()?;
        let mut updated = Vec::with_capacity(images.len());
        {
            let mut statement = transaction.prepare_cached(
                "UPDATE image SET person_id = ?3, camera_id = ?4, captured_at_ms = ?5, attributes = ?6, track_id = ?7,
                                  frame_id = ?8, crop_box = ?9
                 WHERE generation_id = ?1 AND image_id = ?2 RETURNING id, indexed_at_ms, write_number",
            )?;
            for (image_id, metadata) in images {
                let values = params![
                    generation,
                    image_id,
                    metadata.person_id,
                    metadata.camera_id,
                    metadata.captured_at_ms,
                    serde_json::to_string(&metadata.attributes)?,
                    metadata.track_id,
                    metadata.frame_id,
                    metadata.crop_box.map(|crop_box| serde_json::to_string(&crop_box)).transpose()?,
                ];
                let written = |row: &Row<'_>| {
                    let write_number = row.get::<_, i64>(2)?.unsigned_abs();
                    Ok((WrittenImage { id: row.get(0)?, write_number }, row.get(1)?))
                };
                updated.push(statement.query_row(values, written).optional()?);
            }
        }
        transaction.commit()?;
        self.note_erased();
        Ok(updated)
    }

    /// Returns the numbers of those that existed.
    pub(super) fn delete_images(&mut self, generation: i64, image_ids: &[String]) -> Result<Vec<i64>, EmbeddedError> {
        let transaction = self.connection.transaction()?;
        let mut deleted = Vec::new();
        {
            let mut statement = transaction
                .prepare_cached("DELETE FROM image WHERE generation_id = ?1 AND image_id = ?2 RETURNING id")?;
            for image_id in image_ids {
                deleted
                    .extend(statement.query_row(params![generation, image_id], |row| row.get::<_, i64>(0)).optional()?);
            }
        }
        transaction.commit()?;
        self.note_erased();
        Ok(deleted)
    }

    /// Removes images by their numbers. Returns how many existed.
    pub(super) fn delete_rows(&mut self, ids: &[i64]) -> Result<u64, EmbeddedError> {
        let transaction = self.connection.transaction()?;
        let mut deleted = 0;
        {
            let mut statement = transaction.prepare_cached("DELETE FROM image WHERE id = ?1")?;
            for id in ids {
                deleted += statement.execute([id])? as u64;
            }
        }
        transaction.commit()?;
        self.note_erased();
        Ok(deleted)
    }

    pub(super) fn put_document(&mut self, gallery_id: i64, key: &str, text: Option<&str>) -> Result<(), EmbeddedError> {
        match text {
            Some(text) => self.connection.execute(
                "INSERT OR REPLACE INTO document (gallery_id, key, text) VALUES (?1, ?2, ?3)",
                params![gallery_id, key, text],
            )?,
            None => self
                .connection
                .execute("DELETE FROM document WHERE gallery_id = ?1 AND key = ?2", params![gallery_id, key])?,
        };
        self.note_erased();
        Ok(())
    }

    /// Returns whether the document was as expected, and is as it should be now.
    pub(super) fn replace_document(
        &mut self,
        gallery_id: i64,
        key: &str,
        expected: Option<&str>,
        text: Option<&str>,
    ) -> Result<bool, EmbeddedError> {
        let transaction = self.connection.transaction()?;
        let reading = "SELECT text FROM document WHERE gallery_id = ?1 AND key = ?2";
        let found: Option<String> =
            transaction.query_row(reading, params![gallery_id, key], |row| row.get(0)).optional()?;
        if found.as_deref() != expected {
            return Ok(found.as_deref() == text);
        }
        match text {
            Some(text) => transaction.execute(
                "INSERT OR REPLACE INTO document (gallery_id, key, text) VALUES (?1, ?2, ?3)",
                params![gallery_id, key, text],
            )?,
            None => transaction
                .execute("DELETE FROM document WHERE gallery_id = ?1 AND key = ?2", params![gallery_id, key])?,
        };
        transaction.commit()?;
        self.note_erased();
        Ok(true)
    }
}

/// Removes damaged images that are about to be written anew: they get numbers behind all others, because memory holds images
/// by rising numbers. Returns the numbers that they had.
fn remove_unloaded(
    transaction: &Transaction<'_>,
    generation: i64,
    images: &[PreparedImage],
    unloaded: &HashSet<i64>,
) -> Result<Vec<i64>, EmbeddedError> {
    let mut number = transaction.prepare_cached("SELECT id FROM image WHERE generation_id = ?1 AND image_id = ?2")?;
    let mut removed = Vec::new();
    for PreparedImage { image, .. } in images {
        let id = number.query_row(params![generation, image.image_id], |row| row.get::<_, i64>(0)).optional()?;
        if let Some(id) = id.filter(|id| unloaded.contains(id)) {
            transaction.execute("DELETE FROM image WHERE id = ?1", [id])?;
            removed.push(id);
        }
    }
    Ok(removed)
}

fn insert_generation(
    transaction: &Transaction<'_>,
    gallery_id: i64,
    generation: &Generation,
) -> Result<i64, EmbeddedError> {
    let dimension = i64::try_from(generation.dimension).unwrap_or(i64::MAX);
    transaction.execute(
        "INSERT INTO generation (gallery_id, number, fingerprint, dimension, created_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![gallery_id, generation.number, generation.fingerprint.as_str(), dimension, generation.created_at_ms],
    )?;
    Ok(transaction.last_insert_rowid())
}
