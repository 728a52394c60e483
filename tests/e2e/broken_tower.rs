//! A tower that fails run after run, as on a device that is lost: nobody must be sent to it.

use crate::killed_service::Served;
use crate::services::PATIENCE;
use descry_encoder::{DeviceName, SERVICE_NAME};
use descry_model::{Manifest, sha256_hex};
use descry_proto::encoder::v1::EncodeTextRequest;
use descry_proto::encoder::v1::encoder_service_client::EncoderServiceClient;
use descry_tests::{TestStack, demo_bundle};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// A word that the tokenizer knows and the text tower does not: its run fails.
const BREAKING: &str = "unheardof";

/// The demo's bundle with one more word, and digests that fit.
fn forged_bundle(folder: &Path) -> PathBuf {
    let bundle = folder.join("bundle");
    fs::create_dir(&bundle).unwrap();
    for entry in fs::read_dir(demo_bundle()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), bundle.join(entry.file_name())).unwrap();
    }
    let mut tokenizer: Value = serde_json::from_slice(&fs::read(bundle.join("tokenizer.json")).unwrap()).unwrap();
    let words = tokenizer["added_tokens"].as_array_mut().unwrap();
    let next_id = words.iter().map(|word| word["id"].as_u64().unwrap()).max().unwrap() + 1;
    words.push(json!({
        "id": next_id, "content": BREAKING, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": false,
    }));
    let tokenizer = serde_json::to_vec(&tokenizer).unwrap();
    fs::write(bundle.join("tokenizer.json"), &tokenizer).unwrap();
    let path = bundle.join("manifest.json");
    let mut manifest: Manifest = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    manifest.files.insert("tokenizer.json".to_owned(), sha256_hex(&tokenizer));
    manifest.fingerprint = manifest.compute_fingerprint().to_string();
    fs::write(&path, serde_json::to_string(&manifest).unwrap()).unwrap();
    bundle
}

/// Health follows the text tower, asked over the connection that the texts are sent over.
async fn health_follows_the_tower(url: &str) {
    let channel = Channel::from_shared(url.to_owned()).unwrap().connect().await.unwrap();
    let mut encoder = EncoderServiceClient::new(channel.clone());
    let mut encode = async |text: &str| {
        let request = EncodeTextRequest { texts: vec![text.to_owned()], ..EncodeTextRequest::default() };
        encoder.encode_text(request).await.map_err(|status| status.code())
    };
    let becomes = async |service: &str, expected: ServingStatus| {
        let request = HealthCheckRequest { service: service.to_owned() };
        let mut watching = HealthClient::new(channel.clone()).watch(request).await.unwrap().into_inner();
        let told = async { while watching.message().await.unwrap().unwrap().status != i32::from(expected) {} };
        let told = tokio::time::timeout(PATIENCE, told).await;
        assert!(told.is_ok(), "{service:?} never became {}", expected.as_str_name());
    };
    let names = [SERVICE_NAME, "descry.encoder.v1.EncoderService.cpu", ""];
    for name in names {
        becomes(name, ServingStatus::Serving).await;
    }
    for _ in 0..3 {
        assert_eq!(encode(BREAKING).await.unwrap_err(), Code::Internal);
    }
    for name in names {
        becomes(name, ServingStatus::NotServing).await;
    }
    encode("a man in a white shirt").await.unwrap();
    for name in names {
        becomes(name, ServingStatus::Serving).await;
    }
}

#[tokio::test]
async fn it_takes_the_encoder_services_health_along() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = forged_bundle(folder.path());
    let stack = TestStack::start_with(|encoder, _| {
        encoder.model = bundle;
        // OpenVINO reads zeros where an index is out of range.
        encoder.device.name = DeviceName::Cpu;
    })
    .await;
    health_follows_the_tower(&stack.encoder_url).await;
    stack.stop().await;
}

#[tokio::test]
async fn it_takes_the_health_of_both_services_in_one_along() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = forged_bundle(folder.path());
    let settings = folder.path().join("encoder.yaml");
    fs::write(&settings, "device:\n  name: cpu\n").unwrap();
    let arguments = ["--listen", "127.0.0.1:0", "--model", bundle.to_str().unwrap(), "--encoder-config"];
    let arguments = [&arguments[..], &[settings.to_str().unwrap()]].concat();
    let served = Served::start_with(folder.path(), &arguments);
    health_follows_the_tower(&served.url).await;
    served.kill();
}
