//! `descry train` and the lab's other commands, which a second program runs.

use descry_tests::{descry, program};
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
