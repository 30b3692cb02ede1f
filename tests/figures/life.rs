//! The life of DESIGN section 9: an order enters, is asked twice, its result is stored. All orders
//! enter at once, so that the workers are what it waits for.

use std::sync::Arc;
use std::time::Duration;

use crate::checker::size;
use crate::load::{Publisher, said};
use crate::redis_cost::{self, used_memory};
use crate::seen::{events, results};
use crate::stage::Stage;

const WITHIN: Duration = Duration::from_mins(10);

pub async fn take(name: &'static str) {
    let orders = size("SETTLED_FIGURES_ORDERS", 100_000);
    let warm = orders / 5;
    let bank = ["--in-progress", "1", "--counters-only"];
    let stage = Stage::with_a_worker(name, &bank, &[("transfer", "100ms x 100")]).await;
    let publisher = Arc::new(Publisher::of(&stage.site));
    let records = |numbers: std::ops::Range<usize>| {
        let all = numbers.map(|number| said("transfer", number as u64, "3", None));
        all.collect::<Vec<_>>()
    };
    publisher.published(records(0..warm)).await;
    stage.settled(warm, WITHIN).await;

    let mut redis = stage.site.redis();
    let before = used_memory(&mut redis);
    let measured = records(warm..warm + orders);
    redis_cost::reset(&mut redis);
    let meter = stage.meter();
    publisher.published(measured).await;
    stage.settled(warm + orders, WITHIN).await;
    let cost = meter.cost(orders);
    let longest = redis_cost::tell(&mut redis);
    let page = stage.page().await;

    let measured = |order: u64| order >= warm as u64;
    let entered = events(&stage.site);
    let entered = entered.iter().filter(|event| measured(event.order));
    let first = entered.map(|event| event.at).min().unwrap();
    let ended = results(&stage.site, warm + orders);
    let ended = ended.iter().filter(|result| measured(result.order));
    let last = ended.map(|result| result.at).max().unwrap();
    let seconds = (last - first) as f64 / 1e3;
    println!(
        "figure: {name}: {orders} orders, {warm} before to warm up: {:.0} orders/s from the first \
         event to the last result, {seconds:.2} s",
        orders as f64 / seconds
    );
    println!("figure: {name}: {cost}");
    println!("figure: {name}: Redis: {longest}");
    println!(
        "figure: {name}: {:.1} bytes of Redis for each settled order; {:.0} commits",
        (used_memory(&mut redis) as f64 - before as f64) / orders as f64,
        page.sum("settled_commit_duration_seconds_count"),
    );
    stage.close().await;
}
