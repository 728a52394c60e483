//! What watches look for, in the words of those who made them.
//!
//! A watch works without: it keeps the embedding of its description. The words are kept for people, who must be able to
//! see what is being looked for, as clear or as closed as the operator decides.

use super::Watch;
use crate::SearchError;
use crate::config::{KeptDescriptions, WatchConfig};
use crate::retrieval::{Part, PartKind};
use crate::validation::invalid;
use descry_store::{Generation, VectorStore};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

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
#[serde(rename_all = "snake_case")]
enum Kept {
    Clear(Vec<WatchPart>),
    Sealed { nonce: [u8; NONCE_LEN], content: Vec<u8> },
}

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

    /// Keeps what a watch looks for, in the place of what an earlier one of its name looked for.
    pub(crate) async fn put(
        &self,
        store: &dyn VectorStore,
        gallery: &Generation,
        name: &str,
        parts: &[WatchPart],
    ) -> Result<(), SearchError> {
        let kept = match &self.policy {
            Policy::Clear => Some(Kept::Clear(parts.to_vec())),
            Policy::Sealed(key) => Some(seal(key, &gallery.gallery, name, parts)?),
            Policy::Nothing => None,
        };
        let text = kept.map(|kept| serde_json::to_string(&kept)).transpose();
        let text = text.map_err(|error| SearchError::failed("writing a watch's description", error))?;
        Ok(store.put_document(gallery, &format!("{KEY_PREFIX}{name}"), text).await?)
    }

    /// Forgets what a watch looked for.
    pub(crate) async fn delete(
        &self,
        store: &dyn VectorStore,
        gallery: &Generation,
        name: &str,
    ) -> Result<(), SearchError> {
        Ok(store.put_document(gallery, &format!("{KEY_PREFIX}{name}"), None).await?)
    }

    /// What some watches look for, by name. Descriptions that were sealed with a key that is not ours are left out.
    pub(crate) async fn of(
        &self,
        store: &dyn VectorStore,
        gallery: &Generation,
        watches: &BTreeMap<String, Watch>,
    ) -> Result<BTreeMap<String, Vec<WatchPart>>, SearchError> {
        let mut descriptions = BTreeMap::new();
        for (key, text) in store.documents(gallery).await? {
            let Some(name) = key.strip_prefix(KEY_PREFIX).filter(|name| watches.contains_key(*name)) else { continue };
            let parts = match (serde_json::from_str(&text), &self.policy) {
                (Ok(Kept::Clear(parts)), _) => Some(parts),
                (Ok(Kept::Sealed { nonce, content }), Policy::Sealed(key)) => {
                    unseal(key, &gallery.gallery, name, nonce, content)
                }
                (Ok(Kept::Sealed { .. }), Policy::Clear | Policy::Nothing) | (Err(_), _) => None,
            };
            match parts {
                Some(parts) => drop(descriptions.insert(name.to_owned(), parts)),
                None => tracing::warn!(
                    gallery = gallery.gallery,
                    watch = name,
                    "what a watch looks for cannot be read; watches.description_key_file must name the key it was \
                     sealed with"
                ),
            }
        }
        Ok(descriptions)
    }
}

/// A sealed description opens only where it was written.
fn place(gallery: &str, name: &str) -> Aad<String> {
    Aad::from(format!("{gallery}/{name}"))
}

fn seal(key: &LessSafeKey, gallery: &str, name: &str, parts: &[WatchPart]) -> Result<Kept, SearchError> {
    const SEALING: &str = "sealing a watch's description";
    let mut content = serde_json::to_vec(parts).map_err(|error| SearchError::failed(SEALING, error))?;
    let mut nonce = [0; NONCE_LEN];
    // ring says of no failure what it was.
    let failed = |_| SearchError::failed(SEALING, std::io::Error::other("the cipher or the random numbers failed"));
    SystemRandom::new().fill(&mut nonce).map_err(failed)?;
    let unique = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(unique, place(gallery, name), &mut content).map_err(failed)?;
    Ok(Kept::Sealed { nonce, content })
}

fn unseal(
    key: &LessSafeKey,
    gallery: &str,
    name: &str,
    nonce: [u8; NONCE_LEN],
    mut content: Vec<u8>,
) -> Option<Vec<WatchPart>> {
    let nonce = Nonce::assume_unique_for_key(nonce);
    let opened = key.open_in_place(nonce, place(gallery, name), &mut content).ok()?;
    serde_json::from_slice(opened).ok()
}

/// Reads 64 hexadecimal digits, with or without an end of the line.
fn read_key(path: &Path) -> Result<LessSafeKey, SearchError> {
    const FIELD: &str = "watches.description_key_file";
    const LONGEST: u64 = 1_024;
    let expected = "expected a file with 64 hexadecimal digits, as `openssl rand -hex 32` writes them";
    if path.as_os_str().is_empty() {
        return Err(invalid(FIELD, format!("watches.descriptions is `sealed`, which needs a key; {expected}")));
    }
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    read.map_err(|error| invalid(FIELD, format!("cannot read {}: {error}; {expected}", path.display())))?;
    let digits = text.trim().as_bytes();
    let nibbles: Option<Vec<u8>> =
        digits.iter().map(|&digit| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())).collect();
    let bytes: Vec<u8> = nibbles.unwrap_or_default().chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    // The file's content is a secret, whatever it is.
    let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes).ok().filter(|_| digits.len() == 64);
    let refused = || invalid(FIELD, format!("{} holds no key; {expected}", path.display()));
    key.map(LessSafeKey::new).ok_or_else(refused)
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
        let Kept::Sealed { nonce, content } = seal(&key, "lobby", "red", &parts).unwrap() else {
            panic!("it is not sealed")
        };
        assert!(!String::from_utf8_lossy(&content).contains("man"));
        assert_eq!(unseal(&key, "lobby", "red", nonce, content.clone()), Some(parts));
        assert_eq!(unseal(&key, "yard", "red", nonce, content.clone()), None);
        assert_eq!(unseal(&key, "lobby", "blue", nonce, content.clone()), None);
        let (_folder, other) = key_file(&"f0".repeat(32));
        assert_eq!(unseal(&other.unwrap(), "lobby", "red", nonce, content), None);
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
