//! Many orders that fall due within one second, far more than their owner may be asked: how long
//! until all were asked, and how evenly.

use std::sync::Arc;
use std::time::Duration;

use crate::checker::size;
use crate::load::{Publisher, now, said};
use crate::pace::{busiest_second, busiest_slot, promised};
use crate::redis_cost;
use crate::seen::results;
use crate::stage::Stage;

/// Questions a second.
const CEILING: u64 = 5_000;
const WITHIN: Duration = Duration::from_mins(5);

pub async fn take(name: &'static str) {
    let orders = size("SETTLED_FIGURES_ORDERS", 100_000) as u64;
    let warm = orders / 5;
    let types = [("transfer", "1s x 100")];
    let mut stage = Stage::under(name, CEILING, &["--in-progress", "0"], &types).await;
    stage.grow(1).await;
    let publisher = Arc::new(Publisher::of(&stage.site));
    let due_within_a_second = |numbers: std::ops::Range<u64>, at: u64| {
        let (start, count) = (numbers.start, numbers.end - numbers.start);
        let all = numbers.map(|number| {
            let due = at + (number - start) * 1_000 / count;
            said("transfer", number, "3", Some(due))
        });
        all.collect::<Vec<_>>()
    };
    let records = due_within_a_second(0..warm, now() + 5_000);
    publisher.published(records).await;
    stage.settled(warm as usize, WITHIN).await;

    // Time to fold them, with room.
    let at = now() + 10_000 + orders / 5;
    publisher
        .published(due_within_a_second(warm..warm + orders, at))
        .await;
    stage.added((warm + orders) as usize, WITHIN).await;
    let left = at.saturating_sub(now());
    assert!(left > 1_000, "folded only {left} ms before they are due");
    tokio::time::sleep(Duration::from_millis(left - 500)).await;
    let mut redis = stage.site.redis();
    redis_cost::reset(&mut redis);
    let meter = stage.meter();
    let all = (warm + orders) as usize;
    stage.settled(all, WITHIN).await;
    let cost = meter.cost(orders as usize);
    let longest = redis_cost::tell(&mut redis);

    let questions = stage.questions().await;
    results(&stage.site, all);
    let measured = questions.iter().filter(|question| question.order >= warm);
    let mut arrived: Vec<u64> = measured.map(|question| question.arrived).collect();
    arrived.sort_unstable();
    let since = |moment: u64| (moment as f64 - at as f64) / 1e3;
    let (slot, mean) = busiest_slot(&arrived);
    let busiest = busiest_second(&arrived);
    println!(
        "figure: {name}: {orders} orders due within a second, ceiling {CEILING}/s: first asked after \
         {:.3} s, all {} questions after {:.2} s ({:.2} s by the ceiling)",
        since(arrived[0]),
        arrived.len(),
        since(arrived[arrived.len() - 1]),
        orders as f64 / CEILING as f64,
    );
    println!(
        "figure: {name}: busiest second {} questions of {} promised (beside it {} ms without \
         one); busiest 100 ms {slot}, {:.2} times the mean of {mean:.0}",
        busiest.count,
        promised(CEILING),
        busiest.gap_ms,
        slot as f64 / mean,
    );
    println!("figure: {name}: {cost}");
    println!("figure: {name}: Redis: {longest}");
    assert!(busiest.count <= promised(CEILING), "{busiest:?}");
    stage.close().await;
}
