//! The connection to a running service.

use crate::{ClientError, Stated};
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_trust::TrustError;
use descry_trust::tls::{Address, ClientTls, ClientTlsSettings, TlsHints, explain_refusal};
use std::error::Error;
use std::time::Duration;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

/// Replies hold up to a thousand hits with their attributes, or a page of embeddings.
const MAX_REPLY_BYTES: usize = 64 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a silent connection is asked for a sign of life, and how long that may take.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// What errors about TLS tell people to give.
const TLS_HINTS: TlsHints = TlsHints { ca: "--ca FILE", certificate: "--certificate FILE --key FILE" };

/// What calls the service: the generated client, with what each call carries.
pub type Service = SearchServiceClient<InterceptedService<Channel, CallHeaders>>;

/// What each call carries besides its message.
#[derive(Debug, Clone, Default)]
pub struct CallHeaders {
    /// What proves who calls. Marked as sensitive, so that neither logs nor HTTP/2's compression keep it.
    authorization: Option<MetadataValue<Ascii>>,
    /// Why it is made.
    stated: Stated,
}

impl Interceptor for CallHeaders {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        self.stated.add_to(request.metadata_mut());
        Ok(request)
    }
}

/// A running search service, or `descry serve`. Cheap to clone; clones share one HTTP/2 connection, which is made again
/// when it breaks.
#[derive(Debug, Clone)]
pub struct Connection {
    channel: Channel,
    headers: CallHeaders,
    service: Service,
}

impl Connection {
    /// Connects to the service at an address such as `http://127.0.0.1:50051`. One that begins with `https://` must prove itself
    /// by a CA that the system trusts.
    ///
    /// # Errors
    /// As those of [`Connection::to_with_tls`].
    pub async fn to(url: &str) -> Result<Self, ClientError> {
        Self::to_with_tls(url, &ClientTlsSettings::default()).await
    }

    /// Connects to the service at an address. Where it begins with `https://`, `tls` says whom to believe and what to show.
    ///
    /// # Errors
    /// [`ClientError::Address`]; [`ClientError::NoService`] when nobody answers within 5 seconds; [`ClientError::Tls`] when the
    /// files cannot be used; [`ClientError::Untrusted`] when the service is not who it should be.
    pub async fn to_with_tls(url: &str, tls: &ClientTlsSettings) -> Result<Self, ClientError> {
        let address = Address::parse(url).map_err(|_| ClientError::Address { url: url.to_owned() })?;
        // A service that vanished without a word, as behind a router that forgot the connection, is noticed: whoever waits
        // for a match or an acknowledgement would wait for ever.
        let endpoint = Endpoint::from(address.dialled(None))
            .origin(address.origin())
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        let channel = if address.is_tls() {
            let tls = ClientTls::open(tls, TLS_HINTS)?;
            endpoint.connect_with_connector(tls.connector(&address)?).await
        } else {
            endpoint.connect().await
        };
        channel.map(Self::over).map_err(|source| match distrust(&source) {
            Some(reason) => ClientError::Untrusted { url: url.to_owned(), reason },
            None => ClientError::NoService { url: url.to_owned(), source },
        })
    }

    /// What the failure of a call says of TLS, where it does: that the service lets nobody in without a certificate, or speaks
    /// TLS at an address without.
    pub fn explain_refusal(status: &Status) -> Option<String> {
        explain_refusal(status, TLS_HINTS)
    }

    /// Over a channel that was made in another way, as through memory.
    pub fn over(channel: Channel) -> Self {
        Self::carrying(channel, CallHeaders::default())
    }

    /// The same connection, whose calls prove with this token who makes them: one that `descry token create` made, or whatever
    /// else the service takes as one.
    ///
    /// # Errors
    /// [`ClientError::Token`] for what cannot be sent as one.
    pub fn with_token(self, token: &str) -> Result<Self, ClientError> {
        let is_sendable = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        let value = Some(format!("Bearer {token}")).filter(|_| is_sendable).and_then(|value| value.parse().ok());
        let mut authorization: MetadataValue<Ascii> = value.ok_or(ClientError::Token)?;
        authorization.set_sensitive(true);
        let Self { channel, headers, .. } = self;
        Ok(Self::carrying(channel, CallHeaders { authorization: Some(authorization), ..headers }))
    }

    /// The same connection, whose calls state why they are made.
    #[must_use]
    pub fn stating(self, stated: Stated) -> Self {
        let Self { channel, headers, .. } = self;
        Self::carrying(channel, CallHeaders { stated, ..headers })
    }

    /// What its calls state, for another connection that is used for the same reason.
    pub fn stated(&self) -> Stated {
        self.headers.stated.clone()
    }

    fn carrying(channel: Channel, headers: CallHeaders) -> Self {
        let service = SearchServiceClient::with_interceptor(channel.clone(), headers.clone())
            .max_decoding_message_size(MAX_REPLY_BYTES)
            .max_encoding_message_size(usize::MAX);
        Self { channel, headers, service }
    }

    /// The channel below, for other services at the same address, such as the one that tells of health.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The generated client, for calls that have no method here.
    pub fn service(&self) -> Service {
        self.service.clone()
    }
}

/// Why the two sides did not come to trust each other, where that is why there is no connection.
fn distrust(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(TrustError::Handshake { reason, .. }) = error.downcast_ref() {
            return Some(reason.clone());
        }
        next = error.source();
    }
    None
}

/// The reply, or why there is none.
pub(crate) fn answer<Reply>(reply: Result<Response<Reply>, Status>) -> Result<Reply, ClientError> {
    reply.map(Response::into_inner).map_err(ClientError::refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_is_sent_and_not_shown() {
        let connection = || Connection::over(Endpoint::from_static("http://127.0.0.1:9").connect_lazy());
        let with_token = connection().with_token("descry_0123456789ab_secret").unwrap();
        assert!(!format!("{with_token:?}").contains("secret"), "{with_token:?}");
        for wrong in ["", "two words", "line\nbreak", "é"] {
            let error = connection().with_token(wrong).unwrap_err();
            assert!(wrong.is_empty() || !error.to_string().contains(wrong), "{error}");
        }
    }
}
