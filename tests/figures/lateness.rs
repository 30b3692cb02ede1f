//! A steady stream of orders that are asked twice: how late a question comes. The first is due when
//! its event says so (`askAt`), so that the bank's log alone tells how late it came; of the second it
//! tells an upper bound, the time from the first answer on counted from the first question.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::checker::size;
use crate::load::{Publisher, Stream, key, now, shard};
use crate::redis_cost;
use crate::seen::{quantile, results};
use crate::stage::{Question, SHARDS, Stage};

/// Events are published so long before their order is due.
pub const LEAD: Duration = Duration::from_secs(3);
/// From the first answer to the second question.
const AGAIN_MS: i64 = 1_000;

/// `due_per_second`: questions, half of them first ones. One of `hangs` questions never gets an answer.
pub async fn take(name: &'static str, due_per_second: u64, hangs: u32) {
    let seconds = size("SETTLED_FIGURES_SECONDS", 30) as u64;
    let warm = size("SETTLED_FIGURES_WARM_SECONDS", 10) as u64;
    let share = if hangs == 0 {
        0.0
    } else {
        1.0 / f64::from(hangs)
    };
    let share = share.to_string();
    let bank = ["--in-progress", "1", "--hangs", &share];
    let stage = Stage::with_a_worker(name, &bank, &[("transfer", "1s x 100")]).await;
    let publisher = Publisher::of(&stage.site);
    let per_second = due_per_second / 2;
    let orders = per_second * (warm + seconds);
    let first_due = now() + LEAD.as_millis() as u64 + 500;
    let stream = Stream {
        order_type: "transfer",
        orders: 0..orders,
        per_second,
        first_due: Some((first_due, LEAD)),
    };
    let running = stream.clone();
    let never = Arc::new(AtomicU64::new(0));
    let publishing = tokio::task::spawn_blocking(move || {
        running.run(&publisher, &AtomicU64::new(0), &never);
    });
    let warm_until = first_due + 1_000 * warm;
    tokio::time::sleep(Duration::from_millis(warm_until.saturating_sub(now()))).await;
    let before = stage.page().await;
    let mut redis = stage.site.redis();
    redis_cost::reset(&mut redis);
    let meter = stage.meter();
    publishing.await.unwrap();
    let until = first_due + 1_000 * (warm + seconds);
    tokio::time::sleep(Duration::from_millis(until.saturating_sub(now()))).await;
    let after = stage.page().await;
    let cost = meter.cost((due_per_second * seconds) as usize);
    let longest = redis_cost::tell(&mut redis);
    stage.settled(orders as usize, Duration::from_mins(5)).await;
    results(&stage.site, orders as usize);

    let ([p50, p99, most], asked) =
        after.quantiles_since(&before, "settled_lateness_seconds", "transfer");
    println!(
        "figure: {name}: its own metric: {asked:.0} questions, late p50 <= {p50} ms, p99 <= {p99} \
         ms, all <= {most} ms"
    );
    let mut late = Late::of(&stage.questions().await, &stream, warm_until..until);
    println!(
        "figure: {name}: by the bank, first questions: {}",
        tell(&mut late.first)
    );
    println!(
        "figure: {name}: by the bank, p50 of first questions by shard: {}",
        late.by_shard()
    );
    println!(
        "figure: {name}: by the bank, second ones, a whole question included: {}",
        tell(&mut late.second)
    );
    println!("figure: {name}: {cost}");
    println!("figure: {name}: Redis: {longest}");
    stage.close().await;
}

/// Milliseconds from due to arrival.
#[derive(Default)]
pub struct Late {
    pub first: Vec<i64>,
    pub second: Vec<i64>,
    /// The first, by shard: a shard whose clock is slow is late each time.
    by_shard: Vec<Vec<i64>>,
}

impl Late {
    /// Of the stream's orders that were due first at a time in `due`. A second question counts where
    /// the first got its answer: what is asked again because nobody answered is not due at a time
    /// that can be told from outside.
    pub fn of(questions: &[Question], stream: &Stream, due: Range<u64>) -> Self {
        let mut orders: BTreeMap<u64, Vec<&Question>> = BTreeMap::new();
        let own = questions
            .iter()
            .filter(|question| stream.orders.contains(&question.order));
        for question in own {
            orders.entry(question.order).or_default().push(question);
        }
        let mut late = Self {
            by_shard: vec![Vec::new(); SHARDS as usize],
            ..Self::default()
        };
        for (order, asked) in orders {
            let first_due = stream.due(order);
            if !due.contains(&first_due) {
                continue;
            }
            let arrived = asked[0].arrived.cast_signed();
            let first = arrived - first_due.cast_signed();
            late.first.push(first);
            late.by_shard[shard(&key(stream.order_type, order))].push(first);
            if let Some(second) = asked.get(1).filter(|_| !asked[0].hangs) {
                let second = second.arrived.cast_signed();
                late.second.push(second - arrived - AGAIN_MS);
            }
        }
        late
    }

    fn by_shard(&mut self) -> String {
        let median = |late: &mut Vec<i64>| {
            late.sort_unstable();
            quantile(late, 0.5)
        };
        let medians: Vec<i64> = self.by_shard.iter_mut().map(median).collect();
        format!("{medians:?} ms")
    }
}

/// Two clocks of milliseconds are compared, so a question may seem to come one of them early.
pub fn tell(late: &mut [i64]) -> String {
    late.sort_unstable();
    let early = late.iter().filter(|late| **late < -1).count();
    format!(
        "{} late p50 {} ms, p99 {} ms, p99.9 {} ms, at most {} ms, at least {} ms; {early} early",
        late.len(),
        quantile(late, 0.5),
        quantile(late, 0.99),
        quantile(late, 0.999),
        late[late.len() - 1],
        late[0],
    )
}
