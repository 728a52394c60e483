//! Whether a service may listen where it is told to: an address that other machines reach needs encryption, and callers who
//! prove who they are.

use crate::access::AccessConfig;
use crate::server::{ServerConfig, ServerError};
use std::net::SocketAddr;

/// What protects a listener.
#[derive(Debug, Clone, Copy)]
struct Protection {
    /// What is sent is encrypted.
    is_encrypted: bool,
    /// Callers prove who they are.
    knows_callers: bool,
    /// It was said that neither is needed.
    is_waived: bool,
}

/// Refuses an address that others reach without protection, unless the settings say that this is meant.
///
/// # Errors
/// [`ServerError::Exposed`], with what is missing.
pub(crate) fn check(address: SocketAddr, server: &ServerConfig, access: &AccessConfig) -> Result<(), ServerError> {
    protection(server, access).check(address)
}

/// Says at each start that a service is open to whoever reaches it, where it is.
pub(crate) fn warn(address: SocketAddr, server: &ServerConfig, access: &AccessConfig) {
    if let Some(missing) = protection(server, access).missing(address) {
        tracing::warn!(
            %address,
            "INSECURE: {missing}. Whoever reaches this address can read, change and delete what the service keeps, or \
             overhear those who do (server.insecure)"
        );
    }
}

fn protection(server: &ServerConfig, access: &AccessConfig) -> Protection {
    Protection { is_encrypted: server.tls.is_on(), knows_callers: access.is_on(), is_waived: server.insecure }
}

impl Protection {
    fn missing(self, address: SocketAddr) -> Option<&'static str> {
        // An address of IPv4 may be written as one of IPv6.
        if address.ip().to_canonical().is_loopback() {
            return None;
        }
        match (self.is_encrypted, self.knows_callers) {
            (true, true) => None,
            (false, true) => Some("nothing that is sent is encrypted (server.tls)"),
            (true, false) => Some("nobody is asked who they are (access.tokens_file)"),
            (false, false) => Some(
                "nothing that is sent is encrypted (server.tls), and nobody is asked who they are (access.tokens_file)",
            ),
        }
    }

    fn check(self, address: SocketAddr) -> Result<(), ServerError> {
        match self.missing(address) {
            Some(missing) if !self.is_waived => Err(ServerError::Exposed { address, missing }),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_reach_needs_both_or_a_word() {
        let protected = |is_encrypted, knows_callers| Protection { is_encrypted, knows_callers, is_waived: false };
        let check = |protection: Protection, address: &str| protection.check(address.parse().unwrap());
        for own in ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(check(protected(false, false), own).is_ok(), "{own}");
        }
        for reached in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[2001:db8::1]:1"] {
            assert!(check(protected(true, true), reached).is_ok());
            let waived = Protection { is_waived: true, ..protected(false, false) };
            assert!(check(waived, reached).is_ok());
            for (encrypted, known, expected) in
                [(false, true, "server.tls"), (true, false, "access.tokens_file"), (false, false, "server.tls")]
            {
                let error = check(protected(encrypted, known), reached).unwrap_err().to_string();
                assert!(error.contains(reached) && error.contains(expected), "{error}");
                assert!(error.contains("server.insecure"), "{error}");
            }
        }
    }
}
