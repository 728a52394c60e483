//! `descry` as people and scripts run it.

use super::polling::until;
use descry_tests::{descry, program};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use tokio::sync::mpsc;

/// Runs a command, which must succeed, and returns what it printed.
#[track_caller]
pub(crate) fn succeed(arguments: &[&str]) -> String {
    let output = descry(arguments);
    let printed = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "descry {arguments:?}: {printed}{complaint}");
    printed
}

/// Runs a command, which must fail, and returns what it printed and what it complained of.
#[track_caller]
pub(crate) fn fail(arguments: &[&str]) -> (String, String) {
    let output = descry(arguments);
    let printed = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "descry {arguments:?}: {printed}{complaint}");
    (printed, complaint)
}

/// What was printed with `--json`: one value a line.
#[track_caller]
pub(crate) fn json_lines(printed: &str) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
    printed.lines().map(parse).collect()
}

/// The last line of what was printed with `--json`.
#[track_caller]
pub(crate) fn last_json(printed: &str) -> Value {
    json_lines(printed).pop().unwrap_or_else(|| panic!("nothing was printed"))
}

/// A command that runs beside the test; killed when dropped.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(program("descry"));
        Self(command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// SIGKILL: no chance to finish anything.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(&self) {
        let kill = format!("kill -INT {}", self.0.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for the end. Returns how it ended, what was printed and what was complained of: less than a pipe holds.
    pub(crate) async fn end(mut self) -> (ExitStatus, String, String) {
        let status = until("the command ends", async || self.0.try_wait().unwrap()).await;
        let (mut printed, mut complaint) = (String::new(), String::new());
        self.0.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        self.0.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
        (status, printed, complaint)
    }

    /// What it prints, line by line as it comes.
    pub(crate) fn lines(&mut self) -> mpsc::UnboundedReceiver<String> {
        let output = BufReader::new(self.0.stdout.take().unwrap());
        let (sender, receiver) = mpsc::unbounded_channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        receiver
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
