//! TLS on the side of the client.

use super::address::Address;
use super::connector::Connector;
use super::files::{PemFile, checksum};
use super::provider;
use super::server::Protocol;
use crate::TrustError;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The `tls` section of what is called.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientTlsSettings {
    /// The CAs that are believed, in a PEM file, and no others; empty for those that the system trusts.
    pub ca: PathBuf,
    /// The certificate to show, with those between it and its CA, in a PEM file; empty for none.
    pub certificate: PathBuf,
    /// Its private key, in a PEM file.
    pub key: PathBuf,
}

impl ClientTlsSettings {
    /// What makes the settings unusable, whatever the files hold.
    pub fn problem(&self) -> Option<&'static str> {
        let is_whole = self.certificate.as_os_str().is_empty() == self.key.as_os_str().is_empty();
        (!is_whole).then_some("certificate and key belong together: give both, or neither")
    }

    fn names_no_file(&self) -> bool {
        [&self.ca, &self.certificate, &self.key].iter().all(|path| path.as_os_str().is_empty())
    }
}

/// What errors tell people to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsHints {
    /// By which a CA is named, such as `--ca FILE`.
    pub ca: &'static str,
    /// By which a certificate is shown, such as `--certificate FILE --key FILE`.
    pub certificate: &'static str,
}

/// Whom a client believes, and what it shows. Clones share it.
#[derive(Clone)]
pub struct ClientTls(Arc<Shared>);

struct Shared {
    settings: ClientTlsSettings,
    hints: TlsHints,
    manner: Manner,
    loaded: Mutex<Loaded>,
}

/// How connections are made, whatever the files say.
#[derive(Clone, Copy)]
struct Manner {
    /// Whether any server is believed.
    is_probe: bool,
    protocol: Protocol,
}

#[derive(Clone)]
struct Loaded {
    config: Arc<ClientConfig>,
    checksum: [u8; 32],
}

impl ClientTls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TrustError::Unreadable`], [`TrustError::Unusable`] naming the file; [`TrustError::NoAuthorities`] where no CA is named
    /// and the system trusts none.
    pub fn open(settings: &ClientTlsSettings, hints: TlsHints) -> Result<Self, TrustError> {
        Self::open_for(Protocol::Http2, settings, hints)
    }

    /// The same for another protocol than gRPC's.
    ///
    /// # Errors
    /// As [`ClientTls::open`].
    pub fn open_for(protocol: Protocol, settings: &ClientTlsSettings, hints: TlsHints) -> Result<Self, TrustError> {
        Self::load(settings.clone(), hints, Manner { is_probe: false, protocol })
    }

    /// For asking a service on this machine whether it lives: it shows `certificate` where that can be used, and believes any
    /// server. Nothing is told over it that others must not know.
    ///
    /// # Errors
    /// [`TrustError`] when the files cannot be used.
    pub fn of_probe(certificate: &Path, key: &Path) -> Result<Self, TrustError> {
        let own = ClientTlsSettings { ca: PathBuf::new(), certificate: certificate.to_owned(), key: key.to_owned() };
        Self::load(
            own,
            TlsHints { ca: "--ca FILE", certificate: "--certificate FILE --key FILE" },
            Manner { is_probe: true, protocol: Protocol::Http2 },
        )
    }

    fn load(settings: ClientTlsSettings, hints: TlsHints, manner: Manner) -> Result<Self, TrustError> {
        let loaded = load(&settings, manner, None)?;
        // Of the first reading everything is new.
        let loaded = loaded.ok_or(TrustError::NoAuthorities)?;
        Ok(Self(Arc::new(Shared { settings, hints, manner, loaded: Mutex::new(loaded) })))
    }

    /// Makes TLS connections for requests to `address`.
    ///
    /// # Errors
    /// [`TrustError::Address`] for a host that no certificate can name.
    pub fn connector(&self, address: &Address) -> Result<Connector, TrustError> {
        Connector::new(self.clone(), address)
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.0.manner.protocol
    }

    /// What errors tell people to set.
    pub fn hints(&self) -> TlsHints {
        self.0.hints
    }

    /// What a connection is made with now. The files are read for each: connections are few, and live long.
    pub(super) async fn current(&self) -> Arc<ClientConfig> {
        let shared = Arc::clone(&self.0);
        let of_now = || self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if shared.settings.names_no_file() {
            return of_now().config;
        }
        let known = of_now().checksum;
        let read = tokio::task::spawn_blocking(move || load(&shared.settings, shared.manner, Some(known))).await;
        match read {
            Ok(Ok(Some(new))) => {
                tracing::info!("certificates for calling others were read anew");
                *self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner) = new;
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "new certificates cannot be used; the old ones count on"),
            // A runtime that shuts down reads nothing more.
            Err(_) => {}
        }
        of_now().config
    }
}

/// What the files say; nothing where that is known already.
fn load(settings: &ClientTlsSettings, manner: Manner, known: Option<[u8; 32]>) -> Result<Option<Loaded>, TrustError> {
    let ca = PemFile::read_if_named(&settings.ca)?;
    let certificate = PemFile::read_if_named(&settings.certificate)?;
    let key = PemFile::read_if_named(&settings.key)?;
    let checksum = checksum([ca.as_ref(), certificate.as_ref(), key.as_ref()]);
    if known == Some(checksum) {
        return Ok(None);
    }
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = if manner.is_probe {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
    } else {
        builder.with_root_certificates(match ca {
            Some(file) => file.authorities()?,
            None => authorities_of_the_system()?,
        })
    };
    let mut config = match (certificate, key) {
        (Some(certificate), Some(key)) => {
            if known.is_none() {
                key.warn_if_everybody_reads_it();
            }
            let chain = certificate.certificates()?;
            let shown = settings.certificate.display();
            builder
                .with_client_auth_cert(chain, key.key()?)
                .map_err(|error| key.unusable(format!("with {shown}: {error}")))?
        }
        (None, _) | (_, None) => builder.with_no_client_auth(),
    };
    config.alpn_protocols = match manner.protocol {
        Protocol::Http2 => vec![b"h2".to_vec()],
        Protocol::Http1 => vec![b"http/1.1".to_vec()],
    };
    Ok(Some(Loaded { config: Arc::new(config), checksum }))
}

fn authorities_of_the_system() -> Result<RootCertStore, TrustError> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "some of the CAs that the system trusts cannot be read");
    }
    let mut authorities = RootCertStore::empty();
    authorities.add_parsable_certificates(found.certs);
    if authorities.is_empty() { Err(TrustError::NoAuthorities) } else { Ok(authorities) }
}

/// Believes that whoever has the key of the certificate that is shown is who was meant.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
