//! What is shipped in deploy/ and beside it fits the program: every metric that an alert or a panel
//! names exists, the rules say what they should, the compose file holds together.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test stands on fails the test"
)]

#[path = "support/plain_http.rs"]
mod plain_http;
#[path = "support/prometheus.rs"]
mod prometheus;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, FromArgMatches};
use prometheus::Prometheus;
use serde_json::Value;
use settled::api::admin::{self, Admin};
use settled::api::health::{Health, Neighbour};
use settled::clock::Clock;
use settled::config::{self, Config};
use settled::dev::bank::BankArgs;
use settled::domain::order::TypeName;
use settled::kafka::Log;
use settled::metrics::Metrics;
use settled::metrics::label::{Label, Phase};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(shipped(path)).unwrap()
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn transfer() -> TypeName {
    TypeName::new("transfer").unwrap()
}

fn metrics(clock: Clock) -> Arc<Metrics> {
    Metrics::new(clock, &[transfer()]).unwrap()
}

/// A worker's admin listener.
struct Worker {
    address: SocketAddr,
    clock: Clock,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    _tasks: JoinSet<()>,
}

impl Worker {
    async fn start() -> Self {
        let clock = Clock::start();
        let metrics = metrics(clock);
        let health = Health::new(clock, Arc::clone(&metrics));
        let config = config::Admin {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            token: None,
        };
        let listener = admin::bind(&config).await.unwrap();
        let address = listener.local_addr();
        let admin = Admin {
            metrics: Arc::clone(&metrics),
            health: Arc::clone(&health),
        };
        let mut tasks = JoinSet::new();
        let stop = CancellationToken::new();
        tasks.spawn(async move { listener.serve(admin.router(), stop).await.unwrap() });
        Self {
            address,
            clock,
            metrics,
            health,
            _tasks: tasks,
        }
    }
}

/// Each word of `text` that begins with `settled_`.
fn metric_names(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("settled_"))
        .collect()
}

/// The metrics page of a worker that has a shard and knows of everything.
fn page() -> String {
    let metrics = metrics(Clock::start());
    let shard = metrics.shard(0);
    for log in Log::ALL {
        shard.set_headroom(*log, Duration::ZERO);
    }
    metrics.page().unwrap()
}

/// The labels of each metric that stands with braces in `text`, and their values: of one on the page,
/// or all that a selector names.
fn labelled(text: &str) -> impl Iterator<Item = (&str, &str, Vec<&str>)> {
    let metrics = text.match_indices("settled_").filter_map(|(at, _)| {
        let (metric, labels) = text[at..].split_once('{')?;
        let whole = metric
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_');
        whole.then_some((metric, labels.split_once('}')?.0))
    });
    metrics.flat_map(|(metric, labels)| {
        labels.split(',').map(move |label| {
            let (label, value) = label.split_once(['=', '!']).unwrap();
            let value = value.trim_start_matches(['=', '~']).trim_matches('"');
            (metric, label, value.split('|').collect())
        })
    })
}

#[test]
fn every_label_that_a_rule_or_a_panel_goes_by_is_on_the_page_with_each_value_named() {
    let page = page();
    let mut there: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for (metric, label, values) in labelled(&page) {
        there.entry((metric, label)).or_default().extend(values);
    }
    let (rules, board) = (
        yaml("deploy/alerts.yml"),
        yaml("deploy/grafana/settled.json"),
    );
    let mut expressions = Vec::new();
    for (file, each, of) in [(&rules, "groups", "rules"), (&board, "panels", "targets")] {
        let before = expressions.len();
        for one in file[each].as_array().unwrap() {
            let of = one[of].as_array().unwrap().iter();
            expressions.extend(of.map(|one| one["expr"].as_str().unwrap()));
        }
        assert!(expressions.len() > before + 10, "{expressions:?}");
    }
    for expression in expressions {
        for (metric, label, values) in labelled(expression) {
            let exist = there.get(&(metric, label));
            let exist = exist.unwrap_or_else(|| panic!("{metric} has no {label}: {expression}"));
            // A dashboard's variable stands for any.
            let mut missing = values.iter().filter(|value| !value.starts_with('$'));
            let missing = missing.find(|value| !exist.contains(*value));
            assert_eq!(missing, None, "{metric} {label}: {expression}");
        }
        for by in expression.split(" by (").skip(1) {
            let labels = by.split_once(')').unwrap().0;
            for label in labels.split(", ") {
                for metric in metric_names(expression) {
                    let exists = there.contains_key(&(metric, label));
                    assert!(exists, "{metric} has no {label}: {expression}");
                }
            }
        }
    }
}

#[test]
fn every_metric_that_an_alert_or_a_panel_names_exists() {
    let page = page();
    let exists = metric_names(&page);
    for file in [
        "deploy/alerts.yml",
        "deploy/alerts_test.yml",
        "deploy/grafana/settled.json",
    ] {
        let text = read(file);
        let named = metric_names(&text);
        assert!(named.len() > 3, "{file} names {named:?}");
        let unknown: Vec<_> = named.difference(&exists).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}");
    }
}

#[test]
fn promtool_accepts_the_rules_and_each_test_of_them_holds() {
    for arguments in [
        ["check", "config", "deploy/prometheus.yml"],
        ["check", "rules", "deploy/alerts.yml"],
        ["test", "rules", "deploy/alerts_test.yml"],
    ] {
        let promtool = Command::new("promtool")
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output();
        let Ok(output) = promtool else {
            assert!(
                std::env::var_os("CI").is_none(),
                "CI needs Debian's prometheus"
            );
            println!("skipped: promtool");
            return;
        };
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
    }
}

/// In a real run nothing but a fault of ours brings this about; the other alerts are in tests/life.
#[tokio::test]
async fn a_worker_that_works_on_no_shard_is_heard_of_once_and_not_any_more_when_it_does() {
    let worker = Worker::start().await;
    let shard = worker.metrics.shard(0);
    shard.set_phase(Phase::Open);
    shard.tick(worker.clock.monotonic());
    let Some(prometheus) = Prometheus::scraping(&[worker.address]).await else {
        return;
    };
    let alert = format!("SettledTickStalled {}", worker.address);
    prometheus.alert(&alert, true).await;
    shard.tick(worker.clock.monotonic());
    prometheus.alert(&alert, false).await;
    assert_eq!(prometheus.fired().await, [(alert, 1)].into());
    prometheus.stop().await;
}

#[test]
fn the_dashboard_shows_what_it_must() {
    let board: Value = serde_json::from_str(&read("deploy/grafana/settled.json")).unwrap();
    let titles: Vec<_> = board["panels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|panel| panel["title"].as_str().unwrap())
        .collect();
    for title in [
        "Pending orders",
        "Age of the oldest pending order",
        "Lateness",
        "Questions by answer",
        "Results",
        "Recoveries",
    ] {
        assert!(titles.contains(&title), "{title}: {titles:?}");
    }
}

#[test]
fn the_compose_file_holds_together() {
    let compose = yaml("docker-compose.yml");
    let services = compose["services"].as_object().unwrap();
    let volumes = compose["volumes"].as_object().unwrap();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for (name, service) in services {
        let one_shot = service["restart"] == "no";
        let image = service["image"].as_str().unwrap();
        assert!(!image.ends_with(":latest"), "{name}: {image} is not pinned");
        assert!(
            one_shot || service["healthcheck"]["test"].is_array(),
            "{name} has no health check"
        );
        for port in list(&service["ports"]) {
            let port = port.as_str().unwrap();
            assert!(
                port.starts_with("127.0.0.1:"),
                "{name} opens {port} to the network"
            );
        }
        for mount in list(&service["volumes"]) {
            let source = mount
                .as_str()
                .unwrap()
                .split(':')
                .next()
                .unwrap()
                .to_owned();
            let there = match source.strip_prefix("./") {
                Some(file) => shipped(file).is_file(),
                None => volumes.contains_key(&source),
            };
            assert!(there, "{name} mounts {source}, which is not there");
        }
        for (other, how) in service["depends_on"].as_object().into_iter().flatten() {
            let needed = &services[other];
            match how["condition"].as_str().unwrap() {
                "service_healthy" => assert!(needed["healthcheck"].is_object(), "{name}: {other}"),
                "service_completed_successfully" => assert_eq!(needed["restart"], "no", "{name}"),
                condition => panic!("{name} waits for {other} to be {condition}"),
            }
        }
    }
    let redis = services["redis"]["command"].to_string();
    for option in ["noeviction", "\"--appendonly\",\"yes\""] {
        assert!(redis.contains(option), "redis without {option}: {redis}");
    }
    let topics = services["topics"]["command"].to_string();
    assert!(topics.starts_with(r#"["topics","create""#), "{topics}");
}

#[test]
fn the_shipped_configuration_loads_and_fits_the_compose_file_and_the_bank() {
    let file = shipped("deploy/settled.toml");
    let load = |variables: &[(&str, &str)]| {
        Config::load(Some(&file), &variables.iter().copied().collect())
    };
    let refused = load(&[]).unwrap_err().to_string();
    assert!(refused.contains("ADMIN_TOKEN"), "{refused}");
    let config = load(&[("ADMIN_TOKEN", "hush")]).unwrap();

    let compose = yaml("docker-compose.yml");
    let settled = &compose["services"]["settled"];
    for listen in [config.api.listen, config.admin.listen] {
        assert!(listen.ip().is_unspecified(), "{listen} is in the container");
        let port = listen.port();
        let opened = Value::from(format!("127.0.0.1:{port}:{port}"));
        let ports = settled["ports"].as_array().unwrap();
        assert!(ports.contains(&opened), "{opened}: {ports:?}");
    }
    let kafka = &compose["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"];
    let inside = format!("INSIDE://{},", config.kafka.bootstrap);
    assert!(kafka.as_str().unwrap().starts_with(&inside), "{kafka}");
    let redis: http::Uri = config.redis.urls[0].reveal().parse().unwrap();
    assert!(compose["services"][redis.host().unwrap()].is_object());

    // The owner is a bank on the host, at its default port.
    let bank = BankArgs::augment_args(clap::Command::new("bank"));
    let bank = BankArgs::from_arg_matches(&bank.get_matches_from(["bank"])).unwrap();
    let owner: http::Uri = config.order_types[&transfer()].query.url.parse().unwrap();
    assert_eq!(owner.port_u16(), Some(bank.listen.port()));
    let hosts = settled["extra_hosts"].to_string();
    assert!(hosts.contains(owner.host().unwrap()), "{hosts}");
}

#[tokio::test]
async fn the_containers_health_check_passes_when_the_worker_is_ready_only() {
    let worker = Worker::start().await;
    let compose = yaml("docker-compose.yml");
    let test = compose["services"]["settled"]["healthcheck"]["test"].clone();
    let words: Vec<String> = serde_json::from_value(test).unwrap();
    assert_eq!(words[..3], ["CMD", "bash", "-c"]);
    assert!(words[3].contains("/dev/tcp/127.0.0.1/8081"), "{words:?}");
    let script = words[3].replace("8081", &worker.address.port().to_string());
    let healthy = async || {
        let output = tokio::process::Command::new("bash")
            .args(["-c", &script])
            .output()
            .await
            .unwrap();
        output.status.success()
    };
    assert!(!healthy().await);
    worker.health.joined();
    worker.health.reached(Neighbour::Kafka);
    worker.health.reached(Neighbour::Redis);
    assert!(healthy().await);
}

#[test]
fn the_image_runs_without_root_and_is_built_with_tls_from_locked_sources() {
    let dockerfile = read("Dockerfile");
    let after_last_from = dockerfile.rsplit_once("\nFROM ").unwrap().1;
    let user = after_last_from
        .lines()
        .find_map(|l| l.strip_prefix("USER "));
    assert!(
        user.is_some_and(|user| user != "root" && user != "0"),
        "{user:?}"
    );
    assert!(dockerfile.contains("--locked --features kafka-tls"));
    let rust = read("rust-toolchain.toml");
    let channel = rust.split('"').nth(1).unwrap().rsplit_once('.').unwrap().0;
    assert!(
        dockerfile.starts_with('#') && dockerfile.contains(&format!("FROM rust:{channel}-slim"))
    );
}
