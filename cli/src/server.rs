//! Where the service runs, as every command that needs one takes it.

use descry_client::{ClientError, Connection};

/// Where the service runs and which gallery is meant.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    #[command(flatten)]
    pub(crate) server: Server,
    /// Name of the gallery.
    #[arg(long, default_value = "default", value_name = "NAME")]
    pub(crate) gallery: String,
}

impl Target {
    /// Connects, or says what to do.
    pub(crate) async fn connect(&self) -> Result<Connection, ClientError> {
        self.server.connect().await
    }
}

/// Where the service runs, for commands that name the gallery themselves.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Server {
    /// Address of a running `descry serve` or search-service.
    #[arg(long, default_value = "http://127.0.0.1:50051", value_name = "URL")]
    server: String,
}

impl Server {
    /// Connects, or says what to do.
    pub(crate) async fn connect(&self) -> Result<Connection, ClientError> {
        Connection::to(&self.server).await
    }
}
