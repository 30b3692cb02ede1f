//! Debian's Prometheus with the configuration and the alert rules that are shipped in deploy/, scraping
//! given workers. Only times are shortened: scrape and evaluation to 1 s, every `for` and
//! `keep_firing_for` to an eighth, and the overdue minute to 10 s.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "what a test stands on fails the test and says what was skipped"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::plain_http;

/// The shipped `for` and `keep_firing_for` are divided by this: what bridges two scrapes of 5 s there
/// bridges two of 1 s here.
const FASTER: u64 = 8;

/// A running Prometheus; dropping it ends the process.
#[derive(Debug)]
pub struct Prometheus {
    address: SocketAddr,
    process: Child,
    _reading: JoinSet<()>,
    _directory: TempDir,
}

impl Prometheus {
    /// Starts it; `None`, said aloud, when the machine has none. Under CI that is a failure.
    pub async fn scraping(workers: &[SocketAddr]) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let config = write_config(directory.path(), workers);
        let process = Command::new("prometheus")
            .arg(format!("--config.file={config}"))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.path().display()
            ))
            .arg("--web.listen-address=127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let Ok(mut process) = process else {
            assert!(
                std::env::var_os("CI").is_none(),
                "CI needs Debian's prometheus"
            );
            eprintln!("skipped: real prometheus");
            return None;
        };
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let (mut said, mut address) = (Vec::new(), None);
        loop {
            let Some(line) = log.next_line().await.unwrap() else {
                panic!("prometheus did not start: {said:#?}");
            };
            if line.contains("\"Listening on\"") {
                address = line.split("address=").nth(1).map(|a| a.parse().unwrap());
            } else if line.contains("Server is ready") {
                break;
            }
            said.push(line);
        }
        // Whoever stops reading a pipe stops its writer when it is full.
        let mut reading = JoinSet::new();
        reading.spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Some(Self {
            address: address.unwrap(),
            process,
            _reading: reading,
            _directory: directory,
        })
    }

    /// The alerts that fire now, each by its name and what tells it from others of that name.
    async fn firing(&self) -> BTreeSet<String> {
        let body = plain_http::get(self.address, "/api/v1/alerts").await.json();
        let alerts = body["data"]["alerts"].as_array().unwrap().iter();
        let firing = alerts.filter(|alert| alert["state"] == "firing");
        firing.map(|alert| told_apart(&alert["labels"])).collect()
    }

    /// How often each alert has begun to fire since the start.
    pub async fn fired(&self) -> BTreeMap<String, usize> {
        // The value is the time at which the condition began to hold: another one, another alert.
        let began = r#"(ALERTS_FOR_STATE and ignoring(alertstate) ALERTS{alertstate="firing"})"#;
        // Up to a second from now: what has just begun counts too.
        let series = self.find(&format!("{began}[1h:500ms] offset -1s")).await;
        let counted = series.iter().map(|alert| {
            let times = alert["values"].as_array().unwrap().iter();
            let times: BTreeSet<_> = times.map(|sample| sample[1].as_str().unwrap()).collect();
            (told_apart(&alert["metric"]), times.len())
        });
        counted.collect()
    }

    /// Waits until the alert fires, or does not.
    pub async fn alert(&self, alert: &str, fires: bool) {
        let within = Duration::from_mins(1);
        let seen = tokio::time::timeout(within, async {
            while self.firing().await.contains(alert) != fires {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let seen = seen.await.is_ok();
        let firing = self.firing().await;
        assert!(seen, "{alert} fires: {}; all: {firing:?}", !fires);
    }

    async fn find(&self, promql: &str) -> Vec<Value> {
        let path = format!("/api/v1/query?query={}", percent_encoded(promql));
        let reply = plain_http::get(self.address, &path).await;
        assert_eq!(reply.status, 200, "{promql}: {reply:?}");
        assert!(reply.head.contains("application/json"), "{reply:?}");
        let found = &reply.json()["data"]["result"];
        found.as_array().unwrap().clone()
    }

    /// Ends the process and waits for it.
    pub async fn stop(mut self) {
        self.process.kill().await.unwrap();
    }
}

/// An alert's name and what tells it from others of that name: its type, reason, kind or instance.
fn told_apart(labels: &Value) -> String {
    let mut labels: BTreeMap<String, String> = serde_json::from_value(labels.clone()).unwrap();
    let name = labels.remove("alertname").unwrap();
    labels.retain(|label, _| !["__name__", "severity", "job"].contains(&label.as_str()));
    let words: Vec<_> = [name].into_iter().chain(labels.into_values()).collect();
    words.join(" ")
}

/// Writes the shipped files with other targets and times; each replacement must find its place.
fn write_config(directory: &Path, workers: &[SocketAddr]) -> String {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let targets: Vec<_> = workers.iter().map(|w| format!("\"{w}\"")).collect();
    let mut config = fs::read_to_string(shipped.join("prometheus.yml")).unwrap();
    for (from, to) in [
        ("\"settled:8081\"", targets.join(", ").as_str()),
        ("scrape_interval: 5s", "scrape_interval: 1s"),
        ("evaluation_interval: 15s", "evaluation_interval: 1s"),
    ] {
        config = replaced(&config, from, to);
    }
    let rules = fs::read_to_string(shipped.join("alerts.yml")).unwrap();
    let overdue = "(settled_oldest_overdue_age_seconds) >";
    let rules = replaced(&rules, &format!("{overdue} 60"), &format!("{overdue} 10"));
    let rules: Vec<_> = rules.lines().map(sooner).collect();
    fs::write(directory.join("alerts.yml"), rules.join("\n")).unwrap();
    let path = directory.join("prometheus.yml");
    fs::write(&path, config).unwrap();
    path.display().to_string()
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from}");
    text.replace(from, to)
}

/// A line of the rules; one that says how long, with that time shortened.
fn sooner(line: &str) -> String {
    let indent = line.len() - line.trim_start().len();
    let (indent, rest) = line.split_at(indent);
    match rest.split_once(": ") {
        Some((key @ ("for" | "keep_firing_for"), time)) => {
            let (number, unit) = time.split_at(time.len() - 1);
            let unit_ms = match unit {
                "s" => 1_000,
                "m" => 60_000,
                _ => panic!("{line}"),
            };
            let ms = number.parse::<u64>().unwrap() * unit_ms / FASTER;
            format!("{indent}{key}: {ms}ms")
        }
        _ => line.to_owned(),
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
