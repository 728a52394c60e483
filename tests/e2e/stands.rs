//! What several modules stand on.

pub(crate) mod alone;
pub(crate) mod certificates;
pub(crate) mod commands;
pub(crate) mod computed;
pub(crate) mod crops;
pub(crate) mod ledger;
pub(crate) mod polling;
pub(crate) mod random;
pub(crate) mod stored;
pub(crate) mod switchable;

use descry_proto::search::v1::search_service_client::SearchServiceClient;
use tonic::transport::Channel;

/// What calls a search service.
pub(crate) type Client = SearchServiceClient<Channel>;
