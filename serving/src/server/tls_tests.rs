//! A real server that speaks TLS, and clients that are, or are not, who they should be.

use super::tests::{TestServer, request, settings};
use super::*;
use crate::outgoing::channel_to;
use crate::prometheus::PrometheusConfig;
use descry_issuing::{Files, Subject, Validity, issue_in, make_authority_in};
use descry_trust::tls::{Address, ClientTls, ClientTlsSettings, TlsHints, explain_refusal};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::health_client::HealthClient;
use tower::ServiceExt as _;

pub(crate) const HINTS: TlsHints = TlsHints { ca: "--ca FILE", certificate: "--certificate FILE" };

/// A CA in a folder, with all that it signed.
pub(crate) struct Certificates(TempDir);

impl Certificates {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        make_authority_in(folder.path(), Validity::days(2)).unwrap();
        let certificates = Self(folder);
        certificates.issue("server");
        certificates
    }

    fn issue(&self, stem: &str) -> Files {
        let subject = match stem {
            "server" | "renewed" => Subject::Server { names: vec![], addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)] },
            name => Subject::Client { name: name.to_owned() },
        };
        issue_in(self.0.path(), stem, &subject, Validity::days(1)).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts new files for the server in the place of the old ones.
    fn renew(&self) {
        let Files { certificate, key } = self.issue("renewed");
        fs::rename(key, self.path("server.key")).unwrap();
        fs::rename(certificate, self.path("server.pem")).unwrap();
    }

    pub(crate) fn server(&self) -> ServerTlsSettings {
        ServerTlsSettings {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            reload_interval_ms: 1,
            ..ServerTlsSettings::default()
        }
    }

    fn strict_server(&self) -> ServerTlsSettings {
        ServerTlsSettings { client_ca: self.path("ca.pem"), ..self.server() }
    }

    pub(crate) fn anybody(&self) -> ClientTlsSettings {
        ClientTlsSettings { ca: self.path("ca.pem"), ..ClientTlsSettings::default() }
    }

    fn client(&self, name: &str) -> ClientTlsSettings {
        let Files { certificate, key } = self.issue(name);
        ClientTlsSettings { certificate, key, ..self.anybody() }
    }
}

async fn start(tls: ServerTlsSettings) -> TestServer {
    let server = TestServer::start(|config| config.tls = tls).await;
    server.gate.answers.add_permits(1_000);
    server
}

fn address(server: &TestServer) -> Address {
    Address::parse(&format!("https://{}", server.address)).unwrap()
}

fn client(server: &TestServer, settings: &ClientTlsSettings) -> HealthClient<Channel> {
    let tls = ClientTls::open(settings, HINTS).unwrap();
    HealthClient::new(channel_to(&address(server), None, Some(&tls), |endpoint| endpoint).unwrap())
}

/// The certificate that new connections are shown.
async fn shown(server: &TestServer, settings: &ClientTlsSettings) -> Vec<u8> {
    let connector = ClientTls::open(settings, HINTS).unwrap().connector(&address(server)).unwrap();
    let connection = connector.oneshot(address(server).dialled(None)).await.unwrap();
    connection.inner().get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_request_says_who_calls() {
    let certificates = Certificates::new();
    let server = start(certificates.strict_server()).await;
    let alice = certificates.client("alice");
    let answer = client(&server, &alice).check(request()).await.unwrap();
    assert_eq!(answer.metadata().get("caller").unwrap(), "alice");
    let refused = client(&server, &certificates.anybody()).check(request()).await.unwrap_err();
    let reason = explain_refusal(&refused, HINTS).unwrap_or_else(|| format!("{refused:?}"));
    assert_eq!(reason, "it lets nobody in without a certificate; show one with --certificate FILE");
    server.stop().await;

    let server = start(certificates.server()).await;
    let answer = client(&server, &alice).check(request()).await.unwrap();
    assert_eq!(answer.metadata().get("caller"), None, "nobody is asked, so nobody has proved anything");
    server.stop().await;
}

#[tokio::test]
async fn a_client_without_tls_is_told_to_speak_it() {
    let certificates = Certificates::new();
    let server = start(certificates.server()).await;
    let refused = HealthClient::new(server.endpoint().connect_lazy()).check(request()).await.unwrap_err();
    let reason = explain_refusal(&refused, HINTS).unwrap_or_else(|| format!("{refused:?}"));
    assert_eq!(reason, "it speaks TLS: use https:// instead of http://");

    // Also one that connects long before it asks for anything.
    let mut early = HealthClient::new(server.endpoint().connect().await.unwrap());
    tokio::time::sleep(Duration::from_millis(50)).await;
    let refused = early.check(request()).await.unwrap_err();
    let reason = explain_refusal(&refused, HINTS).unwrap_or_else(|| format!("{refused:?}"));
    assert_eq!(reason, "it speaks TLS: use https:// instead of http://");
    server.stop().await;

    let plain = start(ServerTlsSettings::default()).await;
    let refused = client(&plain, &certificates.anybody()).check(request()).await.unwrap_err();
    assert!(refused.message().contains("speaks no TLS: use http://"), "{refused:?}");
    plain.stop().await;
}

#[tokio::test]
async fn who_never_ends_the_handshake_has_a_place_for_a_while_and_keeps_nobody_waiting() {
    let certificates = Certificates::new();
    let server = TestServer::start(|config| {
        config.max_connections = 3;
        config.tls = ServerTlsSettings { handshake_timeout_ms: 1_000, ..certificates.server() };
    })
    .await;
    server.gate.answers.add_permits(1_000);
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut begun = TcpStream::connect(server.address).await.unwrap();
    begun.write_all(&[0x16, 3, 1]).await.unwrap();
    client(&server, &certificates.anybody()).check(request()).await.unwrap();
    for stream in [&mut silent, &mut begun] {
        // Closed, in good order or not.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    let mut clients: Vec<_> = (0..3).map(|_| client(&server, &certificates.anybody())).collect();
    for client in &mut clients {
        while client.check(request()).await.is_err() {
            // The places of those that were closed are free a moment later.
            tokio::task::yield_now().await;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn certificates_are_renewed_under_load_without_a_failed_request_or_a_lost_stream() {
    let certificates = Certificates::new();
    let server = start(certificates.strict_server()).await;
    let alice = certificates.client("alice");
    let mut following = client(&server, &alice);
    let mut stream = following.watch(request()).await.unwrap().into_inner();
    let stop = tokio_util::sync::CancellationToken::new();
    let mut callers = tokio::task::JoinSet::new();
    for lasting in [true, false] {
        let (stop, alice, address) = (stop.clone(), alice.clone(), address(&server));
        callers.spawn(async move {
            let tls = ClientTls::open(&alice, HINTS).unwrap();
            let connect = || HealthClient::new(channel_to(&address, None, Some(&tls), |endpoint| endpoint).unwrap());
            let (mut client, mut answered) = (connect(), 0);
            while !stop.is_cancelled() {
                if !lasting {
                    client = connect();
                }
                client.check(request()).await.unwrap();
                answered += 1;
            }
            answered
        });
    }
    let gate = Arc::clone(&server.gate);
    gate.answers.add_permits(100_000);
    for _ in 0..3 {
        let old = shown(&server, &alice).await;
        certificates.renew();
        while shown(&server, &alice).await == old {}
    }
    stop.cancel();
    let answered = callers.join_all().await;
    assert!(answered.iter().all(|answered: &i32| *answered > 0), "{answered:?}");
    let message = tokio::time::timeout(Duration::from_millis(1), stream.message()).await;
    assert!(message.is_err(), "the stream goes on: {message:?}");
    server.stop().await;
}

#[tokio::test]
async fn who_is_trusted_no_longer_ends_what_was_begun_and_begins_nothing_more() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let strict = certificates.strict_server();
    let client_ca = certificates.path("clients.pem");
    fs::copy(certificates.path("ca.pem"), &client_ca).unwrap();
    let server =
        TestServer::start(|config| config.tls = ServerTlsSettings { client_ca: client_ca.clone(), ..strict }).await;
    let mut alice = client(&server, &certificates.client("alice"));
    let mut calling = alice.clone();
    let running = tokio::spawn(async move { calling.check(request()).await });
    server.gate.arrived.acquire().await.unwrap().forget();
    fs::copy(others.path("ca.pem"), certificates.path("new.pem")).unwrap();
    fs::rename(certificates.path("new.pem"), &client_ca).unwrap();
    let bob = ClientTlsSettings { ca: certificates.path("ca.pem"), ..others.client("bob") };
    while client(&server, &bob).watch(request()).await.is_err() {}
    server.gate.answers.add_permits(1_000);
    running.await.unwrap().unwrap();
    let refused: Status = loop {
        if let Err(refused) = alice.check(request()).await {
            break refused;
        }
    };
    assert_ne!(refused.code(), Code::Ok);
    while !explain_refusal(&alice.check(request()).await.unwrap_err(), HINTS)
        .is_some_and(|reason| reason.contains("does not trust the CA"))
    {}
    server.stop().await;
}

#[tokio::test]
async fn a_health_check_speaks_what_the_service_speaks() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let service = |tls: &ServerTlsSettings, server: &TestServer| ServerConfig {
        listen: server.address.to_string(),
        tls: tls.clone(),
        ..settings()
    };
    for tls in [ServerTlsSettings::default(), certificates.server(), certificates.strict_server()] {
        let server = start(tls.clone()).await;
        crate::program::probe(&service(&tls, &server), "", None)
            .await
            .unwrap_or_else(|error| panic!("{tls:?}: {error}"));
        server.stop().await;
    }
    // The clients' CA is another than the server's.
    let tls = ServerTlsSettings { client_ca: others.path("ca.pem"), ..certificates.server() };
    let server = start(tls.clone()).await;
    let refused = crate::program::probe(&service(&tls, &server), "", None).await.unwrap_err();
    assert!(refused.contains("does not trust the CA") && refused.contains("--certificate FILE"), "{refused}");
    let ClientTlsSettings { certificate, key, .. } = others.client("probe");
    let shown = crate::program::ShownCertificate { certificate, key };
    crate::program::probe(&service(&tls, &server), "", Some(shown)).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn the_page_of_metrics_is_read_over_tls() {
    let certificates = Certificates::new();
    let config = PrometheusConfig { listen: "127.0.0.1:0".to_owned(), tls: certificates.server() };
    let page = config.open().await.unwrap().unwrap();
    let mut authorities = rustls::RootCertStore::empty();
    let pem = fs::read(certificates.path("ca.pem")).unwrap();
    authorities.add(rustls::pki_types::pem::PemObject::from_pem_slice(&pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let reader = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authorities)
        .with_no_client_auth();
    let stream = TcpStream::connect(page.address()).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(reader));
    let mut stream = connector.connect("127.0.0.1".try_into().unwrap(), stream).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(text.contains("descry_certificate_expires_timestamp_seconds{listener=\"metrics\"}"), "{text}");

    let plain = crate::prometheus::read_page(page.address(), "GET /metrics").await;
    assert!(plain.starts_with("HTTP/1.1 400") && plain.contains("use https://"), "{plain}");
}
