use super::*;
use descry_issuing::{Subject, Validity, issue_in, make_authority_in};
use descry_proto::search::v1::{Hit, WatchMatch};
use descry_trust::tls::{ServerTls, ServerTlsSettings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

fn found(image_id: &str) -> Match {
    let hit = Hit { image_id: image_id.to_owned(), ..Hit::default() };
    Match::of(WatchMatch { watch: "red".to_owned(), hit: Some(hit), position: String::new() })
}

fn receiver(address: &str) -> Receiver {
    Receiver::open(address.parse().unwrap(), None).unwrap()
}

/// Answers requests with these heads, one a connection, and returns what it was sent.
async fn answering(answers: Vec<&'static str>) -> (Receiver, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/matches?key=1", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                let mut part = [0; 4096];
                let read = stream.read(&mut part).await.unwrap();
                assert!(read > 0);
                request.extend_from_slice(&part[..read]);
            }
            requests.push(String::from_utf8(request).unwrap());
            stream.write_all(format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await.unwrap();
        }
        requests
    });
    (receiver(&address), serving)
}

#[tokio::test]
async fn matches_are_posted_in_their_order_and_refusals_end_nothing() {
    let (address, serving) = answering(vec!["200 OK", "404 Not Found", "204 No Content"]).await;
    let posts = Posts::to(address);
    for image_id in ["a", "b", "c"] {
        posts.send(&found(image_id)).await;
    }
    let requests = serving.await.unwrap();
    posts.finish().await;
    for (request, image_id) in requests.iter().zip(["a", "b", "c"]) {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /matches?key=1 HTTP/1.1\r\n"), "{head}");
        let head = head.to_lowercase();
        assert!(head.contains("content-type: application/json") && head.contains("host: 127.0.0.1:"), "{head}");
        let value: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&value["image_id"], &value["watch"]), (&image_id.into(), &"red".into()));
    }
}

#[tokio::test]
async fn an_address_that_is_full_is_called_again() {
    let (address, serving) = answering(vec!["503 Service Unavailable", "200 OK"]).await;
    assert!(post_patiently(&address, &found("a")).await.is_ok());
    assert_eq!(serving.await.unwrap().len(), 2);
    let (address, _serving) = answering(vec!["400 Bad Request"]).await;
    assert!(matches!(post_patiently(&address, &found("a")).await, Err(PostError::Answer(StatusCode::BAD_REQUEST))));
}

#[tokio::test]
async fn nobody_waits_for_an_address_that_is_down_when_all_is_to_end() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = receiver(&format!("http://{}/", closed.local_addr().unwrap()));
    drop(closed);
    let posts = Posts::to(address);
    for _ in 0..5 {
        posts.send(&found("a")).await;
    }
    tokio::time::timeout(RETRY_FOR, posts.finish()).await.unwrap();
}

#[test]
fn addresses_are_http() {
    for good in ["http://127.0.0.1:8080/matches", "http://[::1]/x", "https://a.example/x"] {
        parse_address(good).unwrap();
    }
    assert!(Receiver::open("http://a/".parse().unwrap(), Some(Path::new("ca.pem"))).is_err(), "a CA without TLS");
    for (wrong, told) in [("ftp://a/", "http://"), ("a", "http://"), ("", "http://"), ("http://u:p@a/", "password")] {
        let error = format!("{:#}", parse_address(wrong).unwrap_err());
        assert!(error.contains(told), "{wrong}: {error}");
    }
}

/// Answers one request over TLS, and returns what it was sent.
async fn answering_over_tls(folder: &Path) -> (String, JoinHandle<String>) {
    make_authority_in(folder, Validity::days(2)).unwrap();
    let subject = Subject::Server { names: vec!["localhost".to_owned()], addresses: vec![] };
    let files = issue_in(folder, "server", &subject, Validity::days(1)).unwrap();
    let settings = ServerTlsSettings { certificate: files.certificate, key: files.key, ..ServerTlsSettings::default() };
    let tls = ServerTls::open(&settings, Protocol::Http1, "test").unwrap().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://localhost:{}/matches", listener.local_addr().unwrap().port());
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Who does not believe the certificate ends the handshake.
            let Ok(accepted) = tls.accept(stream).await else { continue };
            let (mut stream, mut request) = (accepted.stream, Vec::new());
            while !request.ends_with(b"}") {
                let mut part = [0; 4096];
                let read = stream.read(&mut part).await.unwrap_or(0);
                if read == 0 {
                    break;
                }
                request.extend_from_slice(&part[..read]);
            }
            if request.is_empty() {
                continue;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            return String::from_utf8(request).unwrap();
        }
    });
    (address, serving)
}

#[tokio::test]
async fn matches_are_posted_over_tls_to_who_proves_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (address, serving) = answering_over_tls(folder.path()).await;
    let address: Uri = address.parse().unwrap();
    make_authority_in(&folder.path().join("other"), Validity::days(2)).unwrap();
    let other = Receiver::open(address.clone(), Some(&folder.path().join("other/ca.pem"))).unwrap();
    let Err(PostError::Tls(error)) = post(&other, &found("a")).await else { panic!("an unknown CA is believed") };
    assert!(error.to_string().contains("--post-ca"), "{error}");
    let receiver = Receiver::open(address, Some(&folder.path().join("ca.pem"))).unwrap();
    post(&receiver, &found("a")).await.unwrap();
    let request = serving.await.unwrap();
    assert!(request.starts_with("POST /matches HTTP/1.1\r\n") && request.contains("\"image_id\":\"a\""), "{request}");
}
