//! What is kept of the words of a query: they tell what somebody thinks a person looks like.

use crate::AuditError;
use crate::key_file::{KEY_BYTES, SECRET_EXPECTED, read_key};
use crate::line::hex;
use crate::record::{Asked, MAX_QUERY_BYTES, QueryPart, Record, cut_text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem, OpModeR, OpModeS, Serializable as _};
use ring::hmac;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// What is kept of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeptWords {
    /// The words.
    Clear,
    /// The words, to be opened with a private key that no service has (HPKE, RFC 9180: X25519, HKDF-SHA256,
    /// ChaCha20-Poly1305).
    Sealed,
    /// HMAC-SHA256 of the words: whoever has the key can tell whether certain words were asked for, and nothing else.
    Hashed,
}

/// Keeps words as the settings say.
#[derive(Clone)]
pub struct Words {
    policy: Policy,
}

#[derive(Clone)]
enum Policy {
    Clear,
    Sealed(Box<PublicKey>),
    Hashed(hmac::Key),
}

type PublicKey = <X25519HkdfSha256 as Kem>::PublicKey;
type PrivateKey = <X25519HkdfSha256 as Kem>::PrivateKey;

/// Binds what is sealed to its use.
const SEALED_FOR: &[u8] = b"descry audit query 1";

const SETTING: &str = "query_key_file";

impl Words {
    /// The key file holds 64 hexadecimal digits: the public key for words that are sealed, a secret for those that are hashed.
    ///
    /// # Errors
    /// [`AuditError::Setting`] where there is no key, or it is none.
    pub fn open(kept: KeptWords, key_file: &Path) -> Result<Self, AuditError> {
        let policy = match kept {
            KeptWords::Clear => Policy::Clear,
            KeptWords::Sealed => {
                let expected = "expected the file of a public key, as `descry audit key` prints it";
                let key = PublicKey::from_bytes(&read_key(SETTING, key_file, expected)?);
                let refused = |_| AuditError::setting(SETTING, expected);
                Policy::Sealed(Box::new(key.map_err(refused)?))
            }
            KeptWords::Hashed => {
                let secret = read_key(SETTING, key_file, SECRET_EXPECTED)?;
                Policy::Hashed(hmac::Key::new(hmac::HMAC_SHA256, &secret))
            }
        };
        Ok(Self { policy })
    }

    /// Adds words to what a record says was looked for.
    ///
    /// # Errors
    /// [`AuditError::Unwritable`] where they cannot be sealed.
    pub fn add(&self, record: &mut Record, mut text: String, weight: f32) -> Result<(), AuditError> {
        if cut_text(&mut text, MAX_QUERY_BYTES) && !record.cut.iter().any(|name| name == "query") {
            record.cut.push("query".to_owned());
        }
        let asked = match &self.policy {
            Policy::Clear => Asked::Text(text),
            Policy::Sealed(key) => Asked::SealedText(seal(key, text.as_bytes())?),
            Policy::Hashed(key) => Asked::HashedText(hex(hmac::sign(key, text.as_bytes()).as_ref())),
        };
        record.query.push(QueryPart { asked, weight });
        Ok(())
    }
}

/// The encapsulated key and the ciphertext, in base64.
fn seal(key: &PublicKey, words: &[u8]) -> Result<String, AuditError> {
    let sealed = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        key,
        SEALED_FOR,
        words,
        &[],
    );
    let (encapsulated, ciphertext) =
        sealed.map_err(|error| AuditError::Unwritable { reason: format!("words cannot be sealed: {error}") })?;
    Ok(STANDARD.encode([&encapsulated.to_bytes()[..], &ciphertext].concat()))
}

/// Opens sealed words.
pub struct Opener {
    key: PrivateKey,
}

impl Opener {
    /// Reads a private key that [`KeyPair::write`] wrote.
    ///
    /// # Errors
    /// [`AuditError::Setting`] where there is none.
    pub fn read(file: &Path) -> Result<Self, AuditError> {
        let expected = "expected the file of a private key, as `descry audit key` writes it";
        let key = PrivateKey::from_bytes(&read_key(SETTING, file, expected)?);
        key.map(|key| Self { key }).map_err(|_| AuditError::setting(SETTING, expected))
    }

    /// The words.
    ///
    /// # Errors
    /// [`AuditError::OtherKey`] where they were sealed to another key, or changed since.
    pub fn open(&self, sealed: &str) -> Result<String, AuditError> {
        let opened = || {
            let bytes = STANDARD.decode(sealed).ok()?;
            let (encapsulated, ciphertext) = bytes.split_at_checked(KEY_BYTES)?;
            let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated).ok()?;
            let words = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
                &OpModeR::Base,
                &self.key,
                &encapsulated,
                SEALED_FOR,
                ciphertext,
                &[],
            );
            String::from_utf8(words.ok()?).ok()
        };
        opened().ok_or(AuditError::OtherKey)
    }

    /// Opens the words of a record. Those of another key stay sealed.
    pub fn open_words(&self, record: &mut Record) {
        for part in &mut record.query {
            if let Asked::SealedText(sealed) = &part.asked
                && let Ok(text) = self.open(sealed)
            {
                part.asked = Asked::Text(text);
            }
        }
    }
}

/// A key for sealing and one for opening.
pub struct KeyPair {
    private: PrivateKey,
    public: PublicKey,
}

impl KeyPair {
    /// A new one.
    #[must_use]
    pub fn generate() -> Self {
        let (private, public) = X25519HkdfSha256::gen_keypair();
        Self { private, public }
    }

    /// The public key in hexadecimal digits.
    #[must_use]
    pub fn public_digits(&self) -> String {
        hex(&self.public.to_bytes())
    }

    /// Writes the private key to a new file that its owner alone can read.
    ///
    /// # Errors
    /// [`AuditError::File`], also where the file is there already.
    pub fn write(&self, file: &Path) -> Result<(), AuditError> {
        let written = || {
            let mut new = OpenOptions::new().create_new(true).write(true).mode(crate::disk::FILE_MODE).open(file)?;
            writeln!(new, "{}", hex(&self.private.to_bytes()))?;
            new.sync_all()
        };
        written().map_err(AuditError::file(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use std::path::PathBuf;

    fn asked(words: &Words, text: &str) -> Asked {
        let mut record = Record::new(Kind::Request);
        words.add(&mut record, text.to_owned(), 1.0).unwrap();
        record.query.remove(0).asked
    }

    fn file(folder: &Path, name: &str, content: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn sealed_words_open_with_their_key_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (pair, other) = (KeyPair::generate(), KeyPair::generate());
        let public = file(folder.path(), "public", &format!("{}\n", pair.public_digits()));
        let words = Words::open(KeptWords::Sealed, &public).unwrap();
        let text = "a man in a red coat";
        let Asked::SealedText(sealed) = asked(&words, text) else { panic!() };
        assert_ne!(asked(&words, text), Asked::SealedText(sealed.clone()), "equal words are not seen to be equal");
        let opener = |pair: &KeyPair, name: &str| {
            let path = folder.path().join(name);
            pair.write(&path).unwrap();
            pair.write(&path).unwrap_err();
            Opener::read(&path).unwrap()
        };
        assert_eq!(opener(&pair, "private").open(&sealed).unwrap(), text);
        let other = opener(&other, "other");
        for wrong in [sealed.as_str(), "", "AAAA", "no base64!"] {
            assert!(matches!(other.open(wrong), Err(AuditError::OtherKey)), "{wrong}");
        }
    }

    #[test]
    fn hashed_words_are_equal_under_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let hashing = |name: &str, digits: &str| {
            Words::open(KeptWords::Hashed, &file(folder.path(), name, &digits.repeat(32))).unwrap()
        };
        let (first, second) = (hashing("a", "0f"), hashing("b", "f0"));
        assert_eq!(asked(&first, "a man"), asked(&first, "a man"));
        assert_ne!(asked(&first, "a man"), asked(&first, "a woman"));
        assert_ne!(asked(&first, "a man"), asked(&second, "a man"));
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        for wrong in ["", "secret", &"0f".repeat(31), &"0g".repeat(32)] {
            let path = file(folder.path(), "key", wrong);
            for kept in [KeptWords::Sealed, KeptWords::Hashed] {
                let message = Words::open(kept, &path).err().unwrap().to_string();
                assert!(message.contains("audit.query_key_file"), "{message}");
                assert!(wrong.is_empty() || !message.contains(wrong), "{message}");
            }
        }
        assert!(Words::open(KeptWords::Hashed, Path::new("")).is_err());
    }

    #[test]
    fn long_words_are_cut_and_said_to_be() {
        let words = Words::open(KeptWords::Clear, Path::new("")).unwrap();
        let mut record = Record::new(Kind::Request);
        for _ in 0..2 {
            words.add(&mut record, "é".repeat(MAX_QUERY_BYTES), 1.0).unwrap();
        }
        assert_eq!(record.cut, ["query"]);
        assert_eq!(record.query[0].asked, Asked::Text("é".repeat(MAX_QUERY_BYTES / 2)));
    }
}
