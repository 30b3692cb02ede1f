//! What is told of a file and of variables that are wrong.

use std::path::Path;

use settled::config::{Config, Environment};
use settled::domain::schedule::Ladder;

use super::{MINIMAL, load, load_with};

/// What stands in the file, and its one line.
const FILES: &[(&str, &str)] = &[
    (
        "[kafka]\nbootstap = \"a:1\"",
        "settled.toml:2: kafka.bootstap: unknown field; did you mean kafka.bootstrap?",
    ),
    (
        "bootstrap = \"a:1\"",
        "settled.toml:1: bootstrap: unknown field; did you mean kafka.bootstrap?",
    ),
    (
        "[kafak]\nevents = \"e\"",
        "settled.toml:1: kafak: unknown field; did you mean kafka?",
    ),
    (
        "[order_types.pay.ceiling]\nin_fligth = 3",
        "settled.toml:2: order_types.pay.ceiling.in_fligth: unknown field; did you mean order_types.pay.ceiling.in_flight?",
    ),
    (
        "[order_types.pay]\ntimeout = \"1s\"",
        "settled.toml:2: order_types.pay.timeout: unknown field; did you mean order_types.pay.query.timeout?",
    ),
    (
        "shards = \"four\"",
        "settled.toml:1: shards: \"four\": expected a whole number from 1 to 256",
    ),
    (
        "shards = 0",
        "settled.toml:1: shards: 0: expected a whole number from 1 to 256",
    ),
    (
        "shards = 2.5",
        "settled.toml:1: shards: 2.5: expected a whole number from 1 to 256",
    ),
    (
        "shards = 257",
        "settled.toml:1: shards: 257: expected a whole number from 1 to 256",
    ),
    ("app = 5", "settled.toml:1: app: 5: expected text in quotes"),
    (
        "app = \"a b\"",
        "settled.toml:1: app: \"a b\": expected 1 to 64 letters, digits, '.', '_' or '-'",
    ),
    ("kafka = 5", "settled.toml:1: kafka: 5: expected a table"),
    (
        "dedupe_window = 86400",
        "settled.toml:1: dedupe_window: 86400: expected a duration like 500ms, 2s, 5m",
    ),
    (
        "dedupe_window = \"0s\"",
        "settled.toml:1: dedupe_window: \"0s\": expected a duration from 1s to 90d",
    ),
    (
        "[kafka]\nbootstrap = \"broker\"",
        "settled.toml:2: kafka.bootstrap: \"broker\": expected host:port,host:port",
    ),
    (
        "[kafka]\nevents = \"a/b\"",
        "settled.toml:2: kafka.events: \"a/b\": expected a topic: 1 to 249 letters, digits, '.', '_' or '-'",
    ),
    (
        "[kafka]\nresults = \"order-events\"",
        "settled.toml:2: kafka.results: \"order-events\": expected another topic than kafka.events",
    ),
    (
        "[kafka]\ngroup_protocol = \"new\"",
        "settled.toml:2: kafka.group_protocol: \"new\": expected \"classic\" or \"consumer\"",
    ),
    (
        "[kafka.properties]\n\"enable.auto.commit\" = true",
        "settled.toml:2: kafka.properties.\"enable.auto.commit\": not allowed: the position that counts is kept in the view, with the work that it accounts for",
    ),
    (
        "[kafka.properties]\n\"no.such\" = 1",
        "settled.toml:2: kafka.properties.\"no.such\": expected a property that librdkafka knows",
    ),
    (
        "[redis]\nurls = [\"http://h\"]",
        "settled.toml:2: redis.urls: expected a URL like redis://host:6379/0 or rediss://host",
    ),
    (
        "[redis]\nurls = []",
        "settled.toml:2: redis.urls: expected at least one URL like redis://host:6379/0",
    ),
    (
        "[redis]\nurls = [\"redis://a/0\", \"redis://b/1\"]",
        "settled.toml:2: redis.urls: several URLs mean Redis Cluster: expected database 0 in each",
    ),
    (
        "[redis]\nprefix = \"{a}\"",
        "settled.toml:2: redis.prefix: \"{a}\": expected at most 32 visible ASCII characters without braces",
    ),
    (
        "[api]\nlisten = \"8080\"",
        "settled.toml:2: api.listen: \"8080\": expected address:port like 127.0.0.1:8080",
    ),
    (
        "[admin]\nlisten = \"127.0.0.1:8080\"",
        "settled.toml:2: admin.listen: 127.0.0.1:8080: expected another port than api.listen",
    ),
    (
        "[admin]\nlisten = \"0.0.0.0:8081\"",
        "settled.toml:1: admin.token: expected a token, by env:NAME or file:PATH: 0.0.0.0:8081 is not loopback",
    ),
    (
        "[order_types.Pay.query]\nurl = \"http://b\"",
        "settled.toml:1: order_types.Pay: expected a name of 1 to 32 of a-z, 0-9, '_' and '-'",
    ),
    (
        "[order_types.pay.query]\nurl = \"http://b\"\n[order_types.pay.query]",
        "settled.toml:3: [order_types.pay.query]: this name stands here a second time; expected each name once",
    ),
    (
        "[order_types]\npay.query.url = \"http://b\"\npay = { query.url = \"http://c\" }",
        "settled.toml:3: pay: this name stands here a second time; expected each name once",
    ),
    (
        "[order_types.a.schedule]\nin_progress = \"1s\"",
        "settled.toml:2: order_types.a.schedule.in_progress: \"1s\": expected a list of stages like [\"20s\", \"3s x 10\"]",
    ),
    (
        "[order_types.a.schedule]\nthen = \"10ms\"",
        "settled.toml:2: order_types.a.schedule.then: \"10ms\": expected a duration from 1s to 365d",
    ),
    (
        "[order_types.a.schedule]\nunknown = []",
        "settled.toml:2: order_types.a.schedule.unknown: []: expected at least one stage, like \"double 1s x 8\"",
    ),
    (
        "[order_types.a.schedule]\nattempt_limit = 0",
        "settled.toml:2: order_types.a.schedule.attempt_limit: 0: expected a whole number from 1 to 65000",
    ),
    (
        "[order_types.a.schedule]\nfirst_delay = \"0s\"",
        "settled.toml:2: order_types.a.schedule.first_delay: \"0s\": expected a duration from 1ms to 3650d",
    ),
    (
        "[order_types.a.schedule]\ntotal_age = \"20years\"",
        "settled.toml:2: order_types.a.schedule.total_age: \"20years\": expected a duration from 1ms to 3650d",
    ),
    (
        "[order_types.a.schedule]\nfirst_delay = \"5m\"\ntotal_age = \"2m\"\nin_progress = [\"1m\", \"2m\"]",
        "settled.toml:2: order_types.a.schedule.first_delay: 5m: expected less than total_age, which is 2m",
    ),
    (
        "[order_types.a.schedule]\ntotal_age = \"2m\"\nin_progress = [\n\"1m x 2\",\n\"2m\",\n\"3m\"]",
        "settled.toml:5: order_types.a.schedule.in_progress: \"2m\": never begins: total_age ends the schedule at 2m, this stage starts at 2m",
    ),
    (
        "[order_types.a.schedule]\nattempt_limit = 2\nunknown = [\"1m x 2\", \"2m\"]",
        "settled.toml:3: order_types.a.schedule.unknown: \"2m\": never begins: attempt_limit ends the schedule after 2 questions, 2 go before this stage",
    ),
    (
        "[order_types.a.answer]\nstatus = \"trade_state\"\nreq_no = \"/n\"\nvalues = { OK = \"1\" }",
        "settled.toml:2: order_types.a.answer.status: \"trade_state\": expected a JSON pointer like \"/trade_state\" or \"/order/state\"",
    ),
    (
        "[order_types.a.answer]\nstatus = 3\nreq_no = \"/n\"\nvalues = { OK = \"1\" }",
        "settled.toml:2: order_types.a.answer.status: 3: expected text in quotes",
    ),
    (
        "[order_types.a.answer]\nstatus = \"/s\"\nvalues = { OK = \"1\" }",
        "settled.toml:1: order_types.a.answer.req_no: expected a pointer to the order's number: no 1 or 2 counts without it",
    ),
    (
        "[order_types.a.answer]\nstatus = \"/s\"\nreq_no = \"/s/n\"\nvalues = { OK = \"1\" }",
        "settled.toml:3: order_types.a.answer.req_no: \"/s/n\": expected a place that is not inside another one of this answer",
    ),
    (
        "[order_types.a.answer]\nstatus = \"/s\"\nreq_no = \"/n\"\nvalues = {}",
        "settled.toml:4: order_types.a.answer.values: expected at least one, like { SUCCESS = \"1\" }",
    ),
    (
        "[order_types.a.answer]\nstatus = \"/s\"\nreq_no = \"/n\"\n[order_types.a.answer.values]\nOK = \"1\"\nBAD = \"5\"",
        "settled.toml:6: order_types.a.answer.values.BAD: \"5\": expected \"1\" success, \"2\" failure, \"3\" in progress or \"4\" unknown",
    ),
    (
        "[order_types.a.answer]\nstatus = \"/s\"\nreq_n = \"/n\"\nreq_no = \"/n\"\nvalues = { OK = \"1\" }",
        "settled.toml:3: order_types.a.answer.req_n: unknown field; did you mean order_types.a.answer.req_no?",
    ),
    (
        "[order_types.a.ceiling]\nquestions_per_second = 0",
        "settled.toml:2: order_types.a.ceiling.questions_per_second: 0: expected a number above 0, at most 100000",
    ),
    (
        "[order_types.a.ceiling]\nquestions_per_second = nan",
        "settled.toml:2: order_types.a.ceiling.questions_per_second: nan: expected a number above 0, at most 100000",
    ),
    (
        "[order_types.a.query]\nmethod = \"PUT\"",
        "settled.toml:2: order_types.a.query.method: \"PUT\": expected \"GET\" or \"POST\"",
    ),
    (
        "[order_types.a.query]\ntimeout = \"2m\"",
        "settled.toml:2: order_types.a.query.timeout: \"2m\": expected a duration from 1ms to 1m",
    ),
    (
        "[order_types.a.query]\nbody = \"{reqNO}\"",
        "settled.toml:2: order_types.a.query.body: \"{reqNO}\": expected JSON with its placeholders inside strings: key must be a string at line 1 column 2",
    ),
    (
        "[order_types.a.query]\nbody = '{\"n\": \"{number}\"}'",
        "settled.toml:2: order_types.a.query.body: \"{number}\": expected only the placeholders {type}, {reqNO} and {query.NAME}, each closed; a brace inside a JSON string is written \\u007b",
    ),
    (
        "[order_types.a.query]\nmethod = \"GET\"\nbody = '{}'",
        "settled.toml:3: order_types.a.query.body: expected no body with method \"GET\"",
    ),
    (
        "[order_types.a.query.headers]\n\"a b\" = \"c\"",
        "settled.toml:2: order_types.a.query.headers.\"a b\": expected the name of an HTTP header",
    ),
    (
        "[order_types.a.query.headers]\nHost = \"c\"",
        "settled.toml:2: order_types.a.query.headers.Host: expected not to be set: settled writes it",
    ),
    (
        "[order_types.a.query.headers]\nsettled-attempt = \"c\"",
        "settled.toml:2: order_types.a.query.headers.settled-attempt: expected not to be set: settled writes it",
    ),
    (
        "shards = \napp = \"x\"",
        "settled.toml:1: string values must be quoted, expected literal string",
    ),
];

#[test]
fn each_mistake_of_a_file_is_one_line_with_line_key_and_expected_form() {
    for (text, expected) in FILES {
        let has_query = text.contains("url = \"http");
        let text = if has_query || text.contains("[order_types.a.query]") {
            (*text).to_owned()
        } else {
            format!("{text}\n{MINIMAL}\n[order_types.a.query]\nurl = \"http://b\"\n")
        };
        let told = load(&text).unwrap_err();
        let told: Vec<&str> = told
            .lines()
            .filter(|line| !line.contains("order_types.a.query.url: expected a URL"))
            .collect();
        assert_eq!(told, [*expected], "{text}");
    }
}

#[test]
fn a_query_url_is_checked_before_anything_is_asked() {
    let form = "expected a URL like http://bank.internal/orders/{reqNO}";
    for (url, expected) in [
        ("", form.to_owned()),
        ("bank/q", format!("\"bank/q\": {form}")),
        ("ftp://bank/q", format!("\"ftp://bank/q\": {form}")),
        ("http:///q", format!("\"http:///q\": {form}")),
        ("http://bank/a b", format!("\"http://bank/a b\": {form}")),
        ("http://bank/q#x", "\"http://bank/q#x\": expected no fragment in the URL".to_owned()),
        (
            "http://{query.host}/q",
            "\"http://{query.host}/q\": expected no placeholder before the path".to_owned(),
        ),
        (
            "http://bank:{type}/q",
            "\"http://bank:{type}/q\": expected no placeholder before the path".to_owned(),
        ),
        (
            "http://me:canary@bank/q",
            "expected no login in the URL: a header with env:NAME or file:PATH carries it".to_owned(),
        ),
        (
            "http://bank/{no}",
            "\"{no}\": expected only the placeholders {type}, {reqNO} and {query.NAME}, each closed; \
             a brace of the URL itself is written %7B"
                .to_owned(),
        ),
        (
            "http://bank/q?a={no",
            "\"{\": expected only the placeholders {type}, {reqNO} and {query.NAME}, each closed; \
             a brace of the URL itself is written %7B"
                .to_owned(),
        ),
        (
            "http://bank/a/../{reqNO}",
            "\"http://bank/a/../{reqNO}\": expected no . or .. segment in the path".to_owned(),
        ),
        ("http://bank:99999/q", format!("\"http://bank:99999/q\": {form}")),
        ("http://bank:/q", format!("\"http://bank:/q\": {form}")),
    ] {
        let told = load(&format!("[order_types.pay.query]\nurl = {url:?}")).unwrap_err();
        let line = format!("settled.toml:2: order_types.pay.query.url: {expected}");
        assert_eq!(told, line, "{url}");
    }
    let told = load("[order_types.pay]").unwrap_err();
    assert_eq!(
        told,
        format!("settled.toml:1: order_types.pay.query.url: {form}")
    );
    let told = load("").unwrap_err();
    assert_eq!(
        told,
        "settled.toml: order_types: expected at least one: [order_types.NAME] with query = { url = \"..\" }"
    );
}

#[test]
fn a_schedule_that_cannot_be_is_told_with_the_line_of_its_stage() {
    for (stages, line, first_wrong) in [
        ("[\"1s,2x\"]", 2, 1),
        ("[\n\"1s\",\n\"2s y 3\",\n\"4x\",\n]", 4, 2),
        ("[\n\"5m until 1h\",\n\"1m until 30m\",\n]", 4, 2),
    ] {
        let text = format!("[order_types.pay.schedule]\nunknown = {stages}\n{MINIMAL}");
        let stages: toml::Table = toml::from_str(&format!("s = {stages}")).unwrap();
        let stages: Vec<String> = stages["s"].clone().try_into().unwrap();
        let error = Ladder::parse(&stages[..first_wrong]).unwrap_err();
        assert!(Ladder::parse(&stages[..first_wrong - 1]).is_ok() || first_wrong == 1);
        assert_eq!(
            load(&text).unwrap_err(),
            format!("settled.toml:{line}: order_types.pay.schedule.unknown: {error}")
        );
    }
    let variable = "SETTLED_ORDER_TYPES__PAY__SCHEDULE__IN_PROGRESS";
    let told = load_with(MINIMAL, &[(variable, "1s,2x")]).unwrap_err();
    let path = "order_types.pay.schedule.in_progress";
    assert!(
        told.starts_with(&format!("{variable}: {path}: \"1s,2x\": expected ")),
        "{told}"
    );
}

#[test]
fn each_mistake_of_a_variable_names_the_variable() {
    for (variable, value, expected) in [
        (
            "SETTLED_SHARDS",
            "x",
            "shards: \"x\": expected a whole number from 1 to 256",
        ),
        (
            "SETTLED_KAFKA__BOOTSTAP",
            "x:1",
            "kafka.bootstap: unknown field; did you mean kafka.bootstrap?",
        ),
        (
            "SETTLED_BOOTSTRAP",
            "x:1",
            "bootstrap: unknown field; did you mean kafka.bootstrap?",
        ),
        (
            "SETTLED_ORDER_TYPES__PAY__CEILING__IN_FLIGHT",
            "-1",
            "order_types.pay.ceiling.in_flight: \"-1\": expected a whole number from 1 to 10000",
        ),
        (
            "SETTLED_ADMIN__TOKEN",
            "env:NOT_SET",
            "admin.token: env:NOT_SET: expected a variable NOT_SET in the environment",
        ),
        (
            "SETTLED_KAFKA__PROPERTIES__GROUP_ID",
            "x",
            "kafka.properties.group_id: not allowed: groups are named after `app`",
        ),
    ] {
        let told = load_with(MINIMAL, &[(variable, value)]).unwrap_err();
        assert_eq!(told, format!("{variable}: {expected}"));
    }
    let two = "[order_types.a-b.query]\nurl = \"http://b\"\n[order_types.a_b.query]\nurl = \"http://b\"\n";
    let told = load_with(
        two,
        &[("SETTLED_ORDER_TYPES__A_B__CEILING__IN_FLIGHT", "1")],
    )
    .unwrap_err();
    assert_eq!(
        told,
        "SETTLED_ORDER_TYPES__A_B__CEILING__IN_FLIGHT: order_types.a_b.ceiling.in_flight: \
         means both \"a-b\" and \"a_b\"; expected to mean one: set it in the file"
    );
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let text =
        "shards = 0\nsharks = 1\n\n[redis]\nprefix = 5\n\n[order_types.pay.query]\nurl = \"x\"\n";
    let told = load_with(text, &[("SETTLED_API__LISTEN", "here")]).unwrap_err();
    let places: Vec<&str> = told
        .lines()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        places,
        [
            "settled.toml:1",
            "settled.toml:2",
            "settled.toml:5",
            "settled.toml:8",
            "SETTLED_API__LISTEN"
        ]
    );
}

#[test]
fn a_missing_file_and_a_file_that_is_no_text_are_one_line() {
    let environment = Environment::default();
    let told = Config::load(Some(Path::new("nowhere.toml")), &environment).unwrap_err();
    assert_eq!(
        told.to_string(),
        "nowhere.toml: cannot be read: No such file or directory (os error 2)"
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.toml");
    std::fs::write(&file, b"app = \"\xff\"").unwrap();
    let told = Config::load(Some(&file), &environment)
        .unwrap_err()
        .to_string();
    assert!(
        told.ends_with("a.toml: cannot be read: stream did not contain valid UTF-8"),
        "{told}"
    );
}
