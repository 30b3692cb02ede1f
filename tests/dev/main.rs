//! `settled dev` as a whole: the binary's exit code and count, what a stranger gets wrong, and that
//! the second reader notices a single record that is withheld from it.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/plain_http.rs"]
mod plain_http;
#[path = "../support/mod.rs"]
mod support;

mod real;
mod shown;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use settled::app::dev::{DevOptions, Patience, Told, run};
use settled::dev::audit::{Seen, Verdict};
use shown::Shown;
use support::topics::{Isolation, Raw, World, produce};
use tokio_util::sync::CancellationToken;

fn settled(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_settled"));
    command
        .arg("dev")
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null());
    command
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}\n{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

/// A run of the library, with a seed that is printed when it fails.
fn audited(options: DevOptions) -> (anyhow::Result<Verdict>, Vec<String>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut told = Vec::new();
    let verdict = runtime.block_on(run(options, CancellationToken::new(), |line: Told| {
        told.push(format!("{line:?}"));
    }));
    runtime.shutdown_timeout(Duration::from_millis(500));
    (verdict, told)
}

#[test]
fn a_run_ends_with_every_order_verified() {
    let output = settled(&["--for", "3s", "--rate", "100", "--seed", "7"])
        .output()
        .unwrap();
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.starts_with("kafka   127.0.0.1:"), "{text}");
    assert!(
        text.contains("embedded broker: in memory, transactions are not isolated"),
        "{text}"
    );
    assert!(text.contains("   1 s   accepted "), "{text}");
    assert!(settled_all(&text) >= 250, "{text}");
}

/// How many orders a run accepted, of which it has verified that each is settled.
fn settled_all(text: &str) -> usize {
    let count = text
        .lines()
        .find_map(|line| line.strip_prefix("verified: "))
        .expect(text);
    let accepted = count.split(' ').next().unwrap();
    let expected = format!("accepted = {accepted} settled + 0 exhausted + 0 pending");
    assert!(count.ends_with(&expected), "{text}");
    accepted.replace(',', "").parse().unwrap()
}

#[test]
fn one_result_withheld_from_the_second_reader_is_a_difference() {
    let withheld = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&withheld);
    let shown = Arc::new(Shown::default());
    let looks = Arc::clone(&shown);
    let options = DevOptions {
        run_for: Some(Duration::from_secs(2)),
        rate: 50,
        seed: Some(11),
        patience: Some(Patience {
            settle: Duration::from_secs(6),
            grace: Duration::from_secs(1),
        }),
        keep: Arc::new(move |record| {
            looks.look(record);
            !matches!(record, Seen::Result { .. }) || seen.swap(true, Ordering::Relaxed)
        }),
        ..DevOptions::default()
    };
    let (verdict, told) = audited(options);
    let verdict = verdict.unwrap();
    assert!(withheld.load(Ordering::Relaxed), "{told:?}");
    assert_eq!(
        (verdict.differences(), verdict.missing.len()),
        (1, 1),
        "{verdict:?} {told:?}"
    );
    assert!(
        verdict.missing[0].contains("no result, but "),
        "{verdict:?}"
    );
    shown.is_well_formed(&verdict.counts);
}

#[test]
fn lines_of_a_file_are_published_bad_ones_with_their_number_and_a_dead_letter() {
    let now = settled::domain::wire_time::format(settled::clock::Clock::start().wall());
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(
        file,
        "{{\"type\":\"refund\",\"reqNO\":\"R1\",\"status\":3,\"at\":\"{now}\",\"source\":\"t\"}}\n\n\
         {{\"type\":\"refund\",\"reqNO\":7,\"status\":3,\"at\":\"{now}\",\"source\":\"t\"}}\n\
         {{\"type\":\"pay\",\"reqNO\":\"P1\",\"status\":3,\"at\":\"{now}\",\"source\":\"t\"}}\nnonsense"
    )
    .unwrap();
    let path = file.path().to_str().unwrap();
    let output = settled(&["--for", "2s", "--events", path])
        .output()
        .unwrap();
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("\n--events line 3: bad-number: "), "{text}");
    assert!(text.contains("\n--events line 5: not-json: "), "{text}");
    assert!(text.contains("types   pay, refund, transfer"), "{text}");
    assert!(text.contains("2 no events (2 dead letters)"), "{text}");
    assert!(
        text.contains("verified: 2 orders accepted = 2 settled"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_started_is_one_line_and_no_success() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (arguments, expected) in [
        (
            vec!["--events", "/nonexistent/events"],
            "--events /nonexistent/events: No such file",
        ),
        (vec!["--events", "/"], "--events /: "),
        (vec!["--bank-listen", &taken], "--bank-listen 127.0.0.1:"),
        (vec!["--api-listen", &taken], "cannot listen"),
        (vec!["--admin-listen", &taken], "cannot listen"),
        (vec!["--redis", "redis://127.0.0.1:1/0"], "--redis"),
        (vec!["--query-url", "ftp://bank"], "url"),
        (vec!["--query-url", "http://bank/{nothing}"], "url"),
    ] {
        let output = settled(&arguments).args(["--for", "1s"]).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            matches!(output.status.code(), Some(1 | 2)),
            "{arguments:?} {errors}"
        );
        assert!(errors.contains(expected), "{arguments:?} {errors}");
        assert_eq!(
            errors.trim_end().lines().count(),
            1,
            "{arguments:?} {errors}"
        );
    }
}

#[test]
fn a_closed_output_ends_the_run_without_claiming_a_count() {
    let mut child = settled(&[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    lines.read_line(&mut String::new()).unwrap();
    drop(lines);
    let mut errors = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut errors)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{errors}");
    assert!(errors.contains("standard output is closed"), "{errors}");
}

#[test]
fn any_client_publishes_without_a_key_and_reads_and_a_signal_ends_with_the_count() {
    let mut child = settled(&["--events", "-"])
        .stdout(Stdio::piped())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let [bootstrap, api, admin] = ["kafka", "api", "admin"].map(|name| address(&mut out, name));

    let world = World::by_default();
    let at = settled::domain::wire_time::format(settled::clock::Clock::start().wall());
    let events = (0..20).map(|number| {
        format!(
            r#"{{"type":"transfer","reqNO":"K{number}","status":"3","at":"{at}","source":"me"}}"#
        )
    });
    let garbage = "order K20 is in progress";
    let records = events.chain([garbage.to_owned()]).map(|value| Raw {
        value: Some(value.into_bytes()),
        ..Raw::default()
    });
    produce(&bootstrap, &world.events, records);
    line(&mut out, |line| line.contains("   settled 20   "));
    let results = world.read(&bootstrap, &world.results, Isolation::Committed);
    let keys: BTreeSet<_> = results.into_iter().map(|result| result.key).collect();
    let letters = world.read(&bootstrap, &world.dead_letters, Isolation::Committed);
    let kept: Vec<_> = letters.iter().map(|letter| &letter.value).collect();
    assert_eq!(kept, [&Some(garbage.as_bytes().to_vec())]);
    for (address, path, status, schema) in [
        (&api, "/v1/orders/transfer/K0", 200, "api-order"),
        (&api, "/v1/orders/refund/K0", 404, "api-error"),
        (&admin, "/readyz", 200, "readiness"),
    ] {
        let reply = get(address, path);
        assert_eq!(reply.status, status, "{reply:?}");
        world.book.validate(schema, reply.body.as_bytes()).unwrap();
    }

    signal(&child, "TERM");
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
    assert_eq!(keys.len(), 20, "{rest}");
    assert_eq!(settled_all(&rest), 20);
    assert!(rest.contains("1 no events (1 dead letters)"), "{rest}");
}

/// Reads on to a line of this kind.
fn line(out: &mut impl BufRead, wanted: impl Fn(&str) -> bool) -> String {
    let mut lines = out.lines().map_while(Result::ok);
    lines.find(|line| wanted(line)).expect("such a line")
}

/// The `host:port` in the line that begins with `name`.
fn address(out: &mut impl BufRead, name: &str) -> String {
    let row = line(out, |line| line.split_whitespace().next() == Some(name));
    let address = row.split_whitespace().nth(1).unwrap();
    let address = address.trim_start_matches("http://");
    address.split('/').next().unwrap().to_owned()
}

fn get(address: &str, path: &str) -> plain_http::Reply {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(plain_http::get(address.parse().unwrap(), path))
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}
