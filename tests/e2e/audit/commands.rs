//! `descry audit`, and the commands that state why they are used.

use super::stand::{AuditedService, GALLERY};
use crate::stands::commands::{fail, json_lines, last_json, succeed};
use std::fs;

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_verified_searched_and_handed_over() {
    let service = AuditedService::start(|config| config.audit.require_purpose = vec!["*".to_owned()]).await;
    let client = service.client_with_images(3).await;
    drop(client);
    let url = service.url().to_owned();
    let search = ["search", "a man", "--gallery", GALLERY, "--server", &url];
    let (_, complaint) = fail(&search);
    assert!(complaint.contains("--purpose"), "{complaint}");
    let stated = ["--purpose", "theft of a bag", "--case", "Über 7", "--authorization", "order 3", "--verifier", "Bo"];
    succeed(&[&search[..], &stated[..]].concat());

    let log = service.log().to_str().unwrap().to_owned();
    assert!(succeed(&["audit", "verify", &log]).contains("one: whole; "));
    let found = json_lines(&succeed(&["audit", "export", &log, "--purpose", "theft of a bag", "--image", "1.jpg"]));
    assert_eq!(found.len(), 1);
    for (field, expected) in [
        ("rpc", "descry.search.v1.SearchService/Search"),
        ("case_number", "Über 7"),
        ("authorization", "order 3"),
        ("verifier", "Bo"),
        ("instance", "one"),
    ] {
        assert_eq!(found[0][field], expected, "{field}");
    }
    let table = succeed(&["audit", "export", &log, "--format", "csv", "--case", "Über 7"]);
    assert!(table.starts_with("instance,sequence,kind,begin,") && table.lines().count() > 1, "{table}");
    let shown = succeed(&["audit", "search", &log, "--gallery", GALLERY]);
    assert!(shown.contains("theft of a bag") && shown.contains("a man"), "{shown}");

    // Somebody takes a letter for another.
    let file = fs::read_dir(service.folder()).unwrap().map(|entry| entry.unwrap().path());
    let file = file.into_iter().find(|path| path.extension().is_some_and(|end| end == "jsonl")).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let line = text.lines().position(|line| line.contains("theft of a bag")).unwrap() + 1;
    fs::write(&file, text.replacen("theft of a bag", "theft of a hat", 1)).unwrap();
    let (printed, _) = fail(&["audit", "verify", &log, "--json"]);
    let report = last_json(&printed);
    assert_eq!(report["whole"], false, "{report}");
    assert_eq!(report["breaks"][0]["line"], line, "{report}");
    assert_eq!(report["breaks"][0]["kind"], "altered");
    let (printed, _) = fail(&["audit", "verify", &log]);
    assert!(printed.contains(&format!("line {line}: altered")), "{printed}");
    let (_, complaint) = fail(&["audit", "verify", "/nowhere"]);
    assert!(complaint.contains("no audit log"), "{complaint}");
}
