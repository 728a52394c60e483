//! The encoders, and which of them runs which model: during a model change there are two.

use crate::SearchError;
use crate::encoder_client::{EncoderClient, EncoderModel};
use descry_model::Fingerprint;
use std::sync::{Arc, PoisonError, RwLock};

/// All encoders that the service may ask. Clones share their connections.
#[derive(Clone)]
pub(crate) struct EncoderPool {
    members: Arc<[Member]>,
}

struct Member {
    client: EncoderClient,
    /// What it ran when it was last asked.
    model: RwLock<Option<EncoderModel>>,
}

impl Member {
    async fn ask(&self) -> Result<EncoderModel, SearchError> {
        let model = self.client.model().await;
        *self.model.write().unwrap_or_else(PoisonError::into_inner) = model.as_ref().ok().cloned();
        model
    }

    fn runs(&self, fingerprint: &Fingerprint) -> Option<EncoderModel> {
        let model = self.model.read().unwrap_or_else(PoisonError::into_inner);
        model.clone().filter(|model| model.fingerprint == *fingerprint)
    }
}

impl EncoderPool {
    /// The first encoder is the one that new galleries are made for.
    pub(crate) fn new(clients: impl IntoIterator<Item = EncoderClient>) -> Self {
        let members = clients.into_iter().map(|client| Member { client, model: RwLock::default() });
        Self { members: members.collect() }
    }

    /// The model that new galleries are made for.
    pub(crate) async fn first_model(&self) -> Result<EncoderModel, SearchError> {
        match self.members.first() {
            Some(member) => member.ask().await,
            None => Err(SearchError::Encoder { reason: "no encoder is configured".to_owned() }),
        }
    }

    /// The encoder of a gallery's model, and what it says of itself.
    ///
    /// # Errors
    /// [`SearchError::NoEncoder`] when all encoders run other models, [`SearchError::Unavailable`] when one
    /// that could be it does not answer.
    pub(crate) async fn of(
        &self,
        gallery: &str,
        fingerprint: &Fingerprint,
    ) -> Result<(EncoderClient, EncoderModel), SearchError> {
        let known = |member: &Member| member.runs(fingerprint).map(|model| (member.client.clone(), model));
        if let Some(found) = self.members.iter().find_map(known) {
            return Ok(found);
        }
        let answers = futures::future::join_all(self.members.iter().map(Member::ask)).await;
        let mut running = Vec::new();
        let mut unreachable = None;
        for (member, answer) in self.members.iter().zip(answers) {
            match answer {
                Ok(model) if model.fingerprint == *fingerprint => return Ok((member.client.clone(), model)),
                Ok(model) if running.contains(&model.fingerprint) => {}
                Ok(model) => running.push(model.fingerprint),
                // It may run the model, so its absence is the better reason.
                Err(error) => unreachable = Some(error),
            }
        }
        Err(unreachable.unwrap_or_else(|| SearchError::NoEncoder {
            name: gallery.to_owned(),
            model: fingerprint.clone(),
            running,
        }))
    }

    /// The models of all encoders, each once.
    ///
    /// # Errors
    /// Those of the first encoder that does not say what it runs.
    pub(crate) async fn models(&self) -> Result<Vec<Fingerprint>, SearchError> {
        let mut running: Vec<Fingerprint> = Vec::with_capacity(self.members.len());
        for model in futures::future::try_join_all(self.members.iter().map(Member::ask)).await? {
            if !running.contains(&model.fingerprint) {
                running.push(model.fingerprint);
            }
        }
        Ok(running)
    }

    /// Forgets what encoders ran: an answer came from another model than expected.
    pub(crate) fn forget(&self) {
        for member in self.members.iter() {
            *member.model.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Whether the first encoder answers. Another one that is down takes its own model's galleries along, not all.
    pub(crate) async fn ready(&self) -> Result<(), SearchError> {
        self.first_model().await.map(drop)
    }
}
