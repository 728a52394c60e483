//! Where a promise is checked: a fresh store, and names that no other test uses.

use super::by_address::ByAddress;
use descry_qdrant_server::TestQdrant;
use descry_store::{EmbeddedConfig, EmbeddedStore};
use descry_store::{QdrantConfig, QdrantStore};
use std::any::Any;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A store for one test.
#[derive(Clone)]
pub(super) struct Stand {
    pub(super) store: ByAddress,
    prefix: String,
    /// The folder or server behind the store.
    _behind: Arc<dyn Any + Send + Sync>,
}

impl Stand {
    pub(super) async fn embedded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open_embedded(&folder.path().join("galleries.sqlite")).await;
        Self { store, prefix: unique_prefix(), _behind: Arc::new(folder) }
    }

    pub(super) fn qdrant() -> Self {
        let (url, behind): (String, Arc<dyn Any + Send + Sync>) = match std::env::var_os("DESCRY_TEST_QDRANT_URL") {
            Some(url) => (url.into_string().unwrap(), Arc::new(())),
            None => {
                let server = TestQdrant::start().unwrap();
                (server.url(), Arc::new(server))
            }
        };
        Self { store: connect(&url), prefix: unique_prefix(), _behind: behind }
    }

    /// The name of a gallery of this test.
    pub(super) fn name(&self, gallery: &str) -> String {
        format!("{}{gallery}", self.prefix)
    }

    /// Checks a promise, and deletes the galleries of the test also when the promise is broken.
    pub(super) async fn check<Checked>(self, promise: impl FnOnce(Self) -> Checked)
    where
        Checked: Future<Output = ()> + Send + 'static,
    {
        let checked = tokio::spawn(promise(self.clone())).await;
        for gallery in self.store.galleries().await.unwrap() {
            if gallery.gallery.starts_with(&self.prefix) {
                self.store.delete_gallery(&gallery.gallery).await.unwrap();
            }
        }
        if let Err(broken) = checked {
            std::panic::resume_unwind(broken.into_panic());
        }
    }
}

/// Opens a file that another store of the same test may have just let go of: its threads end a moment after it is dropped.
pub(super) async fn open_embedded(path: &Path) -> ByAddress {
    let config = EmbeddedConfig { search_threads: 2, lock_wait_ms: 2_000, reserve_bytes: 0 };
    ByAddress(Arc::new(EmbeddedStore::open(path, config).await.unwrap()))
}

pub(super) fn connect(url: &str) -> ByAddress {
    let config = QdrantConfig { url: url.to_owned(), ..QdrantConfig::default() };
    ByAddress(Arc::new(QdrantStore::connect(&config, || None).unwrap()))
}

fn unique_prefix() -> String {
    static STANDS: AtomicU32 = AtomicU32::new(0);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("t{time:x}-{}-{}-", std::process::id(), STANDS.fetch_add(1, Ordering::Relaxed))
}
