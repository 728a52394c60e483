//! Every statement that changes the embedded store's file.

use super::codes::Code;
use super::rows::encode_embedding;
use super::{EmbeddedError, schema};
use crate::{GalleryImage, Generation, ImageMetadata};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use std::path::Path;

/// The open file. Each method that changes it is one transaction, on disk when the method returns.
pub(super) struct Database {
    connection: Connection,
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
    pub(super) fn open(path: &Path) -> Result<Self, EmbeddedError> {
        Ok(Self { connection: schema::open_for_writing(path)? })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
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
        self.delete_and_retire("DELETE FROM gallery WHERE id = ?1", id, highest)
    }

    /// Removes a generation.
    pub(super) fn delete_generation(&mut self, id: i64, number: u32) -> Result<(), EmbeddedError> {
        self.delete_and_retire("DELETE FROM generation WHERE id = ?1", id, number)
    }

    fn delete_and_retire(&mut self, deletion: &str, id: i64, number: u32) -> Result<(), EmbeddedError> {
        let transaction = self.connection.transaction()?;
        transaction.execute(deletion, [id])?;
        transaction.execute("UPDATE retired_number SET highest = max(highest, ?1)", [number])?;
        Ok(transaction.commit()?)
    }

    /// Adds or replaces images. Returns the number of each in the table.
    pub(super) fn upsert_images(
        &mut self,
        generation: i64,
        images: &[PreparedImage],
    ) -> Result<Vec<i64>, EmbeddedError> {
        let transaction = self.connection.transaction()?;
        let mut written = Vec::with_capacity(images.len());
        {
            let mut image = transaction.prepare_cached(
                "INSERT INTO image (generation_id, image_id, person_id, camera_id, captured_at_ms, indexed_at_ms,
                                    attributes, content_sha256, code)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                 ON CONFLICT (generation_id, image_id) DO UPDATE SET
                     person_id = excluded.person_id, camera_id = excluded.camera_id,
                     captured_at_ms = excluded.captured_at_ms, indexed_at_ms = excluded.indexed_at_ms,
                     attributes = excluded.attributes, content_sha256 = excluded.content_sha256,
                     code = excluded.code
                 RETURNING id",
            )?;
            let mut embedding =
                transaction.prepare_cached("INSERT OR REPLACE INTO embedding (image, vector) VALUES (?1, ?2)")?;
            for PreparedImage { image: GalleryImage { image_id, metadata, .. }, attributes, code, vector } in images {
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
                    ],
                    |row| row.get(0),
                )?;
                embedding.execute(params![id, vector])?;
                written.push(id);
            }
        }
        transaction.commit()?;
        Ok(written)
    }

    /// Replaces metadata. Returns for each image its number in the table and the time of its writing, `None` for images
    /// that are not there.
    pub(super) fn update_metadata(
        &mut self,
        generation: i64,
        images: &[(String, ImageMetadata)],
    ) -> Result<Vec<Option<(i64, i64)>>, EmbeddedError> {
        let transaction = self.connection.transaction()?;
        let mut updated = Vec::with_capacity(images.len());
        {
            let mut statement = transaction.prepare_cached(
                "UPDATE image SET person_id = ?3, camera_id = ?4, captured_at_ms = ?5, attributes = ?6
                 WHERE generation_id = ?1 AND image_id = ?2 RETURNING id, indexed_at_ms",
            )?;
            for (image_id, metadata) in images {
                let values = params![
                    generation,
                    image_id,
                    metadata.person_id,
                    metadata.camera_id,
                    metadata.captured_at_ms,
                    serde_json::to_string(&metadata.attributes)?,
                ];
                updated.push(statement.query_row(values, |row| Ok((row.get(0)?, row.get(1)?))).optional()?);
            }
        }
        transaction.commit()?;
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
        Ok(())
    }
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
