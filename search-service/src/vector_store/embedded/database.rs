//! Every statement that the embedded store sends to SQLite.

use super::galleries::LoadedGallery;
use super::{EmbeddedError, schema};
use crate::vector_store::{Gallery, GalleryImage, ImageMetadata};
use rusqlite::{Connection, Row, params};
use std::path::Path;
use std::time::Duration;

/// The open file. Each method that changes it is one transaction, on disk when the method returns.
pub(super) struct Database {
    connection: Connection,
}

impl Database {
    pub(super) fn open(path: &Path, lock_wait: Duration) -> Result<Self, EmbeddedError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|source| EmbeddedError::Folder { path: path.to_owned(), source })?;
        }
        Ok(Self { connection: schema::open_exclusively(path, lock_wait)? })
    }

    /// Reads everything into memory, and checks it on the way.
    pub(super) fn load_galleries(&self) -> Result<Vec<LoadedGallery>, EmbeddedError> {
        let mut statement = self.connection.prepare(
            "SELECT id, name, fingerprint, dimension, created_at_ms,
                    (SELECT count(*) FROM image WHERE gallery_id = gallery.id)
             FROM gallery",
        )?;
        let mut rows = statement.query([])?;
        let mut galleries = Vec::new();
        while let Some(row) = rows.next()? {
            galleries.push(self.load_gallery(row)?);
        }
        Ok(galleries)
    }

    fn load_gallery(&self, row: &Row<'_>) -> Result<LoadedGallery, EmbeddedError> {
        let name: String = row.get(1)?;
        let damaged = |reason: String| EmbeddedError::DamagedGallery { gallery: name.clone(), reason };
        let fingerprint =
            row.get::<_, String>(2)?.parse().map_err(|error: descry_model::ModelError| damaged(error.to_string()))?;
        let dimension: i64 = row.get(3)?;
        let dimension = usize::try_from(dimension).map_err(|_| damaged(format!("dimension {dimension}")))?;
        super::check_dimension(dimension).map_err(|error| damaged(error.to_string()))?;
        let identity = Gallery { name, fingerprint, dimension, images: 0, created_at_ms: row.get(4)? };
        let images = usize::try_from(row.get::<_, i64>(5)?).unwrap_or(0);

        let mut gallery = LoadedGallery::empty(row.get(0)?, identity);
        self.load_images(&mut gallery, images)?;
        Ok(gallery)
    }

    fn load_images(&self, gallery: &mut LoadedGallery, images: usize) -> Result<(), EmbeddedError> {
        let identity = gallery.identity().clone();
        let id = gallery.id;
        let matrix = gallery.matrix_mut()?;
        matrix.reserve(images);
        let mut statement = self.connection.prepare(
            "SELECT image_id, person_id, camera_id, captured_at_ms, attributes, content_sha256, embedding
             FROM image WHERE gallery_id = ?1 ORDER BY id",
        )?;
        let mut rows = statement.query([id])?;
        let mut embedding = Vec::with_capacity(identity.dimension);
        while let Some(row) = rows.next()? {
            let image_id: String = row.get(0)?;
            let damaged = |reason: String| EmbeddedError::DamagedImage {
                gallery: identity.name.clone(),
                image_id: image_id.clone(),
                reason,
            };
            let blob = row.get_ref(6)?.as_blob().map_err(|error| damaged(error.to_string()))?;
            decode_embedding(blob, identity.dimension, &mut embedding).map_err(damaged)?;
            let attributes = row.get_ref(4)?.as_str().map_err(|error| damaged(error.to_string()))?;
            let attributes =
                serde_json::from_str(attributes).map_err(|error| damaged(format!("attributes: {error}")))?;
            let metadata = ImageMetadata {
                person_id: row.get(1)?,
                camera_id: row.get(2)?,
                captured_at_ms: row.get(3)?,
                attributes,
                content_sha256: row.get(5)?,
            };
            matrix.upsert(&image_id, &embedding, metadata);
        }
        Ok(())
    }

    /// Returns the row id of the new gallery.
    pub(super) fn insert_gallery(&mut self, gallery: &Gallery) -> Result<i64, EmbeddedError> {
        let dimension = i64::try_from(gallery.dimension).unwrap_or(i64::MAX);
        self.connection.execute(
            "INSERT INTO gallery (name, fingerprint, dimension, created_at_ms) VALUES (?1, ?2, ?3, ?4)",
            params![gallery.name, gallery.fingerprint.as_str(), dimension, gallery.created_at_ms],
        )?;
        Ok(self.connection.last_insert_rowid())
    }

    pub(super) fn delete_gallery(&mut self, gallery: i64) -> Result<(), EmbeddedError> {
        self.connection.execute("DELETE FROM gallery WHERE id = ?1", [gallery])?;
        Ok(())
    }

    pub(super) fn upsert_images(&mut self, gallery: i64, images: &[GalleryImage]) -> Result<(), EmbeddedError> {
        let transaction = self.connection.transaction()?;
        {
            let mut statement = transaction.prepare_cached(
                "INSERT INTO image (gallery_id, image_id, person_id, camera_id, captured_at_ms,
                                    attributes, content_sha256, embedding)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (gallery_id, image_id) DO UPDATE SET
                     person_id = excluded.person_id, camera_id = excluded.camera_id,
                     captured_at_ms = excluded.captured_at_ms, attributes = excluded.attributes,
                     content_sha256 = excluded.content_sha256, embedding = excluded.embedding",
            )?;
            for GalleryImage { image_id, embedding, metadata } in images {
                statement.execute(params![
                    gallery,
                    image_id,
                    metadata.person_id,
                    metadata.camera_id,
                    metadata.captured_at_ms,
                    serde_json::to_string(&metadata.attributes)?,
                    metadata.content_sha256,
                    encode_embedding(embedding.as_slice()),
                ])?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Returns how many of the images existed.
    pub(super) fn delete_images(&mut self, gallery: i64, image_ids: &[String]) -> Result<u64, EmbeddedError> {
        let transaction = self.connection.transaction()?;
        let mut deleted = 0;
        {
            let mut statement =
                transaction.prepare_cached("DELETE FROM image WHERE gallery_id = ?1 AND image_id = ?2")?;
            for image_id in image_ids {
                deleted += statement.execute(params![gallery, image_id])? as u64;
            }
        }
        transaction.commit()?;
        Ok(deleted)
    }

    pub(super) fn probe(&self) -> Result<(), EmbeddedError> {
        Ok(self.connection.query_row("SELECT count(*) FROM gallery", [], |_| Ok(()))?)
    }
}

fn encode_embedding(values: &[f32]) -> Vec<u8> {
    let mut blob = Vec::with_capacity(size_of_val(values));
    values.iter().for_each(|value| blob.extend_from_slice(&value.to_le_bytes()));
    blob
}

/// How far the squared length of a stored embedding may be from 1: wide enough for float32 rounding, narrow enough to
/// notice a flipped exponent bit.
const UNIT_LENGTH_TOLERANCE: f64 = 1e-3;

/// Reads a blob into `values`, or says what is wrong with it.
fn decode_embedding(blob: &[u8], dimension: usize, values: &mut Vec<f32>) -> Result<(), String> {
    if blob.len() != dimension * size_of::<f32>() {
        return Err(format!("its embedding has {} bytes, a dimension of {dimension} needs 4 each", blob.len()));
    }
    values.clear();
    values.extend(blob.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
    let squared: f64 = values.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
    // A value that is not finite makes the comparison false.
    if (squared - 1.0).abs() <= UNIT_LENGTH_TOLERANCE {
        return Ok(());
    }
    Err(format!("its embedding has length {} instead of 1", squared.sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unit_embeddings_of_the_right_length_are_read() {
        let check = |values: &[f32], dimension| {
            let mut decoded = Vec::new();
            decode_embedding(&encode_embedding(values), dimension, &mut decoded).map(|()| decoded)
        };
        assert_eq!(check(&[0.6, -0.8], 2), Ok(vec![0.6, -0.8]));
        assert!(check(&[0.6, -0.8], 3).unwrap_err().contains("8 bytes"));
        for wrong in [[f32::NAN, 0.0], [f32::INFINITY, 0.0], [0.0, 0.0], [2.0, 0.0]] {
            assert!(check(&wrong, 2).unwrap_err().contains("instead of 1"));
        }
    }
}
