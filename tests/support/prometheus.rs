//! Debian's Prometheus with the configuration and the alert rules that are shipped in deploy/, scraping
//! given workers. Only times are shortened: scrape and evaluation to 1 s and every `for` to 0 s.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "what a test stands on fails the test and says what was skipped"
)]

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

/// A running Prometheus; dropping it ends the process.
#[derive(Debug)]
pub struct Prometheus {
    pub address: SocketAddr,
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

    /// The value of each series that `promql` finds now.
    pub async fn query(&self, promql: &str) -> Vec<f64> {
        let path = format!("/api/v1/query?query={}", percent_encoded(promql));
        let reply = plain_http::get(self.address, &path).await;
        assert_eq!(reply.status, 200, "{promql}: {reply:?}");
        assert!(reply.head.contains("application/json"), "{reply:?}");
        let body = reply.json();
        let series = body["data"]["result"].as_array().unwrap();
        series
            .iter()
            .map(|one| one["value"][1].as_str().unwrap().parse().unwrap())
            .collect()
    }

    /// The names of the alerts that fire now, with their labels.
    pub async fn firing(&self) -> Vec<(String, Value)> {
        let body = plain_http::get(self.address, "/api/v1/alerts").await.json();
        let alerts = body["data"]["alerts"].as_array().unwrap();
        alerts
            .iter()
            .filter(|alert| alert["state"] == "firing")
            .map(|alert| {
                let name = alert["labels"]["alertname"].as_str().unwrap();
                (name.to_owned(), alert["labels"].clone())
            })
            .collect()
    }

    /// Waits until `promql` finds exactly one series with this value.
    pub async fn shows(&self, promql: &str, expected: f64) {
        let within = Duration::from_secs(30);
        let seen = tokio::time::timeout(within, async {
            while self.query(promql).await != [expected] {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let seen = seen.await.is_ok();
        assert!(
            seen,
            "{promql} is {:?}, not {expected}",
            self.query(promql).await
        );
    }

    /// Waits until the alert fires, or does not.
    pub async fn alert(&self, name: &str, fires: bool) {
        let within = Duration::from_secs(30);
        let seen = tokio::time::timeout(within, async {
            while self.firing().await.iter().any(|(n, _)| n == name) != fires {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let seen = seen.await.is_ok();
        assert!(
            seen,
            "{name} fires: {}; all: {:?}",
            !fires,
            self.firing().await
        );
    }

    /// Ends the process and waits for it.
    pub async fn stop(mut self) {
        self.process.kill().await.unwrap();
    }
}

/// Writes the shipped files with other targets and times; each replacement must find its place.
fn write_config(directory: &Path, workers: &[SocketAddr]) -> String {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let targets: Vec<_> = workers.iter().map(|w| format!("\"{w}\"")).collect();
    let mut config = fs::read_to_string(shipped.join("prometheus.yml")).unwrap();
    for (from, to) in [
        ("\"settled:8081\"", targets.join(", ")),
        ("scrape_interval: 5s", "scrape_interval: 1s".to_owned()),
        (
            "evaluation_interval: 15s",
            "evaluation_interval: 1s".to_owned(),
        ),
    ] {
        assert!(config.contains(from), "prometheus.yml has no {from}");
        config = config.replace(from, &to);
    }
    let rules = fs::read_to_string(shipped.join("alerts.yml")).unwrap();
    let rules: Vec<_> = rules
        .lines()
        .map(|line| match line.split_once("for: ") {
            Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 0s"),
            _ => line.to_owned(),
        })
        .collect();
    fs::write(directory.join("alerts.yml"), rules.join("\n")).unwrap();
    let path = directory.join("prometheus.yml");
    fs::write(&path, config).unwrap();
    path.display().to_string()
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
