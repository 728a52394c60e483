//! The encoder service: texts and image files in, embeddings of one model out.
//!
//! Must never know galleries. The layers, each knowing only the next: `grpc` (messages) → `encoder` (admit, prepare,
//! normalise) → `scheduler` (requests to batches) → `tower` (ONNX Runtime).

mod activation_ranges;
mod bulk;
mod config;
mod device;
mod encoder;
mod error;
mod grpc;
mod matrix_product;
mod opening;
mod runtime;
mod scheduler;
mod self_test;
mod tower;
mod tower_metrics;

pub use activation_ranges::RangeObserver;
pub use bulk::{EncodedTexts, encode_all_images, encode_all_texts, encode_each_image};
pub use config::{BatchingConfig, EncoderConfig, InputLimits, SessionConfig};
pub use device::{CudnnSearch, DeviceConfig, DeviceName, DevicePrecision, DeviceReport, has_exact_int8_products};
pub use encoder::{EncodedImage, EncodedText, Encoder, Intake, Workers};
pub use error::EncodeError;
pub use grpc::{SERVICE_NAME, add_encoder_service};
pub use matrix_product::MatrixProduct;
pub use opening::{measure_towers, open_towers};
pub use scheduler::{Priority, Timings, Urgency};
pub use self_test::{Difference, TowerTest};
pub use tower::{OnnxTextTower, OnnxVisionTower, OpenedTowers, Pixels, TokenIds, Tower};
pub use tower_metrics::describe_metrics;

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
    let (encoder, mut workers) = tokio::task::spawn_blocking(move || Encoder::open(&opening))
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
    let intake = encoder.intake();
    let tending = tokio::spawn(encoder.clone().tend(health));
    add_encoder_service(&mut routes, encoder, config.server.max_message_bytes);
    descry_serving::serve(
        listener,
        routes.routes(),
        descry_proto::DESCRIPTOR_SET,
        (&config.server, &config.access),
        async {
            shutdown.await;
            tracing::info!("shutting down");
            intake.stop();
        },
    )
    .await?;
    // It ends by itself after the intake stopped; a panic in it would have been logged.
    let _ = tending.await;
    // Requests are answered or cut off by now; what still runs nobody waits for, but it must not outlive the process.
    workers.halt();
    let _ = tokio::task::spawn_blocking(move || workers.join()).await;
    Ok(())
}
