//! What Qdrant's indexes of a Descry image's payload take of memory, field by field: the measurement behind a line of
//! `docs/SCALE.md`. No server is needed; the indexes are those of the engine behind the test server.
//!
//! ```text
//! cargo run -p descry-qdrant-server --example payload_memory -- [IMAGES] [DIMENSION]
//! ```
//!
//! Vectors are short, so that what grows is what is asked about. First come indexes that can be written to, as of the
//! segments that take new points. Then the segments are optimised, as most of a server are, and what lies in their folders is
//! told by its kind: such indexes are written once, and as large in memory as on disk or a little larger. Vectors of all
//! images must have more than 10 MB for that: 50,000 of 64 dimensions.

use descry_qdrant_server::TestQdrant;
use qdrant_client::Qdrant;
use qdrant_client::qdrant::{
    CreateCollectionBuilder, CreateFieldIndexCollectionBuilder, Distance, FieldType, PointStruct, UpsertPointsBuilder,
    Value, VectorParamsBuilder,
};
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

const BATCH: u64 = 512;
const IMAGES_OF_A_PERSON: u64 = 10;
const CAMERAS: u64 = 100;

/// The fields that Descry indexes.
const FIELDS: [(&str, FieldType); 5] = [
    ("image_id", FieldType::Keyword),
    ("person_id", FieldType::Keyword),
    ("camera_id", FieldType::Keyword),
    ("captured_at_ms", FieldType::Integer),
    ("indexed_at_ms", FieldType::Integer),
];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let images = std::env::args().nth(1).and_then(|argument| argument.parse().ok()).unwrap_or(100_000_u64);
    let dimension = std::env::args().nth(2).and_then(|argument| argument.parse().ok()).unwrap_or(2_u64);
    let server = TestQdrant::start()?;
    let client =
        Qdrant::from_url(&server.url()).timeout(std::time::Duration::from_secs(3_600)).skip_compatibility_check();
    let client = client.build()?;
    let mut out = std::io::stdout();
    let vectors = VectorParamsBuilder::new(dimension, Distance::Cosine);
    client.create_collection(CreateCollectionBuilder::new("images").vectors_config(vectors)).await?;
    let mut before = resident_bytes()?;
    for start in (0..images).step_by(BATCH as usize) {
        let points: Vec<_> =
            (start..(start + BATCH).min(images)).map(|number| point(number, images, dimension)).collect();
        client.upsert_points(UpsertPointsBuilder::new("images", points).wait(true)).await?;
    }
    let mut total = 0.0;
    let after = resident_bytes()?;
    let points = (after.saturating_sub(before)) as f64 / images as f64;
    writeln!(
        out,
        "{images} images without indexes: {points:.0} bytes an image, ids, versions and short vectors among them"
    )?;
    before = after;
    for (field, kind) in FIELDS {
        client.create_field_index(CreateFieldIndexCollectionBuilder::new("images", field, kind).wait(true)).await?;
        let after = resident_bytes()?;
        let grown = after.saturating_sub(before) as f64 / images as f64;
        writeln!(out, "{field}: {grown:.0} bytes an image")?;
        total += grown;
        before = after;
    }
    writeln!(out, "all indexes that can be written to: {total:.0} bytes an image")?;
    server.optimize()?;
    let mut kinds: BTreeMap<_, u64> = BTreeMap::new();
    for segment in std::fs::read_dir(server.folder().join("images/segments"))? {
        for part in std::fs::read_dir(segment?.path())? {
            let part = part?;
            *kinds.entry(part.file_name()).or_default() += bytes_in(&part.path())?;
        }
    }
    let info = client.collection_info("images").await?.result.unwrap_or_default();
    writeln!(out, "after optimising, {:?} points indexed:", info.indexed_vectors_count)?;
    for (kind, bytes) in kinds {
        writeln!(out, "{}: {:.0} bytes an image on disk", kind.to_string_lossy(), bytes as f64 / images as f64)?;
    }
    Ok(())
}

/// An image as Descry writes it: ids as of a folder of crops, times of a month.
fn point(number: u64, images: u64, dimension: u64) -> PointStruct {
    let person = number % (images / IMAGES_OF_A_PERSON).max(1);
    let time = |ms: u64| Value::from(i64::try_from(1_767_225_600_000 + ms).unwrap_or(i64::MAX));
    let payload = HashMap::from([
        ("image_id".to_owned(), Value::from(format!("crops/{number:09}.jpg"))),
        ("person_id".to_owned(), Value::from(format!("p{person}"))),
        ("camera_id".to_owned(), Value::from(format!("c{}", number * 7 % CAMERAS))),
        ("captured_at_ms".to_owned(), time(number.wrapping_mul(2_654_435_761) % 2_592_000_000)),
        ("indexed_at_ms".to_owned(), time(number)),
        ("content_sha256".to_owned(), Value::from(format!("{number:064x}"))),
    ]);
    let vector: Vec<f32> = (0..dimension).map(|place| ((number * 31 + place * 17) as f32).sin()).collect();
    let id = uuid_of(number);
    PointStruct { id: Some(id.into()), payload, vectors: Some(vector.into()) }
}

/// Blocks that a folder takes, not the lengths of its files, some of which are sparse.
fn bytes_in(path: &Path) -> std::io::Result<u64> {
    let metadata = path.symlink_metadata()?;
    if !metadata.is_dir() {
        return Ok(metadata.blocks() * 512);
    }
    std::fs::read_dir(path)?.try_fold(0, |sum, entry| Ok(sum + bytes_in(&entry?.path())?))
}

/// Any number as the text of a UUID: Descry's point ids are UUIDs.
fn uuid_of(number: u64) -> String {
    let spread = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let hex = format!("{spread:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Of this process, the server among it.
fn resident_bytes() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("the system does not tell")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kibibytes * 1_024)
}
