//! TLS between all parts, with certificates on both sides; and what each of them says of the other's when they are no good.

use crate::killed_service::Served;
use crate::services::{demo_images, index, text_search};
use crate::stands::alone::SearchAlone;
use crate::stands::certificates::{Certificates, Terminator};
use crate::stands::commands::{fail, succeed};
use crate::stands::polling::until;
use descry_client::Connection;
use descry_issuing::Validity;
use descry_proto::search::v1::{EncoderStanding, ListEncodersRequest};
use descry_qdrant_server::TestQdrant;
use descry_search::StoreKind;
use descry_tests::{TestStack, demo_bundle, program};
use descry_trust::tls::ClientTlsSettings;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(86_400);

/// An address with TLS, by the name in its certificate.
fn secured(url: &str) -> String {
    url.replace("http://127.0.0.1", "https://localhost")
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_speaks_tls_and_proves_who_it_is() {
    let certificates = Certificates::new();
    let qdrant = TestQdrant::start().unwrap();
    let before_qdrant = Terminator::before(&qdrant.url(), &certificates.strict_server()).await;
    let stack = TestStack::start_with(|encoder, search| {
        encoder.server.tls = certificates.strict_server();
        search.server.tls = certificates.strict_server();
        search.encoder.url = secured(&search.encoder.url);
        search.encoder.tls = certificates.client("search");
        search.store.kind = StoreKind::Qdrant;
        (search.qdrant.url, search.qdrant.tls) = (before_qdrant.url(), certificates.client("store"));
    })
    .await;
    let url = secured(&stack.search_url);
    let alice = certificates.client("alice");
    let connection =
        until("the service lets alice in", async || Connection::to_with_tls(&url, &alice).await.ok()).await;
    let mut client = connection.service();
    let images = demo_images(12);
    assert_eq!(index(&mut client, "lobby", images).await.len(), 12);
    let found = client.search(text_search("lobby", "a woman in a red coat", 3)).await.unwrap().into_inner();
    assert_eq!(found.hits.len(), 3);
    let ClientTlsSettings { ca, certificate, key } = &alice;
    let with = ["--server", &url, "--ca", text(ca), "--certificate", text(certificate), "--key", text(key)];
    assert!(succeed(&[&["gallery", "list"], with.as_slice()].concat()).contains("lobby"));
    let (_, complaint) = fail(&["gallery", "list", "--server", &url, "--ca", text(ca)]);
    assert!(
        complaint.contains("lets nobody in without a certificate; show one with --certificate FILE"),
        "{complaint}"
    );
    let (_, complaint) = fail(&["gallery", "list", "--server", &stack.search_url]);
    assert!(complaint.contains("speaks TLS: use https://"), "{complaint}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_says_what_to_do_about_a_server_it_cannot_trust() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let service = SearchAlone::start(|_| {}).await;
    let now = SystemTime::now();
    let ca = certificates.path("ca.pem");
    let list = |url: &str, ca: &Path| fail(&["gallery", "list", "--server", url, "--ca", text(ca)]).1;
    for (settings, expected) in [
        (others.server("localhost", Validity::days(1)), "name its CA with --ca FILE"),
        (certificates.server("localhost", Validity { from: now - 9 * DAY, until: now - DAY }), "has expired"),
        (certificates.server("localhost", Validity { from: now + DAY, until: now + 9 * DAY }), "not valid yet"),
        (certificates.server("search.example", Validity::days(1)), "not for localhost but for"),
    ] {
        let terminator = Terminator::before(&service.url, &settings).await;
        let complaint = list(&terminator.url(), &ca);
        assert!(complaint.contains(expected), "{complaint}");
    }
    let speaks_none = list(&secured(&service.url), &ca);
    assert!(speaks_none.contains("speaks no TLS: use http://"), "{speaks_none}");
    let useless = list(&service.url, &ca);
    assert!(useless.contains("no CA or certificate counts; give --server https://127.0.0.1"), "{useless}");
    let missing = list("https://localhost:1", Path::new("/nowhere/ca.pem"));
    assert!(missing.contains("cannot read /nowhere/ca.pem"), "{missing}");
}

#[tokio::test]
async fn the_search_service_says_why_it_trusts_an_encoder_not() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let now = SystemTime::now();
    let mut terminators = Vec::new();
    for settings in [
        others.server("localhost", Validity::days(1)),
        certificates.server("localhost", Validity { from: now - 9 * DAY, until: now - DAY }),
        certificates.server("encoder.example", Validity::days(1)),
        certificates.strict_server(),
    ] {
        terminators.push(Terminator::before("http://127.0.0.1:1", &settings).await);
    }
    let service = SearchAlone::start(|search| {
        search.encoder.url.clear();
        search.encoder.urls = terminators.iter().map(Terminator::url).collect();
        search.encoder.tls = certificates.anybody();
    })
    .await;
    let client = service.client().await;
    let expected = [
        "name its CA with encoder.tls.ca",
        "has expired",
        "not for localhost but for",
        "show one with encoder.tls.certificate and encoder.tls.key",
    ];
    let encoders = until("every encoder was asked", async || {
        let encoders = client.clone().list_encoders(ListEncodersRequest {}).await.unwrap().into_inner().encoders;
        let is_known = |url: &str| encoders.iter().any(|encoder| encoder.url == url && !encoder.reason.is_empty());
        terminators.iter().all(|terminator| is_known(&terminator.url())).then_some(encoders)
    })
    .await;
    for (terminator, expected) in terminators.iter().zip(expected) {
        let encoder = encoders.iter().find(|encoder| encoder.url == terminator.url()).unwrap();
        assert_ne!(encoder.standing(), EncoderStanding::Serving, "{encoder:?}");
        assert!(encoder.reason.contains(expected), "{encoder:?}");
    }
}

#[tokio::test]
async fn a_trial_takes_four_commands() {
    let folder = tempfile::tempdir().unwrap();
    let certs = folder.path().join("certs");
    let (certs_text, file) = (text(&certs), |name: &str| text(&certs.join(name)).to_owned());
    let told = succeed(&["cert", "ca", certs_text]);
    assert!(told.contains("keep it to yourself") && told.contains("descry cert server"), "{told}");
    let told = succeed(&["cert", "server", certs_text]);
    assert!(told.contains("--tls-certificate") && told.contains("localhost, 127.0.0.1, ::1"), "{told}");
    assert!(succeed(&["cert", "client", certs_text, "--name", "alice"]).contains("--certificate"));
    for key in ["ca.key", "server.key", "alice.key"] {
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(file(key)).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
    for again in [["cert", "ca", certs_text].as_slice(), &["cert", "server", certs_text]] {
        assert!(fail(again).1.contains("is there already"), "{again:?}");
    }
    assert!(fail(&["cert", "server", text(folder.path())]).1.contains("descry cert ca"));

    let bundle = demo_bundle();
    let data = folder.path().join("data");
    let served = Served::start_with(
        &data,
        &[
            "--listen",
            "127.0.0.1:0",
            "--model",
            text(bundle),
            "--tls-certificate",
            &file("server.pem"),
            "--tls-key",
            &file("server.key"),
            "--client-ca",
            &file("ca.pem"),
        ],
    );
    let url = secured(&served.url);
    let (ca, certificate, key) = (file("ca.pem"), file("alice.pem"), file("alice.key"));
    let with = ["--server", &url, "--ca", &ca, "--certificate", &certificate, "--key", &key];
    let images = folder.path().join("images");
    fs::create_dir(&images).unwrap();
    for image in demo_images(3) {
        fs::write(images.join(&image.image_id), &image.content).unwrap();
    }
    succeed(&[&["index", text(&images), "--gallery", "lobby"], with.as_slice()].concat());
    assert!(succeed(&[&["gallery", "list"], with.as_slice()].concat()).contains("lobby"));

    // As a container asks for its health: with the settings of the service, and its own certificate.
    let check = |name: &str| {
        Command::new(program("search-service"))
            .arg("--check-health")
            .env("DESCRY_SEARCH__SERVER__LISTEN", served.url.trim_start_matches("http://"))
            .env("DESCRY_SEARCH__SERVER__TLS__CERTIFICATE", file(name))
            .env("DESCRY_SEARCH__SERVER__TLS__KEY", file("server.key"))
            .output()
            .unwrap()
    };
    let healthy = check("server.pem");
    assert!(healthy.status.success(), "{}", String::from_utf8_lossy(&healthy.stderr));
    assert!(!check("alice.pem").status.success(), "a certificate without its key cannot be shown");
}
