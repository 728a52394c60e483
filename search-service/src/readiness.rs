//! Health follows the dependencies: with the encoder or the store down, no search can be answered.

use crate::encoder_client::EncoderClient;
use crate::grpc::SERVICE_NAME;
use crate::vector_store::VectorStore;
use descry_serving::{HealthReporter, ServingStatus};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const PAUSE: Duration = Duration::from_secs(2);

/// Asks both dependencies again and again and tells the health service, until `shutdown`.
pub(crate) async fn watch(
    encoder: EncoderClient,
    store: Arc<dyn VectorStore>,
    health: HealthReporter,
    shutdown: CancellationToken,
) {
    let mut was_ready = None;
    loop {
        let ready = match encoder.model().await.map(|_| ()).and(store.ready().await) {
            Ok(()) => true,
            Err(error) => {
                if was_ready != Some(false) {
                    tracing::warn!(%error, "not ready");
                }
                false
            }
        };
        if was_ready != Some(ready) {
            let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
            health.set_service_status(SERVICE_NAME, status).await;
            tracing::info!(ready, "readiness changed");
        }
        was_ready = Some(ready);
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = shutdown.cancelled() => break,
        }
    }
    health.set_service_status(SERVICE_NAME, ServingStatus::NotServing).await;
}
