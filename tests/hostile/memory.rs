//! Sixty-four hostile answers at the same time, of every kind that is large, slow or broken: what the
//! worker's memory grows by at its peak, and what stays of a second round over the same kinds. The
//! first one fills buffers and connection pools that are kept; what the second one adds would be lost.

use std::fs;
use std::time::Duration;

use crate::plain_http::send;
use crate::support::eventually;
use crate::{Desk, WITHIN, counted, questions};

/// As many as are in flight at once.
const ORDERS: usize = 64;

/// The bank holds each answer back for so long: they are under way together.
const HELD_MS: u64 = 1_000;

/// What each may cost.
const MORE_KIB: u64 = 10_000_000 / 1024;

/// What a second round over all kinds may add for good.
const LEFT_KIB: u64 = 2_000_000 / 1024;

/// An owner that could not be asked is asked again after 64 s at most, through a breaker that closes.
const BACK_OFF: Duration = Duration::from_mins(4);

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

/// How often a type's answers have been counted under this label.
async fn so_far(desk: &Desk, order_type: &str, label: &str) -> u64 {
    let counted = counted(&desk.worker, order_type).await;
    counted.get(label).copied().unwrap_or(0)
}

async fn wait_for(desk: &Desk, (order_type, label): (&str, &str), count: u64, within: Duration) {
    eventually("all are answered", within, async || {
        (so_far(desk, order_type, label).await >= count).then_some(())
    })
    .await;
}

/// Publishes orders of a type and waits until `label` has all of their answers.
async fn ask_all(desk: &Desk, order_type: &str, label: &str, round: u64) {
    let before = so_far(desk, order_type, label).await;
    let orders = (0..ORDERS).map(|n| (order_type.to_owned(), format!("TX{round}-{n}")));
    desk.publish(orders);
    let all = before + ORDERS as u64;
    wait_for(desk, (order_type, label), all, WITHIN).await;
}

async fn behave(desk: &Desk, change: String) {
    let reply = send(desk.bank.at, "PATCH", "/behaviour", change.as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_hostile_answers_at_once_cost_ten_megabytes_at_most() {
    let warm = ["warm-1", "warm-2"];
    let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).chain(warm).collect();
    let held = format!("fixed {HELD_MS}ms");
    let bank = ["--in-progress", "1000", "--latency", &held];
    let desk = Desk::open("memory", &bank, &[], |bank| {
        let types = names.iter().map(|name| {
            format!(
                "[order_types.{name}]\n\
                 query = {{ url = \"http://{}/\", timeout = \"3s\" }}\n\
                 schedule = {{ in_progress = [\"200ms x 1\", \"1h x 2\"], \
                 unknown = [\"1h x 2\"] }}\n\
                 ceiling = {{ questions_per_second = 10000, in_flight = {ORDERS}, callers_share = 0, \
                 refusals_in_a_row = 10000 }}\n",
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
        ask_all(&desk, name, "in_progress", 0).await;
    }
    let at_rest = status_kib(pid, "VmRSS");
    let mut resident = vec![at_rest];
    for round in 1..=2 {
        for (trick, label) in KINDS {
            once(&desk, trick, label, round).await;
        }
        // Those that could not be asked are asked again: then nothing is due any more for an hour.
        let again = KINDS.into_iter().filter(|(_, label)| *label != "violation");
        for (trick, _) in again {
            let all = round * ORDERS as u64;
            wait_for(&desk, (trick, "in_progress"), all, BACK_OFF).await;
        }
        resident.push(status_kib(pid, "VmRSS"));
    }
    let added = |round: usize| resident[round].saturating_sub(resident[round - 1]);
    println!(
        "figure: hostile: {} KiB more after a first round over all of them, {} KiB more after a second, \
         each with {} more pending orders",
        added(1),
        added(2),
        KINDS.len() * ORDERS
    );
    assert!(added(2) <= LEFT_KIB, "{resident:?} KiB: something is lost");
    desk.worker.process.terminate(WITHIN).await;
}

/// All orders of a kind at once, then peace.
async fn once(desk: &Desk, trick: &str, label: &str, round: u64) {
    let pid = desk.worker.process.pid();
    let behaviour = |tricks: &str| format!("{{\"orders\":\"{trick}/\",\"tricks\":{{{tricks}}}}}");
    behave(desk, behaviour(&format!("\"{trick}\":1"))).await;
    forget_peak(pid);
    let before = status_kib(pid, "VmRSS");
    ask_all(desk, trick, label, round).await;
    let more = status_kib(pid, "VmHWM").saturating_sub(before);
    behave(desk, behaviour("")).await;
    let prefix = format!("{trick}/TX{round}-");
    let arrived: Vec<u64> = questions(&desk.bank)
        .await
        .into_iter()
        .filter(|question| question.order.starts_with(&prefix))
        .map(|question| question.arrived)
        .take(ORDERS)
        .collect();
    let apart = arrived[ORDERS - 1] - arrived[0];
    println!(
        "figure: hostile: round {round}: {ORDERS} x {trick} within {apart} ms: {more} KiB more at the peak"
    );
    assert!(apart < HELD_MS, "{trick}: not at the same time: {apart} ms");
    assert!(more <= MORE_KIB, "{trick}: {more} KiB more");
}
