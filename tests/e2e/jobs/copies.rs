//! What was encoded once is not encoded again: embeddings in files, galleries that move.

use super::{assert_alike, ranking};
use crate::stands::alone::SearchAlone;
use crate::stands::commands::{fail, last_json, succeed};
use crate::stands::crops::{Crops, text, weather};
use crate::stands::stored::{known, stored_images};
use descry_proto::search::v1::StoredImage;
use descry_qdrant_server::TestQdrant;
use descry_search::StoreKind;
use descry_tests::{TestStack, demo_bundle};
use std::collections::{BTreeMap, BTreeSet};

const TEXT: &str = "a woman in a black jacket with a red bag";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embeddings_from_a_file_rank_as_their_images_do() {
    let stack = TestStack::start().await;
    let crops = Crops::write(24);
    let (folder, file, journal) = (crops.folder(), crops.path("crops.npz"), crops.path("crops.journal"));
    let url = stack.search_url.as_str();
    succeed(&["index", &folder, "--server", url, "--gallery", "images"]);
    succeed(&["embed", "--model", &text(demo_bundle()), "--images", &folder, "--out", &file]);
    // A folder's images have the same names, whichever command finds them.
    let metadata = crops.metadata();
    let index = ["index", "--embeddings", &file, "--server", url, "--gallery", "embeddings", "--attribute", "weather"];
    let index = [&index[..], &["--metadata", &metadata, "--journal", &journal, "--json"]].concat();
    let last = last_json(&succeed(&index));
    assert_eq!((last["indexed"].as_u64(), last["failures"].as_u64()), (Some(24), Some(0)), "{last}");
    assert_eq!(last["total"], 24, "{last}");

    let search = |gallery: &str, more: &[&str]| {
        let arguments = ["search", TEXT, "--server", url, "--gallery", gallery, "-n", "24", "--json"];
        ranking(&succeed(&[&arguments[..], more].concat()))
    };
    let images: Vec<_> = search("images", &[]);
    assert_eq!(images.len(), 24);
    assert_alike(&images, &search("embeddings", &[]));
    let sunny: BTreeSet<String> =
        search("embeddings", &["--attribute", "weather=sun"]).into_iter().map(|(image_id, _)| image_id).collect();
    let in_the_sun = crops.ids_where(|image| weather(image) == "sun");
    assert_eq!(sunny, in_the_sun);

    let again = last_json(&succeed(&index));
    assert_eq!((again["skipped_by_journal"].as_u64(), again["indexed"].as_u64()), (Some(24), Some(0)), "{again}");
    stack.stop().await;
}

/// From a file to Qdrant and back into a file, between services that cannot encode anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gallery_moves_as_it_is() {
    let source = TestStack::start().await;
    let qdrant = TestQdrant::start().unwrap();
    let middle = SearchAlone::start(|search| {
        search.store.kind = StoreKind::Qdrant;
        search.qdrant.url = qdrant.url();
    })
    .await;
    let target = SearchAlone::start(|_| {}).await;
    let crops = Crops::write(40);
    let (folder, metadata, file) = (crops.folder(), crops.metadata(), crops.path("lobby.parquet"));
    let (from, over, to) = (source.search_url.as_str(), middle.url.as_str(), target.url.as_str());
    let index = ["index", &folder, "--metadata", &metadata, "--attribute", "weather"];
    succeed(&[&index[..], &["--server", from, "--gallery", "lobby"]].concat());
    // Longer than these images are old.
    succeed(&["gallery", "retain", "lobby", "--server", from, "--default", "36500d", "--camera", "vault=forever"]);

    let copy = ["gallery", "copy", "lobby", "--server", from, "--to", over, "--json"];
    assert_moved(&succeed(&copy), 40, 0);
    assert_moved(&succeed(&copy), 0, 40);
    let said = succeed(&["gallery", "export", "lobby", &file, "--server", over]);
    assert!(said.contains("40 images"), "{said}");
    let import = ["gallery", "import", &file, "--server", to, "--gallery", "lobby-again", "--json"];
    assert_moved(&succeed(&import), 40, 0);
    assert_moved(&succeed(&import), 0, 40);

    let original = stored_images(&mut source.search().await, "lobby").await;
    assert_same(&original, &stored_images(&mut middle.client().await, "lobby").await);
    assert_same(&original, &stored_images(&mut target.client().await, "lobby-again").await);
    assert!(original.keys().eq(&crops.ids()));
    let places = [(from, "lobby"), (over, "lobby"), (to, "lobby-again")];
    let shown =
        places.map(|(server, name)| last_json(&succeed(&["gallery", "show", name, "--server", server, "--json"])));
    for moved in &shown[1..] {
        for field in ["fingerprint", "embedding_dimension", "images", "retention"] {
            assert_eq!(moved[field], shown[0][field], "{field}");
        }
        assert_eq!(moved["settings"]["indexed_attributes"], shown[0]["settings"]["indexed_attributes"]);
    }
    assert_eq!(shown[0]["retention"]["default_ms"], 36_500_u64 * 86_400_000, "{}", shown[0]);

    let like = crops.images[3].image_id.as_str();
    let (all, sunny, persons) = (["-n", "40"], ["-n", "40", "--attribute", "weather=sun"], ["--by-person"]);
    for (more, hits) in [(&all[..], 40), (&sunny[..], 20), (&persons[..], 10)] {
        let search = |(server, gallery): (&str, &str)| {
            let arguments = ["search", "--like", like, "--server", server, "--gallery", gallery, "--json"];
            ranking(&succeed(&[&arguments[..], more].concat()))
        };
        let [one, two, three] = places.map(search);
        assert_eq!((one.len(), one[0].0.as_str()), (hits, like), "{more:?}");
        assert_alike(&one, &two);
        assert_alike(&one, &three);
    }
    // What moved was not encoded: nothing there can.
    let (_, complaint) = fail(&["search", TEXT, "--server", to, "--gallery", "lobby-again"]);
    assert!(complaint.contains("encoder"), "{complaint}");
    source.stop().await;
}

#[track_caller]
fn assert_moved(printed: &str, indexed: u64, unchanged: u64) {
    let last = last_json(printed);
    let numbers = ["indexed", "unchanged", "failures"].map(|field| last[field].as_u64());
    assert_eq!(numbers, [Some(indexed), Some(unchanged), Some(0)], "{last}");
}

/// The same images, with the same embeddings but for the rounding of a store that brings them to unit length.
#[track_caller]
fn assert_same(one: &BTreeMap<String, StoredImage>, other: &BTreeMap<String, StoredImage>) {
    assert!(one.keys().eq(other.keys()), "{:?} and {:?}", one.keys(), other.keys());
    for (image_id, image) in one {
        let moved = &other[image_id];
        assert_eq!((known(moved), &moved.content_sha256), (known(image), &image.content_sha256), "{image_id}");
        assert!(!image.content_sha256.is_empty());
        let differences = moved.embedding.iter().zip(&image.embedding).map(|(a, b)| (a - b).abs());
        assert!(differences.fold(0.0, f32::max) < 1e-6, "{image_id}");
        assert_eq!(moved.embedding.len(), image.embedding.len());
    }
}
