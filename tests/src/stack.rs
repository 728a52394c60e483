//! Both services over real gRPC, on ports of the system's choice.

use descry_encoder::EncoderConfig;
use descry_proto::encoder::v1::encoder_service_client::EncoderServiceClient;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_search::SearchConfig;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// A running encoder and search service.
pub struct TestStack {
    /// Address of the encoder service.
    pub encoder_url: String,
    /// Address of the search service.
    pub search_url: String,
    shutdown: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    _data: TempDir,
}

impl TestStack {
    /// Starts both with the demo's model and an empty embedded store.
    pub async fn start() -> Self {
        Self::start_with(|_, _| {}).await
    }

    /// As [`TestStack::start`], with changed settings.
    ///
    /// # Panics
    /// When a service does not start.
    pub async fn start_with(change: impl FnOnce(&mut EncoderConfig, &mut SearchConfig)) -> Self {
        let data = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let mut encoder = encoder_config(crate::demo_bundle());
        let mut search = SearchConfig::load(None).unwrap_or_else(|error| panic!("{error}"));
        search.embedded.path = data.path().join("galleries.sqlite3");
        let (encoder_listener, encoder_url) = listener().await;
        search.encoder.url.clone_from(&encoder_url);
        change(&mut encoder, &mut search);

        let shutdown = CancellationToken::new();
        let (search_listener, search_url) = listener().await;
        let stop = shutdown.clone().cancelled_owned();
        let encoder_task = tokio::spawn(async move {
            descry_encoder::serve(encoder_listener, encoder, stop).await.unwrap_or_else(|error| panic!("{error}"));
        });
        let stop = shutdown.clone().cancelled_owned();
        let search_task = tokio::spawn(async move {
            descry_search::serve(search_listener, search, stop).await.unwrap_or_else(|error| panic!("{error}"));
        });
        Self { encoder_url, search_url, shutdown, tasks: vec![encoder_task, search_task], _data: data }
    }

    /// A client of the encoder service.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn encoder(&self) -> EncoderServiceClient<Channel> {
        EncoderServiceClient::connect(self.encoder_url.clone()).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// A client of the search service.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn search(&self) -> SearchServiceClient<Channel> {
        SearchServiceClient::connect(self.search_url.clone()).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Stops both services and waits until they are gone.
    ///
    /// # Panics
    /// When one of them failed.
    pub async fn stop(self) {
        self.shutdown.cancel();
        for task in self.tasks {
            task.await.unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

fn encoder_config(bundle: &Path) -> EncoderConfig {
    let mut config = EncoderConfig::load(None).unwrap_or_else(|error| panic!("{error}"));
    config.model = PathBuf::from(bundle);
    config
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("{error}"));
    let address = listener.local_addr().unwrap_or_else(|error| panic!("{error}"));
    (listener, format!("http://{address}"))
}
