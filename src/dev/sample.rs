//! Sample orders, as business systems would publish them: mostly «in progress», some twice, some
//! without a key (and so mostly in a foreign partition), some followed by what the business learned
//! itself, and a little garbage. Pure; the seed decides everything but the times.

use std::collections::BTreeMap;

use crate::domain::event::{Author, Body, Event, TerminalEvent};
use crate::domain::order::{Millis, OrderKey, ReqNo, TypeName};
use crate::domain::status::{Open, Terminal};

/// When an event is repeated, and when the business learns an outcome itself: well before the first
/// question, a second after the event.
const REPEATED_AFTER: Millis = 100;
const LEARNED_AFTER: Millis = 300;

/// No burst after a pause: what was not published in time for so long is left out.
const CATCH_UP: Millis = 200;

/// A record to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// `<type>/<reqNO>`, or none.
    pub key: Option<String>,
    /// The partition; `None`: the client's own choice.
    pub partition: Option<u16>,
    /// The value.
    pub value: Vec<u8>,
}

/// An endless stream of sample orders.
#[derive(Debug)]
pub struct Sample {
    order_type: TypeName,
    seed: u64,
    per_second: u32,
    shards: u16,
    state: u64,
    /// Orders so far.
    made: u64,
    /// Thousandths of an order that are due.
    owed: u64,
    last: Option<Millis>,
    later: BTreeMap<(Millis, u64), Published>,
}

impl Sample {
    /// Orders of `order_type`, `per_second` of them.
    pub fn new(order_type: TypeName, seed: u64, per_second: u32, shards: u16) -> Self {
        Self {
            order_type,
            seed,
            per_second,
            shards,
            state: seed,
            made: 0,
            owed: 0,
            last: None,
            later: BTreeMap::new(),
        }
    }

    /// Orders so far.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// What is to be published at `now`, wall time.
    pub fn due(&mut self, now: Millis) -> Vec<Published> {
        let since = now.saturating_sub(self.last.unwrap_or(now)).min(CATCH_UP);
        self.last = Some(now);
        self.owed += since * u64::from(self.per_second);
        let mut due = Vec::new();
        while self.owed >= 1000 {
            self.owed -= 1000;
            self.order(now, &mut due);
        }
        while let Some(entry) = self.later.first_entry()
            && entry.key().0 <= now
        {
            due.push(entry.remove());
        }
        due
    }

    fn order(&mut self, now: Millis, due: &mut Vec<Published>) {
        self.made += 1;
        let number = format!("D{:x}-{}", self.seed, self.made);
        let Some(req_no) = ReqNo::new(&number) else {
            return;
        };
        let key = OrderKey {
            order_type: self.order_type.clone(),
            req_no,
        };
        let status = if self.chance(10) {
            Open::Unknown
        } else {
            Open::InProgress
        };
        let body = Body::Pending {
            status,
            ask_at: None,
            query: Some(r#"{"bank":"simulated"}"#.into()),
        };
        let keyed = !self.chance(20);
        let event = self.published(&key, body, now, keyed);
        if self.chance(5) {
            self.later
                .insert((now + REPEATED_AFTER, self.made), event.clone());
        }
        due.push(event);
        if self.chance(5) {
            let at = now + LEARNED_AFTER;
            let terminal = TerminalEvent {
                status: Terminal::Success,
                source: String::new(),
                rsp_no: Some(format!("B{}", self.made)),
                ret_cd: Some("0000".to_owned()),
                ret_msg: None,
            };
            let event = self.published(&key, Body::Terminal(Box::new(terminal)), at, true);
            self.later.insert((at, self.made), event);
        }
        if self.chance(1) {
            due.push(self.garbage(&number));
        }
    }

    fn published(&mut self, key: &OrderKey, body: Body, at: Millis, keyed: bool) -> Published {
        let partition = if keyed {
            // Where Java's partitioner would put it.
            key.shard(self.shards)
        } else {
            (self.draw() % u64::from(self.shards)) as u16
        };
        let event = Event {
            key: key.clone(),
            at,
            body,
        };
        Published {
            key: keyed.then(|| key.to_string()),
            partition: Some(partition),
            value: event.encode(Author::System("settled-dev")),
        }
    }

    fn garbage(&mut self, number: &str) -> Published {
        let value = match self.draw() % 3 {
            0 => format!("order {number} is in progress"),
            1 => format!(
                r#"{{"v":1,"type":"{}","reqNO":{},"status":"3"}}"#,
                self.order_type, self.made
            ),
            _ => format!(
                r#"{{"v":1,"type":"{}","reqNO":"{number}","status":"5"}}"#,
                self.order_type
            ),
        };
        Published {
            key: None,
            partition: Some((self.draw() % u64::from(self.shards)) as u16),
            value: value.into_bytes(),
        }
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.draw() % 100 < percent
    }

    /// `SplitMix64`.
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.state;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seed: u64) -> Sample {
        Sample::new(TypeName::new("transfer").unwrap(), seed, 200, 4)
    }

    fn run(sample: &mut Sample) -> Vec<Published> {
        let start = 1_795_417_200_000;
        (0..1_000)
            .flat_map(|tick| sample.due(start + tick * 10))
            .collect()
    }

    #[test]
    fn the_seed_decides_every_record() {
        let (one, same, other) = (
            run(&mut sample(7)),
            run(&mut sample(7)),
            run(&mut sample(8)),
        );
        assert_eq!(one, same);
        assert_ne!(one, other);
    }

    #[test]
    fn the_rate_is_kept_and_a_pause_brings_no_burst() {
        let mut sample = sample(1);
        run(&mut sample);
        assert_eq!(
            sample.made(),
            1_998,
            "a tick less than ten seconds at 200 a second"
        );
        sample.due(1_795_417_300_000);
        assert_eq!(sample.made(), 1_998 + 40, "the catch-up is bounded");
    }

    #[test]
    fn there_is_something_of_everything() {
        let records = run(&mut sample(1));
        let decoded = |record: &Published| crate::domain::event::decode(&record.value);
        let garbage = records
            .iter()
            .filter(|record| decoded(record).is_err())
            .count();
        let terminal = |record: &&Published| {
            decoded(record).is_ok_and(|event| matches!(event.body, Body::Terminal(_)))
        };
        let misplaced = |record: &&Published| {
            decoded(record).is_ok_and(|event| Some(event.key.shard(4)) != record.partition)
        };
        assert!(garbage > 0);
        assert!(records.iter().filter(terminal).count() > 20);
        assert!(records.iter().filter(misplaced).count() > 100);
    }
}
