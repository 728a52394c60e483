//! How much one principal may use in a time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a principal may use at most; nothing where it is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests a minute.
    pub max_requests_per_minute: Option<u32>,
    /// Images a day that are brought to be indexed or encoded.
    pub max_images_per_day: Option<u32>,
}

/// Why nothing could be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// There is so much after this time.
    For(Duration),
    /// There is never so much at once.
    Always,
}

/// Something of which there is so much in a time, and which comes back evenly: all of it may be taken at once, and after the
/// whole time all of it is there again.
#[derive(Debug, Default)]
pub struct Allowance {
    /// When all of it is there again. In the past where nothing is taken.
    whole_at: Mutex<Option<Instant>>,
}

impl Allowance {
    /// Takes `amount` of at most `most` within `time`.
    ///
    /// # Errors
    /// The [`Shortage`]. Nothing is taken then.
    pub fn take(&self, amount: usize, most: u32, time: Duration, now: Instant) -> Result<(), Shortage> {
        let mut whole_at = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = whole_at.map_or(now, |whole_at| whole_at.max(now));
        let amount = u32::try_from(amount).ok().filter(|amount| *amount <= most).ok_or(Shortage::Always)?;
        let cost_ns = time.as_nanos() * u128::from(amount) / u128::from(most.max(1));
        let cost = Duration::from_nanos(u64::try_from(cost_ns).unwrap_or(u64::MAX));
        let wait = (begin + cost).saturating_duration_since(now + time);
        if !wait.is_zero() {
            return Err(Shortage::For(wait));
        }
        *whole_at = Some(begin + cost);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_comes_back_evenly() {
        let (allowance, begin) = (Allowance::default(), Instant::now());
        let take = |amount, after_ms| {
            allowance.take(amount, 60, Duration::from_secs(60), begin + Duration::from_millis(after_ms))
        };
        (0..60).for_each(|_| take(1, 0).unwrap());
        assert_eq!(take(1, 0), Err(Shortage::For(Duration::from_secs(1))));
        assert_eq!(take(1, 400), Err(Shortage::For(Duration::from_millis(600))), "a refusal costs nothing");
        take(1, 1_000).unwrap();
        assert!(take(1, 1_000).is_err());
        // After a long pause there is as much as ever, and not more.
        (0..60).for_each(|_| take(1, 600_000).unwrap());
        assert!(take(1, 600_000).is_err());
    }

    #[test]
    fn more_than_there_ever_is_cannot_be_waited_for() {
        let (allowance, now) = (Allowance::default(), Instant::now());
        let take = |amount, most| allowance.take(amount, most, Duration::from_secs(100), now);
        assert_eq!(take(11, 10), Err(Shortage::Always));
        assert_eq!(take(usize::MAX, u32::MAX), Err(Shortage::Always));
        assert_eq!(take(1, 0), Err(Shortage::Always));
        take(10, 10).unwrap();
        assert_eq!(take(5, 10), Err(Shortage::For(Duration::from_secs(50))));
    }
}
