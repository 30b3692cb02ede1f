use super::world::{Outage, Scene, World};

/// 20 orders a second and a tenth more questions, under a ceiling of 40 at a bank that takes 100.
const ORDERS: u64 = 20;
const CEILING: f64 = 40.0;
const STEADY: f64 = 22.0;
const OUT_FROM: u64 = 60;

fn scene(outage: Outage, minutes: u64) -> Scene {
    let out_until = OUT_FROM + minutes * 60;
    let backlog = (minutes * 60 * ORDERS) as f64 * STEADY / ORDERS as f64;
    #[expect(clippy::cast_sign_loss, reason = "a number of seconds")]
    let drained = (backlog / (CEILING - STEADY) * 1.1) as u64;
    Scene {
        shards: 2,
        orders_per_second: ORDERS,
        per_second: CEILING,
        outage,
        out_from: OUT_FROM,
        out_until,
        grow_at: None,
        orders_until: out_until + drained,
        capacity: 100,
    }
}

/// A tenth of a second's worth.
const BLOCK: f64 = 4.0;

fn outage(scene: Scene) {
    let mut world = World::new(scene);
    // What is under way in steady state: a first delay of a second, and some second questions.
    let steady = 4 * ORDERS as usize;
    let mut drained_at = None;
    world.run(scene.orders_until + 300, |world| {
        let since = world.seconds();
        if since > scene.out_until && world.open <= steady && drained_at.is_none() {
            drained_at = Some(since);
        }
    });
    assert_eq!(world.exhausted, 0, "falsely exhausted");
    assert_eq!(world.open, 0, "every order is settled");
    let peak = world.peak();
    let promised = CEILING * 1.02 + BLOCK;
    assert!(peak as f64 <= promised, "{peak} questions in a second");
    let drained_at = drained_at.expect("the backlog is never drained");
    assert!(
        drained_at <= scene.orders_until,
        "{} s to drain, {} are promised",
        drained_at - scene.out_until,
        scene.orders_until - scene.out_until
    );
    // The breaker: one a second, whatever waits.
    let minute = world.asked_between(scene.out_until - 60, scene.out_until);
    assert!((50..=61).contains(&minute), "{minute} probes in a minute");
    assert!(
        world.claimed_in_outage <= 3 * 2,
        "{} orders were held claimed",
        world.claimed_in_outage
    );
    // Orders that came while the backlog was drained did not stand behind it.
    let (from, until) = (
        (scene.out_until + 40) * 1000,
        (drained_at.saturating_sub(10)) * 1000,
    );
    let waits: Vec<_> = world
        .fates
        .values()
        .filter(|fate| (from..until).contains(&fate.entered))
        .filter_map(|fate| Some(fate.first_asked? - fate.entered))
        .collect();
    let soon = waits.iter().filter(|wait| **wait < 5_000).count();
    assert!(
        soon * 10 >= waits.len() * 8,
        "only {soon} of {} new orders were asked about within 5 s",
        waits.len()
    );
}

#[test]
fn ten_minutes_of_a_refusing_bank_exhaust_nothing_and_are_drained_under_the_ceiling() {
    outage(scene(Outage::Refuses, 10));
}

#[test]
fn ten_minutes_of_a_silent_bank_exhaust_nothing_and_are_drained_under_the_ceiling() {
    outage(scene(Outage::Hangs, 10));
}

#[test]
fn twenty_five_minutes_of_a_refusing_bank_exhaust_nothing_and_are_drained_under_the_ceiling() {
    outage(scene(Outage::Refuses, 25));
}

#[test]
fn twenty_five_minutes_of_a_silent_bank_exhaust_nothing_and_are_drained_under_the_ceiling() {
    outage(scene(Outage::Hangs, 25));
}

#[test]
fn two_workers_more_in_the_middle_of_an_outage_ask_no_more_than_one() {
    let mut scene = scene(Outage::Refuses, 10);
    scene.shards = 3;
    scene.grow_at = Some(OUT_FROM + 300);
    outage(scene);
}
