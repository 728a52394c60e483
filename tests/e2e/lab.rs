//! `descry train` and the lab's other commands, which a second program runs.

use descry_qdrant_server::TestQdrant;
use descry_tests::{descry, program};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

/// `descry` in a folder of its own, where nothing else was built.
fn alone(folder: &Path) -> Command {
    let copy = folder.join("descry");
    // A link would do no good: the program looks beside the file that it leads to.
    fs::copy(program("descry"), &copy).unwrap();
    Command::new(copy)
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_lab_gets_the_same_arguments_and_gives_its_exit_status() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = alone(folder.path());
    let lab = folder.path().join("descry-lab");
    fs::write(&lab, "#!/bin/sh\necho \"$0\"\nprintf '<%s>' \"$@\"\nexit 7\n").unwrap();
    fs::set_permissions(&lab, fs::Permissions::from_mode(0o755)).unwrap();
    let output = command.args(["--log", "info", "train", "--", "--root", "a folder", "", "--help"]).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", text(&output));
    let words = "<--log><info><train><--><--root><a folder><><--help>";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{}\n{words}", lab.display()));
}

#[test]
fn a_lab_that_was_not_built_is_told_with_what_builds_it() {
    let folder = tempfile::tempdir().unwrap();
    let output = alone(folder.path()).args(["bench", "towers"]).output().unwrap();
    assert!(!output.status.success());
    let message = text(&output);
    assert!(message.contains("make lab") && message.contains(folder.path().to_str().unwrap()), "{message}");
}

#[test]
fn the_lab_s_commands_are_listed_and_have_their_own_help() {
    let help = text(&descry(["--help"]));
    for command in ["search", "train", "synth", "bench"] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(command)), "{command}: {help}");
    }
    for arguments in [["train", "--help"], ["help", "train"]] {
        let help = text(&descry(arguments));
        assert!(help.contains("Usage: descry train") && help.contains("--resume"), "{help}");
    }
    let message = text(&descry(["trian"]));
    assert!(message.contains("train"), "{message}");
}

#[test]
fn a_qdrant_server_is_measured_and_left_as_it_was() {
    let server = TestQdrant::start().unwrap();
    let url = server.url();
    let small =
        ["--images", "300", "--dimension", "16", "--queries", "3", "--recall-queries", "5", "--search-ef", "50,100"];
    let arguments = ["bench", "search", "store", "--store", "qdrant", "--qdrant-url", &url, "--json", "-"];
    let output = descry(arguments.into_iter().chain(small));
    assert!(output.status.success(), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["filling"]["images"], 300, "{report}");
    assert!(report["indexing_s"].is_number() && report["searches"].as_array().is_some_and(|kinds| kinds.len() == 4));
    let views: Vec<_> = report["recall"].as_array().unwrap().iter().map(|recall| recall["hnsw_ef"].as_u64()).collect();
    assert_eq!(views, [Some(50), Some(100)], "{report}");
    assert!(report["recall"].as_array().unwrap().iter().all(|recall| recall["recall"] == 1.0), "{report}");
    let calls = server.take_calls();
    assert!(calls.get("create") > Some(&0) && calls.get("delete") > Some(&0), "{calls:?}");
}
