//! The tables, their version, and the settings of connections.

use super::database_file::DatabaseFile;
use super::{EmbeddedError, migration};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

/// Version of the tables below, in SQLite's `user_version`. Raise it with every change, and migrate older files.
pub(super) const SCHEMA_VERSION: i64 = 6;

/// Marks a SQLite file as ours, in its `application_id`: "Dscr".
const APPLICATION_ID: i64 = 0x4473_6372;

/// A page holds three embeddings of 512 values with little left over.
pub(super) const PAGE_BYTES: u64 = 8_192;

/// Embeddings lie apart from the rest: opening reads everything else. The code is computed from the embedding once.
pub(super) const TABLES: &str = "
    CREATE TABLE gallery (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        active INTEGER NOT NULL,        -- number of the generation that serves
        settings TEXT NOT NULL          -- JSON
    ) STRICT;
    CREATE TABLE generation (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        gallery_id INTEGER NOT NULL REFERENCES gallery (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        fingerprint TEXT NOT NULL,
        dimension INTEGER NOT NULL,
        created_at_ms INTEGER NOT NULL,
        UNIQUE (gallery_id, number)
    ) STRICT;
    CREATE TABLE image (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        generation_id INTEGER NOT NULL REFERENCES generation (id) ON DELETE CASCADE,
        image_id TEXT NOT NULL,
        person_id TEXT,
        camera_id TEXT,
        captured_at_ms INTEGER,
        indexed_at_ms INTEGER NOT NULL,
        attributes TEXT NOT NULL,       -- JSON object of strings
        content_sha256 TEXT NOT NULL,
        code BLOB NOT NULL,             -- the embedding in eight bits a value
        write_number INTEGER NOT NULL DEFAULT 0, -- in the order of writes; 0 for those of earlier versions
        track_id TEXT,
        frame_id TEXT,
        crop_box TEXT,                  -- JSON list of left, top, width and height in pixels
        UNIQUE (generation_id, image_id)
    ) STRICT;
    CREATE TABLE embedding (
        image INTEGER PRIMARY KEY REFERENCES image (id) ON DELETE CASCADE,
        vector BLOB NOT NULL            -- little-endian float32, of unit length
    ) STRICT;
    CREATE TABLE document (
        gallery_id INTEGER NOT NULL REFERENCES gallery (id) ON DELETE CASCADE,
        key TEXT NOT NULL,
        text TEXT NOT NULL,
        PRIMARY KEY (gallery_id, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE retired_number (
        highest INTEGER NOT NULL        -- of all generations that were deleted; in one row
    ) STRICT;
    INSERT INTO retired_number VALUES (0);
    CREATE TABLE write_number (
        reserved INTEGER NOT NULL       -- no write has a number from here on; in one row
    ) STRICT;
    INSERT INTO write_number VALUES (1);
    CREATE TABLE leftover (
        is_due INTEGER NOT NULL         -- whether unused parts of the file may hold what was deleted; in one row
    ) STRICT;
    INSERT INTO leftover VALUES (0);
";

/// How long a change waits for another process, which there is none of as a rule.
pub(super) const USUAL_WAIT: Duration = Duration::from_secs(5);

/// Opens the file for writing, and brings its tables to [`SCHEMA_VERSION`].
pub(super) fn open_for_writing(file: &DatabaseFile) -> Result<Connection, EmbeddedError> {
    // Without the URI flag: a file may be called `file:x`.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let path = file.path();
    let named = |error: rusqlite::Error| name_refusal(path, error);
    let mut connection = file.connect(flags).map_err(named)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES as i64).map_err(named)?;
    // Before the journal is a log, its deletion is synced too: one that came back would make the file empty again.
    connection.pragma_update(None, "synchronous", "EXTRA").map_err(named)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(named)?;
    connection.pragma_update(None, "foreign_keys", "ON").map_err(named)?;
    // What statements might have to take back would lie in files outside of the store's folder, deleted data too.
    connection.pragma_update(None, "temp_store", "MEMORY").map_err(named)?;
    connection.pragma_update_and_check(None, "secure_delete", "ON", |_| Ok(())).map_err(named)?;
    // The log is worked in by `erasing` alone.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(())).map_err(named)?;
    connection.busy_timeout(USUAL_WAIT)?;
    migrate(&mut connection, path)?;
    Ok(connection)
}

/// Opens the file for reading beside the writer, who does not keep readers waiting.
pub(super) fn open_for_reading(file: &DatabaseFile) -> Result<Connection, EmbeddedError> {
    // Read-write, because a reader of a log may have to make the index of the log; nothing is ever written.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = file.connect(flags)?;
    connection.pragma_update(None, "query_only", "ON")?;
    // Closing the last connection works the log in, which is the writer's.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_A_READER);
    Ok(connection)
}

const STATEMENTS_A_READER: usize = 32;

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), EmbeddedError> {
    let named = |error: rusqlite::Error| name_refusal(path, error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive).map_err(named)?;
    let number = |sql: &str| transaction.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(named);
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    match (tables, application, version) {
        (0, 0, 0) => {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        }
        (_, APPLICATION_ID, SCHEMA_VERSION) => {}
        (_, APPLICATION_ID, 1) => migration::from_version_1(&transaction)?,
        (_, APPLICATION_ID, 2) => migration::from_version_2(&transaction)?,
        (_, APPLICATION_ID, 3) => migration::from_version_3(&transaction)?,
        (_, APPLICATION_ID, 4) => migration::from_version_4(&transaction)?,
        (_, APPLICATION_ID, 5) => migration::from_version_5(&transaction)?,
        (_, APPLICATION_ID, found) if found > SCHEMA_VERSION => {
            return Err(EmbeddedError::NewerSchema { path: path.to_owned(), found, supported: SCHEMA_VERSION });
        }
        _ => return Err(EmbeddedError::Foreign { path: path.to_owned() }),
    }
    rewrite_version(&transaction)?;
    Ok(transaction.commit()?)
}

/// Writes a page and changes nothing.
pub(super) fn rewrite_version(connection: &Connection) -> Result<(), EmbeddedError> {
    Ok(connection.pragma_update(None, "user_version", SCHEMA_VERSION)?)
}

/// Tells the two refusals that people meet from the ones that only a log understands.
fn name_refusal(path: &Path, error: rusqlite::Error) -> EmbeddedError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => EmbeddedError::InUse { path: path.to_owned() },
        Some(ErrorCode::NotADatabase) => EmbeddedError::Foreign { path: path.to_owned() },
        _ => EmbeddedError::Sqlite(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_after_an_acknowledgement_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = DatabaseFile::at(folder.path().join("store.sqlite"));
        let connection = open_for_writing(&file).unwrap();
        let text = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, String>(0)).unwrap();
        assert_eq!(text("journal_mode"), "wal");
        let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(number("synchronous"), 3, "EXTRA");
        assert_eq!(number("foreign_keys"), 1);
        assert_eq!(number("page_size"), PAGE_BYTES as i64);
    }

    #[test]
    fn newer_and_foreign_files_are_named() {
        let open_for_writing = |path: &Path| open_for_writing(&DatabaseFile::at(path.to_owned()));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.sqlite");
        open_for_writing(&path).unwrap().pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
        let refused = open_for_writing(&path);
        assert!(matches!(refused, Err(EmbeddedError::NewerSchema { found: 7, supported: 6, .. })));

        let path = folder.path().join("other.sqlite");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE song (title TEXT)").unwrap();
        assert!(matches!(open_for_writing(&path), Err(EmbeddedError::Foreign { .. })));

        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "no database at all, only a text of some length".repeat(40)).unwrap();
        assert!(matches!(open_for_writing(&path), Err(EmbeddedError::Foreign { .. })));
    }
}
