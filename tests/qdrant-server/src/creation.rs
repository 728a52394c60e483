//! What a new collection is to be: for the engine, and for those who ask about it later.

use crate::from_proto::only;
use crate::service::refuse_unknown_fields;
use qdrant_client::qdrant as proto;
use qdrant_edge as engine;
use std::mem::take;
use tonic::Status;

/// The engine reserves this much disk for the log of each collection; its default of 32 MiB is much for a test.
const LOG_SEGMENT_BYTES: usize = 4 * 1024 * 1024;

/// As on a real server.
const MIN_EF_CONSTRUCT: usize = 4;

/// A collection that was asked for.
pub(crate) struct NewCollection {
    pub(crate) name: String,
    pub(crate) config: engine::EdgeConfig,
    /// As a server reports it, with what was left to the server.
    pub(crate) reported: proto::CollectionConfig,
}

impl NewCollection {
    /// Numbers of shards and replicas are only recorded: there is one node with one shard, and no answer depends on
    /// them.
    pub(crate) fn requested(mut request: proto::CreateCollection) -> Result<Self, Status> {
        let name = take(&mut request.collection_name);
        let metadata = take(&mut request.metadata);
        let vectors_config = request.vectors_config.take();
        let hnsw = hnsw(request.hnsw_config.take().unwrap_or_default())?;
        let quantization_config = request.quantization_config.take();
        let shard_number = at_least_one("shard_number", request.shard_number.take())?;
        let replication_factor = at_least_one("replication_factor", request.replication_factor.take())?;
        let write_consistency_factor =
            at_least_one("write_consistency_factor", request.write_consistency_factor.take())?;
        refuse_unknown_fields("create collection", &request)?;
        let Some(proto::vectors_config::Config::Params(params)) =
            vectors_config.as_ref().and_then(|vectors| vectors.config.clone())
        else {
            return only("one unnamed dense vector per point");
        };
        let log = engine::WalOptions { segment_capacity: LOG_SEGMENT_BYTES, ..engine::WalOptions::default() };
        let mut config = engine::EdgeConfig::builder().vector("", vector(params)?).hnsw_config(hnsw).wal_options(log);
        if let Some(requested) = quantization_config {
            config = config.quantization_config(quantization(requested)?);
        }
        let params = proto::CollectionParams {
            shard_number,
            replication_factor: Some(replication_factor),
            write_consistency_factor: Some(write_consistency_factor),
            vectors_config,
            ..proto::CollectionParams::default()
        };
        let hnsw_config = proto::HnswConfigDiff {
            m: Some(hnsw.m as u64),
            ef_construct: Some(hnsw.ef_construct as u64),
            ..proto::HnswConfigDiff::default()
        };
        let reported = proto::CollectionConfig {
            params: Some(params),
            hnsw_config: Some(hnsw_config),
            quantization_config,
            metadata,
            ..proto::CollectionConfig::default()
        };
        Ok(Self { name, config: config.build(), reported })
    }
}

fn at_least_one(field: &str, number: Option<u32>) -> Result<u32, Status> {
    match number {
        Some(0) => Err(Status::invalid_argument(format!("{field}: value 0 invalid, must be 1 or larger"))),
        number => Ok(number.unwrap_or(1)),
    }
}

#[expect(deprecated, reason = "clients that also know older servers use these names of the fields")]
fn vector(mut params: proto::VectorParams) -> Result<engine::EdgeVectorParams, Status> {
    let (dimension, on_disk) = (size("size", take(&mut params.size))?, params.on_disk.take());
    if dimension == 0 {
        return Err(Status::invalid_argument("size: value 0 invalid, must be 1 or larger"));
    }
    let vector = engine::EdgeVectorParams::builder(dimension, distance(take(&mut params.distance))?);
    refuse_unknown_fields("vector", &params)?;
    Ok(vector.on_disk(on_disk.unwrap_or_default()).build())
}

fn distance(distance: i32) -> Result<engine::Distance, Status> {
    use proto::Distance as Requested;
    match Requested::try_from(distance) {
        Ok(Requested::Cosine) => Ok(engine::Distance::Cosine),
        Ok(Requested::Euclid) => Ok(engine::Distance::Euclid),
        Ok(Requested::Dot) => Ok(engine::Distance::Dot),
        Ok(Requested::Manhattan) => Ok(engine::Distance::Manhattan),
        Ok(Requested::UnknownDistance) | Err(_) => Err(Status::invalid_argument("unknown distance")),
    }
}

fn hnsw(mut requested: proto::HnswConfigDiff) -> Result<engine::HnswIndexConfig, Status> {
    let mut config = engine::HnswIndexConfig::default();
    if let Some(links) = requested.m.take() {
        config.m = size("m", links)?;
    }
    if let Some(neighbours) = requested.ef_construct.take() {
        config.ef_construct = size("ef_construct", neighbours)?;
    }
    if config.ef_construct < MIN_EF_CONSTRUCT {
        let message = format!("ef_construct: must be at least {MIN_EF_CONSTRUCT}, got {}", config.ef_construct);
        return Err(Status::invalid_argument(message));
    }
    refuse_unknown_fields("HNSW", &requested)?;
    Ok(config)
}

#[expect(deprecated, reason = "as above")]
fn quantization(requested: proto::QuantizationConfig) -> Result<engine::QuantizationConfig, Status> {
    use proto::quantization_config::Quantization;
    match requested.quantization {
        Some(Quantization::Scalar(mut scalar)) => {
            if take(&mut scalar.r#type) != i32::from(proto::QuantizationType::Int8) {
                return Err(Status::invalid_argument("unknown type of scalar quantization"));
            }
            let config = engine::ScalarQuantizationConfig {
                r#type: engine::ScalarType::Int8,
                quantile: scalar.quantile.take(),
                always_ram: scalar.always_ram.take(),
            };
            refuse_unknown_fields("scalar quantization", &scalar)?;
            Ok(config.into())
        }
        Some(Quantization::Binary(mut binary)) => {
            let always_ram = binary.always_ram.take();
            refuse_unknown_fields("binary quantization", &binary)?;
            Ok(engine::BinaryQuantizationConfig { always_ram, encoding: None, query_encoding: None }.into())
        }
        Some(Quantization::Product(_) | Quantization::Turboquant(_)) | None => only("scalar and binary quantization"),
    }
}

fn size(field: &str, number: u64) -> Result<usize, Status> {
    usize::try_from(number).map_err(|error| Status::invalid_argument(format!("{field}: {error}")))
}
