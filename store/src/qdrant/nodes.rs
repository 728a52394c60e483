//! The nodes of a Qdrant cluster: which one is asked, which is left out, and when it is asked again.
//!
//! What is about points goes to the node with the least under way, what is about collections and aliases always to the
//! first that answers: peers learn of new collections a moment after each other, and who has just made one must find it.
//! A node that is down, or silent where others answer, is left out; somebody else than the callers asks it again and again
//! until it answers. When all are left out, all are asked.

use super::client::NodeClient;
use super::error::{Blame, Refusal, translate};
use crate::StoreError;
use descry_retry::{Again, Retries, RetryPolicy};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Silences in a row after which a node is left out.
const MAX_SILENCES: u32 = 3;

/// What a read adds to the budget of second questions, what one takes, and the most that is saved up: one in ten reads, and
/// ten at once. A cluster that is slow because it has too much to do must not be asked twice as much.
const HEDGE_INCOME: u32 = 10;
const HEDGE_COST: u32 = 100;
const MAX_HEDGE_SAVINGS: u32 = 1_000;

/// How long a node could take before it was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// As long as any request may take.
    Whole,
    /// As long as a read waits before another node is asked.
    Some,
    /// Less, because the caller was in a hurry: that says nothing of the node.
    Little,
}

/// All nodes, at least one.
pub(super) struct Nodes {
    nodes: Vec<Arc<Node>>,
    turn: AtomicUsize,
    hedge_savings: AtomicU32,
}

/// One node.
pub(super) struct Node {
    pub(super) client: NodeClient,
    /// For the log: its place in the settings, from 1.
    number: usize,
    in_flight: AtomicUsize,
    state: Mutex<State>,
    /// A node that answers no sooner is not back.
    probe_limit: Duration,
}

struct State {
    is_left_out: bool,
    silences: u32,
    /// Between the probes; begun anew when a request succeeds.
    pauses: Retries,
}

impl Nodes {
    /// `policy` says how often a node that is left out is asked again.
    pub(super) fn new(clients: Vec<NodeClient>, policy: RetryPolicy) -> Self {
        let policy = RetryPolicy { retry_for: Duration::MAX, remaining_time: || None, ..policy };
        let node = |(index, client)| {
            let state = Mutex::new(State { is_left_out: false, silences: 0, pauses: policy.begin() });
            let probe_limit = policy.longest_pause.saturating_mul(2);
            Arc::new(Node { client, number: index + 1, in_flight: AtomicUsize::new(0), state, probe_limit })
        };
        let nodes = clients.into_iter().enumerate().map(node).collect();
        Self { nodes, turn: AtomicUsize::new(0), hedge_savings: AtomicU32::new(MAX_HEDGE_SAVINGS) }
    }

    pub(super) fn count(&self) -> usize {
        self.nodes.len()
    }

    /// The nodes that may be asked, in the order in which they are to be asked for points.
    pub(super) fn least_busy_first(&self) -> Vec<&Arc<Node>> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % self.nodes.len();
        let (later, sooner) = self.nodes.split_at(first);
        let mut order = but_for_those_left_out(sooner.iter().chain(later).collect());
        order.sort_by_key(|node| node.in_flight.load(Ordering::Relaxed));
        order
    }

    /// The nodes that may be asked, in the order in which they are to be asked for collections.
    pub(super) fn as_named(&self) -> Vec<&Arc<Node>> {
        but_for_those_left_out(self.nodes.iter().collect())
    }

    /// Notes what a request that failed says of the node.
    pub(super) fn note_failure(&self, node: &Arc<Node>, blame: Blame, patience: Patience) {
        if self.nodes.len() == 1 {
            return;
        }
        match (blame, patience) {
            (Blame::Node, _) => node.leave_out("it cannot be reached"),
            (Blame::Slowness, Patience::Whole) => node.leave_out("it does not answer"),
            (Blame::Slowness, Patience::Some) => node.note_silence(),
            (Blame::Slowness, Patience::Little) | (Blame::Cluster | Blame::Request, _) => {}
        }
    }

    /// Notes that another node answered although it was asked later.
    pub(super) fn note_overtaken(&self, node: &Arc<Node>) {
        node.note_silence();
    }

    /// To be called once a read.
    pub(super) fn earn_hedge(&self) {
        let _ = self.hedge_savings.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |savings| {
            Some(savings.saturating_add(HEDGE_INCOME).min(MAX_HEDGE_SAVINGS))
        });
    }

    /// Whether a second node may be asked the same now.
    pub(super) fn pay_hedge(&self) -> bool {
        let pay = |savings: u32| savings.checked_sub(HEDGE_COST);
        self.hedge_savings.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok()
    }
}

/// All of them where all are left out: one may have come back since it was last asked.
fn but_for_those_left_out(all: Vec<&Arc<Node>>) -> Vec<&Arc<Node>> {
    let others: Vec<_> = all.iter().filter(|node| !node.is_left_out()).copied().collect();
    if others.is_empty() { all } else { others }
}

/// Counts a request for as long as it lives.
pub(super) struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Node {
    pub(super) fn begin(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(&self.in_flight)
    }

    pub(super) fn note_success(&self) {
        let mut state = self.state();
        (state.is_left_out, state.silences) = (false, 0);
        state.pauses.succeed();
    }

    fn is_left_out(&self) -> bool {
        self.state().is_left_out
    }

    fn note_silence(self: &Arc<Self>) {
        let silences = {
            let mut state = self.state();
            state.silences = state.silences.saturating_add(1);
            state.silences
        };
        if silences >= MAX_SILENCES {
            self.leave_out("it is silent where others answer");
        }
    }

    fn leave_out(self: &Arc<Self>, reason: &'static str) {
        {
            let mut state = self.state();
            if state.is_left_out {
                return;
            }
            state.is_left_out = true;
        }
        tracing::warn!(node = self.number, reason, "a Qdrant node is left out until it answers again");
        tokio::spawn(take_back(Arc::downgrade(self)));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks a node that is left out until it answers, whatever it says, or nobody needs it any more.
async fn take_back(left_out: Weak<Node>) {
    loop {
        // A request may have found out sooner, where all nodes were left out.
        let Some(node) = left_out.upgrade().filter(|node| node.is_left_out()) else { return };
        let pause = node.state().pauses.next_pause(Again::Later).unwrap_or(node.probe_limit);
        drop(node);
        tokio::time::sleep(pause).await;
        let Some(node) = left_out.upgrade() else { return };
        // Unlike the health check this needs what requests need: the key, and the storage behind it.
        let probed = tokio::time::timeout(node.probe_limit, node.client.list_collections()).await;
        let answers = match probed {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                let Refusal { blame, .. } = translate("probing a Qdrant node", None, error);
                matches!(blame, Blame::Cluster | Blame::Request)
            }
            Err(_elapsed) => false,
        };
        if answers {
            let mut state = node.state();
            (state.is_left_out, state.silences) = (false, 0);
            tracing::info!(node = node.number, "a Qdrant node answers again");
            return;
        }
    }
}

/// What nobody was asked for.
pub(super) fn no_node() -> StoreError {
    StoreError::Unavailable { dependency: "Qdrant", reason: "no node is named".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::QdrantConfig;

    fn nodes(count: usize) -> Nodes {
        let policy = RetryPolicy {
            retry_for: Duration::ZERO,
            first_pause: Duration::from_secs(600),
            longest_pause: Duration::from_secs(600),
            remaining_time: || None,
        };
        let urls = (1..=count).map(|port| format!("http://127.0.0.1:{port}")).collect();
        Nodes::new(QdrantConfig { urls, ..QdrantConfig::default() }.clients().unwrap(), policy)
    }

    fn numbers(order: &[&Arc<Node>]) -> Vec<usize> {
        order.iter().map(|node| node.number).collect()
    }

    #[tokio::test]
    async fn requests_are_spread_and_pass_by_who_is_left_out() {
        let nodes = nodes(3);
        let firsts: Vec<usize> = (0..6).map(|_| nodes.least_busy_first()[0].number).collect();
        assert_eq!(firsts, [1, 2, 3, 1, 2, 3]);
        let busy = nodes.nodes[0].begin();
        assert_eq!(numbers(&nodes.least_busy_first()), [2, 3, 1]);
        drop(busy);
        nodes.note_failure(&nodes.nodes[1], Blame::Node, Patience::Little);
        for _ in 0..3 {
            assert!(!numbers(&nodes.least_busy_first()).contains(&2));
        }
        assert_eq!(numbers(&nodes.as_named()), [1, 3]);
        for node in [&nodes.nodes[0], &nodes.nodes[2]] {
            nodes.note_failure(node, Blame::Node, Patience::Little);
        }
        assert_eq!(numbers(&nodes.as_named()), [1, 2, 3], "when all are left out, all are asked");
        nodes.nodes[2].note_success();
        assert_eq!(numbers(&nodes.as_named()), [3]);
    }

    #[tokio::test]
    async fn silence_counts_until_somebody_is_answered() {
        let nodes = nodes(2);
        let node = &nodes.nodes[0];
        for _ in 0..MAX_SILENCES * 2 {
            nodes.note_failure(node, Blame::Slowness, Patience::Little);
        }
        for _ in 0..MAX_SILENCES - 1 {
            nodes.note_failure(node, Blame::Slowness, Patience::Some);
        }
        node.note_success();
        nodes.note_overtaken(node);
        assert!(!node.is_left_out());
        for _ in 0..MAX_SILENCES - 1 {
            nodes.note_overtaken(node);
        }
        assert!(node.is_left_out());
        nodes.note_failure(&nodes.nodes[1], Blame::Slowness, Patience::Whole);
        assert!(nodes.nodes[1].is_left_out(), "one whole time limit is enough");
        assert_eq!(nodes.as_named().len(), 2);
    }

    #[tokio::test]
    async fn what_is_not_the_nodes_fault_leaves_nobody_out_nor_does_anything_the_only_one() {
        let pair = nodes(2);
        for blame in [Blame::Cluster, Blame::Request] {
            pair.note_failure(&pair.nodes[0], blame, Patience::Whole);
        }
        let alone = nodes(1);
        alone.note_failure(&alone.nodes[0], Blame::Node, Patience::Whole);
        assert!(!pair.nodes[0].is_left_out() && !alone.nodes[0].is_left_out());
    }

    #[test]
    fn second_questions_are_few() {
        let nodes = nodes(2);
        let mut asked_twice = 0;
        for _ in 0..1_000 {
            nodes.earn_hedge();
            asked_twice += usize::from(nodes.pay_hedge());
        }
        assert!((100..=110).contains(&asked_twice), "{asked_twice}");
    }
}
