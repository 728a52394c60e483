use super::*;
use std::os::unix::fs::PermissionsExt as _;

fn new(name: &str) -> NewToken {
    let scopes = vec!["search:lobby".parse().unwrap(), "encode".parse().unwrap()];
    NewToken { name: name.to_owned(), scopes, expires_at_ms: Some(90), limits: Limits::default() }
}

#[test]
fn a_token_is_kept_as_a_hash_in_a_file_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.json");
    let token = TokenFile::change(&path, |file| file.add(new("guard"), 5)).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    let secret = token.reveal();
    let secret = secret.rsplit_once(&format!("{}_", token.id())).unwrap().1;
    assert!(!text.contains(secret) && text.contains("search:lobby"), "{text}");
    let file = TokenFile::read(&path).unwrap();
    let [kept] = file.tokens() else { panic!("{text}") };
    assert!(kept.hash().unwrap().is_same(&token.hash()));
    assert_eq!((kept.name.as_str(), kept.created_at_ms, kept.expires_at_ms), ("guard", 5, Some(90)));
    assert_eq!(folder.path().read_dir().unwrap().count(), 1, "nothing else is left");
}

#[test]
fn tokens_that_are_made_at_the_same_time_are_all_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.json");
    std::thread::scope(|threads| {
        for number in 0..8 {
            let path = &path;
            threads.spawn(move || TokenFile::change(path, |file| file.add(new(&format!("n{number}")), 0)).unwrap());
        }
    });
    assert_eq!(TokenFile::read(&path).unwrap().tokens().len(), 8);
}

#[test]
fn a_token_is_revoked_by_its_id_and_all_of_a_name_by_that() {
    let mut file = TokenFile::empty();
    let first = file.add(new("guard"), 0).unwrap();
    file.add(new("guard"), 0).unwrap();
    file.add(new("camera"), 0).unwrap();
    assert_eq!(file.revoke(first.id(), 7).unwrap(), 1);
    assert_eq!(file.revoke("guard", 8).unwrap(), 1, "the other one");
    let revoked: Vec<_> = file.tokens().iter().map(|token| token.revoked_at_ms).collect();
    assert_eq!(revoked, [Some(7), Some(8), None]);
    assert!(file.revoke("nobody", 9).unwrap_err().to_string().contains("nobody"));
}

#[test]
fn a_file_that_is_wrong_is_refused_with_the_place() {
    let mut file = TokenFile::empty();
    file.add(new("guard"), 0).unwrap();
    let text = serde_json::to_string(&file).unwrap();
    TokenFile::parse(text.as_bytes()).unwrap();
    let id = file.tokens()[0].id.clone();
    for (from, to, expected) in [
        ("\"version\":1", "\"version\":2", "version 2"),
        ("search:lobby", "see:lobby", "not known"),
        ("\"guard\"", "\"gu ard\"", "tokens[0]: a name"),
        (id.as_str(), "../../etc", "tokens[0]: its id"),
        ("\"sha256\":\"", "\"sha256\":\"zz", "tokens[0]: "),
        ("\"scopes\"", "\"scope\"", "unknown field"),
        ("[\"search:lobby\",\"encode\"]", "[]", "tokens[0]: "),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        let error = TokenFile::parse(changed.as_bytes()).unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let twice = file.tokens()[0].clone();
    file.tokens.push(twice);
    assert!(TokenFile::parse(&serde_json::to_vec(&file).unwrap()).unwrap_err().contains("twice"));
    let mut folder = TokenFile::read(Path::new("/nowhere/tokens.json")).unwrap_err().to_string();
    folder.truncate(40);
    assert!(folder.contains("/nowhere/tokens.json"), "{folder}");
}

#[test]
fn a_failed_change_leaves_the_file_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.json");
    TokenFile::change(&path, |file| file.add(new("guard"), 0)).unwrap();
    let before = std::fs::read(&path).unwrap();
    let failed = TokenFile::change(&path, |file| {
        file.add(new("other"), 0)?;
        file.revoke("nobody", 0)
    });
    assert!(failed.is_err());
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_tokens_own_limits_win() {
    let mut file = TokenFile::empty();
    file.add(new("guard"), 0).unwrap();
    let mut record = file.tokens()[0].clone();
    let of_service = Limits { max_requests_per_minute: Some(60), max_images_per_day: None };
    assert_eq!(record.limits(of_service), of_service);
    (record.max_requests_per_minute, record.max_images_per_day) = (Some(0), Some(5));
    assert_eq!(record.limits(of_service), Limits { max_requests_per_minute: None, max_images_per_day: Some(5) });
}
