//! Two order types at the same rate, and the owner of one goes silent: how late the questions of the
//! other come before, meanwhile and after.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::checker::size;
use crate::lateness::{LEAD, Late, tell};
use crate::load::{Publisher, Stream, now};
use crate::page::Page;
use crate::seen::{quantile, results};
use crate::stage::{Question, Stage};

/// Questions that fall due a second, of each type; half of them are first ones.
const DUE_PER_SECOND: u64 = 500;
const FAMILY: &str = "settled_lateness_seconds";
/// The orders of the type whose owner goes silent; those of its neighbour begin at 0.
const SILENT_FROM: u64 = 1_000_000_000;

/// A phase begins: when, and what the worker's own metrics were.
struct Moment {
    at: u64,
    page: Page,
}

pub async fn take(name: &'static str) {
    let warm = size("SETTLED_FIGURES_WARM_SECONDS", 10) as u64;
    let before = size("SETTLED_FIGURES_SECONDS", 30) as u64;
    let hanging = size("SETTLED_FIGURES_OUTAGE_SECONDS", 60) as u64;
    let types = [("a", "1s x 100"), ("b", "1s x 100")];
    let stage = Stage::with_a_worker(name, &["--in-progress", "1"], &types).await;
    let per_second = DUE_PER_SECOND / 2;
    let orders = per_second * (warm + 2 * before + hanging);
    let first_due = now() + LEAD.as_millis() as u64 + 500;
    let stream = |order_type, from| Stream {
        order_type,
        orders: from..from + orders,
        per_second,
        first_due: Some((first_due, LEAD)),
    };
    let streams = [stream("a", SILENT_FROM), stream("b", 0)];
    let publishing = streams.clone().map(|stream| {
        let publisher = Publisher::of(&stage.site);
        let never = Arc::new(AtomicU64::new(0));
        tokio::task::spawn_blocking(move || stream.run(&publisher, &AtomicU64::new(0), &never))
    });
    let from = first_due + 1_000 * warm;
    let mut moments = vec![moment(&stage, from).await];
    let out_from = from + 1_000 * before;
    moments.push(moment(&stage, out_from).await);
    let change = format!(r#"{{"orders":"a/","for":"{hanging}s","tricks":{{"hang":1}}}}"#);
    stage.bank_is(&change).await;
    let meter = stage.meter();
    let out_until = out_from + 1_000 * hanging;
    moments.push(moment(&stage, out_until).await);
    let cost = meter.cost((DUE_PER_SECOND * hanging) as usize);
    moments.push(moment(&stage, out_until + 1_000 * before).await);
    for publishing in publishing {
        publishing.await.unwrap();
    }
    let all = 2 * orders as usize;
    stage.settled(all, Duration::from_mins(5)).await;
    results(&stage.site, all);

    let questions = stage.questions().await;
    let unanswered = questions.iter().filter(|question| question.hangs).count();
    println!(
        "figure: {name}: types a and b at {DUE_PER_SECOND} due/s each, the owner of a silent for \
         {hanging} s: {all} orders, one result each; {unanswered} questions in vain"
    );
    let phases = ["before", "while it is silent", "after"];
    let mut p99 = Vec::new();
    for (phase, pair) in phases.iter().zip(moments.windows(2)) {
        let (late, of_metric) = late(&questions, &streams[1], pair);
        println!("figure: {name}: b {phase}: {}", late.0);
        println!("figure: {name}: b {phase}, by its own metric: p99 <= {of_metric} ms");
        p99.push((late.1 as f64, of_metric));
    }
    let grew = |before: f64, meanwhile: f64| {
        let (growth, allowed) = (meanwhile - before, (before * 0.1).max(2.0));
        let verdict = if growth > allowed {
            "MORE than"
        } else {
            "within"
        };
        format!("{growth:+.1} ms, {verdict} the {allowed:.1} ms promised")
    };
    println!(
        "figure: {name}: p99 of b while a's owner is silent: by the bank {}; by its own metric {}",
        grew(p99[0].0, p99[1].0),
        grew(p99[0].1, p99[1].1)
    );
    println!("figure: {name}: while a's owner is silent, for each question of b: {cost}");
    stage.close().await;
}

async fn moment(stage: &Stage, at: u64) -> Moment {
    tokio::time::sleep(Duration::from_millis(at.saturating_sub(now()))).await;
    Moment {
        at,
        page: stage.page().await,
    }
}

/// Between two moments: what is told of first questions, their p99, and the p99 by the metric.
fn late(questions: &[Question], stream: &Stream, between: &[Moment]) -> ((String, i64), f64) {
    let mut late = Late::of(questions, stream, between[0].at..between[1].at);
    let told = tell(&mut late.first);
    let ([_, of_metric, _], _) =
        between[1]
            .page
            .quantiles_since(&between[0].page, FAMILY, stream.order_type);
    ((told, quantile(&late.first, 0.99)), of_metric)
}
