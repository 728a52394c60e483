//! Downloads that are interrupted, and what is secret in where they come from.

use super::{answer, command, descry, fixture, question, succeed, write_as_openai_does};
use descry_model::sha256_hex;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

/// Ctrl-C ends a program in the same way, unless it runs in the background, as tests may: there shells have it ignored.
const TERMINATE: i32 = 15;

/// Paths that were asked for, and from which byte on.
type Questions = Arc<Mutex<Vec<(String, Option<usize>)>>>;

/// Serves what `reply` makes of each question. A connection stays open where the answer says so.
fn serve(reply: impl Fn(&str, Option<usize>) -> (Vec<u8>, bool) + Send + 'static) -> (String, Questions) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let questions = Questions::default();
    let kept = Arc::clone(&questions);
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let Some((path, start)) = question(&stream) else { continue };
            kept.lock().unwrap().push((path.clone(), start));
            let (bytes, stays_open) = reply(&path, start);
            let _ = stream.write_all(&bytes);
            open.extend(Some(stream).filter(|_| stays_open));
        }
    });
    (address, questions)
}

#[test]
fn a_signal_leaves_what_has_arrived_and_the_same_command_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let weights = fs::read(fixture("clip-hf").join("model.safetensors")).unwrap();
    let half = weights.len() / 2;
    let folders = BTreeMap::from([("owner/clip", fixture("clip-hf"))]);
    let all = weights.len();
    let (hub, questions) = serve(move |path, start| {
        let mut bytes = answer(&folders, path, start);
        // Nothing comes behind the middle of the weights, to whoever wants all of them.
        let is_cut = path.ends_with("model.safetensors") && start.is_none();
        if is_cut {
            bytes.truncate(bytes.len() - (all - half));
        }
        (bytes, is_cut)
    });
    let endpoint = format!("http://{hub}");
    let arguments = ["export", "--checkpoint", "hf://owner/clip", "--without-tokenizer", "--out", "bundle"];
    let mut running = command(folder.path(), &endpoint, &arguments).stderr(Stdio::null()).spawn().unwrap();
    let blobs = folder.path().join("hub-home/hub/models--owner--clip/blobs");
    let part = blobs.join(format!("{}.descry-incomplete", sha256_hex(&weights)));
    while fs::metadata(&part).map_or(0, |part| part.len()) < half as u64 {
        assert!(running.try_wait().unwrap().is_none(), "the program ended before it was interrupted");
        std::thread::yield_now();
    }
    let sent = Command::new("kill").args(["-TERM", &running.id().to_string()]).status().unwrap();
    assert!(sent.success());
    assert_eq!(running.wait().unwrap().signal(), Some(TERMINATE));
    assert_eq!(fs::read(&part).unwrap(), weights[..half]);
    assert!(!folder.path().join("bundle").exists());
    questions.lock().unwrap().clear();
    succeed(descry(folder.path(), &endpoint, &arguments));
    let starts: Vec<_> =
        questions.lock().unwrap().iter().filter(|(path, _)| path.ends_with("model.safetensors")).map(|q| q.1).collect();
    assert_eq!(starts, [Some(0), Some(half)]);
    assert!(!part.exists() && folder.path().join("bundle").is_dir());
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn no_password_signature_or_token_is_printed_logged_or_written() {
    let folder = tempfile::tempdir().unwrap();
    let web = folder.path().join("web");
    fs::create_dir(&web).unwrap();
    write_as_openai_does(&fixture("clip-hf"), &web.join("ViT-B-16.pt"));
    let folders = BTreeMap::from([("", web), ("owner/clip", fixture("clip-hf"))]);
    let (server, questions) = serve(move |path, start| {
        let plain = path.split('?').next().unwrap();
        if plain == "/moved.pt" {
            let headers = "location: /ViT-B-16.pt?signature=secret\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
            return (format!("HTTP/1.1 302 Found\r\n{headers}").into_bytes(), false);
        }
        (answer(&folders, plain, start), false)
    });
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    let endpoint = format!("http://user:secret@{server}");
    let of = |path: &str| format!("{endpoint}/{path}?signature=secret#secret");
    let export = |checkpoint: &str, more: &[&str]| -> Output {
        let arguments =
            [&["--log", "trace", "export", "--checkpoint", checkpoint, "--without-tokenizer", "--out", "bundle"], more];
        command(&home, &endpoint, &arguments.concat()).env("HF_TOKEN", "secret-token").output().unwrap()
    };
    let hash = "00".repeat(32);
    let no_address = format!("https://user:secret@[{server}/x");
    for (place, more, succeeds) in [
        (of("moved.pt"), &[][..], true),
        (of("moved.pt"), &["--offline"], true),
        (of("moved.pt"), &["--sha256", &hash], false),
        (of("none.pt"), &[], false),
        (of("none.pt"), &["--offline"], false),
        ("hf://owner/clip".to_owned(), &[], true),
        ("hf://owner/none".to_owned(), &[], false),
        (of("x.pt").replace("127.0.0.1", "192.0.2.1"), &[], false),
        (of("x.pt").replace("http:", "ftp:"), &[], false),
        (no_address, &[], false),
    ] {
        let output = export(&place, more);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.success(), succeeds, "{said}");
        let leak = said.lines().find(|line| line.contains("secret"));
        assert_eq!(leak, None);
    }
    let asked = questions.lock().unwrap();
    assert!(asked.iter().any(|(path, _)| path.contains("secret")), "the server is told what is secret");
    for file in files(&home) {
        let content = fs::read(&file).unwrap();
        let is_told = content.windows(6).any(|bytes| bytes == b"secret") || file.to_string_lossy().contains("secret");
        assert!(!is_told, "{}", file.display());
    }
}
