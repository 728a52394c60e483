//! A CA with what it signs, and what speaks TLS in front of something that does not.

use descry_issuing::{Files, Subject, Validity, issue_in, make_authority_in};
use descry_trust::tls::{Accepted, ClientTlsSettings, Protocol, ServerTls, ServerTlsSettings};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// A CA in a folder of its own.
pub(crate) struct Certificates(TempDir);

impl Certificates {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        make_authority_in(folder.path(), Validity::days(2)).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// For a server that lets everybody in, by this name and this machine's address.
    pub(crate) fn server(&self, name: &str, validity: Validity) -> ServerTlsSettings {
        let addresses = if name == "localhost" { vec![IpAddr::V4(Ipv4Addr::LOCALHOST)] } else { vec![] };
        let subject = Subject::Server { names: vec![name.to_owned()], addresses };
        let stem = format!("{name}-{}", end_of(&validity));
        let Files { certificate, key } = issue_in(self.0.path(), &stem, &subject, validity).unwrap();
        ServerTlsSettings { certificate, key, ..ServerTlsSettings::default() }
    }

    /// For a server that lets nobody in without a certificate of this CA.
    pub(crate) fn strict_server(&self) -> ServerTlsSettings {
        ServerTlsSettings { client_ca: self.path("ca.pem"), ..self.server("localhost", Validity::days(1)) }
    }

    /// For a client that shows nothing.
    pub(crate) fn anybody(&self) -> ClientTlsSettings {
        ClientTlsSettings { ca: self.path("ca.pem"), ..ClientTlsSettings::default() }
    }

    /// For a client that shows who it is.
    pub(crate) fn client(&self, name: &str) -> ClientTlsSettings {
        let subject = Subject::Client { name: name.to_owned() };
        let Files { certificate, key } = issue_in(self.0.path(), name, &subject, Validity::days(1)).unwrap();
        ClientTlsSettings { certificate, key, ..self.anybody() }
    }
}

/// In a file's name it is another one for each certificate: files are never written over.
fn end_of(validity: &Validity) -> u128 {
    validity.until.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
}

/// Speaks TLS, and hands what is said over to something else.
pub(crate) struct Terminator {
    pub(crate) port: u16,
    _serving: AbortOnDropHandle<()>,
}

impl Terminator {
    /// In front of an address such as `http://127.0.0.1:50051`.
    pub(crate) async fn before(url: &str, settings: &ServerTlsSettings) -> Self {
        let inner = url.trim_start_matches("http://").to_owned();
        let tls = ServerTls::open(settings, Protocol::Http2, "test").unwrap().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, inner) = (std::sync::Arc::clone(&tls), inner.clone());
                tokio::spawn(async move {
                    let Ok(Accepted { mut stream, .. }) = tls.accept(stream).await else { return };
                    let Ok(mut inner) = TcpStream::connect(inner).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut inner).await;
                });
            }
        });
        Self { port, _serving: AbortOnDropHandle::new(serving) }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }
}
