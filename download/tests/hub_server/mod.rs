//! A hub with one repository.

use crate::server::{Asked, Server, reply, rest, serve, sha256, whole};
use descry_download::{Address, Settings};
use std::collections::BTreeMap;

pub(crate) const PLACE: &str = "hf://owner/name";

/// What a hub sends of a file: the large ones lie elsewhere, under their hash.
pub(crate) fn file(content: &[u8], asked: &Asked) -> Vec<u8> {
    let headers = format!("etag: \"{}\"\r\n", sha256(content));
    match asked.start() {
        Some(start) => rest(content, start, &headers),
        None => whole(content, &headers),
    }
}

/// A hub with one repository of these files. `listed` is what it says it has.
pub(crate) fn hub_listing(files: BTreeMap<&'static str, Vec<u8>>, listed: Vec<String>) -> Server {
    serve(move |asked, _| {
        if asked.path == "/api/models/owner/name/revision/main" {
            let siblings: Vec<_> = listed.iter().map(|name| format!("{{\"rfilename\":{name:?}}}")).collect();
            return whole(format!("{{\"sha\":\"c0ffee\",\"siblings\":[{}]}}", siblings.join(",")).as_bytes(), "");
        }
        let name = asked.path.strip_prefix("/owner/name/resolve/c0ffee/").unwrap_or_default();
        match files.get(name) {
            Some(content) => file(content, asked),
            None => reply("404 Not Found", "content-length: 0\r\n", b""),
        }
    })
}

pub(crate) fn hub<const COUNT: usize>(files: [(&'static str, Vec<u8>); COUNT]) -> Server {
    let listed = files.iter().map(|(name, _)| (*name).to_owned()).collect();
    hub_listing(files.into(), listed)
}

pub(crate) fn index(shards: &[&str]) -> Vec<u8> {
    let map: Vec<_> = shards.iter().enumerate().map(|(number, name)| format!("\"{number}\":{name:?}")).collect();
    format!("{{\"weight_map\":{{{}}}}}", map.join(",")).into_bytes()
}

pub(crate) fn offline(settings: &Settings) -> Settings {
    Settings { offline: true, endpoint: Address::parse("http://127.0.0.1:1").unwrap(), ..settings.clone() }
}
