//! The connection to a running service.

use anyhow::Context as _;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// Replies hold up to a thousand hits with their attributes.
const MAX_REPLY_BYTES: usize = 64 << 20;

/// Where the service runs and which gallery is meant.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    /// Address of a running `descry serve` or search-service.
    #[arg(long, default_value = "http://127.0.0.1:50051", value_name = "URL")]
    pub(crate) server: String,
    /// Name of the gallery.
    #[arg(long, default_value = "default", value_name = "NAME")]
    pub(crate) gallery: String,
}

impl Target {
    /// Connects, or says what to do.
    pub(crate) async fn connect(&self) -> anyhow::Result<SearchServiceClient<Channel>> {
        let has_scheme = self.server.starts_with("http://") || self.server.starts_with("https://");
        anyhow::ensure!(has_scheme, "{:?} is not an address such as http://127.0.0.1:50051", self.server);
        let endpoint = Endpoint::from_shared(self.server.clone())
            .with_context(|| format!("{:?} is not an address such as http://127.0.0.1:50051", self.server))?
            .connect_timeout(Duration::from_secs(5));
        let channel = endpoint.connect().await.with_context(|| {
            format!("no service answers at {}; start one with `descry serve --model BUNDLE`", self.server)
        })?;
        Ok(SearchServiceClient::new(channel)
            .max_decoding_message_size(MAX_REPLY_BYTES)
            .max_encoding_message_size(usize::MAX))
    }
}

/// A status in words: its message tells what to do, its code only confuses.
pub(crate) fn explain(status: &tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("{}", if status.message().is_empty() { status.to_string() } else { status.message().to_owned() })
}
