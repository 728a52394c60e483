//! What a client's certificate says of who calls.

use super::certificate::facts;
use rustls::pki_types::CertificateDer;
use std::fmt::Write as _;

/// A longer name is of no use to anybody.
const MAX_NAME_BYTES: usize = 1024;

/// A client's certificate that a trusted CA has signed, and whose key the client has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Whom it is for: its first URI (as SPIFFE uses them), else its first DNS name, else its subject's common name. Nothing for
    /// one without a name, or whose name is longer than 1,024 bytes or holds control characters.
    pub name: Option<String>,
    /// SHA-256 of the certificate in DER, which tells it from all others.
    pub sha256: [u8; 32],
}

impl ClientCertificate {
    /// From a certificate that was checked already.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Self {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, certificate).as_ref());
        Self { name: name(certificate).filter(|name| is_usable(name)), sha256 }
    }

    /// The checksum in hexadecimal digits, as `openssl x509 -fingerprint -sha256` shows it, without its colons.
    pub fn fingerprint(&self) -> String {
        self.sha256.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

fn name(certificate: &CertificateDer<'_>) -> Option<String> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    let uri = parsed.valid_uri_names().next();
    let alternative = uri.or_else(|| parsed.valid_dns_names().next()).map(str::to_owned);
    alternative.or_else(|| facts(certificate)?.common_name)
}

fn is_usable(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn named(common: &str, alternatives: Vec<SanType>) -> ClientCertificate {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common);
        params.subject_alt_names = alternatives;
        ClientCertificate::of(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
    }

    #[test]
    fn a_uri_goes_before_a_dns_name_and_that_before_the_common_name() {
        let dns = || SanType::DnsName("gate.example".try_into().unwrap());
        let uri = SanType::URI("spiffe://example/gate".try_into().unwrap());
        assert_eq!(named("gate", vec![dns(), uri]).name.as_deref(), Some("spiffe://example/gate"));
        assert_eq!(named("gate", vec![dns()]).name.as_deref(), Some("gate.example"));
        assert_eq!(named("gate", vec![]).name.as_deref(), Some("gate"));
    }

    #[test]
    fn a_name_that_would_forge_a_line_of_a_log_is_none() {
        assert_eq!(named("gate\nadmin", vec![]).name, None);
        assert_eq!(named(&"g".repeat(MAX_NAME_BYTES + 1), vec![]).name, None);
        let nameless = named("", vec![]);
        assert_eq!((nameless.name.as_deref(), nameless.fingerprint().len()), (None, 64));
    }
}
