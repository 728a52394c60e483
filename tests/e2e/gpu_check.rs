//! `gpu/check.sh`, rehearsed without a GPU: what it says of arguments and parts, and that its steps make one JSON.

use descry_tests::program;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn check(arguments: &[&str]) -> Output {
    Command::new(root().join("gpu/check.sh")).args(arguments).output().unwrap()
}

#[track_caller]
fn refused(arguments: &[&str], word: &str) {
    let output = check(arguments);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{complaint}");
    assert!(complaint.contains(word), "{word:?} is not in: {complaint}");
}

fn bin() -> String {
    program("descry").parent().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn mistakes_are_named() {
    refused(&[], "--library is missing");
    refused(&["--library"], "--library needs a value");
    refused(&["--library", "/nowhere"], "/nowhere is not there");
    refused(&["--library", "/", "--device", "tpu"], "--device is cuda or cpu");
    refused(&["--librarian", "/"], "unknown argument");
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_str().unwrap();
    refused(&["--library", empty], "has no libonnxruntime.so");
    fs::write(folder.path().join("libonnxruntime.so"), "").unwrap();
    refused(&["--library", empty, "--bin", empty], "descry is not there");
    refused(&["--library", empty, "--bin", &bin(), "--only", "everything"], "not everything");
}

#[test]
fn a_library_in_parts_is_joined_unless_one_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().to_str().unwrap();
    let part = |number: u32| folder.path().join(format!("libonnxruntime.so.1.part-{number:02}"));
    for number in 0..12 {
        fs::write(part(number), format!("part {number} ")).unwrap();
    }
    let whole: String = (0..12).map(|number| format!("part {number} ")).collect();
    let joined = folder.path().join("libonnxruntime.so.1");
    for earlier in ["", "something else"] {
        fs::write(&joined, earlier).unwrap();
        refused(&["--library", library, "--bin", library], "descry is not there");
        assert_eq!(fs::read_to_string(&joined).unwrap(), whole);
    }
    fs::remove_file(part(4)).unwrap();
    refused(&["--library", library, "--bin", library], "a part is missing before");
}

#[test]
fn a_rehearsal_makes_one_json() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("report.json");
    let library = root().join(".onnxruntime/onnxruntime/capi");
    let output = check(&[
        "--library",
        library.to_str().unwrap(),
        "--device",
        "cpu",
        "--bin",
        &bin(),
        "--quick",
        "--only",
        "environment,missing,parity,training",
        "--out",
        out.to_str().unwrap(),
    ]);
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{printed}");
    let report: Value = serde_json::from_str(&fs::read_to_string(&out).unwrap()).unwrap();
    assert_eq!(report["failures"], Value::Array(Vec::new()), "{printed}");
    assert_eq!((&report["device"], &report["quick"]), (&Value::from("cpu"), &Value::from(true)));
    for bundle in ["dm-adapter-fp32", "up-person-fp32"] {
        assert_eq!(report["parity"][bundle]["status"], 0, "{report}");
    }
    for method in ["dm-adapter, float32", "up-person, float32"] {
        assert_eq!(report["training"][method]["ours"]["step_ms"].as_array().map(Vec::len), Some(2), "{report}");
    }
    assert!(report["missing"]["no_library"].as_str().is_some_and(|words| words.contains("/nowhere")), "{report}");
}
