//! Galleries that change their model: through the service's methods while they serve, and by the command, however often
//! it is killed.

mod reembedding;
mod safety;
mod serving;

use crate::stands::Client;
use descry_encoder::EncoderConfig;
use descry_export::ModelFlags;
use descry_proto::encoder::v1::GetModelRequest;
use descry_proto::encoder::v1::encoder_service_client::EncoderServiceClient;
use descry_proto::search::v1::{ActivateGenerationRequest, Gallery};
use descry_search::SearchConfig;
use descry_tests::{TestStack, demo_folder, export_fixture};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;

const GALLERY: &str = "lobby";

/// A search service with two encoders.
struct TwoModels {
    stack: TestStack,
    /// Fingerprint of the model that new galleries are made for.
    first: String,
    /// Fingerprint of the other one.
    second: String,
    shutdown: CancellationToken,
    other_encoder: JoinHandle<()>,
}

impl TwoModels {
    async fn start(change: impl FnOnce(&mut SearchConfig)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut config = EncoderConfig::load(None).unwrap();
        config.model = other_bundle().to_owned();
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone().cancelled_owned();
        let other_encoder = tokio::spawn(async move {
            descry_encoder::serve(listener, config, stop).await.unwrap();
        });
        let stack = TestStack::start_with(|_, search| {
            search.encoder.other_urls = vec![url.clone()];
            change(search);
        })
        .await;
        let (first, second) = (fingerprint(stack.encoder_url.clone()).await, fingerprint(url).await);
        assert_ne!(first, second);
        Self { stack, first, second, shutdown, other_encoder }
    }

    async fn stop(self) {
        self.stack.stop().await;
        self.shutdown.cancel();
        self.other_encoder.await.unwrap();
    }
}

/// The demo's UP-Person model, exported once a test run. Its embeddings are as long as DM-Adapter's.
fn other_bundle() -> &'static Path {
    static BUNDLE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = BUNDLE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let bundle = export_fixture(&demo_folder().join("up_person.safetensors"), ModelFlags::default(), folder.path());
        let path = bundle.directory().to_owned();
        (folder, path)
    });
    path
}

async fn fingerprint(url: String) -> String {
    let mut client = EncoderServiceClient::connect(url).await.unwrap();
    client.get_model(GetModelRequest {}).await.unwrap().into_inner().fingerprint
}

async fn activate(client: &mut Client, generation: u32, force: bool) -> Result<Gallery, Status> {
    let request = ActivateGenerationRequest {
        gallery: GALLERY.to_owned(),
        generation,
        force,
        ..ActivateGenerationRequest::default()
    };
    client.activate_generation(request).await.map(|gallery| gallery.into_inner())
}
