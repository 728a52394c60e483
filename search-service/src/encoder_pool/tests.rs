//! What becomes of work when encoders are many, and some of them break, hang, are full, or change their model.

mod fake;
mod places;
mod probes;
mod troubles;

use self::fake::{FakeEncoder, FakeNetwork, config};
use super::{EncoderGroup, EncoderPool};
use crate::{EncoderClientConfig, SearchError};
use descry_model::Fingerprint;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

fn model(letter: char) -> Fingerprint {
    letter.to_string().repeat(64).parse().unwrap()
}

/// Encoders at addresses of their own, all named in the settings.
struct Stand {
    encoders: Vec<FakeEncoder>,
    pool: EncoderPool,
}

impl Stand {
    fn of(encoders: Vec<FakeEncoder>) -> Self {
        Self::with(encoders, |_| {})
    }

    fn with(encoders: Vec<FakeEncoder>, change: impl FnOnce(&mut EncoderClientConfig)) -> Self {
        let network = FakeNetwork::default();
        let addresses: Vec<String> = (1..=encoders.len()).map(|host| format!("10.0.0.{host}:50051")).collect();
        for (address, encoder) in addresses.iter().zip(&encoders) {
            network.place(address, encoder);
        }
        let urls: Vec<String> = addresses.iter().map(|address| format!("http://{address}")).collect();
        let mut config = config(&urls.iter().map(String::as_str).collect::<Vec<_>>());
        change(&mut config);
        Self { encoders, pool: EncoderPool::open(&config, None, Arc::new(network)).unwrap() }
    }

    async fn group(&self, letter: char) -> EncoderGroup {
        self.pool.of("lobby", &model(letter)).await.unwrap().0
    }

    fn calls(&self) -> Vec<usize> {
        self.encoders.iter().map(FakeEncoder::calls).collect()
    }
}

async fn search(pool: &EncoderPool, letter: char) -> Result<(), SearchError> {
    let (group, _) = pool.of("lobby", &model(letter)).await?;
    let encoded = group.encode_text("a red coat".to_owned(), "text").await?;
    assert_eq!(encoded.fingerprint, model(letter));
    Ok(())
}

/// Callers that search again and again; tells how many searches were answered, and the longest one. None may fail.
async fn load(pool: &EncoderPool, letter: char, callers: usize, time: Duration) -> (usize, Duration) {
    let end = Instant::now() + time;
    let callers = (0..callers).map(|_| async move {
        let (mut answered, mut longest) = (0, Duration::ZERO);
        while Instant::now() < end {
            let begun = Instant::now();
            search(pool, letter).await.unwrap();
            answered += 1;
            longest = longest.max(begun.elapsed());
        }
        (answered, longest)
    });
    let done = futures::future::join_all(callers).await;
    done.into_iter().fold((0, Duration::ZERO), |(count, longest), (more, other)| (count + more, longest.max(other)))
}

#[tokio::test(start_paused = true)]
async fn throughput_grows_with_the_members() {
    const RUN_MS: u64 = 20;
    const TIME: Duration = Duration::from_secs(4);
    for members in [1, 2, 4, 8] {
        let stand = Stand::of((0..members).map(|_| FakeEncoder::new('a', RUN_MS)).collect());
        // All are known before it begins.
        search(&stand.pool, 'a').await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (answered, _) = load(&stand.pool, 'a', 8 * members, TIME).await;
        let most = members * (TIME.as_millis() as usize / RUN_MS as usize);
        assert!(answered * 100 >= most * 95, "{answered} of {most} searches with {members} members");
        let calls = stand.calls();
        let fewest = calls.iter().min().unwrap();
        assert!(fewest * members * 100 >= answered * 90, "{calls:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_member_gets_what_it_can_do() {
    let stand = Stand::of(vec![FakeEncoder::new('a', 10), FakeEncoder::new('a', 40)]);
    search(&stand.pool, 'a').await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    load(&stand.pool, 'a', 16, Duration::from_secs(4)).await;
    let calls = stand.calls();
    assert!(calls[0] > 3 * calls[1] && calls[1] > 40, "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn indexing_uses_all_members_and_says_that_nobody_waits() {
    let stand = Stand::of(vec![FakeEncoder::new('a', 50), FakeEncoder::new('a', 50)]);
    search(&stand.pool, 'a').await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let group = stand.group('a').await;
    let chunk = || group.encode_images(vec![bytes::Bytes::from_static(b"image"); 32], false);
    let begun = Instant::now();
    for embeddings in futures::future::join_all((0..20).map(|_| chunk())).await {
        assert_eq!(embeddings.unwrap().into_iter().filter(Result::is_ok).count(), 32);
    }
    assert!(begun.elapsed() <= Duration::from_millis(12 * 50), "{:?} {:?}", begun.elapsed(), stand.calls());
    let bulk = |encoder: &FakeEncoder| {
        encoder.priorities().iter().filter(|priority| priority.as_str_name() == "PRIORITY_BULK").count()
    };
    assert_eq!(stand.encoders.iter().map(bulk).sum::<usize>(), 20);
}
