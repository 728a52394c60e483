//! Waiting for what will be so.

use std::time::Duration;

/// Far longer than anything here takes: it turns a hang into a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const PACE: Duration = Duration::from_millis(2);

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none for too long.
pub(crate) async fn until<Found>(what: &str, mut ask: impl AsyncFnMut() -> Option<Found>) -> Found {
    let mut pace = tokio::time::interval(PACE);
    let asking = async {
        loop {
            pace.tick().await;
            if let Some(found) = ask().await {
                return found;
            }
        }
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(found) => found,
        Err(_) => panic!("waited in vain: {what}"),
    }
}
