//! One request to a cluster: to one node, to the next where that one fails, and to a second one where it is slow.

use super::QdrantStore;
use super::client::NodeClient;
use super::error::{Blame, Refusal, translate};
use super::nodes::{Node, Nodes, Patience, no_node};
use crate::StoreError;
use descry_retry::Again;
use futures::stream::{FuturesUnordered, StreamExt as _};
use qdrant_client::QdrantError;
use std::sync::Arc;
use std::time::Duration;

/// What is asked about, which decides who is asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// Points: whoever has the least to do. A read may be asked of two at once; a write of another node only when
    /// the first one failed or was given up, as its caller would give it up and send it again.
    PointsRead,
    PointsWrite,
    /// Collections and aliases: always the same node.
    CollectionsRead,
    CollectionsWrite,
}

/// A request, but for what is sent.
#[derive(Debug, Clone, Copy)]
struct Asking<'a> {
    about: About,
    activity: &'static str,
    /// What a missing collection stands for.
    address: Option<&'a str>,
}

/// What a node said, and how long it could take.
struct Answer<'a, T> {
    node: &'a Arc<Node>,
    answer: Result<T, Refusal>,
    patience: Patience,
}

impl QdrantStore {
    /// Reads points, repeated while the cluster is unavailable. `address` is what a missing collection stands for.
    pub(super) async fn read<'a, T, Asked>(
        &'a self,
        activity: &'static str,
        address: Option<&str>,
        request: impl Fn(&'a NodeClient) -> Asked,
    ) -> Result<T, StoreError>
    where
        Asked: Future<Output = Result<T, QdrantError>>,
    {
        self.repeat(Asking { about: About::PointsRead, activity, address }, &request).await
    }

    /// Writes points, repeated while the cluster is unavailable: ids derive from gallery and image id.
    pub(super) async fn write<'a, T, Asked>(
        &'a self,
        activity: &'static str,
        address: Option<&str>,
        request: impl Fn(&'a NodeClient) -> Asked,
    ) -> Result<T, StoreError>
    where
        Asked: Future<Output = Result<T, QdrantError>>,
    {
        self.repeat(Asking { about: About::PointsWrite, activity, address }, &request).await
    }

    /// Asks what collections and aliases there are.
    pub(super) async fn look_up<'a, T, Asked>(
        &'a self,
        activity: &'static str,
        address: Option<&str>,
        request: impl Fn(&'a NodeClient) -> Asked,
    ) -> Result<T, StoreError>
    where
        Asked: Future<Output = Result<T, QdrantError>>,
    {
        self.repeat(Asking { about: About::CollectionsRead, activity, address }, &request).await
    }

    /// Makes, switches or removes a collection; repeated as all others.
    pub(super) async fn change<'a, T, Asked>(
        &'a self,
        activity: &'static str,
        address: Option<&str>,
        request: impl Fn(&'a NodeClient) -> Asked,
    ) -> Result<T, StoreError>
    where
        Asked: Future<Output = Result<T, QdrantError>>,
    {
        self.repeat(Asking { about: About::CollectionsWrite, activity, address }, &request).await
    }

    /// Asks all nodes in turn, and all of them again after a pause, while what they say is passing.
    async fn repeat<'a, T, Asked>(
        &'a self,
        asking: Asking<'_>,
        request: &impl Fn(&'a NodeClient) -> Asked,
    ) -> Result<T, StoreError>
    where
        Asked: Future<Output = Result<T, QdrantError>>,
    {
        self.retry.repeat(asking.activity, || self.ask(asking, request), again).await
    }

    /// Asks each node at most once. A node that is unreachable or silent costs one more question, no pause.
    async fn ask<'a, T, Asked>(
        &'a self,
        asking: Asking<'_>,
        request: &impl Fn(&'a NodeClient) -> Asked,
    ) -> Result<T, StoreError>
    where
        Asked: Future<Output = Result<T, QdrantError>>,
    {
        let mut untried = asking.about.order(&self.nodes).into_iter();
        let may_hedge = asking.about.is_read() && !self.hedge_after.is_zero();
        if may_hedge {
            self.nodes.earn_hedge();
        }
        let mut asked = FuturesUnordered::new();
        // Who has not answered yet, in the order of asking.
        let mut silent: Vec<&'a Arc<Node>> = Vec::new();
        let mut failure = None;
        let mut is_hedging = may_hedge;
        loop {
            if asked.is_empty() {
                let Some(node) = untried.next() else { return Err(failure.unwrap_or_else(no_node)) };
                silent.push(node);
                asked.push(self.ask_node(node, asking, untried.len() > 0, request));
            }
            let silence = tokio::time::sleep(self.hedge_after);
            let answered = tokio::select! {
                biased;
                answered = asked.next() => answered,
                () = silence, if is_hedging && untried.len() > 0 => None,
            };
            let Some(Answer { node, answer, patience }) = answered else {
                is_hedging = self.nodes.pay_hedge();
                if is_hedging && let Some(node) = untried.next() {
                    silent.push(node);
                    asked.push(self.ask_node(node, asking, untried.len() > 0, request));
                }
                continue;
            };
            let place = silent.iter().position(|other| Arc::ptr_eq(other, node)).unwrap_or(silent.len());
            let Refusal { error, blame } = match answer {
                Ok(answer) => {
                    silent.iter().take(place).for_each(|overtaken| self.nodes.note_overtaken(overtaken));
                    node.note_success();
                    return Ok(answer);
                }
                Err(refusal) => refusal,
            };
            self.nodes.note_failure(node, blame, patience);
            if self.is_time_over() {
                return Err(error);
            }
            match blame {
                Blame::Node | Blame::Slowness | Blame::Cluster => silent.retain(|other| !Arc::ptr_eq(other, node)),
                Blame::Request => {
                    // This is an answer, but for a node that may be behind: all others are heard, those that are silent too.
                    silent.iter().take(place).for_each(|overtaken| self.nodes.note_overtaken(overtaken));
                    node.note_success();
                    if !matches!(error, StoreError::GalleryNotFound { .. }) {
                        return Err(error);
                    }
                    silent.retain(|other| !Arc::ptr_eq(other, node));
                }
            }
            failure = Some(telling(failure, error));
        }
    }

    async fn ask_node<'a, T, Asked>(
        &'a self,
        node: &'a Arc<Node>,
        asking: Asking<'_>,
        are_others_left: bool,
        request: &impl Fn(&'a NodeClient) -> Asked,
    ) -> Answer<'a, T>
    where
        Asked: Future<Output = Result<T, QdrantError>>,
    {
        let _in_flight = node.begin();
        let limit = match (self.retry.remaining_time)() {
            // Nobody else is asked meanwhile, so some of the caller's time is kept for whoever is asked next.
            Some(left) if are_others_left && !asking.about.is_read() => (left / 2).min(self.timeout),
            Some(left) => left.min(self.timeout),
            None => self.timeout,
        };
        let Asking { activity, address, .. } = asking;
        let answer = match tokio::time::timeout(limit, request(&node.client)).await {
            Ok(answer) => answer.map_err(|error| translate(activity, address, error)),
            Err(_elapsed) => Err(Refusal { error: StoreError::DeadlineExceeded { activity }, blame: Blame::Slowness }),
        };
        let patience = if limit == self.timeout {
            Patience::Whole
        } else if !self.hedge_after.is_zero() && limit >= self.hedge_after {
            Patience::Some
        } else {
            Patience::Little
        };
        Answer { node, answer, patience }
    }

    fn is_time_over(&self) -> bool {
        (self.retry.remaining_time)().is_some_and(|left| left < Duration::from_millis(1))
    }
}

impl About {
    fn is_read(self) -> bool {
        match self {
            Self::PointsRead | Self::CollectionsRead => true,
            Self::PointsWrite | Self::CollectionsWrite => false,
        }
    }

    fn order(self, nodes: &Nodes) -> Vec<&Arc<Node>> {
        match self {
            Self::PointsRead | Self::PointsWrite => nodes.least_busy_first(),
            Self::CollectionsRead | Self::CollectionsWrite => nodes.as_named(),
        }
    }
}

/// Of two nodes' failures the one to tell: what a node knows before what another could not say, then what may pass.
fn telling(earlier: Option<StoreError>, later: StoreError) -> StoreError {
    match earlier {
        Some(earlier @ (StoreError::GalleryNotFound { .. } | StoreError::Unavailable { .. })) => earlier,
        Some(_) | None => later,
    }
}

/// Every request can be repeated: ids derive from gallery and image id.
fn again(error: &StoreError) -> Again {
    match error {
        StoreError::Unavailable { .. } => Again::Later,
        StoreError::Overloaded { retry_after_ms, .. } => Again::After(Duration::from_millis(*retry_after_ms)),
        StoreError::Invalid { .. }
        | StoreError::GalleryNotFound { .. }
        | StoreError::GalleryExists { .. }
        | StoreError::FingerprintMismatch { .. }
        | StoreError::DimensionMismatch { .. }
        | StoreError::ActiveGeneration { .. }
        | StoreError::Full { .. }
        | StoreError::DeadlineExceeded { .. }
        | StoreError::Failed { .. } => Again::Never,
    }
}
