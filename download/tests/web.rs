//! Files from addresses: breaks, lies, redirects, pages.

// Without this, lints count helpers of an integration test as shipped code.
#![cfg(test)]

mod server;

use descry_download::DownloadError;
use server::{Server, get, reply, rest, serve, settings, sha256, weights, whole};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const NO_HUB: &str = "http://127.0.0.1:1";

fn best(server: &Server, folder: &Path) -> Result<PathBuf, DownloadError> {
    get(&format!("{}/best.pth", server.address), &settings(folder, NO_HUB))
}

#[test]
fn goes_on_where_it_broke_off() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(|asked, earlier| {
        let body = weights();
        match (asked.start(), earlier) {
            (None, 0) => reply("200 OK", "content-length: 200000\r\netag: \"a\"\r\n", &body[..90_000]),
            (Some(start), _) => rest(&body, start, "etag: \"a\"\r\n"),
            (None, _) => reply("500 Wrong", "", b""),
        }
    });
    let path = best(&server, folder.path()).unwrap();
    assert_eq!(fs::read(path).unwrap(), weights());
    let asked = server.asked();
    assert_eq!(asked[1].start(), Some(90_000));
    assert!(asked[1].headers.contains("if-range: \"a\""), "{}", asked[1].headers);
}

#[test]
fn begins_again_where_parts_are_unknown_or_the_file_changed() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(|_, earlier| match earlier {
        0 => reply("200 OK", "content-length: 200000\r\netag: \"a\"\r\n", &[1; 90_000]),
        _ => whole(&weights(), "etag: \"b\"\r\n"),
    });
    assert_eq!(fs::read(best(&server, folder.path()).unwrap()).unwrap(), weights());
}

#[test]
fn what_is_cut_short_for_ever_never_looks_finished() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(|_, _| reply("200 OK", "content-length: 200000\r\n", &weights()[..9]));
    let error = best(&server, folder.path()).unwrap_err();
    assert!(matches!(error, DownloadError::Broken { .. }), "{error}");
    let found = std::process::Command::new("find").arg(folder.path()).args(["-name", "best.pth"]).output().unwrap();
    assert!(found.stdout.is_empty());
}

#[test]
fn error_pages_are_no_weights() {
    let page = b"<!DOCTYPE html><html>Please sign in</html>";
    for headers in ["content-type: text/html\r\n", "content-type: application/octet-stream\r\n"] {
        let folder = tempfile::tempdir().unwrap();
        let server = serve(move |_, _| whole(page, headers));
        let error = best(&server, folder.path()).unwrap_err().to_string();
        assert!(error.contains("web page"), "{error}");
    }
}

#[test]
fn limits_count_what_is_announced_and_what_is_sent() {
    for headers in ["content-length: 99000000\r\n", "transfer-encoding: chunked\r\n"] {
        let folder = tempfile::tempdir().unwrap();
        let server = serve(move |_, _| {
            let mut reply = reply("200 OK", headers, b"");
            for _ in 0..32 {
                reply.extend_from_slice(b"10000\r\n");
                reply.extend_from_slice(&[1; 0x10000]);
                reply.extend_from_slice(b"\r\n");
            }
            reply
        });
        let error = best(&server, folder.path()).unwrap_err();
        assert!(matches!(error, DownloadError::TooLarge { .. }), "{error}");
    }
}

#[test]
fn redirects_end_and_stay_private() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(|_, _| reply("302 Found", "location: /again\r\ncontent-length: 0\r\n", b""));
    let error = best(&server, folder.path()).unwrap_err().to_string();
    assert!(error.contains("without an end"), "{error}");
    let server = serve(|_, _| reply("302 Found", "location: http://192.0.2.1/x\r\ncontent-length: 0\r\n", b""));
    let error = best(&server, folder.path()).unwrap_err().to_string();
    assert!(error.contains("https://"), "{error}");
}

#[test]
fn a_wrong_hash_is_refused_and_a_right_one_is_not_fetched_twice() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(|_, _| whole(&weights(), ""));
    let place = format!("{}/best.pth", server.address);
    let mut settings = settings(folder.path(), "http://127.0.0.1:1");
    settings.sha256 = Some("00".repeat(32));
    let error = get(&place, &settings).unwrap_err().to_string();
    assert!(error.contains("SHA-256"), "{error}");
    settings.sha256 = Some(sha256(&weights()));
    get(&place, &settings).unwrap();
    settings.offline = true;
    get(&place, &settings).unwrap();
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn offline_takes_what_is_here_if_it_is_the_wanted_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(|_, _| whole(&weights(), ""));
    let place = format!("{}/best.pth?signature=signed", server.address);
    let mut settings = settings(folder.path(), NO_HUB);
    settings.offline = true;
    let error = get(&place, &settings).unwrap_err().to_string();
    assert!(error.contains("offline") && !error.contains("signed"), "{error}");
    settings.offline = false;
    let path = get(&place, &settings).unwrap();
    settings.offline = true;
    assert_eq!(get(&place, &settings).unwrap(), path);
    settings.sha256 = Some("00".repeat(32));
    let error = get(&place, &settings).unwrap_err().to_string();
    assert!(error.contains("SHA-256") && !error.contains("signed"), "{error}");
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn who_says_nothing_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    // The system accepts the connection; nobody reads from it.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = get(&format!("http://{}/best.pth", mute.local_addr().unwrap()), &settings(folder.path(), NO_HUB));
    assert!(matches!(error, Err(DownloadError::Broken { .. })), "{error:?}");
    let server = serve(|_, _| reply("200 OK", "content-length: 200000\r\n", &weights()[..9]));
    let error = get(&format!("{}/silent.pth", server.address), &settings(folder.path(), NO_HUB)).unwrap_err();
    assert!(matches!(&error, DownloadError::Broken { reason, .. } if reason.contains("nothing arrives")), "{error}");
}

#[test]
fn servers_that_send_more_than_they_announced_are_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    // The announced bytes are a file of their own, and a second answer on the same connection is not waited for.
    let server = serve(|_, _| reply("200 OK", "content-length: 9\r\n", &weights()));
    assert_eq!(fs::read(best(&server, folder.path()).unwrap()).unwrap(), weights()[..9]);
}

#[test]
fn a_busy_server_is_asked_again_and_a_strict_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(|_, earlier| match earlier {
        0 => reply("503 Busy", "content-length: 0\r\n", b""),
        _ => whole(&weights(), ""),
    });
    assert_eq!(fs::read(best(&server, folder.path()).unwrap()).unwrap(), weights());
    for (status, advice) in [("401 No", "HF_TOKEN"), ("403 No", "gated"), ("404 No", "no such"), ("410 No", "no file")]
    {
        let server = serve(move |_, _| reply(status, "content-length: 0\r\n", b""));
        let error = best(&server, folder.path()).unwrap_err().to_string();
        assert!(error.contains(advice) && error.contains(&status[..3]), "{error}");
        assert_eq!(server.asked().len(), 1, "{status} does not pass");
    }
}

#[test]
fn a_rest_that_ends_early_is_no_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(|asked, earlier| {
        let body = weights();
        let part = |from: usize, to: usize, headers: &str| {
            let range = format!("etag: \"a\"\r\ncontent-range: bytes {from}-{}/{}\r\n{headers}", to - 1, body.len());
            reply("206 Partial Content", &range, &body[from..to])
        };
        match (asked.start(), earlier) {
            (None, 0) => reply("200 OK", "content-length: 200000\r\netag: \"a\"\r\n", &body[..90_000]),
            // What it announces is what it sends, and yet not all that is missing.
            (Some(90_000), _) => part(90_000, 120_000, "content-length: 30000\r\n"),
            // Its length is nowhere but in the range.
            (Some(120_000), _) => part(120_000, 150_000, ""),
            (Some(start), _) => rest(&body, start, "etag: \"a\"\r\n"),
            (None, _) => reply("500 Wrong", "", b""),
        }
    });
    assert_eq!(fs::read(best(&server, folder.path()).unwrap()).unwrap(), weights());
    assert_eq!(server.asked().last().unwrap().start(), Some(150_000));
}

#[test]
fn a_rest_of_another_file_is_not_joined_to_the_part_that_is_here() {
    for headers in ["etag: \"b\"\r\n", "", "etag: W/\"a\"\r\n"] {
        let folder = tempfile::tempdir().unwrap();
        // It does not know `if-range`, so it sends the rest of whatever is there now.
        let server = serve(move |asked, earlier| match (asked.start(), earlier) {
            (_, 0) => reply("200 OK", "content-length: 200000\r\netag: \"a\"\r\n", &[1; 90_000]),
            (Some(start), _) => rest(&weights(), start, headers),
            (None, _) => whole(&weights(), headers),
        });
        assert_eq!(fs::read(best(&server, folder.path()).unwrap()).unwrap(), weights(), "{headers}");
        assert_eq!(server.asked().last().unwrap().start(), None);
    }
}

#[test]
fn parts_that_were_not_asked_for_are_refused() {
    let ranges = ["bytes 0-199999/200000", "bytes 90001-199999/200000", "bytes 90000-200000/200000", "bytes 90000-9/9"];
    for range in ranges {
        let folder = tempfile::tempdir().unwrap();
        let server = serve(move |asked, _| match asked.start() {
            None => reply("200 OK", "content-length: 200000\r\netag: \"a\"\r\n", &weights()[..90_000]),
            Some(_) => {
                let headers = format!("etag: \"a\"\r\ncontent-range: {range}\r\n");
                reply("206 Partial Content", &headers, &weights()[90_000..])
            }
        });
        let error = best(&server, folder.path()).unwrap_err().to_string();
        assert!(error.contains("another part"), "{range}: {error}");
    }
}

#[test]
fn a_page_in_small_pieces_and_a_compressed_file_are_no_weights() {
    let page = b"\n <!DOCTYPE HTML><p>Quota exceeded</p>";
    let server = serve(move |_, _| {
        let pieces: Vec<u8> = page.iter().flat_map(|byte| [b"1\r\n", &[*byte][..], b"\r\n"].concat()).collect();
        reply("200 OK", "transfer-encoding: chunked\r\n", &[&pieces[..], b"0\r\n\r\n"].concat())
    });
    let folder = tempfile::tempdir().unwrap();
    let error = best(&server, folder.path()).unwrap_err().to_string();
    assert!(error.contains("web page"), "{error}");
    let server = serve(|_, _| whole(&weights(), "content-encoding: gzip\r\n"));
    let error = best(&server, folder.path()).unwrap_err().to_string();
    assert!(error.contains("compressed"), "{error}");
    assert!(server.asked()[0].headers.contains("accept-encoding: identity"));
}

#[test]
fn a_full_disk_is_told_and_ends_the_download() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(|_, _| whole(&weights(), ""));
    let place = format!("{}/best.pth", server.address);
    let mut settings = settings(folder.path(), NO_HUB);
    settings.offline = true;
    let Err(DownloadError::Offline { cache, .. }) = get(&place, &settings) else { panic!("nothing is here") };
    fs::create_dir_all(&cache).unwrap();
    // A file that never has room for a byte.
    symlink("/dev/full", cache.with_file_name("part.incomplete")).unwrap();
    settings.offline = false;
    let error = get(&place, &settings).unwrap_err();
    assert!(matches!(error, DownloadError::Full { .. }), "{error:?}");
    assert!(error.to_string().contains("no room") && error.to_string().contains("goes on"), "{error}");
    assert_eq!(server.asked().len(), 1, "asking again makes no room");
    assert!(!cache.join("best.pth").exists());
}
