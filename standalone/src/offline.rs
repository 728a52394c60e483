//! The encoder inside this process, for work that needs no service.

use crate::StandaloneError;
use descry_encoder::{Encoder, EncoderConfig, Workers};

/// Research captions run to a page; beyond this a file is not a list of captions.
pub const MAX_TEXT_BYTES: usize = 1 << 20;

/// No limit: nobody else's images wait.
const MAX_QUEUED_MEGAPIXELS: usize = 1_000_000;

/// Opens a bundle for offline work. Blank texts count as texts, and texts may be long, as in the published evaluations.
///
/// # Errors
/// [`StandaloneError::Encoder`] when the bundle or the device is unusable.
pub async fn open_encoder(mut config: EncoderConfig) -> Result<(Encoder, Workers), StandaloneError> {
    config.limits.allow_blank_texts = true;
    config.limits.max_text_bytes = MAX_TEXT_BYTES;
    config.batching.max_queued_megapixels = MAX_QUEUED_MEGAPIXELS;
    let opening = tokio::task::spawn_blocking(move || Encoder::open(&config));
    Ok(opening.await.map_err(StandaloneError::task("loading the model"))??)
}

/// Says before the work that texts cannot be encoded.
///
/// # Errors
/// [`StandaloneError::NoTokenizer`]
pub fn require_tokenizer(encoder: &Encoder) -> Result<(), StandaloneError> {
    if encoder.has_tokenizer() { Ok(()) } else { Err(StandaloneError::NoTokenizer) }
}
