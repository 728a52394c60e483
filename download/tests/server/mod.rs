//! A server that behaves as servers do on bad days.

use descry_download::{Address, DownloadError, Place, Settings, Token, fetch};
use sha2::{Digest as _, Sha256};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request: its path and its headers, in lower case.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: String,
}

impl Asked {
    pub(crate) fn start(&self) -> Option<usize> {
        let (_, rest) = self.headers.split_once("range: bytes=")?;
        rest.split_once('-')?.0.parse().ok()
    }
}

pub(crate) struct Server {
    pub(crate) address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// Answers each request with the bytes that `answer` makes of it and of the number of earlier ones, and closes, except
/// where the path has `silent` in it: there it sends nothing more.
pub(crate) fn serve(answer: impl Fn(&Asked, usize) -> Vec<u8> + Send + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let Some(Ok(first)) = lines.next() else { continue };
            let path = first.split(' ').nth(1).unwrap().to_owned();
            let headers: Vec<String> = lines
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .map(|line| line.to_lowercase())
                .collect();
            let request = Asked { path, headers: headers.join("\n") };
            let earlier = kept.lock().unwrap().len();
            kept.lock().unwrap().push(request.clone());
            let _ = stream.write_all(&answer(&request, earlier));
            if request.path.contains("silent") {
                silent.push(stream);
            }
        }
    });
    Server { address, asked }
}

pub(crate) fn reply(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut reply = format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n").into_bytes();
    reply.extend_from_slice(body);
    reply
}

pub(crate) fn whole(body: &[u8], headers: &str) -> Vec<u8> {
    reply("200 OK", &format!("content-length: {}\r\n{headers}", body.len()), body)
}

pub(crate) fn rest(body: &[u8], start: usize, headers: &str) -> Vec<u8> {
    let length = body.len() - start;
    let range = format!("content-range: bytes {start}-{}/{}\r\n", body.len() - 1, body.len());
    reply("206 Partial Content", &format!("content-length: {length}\r\n{range}{headers}"), &body[start..])
}

/// Limits and patience that fit a test.
pub(crate) fn settings(folder: &Path, endpoint: &str) -> Settings {
    Settings {
        endpoint: Address::parse(endpoint).unwrap(),
        token: Token::new("secret-token"),
        hub_cache: folder.join("hub"),
        web_cache: folder.join("web"),
        offline: false,
        sha256: None,
        stall_timeout: Duration::from_millis(300),
        patience: Duration::from_millis(20),
        limit_bytes: 1 << 20,
        small_limit_bytes: 1 << 10,
    }
}

pub(crate) fn weights() -> Vec<u8> {
    (0..200_000_u32).map(|index| (index * 7 % 251) as u8).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Fetches a place, and lets nobody see how far it is.
pub(crate) fn get(place: &str, settings: &Settings) -> Result<PathBuf, DownloadError> {
    fetch(&Place::parse(place).unwrap(), settings, &mut |_| ())
}
