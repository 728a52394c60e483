//! Tokens as people make and send them.

use super::{ALL, Tokens};
use crate::stands::alone::SearchAlone;
use crate::stands::commands::{fail, json_lines, succeed};
use descry_tests::{demo_bundle, program};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn with_token<'word>(command: &[&'word str], file: &'word Path) -> Vec<&'word str> {
    [command, &["--token-file", text(file)]].concat()
}

#[test]
fn tokens_are_made_listed_and_revoked() {
    let tokens = Tokens::new();
    let path = tokens.path();
    let file = ["--file", text(&path)];
    let create = ["token", "create", "guard", "--scope", "search:lobby", "--expires", "90d"];
    let token = succeed(&[&create[..], &file].concat());
    assert!(token.starts_with("descry_") && token.trim().len() == 63 && token.lines().count() == 1, "{token:?}");
    let listed = succeed(&[&["token", "list", "--json"][..], &file].concat());
    let listed = json_lines(&listed).remove(0);
    assert_eq!((&listed[0]["name"], &listed[0]["state"]), (&"guard".into(), &"valid".into()));
    assert_eq!(listed[0]["scopes"][0], "search:lobby");
    assert!(succeed(&[&["token", "list"][..], &file].concat()).contains("search:lobby"));
    assert!(succeed(&[&["token", "revoke", "guard"][..], &file].concat()).contains("revoked guard"));
    assert!(succeed(&[&["token", "list"][..], &file].concat()).contains("revoked"));
    let (_, complaint) = fail(&[&["token", "revoke", "nobody"][..], &file].concat());
    assert!(complaint.contains("nobody") && complaint.contains("descry token list"), "{complaint}");
    let secret = token.trim().rsplit_once(listed[0]["id"].as_str().unwrap()).unwrap().1;
    assert!(!std::fs::read_to_string(&path).unwrap().contains(secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_sends_the_token_of_a_file_or_a_variable() {
    let tokens = Tokens::new();
    let (token, encode) = (tokens.allow(&ALL), tokens.allow(&["encode"]));
    let service = SearchAlone::start(|search| search.access = tokens.settings()).await;
    let file = tokens.secret_file("all", &token);
    let list = ["gallery", "list", "--server", &service.url];
    let (_, complaint) = fail(&list);
    assert!(complaint.contains("--token-file") && complaint.contains("DESCRY_TOKEN"), "{complaint}");
    succeed(&with_token(&list, &file));
    let mut command = Command::new(program("descry"));
    let output = command.args(list).env("DESCRY_TOKEN", &token).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // What is missing is named.
    let encode = tokens.secret_file("encode", &encode);
    let create = ["encoders", "--server", &service.url, "--token-file", text(&encode)];
    let (_, complaint) = fail(&create);
    assert!(complaint.contains("the scope admin"), "{complaint}");
    let wrong = tokens.secret_file("wrong", "two words");
    let (_, complaint) = fail(&with_token(&list, &wrong));
    assert!(complaint.contains("--token-file") && !complaint.contains("two words"), "{complaint}");
}

/// `descry serve`, and what it says on standard error when it has been ended.
struct Served {
    child: Child,
    url: String,
    /// Read meanwhile: at this level it says more than a pipe holds.
    log: JoinHandle<String>,
}

impl Served {
    fn start(arguments: &[&str]) -> Self {
        let model = ["serve", "--log", "trace", "--model", text(demo_bundle())];
        let mut command = Command::new(program("descry"));
        command.args(model).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut log = Vec::new();
            stderr.read_to_end(&mut log).unwrap();
            String::from_utf8_lossy(&log).into_owned()
        });
        let line = lines.next().unwrap().unwrap();
        let address = line.split_whitespace().find(|word| word.contains(':')).unwrap();
        Self { url: format!("http://{}", address.replace("0.0.0.0", "127.0.0.1")), child, log }
    }

    fn log(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log.join().unwrap()
    }
}

#[test]
fn an_address_that_others_reach_is_not_listened_on_by_itself() {
    let data = tempfile::tempdir().unwrap();
    let serve = ["serve", "--model", text(demo_bundle()), "--data", text(data.path()), "--listen", "0.0.0.0:0"];
    let (_, complaint) = fail(&serve);
    for word in ["0.0.0.0", "server.tls", "access.tokens_file", "--insecure"] {
        assert!(complaint.contains(word), "{word}: {complaint}");
    }
}

#[test]
fn neither_log_nor_file_has_a_secret() {
    let (tokens, data) = (Tokens::new(), tempfile::tempdir().unwrap());
    let token = tokens.allow(&ALL);
    let file = tokens.secret_file("all", &token);
    let path = tokens.path();
    let own = ["--tokens", text(&path), "--data", text(data.path()), "--listen", "0.0.0.0:0", "--insecure"];
    let served = Served::start(&own);
    let command = |token_file: &Path| {
        let arguments =
            ["gallery", "list", "--log", "trace", "--server", &served.url, "--token-file", text(token_file)];
        let output = Command::new(program("descry")).args(arguments).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let (is_taken, clients_log) = command(&file);
    assert!(is_taken, "{clients_log}");
    let other = token.replace(&token[token.len() - 9..], "AAAAAAAAA");
    let (is_taken, refused_log) = command(&tokens.secret_file("other", &other));
    assert!(!is_taken, "{refused_log}");
    let log = served.log();
    assert!(log.contains("INSECURE") && log.contains("server.tls") && log.contains("wrong"), "{log}");
    for log in [&log, &clients_log, &refused_log] {
        assert!(!log.contains(&token[25..40]), "a secret is in the log");
    }
}
