//! Repositories of a hub: which files come, where they lie, what is refused, and what works offline.

// Without this, lints count helpers of an integration test as shipped code.
#![cfg(test)]

mod hub_server;
mod server;

use descry_download::{Address, Settings};
use hub_server::{PLACE, file, hub, hub_listing, index, offline};
use server::{get, reply, serve, settings, sha256, weights, whole};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[test]
fn a_repository_comes_in_the_hubs_own_layout_and_the_token_stays_with_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    let storage = serve(|asked, _| file(&weights(), asked));
    let elsewhere = storage.address.clone();
    let hub = serve(move |asked, _| match asked.path.as_str() {
        "/api/models/owner/name/revision/main" => {
            let listing =
                br#"{"sha":"c0ffee","siblings":[{"rfilename":"config.json"},{"rfilename":"model.safetensors"},
                {"rfilename":"README.md"},{"rfilename":"pytorch_model.bin"}]}"#;
            whole(listing, "")
        }
        "/owner/name/resolve/c0ffee/config.json" => {
            reply("307 Elsewhere", "location: /cache/config.json\r\ncontent-length: 0\r\n", b"")
        }
        "/cache/config.json" => whole(b"{}", "etag: \"9e26dfeeb6e641a33dae4961196235bdb965b21b\"\r\n"),
        "/owner/name/resolve/c0ffee/model.safetensors" => {
            let headers = format!(
                "location: {elsewhere}/blob\r\netag: \"a-hash-of-another-kind\"\r\nx-linked-etag: \"{}\"\r\nx-linked-size: 200000\r\ncontent-length: 0\r\n",
                sha256(&weights())
            );
            reply("302 Found", &headers, b"")
        }
        _ => reply("404 Not Found", "content-length: 0\r\n", b""),
    });
    let settings = settings(folder.path(), &hub.address);
    let path = get(PLACE, &settings).unwrap();
    let snapshot = folder.path().join("hub/models--owner--name/snapshots/c0ffee");
    assert_eq!(path, snapshot.join("model.safetensors"));
    assert_eq!(fs::read(&path).unwrap(), weights());
    assert_eq!(fs::read(snapshot.join("config.json")).unwrap(), b"{}");
    assert!(!snapshot.join("README.md").exists());
    let blobs = folder.path().join("hub/models--owner--name/blobs");
    assert_eq!(fs::read(blobs.join(sha256(&weights()))).unwrap(), weights());
    let link = fs::read_link(&path).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(sha256(&weights())));
    let reference = folder.path().join("hub/models--owner--name/refs/main");
    assert_eq!(fs::read_to_string(reference).unwrap(), "c0ffee");
    assert!(hub.asked().iter().all(|asked| asked.headers.contains("bearer secret-token")));
    assert!(!storage.asked().is_empty());
    assert!(storage.asked().iter().all(|asked| !asked.headers.contains("secret")));
    assert_eq!(get(PLACE, &offline(&settings)).unwrap(), path);
    // What is here is not fetched again: only the revision is asked for.
    let before = hub.asked().len();
    get(PLACE, &settings).unwrap();
    assert_eq!(hub.asked().len(), before + 1);
}

#[test]
fn a_file_comes_with_the_settings_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let named = |text: &str| text.as_bytes().to_vec();
    let hub = hub([
        ("cuhk/best.pth", weights()),
        ("cuhk/configs.yaml", named("of cuhk")),
        ("cuhk/best.yaml", named("of best")),
        ("configs.yaml", named("of another")),
        ("cuhk/last.pth", named("unwanted")),
    ]);
    let settings = settings(folder.path(), &hub.address);
    let path = get("hf://owner/name/cuhk/best.pth", &settings).unwrap();
    assert_eq!(fs::read(&path).unwrap(), weights());
    assert_eq!(fs::read_to_string(path.with_file_name("configs.yaml")).unwrap(), "of cuhk");
    assert_eq!(fs::read_to_string(path.with_file_name("best.yaml")).unwrap(), "of best");
    assert!(!path.with_file_name("last.pth").exists() && !path.join("../../configs.yaml").exists());
    let error = get("hf://owner/name/cuhk/worst.pth", &settings).unwrap_err().to_string();
    assert!(error.contains("no such file"), "{error}");
    // Without a FILE, and without weights of a usual name, those that are there are named.
    let error = get(PLACE, &settings).unwrap_err().to_string();
    assert!(error.contains("cuhk/best.pth") && error.contains("/FILE"), "{error}");
}

#[test]
fn shards_come_with_their_index_and_are_found_offline_when_all_are_here() {
    const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let folder = tempfile::tempdir().unwrap();
    let hub = hub([
        ("model.safetensors.index.json", index(&SHARDS)),
        (SHARDS[0], weights()),
        (SHARDS[1], weights()[1..].to_vec()),
        ("model-of-another-time.safetensors", b"unwanted".to_vec()),
    ]);
    let mut settings = settings(folder.path(), &hub.address);
    let path = get(PLACE, &settings).unwrap();
    assert!(path.ends_with("model.safetensors.index.json"));
    assert_eq!(fs::read(path.with_file_name(SHARDS[1])).unwrap(), weights()[1..]);
    assert!(!path.with_file_name("model-of-another-time.safetensors").exists());
    assert_eq!(get(PLACE, &offline(&settings)).unwrap(), path);
    settings.sha256 = Some(sha256(&weights()));
    for settings in [&settings, &offline(&settings)] {
        let error = get(PLACE, settings).unwrap_err().to_string();
        assert!(error.contains("one file"), "{error}");
    }
    settings.sha256 = None;
    fs::remove_file(path.with_file_name(SHARDS[0])).unwrap();
    let error = get(PLACE, &offline(&settings)).unwrap_err().to_string();
    assert!(error.contains(SHARDS[0]) && error.contains("offline"), "{error}");
}

#[test]
fn what_fails_for_a_moment_is_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    // Each question fails once: the listing, the first one about a file, and the file itself.
    let hub = serve(|asked, earlier| match earlier {
        0 => reply("503 Busy", "content-length: 0\r\n", b""),
        1 => whole(br#"{"sha":"c0ffee","siblings":[{"rfilename":"model.safetensors"}]}"#, ""),
        2 => reply("429 Later", "content-length: 0\r\nretry-after: 0\r\n", b""),
        4 => Vec::new(),
        _ => file(&weights(), asked),
    });
    let path = get(PLACE, &settings(folder.path(), &hub.address)).unwrap();
    assert_eq!(fs::read(path).unwrap(), weights());
    assert_eq!(hub.asked().len(), 6);
}

#[test]
fn no_name_leads_out_of_the_cache() {
    let names = ["../../../evil.safetensors", "/evil.safetensors", "model-/../../../../evil.safetensors", "..\\evil"];
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("deeply/nested");
    for name in names {
        let files = BTreeMap::from([("model.safetensors.index.json", index(&[name]))]);
        let hub = hub_listing(files, vec!["model.safetensors.index.json".to_owned(), name.to_owned()]);
        let error = get(PLACE, &settings(&inner, &hub.address)).unwrap_err().to_string();
        assert!(error.contains("no files beside it"), "{error}");
        let hub = hub_listing(BTreeMap::new(), vec![name.to_owned()]);
        assert!(get(PLACE, &settings(&inner, &hub.address)).is_err());
    }
    let hub = serve(|_, _| whole(br#"{"sha":"../../../evil","siblings":[{"rfilename":"model.safetensors"}]}"#, ""));
    let error = get(PLACE, &settings(&inner, &hub.address)).unwrap_err().to_string();
    assert!(error.contains("names no commit"), "{error}");
    let hub = serve(|asked, _| match asked.path.starts_with("/api") {
        true => whole(br#"{"sha":"c0ffee","siblings":[{"rfilename":"model.safetensors"}]}"#, ""),
        false => whole(&weights(), "etag: \"../../../evil\"\r\n"),
    });
    let error = get(PLACE, &settings(&inner, &hub.address)).unwrap_err().to_string();
    assert!(error.contains("does not name its content by a hash"), "{error}");
    let found = std::process::Command::new("find").arg(folder.path()).args(["-name", "*evil*"]).output().unwrap();
    assert!(found.status.success() && found.stdout.is_empty(), "{}", String::from_utf8_lossy(&found.stdout));
}

#[test]
fn two_at_once_do_each_other_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub([("model.safetensors", weights()), ("config.json", b"{}".to_vec())]);
    let settings = settings(folder.path(), &hub.address);
    std::thread::scope(|scope| {
        let both = [scope.spawn(|| get(PLACE, &settings)), scope.spawn(|| get(PLACE, &settings))];
        for path in both.map(|thread| thread.join().unwrap().unwrap()) {
            assert_eq!(fs::read(path).unwrap(), weights());
        }
    });
}

#[test]
fn a_repository_that_is_not_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub([]);
    let error = get("hf://owner/other", &settings(folder.path(), &hub.address)).unwrap_err().to_string();
    assert!(error.contains("404") && error.contains("no such repository"), "{error}");
    let elsewhere =
        Settings { endpoint: Address::parse("http://hub.example").unwrap(), ..settings(folder.path(), &hub.address) };
    let error = get(PLACE, &elsewhere).unwrap_err().to_string();
    assert!(error.contains("https://") && !error.contains("secret"), "{error}");
}

#[test]
fn branches_tags_and_commits_are_taken_and_kept_for_offline() {
    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    let folder = tempfile::tempdir().unwrap();
    let hub = serve(|asked, _| match asked.path.rsplit_once("/revision/") {
        Some(("/api/models/owner/name", "main" | "v1.0" | "refs%2Fpr%2F1" | "0123456" | COMMIT)) => {
            let siblings = r#"[{"rfilename":"pytorch_model.bin"},{"rfilename":"config.json"}]"#;
            whole(format!("{{\"sha\":{COMMIT:?},\"siblings\":{siblings}}}").as_bytes(), "")
        }
        None if asked.path == format!("/owner/name/resolve/{COMMIT}/config.json") => file(b"{}", asked),
        None if asked.path.contains(COMMIT) => file(&weights(), asked),
        _ => reply("404 Not Found", "content-length: 0\r\n", b""),
    });
    let settings = settings(folder.path(), &hub.address);
    let repository = folder.path().join("hub/models--owner--name");
    for (revision, reference) in
        [("main", "main"), ("v1.0", "v1.0"), ("refs%2Fpr%2F1", "refs/pr/1"), ("0123456", "0123456")]
    {
        let place = format!("{PLACE}@{revision}");
        let error = get(&place, &offline(&settings)).unwrap_err().to_string();
        assert!(error.contains(&place) && error.contains("without --offline"), "{error}");
        let path = get(&place, &settings).unwrap();
        assert_eq!(path, repository.join("snapshots").join(COMMIT).join("pytorch_model.bin"));
        assert_eq!(get(&place, &offline(&settings)).unwrap(), path);
        assert_eq!(fs::read_to_string(repository.join("refs").join(reference)).unwrap(), COMMIT);
    }
    // A commit is its own name.
    let place = format!("{PLACE}@{COMMIT}");
    assert_eq!(get(&place, &settings).unwrap(), get(&place, &offline(&settings)).unwrap());
    assert!(!repository.join("refs").join(COMMIT).exists());
    let error = get(&format!("{PLACE}@other"), &settings).unwrap_err().to_string();
    assert!(error.contains("404") && error.contains("revision"), "{error}");
}
