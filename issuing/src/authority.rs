//! A CA, and what it signs.

use crate::IssuingError;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// Certificates are valid from a little earlier: clocks differ.
const CLOCK_DIFFERENCE: Duration = Duration::from_secs(300);

const SECONDS_PER_DAY: u64 = 86_400;
/// As RFC 5280 bounds a common name.
const MAX_NAME_LETTERS: usize = 64;

/// From when until when a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// From this moment on.
    pub from: SystemTime,
    /// Until this moment.
    pub until: SystemTime,
}

impl Validity {
    /// From now on, for so many days.
    pub fn days(days: u32) -> Self {
        let now = SystemTime::now();
        Self { from: now - CLOCK_DIFFERENCE, until: now + Duration::from_secs(u64::from(days) * SECONDS_PER_DAY) }
    }
}

/// Whom a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A server, by the names and addresses under which it is met. It may show the certificate to other servers too.
    Server {
        /// DNS names.
        names: Vec<String>,
        /// IP addresses.
        addresses: Vec<IpAddr>,
    },
    /// A client: a common name such as `alice`, or a URI such as `spiffe://example/search`.
    Client {
        /// The name.
        name: String,
    },
}

/// A certificate and its private key, each as the text of a PEM file.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The key, in PKCS #8.
    pub key: String,
}

/// A CA with its key.
pub struct Authority {
    key: KeyPair,
    subject: DistinguishedName,
    name: String,
}

impl Authority {
    /// A new one, with its certificate.
    ///
    /// # Errors
    /// [`IssuingError::Library`] when the system has no random numbers.
    pub fn generate(validity: Validity) -> Result<(Self, Issued), IssuingError> {
        let authority = Self::of_key(KeyPair::generate()?);
        let certificate = authority.parameters(validity).self_signed(&authority.key)?.pem();
        let key = authority.key.serialize_pem();
        Ok((authority, Issued { certificate, key }))
    }

    /// The one that has this key, in PEM.
    ///
    /// # Errors
    /// [`IssuingError::Library`] for what is no key.
    pub fn from_key(pem: &str) -> Result<Self, IssuingError> {
        Ok(Self::of_key(KeyPair::from_pem(pem)?))
    }

    /// Its name follows from its key, so that it is the same whenever it is read.
    fn of_key(key: KeyPair) -> Self {
        let sum = ring::digest::digest(&ring::digest::SHA256, key.public_key_raw());
        let name = sum.as_ref().iter().take(4).fold("Descry CA ".to_owned(), |mut name, byte| {
            // Writing to a string does not fail.
            let _ = write!(name, "{byte:02x}");
            name
        });
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, name.as_str());
        Self { key, subject, name }
    }

    /// Whether a certificate, in DER, is this CA's own.
    pub fn is_of(&self, certificate: &[u8]) -> bool {
        let contains = |part: &[u8]| certificate.windows(part.len()).any(|window| window == part);
        contains(self.key.public_key_raw()) && contains(self.name.as_bytes())
    }

    fn parameters(&self, validity: Validity) -> CertificateParams {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = self.subject.clone();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (parameters.not_before, parameters.not_after) = (validity.from.into(), validity.until.into());
        parameters
    }

    /// Signs a certificate for a new key.
    ///
    /// # Errors
    /// [`IssuingError::Name`] for a name that cannot stand in one.
    pub fn issue(&self, subject: &Subject, validity: Validity) -> Result<Issued, IssuingError> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        let common_name = match subject {
            Subject::Server { names, addresses } => {
                parameters.subject_alt_names = alternative_names(names, addresses)?;
                // A search service shows its own certificate to its encoders.
                parameters.extended_key_usages =
                    vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
                let first = names.first().cloned();
                first.or_else(|| addresses.first().map(ToString::to_string)).unwrap_or_default()
            }
            Subject::Client { name } => {
                check_name(name)?;
                if name.contains("://") {
                    parameters.subject_alt_names = vec![SanType::URI(ascii(name)?)];
                }
                parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
                name.clone()
            }
        };
        // A longer one is among the alternative names, which are what counts.
        if common_name.chars().count() <= MAX_NAME_LETTERS {
            parameters.distinguished_name.push(DnType::CommonName, common_name);
        }
        parameters.use_authority_key_identifier_extension = true;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        (parameters.not_before, parameters.not_after) = (validity.from.into(), validity.until.into());
        let key = KeyPair::generate()?;
        let issuer = self.parameters(validity);
        let certificate = parameters.signed_by(&key, &Issuer::from_params(&issuer, &self.key))?.pem();
        Ok(Issued { certificate, key: key.serialize_pem() })
    }
}

fn alternative_names(names: &[String], addresses: &[IpAddr]) -> Result<Vec<SanType>, IssuingError> {
    let mut all = Vec::with_capacity(names.len() + addresses.len());
    for name in names {
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.' | '*');
        if name.is_empty() || name.len() > 253 || !name.chars().all(is_letter) || name.parse::<IpAddr>().is_ok() {
            let reason = "give a DNS name such as search.example, and addresses with --address".to_owned();
            return Err(IssuingError::Name { name: name.clone(), reason });
        }
        all.push(SanType::DnsName(ascii(name)?));
    }
    all.extend(addresses.iter().copied().map(SanType::IpAddress));
    Ok(all)
}

fn check_name(name: &str) -> Result<(), IssuingError> {
    let wrong = |reason: &str| Err(IssuingError::Name { name: name.to_owned(), reason: reason.to_owned() });
    if name.is_empty() || name.chars().any(char::is_control) {
        return wrong("it must be a word or a URI");
    }
    if name.chars().count() > MAX_NAME_LETTERS && !name.contains("://") {
        return wrong("it has more than 64 letters");
    }
    Ok(())
}

fn ascii(name: &str) -> Result<rcgen::string::Ia5String, IssuingError> {
    name.try_into()
        .map_err(|error: rcgen::Error| IssuingError::Name { name: name.to_owned(), reason: error.to_string() })
}
