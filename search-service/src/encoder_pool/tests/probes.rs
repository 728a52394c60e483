//! What asking a member for its model may do to it, and to the work that it has.

use super::fake::{Behaviour, FakeEncoder};
use super::{Stand, load, model, search};
use crate::SearchError;
use crate::encoder_pool::Standing;
use std::time::Duration;
use tokio::time::Instant;

fn standings(stand: &Stand) -> Vec<Standing> {
    stand.pool.states().iter().map(|state| state.standing).collect()
}

async fn known(encoders: Vec<FakeEncoder>) -> Stand {
    let stand = Stand::of(encoders);
    search(&stand.pool, 'a').await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    stand
}

#[tokio::test(start_paused = true)]
async fn callers_in_a_hurry_take_no_member_out() {
    let encoders = ['a', 'a', 'b'].map(|model| FakeEncoder::new(model, 10)).into();
    let stand = Stand::with(encoders, |config| config.timeout_ms = 1);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    stand.encoders.iter().for_each(|encoder| encoder.behave(Behaviour::LeavesQuestionsOpen));
    assert!(stand.pool.first_model().await.is_err());
    assert!(stand.pool.of("lobby", &model('c')).await.is_err());
    assert_eq!(standings(&stand), [Standing::Serving; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_that_hangs_keeps_nobody_longer_than_a_probe_may() {
    let stand = known(vec![FakeEncoder::new('a', 10), FakeEncoder::new('b', 10)]).await;
    stand.encoders.iter().for_each(|encoder| encoder.behave(Behaviour::Hangs));
    let begun = Instant::now();
    let refused = search(&stand.pool, 'c').await.unwrap_err();
    assert!(matches!(refused, SearchError::Unavailable { .. }), "{refused}");
    assert!(begun.elapsed() <= Duration::from_millis(1_100), "{:?}", begun.elapsed());
}

/// An encoder that loads its model takes connections before it answers.
#[tokio::test(start_paused = true)]
async fn encoders_that_start_are_waited_for() {
    let stand = Stand::of(vec![FakeEncoder::new('a', 10)]);
    stand.encoders[0].behave(Behaviour::Hangs);
    let starting = async {
        tokio::time::sleep(Duration::from_secs(6)).await;
        stand.encoders[0].behave(Behaviour::Answers);
    };
    let begun = Instant::now();
    let (model, ()) = tokio::join!(stand.pool.first_model(), starting);
    // What hung goes on hanging; whoever asks next is answered.
    assert!(model.is_ok() || stand.pool.first_model().await.is_ok(), "{model:?}");
    assert!(begun.elapsed() <= Duration::from_secs(16), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_member_that_has_no_room_for_its_probe_is_there() {
    let stand = known(vec![FakeEncoder::new('a', 10), FakeEncoder::new('a', 10)]).await;
    stand.encoders.iter().for_each(|encoder| encoder.behave(Behaviour::RefusesQuestions));
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(standings(&stand), [Standing::Serving; 2]);
    stand.pool.ready().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_member_that_answers_calls_but_no_probe_keeps_its_work() {
    let stand = known(vec![FakeEncoder::new('a', 10), FakeEncoder::new('a', 10)]).await;
    let before: usize = stand.calls().iter().sum();
    stand.encoders.iter().for_each(|encoder| encoder.behave(Behaviour::LeavesQuestionsOpen));
    // Nobody waits so long that another one is asked as well, so each call is made once.
    let (answered, _) = load(&stand.pool, 'a', 8, Duration::from_secs(9)).await;
    assert_eq!(stand.calls().iter().sum::<usize>(), before + answered);
    assert_eq!(standings(&stand), [Standing::Serving; 2]);
    // Without work nothing speaks for it.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(standings(&stand), [Standing::LeftOut; 2]);
}
