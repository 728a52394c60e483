//! The stack of `docker-compose.yml`, brought up for real: its order, its users, its volumes.

use crate::services::{demo_images, index, text_search};
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_tests::{demo_bundle, program};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tonic::transport::Channel;

/// Always the same, so that a run takes down what a killed one left behind.
const PROJECT: &str = "descry-whole-system-test";

const DOWN: [&str; 5] = ["down", "--volumes", "--rmi", "local", "--remove-orphans"];

/// Far longer than anything here takes: it turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(300);

/// What `setup/base-image.sh` ends with where this machine cannot make the base image.
const CANNOT_BE_MADE_HERE: i32 = 69;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The standard output of a command that succeeds.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
    stdout.trim().to_owned()
}

/// The files of a container that could be run: neither libraries, nor what the engine puts there itself.
fn programs_in(container: &str) -> Vec<String> {
    let mut export = Command::new("docker").args(["export", container]).stdout(Stdio::piped()).spawn().unwrap();
    let mut archive = tar::Archive::new(export.stdout.take().unwrap());
    let mut programs = Vec::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let is_program = entry.header().entry_type().is_file() && entry.header().mode().unwrap() & 0o111 != 0;
        if is_program && entry.size() > 0 && !path.contains(".so") && !path.starts_with("dev/") {
            programs.push(path);
        }
    }
    assert!(export.wait().unwrap().success());
    programs
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Makes the images' base. Where that is impossible, the reason.
fn base_image() -> Result<(), String> {
    if !succeeds(Command::new("docker").arg("info")) {
        return Err("no Docker engine answers".to_owned());
    }
    if COMPOSE.is_none() {
        return Err("neither `docker-compose` nor `docker compose` is installed".to_owned());
    }
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("base-image");
    let output = Command::new(repository().join("setup/base-image.sh")).arg(cache).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(CANNOT_BE_MADE_HERE) {
        return Err(stderr.lines().last().unwrap_or_default().to_owned());
    }
    assert!(output.status.success(), "setup/base-image.sh: {}\n{stderr}", output.status);
    Ok(())
}

/// The words that start Compose, as a plugin of `docker` or as the program of its own that it was before.
static COMPOSE: LazyLock<Option<&[&str]>> = LazyLock::new(|| {
    let candidates: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];
    candidates.into_iter().find(|words| succeeds(Command::new(words[0]).args(&words[1..]).arg("version")))
});

/// The folders from which the images are built: the programs under test, and ONNX Runtime's libraries.
fn prebuilt() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for service in ["encoder", "search"] {
        let name = format!("{service}-service");
        let copy = folder.path().join(service).join(&name);
        fs::create_dir(copy.parent().unwrap()).unwrap();
        // Of hundreds of megabytes most are for debuggers.
        let stripped = Command::new("strip").arg("-o").arg(&copy).arg(program(&name)).status();
        if !stripped.is_ok_and(|status| status.success()) {
            fs::copy(program(&name), &copy).unwrap();
        }
    }
    for entry in fs::read_dir(repository().join(".onnxruntime/onnxruntime/capi")).unwrap() {
        let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
        if name.starts_with("lib") {
            fs::copy(entry.unwrap().path(), folder.path().join("encoder").join(name)).unwrap();
        }
    }
    folder
}

fn compose(prebuilt: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command
        .arg(PATIENCE.as_secs().to_string())
        .args(COMPOSE.unwrap())
        .args(["--project-name", PROJECT, "--file", "docker-compose.yml"])
        .args(["--file", "tests/stack/docker-compose.override.yml"])
        .args(arguments)
        .current_dir(repository())
        .env("DESCRY_REPOSITORY", repository())
        .env("DESCRY_PREBUILT", prebuilt)
        .env("DESCRY_MODEL", demo_bundle())
        .envs([("DESCRY_BIND", "127.0.0.1"), ("DESCRY_ENCODER_PORT", "0"), ("DESCRY_SEARCH_PORT", "0")]);
    command
}

/// The running stack; taken down with its volumes and images when dropped.
struct Stack {
    prebuilt: TempDir,
    events: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Stack {
    fn start() -> Self {
        let prebuilt = prebuilt();
        output(&mut compose(prebuilt.path(), &DOWN));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let mut events = Command::new("docker")
            .args(["events", "--since", &format!("{:.6}", now.as_secs_f64())])
            .args(["--until", &(now + PATIENCE).as_secs().to_string()])
            .args(["--filter", &format!("label=com.docker.compose.project={PROJECT}")])
            .args(["--filter", "event=start", "--filter", "event=health_status", "--format"])
            .arg(r#"{{index .Actor.Attributes "com.docker.compose.service"}} {{.Action}}"#)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(events.stdout.take().unwrap()).lines();
        let stack = Self { prebuilt, events, lines };
        output(&mut stack.compose(&["up", "--detach", "--build"]));
        stack
    }

    fn compose(&self, arguments: &[&str]) -> Command {
        compose(self.prebuilt.path(), arguments)
    }

    fn container(&self, service: &str) -> String {
        output(&mut self.compose(&["ps", "--quiet", service]))
    }

    /// What the engine reports from where the last call ended up to this.
    fn events_until(&mut self, last: &str) -> Vec<String> {
        let mut seen: Vec<String> = Vec::new();
        while seen.last().is_none_or(|line| line != last) {
            let Some(line) = self.lines.next() else { panic!("{last:?} did not come, but {seen:?}") };
            seen.push(line.unwrap());
        }
        seen
    }

    async fn search(&self) -> SearchServiceClient<Channel> {
        let address = output(&mut self.compose(&["port", "search", "50052"]));
        SearchServiceClient::connect(format!("http://{address}")).await.unwrap()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let _ = self.events.kill();
        let _ = self.events.wait();
        if std::thread::panicking() {
            // A second panic would hide the first.
            if let Ok(logs) = self.compose(&["logs", "--tail", "100"]).output() {
                eprintln!("{}", String::from_utf8_lossy(&logs.stdout));
            }
            let _ = self.compose(&DOWN).output();
        } else {
            output(&mut self.compose(&DOWN));
        }
    }
}

#[tokio::test]
async fn the_stack_comes_up_in_order_and_keeps_its_galleries() {
    if let Err(reason) = base_image() {
        // Past the capture of successful tests' output: whoever reads it should not think that the stack was tested.
        let message = format!("\nSKIPPED: {reason}; the stack of docker-compose.yml was not tested\n");
        std::io::stderr().write_all(message.as_bytes()).unwrap();
        return;
    }
    let mut stack = Stack::start();
    let events = stack.events_until("search health_status: healthy");
    let position = |event: &str| events.iter().position(|seen| seen == event);
    let ready = position("encoder health_status: healthy").expect("the encoder was never healthy");
    let started = position("search start").expect("the search service did not start");
    assert!(ready < started, "{events:?}");

    for service in ["encoder", "search"] {
        let container = stack.container(service);
        let users = output(Command::new("docker").args(["top", &container, "-eo", "uid,pid"]));
        let mut processes = users.lines().skip(1);
        assert!(processes.all(|process| process.split_whitespace().next() == Some("65532")), "{service}: {users}");
        let inspect = ["inspect", "--format", "{{.HostConfig.ReadonlyRootfs}}", &container];
        assert_eq!(output(Command::new("docker").args(inspect)), "true", "{service} may write beside its volumes");
        let inspect = ["inspect", "--format", "{{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}", &container];
        assert_eq!(output(Command::new("docker").args(inspect)), "[ALL] [no-new-privileges:true]", "{service}");
        let others = programs_in(&container);
        assert_eq!(
            others,
            [format!("opt/descry/{service}-service")],
            "{service}: whoever gets in finds programs to run"
        );
    }

    let replies = index(&mut stack.search().await, "lobby", demo_images(12)).await;
    assert_eq!(replies.len(), 12);
    let request = text_search("lobby", "a man in a red jacket", 12);
    let hits = stack.search().await.search(request.clone()).await.unwrap().into_inner().hits;
    assert_eq!(hits.len(), 12);

    // Replaced, as for an update: of the old container only the volume is left.
    let before = stack.container("search");
    output(&mut stack.compose(&["up", "--detach", "--no-deps", "--force-recreate", "search"]));
    stack.events_until("search health_status: healthy");
    assert_ne!(stack.container("search"), before);
    let found = stack.search().await.search(request).await.unwrap().into_inner().hits;
    assert_eq!(found, hits);
}

#[test]
fn the_images_are_built_from_the_whole_workspace() {
    let read = |name: &str| fs::read_to_string(repository().join(name)).unwrap();
    let manifest = read("Cargo.toml");
    // Cargo reads every member's manifest, whichever is built.
    let (_, members) = manifest.split_once("members = [").unwrap();
    let (members, _) = members.split_once(']').unwrap();
    let context = read(".dockerignore");
    for member in members.split('"').skip(1).step_by(2) {
        let folder = member.split('/').next().unwrap();
        assert!(context.lines().any(|line| line == format!("!{folder}")), ".dockerignore keeps {folder} out");
    }

    let (_, version) = manifest.split_once("rust-version = \"").unwrap();
    let compiler = format!("rust:{}-bookworm", version.split('"').next().unwrap());
    let stage = |text: &str| {
        let (_, stage) = text.split_once("AS build\n").unwrap();
        stage.split("\nFROM ").next().unwrap().to_owned()
    };
    let (encoder, search) = (read("encoder-service/Dockerfile"), read("search-service/Dockerfile"));
    assert_eq!(stage(&encoder), stage(&search), "each image would compile everything anew");
    for file in [&encoder, &search, &read("docker-compose.yml")] {
        assert!(file.contains(&compiler), "not {compiler}:\n{file}");
    }
}
