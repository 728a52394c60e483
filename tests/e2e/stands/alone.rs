//! A search service whose encoder is not there: nothing can be encoded.

use super::Client;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_search::SearchConfig;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// Runs until the test is over.
pub(crate) struct SearchAlone {
    pub(crate) url: String,
    _data: TempDir,
}

impl SearchAlone {
    /// Starts it with an empty embedded store, or as changed.
    pub(crate) async fn start(change: impl FnOnce(&mut SearchConfig)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut config = SearchConfig::load(None).unwrap();
        config.embedded.path = data.path().join("galleries.sqlite3");
        config.encoder.url = format!("http://{}", free_address());
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(descry_search::serve(listener, config, std::future::pending()));
        Self { url, _data: data }
    }

    pub(crate) async fn client(&self) -> Client {
        SearchServiceClient::connect(self.url.clone()).await.unwrap()
    }
}

/// An address where nobody listened a moment ago.
pub(crate) fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
