//! `descry train`, `synth` and `bench`: commands of the program `descry-lab`, which stands beside this one.
//!
//! Training, drawing and measuring are more code than all that serves, and nobody needs them in production. So they are
//! a program of their own, to which this one hands over, as git does.

use anyhow::Context as _;
use clap::Command;
use std::env::consts::EXE_SUFFIX;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

/// The commands, with what `descry --help` says of them.
const COMMANDS: [(&str, &str); 3] = [
    ("train", "Lab: fine-tune CLIP with DM-Adapter or UP-Person, or train a small CLIP from nothing"),
    ("synth", "Lab: make a data set of drawn pedestrians with captions, in CUHK-PEDES' layout"),
    ("bench", "Lab: measure the encoder and its parts, stores, searches and training"),
];

/// The lab's commands as help and suggestions list them. What follows them is for the lab to parse.
pub(crate) fn listed() -> impl Iterator<Item = Command> {
    COMMANDS.into_iter().map(|(name, about)| Command::new(name).about(about))
}

/// Whether these arguments, without the program's name, are for the lab: one of its commands, after `help` or not.
pub(crate) fn is_asked(arguments: &[OsString]) -> bool {
    let mut words = arguments.iter().map(OsString::as_os_str);
    while let Some(word) = words.next() {
        if word == "--log" {
            words.next();
        } else if word != "help" && !word.as_encoded_bytes().starts_with(b"--log=") {
            return COMMANDS.iter().any(|(name, _)| word == OsStr::new(name));
        }
    }
    false
}

/// Becomes the lab's program: the same arguments, signals, output and exit status.
pub(crate) fn hand_over(arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe().context("finding descry-lab beside this program")?;
    let lab = program.with_file_name(format!("descry-lab{EXE_SUFFIX}"));
    anyhow::ensure!(
        lab.is_file(),
        "this command is one of the lab's, and its program is not there: {}; `make lab` builds it, or put descry-lab \
         into that folder",
        lab.display()
    );
    replace_by(&lab, arguments).with_context(|| format!("cannot run {}", lab.display()))
}

#[cfg(unix)]
fn replace_by(lab: &Path, arguments: &[OsString]) -> std::io::Result<ExitCode> {
    use std::os::unix::process::CommandExt as _;
    // Called by this name, its help shows the commands as they were typed.
    Err(std::process::Command::new(lab).arg0("descry").args(arguments).exec())
}

#[cfg(not(unix))]
fn replace_by(lab: &Path, arguments: &[OsString]) -> std::io::Result<ExitCode> {
    let status = std::process::Command::new(lab).args(arguments).status()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_that_is_no_option_decides() {
        let is_asked = |line: &str| is_asked(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>());
        for line in ["train", "bench search store", "--log info synth --out x", "--log=info train", "help train"] {
            assert!(is_asked(line), "{line}");
        }
        for line in ["", "--log", "--log train", "help", "help search", "search train", "--help train", "trains"] {
            assert!(!is_asked(line), "{line}");
        }
    }
}
