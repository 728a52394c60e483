//! Reading beside the writer: connections of their own, which neither wait for a write nor make it wait.

use super::checking::image_id_at;
use super::damage::Damage;
use super::database_file::DatabaseFile;
use super::matrix::GalleryMatrix;
use super::rows::{METADATA_COLUMNS, decode_embedding, metadata};
use super::{EmbeddedError, schema};
use crate::{GalleryImage, ImageMetadata};
use descry_model::Embedding;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections for reading, made as they are needed and used again.
pub(super) struct Readers {
    file: DatabaseFile,
    pub(super) damage: Arc<Damage>,
    idle: Mutex<Vec<Connection>>,
}

/// Idle connections that are kept.
const MAX_IDLE: usize = 16;

impl Readers {
    pub(super) fn new(file: DatabaseFile, damage: Arc<Damage>) -> Self {
        Self { file, damage, idle: Mutex::default() }
    }

    pub(super) fn take(&self) -> Result<Reader<'_>, EmbeddedError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => schema::open_for_reading(&self.file)?,
        };
        Ok(Reader { readers: self, connection: Some(connection) })
    }
}

/// A connection on loan.
pub(super) struct Reader<'a> {
    readers: &'a Readers,
    /// Taken back when dropped.
    connection: Option<Connection>,
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut idle = self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.extend(self.connection.take());
        }
    }
}

impl Deref for Reader<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match &self.connection {
            Some(connection) => connection,
            None => unreachable!("a connection is taken only when its reader is dropped"),
        }
    }
}

impl Reader<'_> {
    /// Where in the table each of the images is that exist.
    pub(super) fn numbers(&self, generation: i64, image_ids: &[String]) -> Result<HashMap<String, i64>, EmbeddedError> {
        let mut statement = self.prepare_cached("SELECT id FROM image WHERE generation_id = ?1 AND image_id = ?2")?;
        let mut found = HashMap::with_capacity(image_ids.len());
        for image_id in image_ids {
            if let Some(id) = statement.query_row(params![generation, image_id], |row| row.get(0)).optional()? {
                found.insert(image_id.clone(), id);
            }
        }
        Ok(found)
    }

    pub(super) fn metadata_of(
        &self,
        generation: i64,
        image_ids: &[String],
    ) -> Result<HashMap<String, ImageMetadata>, EmbeddedError> {
        let mut found = HashMap::with_capacity(image_ids.len());
        for id in self.numbers(generation, image_ids)?.into_values() {
            found.extend(self.metadata_at(id)?);
        }
        Ok(found)
    }

    /// The image of a row, unless it was just removed or is damaged.
    pub(super) fn metadata_at(&self, id: i64) -> Result<Option<(String, ImageMetadata)>, EmbeddedError> {
        let sql = format!("SELECT {METADATA_COLUMNS} FROM image WHERE id = ?1");
        let read = self.prepare_cached(&sql)?.query_row([id], |row| metadata(row, 0)).optional();
        Ok(self.unless_damaged(id, read.map_err(EmbeddedError::from))?.flatten())
    }

    /// Numbers of the images that are known to be damaged.
    pub(super) fn damaged(&self) -> HashSet<i64> {
        self.readers.damage.known()
    }

    /// What was read of an image, nothing of one that is damaged.
    pub(super) fn unless_damaged<T>(
        &self,
        id: i64,
        read: Result<T, EmbeddedError>,
    ) -> Result<Option<T>, EmbeddedError> {
        self.readers.damage.pass_over(id, || image_id_at(self, id), read)
    }

    /// Reads embeddings one after another.
    pub(super) fn embeddings(&self, dimension: usize) -> Result<EmbeddingReader<'_>, EmbeddedError> {
        let statement = self.prepare_cached("SELECT vector FROM embedding WHERE image = ?1")?;
        Ok(EmbeddingReader { statement, dimension })
    }

    /// The images of some rows with their embeddings. Rows that were just removed or are damaged are left out.
    pub(super) fn images_at(&self, ids: &[i64], dimension: usize) -> Result<Vec<GalleryImage>, EmbeddedError> {
        let mut embeddings = self.embeddings(dimension)?;
        let mut values = Vec::with_capacity(dimension);
        let mut images = Vec::with_capacity(ids.len());
        for &id in ids {
            let Some((image_id, metadata)) = self.metadata_at(id)? else { continue };
            let read = embeddings.read(id, &mut values).and_then(|is_there| match is_there {
                true => unit(id, values.clone()).map(Some),
                false => Ok(None),
            });
            if let Some(embedding) = self.unless_damaged(id, read)?.flatten() {
                images.push(GalleryImage { image_id, embedding, metadata });
            }
        }
        Ok(images)
    }

    pub(super) fn document(&self, gallery_id: i64, key: &str) -> Result<Option<String>, EmbeddedError> {
        let mut statement = self.prepare_cached("SELECT text FROM document WHERE gallery_id = ?1 AND key = ?2")?;
        Ok(statement.query_row(params![gallery_id, key], |row| row.get(0)).optional()?)
    }

    pub(super) fn documents(&self, gallery_id: i64) -> Result<BTreeMap<String, String>, EmbeddedError> {
        let mut statement = self.prepare_cached("SELECT key, text FROM document WHERE gallery_id = ?1")?;
        let rows = statement.query_map([gallery_id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(super) fn probe(&self) -> Result<(), EmbeddedError> {
        Ok(self.query_row("SELECT count(*) FROM gallery", [], |_| Ok(()))?)
    }
}

/// Reads embeddings of one generation.
pub(super) struct EmbeddingReader<'a> {
    statement: CachedStatement<'a>,
    dimension: usize,
}

impl EmbeddingReader<'_> {
    /// Reads the embedding of a row into `values`, or tells that the row is gone.
    pub(super) fn read(&mut self, id: i64, values: &mut Vec<f32>) -> Result<bool, EmbeddedError> {
        let mut rows = self.statement.query([id])?;
        let Some(row) = rows.next()? else { return Ok(false) };
        let damaged = |reason| EmbeddedError::DamagedImage { image: id, reason };
        let blob = row.get_ref(0)?.as_blob().map_err(|error| damaged(error.to_string()))?;
        decode_embedding(blob, self.dimension, values).map_err(damaged)?;
        Ok(true)
    }
}

/// A stored embedding, which has unit length already.
pub(super) fn unit(id: i64, values: Vec<f32>) -> Result<Embedding, EmbeddedError> {
    Embedding::normalized(values).map_err(|error| EmbeddedError::DamagedImage { image: id, reason: error.to_string() })
}

/// The numbers of the first `limit` rows behind `after`, out of some rows or all.
pub(super) fn rows_behind(matrix: &GalleryMatrix, rows: Option<&[u32]>, after: i64, limit: usize) -> Vec<i64> {
    match rows {
        Some(rows) => {
            let first = rows.partition_point(|&row| matrix.id(row as usize) <= after);
            rows[first..].iter().take(limit).map(|&row| matrix.id(row as usize)).collect()
        }
        None => {
            let first = matrix.first_behind(after);
            (first..matrix.rows()).take(limit).map(|row| matrix.id(row)).collect()
        }
    }
}
