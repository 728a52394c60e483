//! Checkpoints from where they lie: a hub and an address give the bundle that the folder gives, and the commands of
//! `descry export --list` read what they are for.

mod bad_days;

use descry_model::{Bundle, sha256_hex};
use descry_tests::{golden_folder, program};
use safetensors::tensor::{Dtype, TensorView};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const COMMIT: &str = "c0ffee";
/// Nobody answers there.
const NOWHERE: &str = "http://127.0.0.1:1";

fn fixture(name: &str) -> PathBuf {
    golden_folder().join("fixtures").join(name)
}

/// A server that is a hub with these repositories (`OWNER/REPO`), and has the files of the folder named "" at its root.
fn serve(folders: BTreeMap<&'static str, PathBuf>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let Some((path, range)) = question(&stream) else { continue };
            let _ = stream.write_all(&answer(&folders, &path, range));
        }
    });
    address
}

/// The path, and from which byte on.
fn question(stream: &TcpStream) -> Option<(String, Option<usize>)> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers = lines.take_while(|line| !line.is_empty()).map(|line| line.to_ascii_lowercase());
    let ranges = headers.filter_map(|line| line.strip_prefix("range: bytes=")?.split('-').next()?.parse().ok());
    // All lines are read before the answer, so that closing the connection does not take it back.
    Some((path, ranges.last()))
}

fn answer(folders: &BTreeMap<&'static str, PathBuf>, path: &str, start: Option<usize>) -> Vec<u8> {
    let path = path.trim_start_matches('/');
    let absent = || b"HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_vec();
    let listed = path.strip_prefix("api/models/").and_then(|rest| rest.strip_suffix("/revision/main"));
    if let Some(folder) = listed.and_then(|repository| folders.get(repository)) {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let siblings: Vec<_> = names.map(|name| serde_json::json!({ "rfilename": name })).collect();
        let listing = serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string();
        return reply("200 OK", "", listing.as_bytes());
    }
    let (repository, name) = path.split_once(&format!("/resolve/{COMMIT}/")).unwrap_or(("", path));
    let content = folders.get(repository).and_then(|folder| fs::read(folder.join(name)).ok());
    let Some(content) = content else { return absent() };
    let tag = format!("etag: \"{}\"\r\n", sha256_hex(&content));
    match start {
        None => reply("200 OK", &tag, &content),
        Some(start) => {
            let range = format!("content-range: bytes {start}-{}/{}\r\n", content.len() - 1, content.len());
            reply("206 Partial Content", &format!("{tag}{range}"), &content[start..])
        }
    }
}

fn reply(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut reply =
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n").into_bytes();
    reply.extend_from_slice(body);
    reply
}

/// Runs `descry` in a folder that is its home and its working directory.
fn descry(folder: &Path, endpoint: &str, arguments: &[&str]) -> Output {
    command(folder, endpoint, arguments).output().unwrap()
}

fn command(folder: &Path, endpoint: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program("descry"));
    command.args(arguments).current_dir(folder).env("HF_ENDPOINT", endpoint).env("HF_HOME", folder.join("hub-home"));
    for variable in ["HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE"] {
        command.env_remove(variable);
    }
    command.env("XDG_CACHE_HOME", folder.join("caches"));
    command
}

#[track_caller]
fn succeed(output: Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn a_checkpoint_from_a_hub_gives_the_bundle_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let hub = serve(BTreeMap::from([("owner/clip", fixture("clip-hf"))]));
    let export = |endpoint: &str, checkpoint: &str, out: &str, more: &[&str]| {
        let arguments = [&["export", "--checkpoint", checkpoint, "--without-tokenizer", "--out", out], more].concat();
        descry(folder.path(), endpoint, &arguments)
    };
    let fingerprint = |out: &str| Bundle::open(&folder.path().join(out)).unwrap().fingerprint().to_owned();
    succeed(export(NOWHERE, fixture("clip-hf").to_str().unwrap(), "local", &[]));
    let sha256 = sha256_hex(&fs::read(fixture("clip-hf").join("model.safetensors")).unwrap());
    succeed(export(&hub, "hf://owner/clip", "fetched", &["--sha256", &sha256]));
    assert_eq!(fingerprint("fetched"), fingerprint("local"));
    let snapshot = folder.path().join("hub-home/hub/models--owner--clip/snapshots").join(COMMIT);
    assert!(snapshot.join("config.json").is_file() && !snapshot.join("io.npz").exists());
    // Without a network the same is there, and nothing else.
    succeed(export(NOWHERE, "hf://owner/clip", "offline", &["--offline", "--sha256", &sha256]));
    assert_eq!(fingerprint("offline"), fingerprint("local"));
    let message = |output: Output| {
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let other = message(export(NOWHERE, "hf://owner/other", "none", &["--offline"]));
    assert!(other.contains("nothing is fetched offline"), "{other}");
    let other = message(export(NOWHERE, "hf://owner/clip", "none", &["--offline", "--sha256", &"00".repeat(32)]));
    assert!(other.contains("SHA-256"), "{other}");
    let other = message(export(&hub, "hf://owner/other", "none", &[]));
    assert!(other.contains("404") && other.contains("no such repository"), "{other}");
    assert!(!folder.path().join("none").exists());
}

/// The small checkpoint of a family's layout, and what the summary calls its method.
fn small_checkpoint(family: &str) -> (&'static str, &'static str) {
    match family {
        "CLIP, Hugging Face form" | "CLIP, OpenAI's own file" => ("clip-hf", "clip"),
        "OpenCLIP" => ("openclip", "clip"),
        "IRRA" | "MLLM4Text-ReID" | "HAM" | "GA-DMS" | "FMFA" => ("irra", "irra"),
        "RDE" | "ICL" => ("rde", "rde"),
        "TBPS-CLIP" => ("tbps-clip", "tbps-clip"),
        "DM-Adapter" => ("dm-adapter", "dm-adapter"),
        "UP-Person" => ("up-person", "up-person"),
        _ => panic!("{family} is in the list, and no test reads a checkpoint of its layout"),
    }
}

/// The same weights under OpenAI's names. (Their own file is a TorchScript archive, which `export` has a test for.)
fn write_as_openai_does(folder: &Path, file: &Path) {
    let tensors = descry_export::Checkpoint::open(folder).unwrap().tensors;
    let bytes: Vec<Vec<u8>> =
        tensors.values().map(|tensor| tensor.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, tensor), bytes)| {
        (name.clone(), TensorView::new(Dtype::F32, tensor.shape().to_vec(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, file).unwrap();
}

#[test]
fn every_command_of_the_list_reads_a_checkpoint_of_its_layout() {
    let folder = tempfile::tempdir().unwrap();
    let list = succeed(descry(folder.path(), NOWHERE, &["export", "--list"]));
    let web = folder.path().join("web");
    fs::create_dir(&web).unwrap();
    write_as_openai_does(&fixture("clip-hf"), &web.join("ViT-B-16.pt"));
    let openai_sha256 = sha256_hex(&fs::read(web.join("ViT-B-16.pt")).unwrap());
    let server = serve(BTreeMap::from([
        ("", web),
        ("openai/clip-vit-base-patch16", fixture("clip-hf")),
        ("laion/CLIP-ViT-B-16-laion2B-s34B-b88K", fixture("openclip")),
    ]));
    let mut families = 0;
    for paragraph in list.split("\n\n") {
        let Some((_, command)) = paragraph.split_once("\n  command ") else { continue };
        let family = paragraph.split_once(" (").unwrap().0;
        let (name, method) = small_checkpoint(family);
        let mut words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        assert_eq!(words[..3], ["descry", "export", "--checkpoint"], "{command}");
        if words[3].starts_with("https://") {
            // The same place with another host, and the hash of what lies there.
            words[3] = format!("{server}/{}", words[3].rsplit('/').next().unwrap());
            let hash = words.iter().position(|word| word == "--sha256").unwrap() + 1;
            words[hash] = openai_sha256.clone();
        } else if !words[3].starts_with("hf://") {
            let run = folder.path().join(&words[3]).parent().unwrap().to_owned();
            fs::create_dir_all(&run).unwrap();
            for entry in fs::read_dir(fixture(name)).unwrap() {
                let entry = entry.unwrap();
                fs::copy(entry.path(), run.join(entry.file_name())).unwrap();
            }
        }
        // The small models have vocabularies of their own.
        words.push("--without-tokenizer".to_owned());
        let words: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let summary = succeed(descry(folder.path(), &server, &words));
        let found = summary.lines().find_map(|line| line.strip_prefix("family ")).unwrap().trim();
        assert_eq!(found, method, "{family}");
        families += 1;
    }
    assert_eq!(families, 13, "{list}");
}
