//! `settled dev` as a whole: the binary's exit code and count, what a stranger gets wrong, and that
//! the second reader notices a single record that is withheld from it.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use settled::app::dev::{DevOptions, Patience, Told, run};
use settled::dev::audit::{Seen, Verdict};
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
    let count = text
        .lines()
        .find_map(|line| line.strip_prefix("verified: "))
        .unwrap_or_else(|| panic!("{text}"));
    let accepted: u64 = count.split(' ').next().unwrap().parse().unwrap();
    assert!(accepted >= 250, "{text}");
    assert!(
        count.ends_with(&format!(
            "accepted = {accepted} settled + 0 exhausted + 0 pending"
        )),
        "{text}"
    );
}

#[test]
fn one_result_withheld_from_the_second_reader_is_a_difference() {
    let withheld = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&withheld);
    let options = DevOptions {
        run_for: Some(Duration::from_secs(2)),
        rate: 50,
        seed: Some(11),
        patience: Some(Patience {
            settle: Duration::from_secs(6),
            grace: Duration::from_secs(1),
        }),
        keep: Arc::new(move |record| {
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
    let first = out.by_ref().lines().map_while(Result::ok).next().unwrap();
    let bootstrap = first.split_whitespace().nth(1).unwrap().to_owned();

    let at = settled::domain::wire_time::format(settled::clock::Clock::start().wall());
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &bootstrap)
        .create()
        .unwrap();
    for number in 0..20 {
        let value = format!(
            r#"{{"type":"transfer","reqNO":"K{number}","status":"3","at":"{at}","source":"me"}}"#
        );
        producer
            .send(BaseRecord::<(), _>::to("order-events").payload(&value))
            .unwrap();
    }
    producer.flush(Duration::from_secs(10)).unwrap();
    let results = results(&bootstrap, 20);
    signal(&child, "TERM");
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
    assert_eq!(results, 20, "{rest}");
    assert!(
        rest.contains("verified: 20 orders accepted = 20 settled"),
        "{rest}"
    );
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Reads results until there are so many, for a minute at most.
fn results(bootstrap: &str, wanted: usize) -> usize {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "anybody")
        .set("isolation.level", "read_committed")
        .create()
        .unwrap();
    let mut places = TopicPartitionList::new();
    for partition in 0..4 {
        places
            .add_partition_offset("order-results", partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&places).unwrap();
    let mut keys = std::collections::BTreeSet::new();
    for _ in 0..600 {
        if let Some(Ok(record)) = consumer.poll(Duration::from_millis(100)) {
            keys.insert(record.key().unwrap().to_vec());
        }
        if keys.len() == wanted {
            break;
        }
    }
    keys.len()
}
