//! TLS: what a server shows and asks for, and whom a client believes, from files that may change while they are used.
//!
//! A [`ServerTls`] turns TCP connections into TLS ones, a [`ClientTls`] makes [`Connector`]s to an [`Address`]. Both look at
//! their files again by themselves: a certificate is renewed by replacing the file, and no connection breaks.

mod address;
mod certificate;
mod client;
mod client_certificate;
mod connector;
mod failure;
mod files;
mod plain_client;
mod server;

pub use address::Address;
pub use client::{ClientTls, ClientTlsSettings, TlsHints};
pub use client_certificate::ClientCertificate;
pub use connector::{Connector, TlsConnection};
pub use failure::explain_refusal;
pub use server::{Accepted, ClientCertificates, Protocol, ServerTls, ServerTlsSettings};

use rustls::crypto::CryptoProvider;
use std::sync::Arc;

/// The only cryptography there is. It is named wherever a configuration is built, so that nothing depends on what the process
/// has installed.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(test)]
mod tests;
