//! Whether who calls may do what the call asks for: what services ask before they work.

use crate::shares::Peer;
use crate::standing::Standing;
use descry_retry::overloaded;
use descry_trust::{Caller, Denial, Guarded, Limits, Place, ProviderSettings, Scope, decide, decide_call};
use serde::Deserialize;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio_stream::Stream;
use tonic::{Request, Status, Streaming};

/// The `access` section of a service's settings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessConfig {
    /// The file of tokens that `descry token` keeps. Empty, and without certificates and provider: nobody is asked who calls.
    pub tokens_file: PathBuf,
    /// How often the file is looked at for changes, in milliseconds.
    pub reload_interval_ms: u64,
    /// What whoever proves a name by a client certificate may do.
    pub certificates: Vec<CertificateScopes>,
    /// A provider whose tokens are taken as well.
    pub identity_provider: ProviderSettings,
    /// Requests of one principal a minute; 0 for no limit. A token's own number wins.
    pub max_requests_per_minute: u32,
    /// Images that one principal brings a day, to be indexed or encoded; 0 for no limit. A token's own number wins.
    pub max_images_per_day: u32,
}

/// What whoever proves a name by a client certificate may do.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateScopes {
    /// The name that the certificate is for.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
}

impl AccessConfig {
    /// Whether callers must prove who they are.
    pub fn is_on(&self) -> bool {
        let has_tokens = !self.tokens_file.as_os_str().is_empty() || !self.identity_provider.issuer.is_empty();
        has_tokens || !self.certificates.is_empty()
    }

    /// What one principal may use where its token says nothing.
    pub(crate) fn limits(&self) -> Limits {
        let limited = |most: u32| Some(most).filter(|most| *most > 0);
        Limits {
            max_requests_per_minute: limited(self.max_requests_per_minute),
            max_images_per_day: limited(self.max_images_per_day),
        }
    }
}

/// Who makes a call, for the decisions about it.
#[derive(Debug, Clone)]
pub struct Access {
    /// Nothing where a request came past the door that knows who calls; then nothing is allowed.
    caller: Option<Caller>,
    standing: Option<Standing>,
}

impl Access {
    /// Who makes this request.
    pub fn of<Message>(request: &Request<Message>) -> Self {
        let extensions = request.extensions();
        Self { caller: extensions.get().cloned(), standing: extensions.get().cloned() }
    }

    /// Whether they may, where the service asks who calls. Images count from here on.
    ///
    /// # Errors
    /// The [`Denial`].
    pub fn permits<Message: Guarded>(&self, message: &Message, place: Place) -> Result<(), Denial> {
        let caller = self.caller.as_ref().ok_or(Denial::Unproven)?;
        let Some(principal) = &caller.principal else { return Ok(()) };
        decide(principal, message, place).inspect_err(|denial| {
            metrics::counter!("descry_access_denied_total").increment(1);
            tracing::info!(principal = principal.name, %denial, "denied");
        })?;
        match (&self.standing, message.images()) {
            (Some(standing), images) if images > 0 => standing.take_images(images),
            _ => Ok(()),
        }
    }

    /// Whether they may know that the gallery is there.
    pub fn may_see(&self, gallery: &str) -> bool {
        let Some(caller) = &self.caller else { return false };
        caller.principal.as_ref().is_none_or(|principal| principal.may_see(gallery))
    }

    /// Who shares in what is bounded: the principal where there is one, else their address, else nobody.
    pub fn peer(&self) -> Option<Peer> {
        self.caller.as_ref().and_then(Peer::of)
    }
}

/// The message of a request that its caller may make.
///
/// # Errors
/// The [`Denial`].
pub fn permitted<Message: Guarded>(request: Request<Message>) -> Result<Message, Denial> {
    Access::of(&request).permits(request.get_ref(), Place::First)?;
    Ok(request.into_inner())
}

/// The messages of a stream, each of which its caller may send. Ends with the first that they may not.
pub struct PermittedStream<Message> {
    /// Nothing behind a denial.
    messages: Option<Streaming<Message>>,
    access: Access,
    place: Place,
    refuse: fn(Denial) -> Status,
}

impl<Message: Guarded> PermittedStream<Message> {
    /// The messages of this request. `refuse` tells a denial in the service's words.
    ///
    /// # Errors
    /// The [`Denial`] of what needs no message to be denied.
    pub fn open(request: Request<Streaming<Message>>, refuse: fn(Denial) -> Status) -> Result<Self, Denial> {
        let access = Access::of(&request);
        let caller = access.caller.as_ref().ok_or(Denial::Unproven)?;
        if let Some(principal) = &caller.principal {
            decide_call::<Message>(principal)?;
        }
        Ok(Self { messages: Some(request.into_inner()), access, place: Place::First, refuse })
    }
}

impl<Message: Guarded> Stream for PermittedStream<Message> {
    type Item = Result<Message, Status>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(messages) = &mut self.messages else { return Poll::Ready(None) };
        let Some(message) = ready!(Pin::new(messages).poll_next(task)) else { return Poll::Ready(None) };
        let message = message.and_then(|message| match self.access.permits(&message, self.place) {
            Ok(()) => Ok(message),
            Err(denial) => {
                self.messages = None;
                Err((self.refuse)(denial))
            }
        });
        self.place = Place::Further;
        Poll::Ready(Some(message))
    }
}

/// What a denial is told as. A service that keeps galleries tells of one that may not be known in its own words for one that
/// is not there.
pub fn refusal(denial: Denial) -> Status {
    let message = denial.to_string();
    match denial {
        Denial::Unproven => Status::unauthenticated(message),
        // Not in the words of the denial, which would tell that there is something to be denied.
        Denial::UnknownGallery { address } => Status::not_found(format!("gallery {address:?} does not exist")),
        Denial::MissingScope { .. } => Status::permission_denied(message),
        Denial::Exceeded { retry_after_ms, .. } => overloaded(message, retry_after_ms),
        Denial::TooMuch { .. } => Status::invalid_argument(message),
    }
}
