//! What a file and variables that are right come to.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use settled::config::{Config, Embedded, GroupProtocol, Secret};

use super::{MINIMAL, load, load_with};

#[test]
fn a_minimal_file_loads_with_safe_defaults() {
    let config = load(MINIMAL).unwrap();
    assert_eq!((config.app.as_str(), config.shards), ("settled", 16));
    assert_eq!(config.dedupe_window, Duration::from_hours(24));
    assert_eq!(config.kafka.bootstrap, "127.0.0.1:9092");
    assert_eq!(config.redis.urls[0].reveal(), "redis://127.0.0.1:6379/0");
    assert!(config.api.listen.ip().is_loopback() && config.admin.listen.ip().is_loopback());
    let pay = &config.order_types["pay"];
    assert_eq!(
        (pay.query.method.as_str(), pay.query.timeout.as_secs()),
        ("POST", 2)
    );
    assert!((pay.ceiling.questions_per_second - 100.0).abs() < f64::EPSILON);
    assert_eq!(pay.ceiling.in_flight, 64);
}

/// Each field with another value than its default, as TOML.
pub const EVERY_FIELD: &[(&str, &str)] = &[
    ("app", r#""pay-settled""#),
    ("shards", "4"),
    ("dedupe_window", r#""2d""#),
    ("kafka.bootstrap", r#""k1:9092,[::1]:9093""#),
    ("kafka.events", r#""e""#),
    ("kafka.results", r#""r""#),
    ("kafka.dead_letters", r#""d""#),
    ("kafka.group_protocol", r#""consumer""#),
    (
        "kafka.properties",
        r#"{ "client.id" = "x", "linger.ms" = 5, "socket.keepalive.enable" = true }"#,
    ),
    ("redis.urls", r#"["redis://h1", "rediss://h2:7000"]"#),
    ("redis.prefix", r#""a:""#),
    ("api.listen", r#""0.0.0.0:80""#),
    ("admin.listen", r#""[::1]:81""#),
    ("admin.token", r#""t0ken""#),
    ("order_types.NAME.query.method", r#""GET""#),
    (
        "order_types.NAME.query.url",
        r#""https://b:8443/q/{reqNO}?t={type}&b={query.bank}""#,
    ),
    (
        "order_types.NAME.query.headers",
        r#"{ X-Key = "a {query.bank}" }"#,
    ),
    ("order_types.NAME.query.body", r#"'{"n": ["{reqNO}"]}'"#),
    ("order_types.NAME.query.timeout", r#""750ms""#),
    ("order_types.NAME.query.not_found", r#""unknown""#),
    ("order_types.NAME.query.allow_link_local", "true"),
    (
        "order_types.NAME.schedule.in_progress",
        r#"["2s x 3", "1m"]"#,
    ),
    ("order_types.NAME.schedule.unknown", r#"["5m"]"#),
    ("order_types.NAME.answer.status", r#""/b""#),
    ("order_types.NAME.answer.req_no", r#""/b""#),
    ("order_types.NAME.answer.rsp_no", r#""/b~1c/0""#),
    ("order_types.NAME.answer.ret_cd", r#""/b""#),
    ("order_types.NAME.answer.ret_msg", r#""/b""#),
    ("order_types.NAME.answer.data", r#""/b""#),
    (
        "order_types.NAME.answer.values",
        r#"{ "PAID OUT" = "1", OPEN = 3 }"#,
    ),
    ("order_types.NAME.schedule.first_delay", r#""20s""#),
    ("order_types.NAME.schedule.attempt_limit", "7"),
    ("order_types.NAME.schedule.total_age", r#""90m""#),
    ("order_types.NAME.schedule.then", r#""1h""#),
    ("order_types.NAME.ceiling.questions_per_second", "0.5"),
    ("order_types.NAME.ceiling.in_flight", "1"),
    ("order_types.NAME.ceiling.callers_share", "0.1"),
    ("order_types.NAME.ceiling.first_share", "0"),
    ("order_types.NAME.ceiling.refusals_in_a_row", "1"),
];

/// Sections, which have no value of their own.
const SECTIONS: &[&str] = &[
    "kafka",
    "redis",
    "api",
    "admin",
    "order_types",
    "order_types.NAME.query",
    "order_types.NAME.answer",
    "order_types.NAME.schedule",
    "order_types.NAME.ceiling",
];

#[test]
fn every_field_changes_something_from_the_file_and_from_the_environment() {
    for (field, value) in EVERY_FIELD {
        let path = field.replace("NAME", "pay");
        // What the field cannot do without; the field itself in the place of its line there.
        let mut base = vec!["order_types.pay.query.url = \"http://bank/q\""];
        if field.contains(".answer.") {
            base.extend([
                "order_types.pay.answer.status = \"/s\"",
                "order_types.pay.answer.req_no = \"/n\"",
                "order_types.pay.answer.values = { OK = \"1\" }",
            ]);
        }
        let without = base.join("\n");
        let default = load(&without).unwrap();
        base.retain(|line| !line.starts_with(&format!("{path} = ")));
        let text = format!("{path} = {value}\n{}", base.join("\n"));
        let from_file = load(&text).unwrap();
        assert_ne!(from_file, default, "{field}");
        assert_ne!(from_file.to_toml(), default.to_toml(), "{field}");

        let variable = format!("SETTLED_{}", path.to_uppercase().replace('.', "__"));
        let plain = match value.as_bytes() {
            [b'"' | b'\'', inner @ .., _] => std::str::from_utf8(inner).unwrap(),
            _ => value,
        };
        let from_variable = load_with(&without, &[(&variable, plain)]).unwrap();
        assert_eq!(from_variable, from_file, "{variable}");
    }
    let covered: BTreeSet<String> = EVERY_FIELD
        .iter()
        .map(|(field, _)| *field)
        .chain(SECTIONS.iter().copied())
        .map(str::to_owned)
        .collect();
    assert_eq!(covered, Config::fields());
}

#[test]
fn events_are_kept_for_as_long_as_the_bounds_let_an_order_be_asked() {
    let days = |bounds: &str| {
        let schedule =
            format!("{{ in_progress = [\"1d x 32\"], unknown = [\"1d x 32\"] {bounds} }}");
        let config = load(&format!(
            "{MINIMAL}[order_types.pay]\nschedule = {schedule}\n"
        ));
        let needs = settled::app::check::needs(&config.unwrap());
        needs.events_retention().as_secs() / 86_400
    };
    // Both ladders and 3/32, the dedupe window and a day.
    assert_eq!(days(""), 70 + 2);
    assert_eq!(days(", first_delay = \"32d\""), 105 + 2);
    assert_eq!(days(", total_age = \"32d\""), 35 + 2);
    // A rebuilt view counts attempts anew.
    assert_eq!(days(", attempt_limit = 3"), 70 + 2);
}

#[test]
fn the_environment_goes_before_the_file() {
    let file = "shards = 4\n[kafka]\nbootstrap = \"a:1\"\nevents = \"e\"\n\
                [order_types.pay-x.query]\nurl = \"http://bank/q\"\n";
    let config = load_with(
        file,
        &[
            ("SETTLED_SHARDS", "8"),
            ("SETTLED_KAFKA__BOOTSTRAP", "b:2"),
            ("SETTLED_KAFKA__PROPERTIES__CLIENT_ID", "me"),
            ("SETTLED_REDIS__URLS", "redis://other"),
            ("SETTLED_ORDER_TYPES__PAY_X__CEILING__IN_FLIGHT", "7"),
            ("SETTLED_ORDER_TYPES__PAY_X__QUERY__HEADERS__X_API_KEY", "k"),
            ("SETTLED_ORDER_TYPES__REFUND__QUERY__URL", "http://bank/r"),
            ("SETTLED_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ],
    )
    .unwrap();
    assert_eq!((config.shards, config.kafka.bootstrap.as_str()), (8, "b:2"));
    assert_eq!(config.kafka.events, "e");
    assert_eq!(config.kafka.properties["client.id"].reveal(), "me");
    assert_eq!(config.redis.urls, [Secret::new("redis://other".to_owned())]);
    assert_eq!(config.order_types["pay-x"].ceiling.in_flight, 7);
    assert_eq!(
        config.order_types["pay-x"].query.headers["x-api-key"].reveal(),
        "k"
    );
    assert_eq!(config.order_types["refund"].query.url, "http://bank/r");
    assert_eq!(config.order_types.len(), 2);
}

#[test]
fn an_embedded_world_differs_only_in_what_it_names() {
    let world = Embedded::new(
        "127.0.0.1:1234".to_owned(),
        "http://127.0.0.1:5/q".to_owned(),
    );
    let config = Config::for_embedded(world);
    let mut expected = load(
        "shards = 4\n[order_types.transfer.query]\nurl = \"http://127.0.0.1:5/q\"\n\
         [kafka]\nbootstrap = \"127.0.0.1:1234\"\ngroup_protocol = \"consumer\"\n\
         [api]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n",
    )
    .unwrap();
    expected.redis.urls.clear();
    assert_eq!(config.kafka.group_protocol, GroupProtocol::Consumer);
    assert_eq!(config, expected);
}

#[test]
fn the_example_file_holds_every_option_at_its_default_with_a_comment() {
    let example = include_str!("../../settled.example.toml");
    let config = load(example).unwrap();
    let minimal = "[order_types.transfer]\nquery.url = \"http://bank.internal/orders/query\"";
    assert_eq!(config, load(minimal).unwrap());
    let stripped: String = example
        .lines()
        .filter(|line| !line.starts_with('#'))
        .fold(String::new(), |text, line| text + line + "\n");
    assert_eq!(load(&stripped).unwrap(), config);

    // Options that are off are right when they are switched on.
    let mut switched_on = String::new();
    let (mut section, mut found, mut comment) = (String::new(), BTreeSet::new(), false);
    for line in example.lines() {
        let option = match line.strip_prefix('#') {
            Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest,
            _ => line,
        };
        writeln!(switched_on, "{option}").unwrap();
        if let Some(header) = option.strip_prefix('[') {
            section = header.trim_end_matches(']').replace("transfer", "NAME");
        }
        let name = option.split(" = ").next().unwrap();
        let field = match (
            section.as_str(),
            option.contains(" = ") && !option.starts_with('#'),
        ) {
            (_, false) if option.starts_with('[') => section.clone(),
            (_, false) => String::new(),
            ("", true) => name.to_owned(),
            (section, true) => format!("{section}.{name}"),
        };
        if !field.is_empty() {
            assert!(comment, "{field} has no comment line above it");
            found.insert(field);
        }
        comment = option.starts_with("# ");
    }
    let on = load_with(
        &switched_on.replace("file:/run/secrets/settled-admin", "t"),
        &[],
    )
    .unwrap();
    assert_ne!(on, config);
    let mut known = Config::fields();
    known.remove("order_types");
    found.remove("order_types.NAME");
    assert_eq!(found, known);
}
