//! The command line's manners: what it trusts, what it says, and how it ends.

use crate::services::index;
use crate::stands::commands::{fail, json_lines, last_json, succeed};
use crate::stands::crops::{Crops, person};
use crate::stands::polling::until;
use descry_proto::search::v1::index_images_request::Image;
use descry_tests::{TestStack, program};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// Runs `descry` with its standard output somewhere.
fn descry_to(output: impl Into<Stdio>, arguments: &[&str]) -> Output {
    let mut command = Command::new(program("descry"));
    command.args(arguments).stdout(output).stderr(Stdio::piped()).output().unwrap()
}

async fn indexed(count: usize) -> (TestStack, Crops) {
    let (stack, crops) = (TestStack::start().await, Crops::write(count));
    let index = ["index", &crops.folder(), "--metadata", &crops.metadata(), "--attribute", "weather"];
    succeed(&[&index[..], &["--gallery", "lobby", "--server", &stack.search_url]].concat());
    (stack, crops)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_that_cannot_be_written_is_an_error() {
    let (stack, _crops) = indexed(6).await;
    let at = ["--server", stack.search_url.as_str()];
    let in_lobby = [&at[..], &["--gallery", "lobby"]].concat();
    for arguments in [
        [&["search", "a person"][..], &in_lobby].concat(),
        [&["search", "a person", "--json"][..], &in_lobby].concat(),
        [&["gallery", "list"][..], &at].concat(),
        [&["gallery", "list-images", "lobby", "--json"][..], &at].concat(),
    ] {
        let ended = descry_to(File::create("/dev/full").unwrap(), &arguments);
        let complaint = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {complaint}");
        assert_eq!(complaint.matches("cannot write to standard output").count(), 1, "{complaint}");
    }
    // Who reads no more, as `head` does, is no fault.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = descry_to(writer, &[&["search", "a person"][..], &in_lobby].concat());
    assert_eq!((ended.status.code(), ended.stderr.is_empty()), (Some(141), true), "{ended:?}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_neither_act_on_the_terminal_nor_choose_files() {
    let (stack, crops) = indexed(1).await;
    // What a service lets in; another one may let in more, as values of attributes are.
    let name = "a\u{202e}gpj.exe";
    let mut image = Image { image_id: name.to_owned(), ..crops.images[0].clone() };
    let metadata = image.metadata.as_mut().unwrap();
    metadata.attributes.insert("weather".to_owned(), "\u{1b}]0;owned\u{7}\u{9b}31m\nfake line".to_owned());
    let outside = Path::new(&crops.folder()).parent().unwrap().join("secret.jpg");
    fs::copy(crops.file(&crops.images[0]), &outside).unwrap();
    let escaping = Image { image_id: "../secret.jpg".to_owned(), ..crops.images[0].clone() };
    let mut client = stack.search().await;
    assert_eq!(index(&mut client, "lobby", vec![image, escaping]).await.len(), 2);

    let at = ["--server", stack.search_url.as_str(), "--gallery", "lobby"];
    let told = succeed(&[&["search", "a person"][..], &at].concat());
    assert!(
        told.contains("\\u001b]0;owned") && told.contains("\\nfake line") && told.contains("a\\u202egpj"),
        "{told}"
    );
    assert_eq!(told.lines().count(), 4, "a title and three hits: {told}");
    let json = succeed(&[&["search", "a person", "--json"][..], &at].concat());
    for text in [&told, &json] {
        assert!(!text.contains(|letter: char| letter != '\n' && letter.is_control()), "{text:?}");
    }
    let hits = last_json(&json)["hits"].as_array().unwrap().clone();
    assert!(hits.iter().any(|hit| hit["image_id"] == name), "the name is the same for programs");
    let (_, complaint) = fail(&[&["search", "a person", "--like", "\u{202e}gone"][..], &at].concat());
    assert!(complaint.contains("gone") && !complaint.contains('\u{202e}'), "{complaint:?}");

    // The only image that the folder holds is on the sheet, none beside the folder.
    let sheet = crops.path("hits.html");
    let search = ["search", "a person", "--sheet", &sheet, "--images", &crops.folder()];
    succeed(&[&search[..], &at].concat());
    assert_eq!(fs::read_to_string(&sheet).unwrap().matches("<img ").count(), 1);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sheets_are_refused_before_the_search_and_say_what_is_missing() {
    let (stack, crops) = indexed(6).await;
    let at = ["--server", stack.search_url.as_str(), "--gallery", "lobby"];
    let search = |sheet: &str, more: &[&str]| {
        let arguments = [&["search", "a person", "--sheet", sheet][..], more, &at].concat();
        descry_to(Stdio::piped(), &arguments)
    };
    let ended = search(&crops.path("hits.gif"), &[]);
    assert_eq!((ended.status.code(), ended.stdout.is_empty()), (Some(2), true), "{ended:?}");
    let ended = search(&crops.path("nowhere/hits.png"), &[]);
    let complaint = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.stdout.is_empty() && complaint.contains("there is no folder"), "{complaint}");
    assert!(!Path::new(&crops.path("nowhere")).exists());

    for (name, start) in
        [("hits.png", &b"\x89PNG"[..]), ("hits.jpg", b"\xff\xd8\xff"), ("hits.html", b"<!DOCTYPE html>")]
    {
        let ended = search(&crops.path(name), &[]);
        assert!(ended.status.success(), "{ended:?}");
        assert!(fs::read(crops.path(name)).unwrap().starts_with(start), "{name}");
    }
    let page = fs::read_to_string(crops.path("hits.html")).unwrap();
    for image in &crops.images {
        assert!(page.contains(&image.image_id) && page.contains(&format!("#{}", person(image))), "{page}");
    }
    let empty = tempfile::tempdir().unwrap();
    let ended = search(&crops.path("none.png"), &["--images", empty.path().to_str().unwrap()]);
    let complaint = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.code() == Some(1) && complaint.contains("none of the 6 images"), "{complaint}");
    assert!(complaint.contains("--images DIR") && !Path::new(&crops.path("none.png")).exists(), "{complaint}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn advice_names_what_there_is() {
    let (stack, crops) = indexed(12).await;
    let at = ["--server", stack.search_url.as_str()];
    let camera = crops.images[0].metadata.as_ref().unwrap().camera_id.clone().unwrap();
    let search = |more: &[&str]| {
        let output = descry_to(Stdio::piped(), &[&["search", "a person"][..], more, &at].concat());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    // Neither times nor colours are in what a pipe gets.
    let (code, hint) = search(&["--gallery", "lobby", "--camera", &camera.to_uppercase()]);
    assert!(code == Some(0) && hint.starts_with("warning: no image of gallery lobby is of camera"), "{hint}");
    let (_, hint) = search(&["--gallery", "lobby", "--attribute", "weather=rian"]);
    assert!(hint.contains("has weather=rian"), "{hint}");
    let (_, hint) = search(&["--gallery", "lobby", "--camera", &camera, "-n", "1"]);
    assert_eq!(hint, "");
    let (code, complaint) = search(&[]);
    assert!(code == Some(1) && complaint.contains("add --gallery lobby"), "{complaint}");

    let (_, complaint) = fail(&["gallery", "list", "--server", &stack.encoder_url]);
    assert!(complaint.contains("an encoder service answers at"), "{complaint}");
    let ended = descry_to(Stdio::piped(), &["gallery", "list", "--server", "grpc://localhost:1"]);
    assert!(String::from_utf8(ended.stderr).unwrap().contains("give http://localhost:1"));

    let listed = succeed(&[&["gallery", "list-images", "lobby", "--camera", &camera, "--json"][..], &at].concat());
    let own = crops.ids_where(|image| image.metadata.as_ref().unwrap().camera_id.as_ref() == Some(&camera));
    let found = json_lines(&listed).iter().map(|image| image["image_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(own, found);
    let listed = succeed(&[&["gallery", "list-images", "lobby", "--limit", "5"][..], &at].concat());
    assert_eq!(listed.lines().count(), 5);
    assert!(listed.lines().all(|line| line.split('\t').count() == 5 && line.contains("weather=")), "{listed}");
    stack.stop().await;
}

#[tokio::test]
async fn a_device_or_an_empty_file_is_no_image() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.jpg");
    fs::write(&empty, "").unwrap();
    for (image, told) in [("/dev/zero", "is a device"), (empty.to_str().unwrap(), "is empty (0 bytes)")] {
        let (_, complaint) = fail(&["search", "--image", image, "--server", "http://127.0.0.1:1"]);
        assert!(complaint.contains(told), "{complaint}");
    }
    let huge = folder.path().join("captions.txt");
    // A hole of just over the limit: not every file system takes a file of a terabyte.
    File::create(&huge).unwrap().set_len(257 << 20).unwrap();
    let calibrate = ["gallery", "calibrate", "lobby", "--captions", huge.to_str().unwrap()];
    let (_, complaint) = fail(&[&calibrate[..], &["--server", "http://127.0.0.1:1"]].concat());
    assert!(complaint.contains("at most 268435456 can be read"), "{complaint}");
}

/// Whether a process ignores SIGHUP, the first signal.
fn ignores_hangup(process: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    u64::from_str_radix(ignored, 16).unwrap() & 1 == 1
}

/// Reads what a command complains of up to the first line, which it writes when it listens for signals.
fn first_complaint(running: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(running.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    line
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_terminal_stops_a_command_that_was_not_begun_to_outlive_it() {
    let (stack, _crops) = indexed(1).await;
    let follow = ["watch", "follow", "--gallery", "lobby", "--server", stack.search_url.as_str()];
    // Where the tests themselves were begun to outlive their terminal, so is all that they begin.
    let outlives = ignores_hangup("self");
    for signal in ["HUP", "TERM", "INT"].into_iter().filter(|signal| *signal != "HUP" || !outlives) {
        let mut command = Command::new(program("descry"));
        let mut running = command.args(follow).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        assert!(first_complaint(&mut running).contains("has no watches yet"));
        let kill = format!("kill -{signal} {}", running.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let status = until("the command ends", async || running.try_wait().unwrap()).await;
        assert_eq!(status.code(), Some(0), "{signal}");
    }
    // As `nohup` begins it.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(program("descry")).args(follow);
    let mut running = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    assert!(first_complaint(&mut running).contains("has no watches yet"));
    assert!(ignores_hangup(&running.id().to_string()));
    running.kill().unwrap();
    running.wait().unwrap();
    stack.stop().await;
}
