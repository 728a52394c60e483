//! Files of earlier versions become files of this one, within one transaction: a crash leaves the old file.

use super::EmbeddedError;
use super::codes::Code;
use super::schema::TABLES;
use crate::{GallerySettings, now_ms};
use rusqlite::{Transaction, params};

/// Version 1 kept one generation a gallery, without codes, and embeddings with the rest of an image.
pub(super) fn from_version_1(transaction: &Transaction<'_>) -> Result<(), EmbeddedError> {
    transaction.execute_batch("ALTER TABLE gallery RENAME TO old_gallery; ALTER TABLE image RENAME TO old_image;")?;
    transaction.execute_batch(TABLES)?;
    let settings = serde_json::to_string(&GallerySettings::default())?;
    transaction.execute(
        "INSERT INTO gallery (id, name, active, settings) SELECT id, name, 1, ?1 FROM old_gallery",
        [settings],
    )?;
    transaction.execute_batch(
        "INSERT INTO generation (id, gallery_id, number, fingerprint, dimension, created_at_ms)
         SELECT id, id, 1, fingerprint, dimension, created_at_ms FROM old_gallery;",
    )?;
    {
        let mut old = transaction.prepare("SELECT id, embedding FROM old_image ORDER BY id")?;
        let mut image = transaction.prepare(
            "INSERT INTO image (id, generation_id, image_id, person_id, camera_id, captured_at_ms, indexed_at_ms,
                                attributes, content_sha256, code)
             SELECT id, gallery_id, image_id, person_id, camera_id, captured_at_ms, ?2, attributes, content_sha256, ?3
             FROM old_image WHERE id = ?1",
        )?;
        let mut embedding = transaction.prepare("INSERT INTO embedding (image, vector) VALUES (?1, ?2)")?;
        let now = now_ms();
        let mut rows = old.query([])?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            let blob: Vec<u8> = row.get(1)?;
            let values: Vec<f32> = blob.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            image.execute(params![id, now, Code::of(&values).as_bytes()])?;
            embedding.execute(params![id, blob])?;
        }
    }
    Ok(transaction.execute_batch("DROP TABLE old_image; DROP TABLE old_gallery; UPDATE leftover SET is_due = 1;")?)
}

/// Version 2 gave the number of a deleted generation again.
pub(super) fn from_version_2(transaction: &Transaction<'_>) -> Result<(), EmbeddedError> {
    transaction.execute_batch(
        "CREATE TABLE retired_number (highest INTEGER NOT NULL) STRICT; INSERT INTO retired_number VALUES (0);",
    )?;
    from_version_3(transaction)
}

/// Version 3 knew the order of writes by their times alone. A column with a constant default is not written to the rows.
pub(super) fn from_version_3(transaction: &Transaction<'_>) -> Result<(), EmbeddedError> {
    transaction.execute_batch(
        "ALTER TABLE image ADD COLUMN write_number INTEGER NOT NULL DEFAULT 0;
         CREATE TABLE write_number (reserved INTEGER NOT NULL) STRICT; INSERT INTO write_number VALUES (1);",
    )?;
    from_version_4(transaction)
}

/// Version 4 knew neither tracks nor what an image was cut from.
pub(super) fn from_version_4(transaction: &Transaction<'_>) -> Result<(), EmbeddedError> {
    transaction.execute_batch(
        "ALTER TABLE image ADD COLUMN track_id TEXT; ALTER TABLE image ADD COLUMN frame_id TEXT;
         ALTER TABLE image ADD COLUMN crop_box TEXT;",
    )?;
    from_version_5(transaction)
}

/// Version 5 left what was deleted in the file, to be overwritten some time.
pub(super) fn from_version_5(transaction: &Transaction<'_>) -> Result<(), EmbeddedError> {
    Ok(transaction
        .execute_batch("CREATE TABLE leftover (is_due INTEGER NOT NULL) STRICT; INSERT INTO leftover VALUES (1);")?)
}

#[cfg(test)]
mod tests {
    use super::super::{EmbeddedConfig, EmbeddedStore};
    use crate::{NearestQuery, VectorStore as _};
    use descry_model::{Embedding, Fingerprint};
    use rusqlite::Connection;

    const VERSION_1: &str = "
        PRAGMA application_id = 0x44736372;
        PRAGMA user_version = 1;
        CREATE TABLE gallery (
            id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, fingerprint TEXT NOT NULL,
            dimension INTEGER NOT NULL, created_at_ms INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE image (
            id INTEGER PRIMARY KEY, gallery_id INTEGER NOT NULL REFERENCES gallery (id) ON DELETE CASCADE,
            image_id TEXT NOT NULL, person_id TEXT, camera_id TEXT, captured_at_ms INTEGER, attributes TEXT NOT NULL,
            content_sha256 TEXT NOT NULL, embedding BLOB NOT NULL, UNIQUE (gallery_id, image_id)
        ) STRICT;";

    #[tokio::test]
    async fn a_file_of_version_2_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("galleries.sqlite3");
        let model = Fingerprint::of_parts([]);
        let store = EmbeddedStore::open(&path, EmbeddedConfig::default()).await.unwrap();
        store.create_gallery("lobby", &model, 2).await.unwrap();
        drop(store);
        let old = Connection::open(&path).unwrap();
        old.execute_batch(
            "DROP TABLE retired_number; DROP TABLE write_number; DROP TABLE leftover; ALTER TABLE image DROP COLUMN write_number;
             ALTER TABLE image DROP COLUMN track_id; ALTER TABLE image DROP COLUMN frame_id;
             ALTER TABLE image DROP COLUMN crop_box; PRAGMA user_version = 2",
        )
        .unwrap();
        drop(old);
        let store = EmbeddedStore::open(&path, EmbeddedConfig::default()).await.unwrap();
        let lobby = store.resolve("lobby").await.unwrap();
        store.delete_gallery("lobby").await.unwrap();
        let again = store.create_gallery("lobby", &model, 2).await.unwrap();
        assert_eq!((lobby.number, again.number), (1, 2));
    }

    #[tokio::test]
    async fn a_file_of_version_1_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("galleries.sqlite3");
        let model = Fingerprint::of_parts([]);
        let old = Connection::open(&path).unwrap();
        old.execute_batch(VERSION_1).unwrap();
        old.execute("INSERT INTO gallery VALUES (4, 'lobby', ?1, 2, 77)", [model.as_str()]).unwrap();
        old.execute_batch(
            "INSERT INTO image VALUES (9, 4, 'a.jpg', 'ann', 'c1', 5, '{\"coat\":\"red\"}', 'sha', x'0000000000000080'),
                                      (7, 4, 'b.jpg', NULL, NULL, NULL, '{}', '', x'0000803f00000000')",
        )
        .unwrap();
        old.execute("UPDATE image SET embedding = x'000000000000803f' WHERE id = 9", []).unwrap();
        drop(old);

        for _again in 0..2 {
            let store = EmbeddedStore::open(&path, EmbeddedConfig::default()).await.unwrap();
            let lobby = store.resolve("lobby").await.unwrap();
            assert_eq!(store.describe(&lobby).await.unwrap().images, 2);
            assert_eq!((lobby.created_at_ms, lobby.number), (77, 1));
            let query = NearestQuery::new(Embedding::normalized(vec![0.1, 1.0]).unwrap(), model.clone(), 5);
            let hits = store.nearest(&lobby, query).await.unwrap();
            assert_eq!(hits[0].image_id, "a.jpg");
            assert_eq!(hits[0].metadata.attributes["coat"], "red");
            assert_eq!(hits[0].metadata.person_id.as_deref(), Some("ann"));
            assert_eq!(hits[1].image_id, "b.jpg");
        }
    }
}
