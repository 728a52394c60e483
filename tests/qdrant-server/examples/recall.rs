//! What Qdrant's graph finds of the ten nearest, by how thoroughly it is asked: the measurement behind the default accuracy
//! of the Qdrant store (`docs/SCALE.md`). No server is needed; the graph is that of the engine behind the test server.
//!
//! ```text
//! cargo run -p descry-qdrant-server --example recall -- [IMAGES] [CROWDING] [PEOPLE_DIMENSIONS] [M] [EF_CONSTRUCT] [NEAR]
//! ```
//!
//! NEAR is the cosine of images to their person, apart from what all have in common: the lower it is, the more of the nearest
//! are other people, and the harder they are to find.

use descry_qdrant_server::TestQdrant;
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::{
    CreateCollectionBuilder, Distance, HnswConfigDiffBuilder, PointStruct, QueryPointsBuilder, ScoredPoint,
    SearchParams, UpsertPointsBuilder, VectorParamsBuilder,
};
use qdrant_client::{Payload, Qdrant};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rand_distr::{Distribution as _, StandardNormal};
use std::error::Error;
use std::io::Write as _;
use std::time::Instant;

const DIMENSION: usize = 512;
const IMAGES_OF_A_PERSON: u64 = 10;
const QUERIES: u64 = 200;
const LIMIT: u64 = 10;
const BATCH: u64 = 256;

/// Embeddings as towers make them: all near one direction, people apart in a few of the dimensions, and of each image a
/// part that is its own.
struct Crowd {
    common: Vec<f32>,
    /// Directions in which people differ.
    basis: Vec<Vec<f32>>,
    /// Cosine of everything to the common direction.
    crowding: f32,
}

impl Crowd {
    fn new(crowding: f32, dimensions: usize) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let common = unit(&mut random, DIMENSION);
        let basis = (0..dimensions).map(|_| unit(&mut random, DIMENSION)).collect();
        Self { common, basis, crowding }
    }

    /// An image or a query of a person; `near` is its cosine to the person, apart from what all have in common.
    fn embedding(&self, person: u64, number: u64, near: f32) -> Vec<f32> {
        let coordinates = unit(&mut ChaCha8Rng::seed_from_u64(1_000_000_000 + person), self.basis.len());
        let mut own = vec![0.0; DIMENSION];
        for (coordinate, direction) in coordinates.iter().zip(&self.basis) {
            own.iter_mut().zip(direction).for_each(|(value, part)| *value += coordinate * part);
        }
        scale(&mut own, 1.0);
        let noise = unit(&mut ChaCha8Rng::seed_from_u64(number.wrapping_add(2_000_000_000)), DIMENSION);
        let (apart, beside) = ((1.0 - near * near).sqrt(), (1.0 - self.crowding * self.crowding).sqrt());
        let values = own.iter().zip(&noise).zip(&self.common);
        let mut values: Vec<f32> = values
            .map(|((own, noise), common)| self.crowding * common + beside * (near * own + apart * noise))
            .collect();
        scale(&mut values, 1.0);
        values
    }
}

fn unit(random: &mut ChaCha8Rng, dimension: usize) -> Vec<f32> {
    let mut values: Vec<f32> = (0..dimension).map(|_| StandardNormal.sample(random)).collect();
    scale(&mut values, 1.0);
    values
}

fn scale(values: &mut [f32], length: f32) {
    let norm = values.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    values.iter_mut().for_each(|value| *value *= length / norm);
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let argument = |place: usize, usual: f64| {
        std::env::args().nth(place).and_then(|argument| argument.parse::<f64>().ok()).unwrap_or(usual)
    };
    let (images, crowding) = (argument(1, 20_000.0) as u64, argument(2, 0.7) as f32);
    let (dimensions, links, effort) = (argument(3, 128.0) as usize, argument(4, 16.0), argument(5, 100.0));
    let nearness = argument(6, 0.85) as f32;
    let (crowd, people) = (Crowd::new(crowding, dimensions), (images / IMAGES_OF_A_PERSON).max(1));
    let server = TestQdrant::start()?;
    let client =
        Qdrant::from_url(&server.url()).timeout(std::time::Duration::from_secs(3_600)).skip_compatibility_check();
    let client = client.build()?;
    let graph = HnswConfigDiffBuilder::default().m(links as u64).ef_construct(effort as u64);
    let vectors = VectorParamsBuilder::new(DIMENSION as u64, Distance::Cosine);
    client.create_collection(CreateCollectionBuilder::new("crowd").vectors_config(vectors).hnsw_config(graph)).await?;
    let begun = Instant::now();
    for start in (0..images).step_by(BATCH as usize) {
        let points = (start..(start + BATCH).min(images)).map(|number| {
            let near = nearness - 0.1 + 0.2 * (number % 17) as f32 / 17.0;
            PointStruct::new(number, crowd.embedding(number % people, number, near), Payload::new())
        });
        client.upsert_points(UpsertPointsBuilder::new("crowd", points.collect::<Vec<_>>()).wait(true)).await?;
    }
    let filled = begun.elapsed();
    server.optimize()?;
    let info = client.collection_info("crowd").await?.result.unwrap_or_default();
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{images} images, crowding {crowding}, {dimensions} dimensions of people, m {links}, ef_construct {effort}, near {nearness}: \
         {:?} of {:?} indexed in {} segments; filled in {:.0} s, graph in {:.0} s",
        info.indexed_vectors_count,
        info.points_count,
        info.segments_count,
        filled.as_secs_f32(),
        (begun.elapsed() - filled).as_secs_f32(),
    )?;
    let queries: Vec<Vec<f32>> =
        (0..QUERIES).map(|number| crowd.embedding(number * 7 % people, u64::MAX - number, nearness)).collect();
    let ask = async |query: &[f32], params: SearchParams| -> Result<Vec<u64>, Box<dyn Error>> {
        let request = QueryPointsBuilder::new("crowd").query(query.to_vec()).limit(LIMIT).params(params);
        Ok(client.query(request).await?.result.iter().filter_map(number).collect())
    };
    let mut truth = Vec::new();
    for query in &queries {
        truth.push(ask(query, SearchParams { exact: Some(true), ..SearchParams::default() }).await?);
    }
    for hnsw_ef in [None, Some(64), Some(100), Some(128), Some(192), Some(256), Some(384), Some(512), Some(1_024)] {
        let (mut found, begun) = (0, Instant::now());
        for (query, right) in queries.iter().zip(&truth) {
            let hits = ask(query, SearchParams { hnsw_ef, ..SearchParams::default() }).await?;
            found += hits.iter().filter(|hit| right.contains(hit)).count();
        }
        let recall = found as f64 / (QUERIES * LIMIT) as f64;
        let each_ms = begun.elapsed().as_secs_f64() * 1e3 / QUERIES as f64;
        writeln!(out, "hnsw_ef {hnsw_ef:?}: recall@10 {recall:.4}, {each_ms:.1} ms (of this build)")?;
    }
    Ok(())
}

fn number(point: &ScoredPoint) -> Option<u64> {
    match point.id.clone()?.point_id_options? {
        PointIdOptions::Num(number) => Some(number),
        PointIdOptions::Uuid(_) => None,
    }
}
