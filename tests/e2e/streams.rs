//! The encoder's streams, priorities, timings and what it says of its device, over real gRPC.

use crate::services::demo_images;
use descry_encoder::DeviceName;
use descry_proto::encoder::v1::encode_result::Outcome;
use descry_proto::encoder::v1::{
    EncodeImageRequest, EncodeImageStreamRequest, EncodeStreamResponse, EncodeTextRequest, EncodeTextStreamRequest,
    GetModelRequest, Priority,
};
use descry_tests::TestStack;
use std::collections::BTreeMap;
use std::time::Duration;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Far longer than anything here takes: it turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(60);

fn text(id: usize, text: &str) -> EncodeTextStreamRequest {
    EncodeTextStreamRequest { id: id.to_string(), text: text.to_owned(), ..Default::default() }
}

async fn collect(mut answers: tonic::Streaming<EncodeStreamResponse>) -> BTreeMap<String, EncodeStreamResponse> {
    let mut collected = BTreeMap::new();
    while let Some(answer) = answers.message().await.unwrap() {
        let twice = collected.insert(answer.id.clone(), answer);
        assert!(twice.is_none(), "an item is answered once");
    }
    collected
}

fn values(answer: &EncodeStreamResponse) -> Vec<f32> {
    match answer.result.as_ref().and_then(|result| result.outcome.as_ref()) {
        Some(Outcome::Embedding(embedding)) => embedding.values.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stream_of_texts_answers_each_by_its_id() {
    let stack = TestStack::start().await;
    let mut client = stack.encoder().await;
    // Several windows long, with bad items in between.
    let words = ["red", "blue", "green", "black", "white"];
    let requests: Vec<_> = (0..300)
        .map(|id| match id % 10 {
            7 => text(id, ""),
            _ => text(id, &format!("a person in a {} coat", words[id % words.len()])),
        })
        .collect();
    let answers = client.encode_text_stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let answers = tokio::time::timeout(PATIENCE, collect(answers)).await.unwrap();
    assert_eq!(answers.len(), 300);
    let model = client.get_model(GetModelRequest {}).await.unwrap().into_inner();
    for id in 0..300 {
        let answer = &answers[&id.to_string()];
        assert_eq!(answer.fingerprint, model.fingerprint);
        if id % 10 == 7 {
            let outcome = answer.result.as_ref().unwrap().outcome.as_ref();
            assert!(matches!(outcome, Some(Outcome::Error(error)) if error.code == Code::InvalidArgument as i32));
            assert!(answer.timings.is_none());
        } else {
            assert!(answer.timings.unwrap().batch_size >= 1);
        }
    }
    // In whatever company, the embedding of a list.
    let list = EncodeTextRequest { texts: vec!["a person in a red coat".to_owned()], ..Default::default() };
    let list = client.encode_text(list).await.unwrap().into_inner();
    let Some(Outcome::Embedding(alone)) = &list.results[0].outcome else { panic!("{list:?}") };
    let found = values(&answers["0"]);
    assert!(alone.values.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-4));
    assert!(list.timings.is_some_and(|timings| timings.run_ms > 0.0 && timings.batch_size == 1));
    stack.stop().await;
}

#[tokio::test]
async fn a_stream_of_images_outlives_bad_files() {
    let stack = TestStack::start_with(|encoder, _| encoder.limits.max_stream_window = 3).await;
    let mut client = stack.encoder().await;
    let mut requests: Vec<_> = demo_images(20)
        .into_iter()
        .map(|image| EncodeImageStreamRequest { id: image.image_id, image: image.content, ..Default::default() })
        .collect();
    let bad = |id: &str, image: Vec<u8>| EncodeImageStreamRequest {
        id: id.to_owned(),
        image: image.into(),
        ..Default::default()
    };
    requests.insert(5, bad("garbage", b"not an image".to_vec()));
    requests.insert(9, bad("enormous", descry_tests::enormous_png()));
    let answers = client.encode_image_stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let answers = tokio::time::timeout(PATIENCE, collect(answers)).await.unwrap();
    assert_eq!(answers.len(), 22);
    for (id, answer) in &answers {
        let outcome = answer.result.as_ref().unwrap().outcome.as_ref().unwrap();
        assert_eq!(matches!(outcome, Outcome::Error(_)), ["garbage", "enormous"].contains(&id.as_str()), "{id}");
    }
    stack.stop().await;
}

#[tokio::test]
async fn one_stream_too_many_is_refused_and_a_closed_one_makes_room() {
    let stack = TestStack::start_with(|encoder, _| encoder.limits.max_streams = 1).await;
    let mut client = stack.encoder().await;
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let messages = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut first = client.encode_text_stream(messages).await.unwrap().into_inner();
    sender.send(text(0, "a man")).await.unwrap();
    assert_eq!(first.message().await.unwrap().unwrap().id, "0");
    let refused = client.encode_text_stream(tokio_stream::iter([text(1, "a man")])).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    drop(sender);
    assert!(first.message().await.unwrap().is_none());
    let again = async {
        loop {
            match client.encode_text_stream(tokio_stream::iter([text(2, "a man")])).await {
                Ok(answers) => return collect(answers.into_inner()).await,
                // The permit comes back when the server has seen the end of the answers.
                Err(status) => assert_eq!(status.code(), Code::ResourceExhausted),
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, again).await.unwrap().len(), 1);
    stack.stop().await;
}

#[tokio::test]
async fn shutdown_ends_streams_and_says_why() {
    let stack = TestStack::start().await;
    let mut client = stack.encoder().await;
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let messages = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut answers = client.encode_text_stream(messages).await.unwrap().into_inner();
    sender.send(text(0, "a man")).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().id, "0");
    let stopping = tokio::spawn(stack.stop());
    let status = tokio::time::timeout(PATIENCE, answers.message()).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    drop((sender, answers, client));
    tokio::time::timeout(PATIENCE, stopping).await.unwrap().unwrap();
}

#[tokio::test]
async fn both_priorities_are_answered_side_by_side() {
    let stack = TestStack::start().await;
    let client = stack.encoder().await;
    let images: Vec<_> = demo_images(16).into_iter().map(|image| image.content).collect();
    let requests = [Priority::Bulk, Priority::Interactive, Priority::Unspecified].map(|priority| {
        let mut client = client.clone();
        let request = EncodeImageRequest { images: images.clone(), priority: priority.into(), ..Default::default() };
        tokio::spawn(async move { client.encode_image(request).await.unwrap().into_inner() })
    });
    for request in requests {
        let reply = tokio::time::timeout(PATIENCE, request).await.unwrap().unwrap();
        assert_eq!(reply.results.len(), 16);
        let timings = reply.timings.unwrap();
        assert!(timings.run_ms > 0.0 && (1..=8).contains(&timings.batch_size), "{timings:?}");
    }
    stack.stop().await;
}

#[tokio::test]
async fn the_device_in_use_is_told() {
    for device in [DeviceName::Auto, DeviceName::Cpu, DeviceName::Openvino] {
        let stack = TestStack::start_with(|encoder, _| encoder.device.name = device).await;
        let model = stack.encoder().await.get_model(GetModelRequest {}).await.unwrap().into_inner();
        let expected = if device == DeviceName::Cpu { "cpu" } else { "openvino" };
        assert_eq!(model.execution_provider, expected);
        assert_eq!((model.requested_device, model.fallback_reason), (device.to_string(), String::new()));
        assert_eq!(model.device_precision, "fp32");
        // A probe that insists on a provider asks for it by name.
        let channel = tonic::transport::Endpoint::new(stack.encoder_url.clone()).unwrap().connect().await.unwrap();
        let mut health = HealthClient::new(channel);
        let mut check = async |provider: &str| {
            let service = format!("{}.{provider}", descry_encoder::SERVICE_NAME);
            health.check(HealthCheckRequest { service }).await.map(|reply| reply.into_inner().status())
        };
        assert_eq!(check(expected).await.unwrap(), ServingStatus::Serving);
        assert_eq!(check("cuda").await.unwrap_err().code(), Code::NotFound);
        stack.stop().await;
    }
}
