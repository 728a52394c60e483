//! The encoder service: texts and image files in, embeddings of one model out.
//!
//! Must never know galleries. The layers, each knowing only the next: `grpc` (messages) → `encoder` (admit, prepare,
//! normalise) → `scheduler` (requests to batches, with `preparation`) → `tower` (ONNX Runtime).

mod bulk;
mod calibration;
mod config;
mod device;
mod encoder;
mod error;
mod grpc;
mod matrix_product;
mod memory;
mod metrics;
mod opening;
mod preparation;
mod processor;
mod runtime;
mod scheduler;
mod self_test;
mod tower;

pub use bulk::{encode_all_images, encode_all_texts};
pub use calibration::RangeObserver;
pub use config::{BatchingConfig, EncoderConfig, InputLimits, SessionConfig};
pub use device::{CudnnSearch, DeviceConfig, DeviceName, DevicePrecision, DeviceReport};
pub use encoder::{EncodedImage, EncodedText, Encoder, Intake, Workers};
pub use error::EncodeError;
pub use grpc::{SERVICE_NAME, add_encoder_service};
pub use matrix_product::MatrixProduct;
pub use metrics::describe_metrics;
pub use opening::{measure_towers, open_towers};
pub use processor::has_exact_int8_products;
pub use scheduler::{Priority, Timings, Urgency};
pub use self_test::{Difference, TowerTest};
pub use tower::{OnnxTextTower, OnnxVisionTower, OpenedTowers, Pixels, TokenIds, Tower};

use descry_serving::Health;
use std::future::Future;
use tokio::net::TcpListener;
use tonic::service::RoutesBuilder;

/// Loads the model and serves it on `listener` until `shutdown` resolves.
///
/// # Errors
/// [`EncodeError`] when the model does not load or the server breaks.
pub async fn serve(
    listener: TcpListener,
    config: EncoderConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), EncodeError> {
    let _metrics = config.metrics.open().await?;
    describe_metrics();
    let opening = config.clone();
    let (encoder, workers) = tokio::task::spawn_blocking(move || Encoder::open(&opening))
        .await
        .map_err(|error| EncodeError::Tower { tower: "any", reason: error.to_string() })??;
    tracing::info!(
        fingerprint = encoder.fingerprint().short(),
        family = %encoder.manifest().family,
        execution_provider = encoder.execution_provider(),
        "model ready"
    );
    let mut routes = RoutesBuilder::default();
    let health = descry_serving::health_service(&mut routes, SERVICE_NAME).await;
    let on_device = health.of(encoder.device().health_name);
    health.set_ready(true).await;
    on_device.set_ready(true).await;
    let intake = encoder.intake();
    let watching = tokio::spawn(watch_condition(encoder.clone(), health.clone(), on_device.clone()));
    add_encoder_service(&mut routes, encoder, config.server.max_message_bytes);
    descry_serving::serve(listener, routes.routes(), descry_proto::DESCRIPTOR_SET, &config.server, async {
        shutdown.await;
        tracing::info!("shutting down");
        // It holds the towers, and would call them ready again.
        watching.abort();
        health.set_ready(false).await;
        on_device.set_ready(false).await;
        intake.stop();
    })
    .await?;
    // Requests are answered or cut off by now; what still runs nobody waits for, but it must not outlive the process.
    let _ = tokio::task::spawn_blocking(move || workers.join()).await;
    Ok(())
}

/// Keeps health in step with the towers.
async fn watch_condition(encoder: Encoder, health: Health, on_device: Health) {
    let mut works = true;
    loop {
        encoder.condition_changed(works).await;
        works = !works;
        tracing::error!(works, "the condition of the towers changed");
        health.set_ready(works).await;
        on_device.set_ready(works).await;
    }
}
