//! What a program proves with who it is: a secret that is sent with each call.

use crate::TrustError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::fmt;
use std::str::FromStr;
use subtle::ConstantTimeEq as _;

const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;

/// A token: an id, which may be known, and 256 random bits, which must not. As text `descry_ID_SECRET`.
///
/// A secret of so many random bits cannot be guessed from its hash, however fast that is: slow hashes are for passwords.
#[derive(Clone)]
pub struct Token {
    id: String,
    secret: [u8; SECRET_BYTES],
}

/// SHA-256 of a token's secret.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl Token {
    /// What every token begins with, so that people and programs that look for leaked secrets know one.
    pub const PREFIX: &'static str = "descry_";

    /// A new one, that nobody else has.
    ///
    /// # Errors
    /// [`TrustError::NoRandomness`] when the system gives none.
    pub fn generate() -> Result<Self, TrustError> {
        let random = SystemRandom::new();
        let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
        random.fill(&mut id).and_then(|()| random.fill(&mut secret)).map_err(|_| TrustError::NoRandomness)?;
        Ok(Self { id: hexadecimal(&id), secret })
    }

    /// What the token is called where its secret must not be: in its file, in logs. 12 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is kept of it.
    pub fn hash(&self) -> TokenHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &self.secret).as_ref());
        TokenHash(hash)
    }

    /// The token as it is sent, with its secret.
    pub fn reveal(&self) -> String {
        format!("{}{}_{}", Self::PREFIX, self.id, URL_SAFE_NO_PAD.encode(self.secret))
    }
}

impl FromStr for Token {
    type Err = TrustError;

    /// The error says nothing of the text: it may be a secret with one letter too many.
    fn from_str(text: &str) -> Result<Self, TrustError> {
        let (id, secret) =
            text.strip_prefix(Self::PREFIX).and_then(|rest| rest.split_once('_')).ok_or(TrustError::MalformedToken)?;
        if !is_id(id) {
            return Err(TrustError::MalformedToken);
        }
        let mut bytes = [0; SECRET_BYTES];
        match URL_SAFE_NO_PAD.decode_slice(secret, &mut bytes) {
            Ok(SECRET_BYTES) => Ok(Self { id: id.to_owned(), secret: bytes }),
            Ok(_) | Err(_) => Err(TrustError::MalformedToken),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Token({})", self.id)
    }
}

impl TokenHash {
    /// Whether both are of one secret. Takes the same time wherever they differ.
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenHash")
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hexadecimal(&self.0))
    }
}

impl FromStr for TokenHash {
    type Err = TrustError;

    fn from_str(text: &str) -> Result<Self, TrustError> {
        let mut hash = [0; 32];
        let digits = text.as_bytes();
        if digits.len() != 2 * hash.len() {
            return Err(TrustError::MalformedHash);
        }
        for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).ok().filter(|pair| !pair.starts_with('+'));
            *byte = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).ok_or(TrustError::MalformedHash)?;
        }
        Ok(Self(hash))
    }
}

/// Whether it may be the id of a token.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 2 * ID_BYTES && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        use fmt::Write as _;
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let token = Token::generate().unwrap();
        let text = token.reveal();
        assert!(text.len() == 63 && text.starts_with("descry_"), "{}", text.len());
        let read: Token = text.parse().unwrap();
        assert_eq!(read.id(), token.id());
        assert!(read.hash().is_same(&token.hash()));
        assert!(token.hash().to_string().parse::<TokenHash>().unwrap().is_same(&token.hash()));
        assert!(!Token::generate().unwrap().hash().is_same(&token.hash()));
    }

    #[test]
    fn the_secret_shows_nowhere_but_where_it_is_asked_for() {
        let token = Token::generate().unwrap();
        let text = token.reveal();
        let (_, secret) = text.rsplit_once(&format!("{}_", token.id())).unwrap();
        let shown = format!("{token:?} {token:#?} {:?}", token.hash());
        assert!(!shown.contains(secret) && !shown.contains(&token.hash().to_string()), "{shown}");
        let cut = &text[..text.len() - 1];
        let error = cut.parse::<Token>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&secret[..8]), "{error}");
    }

    proptest! {
        #[test]
        fn nothing_else_is_a_token(text in "(descry_)?[0-9a-f]{0,13}_?[A-Za-z0-9_=-]{0,50}") {
            if let Ok(token) = text.parse::<Token>() {
                prop_assert_eq!(token.reveal(), text);
            }
        }
    }
}
