//! The rules of the repository itself.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Direct and indirect dependencies of each crate of the workspace, without those of tests.
fn dependencies() -> HashMap<String, Vec<String>> {
    let packages = [
        "proto",
        "wire",
        "retry",
        "store",
        "model",
        "export",
        "download",
        "trust",
        "private-files",
        "issuing",
        "audit",
        "encoder",
        "search",
        "evaluation",
        "intake",
        "client",
        "serving",
        "standalone",
        "terminal",
        "bench",
        "gallery-bench",
        "trainer",
        "synthesis",
    ];
    packages.iter().map(|name| format!("descry-{name}")).map(|name| (name.clone(), tree(&name))).collect()
}

/// Direct and indirect dependencies of a package, without those of tests.
fn tree(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package", package])
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    names.lines().skip(1).filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

#[test]
fn dependencies_point_one_way() {
    let dependencies = dependencies();
    let forbidden = [
        ("descry-proto", vec!["descry-model", "descry-serving"]),
        ("descry-wire", vec!["descry-proto", "descry-serving", "descry-model"]),
        ("descry-model", vec!["ort", "tonic", "descry-proto"]),
        ("descry-export", vec!["tonic", "ort", "descry-encoder", "descry-search"]),
        ("descry-issuing", vec!["ort", "tonic", "descry-trust", "descry-serving"]),
        (
            "descry-trust",
            vec!["ort", "tonic", "descry-issuing", "descry-proto", "descry-serving", "descry-store", "descry-model"],
        ),
        ("descry-trust", vec!["ort", "descry-proto", "descry-serving", "descry-store", "descry-model"]),
        ("descry-audit", vec!["ort", "tonic", "descry-proto", "descry-serving", "descry-store", "descry-model"]),
        ("descry-download", vec!["ort", "descry-proto", "descry-export", "descry-model", "descry-serving"]),
        ("descry-evaluation", vec!["tonic", "ort"]),
        ("descry-retry", vec!["descry-serving", "descry-proto", "descry-model"]),
        ("descry-store", vec!["ort", "descry-proto", "descry-serving", "descry-search", "descry-encoder"]),
        ("descry-serving", vec!["descry-proto", "descry-model", "descry-issuing", "ort"]),
        ("descry-encoder", vec!["descry-search", "descry-export", "descry-issuing", "rusqlite", "qdrant-client"]),
        ("descry-intake", vec!["tonic", "ort", "descry-proto"]),
        (
            "descry-client",
            vec![
                "ort",
                "clap",
                "indicatif",
                "comfy-table",
                "descry-serving",
                "descry-encoder",
                "descry-search",
                "descry-export",
            ],
        ),
        ("descry-standalone", vec!["descry-export", "descry-intake", "descry-terminal"]),
        ("descry-terminal", vec!["ort", "descry-proto", "descry-model", "descry-encoder", "descry-search"]),
        ("descry-bench", vec!["descry-search", "descry-export", "descry-gallery-bench"]),
        ("descry-gallery-bench", vec!["descry-export", "descry-intake"]),
        ("descry-search", vec!["ort", "descry-encoder", "descry-export", "descry-issuing"]),
        ("descry-trainer", vec!["tonic", "ort", "descry-encoder", "descry-search", "descry-serving"]),
    ];
    for (package, never) in forbidden {
        for name in never {
            assert!(!dependencies[package].iter().any(|found| found == name), "{package} must not depend on {name}");
        }
    }
    let ours = dependencies["descry-synthesis"].iter().find(|found| found.starts_with("descry"));
    assert_eq!(ours, None, "descry-synthesis must stand alone");
}

/// The store's own words know neither messages nor gRPC; only libraries below it do, Qdrant's client above all.
#[test]
fn the_store_knows_no_grpc() {
    let direct = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--depth", "1", "--prefix", "none", "--format", "{p}"])
        .args(["--package", "descry-store"])
        .current_dir(repository())
        .output()
        .unwrap();
    let names = String::from_utf8(direct.stdout).unwrap();
    let names: Vec<&str> = names.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.contains(&"rusqlite"), "{names:?}");
    for never in ["tonic", "prost", "tonic-types"] {
        assert!(!names.contains(&never), "descry-store must not depend on {never}");
    }
}

/// A folder that the images' context leaves out fails their build, which no other test runs from the beginning.
#[test]
fn images_are_built_from_every_member_of_the_workspace() {
    let read = |name: &str| fs::read_to_string(repository().join(name)).unwrap();
    let (manifest, context) = (read("Cargo.toml"), read(".dockerignore"));
    let members = manifest.split_once("members = [").and_then(|(_, rest)| rest.split_once(']')).unwrap().0;
    let members: Vec<&str> = members.split('"').skip(1).step_by(2).collect();
    assert!(members.len() > 10, "{members:?}");
    for member in members {
        let folder = member.split('/').next().unwrap();
        assert!(
            context.lines().any(|line| line.strip_prefix('!') == Some(folder)),
            ".dockerignore leaves out {folder}"
        );
    }
}

/// Only crates that are named are optimised fully; a new one that requests pass through was ten times as slow.
#[test]
fn what_requests_pass_through_is_optimised() {
    let manifest = fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let optimised = manifest.split_once("[profile.release.package]").unwrap().1;
    for service in ["descry-encoder", "descry-search", "descry-standalone"] {
        let ours = tree(service).into_iter().filter(|name| name.starts_with("descry-"));
        for name in ours.chain([service.to_owned()]) {
            assert!(optimised.contains(&format!("\n{name} = {{ opt-level = 3 }}")), "{name} is not optimised");
        }
    }
}

/// The service changes galleries in one place, which keeps its promises; everything else only reads the store.
#[test]
fn galleries_are_changed_in_one_place() {
    let listed = Command::new("git").args(["ls-files", "search-service/src"]).current_dir(repository()).output();
    let Ok(listed) = listed else { return println!("no git here: changes are not looked for") };
    let changes = [
        ".upsert(",
        ".delete_images(",
        ".delete_matching(",
        ".delete_generation(",
        ".delete_gallery(",
        ".update_metadata(",
        ".activate(",
    ];
    for name in String::from_utf8(listed.stdout).unwrap().lines() {
        let Ok(text) = fs::read_to_string(repository().join(name)) else { continue };
        let is_the_place = name.starts_with("search-service/src/galleries");
        // Tests put into a store what they need.
        if name.ends_with("tests.rs") {
            continue;
        }
        let shipped = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for line in shipped.lines().filter(|line| line.contains("store")) {
            let change = changes.iter().find(|change| line.contains(*change));
            assert!(is_the_place || change.is_none(), "{name} changes a gallery by itself: {line}");
        }
    }
}

/// Each `provenance.toml` lists every file beside it once, with its SHA-256, and the sums of what it was made from.
#[test]
fn golden_files_are_those_of_their_provenance() {
    for name in ["tests/golden", "model/tests/data", "export/tests/data", "export/data"] {
        let folder = repository().join(name);
        let text = fs::read_to_string(folder.join("provenance.toml")).unwrap();
        let (mut section, mut listed) = ("", BTreeSet::new());
        for line in text.lines() {
            if line.starts_with('[') {
                section = line;
            }
            let entry = line.strip_prefix('"').and_then(|line| line.strip_suffix('"'));
            let Some((path, sum)) = entry.and_then(|entry| entry.split_once("\" = \"")) else { continue };
            let content = fs::read(folder.join(path)).unwrap_or_else(|error| panic!("{name}/{path}: {error}"));
            let hint = "run its generator, then python3 tests/golden/provenance.py --update";
            assert_eq!(descry_model::sha256_hex(&content), sum, "{name}/{path} is another file; {hint}");
            if section == "[group.sha256]" {
                assert!(listed.insert(path.to_owned()), "{name}/{path} is listed twice");
            }
        }
        assert!(!listed.is_empty(), "{name} lists nothing");
        let found = Command::new("git").args(["ls-files"]).current_dir(&folder).output();
        let Ok(found) = found else { return println!("no git here: only listed files are checked") };
        for path in String::from_utf8(found.stdout).unwrap().lines() {
            let is_script = path.ends_with(".py") || path == "provenance.toml";
            assert!(is_script || listed.contains(path), "{name}/{path} is missing in provenance.toml");
        }
    }
}

/// The command line parses and draws. What it does with a service, every Rust program can do.
#[test]
fn only_the_client_calls_the_search_service() {
    let listed = Command::new("git").args(["ls-files", "cli/src", "client/src"]).current_dir(repository()).output();
    let Ok(listed) = listed else { return println!("no git here: calls are not looked for") };
    let names = String::from_utf8(listed.stdout).unwrap();
    let calls = |name: &&str| {
        let text = fs::read_to_string(repository().join(name)).unwrap_or_default();
        text.contains("search_service_client") || text.contains("SearchServiceClient")
    };
    assert_eq!(names.lines().filter(calls).collect::<Vec<_>>(), ["client/src/connection.rs"]);
}

/// What production runs, and what `make demo` builds, holds nothing that only trains, draws or measures.
#[test]
fn the_lab_stays_out_of_production() {
    let of_the_lab = |name: &String| {
        let crates = ["descry-lab", "descry-trainer", "descry-synthesis", "descry-bench", "descry-gallery-bench"];
        let of_theirs = ["candle-core", "gemm", "plotters", "tiny-skia", "hdrhistogram", "procfs"];
        crates.contains(&name.as_str()) || of_theirs.contains(&name.as_str())
    };
    for package in ["descry", "descry-encoder", "descry-search"] {
        let found: Vec<String> = tree(package).into_iter().filter(of_the_lab).collect();
        assert_eq!(found, Vec::<String>::new(), "{package} must not depend on the lab");
    }
    assert!(tree("descry-lab").iter().filter(|name| of_the_lab(name)).count() > 4, "the names above are out of date");
}

#[test]
fn paths_named_in_the_documents_exist() {
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(repository().join(document)).unwrap();
        for word in text.split('`').skip(1).step_by(2) {
            let is_pattern = word.contains([' ', '<', '*', ':', '$', '{', '=']) || word.starts_with(['/', '.', '~']);
            let built_or_the_users = ["target/", "descry-demo/", "bundles/", "runs/", "data/", "crops/"];
            if !word.contains('/') || is_pattern || built_or_the_users.iter().any(|start| word.starts_with(start)) {
                continue;
            }
            assert!(repository().join(word).exists(), "{document} names {word}, which does not exist");
        }
    }
}

#[test]
fn files_stay_readable() {
    let listed = Command::new("git").args(["ls-files", "*.rs"]).current_dir(repository()).output();
    let Ok(listed) = listed else { return println!("no git here: sizes are not checked") };
    for name in String::from_utf8(listed.stdout).unwrap().lines() {
        // A file that is listed may be gone from the working tree.
        let Ok(text) = fs::read_to_string(repository().join(name)) else { continue };
        let lines = text.lines().count();
        assert!(lines <= 500, "{name} has {lines} lines; split it along what it does");
        let stem = Path::new(name).file_stem().unwrap().to_string_lossy().into_owned();
        assert!(
            !["utils", "common", "helpers", "types", "misc", "base"].contains(&stem.as_str()),
            "{name} says nothing"
        );
    }
}
