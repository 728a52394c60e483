//! A short stand-in for an image id, so that millions of them fit into memory.

use sha2::{Digest as _, Sha256};

/// The first 128 bits of the id's SHA-256.
///
/// Two of a billion ids share them with a probability of 10^-21, far below that of a memory error, and nobody gains from
/// searching for such a pair: all it does is leave one of the searcher's own images out.
pub(crate) fn id_digest(image_id: &str) -> u128 {
    let digest = Sha256::digest(image_id.as_bytes());
    digest.iter().take(16).fold(0, |bits, &byte| (bits << 8) | u128::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_front_of_sha256() {
        assert_eq!(id_digest("abc"), 0xba78_16bf_8f01_cfea_4141_40de_5dae_2223);
    }
}
