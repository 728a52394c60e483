//! Members that break, hang, are full, fail, or change their model.

use super::fake::{Behaviour, FakeEncoder};
use super::{Stand, load, model, search};
use crate::SearchError;
use crate::encoder_pool::Standing;
use std::time::Duration;
use tokio::time::Instant;

const RUN_MS: u64 = 10;
const HEDGE: Duration = Duration::from_millis(250);

fn encoders(count: usize) -> Vec<FakeEncoder> {
    (0..count).map(|_| FakeEncoder::new('a', RUN_MS)).collect()
}

/// A stand whose members are all known.
async fn known(encoders: Vec<FakeEncoder>) -> Stand {
    let stand = Stand::of(encoders);
    search(&stand.pool, 'a').await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    stand
}

/// Something that happens while 24 callers search. No search fails; tells the longest one.
async fn under_load(stand: &Stand, event: impl FnOnce()) -> Duration {
    let event = async {
        tokio::time::sleep(Duration::from_millis(505)).await;
        event();
    };
    let ((_, longest), ()) = tokio::join!(load(&stand.pool, 'a', 24, Duration::from_secs(4)), event);
    longest
}

#[tokio::test(start_paused = true)]
async fn a_killed_member_loses_no_search_and_comes_back_by_itself() {
    let stand = known(encoders(3)).await;
    let usual = under_load(&stand, || {}).await;
    let longest = under_load(&stand, || stand.encoders[0].kill()).await;
    assert!(longest <= usual * 2, "{longest:?}, usually {usual:?}");
    let calls = stand.encoders[0].calls();
    load(&stand.pool, 'a', 8, Duration::from_secs(2)).await;
    assert_eq!(stand.encoders[0].calls(), calls, "a dead one gets work");
    stand.encoders[0].start();
    tokio::time::sleep(Duration::from_secs(6)).await;
    load(&stand.pool, 'a', 8, Duration::from_secs(2)).await;
    assert!(stand.encoders[0].calls() > calls + 50, "it does not come back");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_hangs_costs_one_hedge_delay_and_is_left_out_until_it_answers() {
    let stand = known(encoders(3)).await;
    let usual = under_load(&stand, || {}).await;
    let longest = under_load(&stand, || stand.encoders[1].behave(Behaviour::Hangs)).await;
    assert!(longest > HEDGE, "{longest:?}: nothing hung");
    assert!(longest <= HEDGE + usual * 2, "{longest:?}, usually {usual:?}");
    let calls = stand.encoders[1].calls();
    let (_, longest) = load(&stand.pool, 'a', 16, Duration::from_secs(4)).await;
    assert!(stand.encoders[1].calls() == calls && longest < HEDGE, "{longest:?}");
    stand.encoders[1].behave(Behaviour::Answers);
    tokio::time::sleep(Duration::from_secs(6)).await;
    load(&stand.pool, 'a', 16, Duration::from_secs(2)).await;
    assert!(stand.encoders[1].calls() > calls + 50, "it does not come back");
}

#[tokio::test(start_paused = true)]
async fn more_calls_than_hedges_are_moved_when_the_member_misses_its_probe() {
    let stand = known(encoders(2)).await;
    stand.encoders[0].behave(Behaviour::Hangs);
    let begun = Instant::now();
    let searches = (0..400).map(|_| search(&stand.pool, 'a'));
    assert!(futures::future::join_all(searches).await.iter().all(Result::is_ok));
    // The other one runs all of them, one after the other.
    let limit = HEDGE + Duration::from_secs(1) + Duration::from_millis(400 * RUN_MS + 100);
    assert!(begun.elapsed() <= limit, "{:?}", begun.elapsed());
    // At most each hanging call twice.
    assert!(stand.calls().iter().sum::<usize>() <= 800, "{:?}", stand.calls());
}

#[tokio::test(start_paused = true)]
async fn indexing_goes_on_when_a_member_hangs() {
    let stand = known(encoders(3)).await;
    let group = stand.group('a').await;
    stand.encoders[0].behave(Behaviour::Hangs);
    let begun = Instant::now();
    let chunk = || group.encode_images(vec![bytes::Bytes::from_static(b"image"); 8], false);
    for embeddings in futures::future::join_all((0..12).map(|_| chunk())).await {
        assert!(embeddings.unwrap().iter().all(Result::is_ok));
    }
    // It misses the next probe, and its calls go elsewhere.
    assert!(begun.elapsed() <= Duration::from_millis(3_500), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_full_member_is_left_alone_until_it_wants_more() {
    let stand = known(encoders(2)).await;
    let before = stand.calls();
    stand.encoders[0].behave(Behaviour::IsFull(700));
    for _ in 0..20 {
        search(&stand.pool, 'a').await.unwrap();
    }
    assert_eq!(stand.calls()[0], before[0] + 1, "asked before it wants");
    tokio::time::sleep(Duration::from_millis(700)).await;
    for _ in 0..20 {
        search(&stand.pool, 'a').await.unwrap();
    }
    assert_eq!(stand.calls()[0], before[0] + 2);
}

#[tokio::test(start_paused = true)]
async fn a_search_is_refused_after_two_full_members() {
    let stand = known(encoders(3)).await;
    let before: usize = stand.calls().iter().sum();
    stand.encoders.iter().for_each(|encoder| encoder.behave(Behaviour::IsFull(700)));
    let refused = search(&stand.pool, 'a').await.unwrap_err();
    assert!(matches!(refused, SearchError::Overloaded { retry_after_ms: 700, .. }), "{refused}");
    assert_eq!(stand.calls().iter().sum::<usize>(), before + 2);
}

#[tokio::test(start_paused = true)]
async fn indexing_waits_until_full_members_want_more() {
    let stand = known(encoders(2)).await;
    let group = stand.group('a').await;
    stand.encoders.iter().for_each(|encoder| encoder.behave(Behaviour::IsFull(3_000)));
    let before: usize = stand.calls().iter().sum();
    let begun = Instant::now();
    let making_room = async {
        tokio::time::sleep(Duration::from_millis(2_900)).await;
        assert_eq!(stand.calls().iter().sum::<usize>(), before + 2, "asked before they want");
        stand.encoders.iter().for_each(|encoder| encoder.behave(Behaviour::Answers));
    };
    let (images, ()) = tokio::join!(group.encode_images(vec![bytes::Bytes::from_static(b"image")], false), making_room);
    assert!(images.unwrap()[0].is_ok());
    assert!(begun.elapsed() >= Duration::from_millis(3_000), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_member_whose_towers_are_broken_is_left_out() {
    let stand = known(encoders(2)).await;
    let before = stand.calls();
    stand.encoders[0].behave(Behaviour::Fails);
    // Its probes say all the while that it is there.
    load(&stand.pool, 'a', 8, Duration::from_secs(20)).await;
    let failed = stand.calls()[0] - before[0];
    assert!((6..=30).contains(&failed), "{failed}");
    let state = stand.pool.states().remove(0);
    assert!(state.standing == Standing::LeftOut && state.reason.contains("the tower failed"), "{state:?}");
    // Once it answers it gets its share.
    stand.encoders[0].behave(Behaviour::Answers);
    load(&stand.pool, 'a', 8, Duration::from_secs(8)).await;
    assert!(stand.calls()[0] - before[0] > failed + 100, "{:?}", stand.calls());
    stand.encoders[0].behave(Behaviour::Fails);
    // With nobody else its failure is told.
    stand.encoders[1].kill();
    assert!(matches!(
        search(&stand.pool, 'a').await,
        Err(SearchError::Encoder { .. } | SearchError::Unavailable { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_under_a_call_is_made_again() {
    let stand = known(encoders(1)).await;
    for _ in 0..5 {
        let cut = async {
            tokio::time::sleep(Duration::from_millis(RUN_MS / 2)).await;
            stand.encoders[0].cut();
        };
        let (answer, ()) = tokio::join!(search(&stand.pool, 'a'), cut);
        answer.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_member_takes_no_second_try_away_from_one_whose_connection_ends() {
    let stand = known(encoders(2)).await;
    stand.encoders[1].kill();
    for _ in 0..5 {
        // Both are left out, or only the dead one; whichever is drawn first.
        let cut = async {
            tokio::time::sleep(Duration::from_millis(RUN_MS / 2)).await;
            stand.encoders[0].cut();
        };
        let (answer, ()) = tokio::join!(search(&stand.pool, 'a'), cut);
        answer.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_fails_goes_on_to_a_third_member() {
    // Whatever is drawn first: it hangs, the second one is full or fails, and only the third one answers.
    for refusal in [Behaviour::IsFull(700), Behaviour::Fails, Behaviour::Stops] {
        for _ in 0..6 {
            let stand = known(encoders(3)).await;
            stand.encoders[0].behave(Behaviour::TowersHang);
            stand.encoders[1].behave(refusal);
            let begun = Instant::now();
            search(&stand.pool, 'a').await.unwrap();
            let longest = HEDGE + Duration::from_millis(3 * RUN_MS);
            assert!(begun.elapsed() <= longest, "{refusal:?} {:?}", begun.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_whose_tower_hangs_from_the_first_call_gets_few_searches() {
    let stand = Stand::of(encoders(2));
    stand.encoders[0].behave(Behaviour::TowersHang);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let (answered, longest) = load(&stand.pool, 'a', 2, Duration::from_secs(8)).await;
    assert!(longest <= HEDGE + Duration::from_millis(5 * RUN_MS), "{longest:?}");
    let hung = stand.encoders[0].calls();
    assert!(hung <= 6 && answered > 400, "{hung} of {answered}");
}

#[tokio::test(start_paused = true)]
async fn work_moves_on_when_any_member_that_has_it_falls_silent() {
    let stand = known(encoders(3)).await;
    stand.encoders[0].behave(Behaviour::Hangs);
    // This one says that it is there all the while, and some of the first one's searches are asked of it as well.
    stand.encoders[1].behave(Behaviour::TowersHang);
    let begun = Instant::now();
    let searches = (0..60).map(|_| search(&stand.pool, 'a'));
    assert!(futures::future::join_all(searches).await.iter().all(Result::is_ok));
    let longest = HEDGE + Duration::from_millis(1_000 + 60 * RUN_MS + 200);
    assert!(begun.elapsed() <= longest, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_full_and_a_failing_member_leave_the_third_one_a_try() {
    for _ in 0..12 {
        let stand = known(encoders(3)).await;
        stand.encoders[0].behave(Behaviour::IsFull(700));
        stand.encoders[1].behave(Behaviour::Fails);
        search(&stand.pool, 'a').await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn under_overload_no_call_goes_to_a_second_member_that_is_known_to_be_full() {
    let stand = known(encoders(2)).await;
    stand.encoders.iter().for_each(|encoder| encoder.behave(Behaviour::IsFull(700)));
    search(&stand.pool, 'a').await.unwrap_err();
    let before: usize = stand.calls().iter().sum();
    for _ in 0..10 {
        let refused = search(&stand.pool, 'a').await.unwrap_err();
        assert!(matches!(refused, SearchError::Overloaded { .. }), "{refused}");
    }
    assert_eq!(stand.calls().iter().sum::<usize>(), before + 10);
    // Nor is one asked that is left out.
    stand.encoders[0].kill();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let refused = search(&stand.pool, 'a').await.unwrap_err();
    assert!(matches!(refused, SearchError::Overloaded { .. }), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn with_nobody_there_a_search_is_refused_at_once_as_unavailable() {
    let stand = known(encoders(2)).await;
    stand.encoders.iter().for_each(FakeEncoder::kill);
    let begun = Instant::now();
    let refused = search(&stand.pool, 'a').await.unwrap_err();
    assert!(matches!(refused, SearchError::Unavailable { .. }), "{refused}");
    assert!(begun.elapsed() < Duration::from_millis(100));
    assert!(stand.pool.ready().await.is_err());
    // Each search tries again, so that the first one after the restart is answered.
    stand.encoders[1].start();
    search(&stand.pool, 'a').await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_told_to_stop_loses_no_search() {
    let stand = known(encoders(2)).await;
    let before = stand.calls();
    let longest = under_load(&stand, || stand.encoders[0].behave(Behaviour::Stops)).await;
    assert!(longest < HEDGE * 2, "{longest:?}");
    let refused = stand.calls()[0] - before[0];
    assert!(refused < stand.calls()[1], "{:?}", stand.calls());
}

#[tokio::test(start_paused = true)]
async fn a_rolling_change_of_the_model_loses_no_search() {
    let stand = known(encoders(3)).await;
    assert_eq!(stand.pool.first_model().await.unwrap().fingerprint, model('a'));
    let searching = async {
        load(&stand.pool, 'a', 6, Duration::from_secs(9)).await;
    };
    let searching_new = async {
        tokio::time::sleep(Duration::from_millis(4_100)).await;
        load(&stand.pool, 'b', 6, Duration::from_secs(9)).await;
    };
    let changing = async {
        for (encoder, pause_ms) in stand.encoders.iter().zip([2_000, 3_000, 5_000]) {
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            encoder.kill();
            encoder.change_model('b');
            tokio::time::sleep(Duration::from_millis(1_000)).await;
            encoder.start();
        }
    };
    tokio::join!(searching, searching_new, changing);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(stand.pool.first_model().await.unwrap().fingerprint, model('b'));
    let gone = search(&stand.pool, 'a').await.unwrap_err();
    assert!(matches!(gone, SearchError::NoEncoder { .. }), "{gone}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_model_than_expected_is_asked_of_the_right_one() {
    let stand = known(encoders(2)).await;
    // It changes between two probes, under an open connection.
    stand.encoders[0].change_model('b');
    for _ in 0..20 {
        search(&stand.pool, 'a').await.unwrap();
    }
    search(&stand.pool, 'b').await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_longer_than_one_call_may_take() {
    let stand = Stand::with(encoders(2), |config| config.timeout_ms = 2_000);
    search(&stand.pool, 'a').await.unwrap();
    stand.encoders.iter().for_each(|encoder| encoder.behave(Behaviour::Hangs));
    let begun = Instant::now();
    let late = search(&stand.pool, 'a').await.unwrap_err();
    assert!(matches!(late, SearchError::DeadlineExceeded { .. }), "{late}");
    assert!(begun.elapsed() <= Duration::from_millis(2_300), "{:?}", begun.elapsed());
}
