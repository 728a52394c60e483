//! `descry bench search store --store qdrant`

use super::StoreArguments;
use super::outcome::{publish, show_progress};
use anyhow::Context as _;
use clap::ValueEnum;
use descry_gallery_bench::{ServerPlan, run_server_benchmark};
use descry_store::{ApiKey, QdrantConfig, QdrantGallerySettings, Quantization};
use descry_terminal::progress;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

/// A write of many vectors may wait for the server's optimizer.
const TIMEOUT_MS: u64 = 120_000;

/// Which store, and where a server is.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ServerArguments {
    /// The store to measure: the embedded one in this process, or a Qdrant server.
    #[arg(long, value_enum, default_value = "embedded", value_name = "NAME", requires_if("qdrant", "qdrant_url"))]
    pub(super) store: StoreName,
    /// gRPC address of a Qdrant server; of a cluster, several nodes with commas between.
    #[arg(long, value_name = "URL,…", value_delimiter = ',')]
    qdrant_url: Vec<String>,
    /// File that holds the server's key and nothing else.
    #[arg(long, value_name = "FILE", requires = "qdrant_url")]
    qdrant_key_file: Option<PathBuf>,
    /// Images in view at which recall is measured [default: the store's own number].
    #[arg(long, value_name = "N,…", value_delimiter = ',', requires = "qdrant_url")]
    search_ef: Vec<u32>,
    /// Compressed vectors beside the whole ones.
    #[arg(long, value_enum, value_name = "KIND", requires = "qdrant_url")]
    quantization: Option<QuantizationName>,
    /// Links of each image in the graph [default: the server's].
    #[arg(long, value_name = "N", requires = "qdrant_url")]
    hnsw_m: Option<u64>,
    /// Leave the gallery in the server, to be used again by the same command.
    #[arg(long, requires = "qdrant_url")]
    keep: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum StoreName {
    Embedded,
    Qdrant,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum QuantizationName {
    Int8,
    Binary,
}

pub(super) async fn run(arguments: StoreArguments, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let shape = arguments.shape();
    let StoreArguments { images, shape: _, data, by_group: _, queries, recall_queries, json, server } = arguments;
    anyhow::ensure!(data.is_none(), "--data is for the embedded store; --keep keeps a gallery in a Qdrant server");
    let api_key = match server.qdrant_key_file {
        None => None,
        Some(path) => {
            let key = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            Some(ApiKey::new(key.trim()))
        }
    };
    let config = QdrantConfig { urls: server.qdrant_url, api_key, timeout_ms: TIMEOUT_MS, ..QdrantConfig::default() };
    let quantization = server.quantization.map(|name| match name {
        QuantizationName::Int8 => Quantization::Int8,
        QuantizationName::Binary => Quantization::Binary,
    });
    let plan = ServerPlan {
        server: config,
        images,
        shape,
        settings: QdrantGallerySettings { quantization, hnsw_m: server.hnsw_m, ..QdrantGallerySettings::default() },
        queries,
        recall_queries,
        search_ef: server.search_ef,
        keep: server.keep,
    };
    let bar = progress::bar(0, "");
    let report =
        run_server_benchmark(&plan, &stop, &|stage, done, total| show_progress(&bar, stage, done, total)).await;
    bar.finish_and_clear();
    let report = report?;
    publish(&json, &report, &report.rows(), report.interrupted)
}
