//! Many orders that are due at one instant, as after «ask at 14:00»: how long until the last is asked.

use std::sync::Arc;
use std::time::Duration;

use crate::checker::size;
use crate::load::{Publisher, now, said};
use crate::redis_cost;
use crate::seen::{quantile, results};
use crate::stage::Stage;

const WITHIN: Duration = Duration::from_mins(5);

pub async fn take(name: &'static str) {
    let orders = size("SETTLED_FIGURES_ORDERS", 100_000);
    let warm = orders / 5;
    let stage =
        Stage::with_a_worker(name, &["--in-progress", "0"], &[("transfer", "1s x 100")]).await;
    let publisher = Arc::new(Publisher::of(&stage.site));
    let records = |numbers: std::ops::Range<usize>, at: u64| {
        let all = numbers.map(|number| said("transfer", number as u64, "3", Some(at)));
        all.collect::<Vec<_>>()
    };
    let at = now() + 5_000;
    publisher.published(records(0..warm, at)).await;
    stage.settled(warm, WITHIN).await;

    // Time to fold them, with room.
    let at = now() + 10_000 + orders as u64 / 5;
    publisher.published(records(warm..warm + orders, at)).await;
    stage.added(warm + orders, WITHIN).await;
    let left = at.saturating_sub(now());
    assert!(left > 1_000, "folded only {left} ms before they are due");
    tokio::time::sleep(Duration::from_millis(left - 500)).await;
    let mut redis = stage.site.redis();
    redis_cost::reset(&mut redis);
    let meter = stage.meter();
    stage.settled(warm + orders, WITHIN).await;
    let cost = meter.cost(orders);
    let longest = redis_cost::tell(&mut redis);

    let questions = stage.questions().await;
    let measured = questions
        .iter()
        .filter(|question| question.order >= warm as u64);
    let mut arrived: Vec<u64> = measured.map(|question| question.arrived).collect();
    arrived.sort_unstable();
    let since = |moment: u64| (moment as f64 - at as f64) / 1e3;
    let ended = results(&stage.site, warm + orders);
    let ended = ended.iter().map(|result| result.at).max().unwrap();
    println!(
        "figure: {name}: {orders} orders due at one instant, {warm} before to warm up: first asked \
         after {:.3} s, half after {:.2} s, all {} questions after {:.2} s; last result after {:.2} s",
        since(arrived[0]),
        since(quantile(&arrived, 0.5)),
        arrived.len(),
        since(arrived[arrived.len() - 1]),
        since(ended),
    );
    println!("figure: {name}: {cost}");
    println!("figure: {name}: Redis: {longest}");
    stage.close().await;
}
