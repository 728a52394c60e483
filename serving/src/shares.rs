//! Something bounded that all callers take from (places, bytes), and of which one peer gets at most a part.

use descry_trust::Caller;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who is at the other end: a principal where it is known who calls, else an address, or for IPv6 the network of 64 bits that
/// one host may number as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer(Who);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Address(IpAddr),
    /// By a hash of the name, so that it is as cheap to pass around as an address. Names are the operator's, not the caller's.
    Principal(u64),
}

impl Peer {
    /// Who makes a call; nobody where it comes from within the process.
    pub fn of(caller: &Caller) -> Option<Self> {
        match &caller.principal {
            Some(principal) => {
                let mut hasher = DefaultHasher::new();
                principal.name.hash(&mut hasher);
                Some(Self(Who::Principal(hasher.finish())))
            }
            None => caller.address.map(|address| Self::from(address.ip())),
        }
    }
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(Who::Address(IpAddr::V4(address))),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(Who::Address(IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))))
            }
        }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Who::Address(address) => address.fmt(formatter),
            Who::Principal(_) => formatter.write_str("a principal"),
        }
    }
}

/// Why nothing could be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    /// All of it is taken.
    All,
    /// There is some left, but not for this peer.
    Peer,
}

/// What there is, and who has how much of it.
#[derive(Debug)]
pub struct Shares {
    most: usize,
    most_of_one: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Only peers that have something.
    by_peer: HashMap<Peer, usize>,
}

impl Shares {
    /// At most `most` in all, of which one peer has at most `most_of_one`. Who is not known as a peer is only bounded by
    /// what there is.
    pub fn new(most: usize, most_of_one: usize) -> Arc<Self> {
        Arc::new(Self { most, most_of_one, taken: Mutex::default() })
    }

    /// Takes some of it until the share is dropped.
    ///
    /// # Errors
    /// [`Exceeded`] when there is not so much left, for all or for this peer.
    pub fn take(self: &Arc<Self>, peer: Option<Peer>, amount: usize) -> Result<Share, Exceeded> {
        let mut share = Share { of: Arc::clone(self), peer, amount: 0 };
        share.grow(amount)?;
        Ok(share)
    }

    /// How much is taken in all.
    pub fn taken(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one caller has; given back when dropped.
#[derive(Debug)]
pub struct Share {
    of: Arc<Shares>,
    peer: Option<Peer>,
    amount: usize,
}

impl Share {
    /// Takes more. Nothing changes when that fails.
    ///
    /// # Errors
    /// [`Exceeded`] as for [`Shares::take`].
    pub fn grow(&mut self, amount: usize) -> Result<(), Exceeded> {
        let mut taken = self.of.lock();
        // A peer that has its share is told so, whatever the others have: nobody else is to make room for it.
        let own = self.peer.map(|peer| {
            let own = taken.by_peer.get(&peer).copied().unwrap_or_default();
            let own = own.checked_add(amount).filter(|own| *own <= self.of.most_of_one).ok_or(Exceeded::Peer)?;
            Ok((peer, own))
        });
        let own = own.transpose()?;
        let all = taken.all.checked_add(amount).filter(|all| *all <= self.of.most).ok_or(Exceeded::All)?;
        if let Some((peer, own)) = own.filter(|(_, own)| *own > 0) {
            taken.by_peer.insert(peer, own);
        }
        taken.all = all;
        self.amount += amount;
        Ok(())
    }

    /// Gives all of it back, to be taken anew.
    pub fn give_back(&mut self) {
        let amount = std::mem::take(&mut self.amount);
        if amount == 0 {
            return;
        }
        let mut taken = self.of.lock();
        taken.all -= amount;
        let Some(peer) = self.peer else { return };
        if let Some(own) = taken.by_peer.get_mut(&peer) {
            *own -= amount;
            if *own == 0 {
                taken.by_peer.remove(&peer);
            }
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_trust::Principal;

    fn peer(address: &str) -> Option<Peer> {
        Some(Peer::from(address.parse::<IpAddr>().unwrap()))
    }

    #[test]
    fn one_peer_leaves_room_for_others() {
        let shares = Shares::new(10, 5);
        let mut first = shares.take(peer("10.0.0.1"), 5).unwrap();
        assert_eq!(shares.take(peer("10.0.0.1"), 1).unwrap_err(), Exceeded::Peer);
        // The same host, in IPv6's way to write it.
        assert_eq!(shares.take(peer("::ffff:10.0.0.1"), 1).unwrap_err(), Exceeded::Peer);
        let second = shares.take(peer("10.0.0.2"), 4).unwrap();
        let nameless = shares.take(None, 1).unwrap();
        assert_eq!(shares.take(peer("10.0.0.3"), 1).unwrap_err(), Exceeded::All);
        assert_eq!(first.grow(1), Err(Exceeded::Peer));
        assert_eq!(shares.taken(), 10);
        first.give_back();
        assert_eq!(shares.taken(), 5);
        first.grow(3).unwrap();
        drop((first, second, nameless));
        assert_eq!(shares.taken(), 0);
        assert!(shares.lock().by_peer.is_empty());
        assert_eq!(shares.take(None, usize::MAX).unwrap_err(), Exceeded::All);
    }

    #[test]
    fn a_principal_is_one_peer_wherever_it_calls_from() {
        let caller = |name: &str, address: &str| {
            let principal = Principal { name: name.to_owned(), scopes: Vec::new() };
            let of_address = Caller { address: Some(address.parse().unwrap()), ..Caller::default() };
            Caller { principal: Some(principal.into()), ..of_address }
        };
        let first = Peer::of(&caller("guard", "10.0.0.1:1"));
        assert_eq!(first, Peer::of(&caller("guard", "10.0.0.2:2")));
        assert_ne!(first, Peer::of(&caller("camera", "10.0.0.1:1")));
        let nameless = Caller { principal: None, ..caller("guard", "10.0.0.1:1") };
        assert_eq!(Peer::of(&nameless), peer("10.0.0.1"));
        assert_eq!(Peer::of(&Caller::default()), None);
    }

    #[test]
    fn a_network_of_one_host_is_one_peer() {
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
    }
}
