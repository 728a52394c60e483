//! A search service as a process, with all that it leaves on the disk in one folder.

use super::{GALLERY, creating};
use crate::stands::Client;
use crate::stands::alone::free_address;
use crate::stands::computed::ComputedModel;
use crate::stands::polling::until;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_tests::program;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Attempts to find a port that nobody else takes in between.
const ATTEMPTS: u32 = 5;

pub(super) struct Stand {
    pub(super) models: [ComputedModel; 2],
    folder: TempDir,
}

/// A running service; killed when dropped.
pub(super) struct Service {
    pub(super) client: Client,
    pub(super) url: String,
    process: Child,
}

impl Stand {
    pub(super) async fn new() -> Self {
        let models = ["first", "second"].map(ComputedModel::named);
        let [first, second] = models.clone();
        let (first, second) = (first.serve().await, second.serve().await);
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::create_dir(folder.path().join("data")).unwrap();
        let yaml = format!(
            "encoder: {{url: '{first}', other_urls: ['{second}']}}\n\
             embedded: {{path: '{}', reserve_bytes: 0}}\n\
             audit: {{folder: '{}', instance: one}}\n\
             watches: {{poll_interval_ms: 20}}\n\
             log: {{filter: info}}\n",
            path("data/galleries.sqlite3"),
            path("audit"),
        );
        fs::write(folder.path().join("search.yaml"), yaml).unwrap();
        Self { models, folder }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the service over what the last one left.
    pub(super) async fn start(&self) -> Service {
        let log = File::options().create(true).append(true).open(self.path("service.log")).unwrap();
        for _ in 0..ATTEMPTS {
            let address = free_address();
            let mut process = Command::new(program("search-service"))
                .arg("--config")
                .arg(self.path("search.yaml"))
                .env("DESCRY_SEARCH__SERVER__LISTEN", &address)
                .stdout(Stdio::null())
                .stderr(log.try_clone().unwrap())
                .spawn()
                .unwrap();
            let url = format!("http://{address}");
            let client = until("the service answers", async || match SearchServiceClient::connect(url.clone()).await {
                Ok(client) => Some(Some(client)),
                Err(_) => process.try_wait().unwrap().map(|_| None),
            })
            .await;
            if let Some(client) = client {
                return Service { client, url, process };
            }
        }
        panic!("the service does not start: {}", fs::read_to_string(self.path("service.log")).unwrap());
    }

    /// The gallery, with an empty generation of the second model beside it.
    pub(super) async fn create(&self, client: &mut Client) {
        client.create_gallery(creating(&self.models[0])).await.unwrap();
        let fingerprint = self.models[1].fingerprint.clone();
        let create = descry_proto::search::v1::CreateGenerationRequest { gallery: GALLERY.to_owned(), fingerprint };
        client.create_generation(create).await.unwrap();
    }
}

impl Service {
    /// SIGKILL: no chance to finish anything.
    pub(super) fn kill(mut self) {
        assert!(self.process.try_wait().unwrap().is_none(), "the service ended by itself");
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Which files below a folder, or which file, hold any of some texts: the file and the text.
pub(super) fn holding(path: &Path, texts: &[String]) -> Vec<String> {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap();
        return entries.flat_map(|entry| holding(&entry.unwrap().path(), texts)).collect();
    }
    let content = fs::read(path).unwrap();
    let holds = |text: &&String| content.windows(text.len()).any(|window| window == text.as_bytes());
    texts.iter().filter(holds).map(|text| format!("{}: {text}", path.display())).collect()
}
