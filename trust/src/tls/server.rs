//! TLS on the side of the server.

use super::client_certificate::ClientCertificate;
use super::files::{PemFile, checksum, first_expiry};
use super::plain_client::{let_hear, turn_away};
use super::provider;
use crate::TrustError;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// The first byte of what a client that speaks TLS sends: the type of a handshake's record.
const HANDSHAKE: u8 = 0x16;

/// A certificate that expires sooner is spoken of in the log, once a day.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 86_400);
const REMINDER: Duration = Duration::from_secs(86_400);

/// The `tls` section of a listener's settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerTlsSettings {
    /// The server's certificate and those between it and its CA, in one PEM file; empty to speak no TLS.
    pub certificate: PathBuf,
    /// Its private key, in a PEM file.
    pub key: PathBuf,
    /// The CAs of clients' certificates, in a PEM file; empty to ask nobody for one.
    pub client_ca: PathBuf,
    /// Whether a client needs a certificate, where `client_ca` is set.
    pub client_certificates: ClientCertificates,
    /// Milliseconds after which the files are looked at again; 0 for never.
    pub reload_interval_ms: u64,
    /// Longest time for a handshake, in milliseconds.
    pub handshake_timeout_ms: u64,
}

/// What a server asks of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// Nothing.
    None,
    /// A certificate that is shown must be good.
    Optional,
    /// Nobody gets in without a good certificate.
    Required,
}

/// What is spoken over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2 alone, as gRPC needs it.
    Http2,
    /// HTTP/1.1 alone.
    Http1,
}

impl Default for ServerTlsSettings {
    fn default() -> Self {
        Self {
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            client_ca: PathBuf::new(),
            client_certificates: ClientCertificates::Required,
            reload_interval_ms: 10_000,
            handshake_timeout_ms: 10_000,
        }
    }
}

impl ServerTlsSettings {
    /// Whether TLS is to be spoken.
    pub fn is_on(&self) -> bool {
        !self.certificate.as_os_str().is_empty()
    }

    /// What makes the settings unusable, whatever the files hold.
    pub fn problem(&self) -> Option<&'static str> {
        let has_key = !self.key.as_os_str().is_empty();
        if self.is_on() != has_key {
            return Some("certificate and key belong together: set both, or neither");
        }
        if !self.is_on() && !self.client_ca.as_os_str().is_empty() {
            return Some("client_ca asks for certificates, which only TLS carries: set certificate and key too");
        }
        (self.handshake_timeout_ms == 0).then_some("handshake_timeout_ms must be at least 1")
    }
}

/// The files as they were at one moment.
struct Files {
    certificate: PemFile,
    key: PemFile,
    client_ca: Option<PemFile>,
}

impl Files {
    fn read(settings: &ServerTlsSettings) -> Result<Self, TrustError> {
        let client_ca = match settings.client_certificates {
            ClientCertificates::None => None,
            ClientCertificates::Optional | ClientCertificates::Required => PemFile::read_if_named(&settings.client_ca)?,
        };
        Ok(Self { certificate: PemFile::read(&settings.certificate)?, key: PemFile::read(&settings.key)?, client_ca })
    }

    fn checksum(&self) -> [u8; 32] {
        checksum([Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()])
    }
}

/// What new connections are made with.
#[derive(Clone)]
struct Loaded {
    config: Arc<ServerConfig>,
    checksum: [u8; 32],
    /// Of the clients' CAs alone.
    authorities: [u8; 32],
    /// When the certificate expires, in seconds since 1970.
    expiry: Option<i64>,
    /// Cancelled when other CAs count.
    superseded: CancellationToken,
}

/// What is wrong with the files that are there now, and whether that was said.
#[derive(Default)]
struct Trouble {
    refusal: String,
    is_said: bool,
}

/// A server's certificate, and what it asks of its clients.
pub struct ServerTls {
    settings: ServerTlsSettings,
    protocol: Protocol,
    /// In metrics.
    listener: &'static str,
    current: RwLock<Loaded>,
}

/// A connection over which TLS is spoken.
pub struct Accepted {
    /// What is said over it, in the clear on this side.
    pub stream: TlsStream<TcpStream>,
    /// Who is on the other side, where they showed a certificate.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// Cancelled when the CAs of clients are others by now: what this client proved may no longer hold.
    pub superseded: CancellationToken,
}

impl ServerTls {
    /// Reads the files, where the settings say that TLS is to be spoken. `listener` is what metrics call it.
    ///
    /// # Errors
    /// [`TrustError::Unreadable`], [`TrustError::Unusable`] naming the file.
    pub fn open(
        settings: &ServerTlsSettings,
        protocol: Protocol,
        listener: &'static str,
    ) -> Result<Option<Arc<Self>>, TrustError> {
        if !settings.is_on() {
            return Ok(None);
        }
        let files = Files::read(settings)?;
        files.key.warn_if_everybody_reads_it();
        let loaded = load(settings, protocol, &files, CancellationToken::new())?;
        Ok(Some(Arc::new(Self { settings: settings.clone(), protocol, listener, current: RwLock::new(loaded) })))
    }

    /// Shakes hands, within the time that the settings give.
    ///
    /// # Errors
    /// [`TrustError::Handshake`] saying what the client did; one that speaks no TLS was told to.
    pub async fn accept(&self, stream: TcpStream) -> Result<Accepted, TrustError> {
        let limit = Duration::from_millis(self.settings.handshake_timeout_ms);
        let failed = |reason: String| TrustError::Handshake { address: "a client".to_owned(), reason };
        let shaking = async {
            let mut first = [0];
            stream.peek(&mut first).await.map_err(|error| failed(error.to_string()))?;
            if first[0] != HANDSHAKE {
                turn_away(stream).await;
                return Err(failed("it speaks no TLS".to_owned()));
            }
            let Loaded { config, superseded, .. } = self.current();
            let stream = match TlsAcceptor::from(config).accept(stream).into_fallible().await {
                Ok(stream) => stream,
                Err((error, refused)) => {
                    let_hear(refused).await;
                    return Err(failed(error.to_string()));
                }
            };
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let certificate = shown.map(|shown| Arc::new(ClientCertificate::of(shown)));
            Ok(Accepted { stream, certificate, superseded })
        };
        let ended = tokio::time::timeout(limit, shaking).await;
        ended.unwrap_or_else(|_elapsed| {
            Err(failed(format!("it did not end the handshake within {} ms", limit.as_millis())))
        })
    }

    fn current(&self) -> Loaded {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the files again and again, and uses what is new for new connections. What cannot be used is said in the log, and
    /// the old files count on. Never ends.
    pub async fn keep_fresh(&self) {
        let mut trouble = Trouble::default();
        let mut reminded_at: Option<Instant> = None;
        loop {
            self.tell_expiry(&mut reminded_at);
            match self.settings.reload_interval_ms {
                0 => tokio::time::sleep(REMINDER).await,
                interval_ms => {
                    tokio::time::sleep(Duration::from_millis(interval_ms)).await;
                    self.look(&mut trouble).await;
                }
            }
        }
    }

    async fn look(&self, trouble: &mut Trouble) {
        let settings = self.settings.clone();
        let read = tokio::task::spawn_blocking(move || Files::read(&settings)).await;
        // A runtime that shuts down reads nothing more.
        let Ok(read) = read else { return };
        let old = self.current();
        let loaded = match read {
            Ok(files) if files.checksum() == old.checksum => {
                *trouble = Trouble::default();
                return;
            }
            Ok(files) => load(&self.settings, self.protocol, &files, old.superseded.clone()),
            Err(error) => Err(error),
        };
        match loaded {
            Ok(mut new) => {
                let are_others = new.authorities != old.authorities;
                if are_others {
                    new.superseded = CancellationToken::new();
                }
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
                if are_others {
                    old.superseded.cancel();
                }
                *trouble = Trouble::default();
                let path = self.settings.certificate.display();
                tracing::info!(listener = self.listener, %path, clients_prove_anew = are_others, "certificates were read anew");
            }
            Err(error) => trouble.note(&error, self.listener),
        }
    }

    /// In metrics, and in the log when it is soon.
    fn tell_expiry(&self, reminded_at: &mut Option<Instant>) {
        let Some(expiry) = self.current().expiry else { return };
        metrics::gauge!("descry_certificate_expires_timestamp_seconds", "listener" => self.listener).set(expiry as f64);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let left = expiry.saturating_sub_unsigned(now);
        let is_soon = left < EXPIRES_SOON.as_secs() as i64;
        if is_soon && reminded_at.is_none_or(|at| at.elapsed() >= REMINDER) {
            *reminded_at = Some(Instant::now());
            let (path, days_left) = (self.settings.certificate.display(), left.div_euclid(86_400));
            tracing::warn!(listener = self.listener, %path, days_left, "the server's certificate expires soon, or has expired");
        }
    }
}

impl Trouble {
    /// Says it when it was there at the last look as well: files that are just being replaced do not fit each other.
    fn note(&mut self, error: &TrustError, listener: &'static str) {
        let refusal = error.to_string();
        if self.refusal != refusal {
            *self = Self { refusal, is_said: false };
        } else if !self.is_said {
            self.is_said = true;
            tracing::error!(listener, error = self.refusal, "new certificates cannot be used; the old ones count on");
        }
    }
}

fn load(
    settings: &ServerTlsSettings,
    protocol: Protocol,
    files: &Files,
    superseded: CancellationToken,
) -> Result<Loaded, TrustError> {
    let chain = files.certificate.certificates()?;
    let expiry = first_expiry(&chain);
    let provider = provider();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(file.authorities()?), provider);
            if settings.client_certificates == ClientCertificates::Optional {
                verifier = verifier.allow_unauthenticated();
            }
            builder.with_client_cert_verifier(verifier.build().map_err(|error| file.unusable(error.to_string()))?)
        }
    };
    let key = files.key.key()?;
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| files.key.unusable(format!("with {}: {error}", settings.certificate.display())))?;
    config.alpn_protocols = vec![match protocol {
        Protocol::Http2 => b"h2".to_vec(),
        Protocol::Http1 => b"http/1.1".to_vec(),
    }];
    let authorities = checksum([files.client_ca.as_ref()]);
    Ok(Loaded { config: Arc::new(config), checksum: files.checksum(), authorities, expiry, superseded })
}
