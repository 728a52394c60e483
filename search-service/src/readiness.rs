//! Health follows the dependencies: with the encoder or the store down, no search can be answered.

use crate::SearchError;
use crate::encoder_pool::EncoderPool;
use descry_serving::Health;
use descry_store::VectorStore;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const PAUSE: Duration = Duration::from_secs(2);
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// Galleries that are named one by one in the log.
const NAMED_GALLERIES: usize = 10;

/// Asks both dependencies again and again and tells the health service, until `shutdown`.
pub(crate) async fn watch(
    encoders: EncoderPool,
    store: Arc<dyn VectorStore>,
    health: Health,
    shutdown: CancellationToken,
) {
    let mut was_ready = None;
    loop {
        let probe = async { encoders.ready().await.and(store.ready().await.map_err(SearchError::from)) };
        let probed = tokio::select! {
            probed = tokio::time::timeout(PROBE_LIMIT, probe) => probed,
            () = shutdown.cancelled() => break,
        };
        let too_slow = || SearchError::DeadlineExceeded { activity: "probing the encoder and the store" };
        let ready = match probed.unwrap_or_else(|_| Err(too_slow())) {
            Ok(()) => true,
            Err(error) => {
                if was_ready != Some(false) {
                    tracing::warn!(%error, "not ready");
                }
                false
            }
        };
        if was_ready != Some(ready) {
            health.set_ready(ready).await;
            tracing::info!(ready, "readiness changed");
            if ready {
                name_unsearchable(&encoders, &*store).await;
            }
        }
        was_ready = Some(ready);
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = shutdown.cancelled() => break,
        }
    }
    health.set_ready(false).await;
}

/// Says which galleries cannot be searched because no encoder runs their model: nobody else would before somebody asks.
async fn name_unsearchable(encoders: &EncoderPool, store: &dyn VectorStore) {
    let Ok(galleries) = store.galleries().await else { return };
    let mut count = 0_usize;
    for gallery in galleries {
        match encoders.of(&gallery.gallery, &gallery.fingerprint).await {
            Ok(_) => {}
            Err(error) if error.is_of_another_model() => {
                count += 1;
                if count <= NAMED_GALLERIES {
                    tracing::warn!(%error, "a gallery cannot be searched or added to");
                }
            }
            // Nothing is known of an encoder that does not answer; its own readiness is told elsewhere.
            Err(error) => tracing::debug!(gallery = gallery.gallery, %error, "no encoder could be asked"),
        }
    }
    if count > NAMED_GALLERIES {
        tracing::warn!(count, "galleries cannot be searched or added to; the first of them are named above");
    }
}
