//! Signatures are checked by ring, which TLS uses as well. Nothing is signed here.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{Error as SignatureError, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: verifier,
    // Only what makes keys needs these.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Has signatures checked here from now on.
pub(super) fn install() {
    // It was done before, or by somebody else who wants signatures to be checked.
    let _ = PROVIDER.install_default();
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(RingVerifier { algorithm: *algorithm, key: key.clone() }))
}

struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        let rsa = |parameters| rsa(self.key.kind(), parameters, message, signature);
        let other = |algorithm| other(self.key.kind(), algorithm, message, signature);
        match self.algorithm {
            Algorithm::RS256 => rsa(&RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => rsa(&RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => rsa(&RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => rsa(&RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => rsa(&RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => rsa(&RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => other(&ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => other(&ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDSA => other(&ED25519),
            // Secrets that both sides have: whoever could check such a token could make one.
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => Err(SignatureError::new()),
            // What a later release of the library may know.
            _ => Err(SignatureError::new()),
        }
    }
}

fn rsa(
    key: &DecodingKeyKind,
    parameters: &RsaParameters,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    let DecodingKeyKind::RsaModulusExponent { n, e } = key else { return Err(SignatureError::new()) };
    RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).map_err(|_| SignatureError::new())
}

fn other(
    key: &DecodingKeyKind,
    algorithm: &'static dyn VerificationAlgorithm,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    let DecodingKeyKind::SecretOrDer(key) = key else { return Err(SignatureError::new()) };
    UnparsedPublicKey::new(algorithm, key).verify(message, signature).map_err(|_| SignatureError::new())
}
