use super::label::{Asked, CallerOutcome};
use super::*;

fn name(text: &str) -> TypeName {
    TypeName::new(text).unwrap()
}

fn metrics() -> Arc<Metrics> {
    Metrics::new(Clock::start(), &[name("transfer"), name("refund")]).unwrap()
}

/// The value of one series on the page.
fn value(page: &str, series: &str) -> Option<f64> {
    page.lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
        .map(|number| number.parse().unwrap())
}

fn view(types: &[(&str, TypeGauges)]) -> ViewGauges {
    ViewGauges {
        unaccounted: types.len() as u64,
        types: types.iter().map(|(n, g)| (name(n), *g)).collect(),
    }
}

#[test]
fn a_fresh_page_shows_every_family_with_its_unit_and_prefix() {
    let metrics = metrics();
    let shard = metrics.shard(0);
    for log in Log::ALL {
        shard.set_headroom(*log, Duration::from_mins(1));
    }
    let page = metrics.page().unwrap();
    let families: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    assert_eq!(families.len(), 32, "{families:#?}");
    for family in families {
        let (family, kind) = family.split_once(' ').unwrap();
        assert!(family.starts_with("settled_"), "{family}");
        assert_eq!(kind == "counter", family.ends_with("_total"), "{family}");
        assert!(
            kind != "histogram" || family.ends_with("_seconds"),
            "{family}"
        );
    }
}

#[test]
fn a_pause_shows_for_configured_types_alone() {
    let metrics = metrics();
    metrics.type_paused(&name("transfer"), true);
    metrics.type_paused(&name("nobodys"), true);
    let page = metrics.page().unwrap();
    assert!(page.contains("settled_type_paused{type=\"transfer\"} 1\n"));
    assert!(page.contains("settled_type_paused{type=\"other\"} 0\n"));
    metrics.type_paused(&name("transfer"), false);
    let page = metrics.page().unwrap();
    assert!(page.contains("settled_type_paused{type=\"transfer\"} 0\n"));
}

#[test]
fn shards_are_summed_and_the_oldest_counts() {
    let metrics = metrics();
    let (one, two) = (metrics.shard(1), metrics.shard(2));
    one.set_view(view(&[(
        "transfer",
        TypeGauges {
            pending: 3,
            oldest_first_seen: Some(40_000),
            exhausted: 1,
            overdue_since: Some(99_500),
        },
    )]));
    two.set_view(view(&[(
        "transfer",
        TypeGauges {
            pending: 4,
            oldest_first_seen: Some(10_000),
            exhausted: 0,
            overdue_since: None,
        },
    )]));
    one.set_lag(Log::Events, 5);
    two.set_lag(Log::Events, 6);
    one.set_headroom(Log::Results, Duration::from_secs(100));
    two.set_headroom(Log::Results, Duration::from_secs(50));
    one.set_phase(Phase::Open);
    one.tick(1_000);
    two.stall(StallReason::OutOfRange);
    two.set_paused(PauseReason::GateFull, true);
    metrics.gather_shards(100_000, 3_500);
    let page = TextEncoder::new()
        .encode_to_string(&metrics.registry.gather())
        .unwrap();
    for (series, expected) in [
        ("settled_pending_orders{type=\"transfer\"}", 7.0),
        ("settled_pending_orders{type=\"refund\"}", 0.0),
        (
            "settled_oldest_pending_age_seconds{type=\"transfer\"}",
            90.0,
        ),
        ("settled_oldest_overdue_age_seconds{type=\"transfer\"}", 0.5),
        ("settled_exhausted_orders{type=\"transfer\"}", 1.0),
        ("settled_view_lag_records{log=\"events\"}", 11.0),
        ("settled_unaccounted_orders", 2.0),
        ("settled_retention_headroom_seconds{log=\"results\"}", 50.0),
        ("settled_shards_owned", 2.0),
        ("settled_shards{phase=\"open\"}", 1.0),
        ("settled_tick_age_seconds", 2.5),
        ("settled_stalled_shards{reason=\"out_of_range\"}", 1.0),
        ("settled_intake_paused{reason=\"gate_full\"}", 1.0),
    ] {
        assert_eq!(value(&page, series), Some(expected), "{series}");
    }
    assert_eq!(
        value(&page, "settled_retention_headroom_seconds{log=\"events\"}"),
        None,
        "an unknown headroom must not read as none left"
    );
}

#[test]
fn a_revoked_shard_leaves_the_page_and_an_old_generation_does_not_take_the_new_one_along() {
    let metrics = metrics();
    let pending = |count| {
        view(&[(
            "transfer",
            TypeGauges {
                pending: count,
                ..TypeGauges::default()
            },
        )])
    };
    let old = metrics.shard(7);
    old.set_view(pending(3));
    old.set_headroom(Log::Events, Duration::from_secs(1));
    let new = metrics.shard(7);
    new.set_view(pending(5));
    drop(old);
    let series = "settled_pending_orders{type=\"transfer\"}";
    assert_eq!(value(&metrics.page().unwrap(), series), Some(5.0));
    drop(new);
    let page = metrics.page().unwrap();
    assert_eq!(value(&page, series), Some(0.0));
    assert_eq!(value(&page, "settled_shards_owned"), Some(0.0));
    assert!(!page.contains("settled_retention_headroom_seconds{"));
}

#[test]
fn random_types_share_one_label() {
    let metrics = metrics();
    let lines = |metrics: &Metrics| metrics.page().unwrap().lines().count();
    let shard = metrics.shard(0);
    let before = lines(&metrics);
    let mut types = Vec::new();
    for n in 0..1_000 {
        let unknown = name(&format!("type-{n}"));
        metrics
            .order_type(&unknown)
            .question(Asked::InProgress, Some(Duration::from_millis(3)));
        types.push((
            unknown,
            TypeGauges {
                pending: 2,
                ..TypeGauges::default()
            },
        ));
    }
    shard.set_view(ViewGauges {
        types,
        unaccounted: 2,
    });
    let page = metrics.page().unwrap();
    assert_eq!(lines(&metrics), before);
    assert_eq!(
        value(
            &page,
            "settled_questions_total{answer=\"in_progress\",type=\"other\"}"
        ),
        Some(1_000.0)
    );
    assert_eq!(
        value(&page, "settled_pending_orders{type=\"other\"}"),
        Some(2_000.0)
    );
}

#[test]
fn each_observation_reaches_its_series() {
    let metrics = metrics();
    let transfer = metrics.order_type(&name("transfer"));
    transfer.question(Asked::NotStarted, None);
    transfer.question(Asked::Unknown, Some(Duration::ZERO));
    transfer.lateness(Duration::from_micros(400));
    transfer.lateness(Duration::from_millis(20));
    transfer.caller(CallerOutcome::Shared, Duration::from_millis(3));
    transfer.caller(CallerOutcome::Left, Duration::from_millis(3));
    transfer.flights(2);
    transfer.flights(-1);
    metrics.event(EventOutcome::Forwarded);
    metrics.dead_letter(Reason::TypeLimit);
    metrics.result(ResultKind::SettledFailure);
    metrics.result(ResultKind::ExhaustedUnknown);
    metrics.commit(Duration::from_millis(18));
    metrics.recovery_began(RecoveryCause::Mismatch);
    metrics.recovered(Duration::from_secs(1));
    metrics.swept(2);
    metrics.alarm(Alarm::Conflict);
    let page = metrics.page().unwrap();
    for series in [
        "settled_questions_total{answer=\"not_started\",type=\"transfer\"}",
        "settled_questions_total{answer=\"unknown\",type=\"transfer\"}",
        "settled_question_duration_seconds_count{type=\"transfer\"}",
        "settled_lateness_seconds_bucket{type=\"transfer\",le=\"0.0005\"}",
        "settled_callers_total{outcome=\"shared\",type=\"transfer\"}",
        "settled_callers_total{outcome=\"left\",type=\"transfer\"}",
        "settled_caller_wait_seconds_count{type=\"transfer\"}",
        "settled_caller_questions_open{type=\"transfer\"}",
        "settled_events_total{outcome=\"forwarded\"}",
        "settled_dead_letters_total{reason=\"type-limit\"}",
        "settled_results_total{outcome=\"settled\",status=\"2\"}",
        "settled_results_total{outcome=\"exhausted\",status=\"4\"}",
        "settled_commit_duration_seconds_count",
        "settled_recoveries_total{cause=\"mismatch\"}",
        "settled_recovery_duration_seconds_count",
        "settled_alarms_total{kind=\"conflict\"}",
    ] {
        assert_eq!(value(&page, series), Some(1.0), "{series}");
    }
    assert_eq!(value(&page, "settled_swept_records_total"), Some(2.0));
    assert_eq!(
        value(
            &page,
            "settled_lateness_seconds_bucket{type=\"transfer\",le=\"0.02\"}"
        ),
        Some(2.0)
    );
}

#[test]
fn alarms_of_types_that_nobody_configured_share_one_label() {
    let metrics = metrics();
    for order_type in ["transfer", "nobodys", "elses"] {
        let of_type = metrics.order_type(&name(order_type));
        of_type.alarm(Alarm::UnconfiguredType, &order_type, 0);
    }
    let page = metrics.page().unwrap();
    for (order_type, open) in [("transfer", 1.0), ("refund", 0.0), (OTHER, 1.0)] {
        let series =
            format!("settled_open_alarms{{kind=\"unconfigured_type\",type=\"{order_type}\"}}");
        assert_eq!(value(&page, &series), Some(open), "{order_type}");
    }
    let lines = metrics.alarm_lines(Some(1)).into_iter();
    let lines: Vec<_> = lines.map(|(of, line)| (of, line.count)).collect();
    assert_eq!(lines, [("transfer".to_owned(), 1), (OTHER.to_owned(), 2)]);
    assert_eq!(metrics.alarm_lines(None), []);
}
