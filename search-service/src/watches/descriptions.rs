//! What watches look for, in the words of those who made them.
//!
//! A watch works without: it keeps the embedding of its description. The words are kept for people, who must be able to
//! see what is being looked for, as clear or as closed as the operator decides.

use super::Watch;
use crate::SearchError;
use crate::config::{KeptDescriptions, WatchConfig};
use crate::key_file::{self, digits, from_digits};
use crate::retrieval::{Part, PartKind};
use crate::validation::invalid;
use descry_store::{Generation, VectorStore};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const ENFORCING_PAUSE: Duration = Duration::from_secs(30);

/// Apart from the watch, so that earlier releases read the watches of this one.
const KEY_PREFIX: &str = "watch_description.";

/// One part of a description.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WatchPart {
    pub(crate) what: WatchedThing,
    /// Negative: what is looked for is unlike it.
    pub(crate) weight: f32,
}

/// What a part names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WatchedThing {
    Text(String),
    GalleryImage(String),
    /// An image or an embedding that is not kept.
    Unnamed,
}

impl From<&Part> for WatchPart {
    fn from(part: &Part) -> Self {
        let what = match &part.kind {
            PartKind::Text(text) => WatchedThing::Text(text.clone()),
            PartKind::GalleryImage(image_id) => WatchedThing::GalleryImage(image_id.clone()),
            PartKind::Image(_) | PartKind::Embedding(..) => WatchedThing::Unnamed,
        };
        Self { what, weight: part.weight }
    }
}

/// A description as it lies in the store.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Of the watch that it is of: another one of the same name, which an earlier release made, has none.
    created_at_ms: i64,
    #[serde(flatten)]
    words: Words,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Words {
    Clear(Vec<WatchPart>),
    /// In hexadecimal digits: the nonce, and what is encrypted.
    Sealed(String),
}

/// Bytes of a description as it is kept, far above what limits of queries allow.
const MAX_DESCRIPTION_BYTES: usize = 1 << 20;

/// Keeps descriptions as the settings say.
#[derive(Clone)]
pub(crate) struct Descriptions {
    policy: Policy,
}

#[derive(Clone)]
enum Policy {
    Clear,
    Sealed(Arc<LessSafeKey>),
    Nothing,
}

impl Descriptions {
    /// # Errors
    /// [`SearchError::Invalid`] when descriptions are to be sealed and there is no key to do it with.
    pub(crate) fn open(config: &WatchConfig) -> Result<Self, SearchError> {
        let policy = match config.descriptions {
            KeptDescriptions::Clear => Policy::Clear,
            KeptDescriptions::None => Policy::Nothing,
            KeptDescriptions::Sealed => Policy::Sealed(Arc::new(read_key(&config.description_key_file)?)),
        };
        Ok(Self { policy })
    }

    /// What a description becomes in the store; nothing where none is kept.
    ///
    /// # Errors
    /// [`SearchError::Invalid`] for one that is too large.
    pub(crate) fn kept(
        &self,
        gallery: &str,
        name: &str,
        created_at_ms: i64,
        parts: Vec<WatchPart>,
    ) -> Result<Option<String>, SearchError> {
        let words = match &self.policy {
            Policy::Clear => Words::Clear(parts),
            Policy::Sealed(key) => Words::Sealed(seal(key, &place(gallery, name, created_at_ms), &parts)?),
            Policy::Nothing => return Ok(None),
        };
        let text = serde_json::to_string(&Kept { created_at_ms, words });
        let text = text.map_err(|error| SearchError::failed("writing a watch's description", error))?;
        if text.len() > MAX_DESCRIPTION_BYTES {
            let reason = format!("{} bytes, at most {MAX_DESCRIPTION_BYTES} are kept of a watch", text.len());
            return Err(invalid("parts", reason));
        }
        Ok(Some(text))
    }

    /// Keeps what [`Descriptions::kept`] made, or forgets what there was.
    pub(crate) async fn put(
        store: &dyn VectorStore,
        gallery: &Generation,
        name: &str,
        text: Option<String>,
    ) -> Result<(), SearchError> {
        Ok(store.put_document(gallery, &format!("{KEY_PREFIX}{name}"), text).await?)
    }

    /// What is kept of a description, as it lies in the store.
    pub(super) async fn text(
        store: &dyn VectorStore,
        gallery: &Generation,
        name: &str,
    ) -> Result<Option<String>, SearchError> {
        Ok(store.document(gallery, &format!("{KEY_PREFIX}{name}")).await?)
    }

    /// What some watches look for, by name. Descriptions that were sealed with a key that is not ours are left out.
    pub(crate) async fn of(
        &self,
        store: &dyn VectorStore,
        gallery: &Generation,
        watches: &BTreeMap<String, Watch>,
    ) -> Result<BTreeMap<String, Vec<WatchPart>>, SearchError> {
        if matches!(self.policy, Policy::Nothing) {
            return Ok(BTreeMap::new());
        }
        let mut descriptions = BTreeMap::new();
        for (name, text) in documents(store, gallery).await? {
            let Ok(kept) = serde_json::from_str::<Kept>(&text) else { continue };
            if watches.get(&name).is_none_or(|watch| watch.created_at_ms != kept.created_at_ms) {
                continue;
            }
            match self.opened(&gallery.gallery, &name, kept) {
                Some(parts) => drop(descriptions.insert(name, parts)),
                None => tracing::debug!(gallery = gallery.gallery, watch = name, "a description is of another key"),
            }
        }
        Ok(descriptions)
    }

    fn opened(&self, gallery: &str, name: &str, kept: Kept) -> Option<Vec<WatchPart>> {
        match (kept.words, &self.policy) {
            (Words::Clear(parts), _) => Some(parts),
            (Words::Sealed(content), Policy::Sealed(key)) => {
                unseal(key, &place(gallery, name, kept.created_at_ms), &content)
            }
            (Words::Sealed(_), Policy::Clear | Policy::Nothing) => None,
        }
    }

    /// Brings what is kept already to what the settings say by now: seals what lies open, or forgets it. Once; until
    /// `shutdown`.
    pub(crate) async fn enforce(self, store: Arc<dyn VectorStore>, shutdown: CancellationToken) {
        let enforcing = async {
            while let Err(error) = self.enforce_once(&*store).await {
                tracing::warn!(%error, "descriptions of watches are not all kept as the settings say; it is tried again");
                tokio::time::sleep(ENFORCING_PAUSE).await;
            }
        };
        tokio::select! {
            () = enforcing => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn enforce_once(&self, store: &dyn VectorStore) -> Result<(), SearchError> {
        if matches!(self.policy, Policy::Clear) {
            return Ok(());
        }
        for gallery in store.galleries().await? {
            for (name, text) in documents(store, &gallery).await? {
                let kept = serde_json::from_str::<Kept>(&text).ok();
                let text = match (kept, &self.policy) {
                    (Some(Kept { words: Words::Sealed(_), .. }), Policy::Sealed(_)) => continue,
                    (Some(Kept { created_at_ms, words: Words::Clear(parts) }), Policy::Sealed(_)) => {
                        self.kept(&gallery.gallery, &name, created_at_ms, parts)?
                    }
                    // What nobody can read, and what is not to be kept.
                    (None, _) | (_, Policy::Nothing | Policy::Clear) => None,
                };
                Self::put(store, &gallery, &name, text).await?;
            }
        }
        Ok(())
    }
}

/// The descriptions of a gallery as they lie in the store, by watch.
async fn documents(store: &dyn VectorStore, gallery: &Generation) -> Result<Vec<(String, String)>, SearchError> {
    let documents = store.documents(gallery).await?.into_iter();
    Ok(documents.filter_map(|(key, text)| Some((key.strip_prefix(KEY_PREFIX)?.to_owned(), text))).collect())
}

/// A sealed description opens only where it was written.
fn place(gallery: &str, name: &str, created_at_ms: i64) -> String {
    format!("{gallery}/{name}/{created_at_ms}")
}

fn seal(key: &LessSafeKey, place: &str, parts: &[WatchPart]) -> Result<String, SearchError> {
    const SEALING: &str = "sealing a watch's description";
    let mut content = serde_json::to_vec(parts).map_err(|error| SearchError::failed(SEALING, error))?;
    let mut nonce = [0; NONCE_LEN];
    // ring says of no failure what it was.
    let failed = |_| SearchError::failed(SEALING, std::io::Error::other("the cipher or the random numbers failed"));
    SystemRandom::new().fill(&mut nonce).map_err(failed)?;
    let unique = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(unique, Aad::from(place), &mut content).map_err(failed)?;
    Ok(digits(&nonce) + &digits(&content))
}

fn unseal(key: &LessSafeKey, place: &str, content: &str) -> Option<Vec<WatchPart>> {
    let bytes = from_digits(content.as_bytes())?;
    let (nonce, content) = bytes.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut content = content.to_vec();
    let opened = key.open_in_place(nonce, Aad::from(place), &mut content).ok()?;
    serde_json::from_slice(opened).ok()
}

fn read_key(path: &Path) -> Result<LessSafeKey, SearchError> {
    const FIELD: &str = "watches.description_key_file";
    if path.as_os_str().is_empty() {
        let reason = format!("watches.descriptions is `sealed`, which needs a key; {}", key_file::EXPECTED);
        return Err(invalid(FIELD, reason));
    }
    let bytes = key_file::read_key(FIELD, path)?;
    let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes).ok();
    key.map(LessSafeKey::new)
        .ok_or_else(|| invalid(FIELD, format!("the cipher refuses the key; {}", key_file::EXPECTED)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_file(content: &str) -> (tempfile::TempDir, Result<LessSafeKey, SearchError>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, content).unwrap();
        let key = read_key(&path);
        (folder, key)
    }

    #[test]
    fn what_is_sealed_opens_with_its_key_in_its_place_alone() {
        let parts = vec![WatchPart { what: WatchedThing::Text("a man in red".to_owned()), weight: 1.0 }];
        let (_folder, key) = key_file(&format!("{}\n", "0f".repeat(32)));
        let key = key.unwrap();
        let content = seal(&key, &place("lobby", "red", 5), &parts).unwrap();
        assert!(!from_digits(content.as_bytes()).unwrap().windows(3).any(|bytes| bytes == b"man"));
        assert_eq!(unseal(&key, &place("lobby", "red", 5), &content), Some(parts));
        for other in [place("yard", "red", 5), place("lobby", "blue", 5), place("lobby", "red", 6)] {
            assert_eq!(unseal(&key, &other, &content), None, "{other}");
        }
        assert_eq!(unseal(&key, &place("lobby", "red", 5), &content[..20]), None);
        let (_folder, other) = key_file(&"f0".repeat(32));
        assert_eq!(unseal(&other.unwrap(), &place("lobby", "red", 5), &content), None);
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_repeated() {
        for wrong in ["", "secret", &"0f".repeat(31), &"0g".repeat(32), &"0f".repeat(33)] {
            let (_folder, key) = key_file(wrong);
            let message = key.unwrap_err().to_string();
            assert!(message.contains("description_key_file") && message.contains("64 hexadecimal"), "{message}");
            assert!(wrong.is_empty() || !message.contains(wrong), "{message}");
        }
        assert!(read_key(Path::new("")).unwrap_err().to_string().contains("needs a key"));
    }
}
