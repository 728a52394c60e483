//! Lets a new generation answer, and cleans up behind it.

use super::{Filled, ModelChange, ModelChangeObserver, Surplus};
use crate::ClientError;
use descry_proto::search::v1::{ActivateGenerationRequest, Gallery};
use tonic::Code;

/// How often the service may find something new to be missing before a switch is given up.
const MAX_SWITCHES: u32 = 10;

impl ModelChange {
    /// Lets the new generation answer, in one step. Where the service finds that something was written which the
    /// generation did not get, it is filled again, some times. None when the caller has stopped that.
    ///
    /// # Errors
    /// As [`ModelChange::fill`], and the service's refusal when there was something new each time.
    pub async fn activate(&self, observer: &mut dyn ModelChangeObserver) -> Result<Option<Gallery>, ClientError> {
        let request = ActivateGenerationRequest {
            gallery: self.gallery.clone(),
            generation: self.new,
            force: false,
            keep_surplus: self.options.surplus == Surplus::Keep,
        };
        for _ in 1..MAX_SWITCHES {
            match self.connection.activate_generation(request.clone()).await {
                Err(error) if error.code() == Some(Code::FailedPrecondition) => {
                    tracing::info!(%error, "filling the new generation once more");
                }
                switched => return switched.map(Some),
            }
            match self.fill(observer).await? {
                Filled::Complete(_) => {}
                Filled::Stopped => return Ok(None),
            }
        }
        self.connection.activate_generation(request).await.map(Some)
    }

    /// Deletes the generation that served before the switch. Nothing can go back to it then.
    ///
    /// # Errors
    /// [`ClientError::Refused`], also before the switch.
    pub async fn drop_old(&self) -> Result<(), ClientError> {
        self.connection.delete_generation(&self.gallery, self.old).await
    }
}
