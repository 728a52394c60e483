//! A program that was asked to stop ends, whatever hangs in it. Runs itself as another process, which is asked by a signal.

#![expect(clippy::unwrap_used, reason = "the test exemption does not reach helper functions of an integration test")]

use descry_serving::EXIT_HANGING;
use descry_serving::config::ConfigError;
use descry_serving::program::Program;
use descry_serving::telemetry::{LogConfig, LogFormat};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What hangs in the other process; unset in this one.
const HANGS: &str = "DESCRY_TEST_HANGS";
/// How long anything hangs, far beyond the limit of the shutdown. Whoever waited for it exits in good order.
const HANGING: Duration = Duration::from_secs(60);
/// More than blocking work is waited for that nobody else waits for.
const LIMIT: Duration = Duration::from_millis(1_300);

/// The other process; of no meaning in this one.
#[test]
fn serve_and_hang() {
    let Some(hangs) = std::env::var_os(HANGS).and_then(|hangs| hangs.into_string().ok()) else { return };
    let program = Program {
        name: "hanging",
        log: LogConfig { filter: "info".to_owned(), format: LogFormat::Text },
        telemetry: descry_serving::TelemetryConfig::default(),
        longest_shutdown: LIMIT,
    };
    let code = program.run(async |shutdown| {
        if hangs == "every thread" {
            for _ in 0..std::thread::available_parallelism().unwrap().get() + 1 {
                tokio::spawn(async { std::thread::sleep(HANGING) });
            }
        }
        eprintln!("serving");
        shutdown.await;
        match hangs.as_str() {
            "a blocking task that is waited for" => {
                let _ = tokio::task::spawn_blocking(|| std::thread::sleep(HANGING)).await;
            }
            "a blocking task that is left" => drop(tokio::task::spawn_blocking(|| std::thread::sleep(HANGING))),
            _ => {}
        }
        Ok::<_, ConfigError>(())
    });
    std::process::exit(if code == std::process::ExitCode::SUCCESS { 0 } else { 1 });
}

/// The process, which serves.
fn started(hangs: &str) -> (Child, impl Iterator<Item = String>) {
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "serve_and_hang", "--nocapture", "--test-threads", "1"])
        .env(HANGS, hangs)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    lines.find(|line| line == "serving").unwrap();
    (child, lines)
}

#[test]
fn a_program_ends_whatever_hangs_and_says_so() {
    let waited_for = "a blocking task that is waited for";
    let hanging = ["nothing", "a blocking task that is left", "every thread", waited_for];
    let mut processes: Vec<_> = hanging.map(started).into();
    for (child, _) in &processes {
        assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    }
    for (hangs, (child, lines)) in hanging.iter().zip(&mut processes) {
        let code = child.wait().unwrap().code();
        let said = lines.collect::<Vec<_>>().join("\n");
        let is_waited_for = *hangs == waited_for;
        assert_eq!(code, Some(if is_waited_for { EXIT_HANGING } else { 0 }), "{hangs}: {said}");
        assert_eq!(said.contains("something hangs"), is_waited_for, "{hangs}: {said}");
    }
}
