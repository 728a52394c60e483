//! A search service as a process of its own, with two encoders in this one that outlive it.

use crate::stands::Client;
use crate::stands::alone::free_address;
use crate::stands::computed::ComputedModel;
use crate::stands::polling::until;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_tests::program;
use std::error::Error as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tonic::{Code, Status};

/// What the killed services share: a folder, settings and encoders.
pub(super) struct Stand {
    /// Of the first one, new galleries are made.
    pub(super) models: [ComputedModel; 2],
    settings: PathBuf,
    _folder: TempDir,
}

/// Attempts to find a port that nobody else takes in between.
const ATTEMPTS: u32 = 5;

impl Stand {
    pub(super) async fn new() -> Self {
        let models = ["first", "second"].map(ComputedModel::named);
        let [first, second] = models.clone();
        let (first, second) = (first.serve().await, second.serve().await);
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("galleries.sqlite3");
        let settings = folder.path().join("search.yaml");
        let yaml = format!(
            "encoder: {{url: '{first}', other_urls: ['{second}']}}\n\
             embedded: {{path: '{}'}}\n\
             retention: {{sweep_interval_ms: 5}}\n\
             log: {{filter: error}}\n",
            store.display()
        );
        fs::write(&settings, yaml).unwrap();
        Self { models, settings, _folder: folder }
    }

    /// Starts the service over what the last one left.
    pub(super) async fn start(&self) -> Service {
        for _ in 0..ATTEMPTS {
            let address = free_address();
            let process = Command::new(program("search-service"))
                .arg("--config")
                .arg(&self.settings)
                .env("DESCRY_SEARCH__SERVER__LISTEN", &address)
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let mut process = Process(process);
            let client = until("the service answers", async || {
                match SearchServiceClient::connect(format!("http://{address}")).await {
                    Ok(client) => Some(Some(client)),
                    Err(_) => process.has_ended().then_some(None),
                }
            })
            .await;
            if let Some(client) = client {
                return Service { client, process };
            }
        }
        panic!("the service does not start");
    }
}

/// A running service; killed when dropped.
pub(super) struct Service {
    pub(super) client: Client,
    process: Process,
}

impl Service {
    /// SIGKILL: no chance to finish anything.
    pub(super) fn kill(mut self) {
        assert!(!self.process.has_ended(), "the service ended by itself");
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }
}

struct Process(Child);

impl Process {
    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Everything but the end of the service is a failure.
pub(super) fn assert_gone(status: &Status) {
    // What a service answers has no source; what breaks on the way has one.
    assert!(status.code() == Code::Unavailable || status.source().is_some(), "{status:?}");
}
