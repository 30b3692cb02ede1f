//! Sixty-four hostile answers at the same time, of every kind that is large, slow or broken: what the
//! worker's memory grows by at its peak.

use std::fs;

use crate::plain_http::send;
use crate::support::eventually;
use crate::{Desk, WITHIN, counted, questions};

/// As many as are in flight at once.
const ORDERS: usize = 64;

/// What each may cost.
const MORE_KIB: u64 = 10_000_000 / 1024;

/// The trick and how it is counted. The bank holds every answer back until all are asked.
const KINDS: [(&str, &str); 9] = [
    ("zip-bomb", "violation"),
    ("huge-body", "violation"),
    ("huge-header", "unreachable"),
    ("html", "violation"),
    ("other-number", "violation"),
    ("reset", "unreachable"),
    ("307", "configuration"),
    ("drip", "timed_out"),
    ("hang", "timed_out"),
];

/// A figure of `/proc/PID/status` in KiB.
fn status_kib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let figure = line.unwrap().trim_start_matches(':').trim();
    figure.trim_end_matches(" kB").parse().unwrap()
}

/// Lets the peak begin anew at what is resident now.
fn forget_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

/// Publishes the orders of a type and waits until `counted` has all of their answers.
async fn ask_all(desk: &Desk, order_type: &str, label: &str) {
    desk.publish((0..ORDERS).map(|n| (order_type.to_owned(), format!("TX{n}"))));
    eventually("all are answered", WITHIN, async || {
        let counted = counted(&desk.worker, order_type).await;
        (*counted.get(label)? >= ORDERS as u64).then_some(())
    })
    .await;
}

async fn behave(desk: &Desk, change: String) {
    let reply = send(desk.bank.at, "PATCH", "/behaviour", change.as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_hostile_answers_at_once_cost_ten_megabytes_at_most() {
    let warm = ["warm-1", "warm-2"];
    let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).chain(warm).collect();
    let bank = ["--in-progress", "1000", "--latency", "fixed 500ms"];
    let desk = Desk::open("memory", &bank, &[], |bank| {
        let types = names.iter().map(|name| {
            format!(
                "[order_types.{name}]\n\
                 query = {{ url = \"http://{}/\", timeout = \"1500ms\" }}\n\
                 schedule = {{ in_progress = [\"200ms x 1\", \"1h x 2\"], \
                 unknown = [\"1h x 2\"] }}\n\
                 ceiling = {{ questions_per_second = 10000, in_flight = {ORDERS}, callers_share = 0 }}\n",
                bank.at
            )
        });
        types.collect()
    });
    let Some(mut desk) = desk.await else {
        return;
    };
    let pid = desk.worker.process.pid();
    for name in warm {
        ask_all(&desk, name, "in_progress").await;
    }
    let at_rest = status_kib(pid, "VmRSS");
    for (trick, label) in KINDS {
        behave(
            &desk,
            format!("{{\"orders\":\"{trick}/\",\"tricks\":{{\"{trick}\":1}}}}"),
        )
        .await;
        forget_peak(pid);
        let before = status_kib(pid, "VmRSS");
        ask_all(&desk, trick, label).await;
        let more = status_kib(pid, "VmHWM").saturating_sub(before);
        // Those that could not be asked are asked again: in peace.
        behave(
            &desk,
            format!("{{\"orders\":\"{trick}/\",\"tricks\":{{}}}}"),
        )
        .await;
        let arrived: Vec<u64> = questions(&desk.bank)
            .await
            .into_iter()
            .filter(|question| question.order.starts_with(&format!("{trick}/")))
            .map(|question| question.arrived)
            .take(ORDERS)
            .collect();
        let apart = arrived[ORDERS - 1] - arrived[0];
        println!(
            "figure: hostile: {ORDERS} x {trick} within {apart} ms: {more} KiB more at the peak"
        );
        assert!(apart < 500, "{trick}: not at the same time: {apart} ms");
        assert!(more <= MORE_KIB, "{trick}: {more} KiB more");
    }
    let more = status_kib(pid, "VmRSS").saturating_sub(at_rest);
    let orders = KINDS.len() * ORDERS;
    println!(
        "figure: hostile: {more} KiB more after all of them, with {orders} more pending orders"
    );
    desk.worker.process.terminate(WITHIN).await;
}
