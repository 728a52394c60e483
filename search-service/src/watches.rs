//! Standing searches: registered descriptions, matched against what is newly indexed.
//!
//! Matching looks in the store for images written since the last look (`following`), so it finds what any instance wrote,
//! and a stream that broke off goes on where it was.

mod descriptions;
mod following;

pub(crate) use descriptions::{Descriptions, WatchPart, WatchedThing};
pub(crate) use following::{Following, Found, follow};

use crate::SearchError;
use crate::validation::invalid;
use descry_store::{Generation, Hit, SearchFilter, VectorStore};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A registered description. Kept as a document of its gallery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Watch {
    #[serde(skip)]
    pub(crate) name: String,
    pub(crate) embedding: Vec<f32>,
    pub(crate) fingerprint: String,
    pub(crate) min_score: f32,
    pub(crate) filter: SearchFilter,
    pub(crate) created_at_ms: i64,
    /// The number of the first write that it is to match, in a store whose writes have numbers. Not written where there is
    /// none, so that earlier releases read the watch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created_at_write: Option<u64>,
}

const KEY_PREFIX: &str = "watch.";

/// The watches of a gallery.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    /// By name.
    pub(crate) readable: BTreeMap<String, Watch>,
    /// Names of those that another version of the service has written.
    pub(crate) unreadable: Vec<String>,
}

impl Watches {
    /// All watches of a gallery.
    pub(crate) async fn of(store: &dyn VectorStore, gallery: &Generation) -> Result<Self, SearchError> {
        let mut watches = Self::default();
        for (key, text) in store.documents(gallery).await? {
            let Some(name) = key.strip_prefix(KEY_PREFIX).map(str::to_owned) else { continue };
            match serde_json::from_str::<Watch>(&text) {
                Ok(watch) => drop(watches.readable.insert(name.clone(), Watch { name, ..watch })),
                Err(error) => {
                    tracing::warn!(gallery = gallery.gallery, watch = name, %error, "a watch cannot be read");
                    watches.unreadable.push(name);
                }
            }
        }
        Ok(watches)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.readable.contains_key(name) || self.unreadable.iter().any(|unreadable| unreadable == name)
    }

    pub(crate) fn len(&self) -> usize {
        self.readable.len() + self.unreadable.len()
    }

    /// What is kept of those that cannot be read, and of what they look for.
    pub(crate) async fn unreadable_texts(
        &self,
        store: &dyn VectorStore,
        gallery: &Generation,
    ) -> Result<Vec<(String, String)>, SearchError> {
        let mut texts = Vec::new();
        for name in &self.unreadable {
            let watch = store.document(gallery, &format!("{KEY_PREFIX}{name}")).await?.unwrap_or_default();
            let description = Descriptions::text(store, gallery, name).await?.unwrap_or_default();
            texts.push((name.clone(), watch + &description));
        }
        Ok(texts)
    }
}

/// Bytes of a watch as it is kept; a filter of ten thousand names is no watch.
const MAX_WATCH_BYTES: usize = 1 << 20;

/// Registers a description, or puts it in the place of the one of its name.
pub(crate) async fn put_watch(store: &dyn VectorStore, gallery: &Generation, watch: &Watch) -> Result<(), SearchError> {
    let text = serde_json::to_string(watch).map_err(|error| SearchError::failed("writing a watch", error))?;
    if text.len() > MAX_WATCH_BYTES {
        let reason = format!("{} bytes with its embedding, at most {MAX_WATCH_BYTES} are allowed", text.len());
        return Err(invalid("filter", reason));
    }
    Ok(store.put_document(gallery, &format!("{KEY_PREFIX}{}", watch.name), Some(text)).await?)
}

pub(crate) async fn delete_watch(store: &dyn VectorStore, gallery: &Generation, name: &str) -> Result<(), SearchError> {
    Ok(store.put_document(gallery, &format!("{KEY_PREFIX}{name}"), None).await?)
}

/// An image that matches a watch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WatchMatch {
    pub(crate) watch: String,
    pub(crate) hit: Hit,
}
