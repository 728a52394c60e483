//! Real handshakes on real sockets, with certificates of CAs that each test makes for itself.

use super::*;
use crate::TrustError;
use descry_issuing::{Authority, Issued, Subject, Validity};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

const DAY: Duration = Duration::from_secs(86_400);
const HINTS: TlsHints = TlsHints { ca: "--ca FILE", certificate: "--certificate FILE --key FILE" };

/// A CA, and a folder for files.
struct Stand {
    folder: TempDir,
    authority: Authority,
}

impl Stand {
    fn new() -> Self {
        let (authority, own) = Authority::generate(Validity::days(10)).unwrap();
        let stand = Self { folder: tempfile::tempdir().unwrap(), authority };
        stand.write("ca", &own);
        stand
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, stem: &str, issued: &Issued) {
        fs::write(self.path(&format!("{stem}.pem")), &issued.certificate).unwrap();
        fs::write(self.path(&format!("{stem}.key")), &issued.key).unwrap();
    }

    /// Makes a server's files, for `localhost` unless a name is given.
    fn server(&self, names: &[&str], validity: Validity) -> ServerTlsSettings {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        self.write("server", &self.authority.issue(&Subject::Server { names, addresses: vec![] }, validity).unwrap());
        ServerTlsSettings {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            reload_interval_ms: 1,
            ..ServerTlsSettings::default()
        }
    }

    fn good_server(&self) -> ServerTlsSettings {
        self.server(&["localhost"], Validity::days(5))
    }

    fn strict_server(&self) -> ServerTlsSettings {
        ServerTlsSettings { client_ca: self.path("ca.pem"), ..self.good_server() }
    }

    /// Trusts this CA, and shows a certificate of it.
    fn client(&self, name: &str) -> ClientTlsSettings {
        let subject = Subject::Client { name: name.to_owned() };
        self.write(name, &self.authority.issue(&subject, Validity::days(5)).unwrap());
        let (certificate, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        ClientTlsSettings { ca: self.path("ca.pem"), certificate, key }
    }

    /// Trusts this CA, and shows nothing.
    fn anybody(&self) -> ClientTlsSettings {
        ClientTlsSettings { ca: self.path("ca.pem"), ..ClientTlsSettings::default() }
    }
}

/// Tells each client the name in its certificate, and repeats whatever it says.
struct Echo {
    address: Address,
    serving: JoinHandle<()>,
}

impl Echo {
    async fn serve(settings: &ServerTlsSettings) -> Self {
        let tls = ServerTls::open(settings, Protocol::Http2, "server").unwrap().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            let accepting = async {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let tls = Arc::clone(&tls);
                    tokio::spawn(async move { tell_and_repeat(tls.accept(stream).await).await });
                }
            };
            tokio::join!(accepting, tls.keep_fresh());
        });
        Self { address: Address::parse(&format!("https://localhost:{port}")).unwrap(), serving }
    }

    async fn connect(&self, settings: &ClientTlsSettings) -> Result<TlsConnection, TrustError> {
        let tls = ClientTls::open(settings, HINTS).unwrap();
        // The listener is on one of the name's addresses only.
        let place = (IpAddr::V4(Ipv4Addr::LOCALHOST), self.address.port()).into();
        tls.connector(&self.address).unwrap().oneshot(self.address.dialled(Some(place))).await
    }

    /// What the server says first: the name that it found. Fails where it lets nobody in.
    async fn name(&self, settings: &ClientTlsSettings) -> Result<String, String> {
        let mut stream = self.connect(settings).await.map_err(|error| error.to_string())?.into_inner();
        let mut name = [0; 20];
        match stream.read_exact(&mut name).await {
            Ok(_) => Ok(String::from_utf8_lossy(&name).trim_end().to_owned()),
            Err(error) => Err(explain_refusal(&error, HINTS).unwrap_or_else(|| error.to_string())),
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn tell_and_repeat(accepted: Result<Accepted, TrustError>) {
    let Ok(Accepted { mut stream, certificate, superseded }) = accepted else { return };
    let name = certificate.and_then(|certificate| certificate.name.clone()).unwrap_or_default();
    let _ = stream.write_all(format!("{name:20}").as_bytes()).await;
    let mut letter = [0];
    while stream.read_exact(&mut letter).await.is_ok() {
        let said = if superseded.is_cancelled() { [b'!'] } else { letter };
        let _ = stream.write_all(&said).await;
    }
}

async fn repeated(connection: &mut TlsConnection, letter: u8) -> u8 {
    let stream = connection.inner_mut();
    stream.write_all(&[letter]).await.unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).await.unwrap();
    answer[0]
}

#[tokio::test]
async fn a_server_that_is_not_who_it_should_be_is_refused_with_advice() {
    let (stand, stranger) = (Stand::new(), Stand::new());
    let now = SystemTime::now();
    let validity = |from, until| Validity { from, until };
    let past = validity(now - 9 * DAY, now - 3 * DAY - DAY / 2);
    let future = validity(now + DAY, now + 2 * DAY);
    let local: &[&str] = &["localhost"];
    for (by, names, validity, expected) in [
        (&stranger, local, Validity::days(5), "not from a CA that is trusted here; name its CA with --ca FILE"),
        (&stand, local, past, "has expired (3 days ago)"),
        (&stand, local, future, "not valid yet"),
        (
            &stand,
            &["search.example", "other.example"],
            Validity::days(5),
            "not for localhost but for search.example, other",
        ),
    ] {
        let settings = by.server(names, validity);
        let refusal = Echo::serve(&settings).await.name(&stand.anybody()).await.unwrap_err();
        assert!(refusal.contains(expected) && refusal.starts_with("https://localhost:"), "{refusal}");
    }
    assert_eq!(Echo::serve(&stand.good_server()).await.name(&stand.anybody()).await, Ok(String::new()));
}

#[tokio::test]
async fn a_client_proves_who_it_is_where_that_is_asked() {
    let (stand, stranger) = (Stand::new(), Stand::new());
    let strict = stand.strict_server();
    let impostor = ClientTlsSettings { ca: stand.path("ca.pem"), ..stranger.client("alice") };
    let alice = stand.client("alice");
    let server = Echo::serve(&strict).await;
    assert_eq!(server.name(&alice).await.as_deref(), Ok("alice"));
    let refusal = server.name(&stand.anybody()).await.unwrap_err();
    assert!(refusal.contains("lets nobody in without a certificate"), "{refusal}");
    let refusal = server.name(&impostor).await.unwrap_err();
    assert!(refusal.contains("does not trust the CA"), "{refusal}");

    let now = SystemTime::now();
    let subject = Subject::Client { name: "late".to_owned() };
    let late = Validity { from: now - 9 * DAY, until: now - DAY };
    stand.client("late");
    stand.write("late", &stand.authority.issue(&subject, late).unwrap());
    let late = ClientTlsSettings { certificate: stand.path("late.pem"), key: stand.path("late.key"), ..alice.clone() };
    let refusal = server.name(&late).await.unwrap_err();
    assert!(refusal.contains("that was shown has expired"), "{refusal}");

    let optional = ServerTlsSettings { client_certificates: ClientCertificates::Optional, ..strict.clone() };
    let server = Echo::serve(&optional).await;
    assert_eq!(server.name(&stand.anybody()).await, Ok(String::new()));
    assert_eq!(server.name(&alice).await.as_deref(), Ok("alice"));
    assert!(server.name(&impostor).await.is_err(), "what is shown must be good");
    let none = ServerTlsSettings { client_certificates: ClientCertificates::None, ..strict };
    assert_eq!(Echo::serve(&none).await.name(&impostor).await, Ok(String::new()));
}

#[tokio::test]
async fn renewed_files_count_for_new_connections_and_old_ones_go_on() {
    let stand = Stand::new();
    let settings = stand.strict_server();
    let (alice, server) = (stand.client("alice"), Echo::serve(&settings).await);
    let shown = |connection: &TlsConnection| connection.inner().get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let mut old = server.connect(&alice).await.unwrap();
    let first = shown(&old);

    // What cannot be used changes nothing.
    let good = fs::read(&settings.certificate).unwrap();
    fs::write(&settings.certificate, "-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n").unwrap();
    for _ in 0..10 {
        assert_eq!(shown(&server.connect(&alice).await.unwrap()), first);
    }
    fs::write(&settings.certificate, good).unwrap();

    stand.good_server();
    let mut connection = server.connect(&alice).await.unwrap();
    while shown(&connection) == first {
        connection = server.connect(&alice).await.unwrap();
    }
    let mut name = [0; 20];
    old.inner_mut().read_exact(&mut name).await.unwrap();
    assert_eq!(repeated(&mut old, b'a').await, b'a', "the old connection goes on, and is trusted as before");

    // Another CA of clients: who was let in before is told apart, and not let in again.
    let stranger = Stand::new();
    fs::copy(stranger.path("ca.pem"), stand.path("new-ca.pem")).unwrap();
    let believing = ClientTlsSettings { ca: stand.path("own-ca.pem"), ..alice };
    fs::copy(stand.path("ca.pem"), &believing.ca).unwrap();
    fs::rename(stand.path("new-ca.pem"), &settings.client_ca).unwrap();
    let refusal = loop {
        if let Err(refusal) = server.name(&believing).await {
            break refusal;
        }
    };
    assert!(refusal.contains("does not trust the CA"), "{refusal}");
    assert_eq!(repeated(&mut old, b'a').await, b'!', "the old connection goes on, and knows");
    let newcomer = ClientTlsSettings { ca: believing.ca, ..stranger.client("bob") };
    assert_eq!(server.name(&newcomer).await.as_deref(), Ok("bob"));
}

#[tokio::test]
async fn a_client_shows_what_its_files_hold_when_it_connects() {
    let stand = Stand::new();
    let settings = stand.client("alice");
    let server = Echo::serve(&stand.strict_server()).await;
    let tls = ClientTls::open(&settings, HINTS).unwrap();
    let place = (IpAddr::V4(Ipv4Addr::LOCALHOST), server.address.port()).into();
    let name = async || {
        let connector = tls.connector(&server.address).unwrap();
        let connected = connector.oneshot(server.address.dialled(Some(place))).await;
        let mut name = [0; 20];
        connected.unwrap().inner_mut().read_exact(&mut name).await.unwrap();
        String::from_utf8_lossy(&name).trim_end().to_owned()
    };
    assert_eq!(name().await, "alice");
    stand.client("bob");
    fs::copy(stand.path("bob.pem"), &settings.certificate).unwrap();
    assert_eq!(name().await, "alice", "a certificate without its key cannot be shown");
    fs::copy(stand.path("bob.key"), &settings.key).unwrap();
    assert_eq!(name().await, "bob");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_never_ends_is_given_up() {
    let stand = Stand::new();
    let tls = ServerTls::open(&stand.good_server(), Protocol::Http2, "server").unwrap().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    // As a handshake begins.
    client.write_all(&[0x16, 3, 1]).await.unwrap();
    let started = tokio::time::Instant::now();
    let refusal = tls.accept(stream).await.err().unwrap().to_string();
    assert!(refusal.contains("within 10000 ms"), "{refusal}");
    assert_eq!(started.elapsed().as_secs(), 10);
}

/// The beginning of a client's connection, its settings, and the head of its first request.
const HTTP2_REQUEST: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x01\x05\0\0\0\x01";

#[tokio::test]
async fn who_speaks_no_tls_is_told_so_on_both_sides() {
    let stand = Stand::new();
    let server = Echo::serve(&stand.good_server()).await;
    for (said, answered) in [
        (HTTP2_REQUEST, "this address speaks TLS: use https://"),
        (b"GET /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request"),
        (b"\0\0", ""),
    ] {
        let mut plain = TcpStream::connect((Ipv4Addr::LOCALHOST, server.address.port())).await.unwrap();
        plain.write_all(said).await.unwrap();
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer).await;
        assert!(String::from_utf8_lossy(&answer).contains(answered), "{said:?}: {answer:?}");
    }
    for said in [b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(), b"\0\0\x12\x04\0\0\0\0\0", b""] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut plain, _) = listener.accept().await.unwrap();
            plain.read_u8().await.unwrap();
            plain.write_all(said).await.unwrap();
            plain.shutdown().await.unwrap();
            let _ = plain.read_to_end(&mut Vec::new()).await;
        });
        let address = Address::parse(&url).unwrap();
        let connector = ClientTls::open(&stand.anybody(), HINTS).unwrap().connector(&address).unwrap();
        let refusal = connector.oneshot(address.dialled(None)).await.err().unwrap().to_string();
        assert!(refusal.contains("http://"), "{refusal}");
    }
}

/// Names another file in a server's settings.
type Change = fn(&mut ServerTlsSettings, PathBuf);

#[test]
fn files_that_cannot_be_used_are_named() {
    let stand = Stand::new();
    let settings = stand.good_server();
    let open = |settings: &ServerTlsSettings| {
        ServerTls::open(settings, Protocol::Http2, "server").err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(open(&settings), "");
    assert!(ServerTls::open(&ServerTlsSettings::default(), Protocol::Http2, "server").unwrap().is_none());
    let cases: [(&str, Change); 6] = [
        ("nowhere.pem", |settings, path| settings.certificate = path),
        ("server.key", |settings, path| settings.certificate = path),
        ("ca.key", |settings, path| settings.key = path),
        ("server.pem", |settings, path| settings.key = path),
        ("server.key", |settings, path| settings.client_ca = path),
        ("", |settings, path| settings.client_ca = path),
    ];
    for (name, change) in cases {
        let mut changed = settings.clone();
        change(&mut changed, stand.path(name));
        let refusal = open(&changed);
        assert!(refusal.contains(name) && refusal.contains("cannot"), "{name}: {refusal}");
    }
    let key = fs::read_to_string(stand.path("server.key")).unwrap();
    fs::write(stand.path("server.key"), key.replace('A', "*")).unwrap();
    let refusal = open(&settings);
    assert!(refusal.contains("no private key in it that can be read"), "{refusal}");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let stand = Stand::new();
    let good = stand.strict_server();
    assert_eq!((good.problem(), ServerTlsSettings::default().problem()), (None, None));
    for changed in [
        ServerTlsSettings { key: PathBuf::new(), ..good.clone() },
        ServerTlsSettings { certificate: PathBuf::new(), ..good.clone() },
        ServerTlsSettings { client_ca: stand.path("ca.pem"), ..ServerTlsSettings::default() },
        ServerTlsSettings { handshake_timeout_ms: 0, ..good },
    ] {
        assert!(changed.problem().is_some(), "{changed:?}");
    }
    let half = ClientTlsSettings { key: PathBuf::new(), ..stand.client("alice") };
    assert!(half.problem().is_some() && stand.client("alice").problem().is_none());
}
