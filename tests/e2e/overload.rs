//! More requests than the services can work on: each is answered or refused with the time after which to try again, health
//! stays, and what was taken is given back.

use crate::services::{demo_images, index, text_search};
use descry_tests::TestStack;
use std::time::Duration;
use tokio::task::JoinSet;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_searches_are_refused_and_the_others_answered() {
    let stack = TestStack::start_with(|_, search| {
        search.searching.max_running = 2;
        search.searching.max_waiting = 8;
    })
    .await;
    let mut client = stack.search().await;
    index(&mut client, "lobby", demo_images(3)).await;
    let mut searches = JoinSet::new();
    for number in 0..200 {
        let mut client = client.clone();
        searches.spawn(async move {
            let mut request = Request::new(text_search("lobby", "a man in a red coat", 3));
            if number % 2 == 0 {
                request.set_timeout(Duration::from_secs(20));
            }
            client.search(request).await
        });
    }
    let mut answered = 0;
    while let Some(search) = searches.join_next().await {
        match search.unwrap() {
            Ok(found) => {
                assert_eq!(found.into_inner().hits.len(), 3);
                answered += 1;
            }
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
                assert!(delay.is_some_and(|delay| delay >= Duration::from_millis(50)), "{status}");
            }
        }
    }
    assert!((10..200).contains(&answered), "{answered}");
    let channel = tonic::transport::Channel::from_shared(stack.search_url.clone()).unwrap().connect_lazy();
    let health = HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(health.status(), ServingStatus::Serving);
    // Every turn was given back.
    for _ in 0..5 {
        client.search(text_search("lobby", "a man in a red coat", 3)).await.unwrap();
    }
    stack.stop().await;
}

#[tokio::test]
async fn a_batch_under_load_is_answered_search_by_search() {
    let stack = TestStack::start_with(|_, search| {
        search.searching.max_running = 1;
        search.searching.max_waiting = 4;
    })
    .await;
    let mut client = stack.search().await;
    index(&mut client, "lobby", demo_images(2)).await;
    let searches = vec![text_search("lobby", "a woman", 1); 16];
    let batch = descry_proto::search::v1::SearchBatchRequest { searches };
    let results = client.search_batch(batch).await.unwrap().into_inner().results;
    let refused = results.iter().filter(|result| {
        matches!(&result.outcome, Some(descry_proto::search::v1::search_batch_response::result::Outcome::Error(error))
            if error.code == Code::ResourceExhausted as i32)
    });
    let refused = refused.count();
    assert!((1..16).contains(&refused), "{refused} of {}", results.len());
    stack.stop().await;
}
