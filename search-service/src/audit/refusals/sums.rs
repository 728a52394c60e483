//! How many refusals there were of each kind, and when that is written.

use descry_audit::{Kind, Record};
use descry_serving::{Refused, code_name};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Kinds that are told apart; those beyond are told by their answer alone.
const MAX_KINDS: usize = 256;

/// After a sum was written the next of its kind waits so long; then twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Records that may be written at once, and how many more each second. At 400 bytes each, the second number is 70 MB a day: what
/// many machines together can make of a disk at most.
const MOST_RECORDS: f64 = 64.0;
const RECORDS_A_SECOND: f64 = 2.0;

/// What callers are named by where there are too many kinds.
const OTHERS: &str = "several";

/// Refusals that are counted.
pub(super) struct Sums {
    by_kind: HashMap<Refused, Counted>,
    /// Records that may be written now.
    room: f64,
    filled: Instant,
}

struct Counted {
    sum: Option<Counts>,
    pause: Duration,
    /// When it is written; or forgotten, where nothing came.
    due: Instant,
}

#[derive(Clone, Copy)]
struct Counts {
    requests: u64,
    first_ms: i64,
    last_ms: i64,
}

/// A sum that is about to be written.
pub(super) struct Due {
    kind: Refused,
    counts: Counts,
}

impl Sums {
    pub(super) fn new(now: Instant) -> Self {
        Self { by_kind: HashMap::new(), room: MOST_RECORDS, filled: now }
    }

    pub(super) fn add(&mut self, refused: Refused, now_ms: i64, now: Instant) {
        let is_new = !self.by_kind.contains_key(&refused);
        let kind = if is_new && self.by_kind.len() >= MAX_KINDS { of_several(&refused) } else { refused };
        let one = Counts { requests: 1, first_ms: now_ms, last_ms: now_ms };
        let new = || Counted { sum: None, pause: FIRST_PAUSE, due: now };
        self.by_kind.entry(kind).or_insert_with(new).add(one);
    }

    /// Takes what is to be written now, what waits longest first, and forgets kinds of which nothing came any more.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Due> {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        (self.room, self.filled) = ((self.room + passed * RECORDS_A_SECOND).min(MOST_RECORDS), now);
        self.by_kind.retain(|_, counted| counted.sum.is_some() || counted.due > now);
        let mut due: Vec<(Instant, Refused)> = Vec::new();
        for (kind, counted) in &self.by_kind {
            if counted.sum.is_some() && counted.due <= now {
                due.push((counted.due, kind.clone()));
            }
        }
        due.sort_by_key(|(since, _)| *since);
        let mut taken = Vec::new();
        for (_, kind) in due {
            if self.room < 1.0 {
                break;
            }
            let Some(counted) = self.by_kind.get_mut(&kind) else { continue };
            let Some(counts) = counted.sum.take() else { continue };
            counted.due = now + counted.pause;
            counted.pause = (counted.pause * 2).min(LONGEST_PAUSE);
            self.room -= 1.0;
            taken.push(Due { kind, counts });
        }
        taken
    }

    /// All that is not written.
    pub(super) fn take_all(&mut self) -> Vec<Due> {
        let kinds = self.by_kind.drain();
        kinds.filter_map(|(kind, counted)| Some(Due { kind, counts: counted.sum? })).collect()
    }

    /// What could not be written counts on.
    pub(super) fn put_back(&mut self, due: Vec<Due>) {
        for Due { kind, counts } in due {
            let new = || Counted { sum: None, pause: FIRST_PAUSE, due: self.filled };
            self.by_kind.entry(kind).or_insert_with(new).add(counts);
        }
    }
}

impl Counted {
    fn add(&mut self, further: Counts) {
        self.sum = Some(match self.sum {
            None => further,
            Some(Counts { requests, first_ms, last_ms }) => Counts {
                requests: requests + further.requests,
                first_ms: first_ms.min(further.first_ms),
                last_ms: last_ms.max(further.last_ms),
            },
        });
    }
}

impl Due {
    pub(super) fn record(&self) -> Record {
        let Refused { principal, address, method, code, reason } = &self.kind;
        let Counts { requests, first_ms, last_ms } = self.counts;
        let mut record = Record {
            begin_ms: first_ms,
            end_ms: last_ms,
            principal: principal.clone(),
            address: address.map(|address| address.to_string()),
            rpc: Some(method.clone()),
            status: Some(code_name(*code).to_owned()),
            note: Some((*reason).to_owned()),
            ..Record::new(Kind::Refused)
        };
        record.count("requests", requests);
        record
    }
}

/// The kind of those that are not told apart: as many as there are answers and reasons.
fn of_several(refused: &Refused) -> Refused {
    let Refused { code, reason, .. } = *refused;
    Refused { principal: None, address: None, method: OTHERS.to_owned(), code, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_serving::Peer;
    use std::net::{IpAddr, Ipv4Addr};
    use tonic::Code;

    fn from(host: u32) -> Refused {
        Refused {
            principal: None,
            address: Some(Peer::from(IpAddr::V4(Ipv4Addr::from_bits(host)))),
            method: "a/B".to_owned(),
            code: Code::Unauthenticated,
            reason: "missing",
        }
    }

    fn requests(due: &[Due]) -> u64 {
        due.iter().map(|due| due.counts.requests).sum()
    }

    #[test]
    fn one_attacker_is_written_ever_more_seldom_and_counted_in_full() {
        let start = Instant::now();
        let (mut sums, mut records, mut counted) = (Sums::new(start), 0, 0);
        for second in 0..3_600 {
            let now = start + Duration::from_secs(second);
            for _ in 0..100 {
                sums.add(from(1), second as i64, now);
            }
            let due = sums.take_due(now);
            records += due.len();
            counted += requests(&due);
        }
        // Once a second, after 1, 2, 4, 8, 16 and 32 seconds, and then each minute.
        assert_eq!(records, 65);
        counted += requests(&sums.take_all());
        assert_eq!(counted, 360_000);
        // Who comes again after a silence is heard at once.
        let later = start + Duration::from_secs(10_000);
        assert!(sums.take_due(later).is_empty() && sums.by_kind.is_empty());
        sums.add(from(1), 0, later);
        assert_eq!(sums.take_due(later).len(), 1);
    }

    #[test]
    fn many_attackers_fill_neither_disk_nor_memory() {
        let start = Instant::now();
        let (mut sums, mut records, mut counted) = (Sums::new(start), 0, 0);
        for second in 0..600_u32 {
            let now = start + Duration::from_secs(second.into());
            for host in 0..1_000 {
                sums.add(from(second * 1_000 + host), 0, now);
            }
            let due = sums.take_due(now);
            assert!(sums.by_kind.len() <= MAX_KINDS + 1);
            records += due.len();
            counted += requests(&due);
        }
        assert!(records <= 64 + 2 * 600, "{records}");
        counted += requests(&sums.take_all());
        assert_eq!(counted, 600_000, "each is counted, if not told apart");
    }

    #[test]
    fn what_could_not_be_written_is_written_later() {
        let start = Instant::now();
        let mut sums = Sums::new(start);
        sums.add(from(1), 10, start);
        let due = sums.take_due(start);
        assert_eq!(due[0].record().counts["requests"], 1);
        sums.add(from(1), 20, start);
        sums.put_back(due);
        let due = sums.take_due(start + FIRST_PAUSE);
        let record = due[0].record();
        assert_eq!((record.counts["requests"], record.begin_ms, record.end_ms), (2, 10, 20));
        let [address, method, status] = [record.address, record.rpc, record.status].map(Option::unwrap);
        assert_eq!([address.as_str(), &method, &status], ["0.0.0.1", "a/B", "UNAUTHENTICATED"]);
    }
}
