//! The content of a hub's files: its hashes, its sizes, and the parts that are here already.

// Without this, lints count helpers of an integration test as shipped code.
#![cfg(test)]

mod hub_server;
mod server;

use descry_download::{DownloadError, Settings};
use hub_server::{PLACE, file, hub, hub_listing, index, offline};
use server::{get, serve, settings, sha256, weights, whole};
use std::collections::BTreeMap;
use std::fs;

#[test]
fn a_hash_is_compared_before_anything_comes_and_offline_too() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub([("model.safetensors", weights())]);
    let right = Settings { sha256: Some(sha256(&weights())), ..settings(folder.path(), &hub.address) };
    let other = Settings { sha256: Some("00".repeat(32)), ..right.clone() };
    let error = get(PLACE, &other).unwrap_err().to_string();
    assert!(error.contains("SHA-256"), "{error}");
    assert!(hub.asked().iter().all(|asked| asked.start() == Some(0) || asked.path.starts_with("/api")));
    assert!(!folder.path().join("hub/models--owner--name/blobs").exists());
    let path = get(PLACE, &right).unwrap();
    assert_eq!(get(PLACE, &offline(&right)).unwrap(), path);
    for other in [other.clone(), offline(&other)] {
        let error = get(PLACE, &other).unwrap_err().to_string();
        assert!(error.contains("SHA-256"), "{error}");
    }
}

#[test]
fn content_that_is_not_what_the_hub_names_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let hub = serve(|asked, _| {
        if asked.path.starts_with("/api") {
            return whole(br#"{"sha":"c0ffee","siblings":[{"rfilename":"model.safetensors"}]}"#, "");
        }
        whole(&weights(), &format!("etag: \"{}\"\r\n", sha256(b"another")))
    });
    let error = get(PLACE, &settings(folder.path(), &hub.address)).unwrap_err().to_string();
    assert!(error.contains("SHA-256"), "{error}");
    let blobs = fs::read_dir(folder.path().join("hub/models--owner--name/blobs")).unwrap();
    let names: Vec<_> = blobs.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names, [format!("{}.lock", sha256(b"another"))]);
}

#[test]
fn small_files_and_listings_have_small_limits() {
    let folder = tempfile::tempdir().unwrap();
    let large = hub([("model.safetensors", weights()), ("config.json", vec![b' '; 2_000])]);
    let error = get(PLACE, &settings(folder.path(), &large.address)).unwrap_err();
    assert!(
        matches!(&error, DownloadError::TooLarge { limit_bytes: 1024, url } if url.contains("config.json")),
        "{error}"
    );
    let large = hub_listing(BTreeMap::new(), vec!["a-file-of-no-use".repeat(1_000); 1_100]);
    let error = get(PLACE, &settings(folder.path(), &large.address)).unwrap_err();
    assert!(matches!(&error, DownloadError::TooLarge { url, .. } if url.contains("/api/models/")), "{error}");
}

#[test]
fn parts_of_other_clients_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = folder.path().join("hub/models--owner--name/blobs");
    fs::create_dir_all(&blobs).unwrap();
    let part = |ending: &str| blobs.join(format!("{}.{ending}", sha256(&weights())));
    // Of a client that reserves the room first, and of this one, which knows that what is here is right.
    fs::write(part("incomplete"), vec![0; 200_000]).unwrap();
    fs::write(part("descry-incomplete"), &weights()[..90_000]).unwrap();
    let hub = hub([("model.safetensors", weights())]);
    let path = get(PLACE, &settings(folder.path(), &hub.address)).unwrap();
    assert_eq!(fs::read(path).unwrap(), weights());
    assert_eq!(hub.asked().last().unwrap().start(), Some(90_000));
    assert_eq!(fs::read(part("incomplete")).unwrap(), vec![0; 200_000]);
    assert!(!part("descry-incomplete").exists());
}

#[test]
fn small_files_are_what_git_names_too() {
    const GIT: &str = "9e26dfeeb6e641a33dae4961196235bdb965b21b";
    let folder = tempfile::tempdir().unwrap();
    let serving = |config: &'static [u8]| {
        serve(move |asked, _| match asked.path.rsplit('/').next().unwrap() {
            "config.json" => whole(config, &format!("etag: W/\"{GIT}\"\r\n")),
            "model.safetensors" => file(&weights(), asked),
            _ => whole(
                br#"{"sha":"c0ffee","siblings":[{"rfilename":"model.safetensors"},{"rfilename":"config.json"}]}"#,
                "",
            ),
        })
    };
    let changed = serving(b"[]");
    let error = get(PLACE, &settings(folder.path(), &changed.address)).unwrap_err().to_string();
    assert!(error.contains("git hash") && error.contains(GIT) && error.contains("config.json"), "{error}");
    let snapshot = folder.path().join("hub/models--owner--name/snapshots/c0ffee");
    assert!(!snapshot.join("config.json").exists() && !snapshot.join("model.safetensors").exists());
    let right = serving(b"{}");
    let path = get(PLACE, &settings(folder.path(), &right.address)).unwrap();
    assert_eq!(fs::read(path.with_file_name("config.json")).unwrap(), b"{}");
}

#[test]
fn shards_count_together() {
    let folder = tempfile::tempdir().unwrap();
    let shards = ["model-1.safetensors", "model-2.safetensors"];
    let contents = [weights(), weights()[1..].to_vec()];
    let files = || {
        let [first, second] = contents.clone();
        [("model.safetensors.index.json", index(&shards)), (shards[0], first), (shards[1], second)]
    };
    let announcing = hub(files());
    // This one says of no file how large it is.
    let files_by_name = BTreeMap::from(files());
    let silent = serve(move |asked, _| match asked.path.rsplit_once('/').unwrap() {
        (_, "main") => {
            let listed: Vec<_> = files_by_name.keys().map(|name| format!("{{\"rfilename\":{name:?}}}")).collect();
            whole(format!("{{\"sha\":\"c0ffee\",\"siblings\":[{}]}}", listed.join(",")).as_bytes(), "")
        }
        (_, name) => {
            let body = &files_by_name[name];
            let headers = format!("transfer-encoding: chunked\r\netag: \"{}\"\r\n", sha256(body));
            let chunk = [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat();
            server::reply("200 OK", &headers, &chunk)
        }
    });
    for (hub, arrived) in [(&announcing, false), (&silent, true)] {
        let cache = folder.path().join(arrived.to_string());
        let settings = Settings { limit_bytes: 399_998, ..settings(&cache, &hub.address) };
        let error = get(PLACE, &settings).unwrap_err();
        assert!(matches!(error, DownloadError::TooLarge { limit_bytes: 399_998, .. }), "{error}");
        // Where sizes are announced, nothing comes before their sum is known.
        assert_eq!(cache.join("hub/models--owner--name/snapshots/c0ffee").join(shards[0]).exists(), arrived);
        get(PLACE, &Settings { limit_bytes: 399_999, ..settings }).unwrap();
    }
}

#[test]
fn weights_without_their_settings_are_not_taken_offline() {
    let hub =
        hub([("model.safetensors", weights()), ("config.json", b"{}".to_vec()), ("tokenizer.json", b"[]".to_vec())]);
    for missing in ["config.json", "tokenizer.json"] {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), &hub.address);
        let path = get(PLACE, &settings).unwrap();
        assert_eq!(get(PLACE, &offline(&settings)).unwrap(), path);
        // As another client leaves it that was asked for the weights alone.
        fs::remove_file(path.with_file_name(missing)).unwrap();
        let error = get(PLACE, &offline(&settings)).unwrap_err().to_string();
        assert!(
            error.contains(missing) && error.contains("owner/name") && error.contains("without --offline"),
            "{error}"
        );
        assert_eq!(get(PLACE, &settings).unwrap(), path);
        assert_eq!(get(PLACE, &offline(&settings)).unwrap(), path);
    }
}
