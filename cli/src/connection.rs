//! The connection to a running service.

use anyhow::Context as _;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

/// Replies hold up to a thousand hits with their attributes, or a page of embeddings.
const MAX_REPLY_BYTES: usize = 64 << 20;

/// What calls the service.
pub(crate) type Client = SearchServiceClient<Channel>;

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
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        connect(&self.server).await
    }
}

/// Where the service runs, for commands that name the gallery themselves.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Server {
    /// Address of a running `descry serve` or search-service.
    #[arg(long, default_value = "http://127.0.0.1:50051", value_name = "URL")]
    pub(crate) server: String,
}

impl Server {
    /// Connects, or says what to do.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        connect(&self.server).await
    }
}

/// Connects, or says what to do.
pub(crate) async fn connect(url: &str) -> anyhow::Result<Client> {
    let has_scheme = url.starts_with("http://") || url.starts_with("https://");
    anyhow::ensure!(has_scheme, "{url:?} is not an address such as http://127.0.0.1:50051");
    let endpoint = Endpoint::from_shared(url.to_owned())
        .with_context(|| format!("{url:?} is not an address such as http://127.0.0.1:50051"))?
        .connect_timeout(Duration::from_secs(5));
    let channel = endpoint
        .connect()
        .await
        .with_context(|| format!("no service answers at {url}; start one with `descry serve --model BUNDLE`"))?;
    Ok(SearchServiceClient::new(channel)
        .max_decoding_message_size(MAX_REPLY_BYTES)
        .max_encoding_message_size(usize::MAX))
}

/// A status in words: its message tells what to do, its code only confuses.
pub(crate) fn explain(status: &Status) -> anyhow::Error {
    anyhow::anyhow!("{}", if status.message().is_empty() { status.to_string() } else { status.message().to_owned() })
}

/// The reply, or its status in words.
pub(crate) fn answer<Reply>(reply: Result<Response<Reply>, Status>) -> anyhow::Result<Reply> {
    match reply {
        Ok(reply) => Ok(reply.into_inner()),
        Err(status) => Err(explain(&status)),
    }
}
