//! Calls to others, over TLS where their address says so.

use descry_trust::TrustError;
use descry_trust::tls::{Address, ClientTls};
use std::net::SocketAddr;
use tonic::transport::{Channel, Endpoint};

/// Prepares calls to a server, with what `tune` sets; the time for connecting should be among it, which includes the TLS
/// handshake. It connects with the first call, to `place` where the name was resolved already, and again whenever the connection
/// breaks. The server proves itself, and is addressed, by the name in its address all the same.
///
/// # Errors
/// [`TrustError::Address`] for one that speaks TLS where `tls` is missing.
pub fn channel_to(
    address: &Address,
    place: Option<SocketAddr>,
    tls: Option<&ClientTls>,
    tune: impl FnOnce(Endpoint) -> Endpoint,
) -> Result<Channel, TrustError> {
    let endpoint = tune(Endpoint::from(address.dialled(place)).origin(address.origin()));
    if !address.is_tls() {
        return Ok(endpoint.connect_lazy());
    }
    let tls = tls.ok_or_else(|| TrustError::Address {
        url: address.url().to_owned(),
        reason: "it speaks TLS, and nothing says whom to believe".to_owned(),
    })?;
    Ok(endpoint.connect_with_connector_lazy(tls.connector(address)?))
}
