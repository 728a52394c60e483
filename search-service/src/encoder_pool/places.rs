//! Where encoders are: addresses, and names behind which there may be any number of them.

use super::Network;
use super::member::Member;
use crate::SearchError;
use crate::config::EncoderClientConfig;
use crate::encoder_client::{DEPENDENCY, EncoderClient, invalid_url};
use crate::metrics;
use descry_retry::RetryPolicy;
use descry_trust::tls::Address;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// A resolver that takes longer is taken for one that is down.
const RESOLVER_LIMIT: Duration = Duration::from_secs(5);

/// Requests that find a name unresolved, and encoders that fail, have names resolved again, but not more often.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(250);

/// Work that found nobody waits no longer for names to be resolved again.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// What the configuration says of one place.
struct Place {
    url: String,
    /// What is resolved; nothing where the address is known.
    name: Option<(String, u16)>,
    resolution: Mutex<Resolution>,
}

#[derive(Default)]
struct Resolution {
    tried_at: Option<Instant>,
    /// Why there is no member, or none more, of this name.
    failure: Option<String>,
    /// The addresses of its members. Several places may name the same one.
    addresses: Vec<String>,
}

/// All places and the members that were found there.
pub(super) struct Places {
    places: Vec<Place>,
    network: Arc<dyn Network>,
    config: EncoderClientConfig,
    members: RwLock<Arc<[Arc<Member>]>>,
    /// What keeps asking each member; it ends with the member.
    keepers: Mutex<Vec<(Arc<Member>, AbortOnDropHandle<()>)>>,
    /// Names are resolved by one caller at a time.
    turn: tokio::sync::Mutex<()>,
    /// A member failed: behind its name there may be another one by now.
    trouble: Arc<Notify>,
    rounds: watch::Sender<Rounds>,
}

/// How often all names were resolved.
#[derive(Debug, Clone, Copy, Default)]
struct Rounds {
    begun: u64,
    ended: u64,
}

impl Places {
    /// `in_process` is the encoder of this process, which comes before all others.
    ///
    /// # Errors
    /// [`SearchError::Invalid`] for what is no address of an encoder.
    pub(super) fn open(
        config: &EncoderClientConfig,
        in_process: Option<EncoderClient>,
        network: Arc<dyn Network>,
    ) -> Result<Self, SearchError> {
        let places = Self {
            places: Vec::new(),
            network,
            config: config.clone(),
            members: RwLock::new(Arc::new([])),
            keepers: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            trouble: Arc::default(),
            rounds: watch::Sender::default(),
        };
        let urls = if in_process.is_some() { config.other_places() } else { config.places() };
        let mut found: Vec<Arc<Member>> = Vec::new();
        let mut all = Vec::new();
        if let Some(client) = in_process {
            let url = "in-process".to_owned();
            found.push(places.member(0, url.clone(), url.clone(), client));
            all.push(Place::of(url.clone(), None, vec![url]));
        }
        for url in urls {
            let (host, port) = host_and_port(&url)?;
            let place = all.len();
            // A name that cannot be connected to is refused now, not by each call.
            let client = places.network.connect(&url, None)?;
            all.push(match host.parse::<IpAddr>() {
                Ok(address) => {
                    let address = SocketAddr::new(address, port).to_string();
                    if !found.iter().any(|member| member.address == address) {
                        found.push(places.member(place, address.clone(), address.clone(), client));
                    }
                    Place::of(url, None, vec![address])
                }
                Err(_) => Place::of(url, Some((host, port)), Vec::new()),
            });
        }
        let places = Self { places: all, ..places };
        places.replace(|_| found);
        Ok(places)
    }

    fn member(&self, place: usize, address: String, label: String, client: EncoderClient) -> Arc<Member> {
        let pauses = RetryPolicy {
            retry_for: Duration::MAX,
            first_pause: Duration::from_millis(self.config.min_retry_pause_ms),
            longest_pause: Duration::from_millis(self.config.max_retry_pause_ms),
            remaining_time: || None,
        };
        Arc::new(Member::new(place, address, label, client, pauses, Arc::clone(&self.trouble)))
    }

    pub(super) fn members(&self) -> Arc<[Arc<Member>]> {
        Arc::clone(&self.members.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn url(&self, place: usize) -> &str {
        self.places.get(place).map_or("", |place| &place.url)
    }

    /// Places whose name does not resolve, and why.
    pub(super) fn failures(&self) -> Vec<(&str, String)> {
        let failure = |place: &Place| resolution(place).failure.clone();
        self.places.iter().filter_map(|place| Some((place.url.as_str(), failure(place)?))).collect()
    }

    /// Resolves the names that never were, unless that was tried just now.
    pub(super) async fn resolve_new(&self) {
        if self.places.iter().any(|place| place.is_unresolved()) {
            self.resolve(|place| place.is_unresolved()).await;
        }
    }

    /// Resolves names again and again, and soon when a member fails. Never ends.
    pub(super) async fn keep_resolving(&self) {
        if !self.has_names() {
            return std::future::pending().await;
        }
        loop {
            self.rounds.send_modify(|rounds| rounds.begun += 1);
            self.resolve(|_| true).await;
            self.rounds.send_modify(|rounds| rounds.ended = rounds.begun);
            let in_trouble = async {
                tokio::time::sleep(SHORTEST_INTERVAL).await;
                self.trouble.notified().await;
            };
            // When nothing fails this is all that happens.
            let _ = tokio::time::timeout(Duration::from_millis(self.config.resolve_interval_ms), in_trouble).await;
        }
    }

    /// Somebody is missing: names are resolved soon.
    pub(super) fn resolve_soon(&self) {
        self.trouble.notify_one();
    }

    /// Waits until all names were resolved once more. Whether they were, within the time for which that is waited.
    pub(super) async fn resolved_again(&self, limit: Duration) -> bool {
        if !self.has_names() {
            return false;
        }
        let mut rounds = self.rounds.subscribe();
        // One that has begun may have asked before things changed.
        let awaited = rounds.borrow().begun + 1;
        self.resolve_soon();
        let ended = rounds.wait_for(|rounds| rounds.ended >= awaited);
        tokio::time::timeout(limit.min(LONGEST_WAIT), ended).await.is_ok_and(|ended| ended.is_ok())
    }

    fn has_names(&self) -> bool {
        self.places.iter().any(|place| place.name.is_some())
    }

    async fn resolve(&self, is_due: impl Fn(&Place) -> bool) {
        let _turn = self.turn.lock().await;
        let due = self.places.iter().enumerate().filter(|(_, place)| is_due(place));
        let lookups = due.filter_map(|(index, place)| {
            let (host, port) = place.name.clone()?;
            let lookup = tokio::time::timeout(RESOLVER_LIMIT, self.network.resolve(host, port));
            Some(async move { (index, place, lookup.await) })
        });
        for (index, place, found) in futures::future::join_all(lookups).await {
            let found = match found {
                Ok(Ok(addresses)) if addresses.is_empty() => Err("no address belongs to this name".to_owned()),
                Ok(Ok(addresses)) => Ok(of_one_family(addresses)),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_elapsed) => Err(format!("the resolver did not answer within {} s", RESOLVER_LIMIT.as_secs())),
            };
            let mut noted = resolution(place);
            noted.tried_at = Some(Instant::now());
            match found {
                Ok(addresses) => {
                    noted.failure = None;
                    drop(noted);
                    self.found(index, place, &addresses);
                }
                // Those that were found before stay: a resolver that is down must not take the encoders along.
                Err(reason) => {
                    if noted.failure.as_ref() != Some(&reason) {
                        tracing::warn!(url = place.url, reason, "the name of an encoder does not resolve");
                    }
                    noted.failure = Some(reason);
                }
            }
        }
    }

    /// These addresses belong to a place now, and no other. One that another place names as well is the same encoder, and
    /// stays as long as one of them does.
    fn found(&self, index: usize, place: &Place, addresses: &[SocketAddr]) {
        let names: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        resolution(place).addresses.clone_from(&names);
        self.replace(|known| {
            let mut members: Vec<Arc<Member>> = Vec::with_capacity(known.len());
            for member in known {
                if let Some(first) = self.first_place_of(&member.address) {
                    member.set_place(first);
                    members.push(Arc::clone(member));
                }
            }
            for (address, name) in addresses.iter().zip(&names) {
                if members.iter().any(|member| member.address == *name) {
                    continue;
                }
                match self.network.connect(&place.url, Some(*address)) {
                    Ok(client) => {
                        let label = place.free_label(&members);
                        tracing::info!(member = name, label, url = place.url, "found an encoder");
                        members.push(self.member(index, name.clone(), label, client));
                    }
                    Err(error) => tracing::warn!(member = name, %error, "an encoder cannot be used"),
                }
            }
            members.sort_by_key(|member| member.place());
            members
        });
    }

    fn first_place_of(&self, address: &str) -> Option<usize> {
        self.places.iter().position(|place| resolution(place).addresses.iter().any(|other| other == address))
    }

    /// Sets the members; new ones are asked from now on, those that are gone are not.
    fn replace(&self, change: impl FnOnce(&[Arc<Member>]) -> Vec<Arc<Member>>) {
        let interval = Duration::from_millis(self.config.probe_interval_ms);
        let limit = Duration::from_millis(self.config.probe_timeout_ms);
        let mut keepers = self.keepers.lock().unwrap_or_else(PoisonError::into_inner);
        let members = change(&self.members());
        keepers.retain(|(kept, _)| {
            let stays = members.iter().any(|member| Arc::ptr_eq(member, kept));
            if !stays {
                tracing::info!(member = kept.address, "an encoder is gone from its name");
                metrics::encoder_is_up(&kept.label, false);
            }
            stays
        });
        for member in &members {
            if !keepers.iter().any(|(kept, _)| Arc::ptr_eq(member, kept)) {
                let keeping = tokio::spawn(Arc::clone(member).keep(interval, limit));
                keepers.push((Arc::clone(member), AbortOnDropHandle::new(keeping)));
            }
        }
        *self.members.write().unwrap_or_else(PoisonError::into_inner) = members.into();
    }
}

fn resolution(place: &Place) -> MutexGuard<'_, Resolution> {
    place.resolution.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Place {
    fn of(url: String, name: Option<(String, u16)>, addresses: Vec<String>) -> Self {
        Self { url, name, resolution: Mutex::new(Resolution { addresses, ..Resolution::default() }) }
    }

    /// The name with the first number that none of the members has.
    fn free_label(&self, members: &[Arc<Member>]) -> String {
        let (host, port) = self.name.clone().unwrap_or_default();
        let label = |number: usize| format!("{host}:{port}#{number}");
        let is_free = |label: &String| members.iter().all(|member| member.label != *label);
        (1..).map(label).find(is_free).unwrap_or_default()
    }

    /// Whether its name never resolved, and was not tried just now.
    fn is_unresolved(&self) -> bool {
        let Resolution { tried_at, failure, .. } = &*resolution(self);
        let is_open = tried_at.is_none() || failure.is_some();
        self.name.is_some() && is_open && tried_at.is_none_or(|at| at.elapsed() >= SHORTEST_INTERVAL)
    }
}

/// A name with addresses of both kinds stands for hosts that have both: each is one member, met over IPv4.
fn of_one_family(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    if addresses.iter().any(SocketAddr::is_ipv4) {
        addresses.retain(SocketAddr::is_ipv4);
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn host_and_port(url: &str) -> Result<(String, u16), SearchError> {
    let address = Address::parse(url).map_err(|error| invalid_url(error.to_string()))?;
    Ok((address.host().to_owned(), address.port()))
}

/// Why nobody can be asked.
pub(super) fn nobody(failures: &[(&str, String)]) -> SearchError {
    let reasons: Vec<String> = failures.iter().map(|(url, reason)| format!("{url}: {reason}")).collect();
    let reason = if reasons.is_empty() { "no encoder is known yet".to_owned() } else { reasons.join("; ") };
    SearchError::Unavailable { dependency: DEPENDENCY, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_bad_ones_refused() {
        let read = |url: &str| host_and_port(url).map_err(|error| error.to_string());
        assert_eq!(read("http://127.0.0.1:50051"), Ok(("127.0.0.1".to_owned(), 50051)));
        assert_eq!(read("http://[::1]:7"), Ok(("::1".to_owned(), 7)));
        assert_eq!(read("http://encoder"), Ok(("encoder".to_owned(), 80)));
        assert_eq!(read("https://encoder"), Ok(("encoder".to_owned(), 443)));
        assert!(read("grpc://encoder:1").unwrap_err().contains("http:// or https://"));
        for malformed in ["http://", "http://a b", "http://:5"] {
            assert!(read(malformed).is_err(), "{malformed}");
        }
    }

    #[test]
    fn a_host_with_both_kinds_of_address_is_one_member() {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let both = addresses(&["[::1]:5", "127.0.0.2:5", "127.0.0.1:5", "127.0.0.2:5"]);
        assert_eq!(of_one_family(both), addresses(&["127.0.0.1:5", "127.0.0.2:5"]));
        assert_eq!(of_one_family(addresses(&["[::2]:5", "[::1]:5"])), addresses(&["[::1]:5", "[::2]:5"]));
    }
}
