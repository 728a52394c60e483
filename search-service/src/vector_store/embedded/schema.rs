//! The tables, their version, and the settings of the connection.

use super::EmbeddedError;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

/// Version of the tables below, in SQLite's `user_version`. Raise it with every change, and migrate older files.
pub(super) const SCHEMA_VERSION: i64 = 1;

/// Marks a SQLite file as ours, in its `application_id`: "Dscr".
const APPLICATION_ID: i64 = 0x4473_6372;

const TABLES: &str = "
    CREATE TABLE gallery (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        fingerprint TEXT NOT NULL,
        dimension INTEGER NOT NULL,
        created_at_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE image (
        id INTEGER PRIMARY KEY,
        gallery_id INTEGER NOT NULL REFERENCES gallery (id) ON DELETE CASCADE,
        image_id TEXT NOT NULL,
        person_id TEXT,
        camera_id TEXT,
        captured_at_ms INTEGER,
        attributes TEXT NOT NULL,       -- JSON object of strings
        content_sha256 TEXT NOT NULL,
        embedding BLOB NOT NULL,        -- little-endian float32, of unit length
        UNIQUE (gallery_id, image_id)
    ) STRICT;
";

/// Opens the file for this connection alone, and brings its tables to [`SCHEMA_VERSION`].
pub(super) fn open_exclusively(path: &Path, lock_wait: Duration) -> Result<Connection, EmbeddedError> {
    // Without the URI flag: a file may be called `file:x`.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let named = |error: rusqlite::Error| name_refusal(path, error);
    let mut connection = Connection::open_with_flags(path, flags).map_err(named)?;
    connection.busy_timeout(lock_wait).map_err(named)?;
    // Exclusive before the first access: the lock is taken once, by the transaction below, and kept.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(named)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(named)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(named)?;
    connection.pragma_update(None, "foreign_keys", "ON").map_err(named)?;
    migrate(&mut connection, path)?;
    Ok(connection)
}

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
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        }
        (_, APPLICATION_ID, SCHEMA_VERSION) => {}
        (_, APPLICATION_ID, found) if found > SCHEMA_VERSION => {
            return Err(EmbeddedError::NewerSchema { path: path.to_owned(), found, supported: SCHEMA_VERSION });
        }
        _ => return Err(EmbeddedError::Foreign { path: path.to_owned() }),
    }
    Ok(transaction.commit()?)
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

    fn open(path: &Path) -> Result<Connection, EmbeddedError> {
        open_exclusively(path, Duration::ZERO)
    }

    #[test]
    fn a_crash_after_an_acknowledgement_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open(&folder.path().join("store.sqlite")).unwrap();
        let text = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, String>(0)).unwrap();
        assert_eq!(text("journal_mode"), "wal");
        assert_eq!(text("locking_mode"), "exclusive");
        let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(number("synchronous"), 2, "FULL");
        assert_eq!(number("foreign_keys"), 1);
    }

    #[test]
    fn newer_and_foreign_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.sqlite");
        open(&path).unwrap().pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
        assert!(matches!(open(&path), Err(EmbeddedError::NewerSchema { found: 2, supported: 1, .. })));

        let path = folder.path().join("other.sqlite");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE song (title TEXT)").unwrap();
        assert!(matches!(open(&path), Err(EmbeddedError::Foreign { .. })));

        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "no database at all, only a text of some length".repeat(40)).unwrap();
        assert!(matches!(open(&path), Err(EmbeddedError::Foreign { .. })));
    }
}
