//! Far more searches than can be answered, from callers that give up: the rest is refused as overload and nothing else,
//! health is told all the while, and afterwards all is as before.

use crate::services::{PATIENCE, demo_images, index, text_search};
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_tests::TestStack;
use std::collections::BTreeMap;
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const CONNECTIONS: usize = 10;
const SEARCHES: usize = 40;

/// Requests that are worked on at once, of which one peer gets half: a twentieth of what comes.
const MAX_REQUESTS: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overload_is_told_as_such_and_passes() {
    let stack = TestStack::start_with(|_, search| search.server.max_requests = MAX_REQUESTS).await;
    let mut client = stack.search().await;
    index(&mut client, "lobby", demo_images(4)).await;
    let endpoint = Endpoint::from_shared(stack.search_url.clone()).unwrap();
    let mut health = HealthClient::new(endpoint.connect().await.unwrap());
    let mut health_status = async || {
        let reply = health.check(HealthCheckRequest::default()).await.unwrap();
        ServingStatus::try_from(reply.into_inner().status).unwrap()
    };
    let waiting = async { while health_status().await != ServingStatus::Serving {} };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();

    let mut calls = Vec::new();
    for connection in 0..CONNECTIONS {
        let client = SearchServiceClient::connect(stack.search_url.clone()).await.unwrap();
        for number in 0..SEARCHES {
            let mut client = client.clone();
            let request = text_search("lobby", &format!("a person in coat {connection} of {number}"), 3);
            calls.push(tokio::spawn(async move { client.search(request).await.map(drop) }));
        }
    }
    let mut codes: BTreeMap<i32, usize> = BTreeMap::new();
    for (number, call) in calls.into_iter().enumerate() {
        // A third of the callers lose patience.
        if number % 3 == 0 {
            call.abort();
        }
        match call.await {
            Ok(answer) => {
                let code = answer.map_or_else(|status| status.code(), |()| Code::Ok);
                *codes.entry(code.into()).or_default() += 1;
            }
            Err(error) => assert!(error.is_cancelled(), "{error}"),
        }
        if number % 20 == 0 {
            assert_eq!(health_status().await, ServingStatus::Serving);
        }
    }
    let allowed = [Code::Ok, Code::ResourceExhausted, Code::Unavailable].map(i32::from);
    assert!(codes.keys().all(|code| allowed.contains(code)), "{codes:?}");
    assert!(codes.get(&i32::from(Code::ResourceExhausted)).is_some_and(|count| *count > 0), "{codes:?}");

    // All that one peer may have is there again, as soon as the last of those who left is noticed.
    let all_answered = async || {
        let calls: Vec<_> = (0..MAX_REQUESTS / 2)
            .map(|_| {
                let mut client = client.clone();
                tokio::spawn(async move { client.search(text_search("lobby", "a person", 3)).await })
            })
            .collect();
        let mut all = true;
        for call in calls {
            match call.await.unwrap() {
                Ok(reply) => assert_eq!(reply.into_inner().hits.len(), 3),
                Err(status) => {
                    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                    all = false;
                }
            }
        }
        all
    };
    let again = async { while !all_answered().await {} };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
    stack.stop().await;
}
