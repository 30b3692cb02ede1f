//! What business systems publish in a run, and how it is asked about: orders of four kinds, outcomes that come early, late or
//! alone, repetitions, some records in a foreign partition. All drawn from the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::checker::logs::shard_of;
use crate::checker::{event, key};
use crate::random::Random;
use crate::support::topics::{Raw, produce};
use crate::verdict::Pace;

/// What is due in so many milliseconds is published together.
const STEP_MS: u64 = 100;
/// The numbers of orders below are those of so long.
const SPREAD_MS: u64 = 6_000;

/// A number of orders, asked until the bank ends them.
const TRANSFERS: u64 = 220;
/// Orders whose schedule ends before the bank ends them.
const BRIEF: u64 = 30;
/// Orders of which callers hear before their schedule asks often enough.
const PATIENT: u64 = 40;
/// Orders of which only the outcome is published.
const OUTCOMES: u64 = 10;

/// The bank says «in progress» so often; the next answer is terminal.
pub const IN_PROGRESS: &str = "2";

/// An order type of which nothing is published here: a test that does knows them all. The bank ends none
/// of them before their schedule ends.
pub const SPENT: &str = "spent";

/// The order types, for the configuration.
pub fn order_types(bank: SocketAddr) -> String {
    let of = |name: &str, ladder: &str| {
        format!(
            r#"
[order_types.{name}]
query = {{ url = "http://{bank}/", timeout = "1s" }}
schedule = {{ in_progress = ["{ladder}"] }}
ceiling = {{ questions_per_second = 2000, in_flight = 256 }}
"#
        )
    };
    [
        of("transfer", "700ms x 200"),
        of("brief", "700ms x 2"),
        of("patient", "3s x 50"),
        of(SPENT, "700ms x 2"),
    ]
    .concat()
}

/// As [`order_types`] has it.
pub fn paces() -> BTreeMap<&'static str, Pace> {
    let pace = |delay_ms, ended_by| Pace { delay_ms, ended_by };
    [
        ("transfer", pace(700, 3)),
        ("brief", pace(700, 2)),
        ("patient", pace(3_000, 3)),
        (SPENT, pace(700, 2)),
    ]
    .into()
}

/// One event to come.
struct Event {
    at_ms: u64,
    order_type: &'static str,
    req_no: String,
    status: &'static str,
    partition: Option<i32>,
}

/// All events of a run.
pub struct Traffic {
    events: Vec<Event>,
    shards: i32,
}

impl Traffic {
    /// Events of so long, about fifty orders a second.
    pub fn draw(seed: u64, shards: i32, spread: Duration) -> Self {
        let mut draws = Random::new(seed ^ 0x7261_6666_6963);
        let spread_ms = spread.as_millis() as u64;
        let mut events = Vec::new();
        let kinds = [
            ("transfer", TRANSFERS),
            ("brief", BRIEF),
            ("patient", PATIENT),
            ("outcome", OUTCOMES),
        ];
        for (kind, count) in kinds {
            for n in 0..count * spread_ms / SPREAD_MS {
                let at_ms = draws.below(spread_ms);
                let foreign = draws.once_in(10);
                let partition =
                    foreign.then(|| draws.below(u64::from(shards.unsigned_abs())) as i32);
                let order_type = if kind == "outcome" { "transfer" } else { kind };
                let of = |at_ms, status| Event {
                    at_ms,
                    order_type,
                    req_no: format!("{kind}{n:04}"),
                    status,
                    partition,
                };
                let outcome = draws.pick(&["1", "2"]);
                if kind == "outcome" {
                    events.push(of(at_ms, outcome));
                    continue;
                }
                events.push(of(at_ms, "3"));
                if kind == "transfer" && draws.once_in(5) {
                    // It may come before the first question, or contradict what was published.
                    events.push(of(at_ms + draws.below(4_000), outcome));
                }
                if draws.once_in(8) {
                    events.push(of(at_ms + draws.below(4_000), "3"));
                }
            }
        }
        events.sort_by_key(|event| event.at_ms);
        Self { events, shards }
    }

    /// The orders, `<type>/<reqNO>`.
    pub fn orders(&self) -> BTreeSet<String> {
        let name = |event: &Event| format!("{}/{}", event.order_type, event.req_no);
        self.events.iter().map(name).collect()
    }

    /// When each patient order is published, in milliseconds after the beginning.
    pub fn patient(&self) -> Vec<(String, u64)> {
        let mut seen = BTreeSet::new();
        let patient = self
            .events
            .iter()
            .filter(|event| event.order_type == "patient");
        patient
            .filter(|event| seen.insert(&event.req_no))
            .map(|event| (event.req_no.clone(), event.at_ms))
            .collect()
    }

    /// Publishes them at their times, and returns when all are acknowledged.
    pub fn publish(&self, bootstrap: &str, topic: &str) {
        let began = Instant::now();
        let mut rest = self.events.iter().peekable();
        while let Some(first) = rest.peek() {
            let step_ms = (first.at_ms / STEP_MS + 1) * STEP_MS;
            let left = Duration::from_millis(step_ms).saturating_sub(began.elapsed());
            std::thread::sleep(left);
            let due = std::iter::from_fn(|| rest.next_if(|event| event.at_ms < step_ms));
            let records: Vec<Raw> = due.map(|event| self.record(event)).collect();
            produce(bootstrap, topic, records);
        }
    }

    fn record(&self, event_: &Event) -> Raw {
        let event = event(event_.order_type, &event_.req_no, event_.status);
        let own = shard_of(&key(&event), self.shards);
        Raw::to(event_.partition.unwrap_or(own), event.to_string())
    }
}
