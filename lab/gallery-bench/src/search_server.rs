//! The search service in this process, met over TCP as any client meets it.

use crate::GalleryBenchError;
use crate::search_client::{Client, client};
use descry_search::{SearchConfig, SearchError, StoreKind};
use std::path::Path;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

/// Nobody listens there: embeddings come ready-made, so no encoder is asked.
const NO_ENCODER: &str = "http://127.0.0.1:9";

/// A service with the embedded store.
pub(crate) struct SearchServer {
    client: Client,
    task: JoinHandle<Result<(), SearchError>>,
    shutdown: CancellationToken,
}

impl SearchServer {
    /// Serves the galleries of a file, which nobody else may have open.
    pub(crate) async fn start(file: &Path) -> Result<Self, GalleryBenchError> {
        Self::start_with(file, |_| {}).await
    }

    /// The same with changed settings.
    pub(crate) async fn start_with(
        file: &Path,
        change: impl FnOnce(&mut SearchConfig),
    ) -> Result<Self, GalleryBenchError> {
        let mut config = SearchConfig::load(None)?;
        config.store.kind = StoreKind::Embedded;
        config.embedded.path = file.to_owned();
        config.encoder.url = NO_ENCODER.to_owned();
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(GalleryBenchError::Listen)?;
        let address = listener.local_addr().map_err(GalleryBenchError::Listen)?;
        let shutdown = CancellationToken::new();
        let serving = descry_search::serve(listener, config, shutdown.clone().cancelled_owned());
        let mut task = tokio::spawn(serving);
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
        let channel = tokio::select! {
            ended = &mut task => {
                return Err(ended?.err().map_or(GalleryBenchError::ServiceEnded, GalleryBenchError::Search));
            }
            channel = endpoint.connect() => channel?,
        };
        Ok(Self { client: client(channel), task, shutdown })
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) async fn stop(self) -> Result<(), GalleryBenchError> {
        let Self { client, task, shutdown } = self;
        // Its connection would be waited for.
        drop(client);
        shutdown.cancel();
        Ok(task.await??)
    }
}
