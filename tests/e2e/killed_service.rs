//! Killed processes: nothing acknowledged is lost, nothing is doubled.

use crate::services::{demo_images, text_search};
use crate::stands::commands::last_json;
use descry_proto::search::v1::index_images_request::{Message, Start};
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_proto::search::v1::{GetGalleryRequest, IndexImagesRequest};
use descry_tests::{demo_bundle, demo_folder, descry, program};
use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tonic::transport::Channel;

/// `descry serve` as a process of its own; killed when dropped.
pub(crate) struct Served {
    process: Child,
    pub(crate) url: String,
}

impl Served {
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_at(data, "127.0.0.1:0")
    }

    /// At an address where an earlier one was, or with port 0 at one of the system's choice.
    pub(crate) fn start_at(data: &Path, address: &str) -> Self {
        Self::start_with(data, &["--listen", address, "--model", demo_bundle().to_str().unwrap()])
    }

    pub(crate) fn start_with(data: &Path, arguments: &[&str]) -> Self {
        let mut process = Command::new(program("descry"))
            .arg("serve")
            .args(arguments)
            .arg("--data")
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split_whitespace().find(|word| word.starts_with("127.0.0.1:")).unwrap();
        Self { url: format!("http://{address}"), process }
    }

    pub(crate) async fn client(&self) -> SearchServiceClient<Channel> {
        SearchServiceClient::connect(self.url.clone()).await.unwrap()
    }

    async fn count(&self) -> u64 {
        let request = GetGalleryRequest { name: "lobby".to_owned() };
        self.client().await.get_gallery(request).await.map_or(0, |gallery| gallery.into_inner().images)
    }

    /// SIGKILL: no chance to finish anything.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn index_command(served: &Served) -> Vec<String> {
    let folder = demo_folder().join("gallery/imgs");
    let metadata = demo_folder().join("gallery.csv");
    ["index", folder.to_str().unwrap(), "--server", &served.url, "--gallery", "lobby", "--metadata"]
        .into_iter()
        .chain([metadata.to_str().unwrap(), "--json"])
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn what_a_killed_service_acknowledged_is_there() {
    let data = tempfile::tempdir().unwrap();
    let served = Served::start(data.path());
    let mut client = served.client().await;
    let start = Message::Start(Start { gallery: "lobby".to_owned(), create: true, ..Start::default() });
    let messages = std::iter::once(start).chain(demo_images(200).into_iter().map(Message::Image));
    let requests: Vec<_> = messages.map(|message| IndexImagesRequest { message: Some(message) }).collect();
    let mut replies = client.index_images(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let mut acknowledged = HashSet::new();
    while acknowledged.len() < 50 {
        let reply = replies.message().await.unwrap().unwrap();
        assert!(matches!(reply.outcome, Some(Outcome::Indexed(_))));
        acknowledged.insert(reply.image_id);
    }
    served.kill();
    // What had left the service before it died counts as acknowledged, too.
    while let Ok(Some(reply)) = replies.message().await {
        acknowledged.insert(reply.image_id);
    }

    let served = Served::start(data.path());
    let hits = served.client().await.search(text_search("lobby", "a man", 1000)).await.unwrap().into_inner().hits;
    let present: HashSet<String> = hits.iter().map(|hit| hit.image_id.clone()).collect();
    assert_eq!(present.len(), hits.len(), "an image is there twice");
    let lost: Vec<_> = acknowledged.difference(&present).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}

#[tokio::test]
async fn a_killed_index_command_continues() {
    let data = tempfile::tempdir().unwrap();
    let served = Served::start(data.path());
    let arguments = index_command(&served);
    let mut killed = Command::new(program("descry")).args(&arguments).stdout(Stdio::null()).spawn().unwrap();
    let mut client = served.client().await;
    let mut count = async || {
        let request = GetGalleryRequest { name: "lobby".to_owned() };
        client.get_gallery(request).await.map_or(0, |gallery| gallery.into_inner().images)
    };
    while count().await == 0 {
        assert!(killed.try_wait().unwrap().is_none(), "the command ended before anything was indexed");
        tokio::task::yield_now().await;
    }
    killed.kill().unwrap();
    killed.wait().unwrap();

    let again = descry(&arguments);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    let report = last_json(std::str::from_utf8(&again.stdout).unwrap());
    assert_eq!(report["finished"], true, "{report}");
    assert_eq!(served.count().await, 200);
    let number = |field: &str| report[field].as_u64().unwrap();
    assert_eq!(number("indexed") + number("unchanged"), 200, "{report}");
    assert!(number("unchanged") > 0, "{report}");
    assert_eq!(report["failures"], 0, "{report}");
    assert!(report["failed"].as_array().unwrap().is_empty(), "{report}");

    let third = descry(&arguments);
    assert_eq!(last_json(std::str::from_utf8(&third.stdout).unwrap())["unchanged"], 200);
}
