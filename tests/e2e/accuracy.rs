//! What the whole service finds, against exact float32, on either store.

use descry_qdrant_server::TestQdrant;
use descry_tests::{demo_bundle, demo_folder, descry};

/// Points by which Rank-1 and mAP through the service may differ from comparing everything in float32.
const MOST_LOST: f64 = 0.2;

fn check(store: &[&str], images: u64) {
    let (model, root) = (demo_bundle().to_str().unwrap(), demo_folder().join("gallery"));
    let arguments =
        ["bench", "search", "accuracy", "--model", model, "--dataset", "cuhk-pedes", "--json", "-", "--root"];
    let output = descry(arguments.into_iter().chain([root.to_str().unwrap()]).chain(store.iter().copied()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let [served, exact] = ["served", "exact"].map(|side| report[side].clone());
    assert_eq!(served["gallery"].as_u64().unwrap(), images, "{report}");
    for metric in ["rank1", "map"] {
        let [served, exact] = [&served, &exact].map(|side| side[metric].as_f64().unwrap());
        assert!(exact > 50.0, "the demo's model finds most people: {metric} {exact}");
        assert!((served - exact).abs() <= MOST_LOST, "{metric}: {served} through the service, {exact} exactly");
    }
}

#[test]
fn the_embedded_store_loses_nothing() {
    check(&[], 200);
}

/// What codes of fewer bits and the graph index lose cannot be seen here: the test server compares every image in float32
/// unless codes are binary, and of two hundred images all are rescored. Only a real server tells, by this command:
/// `descry bench search accuracy --store qdrant --qdrant-url URL --quantization int8 --model … --root …`, which
/// `docs/SCALE.md` asks for before nodes are bought.
#[test]
fn qdrant_ranks_as_comparing_everything_does() {
    let server = TestQdrant::start().unwrap();
    check(&["--store", "qdrant", "--qdrant-url", &server.url()], 200);
}
