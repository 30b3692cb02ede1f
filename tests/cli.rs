//! The command line as its user meets it: the built binary, its output and its exit codes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::{Command, Output};

/// A working directory that holds `settled.toml`.
struct Directory(tempfile::TempDir);

/// What a run left behind.
#[derive(Debug, PartialEq, Eq)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Directory {
    fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(settled_toml: &str) -> Self {
        let directory = Self::empty();
        directory.write("settled.toml", settled_toml);
        directory
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[])
    }

    fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        let Output {
            status,
            stdout,
            stderr,
        } = Command::new(env!("CARGO_BIN_EXE_settled"))
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        Ran {
            code: status.code().unwrap(),
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
        }
    }
}

/// Bad usage or configuration: one line on standard error, nothing else.
fn refused(line: &str) -> Ran {
    Ran {
        code: 2,
        out: String::new(),
        err: format!("{line}\n"),
    }
}

const MINIMAL: &str = "[order_types.transfer]\nquery = { url = \"http://bank/q\" }\n";

#[test]
fn help_names_every_verb_the_examples_and_the_exit_codes() {
    let help = Directory::empty().run(&["--help"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    for part in [
        "Brings every in-progress order to a settled state.",
        "  plan ",
        "  config ",
        "  verify ",
        "  order ",
        "  exhausted ",
        "  type ",
        "  completion ",
        "--config <FILE>",
        "settled plan transfer --rate 500",
        "SETTLED_<SECTION>__<FIELD>",
        "  0  done",
        "  1  a difference, a failed check or a failed run",
        "  2  bad usage or configuration",
    ] {
        assert!(help.out.contains(part), "{part}: {}", help.out);
    }
    let bank = Directory::empty().run(&["bank", "--help"]);
    for part in [
        "PATCH /behaviour ",
        "GET /questions/summary ",
        "--trick <NAME[=SHARE]>",
        "zip-bomb,",
        "--behave <JSON>",
    ] {
        assert!(bank.out.contains(part), "{part}: {}", bank.out);
    }
    let version = Directory::empty().run(&["--version"]);
    let expected = format!("settled {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((version.code, version.out), (0, expected));
    let bare = Directory::empty().run(&[]);
    assert_eq!((bare.code, bare.out.as_str()), (2, ""));
    assert!(bare.err.contains("Usage: settled"));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn bad_usage_is_one_line_and_exit_code_2() {
    let directory = Directory::with(MINIMAL);
    for (arguments, line) in [
        (
            &["--foo"][..],
            "settled: unexpected argument '--foo' found; see settled --help",
        ),
        (
            &["confg"],
            "settled: unrecognized subcommand 'confg' - a similar subcommand exists: 'config'; see settled --help",
        ),
        (
            &["plan"],
            "settled: the following required arguments were not provided: <TYPE>; see settled plan --help",
        ),
        (
            &["plan", "transfer", "--rat", "3"],
            "settled: unexpected argument '--rat' found - a similar argument exists: '--rate'; see settled plan --help",
        ),
        (
            &["plan", "transfer", "--rate", "0"],
            "settled: invalid value '0' for '--rate <N>': 0 is not in 1..=1000000; see settled --help",
        ),
        (
            &["config", "--log-format", "xml"],
            "settled: invalid value 'xml' for '--log-format <FORM>' [possible values: text, json]; see settled --help",
        ),
        (
            &["config", "--log-level", "=,"],
            "settled: --log-level: \"=,\": expected a log filter like info, debug or info,settled::shard=debug",
        ),
        (
            &["bank", "--trick", "html=7"],
            "settled: invalid value 'html=7' for '--trick <NAME[=SHARE]>': \"7\": expected a number from 0 to 1; see settled --help",
        ),
        (
            &["bank", "--trick", "html", "--hangs", "0.5"],
            "settled: --trick, --server-errors, --hangs: the shares sum up to 1.5, expected 1 at most",
        ),
        (
            &["bank", "--behave", r#"{"failures":7}"#],
            "settled: invalid value '{\"failures\":7}' for '--behave <JSON>': failures: \"7\": expected a number from 0 to 1 at line 1 column 14; see settled --help",
        ),
        (
            &["plan", "refund"],
            "settled: \"refund\": expected an order type of the configuration: transfer",
        ),
        (
            &["config", "--config", "gone.toml"],
            "gone.toml: cannot be read: No such file or directory (os error 2)",
        ),
    ] {
        assert_eq!(directory.run(arguments), refused(line), "{arguments:?}");
    }
    for (variable, value, line) in [
        (
            "SETTLED_LOG",
            "=,",
            "settled: SETTLED_LOG: \"=,\": expected a log filter like info, debug or info,settled::shard=debug",
        ),
        (
            "SETTLED_LOG_FORMAT",
            "xml",
            "settled: SETTLED_LOG_FORMAT: \"xml\": expected text or json",
        ),
        (
            "SETTLED_CONFIG",
            "gone.toml",
            "gone.toml: cannot be read: No such file or directory (os error 2)",
        ),
        (
            "SETTLED_SHARDS",
            "0",
            "SETTLED_SHARDS: shards: \"0\": expected a whole number from 1 to 256",
        ),
    ] {
        assert_eq!(
            directory.run_with(&["config"], &[(variable, value)]),
            refused(line)
        );
    }
}

#[test]
fn each_mistake_of_the_configuration_is_one_line_and_exit_code_2() {
    let directory = Directory::with(&format!(
        "shards = 0\n{MINIMAL}[kafka]\nbootstap = \"a:1\"\n"
    ));
    let lines = "settled.toml:1: shards: 0: expected a whole number from 1 to 256\n\
                 settled.toml:5: kafka.bootstap: unknown field; did you mean kafka.bootstrap?";
    assert_eq!(directory.run(&["config"]), refused(lines));
    assert_eq!(directory.run(&["plan", "transfer"]), refused(lines));

    let lines = "configuration: order_types: expected at least one: [order_types.NAME] with \
                 query = { url = \"..\" }\n\
                 settled: there is no settled.toml here: name a file by --config FILE";
    assert_eq!(Directory::empty().run(&["config"]), refused(lines));
}

#[test]
fn the_file_is_named_before_or_after_the_verb_or_by_a_variable_or_lies_here() {
    let directory = Directory::with(&format!("app = \"here\"\n{MINIMAL}"));
    directory.write("a.toml", &format!("app = \"named\"\n{MINIMAL}"));
    directory.write("b.toml", &format!("app = \"variable\"\n{MINIMAL}"));
    let variable = [("SETTLED_CONFIG", "b.toml")];
    for (arguments, variables, app) in [
        (&["config"][..], &[][..], "here"),
        (&["--config", "a.toml", "config"], &[], "named"),
        (&["config", "--config", "a.toml"], &[], "named"),
        (&["config"], &variable, "variable"),
        (&["config", "--config=a.toml"], &variable, "named"),
        (&["config"], &[("SETTLED_APP", "set")], "set"),
    ] {
        let ran = directory.run_with(arguments, variables);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{arguments:?}");
        let line = ran.out.lines().next().unwrap();
        assert_eq!(line, format!("app = \"{app}\""), "{arguments:?}");
    }
}

#[test]
fn config_prints_what_is_in_effect_without_secrets_and_it_loads_again() {
    let directory = Directory::with(
        "[order_types.transfer.query]\nurl = \"http://bank/q\"\n\
         headers = { authorization = \"env:AUTH\" }\n\
         [redis]\nurls = [\"redis://me:c4nary@h\"]\n[admin]\ntoken = \"file:token\"\n",
    );
    directory.write("token", "c4nary\n");
    let variables = [
        ("AUTH", "Bearer c4nary"),
        ("SETTLED_ADMIN__LISTEN", "0.0.0.0:9"),
    ];
    let ran = directory.run_with(&["config"], &variables);
    let expected = r#"app = "settled"
shards = 16
dedupe_window = "1d"

[kafka]
bootstrap = "127.0.0.1:9092"
events = "order-events"
results = "order-results"
dead_letters = "order-dead-letters"
group_protocol = "classic"
properties = {}

[redis]
urls = ["redis://me:(secret)@h"]
prefix = ""

[api]
listen = "127.0.0.1:8080"

[admin]
listen = "0.0.0.0:9"
token = "file:token"

[order_types.transfer.query]
method = "POST"
url = "http://bank/q"
headers = { "authorization" = "env:AUTH" }
timeout = "2s"
not_found = "could_not_ask"
allow_link_local = false

[order_types.transfer.schedule]
in_progress = ["double 1s x 8"]
unknown = ["double 1s x 8"]

[order_types.transfer.ceiling]
questions_per_second = 100
in_flight = 64
callers_share = 0.2
first_share = 0.5
refusals_in_a_row = 20
"#;
    assert_eq!(
        (ran.code, ran.err.as_str(), ran.out.as_str()),
        (0, "", expected)
    );

    directory.write("settled.toml", &ran.out);
    let line =
        "settled.toml:14: redis.urls: (secret): expected the secret itself, env:NAME or file:PATH";
    assert_eq!(directory.run_with(&["config"], &variables), refused(line));
    directory.write("settled.toml", &ran.out.replace("(secret)", "c4nary"));
    assert_eq!(directory.run_with(&["config"], &variables), ran);
}

#[test]
fn no_secret_reaches_the_output_of_any_verb() {
    let secretive = "[order_types.transfer.query]\nurl = \"http://bank/q\"\n\
                     headers = { authorization = \"c4nary\" }\n\
                     [redis]\nurls = [\"redis://:c4nary@h\"]\n[admin]\ntoken = \"c4nary\"\n\
                     [kafka.properties]\n\"sasl.password\" = \"c4nary\"\n";
    for text in [
        secretive.to_owned(),
        format!("shards = 0\n{secretive}"),
        secretive.replace("token = \"c4nary\"", "token = c4nary"),
        secretive.replace("token = \"c4nary\"", "token = [\"c4nary\"]"),
        secretive.replace("redis://:c4nary@h", "redis:/:c4nary@h"),
    ] {
        let directory = Directory::with(&text);
        for arguments in [
            &["config"][..],
            &["plan", "transfer"],
            &["config", "--log-level=trace"],
        ] {
            let ran = directory.run_with(arguments, &[("SETTLED_API__LISTEN", "127.0.0.1:1")]);
            assert!(!format!("{ran:?}").contains("c4nary"), "{ran:?}");
        }
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let directory = Directory::with(MINIMAL);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_settled"))
        .args(["plan", "transfer"])
        .current_dir(directory.path())
        .env_clear()
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert!(output.status.success());
}

/// The schedules that must be expressible, one order type each.
const SCHEDULES: &str = r#"
[order_types.upi]
query = { url = "http://bank/q" }
schedule = { in_progress = ["20s", "3s x 10", "6s x 10", "10s x 6", "30s x 2", "60s until 10m"] }
ceiling = { questions_per_second = 5000 }

[order_types.ksher]
query = { url = "http://bank/q" }
[order_types.ksher.schedule]
in_progress = ["2s x 15", "3s x 10", "5s x 12", "10s x 6", "20s x 3", "30s x 12"]
unknown = ["2s x 15", "3s x 10", "5s x 12", "10s x 6", "20s x 3", "30s x 12"]

[order_types.juspay]
query = { url = "http://bank/q" }
schedule = { in_progress = ["10m", "5m until 1h", "10m until 7h", "3h until 10h", "5h until 20h", "1d x 5"] }

[order_types.hourly]
query = { url = "http://bank/q" }
schedule = { in_progress = ["1m x 15", "5m until 1h", "15m until 24h"], then = "1h" }

[order_types.bounded]
query = { url = "http://bank/q" }
ceiling = { questions_per_second = 1000 }
[order_types.bounded.schedule]
first_delay = "20s"
in_progress = ["3s x 10", "6s x 10", "10s x 6", "30s x 2", "60s until 10m"]
unknown = ["2s x 3", "double 10s to 5m until 2h"]
attempt_limit = 34
total_age = "9m"

[order_types.killbill]
query = { url = "http://bank/q" }
schedule = { unknown = ["5m", "1h", "1d x 5"], in_progress = ["1h", "1d"] }
"#;

fn planned(settled_toml: &str, arguments: &[&str]) -> String {
    let ran = Directory::with(settled_toml).run(&[&["plan"], arguments].concat());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    ran.out
}

#[test]
fn plan_prints_the_default_schedule_and_what_it_costs() {
    insta::assert_snapshot!("plan_default", planned(MINIMAL, &["transfer"]));
}

#[test]
fn plan_prints_the_schedules_of_the_field() {
    for name in ["upi", "ksher", "juspay", "hourly", "killbill", "bounded"] {
        let text = planned(SCHEDULES, &[name]);
        insta::assert_snapshot!(format!("plan_{name}"), text);
    }
}

#[test]
fn plan_counts_what_it_does_not_walk() {
    let text = format!("{MINIMAL}schedule = {{ unknown = [\"1s until 400d\"] }}\n");
    let text = planned(&text, &["transfer", "--rate", "1"]);
    for part in [
        "      and so on\n",
        "  questions  34,560,000/s\n",
        "  pending    34,560,000 orders, 3.5 GB of Redis\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn plan_warns_of_the_ceiling_and_of_hashes_that_grow_too_large() {
    let upi = planned(SCHEDULES, &["upi", "--rate", "50"]);
    assert!(!upi.contains("warning"), "{upi}");
    let costs = planned(SCHEDULES, &["juspay", "--rate", "50"]);
    let costs = costs.split("\n\n").last().unwrap();
    assert_eq!(
        costs,
        "\
At 50 orders/s, none of which is settled before its schedule ends:
  questions  2,750/s
  pending    25,200,000 orders, 2.5 GB of Redis
  marks      4,320,000 of 1d, 161.6 MB of Redis
warning: the ceiling of 100 questions/s is lower: orders are asked about later than planned
warning: 25,200,000 pending orders make 1,539 a hash; beyond 512 Redis gives up the compact form: 58 shards would do
"
    );
    let far_too_many = planned(SCHEDULES, &["juspay", "--rate", "500"]);
    assert!(
        far_too_many.ends_with("even 256 shards would not do\n"),
        "{far_too_many}"
    );
    let one_shard = format!("shards = 1\n{MINIMAL}");
    let costs = planned(&one_shard, &["transfer", "--rate", "1000"]);
    let last = costs.lines().last().unwrap();
    assert_eq!(
        last,
        "warning: 10,800,000 marks of 3 hours make 2,637 a hash; beyond 512 Redis gives up the compact form: 7 shards would do"
    );
}

#[test]
fn operators_verbs_have_help_and_refuse_bad_input_in_one_line() {
    let directory = Directory::with(MINIMAL);
    for (arguments, parts) in [
        (
            &["order", "--help"][..],
            &["  show ", "  ask ", "  requeue ", "  settle "][..],
        ),
        (
            &["order", "settle", "--help"],
            &["--status <1|2>", "--reason <TEXT>", "--admin <URL>"],
        ),
        (
            &["exhausted", "--help"],
            &["  list ", "  requeue ", "  settle "],
        ),
        (
            &["exhausted", "requeue", "--help"],
            &["--selection <SELECTION>", "it is a dry run"],
        ),
        (&["type", "--help"], &["  list ", "  pause ", "  resume "]),
    ] {
        let help = directory.run(arguments);
        assert_eq!((help.code, help.err.as_str()), (0, ""), "{arguments:?}");
        for part in parts {
            assert!(help.out.contains(part), "{part}: {}", help.out);
        }
    }
    for (arguments, line) in [
        (
            &["order", "ask", "TX1"][..],
            "settled: invalid value 'TX1' for '<TYPE/REQNO>': expected TYPE/REQNO like transfer/TX1; see settled --help",
        ),
        (
            &["order", "requeue", "transfer/TX1"],
            "settled: the following required arguments were not provided: --reason <TEXT>; see settled order --help",
        ),
        (
            &["order", "requeue", "transfer/TX1", "--reason", "r"],
            "settled: --actor NAME: expected, as no login name is known",
        ),
        (
            &["order", "ask", "transfer/TX1", "--admin", "127.0.0.1:1"],
            "settled: invalid value '127.0.0.1:1' for '--admin <URL>': expected a URL like http://127.0.0.1:8081; see settled --help",
        ),
        (
            &["exhausted", "requeue", "--selection", "ab"],
            "settled: the following required arguments were not provided: --reason <TEXT>; see settled exhausted --help",
        ),
    ] {
        assert_eq!(directory.run(arguments), refused(line), "{arguments:?}");
    }
    // Nobody listens there; no file is needed.
    let away = Directory::empty();
    let ran = away.run(&["type", "list", "--admin", "http://127.0.0.1:1"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
    let told = "settled: http://127.0.0.1:1: no answer from a worker's [admin] listener; name one by --admin URL: ";
    assert!(ran.err.starts_with(told), "{}", ran.err);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    let no_port = away.run_with(
        &["type", "list"],
        &[("SETTLED_ADMIN__LISTEN", "127.0.0.1:0")],
    );
    assert_eq!(
        no_port,
        refused("settled: --admin URL: expected, as [admin] listen names no port")
    );
}

#[test]
fn completion_knows_every_verb() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = Directory::empty().run(&["completion", shell]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{shell}");
        for word in ["exhausted", "requeue", "log-format"] {
            assert!(ran.out.contains(word), "{shell}: {word}");
        }
    }
}
