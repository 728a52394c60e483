//! A command for each match.

use super::matched::Match;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

/// Commands that run at once; further matches wait, and the service with them.
const MAX_COMMANDS: u32 = 4;
/// A command that takes longer is ended: four that hang would stop all of them.
const TIME_LIMIT: Duration = Duration::from_secs(300);

/// Runs a program for matches: without a shell, so nothing in a name is a command. What is known of the match stands in
/// variables, and its JSON on standard input.
pub(super) struct Commands {
    program: PathBuf,
    permits: Arc<Semaphore>,
}

impl Commands {
    pub(super) fn of(program: PathBuf) -> Self {
        Self { program, permits: Arc::new(Semaphore::new(MAX_COMMANDS as usize)) }
    }

    /// Starts the program as soon as not too many of them run. A failure is told and ends nothing.
    pub(super) async fn run(&self, found: &Match) {
        let Ok(permit) = self.permits.clone().acquire_owned().await else { return };
        let (program, found) = (self.program.clone(), found.clone());
        tokio::spawn(async move {
            if let Err(reason) = run(&program, &found).await {
                tracing::warn!("{} for {:?} of watch {}: {reason}", program.display(), found.image_id(), found.watch());
            }
            drop(permit);
        });
    }

    /// Waits until none runs any more.
    pub(super) async fn finish(&self) {
        // Nobody closes it, so there is nothing to do about an error.
        let _ = self.permits.acquire_many(MAX_COMMANDS).await;
    }
}

async fn run(program: &Path, found: &Match) -> Result<(), String> {
    let mut child = start(program, found).map_err(|error| format!("cannot be started: {error}"))?;
    let input = child.stdin.take();
    let ended = async {
        if let Some(mut input) = input {
            // Who does not read what is said still hears of the match.
            let _ = input.write_all(format!("{}\n", found.json()).as_bytes()).await;
        }
        child.wait().await
    };
    match tokio::time::timeout(TIME_LIMIT, ended).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(status.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => {
            end_all(&mut child).await;
            Err(format!("took more than {} s and was ended", TIME_LIMIT.as_secs()))
        }
    }
}

/// Ends a program and what it began: it leads a group of its own, and a script's last command is another process.
async fn end_all(child: &mut Child) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        // A group that is gone needs no ending.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.wait().await;
}

fn start(program: &Path, found: &Match) -> std::io::Result<Child> {
    let mut command = Command::new(program);
    command.stdin(Stdio::piped()).kill_on_drop(true);
    // Standard output is for matches alone.
    command.stdout(std::io::stderr().as_fd().try_clone_to_owned()?);
    // Ctrl-C ends the following; what runs for a match is finished.
    command.process_group(0);
    for (name, value) in found.variables() {
        command.env(name, value);
    }
    command.spawn()
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_proto::search::v1::{Hit, WatchMatch};
    use tokio::io::AsyncReadExt as _;

    fn found(image_id: &str) -> Match {
        let hit = Hit { image_id: image_id.to_owned(), score: 0.5, ..Hit::default() };
        Match::of(WatchMatch { watch: "red".to_owned(), hit: Some(hit), position: String::new() })
    }

    fn script(folder: &Path, content: &str) -> PathBuf {
        let path = folder.join("notify");
        // Written by another process: a system starts no program that is still open for writing, and a test beside this
        // one may just have made a copy of this process with the file open in it.
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod 755 \"$2\"";
        let mut shell = std::process::Command::new("sh");
        assert!(shell.args(["-c", write, "sh", content]).arg(&path).status().unwrap().success());
        path
    }

    #[tokio::test]
    async fn what_a_command_began_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        // Both hold the pipe open; it ends when both are gone.
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & echo began; sleep 1000"]).stdout(Stdio::piped()).process_group(0);
        let mut child = command.current_dir(folder.path()).spawn().unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut began = [0; 6];
        output.read_exact(&mut began).await.unwrap();
        end_all(&mut child).await;
        assert_eq!(output.read(&mut began).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_command_hears_of_the_match_and_nothing_in_a_name_is_a_command() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().display();
        let content = format!(
            "cat > {out}/input.$$\nprintf '%s' \"$DESCRY_WATCH|$DESCRY_IMAGE_ID|$DESCRY_SCORE\" > {out}/seen.$$"
        );
        let commands = Commands::of(script(folder.path(), &content));
        let names: Vec<String> = (0..9).map(|number| format!("$(touch {out}/owned); `x` {number}")).collect();
        for name in &names {
            commands.run(&found(name)).await;
        }
        commands.finish().await;
        let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut seen = Vec::new();
        for path in files {
            let file = path.file_name().unwrap().to_str().unwrap();
            assert_ne!(file, "owned");
            let text = std::fs::read_to_string(&path).unwrap();
            if file.starts_with("input") {
                let value: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!((&value["watch"], value["score"].as_f64()), (&serde_json::json!("red"), Some(0.5)));
            } else if file.starts_with("seen") {
                seen.push(text);
            }
        }
        seen.sort();
        assert_eq!(seen, names.iter().map(|name| format!("red|{name}|0.5")).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_failure_is_told_and_ends_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let failing = script(folder.path(), "exit 3");
        assert!(run(&failing, &found("a")).await.unwrap_err().contains('3'));
        assert!(run(Path::new("/nowhere/notify"), &found("a")).await.unwrap_err().contains("cannot be started"));
        assert!(run(&script(folder.path(), "exit 0"), &found("a\0b")).await.is_ok());
    }
}
