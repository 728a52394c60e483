//! The encoders: which of them runs which model, and who gets the next piece of work.
//!
//! `places` finds them, each `member` is asked again and again what it runs, `choice` takes the less loaded of two, and
//! `asking` goes to another one where the first does not answer. `group` is what the rest of the service sees: all members
//! of a gallery's model, as one encoder.

mod asked;
mod asking;
mod choice;
mod group;
mod hedging;
mod in_flight;
mod load;
mod member;
mod places;
mod standing;
#[cfg(test)]
mod tests;

pub(crate) use group::EncoderGroup;
pub(crate) use standing::Standing;

use self::hedging::Hedges;
use self::member::Member;
use self::places::{Places, nobody};
use crate::SearchError;
use crate::config::EncoderClientConfig;
use crate::encoder_client::{EncoderClient, EncoderModel, TLS_HINTS};
use descry_model::Fingerprint;
use descry_serving::{SentToken, deadline};
use descry_trust::tls::ClientTls;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How names become addresses, and addresses encoders.
pub(crate) trait Network: Send + Sync + 'static {
    /// The addresses behind a name.
    fn resolve(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

    /// A client of the encoder at `address`, or at what `url` says itself. Connects with the first call.
    fn connect(&self, url: &str, address: Option<SocketAddr>) -> Result<EncoderClient, SearchError>;
}

/// The system's resolver, and connections over TCP.
pub(crate) struct SystemNetwork {
    connect_timeout: Duration,
    /// Where one of them speaks it.
    tls: Option<ClientTls>,
    /// What proves to encoders who calls.
    token: Option<SentToken>,
}

impl SystemNetwork {
    /// # Errors
    /// [`SearchError::Invalid`] when an address begins with `https://` and the files for TLS cannot be used.
    pub(crate) fn open(config: &EncoderClientConfig, token: Option<SentToken>) -> Result<Self, SearchError> {
        let speaks_tls =
            config.places().into_iter().chain(config.other_places()).any(|url| url.starts_with("https://"));
        let tls = speaks_tls.then(|| ClientTls::open(&config.tls, TLS_HINTS)).transpose();
        let tls =
            tls.map_err(|error| SearchError::Invalid { field: "encoder.tls".to_owned(), reason: error.to_string() })?;
        Ok(Self { connect_timeout: Duration::from_millis(config.connect_timeout_ms), tls, token })
    }
}

impl Network for SystemNetwork {
    fn resolve(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }

    fn connect(&self, url: &str, address: Option<SocketAddr>) -> Result<EncoderClient, SearchError> {
        EncoderClient::connect_lazily(url, address, self.tls.as_ref(), self.connect_timeout, self.token.as_ref())
    }
}

/// All encoders that the service may ask. Clones share them.
#[derive(Clone)]
pub(crate) struct EncoderPool(Arc<Pool>);

struct Pool {
    places: Places,
    hedges: Hedges,
    config: EncoderClientConfig,
    /// The model that new galleries are made for, as it was last said.
    first_model: Mutex<Option<Fingerprint>>,
    /// What encoders said of models that were asked for, as many as galleries have: one that is known stays so while all
    /// that run it are away.
    met_models: Mutex<HashMap<Fingerprint, EncoderModel>>,
}

/// How one encoder is at present.
#[derive(Debug, Clone)]
pub(crate) struct EncoderState {
    pub(crate) url: String,
    /// Empty for a name without addresses.
    pub(crate) address: String,
    pub(crate) standing: Standing,
    /// Why it is left out.
    pub(crate) reason: String,
    pub(crate) model: Option<EncoderModel>,
    pub(crate) in_flight: usize,
    pub(crate) text_latency: Option<Duration>,
    pub(crate) image_latency: Option<Duration>,
    pub(crate) answered_calls: u64,
    pub(crate) failed_calls: u64,
}

impl EncoderPool {
    /// `in_process` is the encoder of this process, which stands before those of the settings.
    ///
    /// # Errors
    /// [`SearchError::Invalid`] for what is no address of an encoder.
    pub(crate) fn open(
        config: &EncoderClientConfig,
        in_process: Option<EncoderClient>,
        network: Arc<dyn Network>,
    ) -> Result<Self, SearchError> {
        let places = Places::open(config, in_process, network)?;
        let hedges = Hedges::new(config.hedge_ms);
        let (first_model, met_models) = (Mutex::default(), Mutex::default());
        Ok(Self(Arc::new(Pool { places, hedges, config: config.clone(), first_model, met_models })))
    }

    /// Resolves names again and again. Never ends.
    pub(crate) async fn tend(&self) {
        self.0.places.keep_resolving().await;
    }

    /// The model that new galleries are made for: that of the members of the first place. While these change to another
    /// one it stays what it was, until none of them runs it any more; one that is left out still does.
    ///
    /// # Errors
    /// [`SearchError::Unavailable`] when none of them answers.
    pub(crate) async fn first_model(&self) -> Result<EncoderModel, SearchError> {
        self.0.places.resolve_new().await;
        let members = self.members();
        let of_first = |member: &&Arc<Member>| member.place() == 0;
        // Those that are left out are asked where there is no other.
        let is_up = |member: &&Arc<Member>| member.standing_and_reason().0 != Standing::LeftOut;
        let is_one_up = members.iter().filter(of_first).any(|member| is_up(&member));
        let of_first = members.iter().filter(of_first).filter(|member| !is_one_up || is_up(member));
        let limit = self.question_limit();
        let answers = futures::future::join_all(of_first.map(|member| member.ask(limit))).await;
        let mut failure = None;
        let mut models: Vec<EncoderModel> = Vec::with_capacity(answers.len());
        for answer in answers {
            match answer {
                Ok(model) => models.push(model),
                Err(error) => failure = Some(error),
            }
        }
        let common = most_common(models).ok_or_else(|| failure.unwrap_or_else(|| nobody(&self.0.places.failures())))?;
        let mut first = self.0.first_model.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is away for a moment is none that runs another model by now.
        let stays = first.as_ref().and_then(|first| {
            let mut of_first = members.iter().filter(|member| member.place() == 0);
            of_first.find_map(|member| member.runs(first))
        });
        let model = stays.unwrap_or(common);
        *first = Some(model.fingerprint.clone());
        Ok(model)
    }

    /// The encoders of a gallery's model, and what they say of it, or said: while none of them can be reached the work is
    /// refused as unavailable, or waits.
    ///
    /// # Errors
    /// [`SearchError::NoEncoder`] when all encoders run other models, [`SearchError::Unavailable`] when one
    /// that could be it does not answer and none ever said that it runs the model.
    pub(crate) async fn of(
        &self,
        gallery: &str,
        fingerprint: &Fingerprint,
    ) -> Result<(EncoderGroup, EncoderModel), SearchError> {
        let model = match self.known(fingerprint) {
            Some(model) => model,
            None => match self.find(fingerprint).await {
                Ok(model) => model,
                Err(Some(error)) => self.met_models().get(fingerprint).cloned().ok_or(error)?,
                Err(None) => return Err(self.no_encoder(gallery, fingerprint)),
            },
        };
        if !self.met_models().contains_key(fingerprint) {
            self.met_models().insert(fingerprint.clone(), model.clone());
        }
        let (gallery, fingerprint) = (gallery.to_owned(), fingerprint.clone());
        Ok((EncoderGroup { pool: self.clone(), gallery, fingerprint }, model))
    }

    fn met_models(&self) -> MutexGuard<'_, HashMap<Fingerprint, EncoderModel>> {
        self.0.met_models.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, fingerprint: &Fingerprint) -> Option<EncoderModel> {
        self.members().iter().find_map(|member| member.runs(fingerprint))
    }

    /// Asks those that are not known to run a model whether they do by now. An error without reason: all of them answer, and
    /// run others.
    async fn find(&self, fingerprint: &Fingerprint) -> Result<EncoderModel, Option<SearchError>> {
        self.0.places.resolve_new().await;
        let members = self.members();
        let limit = self.question_limit();
        let strangers = members.iter().filter(|member| member.runs(fingerprint).is_none());
        let mut answers: FuturesUnordered<_> = strangers.map(|member| member.ask(limit)).collect();
        // It may run the model, so its absence is the better reason.
        let failures = self.0.places.failures();
        let mut unreachable = if failures.is_empty() && !members.is_empty() { None } else { Some(nobody(&failures)) };
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(model) if model.fingerprint == *fingerprint => return Ok(model),
                Ok(_) => {}
                Err(error) => unreachable = Some(error),
            }
        }
        // Somebody else may have found one meanwhile.
        self.known(fingerprint).ok_or(unreachable)
    }

    /// That no encoder runs a model, with what they run instead.
    fn no_encoder(&self, gallery: &str, fingerprint: &Fingerprint) -> SearchError {
        let running = self.known_models();
        SearchError::NoEncoder { name: gallery.to_owned(), model: fingerprint.clone(), running }
    }

    fn known_models(&self) -> Vec<Fingerprint> {
        let mut running: Vec<Fingerprint> = Vec::new();
        for model in self.members().iter().filter_map(|member| member.model()) {
            if !running.contains(&model.fingerprint) {
                running.push(model.fingerprint);
            }
        }
        running
    }

    /// The models of all encoders, each once.
    ///
    /// # Errors
    /// Those of an encoder that never said what it runs, and still does not.
    pub(crate) async fn models(&self) -> Result<Vec<Fingerprint>, SearchError> {
        self.0.places.resolve_new().await;
        let members = self.members();
        let strangers = members.iter().filter(|member| member.model().is_none());
        let limit = self.question_limit();
        futures::future::try_join_all(strangers.map(|member| member.ask(limit))).await?;
        match self.0.places.failures() {
            failures if failures.is_empty() => Ok(self.known_models()),
            failures => Err(nobody(&failures)),
        }
    }

    /// Whether an encoder of the first model answers. One of another model that is down takes that model's galleries along,
    /// not all. Where the first place never answered, any other encoder will do: it may be of the same model.
    ///
    /// # Errors
    /// Why none does.
    pub(crate) async fn ready(&self) -> Result<(), SearchError> {
        let first = self.known_first_model();
        let is_up = |member: &Arc<Member>| member.standing_and_reason().0 < Standing::LeftOut;
        let is_first = |member: &Arc<Member>| match &first {
            Some(first) => member.runs(first).is_some(),
            None => false,
        };
        if self.members().iter().any(|member| is_first(member) && is_up(member)) {
            return Ok(());
        }
        match self.first_model().await {
            Ok(_) => Ok(()),
            Err(_) if first.is_none() && self.members().iter().any(is_up) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The model that new galleries are made for, as it was last said.
    pub(crate) fn known_first_model(&self) -> Option<Fingerprint> {
        self.0.first_model.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How each encoder is, in the order of the settings; names without addresses too.
    pub(crate) fn states(&self) -> Vec<EncoderState> {
        let places = &self.0.places;
        let state = |member: &Arc<Member>| {
            let (standing, reason) = member.standing_and_reason();
            let [text_latency, image_latency] = member.latencies();
            EncoderState {
                url: places.url(member.place()).to_owned(),
                address: member.address.clone(),
                standing,
                reason: reason.unwrap_or_default(),
                model: member.model(),
                in_flight: member.in_flight(),
                text_latency,
                image_latency,
                answered_calls: member.answered_calls.load(Ordering::Relaxed),
                failed_calls: member.failed_calls.load(Ordering::Relaxed),
            }
        };
        let unresolved = |(url, reason): (&str, String)| EncoderState {
            url: url.to_owned(),
            address: String::new(),
            standing: Standing::Unknown,
            reason,
            model: None,
            in_flight: 0,
            text_latency: None,
            image_latency: None,
            answered_calls: 0,
            failed_calls: 0,
        };
        let unresolved = places.failures().into_iter().map(unresolved);
        self.members().iter().map(state).chain(unresolved).collect()
    }

    fn members(&self) -> Arc<[Arc<Member>]> {
        self.0.places.members()
    }

    fn places(&self) -> &Places {
        &self.0.places
    }

    fn hedges(&self) -> &Hedges {
        &self.0.hedges
    }

    fn config(&self) -> &EncoderClientConfig {
        &self.0.config
    }

    /// How long one call may take: not longer than the caller of the running request waits.
    fn limit(&self) -> Duration {
        let timeout = Duration::from_millis(self.0.config.timeout_ms);
        deadline::remaining().map_or(timeout, |left| left.min(timeout))
    }

    /// How long a member may take to say what it runs. One that hangs keeps no caller longer than its own keeper.
    fn question_limit(&self) -> Duration {
        // While nobody has ever answered, they may all be starting: one that loads its model takes connections before it answers.
        let longest = match self.known_models().is_empty() && self.met_models().is_empty() {
            true => STARTING,
            false => Duration::from_millis(self.0.config.probe_timeout_ms),
        };
        self.limit().min(longest)
    }
}

/// How long encoders may take to start before who needs them is told that they are not there.
const STARTING: Duration = Duration::from_secs(15);

/// Of as common ones the first.
fn most_common(models: Vec<EncoderModel>) -> Option<EncoderModel> {
    let count = |model: &EncoderModel| models.iter().filter(|other| other.fingerprint == model.fingerprint).count();
    // Of equal keys the last one counts, so the order is turned.
    models.iter().rev().max_by_key(|model| count(model)).cloned()
}
