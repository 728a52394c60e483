//! Names behind which encoders come and go, and places of several models.

use super::fake::{Behaviour, FakeEncoder, FakeNetwork, config};
use super::{load, model, search};
use crate::SearchError;
use crate::encoder_pool::{EncoderPool, Standing};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Encoders of one model at 10.0.0.1, 10.0.0.2 and so on, and a pool that knows a name only.
fn behind_a_name(encoders: &[FakeEncoder], addresses: &[&str]) -> (FakeNetwork, EncoderPool) {
    let network = FakeNetwork::default();
    for (host, encoder) in encoders.iter().enumerate() {
        network.place(&format!("10.0.0.{}:50051", host + 1), encoder);
    }
    network.name("encoder", addresses);
    let pool = EncoderPool::open(&config(&["http://encoder:50051"]), None, Arc::new(network.clone())).unwrap();
    let tended = pool.clone();
    tokio::spawn(async move { tended.tend().await });
    (network, pool)
}

const TIME: Duration = Duration::from_secs(2);

#[tokio::test(start_paused = true)]
async fn every_address_behind_a_name_is_a_member_as_long_as_it_stands_there() {
    let encoders: Vec<FakeEncoder> = (0..3).map(|_| FakeEncoder::new('a', 10)).collect();
    let (network, pool) = behind_a_name(&encoders, &["10.0.0.1:50051", "10.0.0.2:50051"]);
    search(&pool, 'a').await.unwrap();
    load(&pool, 'a', 8, TIME).await;
    let calls = |encoder: usize| encoders[encoder].calls();
    assert!(calls(0) > 100 && calls(1) > 100 && calls(2) == 0);
    // One goes, another one comes; no search is lost meanwhile.
    network.name("encoder", &["10.0.0.2:50051", "10.0.0.3:50051"]);
    load(&pool, 'a', 8, Duration::from_secs(7)).await;
    let gone = calls(0);
    load(&pool, 'a', 8, TIME).await;
    assert!(calls(0) == gone && calls(2) > 100, "{gone} {} {}", calls(0), calls(2));
    // A resolver that is down takes no encoder along.
    network.name("encoder", &[]);
    load(&pool, 'a', 8, Duration::from_secs(7)).await;
    let states = pool.states();
    let addresses: Vec<&str> = states.iter().map(|state| state.address.as_str()).collect();
    assert_eq!(addresses, ["10.0.0.2:50051", "10.0.0.3:50051", ""]);
    assert!(states[2].reason.contains("no such name"), "{}", states[2].reason);
}

#[tokio::test(start_paused = true)]
async fn a_roll_behind_a_name_loses_no_search() {
    let encoders: Vec<FakeEncoder> = (0..2).map(|_| FakeEncoder::new('a', 10)).collect();
    let (network, pool) = behind_a_name(&encoders, &["10.0.0.1:50051"]);
    search(&pool, 'a').await.unwrap();
    // In the middle between two times at which names are resolved anyway.
    tokio::time::sleep(Duration::from_millis(1_900)).await;
    let roll = async {
        tokio::time::sleep(Duration::from_millis(505)).await;
        encoders[0].kill();
        network.name("encoder", &["10.0.0.2:50051"]);
    };
    let ((answered, longest), ()) = tokio::join!(load(&pool, 'a', 8, TIME), roll);
    assert!(longest <= Duration::from_millis(500), "{longest:?}");
    assert!(answered >= 120 && encoders[1].calls() > 50, "{answered} {}", encoders[1].calls());
    // While nobody is there a search says so soon, and names are not asked for without end.
    encoders[1].kill();
    let lookups = network.lookups();
    let begun = Instant::now();
    for _ in 0..40 {
        let refused = search(&pool, 'a').await.unwrap_err();
        assert!(matches!(refused, SearchError::Unavailable { .. }), "{refused}");
    }
    let most = begun.elapsed().as_millis() / 250 + 2;
    let lookups = network.lookups() - lookups;
    assert!(lookups as u128 <= most && begun.elapsed() <= Duration::from_secs(21), "{lookups} {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_name_that_does_not_resolve_is_told_and_tried_again() {
    let encoders = [FakeEncoder::new('a', 10)];
    let (network, pool) = behind_a_name(&encoders, &[]);
    let refused = search(&pool, 'a').await.unwrap_err();
    assert!(
        matches!(&refused, SearchError::Unavailable { reason, .. } if reason.contains("no such name")),
        "{refused}"
    );
    assert!(pool.ready().await.is_err());
    network.name("encoder", &["10.0.0.1:50051"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    search(&pool, 'a').await.unwrap();
    pool.ready().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn new_galleries_are_made_for_the_first_place() {
    let [first, same, other] = ['a', 'a', 'b'].map(|model| FakeEncoder::new(model, 10));
    let network = FakeNetwork::default();
    let addresses = ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"];
    for (address, encoder) in addresses.iter().zip([&first, &same, &other]) {
        network.place(address, encoder);
    }
    let config = config(&["http://10.0.0.1:1", "http://10.0.0.2:1", "http://10.0.0.3:1"]);
    let pool = EncoderPool::open(&config, None, Arc::new(network)).unwrap();
    assert_eq!(pool.first_model().await.unwrap().fingerprint, model('a'));
    search(&pool, 'b').await.unwrap();
    assert_eq!(pool.models().await.unwrap(), [model('a'), model('b')]);
    // Another place of the same model keeps the service ready, and searches go there.
    first.kill();
    tokio::time::sleep(Duration::from_secs(3)).await;
    pool.ready().await.unwrap();
    search(&pool, 'a').await.unwrap();
    assert!(pool.first_model().await.is_err());
    // One of another model does not.
    same.behave(Behaviour::Hangs);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(pool.ready().await.is_err());
    search(&pool, 'b').await.unwrap();
    let standings: Vec<Standing> = pool.states().iter().map(|state| state.standing).collect();
    assert_eq!(standings, [Standing::LeftOut, Standing::LeftOut, Standing::Serving]);
    let states = pool.states();
    assert!(states[1].reason.contains("did not say within 1000 ms"), "{}", states[1].reason);
}

#[tokio::test(start_paused = true)]
async fn indexing_waits_for_a_model_whose_encoders_are_all_away() {
    let encoders = ['a', 'b'].map(|model| FakeEncoder::new(model, 10));
    let (network, pool) = behind_a_name(&encoders, &["10.0.0.1:50051"]);
    search(&pool, 'a').await.unwrap();
    // The only one is gone, and its name stands for one that does not answer yet.
    encoders[0].kill();
    encoders[1].kill();
    encoders[1].change_model('a');
    network.name("encoder", &["10.0.0.2:50051"]);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let refused = search(&pool, 'a').await.unwrap_err();
    assert!(matches!(refused, SearchError::Unavailable { .. }), "{refused}");
    let indexing = async {
        let (group, _) = pool.of("lobby", &model('a')).await.unwrap();
        group.encode_images(vec![bytes::Bytes::from_static(b"image")], false).await
    };
    let starting = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        encoders[1].start();
    };
    let (images, ()) = tokio::join!(indexing, starting);
    assert!(images.unwrap()[0].is_ok());
    // One that answers, and runs another model, is no reason to wait.
    encoders[1].change_model('b');
    let gone = search(&pool, 'a').await.unwrap_err();
    assert!(matches!(gone, SearchError::NoEncoder { .. }), "{gone}");
}

#[tokio::test(start_paused = true)]
async fn a_moment_without_the_last_encoder_of_the_old_model_changes_no_new_gallery() {
    let encoders = ['b', 'a'].map(|model| FakeEncoder::new(model, 10));
    let (network, pool) = behind_a_name(&encoders, &["10.0.0.2:50051"]);
    assert_eq!(pool.first_model().await.unwrap().fingerprint, model('a'));
    network.name("encoder", &["10.0.0.1:50051", "10.0.0.2:50051"]);
    tokio::time::sleep(Duration::from_secs(7)).await;
    encoders[1].kill();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(pool.states()[0].standing, Standing::LeftOut);
    assert_eq!(pool.first_model().await.unwrap().fingerprint, model('a'));
    // It is gone for good when its name says so.
    network.name("encoder", &["10.0.0.1:50051"]);
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(pool.first_model().await.unwrap().fingerprint, model('b'));
}

#[tokio::test(start_paused = true)]
async fn an_encoder_that_two_places_name_belongs_to_the_first_of_them() {
    let encoders = ['a', 'b'].map(|model| FakeEncoder::new(model, 10));
    let network = FakeNetwork::default();
    for (address, encoder) in ["10.0.0.1:1", "10.0.0.2:1"].iter().zip(&encoders) {
        network.place(address, encoder);
    }
    network.name("encoder", &["10.0.0.1:1"]);
    let urls = ["http://encoder:1", "http://10.0.0.2:1", "http://10.0.0.1:1"];
    let pool = EncoderPool::open(&config(&urls), None, Arc::new(network.clone())).unwrap();
    let tended = pool.clone();
    tokio::spawn(async move { tended.tend().await });
    assert_eq!(pool.first_model().await.unwrap().fingerprint, model('a'));
    let found = || pool.states().into_iter().map(|state| (state.url, state.address)).collect::<Vec<_>>();
    let member = |url: &str, address: &str| (url.to_owned(), address.to_owned());
    assert_eq!(found(), [member("http://encoder:1", "10.0.0.1:1"), member("http://10.0.0.2:1", "10.0.0.2:1")]);
    // It stays when its name stands for another one.
    network.name("encoder", &["10.0.0.2:1"]);
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(found(), [member("http://encoder:1", "10.0.0.2:1"), member("http://10.0.0.1:1", "10.0.0.1:1")]);
    assert_eq!(pool.first_model().await.unwrap().fingerprint, model('b'));
    search(&pool, 'a').await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn addresses_that_come_and_go_behind_a_name_add_nothing_to_the_metrics() {
    let (network, pool) = behind_a_name(&[], &["10.0.1.0:1", "10.0.1.1:1"]);
    let mut labels = HashSet::new();
    for host in 0..20 {
        network.name("encoder", &[&format!("10.0.1.{host}:1"), &format!("10.0.1.{}:1", host + 1)]);
        tokio::time::sleep(Duration::from_secs(6)).await;
        labels.extend(pool.members().iter().map(|member| member.label.clone()));
        assert_eq!(pool.members().len(), 2);
    }
    let expected = ["encoder:50051#1", "encoder:50051#2"].map(str::to_owned);
    assert_eq!(labels, HashSet::from(expected));
}
