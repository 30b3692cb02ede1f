//! What a start refuses: one clear line each, with the way out, and the exit code.

use std::process::Output;

use settled::config::Secret;
use settled::domain::order::MarkKey;
use settled::store::redis::RedisStore;
use settled::store::script::{Floor, Token};
use settled::store::{Acquire, Store};

use crate::checker::Site;
use crate::support::process::free_ports;
use crate::support::redis::RedisServer;
use crate::support::topics::create_topic;

const TYPES: &str = r#"
[order_types.transfer]
query = { url = "http://127.0.0.1:9/" }
"#;

/// What `run` says is also what `check` says.
fn refused(site: &Site, said: &[&str]) {
    let check = site.settled(&["check"]);
    assert_eq!(check.status.code(), Some(1), "{check:?}");
    let lines = String::from_utf8(check.stdout).unwrap();
    let refused: Vec<_> = lines
        .lines()
        .filter(|line| line.starts_with("refused: "))
        .collect();
    assert_eq!(refused.len(), 1, "{lines}");
    for part in said {
        assert!(refused[0].contains(part), "{part}: {}", refused[0]);
    }
    let Output { status, stderr, .. } = site.settled(&["run"]);
    assert_eq!(status.code(), Some(1));
    let log = String::from_utf8(stderr).unwrap();
    let told = log.lines().filter(|line| line.contains(refused[0])).count();
    assert_eq!(told, 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_another_count_of_shards_than_topics_or_views_have_is_refused() {
    let Some(mut site) = Site::plan("shards", 4) else {
        return;
    };
    site.configure(TYPES);
    site.create_topics();
    let names = site.names.clone();

    // Another count of shards than the results have partitions.
    site.shards = 3;
    site.configure(TYPES);
    refused(&site, &[&names.results, "partitions", "set shards = 4"]);
    site.shards = 4;

    // A view of another count of shards, where the topics would do.
    let urls = [Secret::new(site.redis.url.clone())];
    let view = RedisStore::connect(&urls, "").await.unwrap();
    let acquire = Acquire {
        shard: 2,
        shards: 4,
        token: Token(1),
        floor: Some(Floor { e: 0, r: 0 }),
        mark_key: MarkKey([0; 16]),
    };
    view.acquire(acquire).await.unwrap();
    let for_ever = [("retention.ms", "-1")];
    create_topic(site.broker, "three-results", 3, &for_ever).await;
    site.names.results = "three-results".to_owned();
    site.shards = 3;
    site.configure(TYPES);
    refused(&site, &["redis", "for 4 shards, not 3", "set shards back"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_what_the_promises_rest_on_is_refused_with_the_way_out() {
    let Some(mut site) = Site::plan("refuses", 4) else {
        return;
    };
    site.configure(TYPES);
    let names = site.names.clone();

    // Missing: each of the three is told, with the command that makes them.
    let check = site.settled(&["check"]);
    assert_eq!(check.status.code(), Some(1));
    let lines = String::from_utf8(check.stdout).unwrap();
    for topic in [&names.events, &names.results, &names.dead_letters] {
        let line =
            format!("refused: {topic}: there is no such topic; way out: settled topics create");
        assert!(lines.lines().any(|told| told == line), "{lines}");
    }
    assert_eq!(site.settled(&["run"]).status.code(), Some(1));

    site.create_topics();
    let check = site.settled(&["check"]);
    assert!(check.status.success(), "{check:?}");

    // Results that are dropped before their events.
    create_topic(
        site.broker,
        "short-results",
        4,
        &[("retention.ms", "3600000")],
    )
    .await;
    site.names.results = "short-results".to_owned();
    site.configure(TYPES);
    refused(
        &site,
        &[
            "retention.ms",
            "kafka-configs.sh",
            "--entity-name short-results",
        ],
    );
    site.names.results = names.results;

    // A Redis that may drop keys, and none at all.
    site.redis = RedisServer::start(&["--maxmemory-policy", "allkeys-lru"]).unwrap();
    site.configure(TYPES);
    refused(
        &site,
        &[
            "redis",
            "allkeys-lru",
            "CONFIG SET maxmemory-policy noeviction",
        ],
    );
    let [port] = free_ports().unwrap();
    site.redis = RedisServer::start(&[]).unwrap();
    let url = std::mem::replace(&mut site.redis.url, format!("redis://127.0.0.1:{port}/0"));
    site.configure(TYPES);
    refused(&site, &["redis", &port.to_string(), "[redis] urls"]);
    site.redis.url = url;

    // No broker.
    site.configure(TYPES);
    let text = std::fs::read_to_string(site.config()).unwrap();
    let down = format!("127.0.0.1:{port}");
    std::fs::write(site.config(), text.replace(&site.broker.bootstrap, &down)).unwrap();
    refused(&site, &["kafka", &down, "[kafka] bootstrap"]);

    // A configuration that is none: exit code 2, with file and line.
    std::fs::write(site.config(), "shards = 4\nshard = 5\n").unwrap();
    let run = site.settled(&["run"]);
    assert_eq!(run.status.code(), Some(2));
    let told = String::from_utf8(run.stderr).unwrap();
    assert!(told.contains("settled.toml:2: shard"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_view_that_cannot_be_read_is_a_warning_and_all_of_them_refuse_the_start() {
    let Some(site) = Site::create("damaged", 4, TYPES) else {
        return;
    };
    site.put("s{2}meta", "somebody's hands");
    let check = site.settled(&["check"]);
    assert!(check.status.success(), "{check:?}");
    let lines = String::from_utf8(check.stdout).unwrap();
    let warning = "warning: redis: shard 2 will stand still: the view is damaged: ";
    assert!(lines.contains(warning), "{lines}");
    for shard in [0, 1, 3] {
        site.put(&format!("s{{{shard}}}meta"), "somebody's hands");
    }
    refused(&site, &["redis: the view is damaged", "delete the keys"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_fails_the_start() {
    let Some(site) = Site::create("port", 4, TYPES) else {
        return;
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let text = std::fs::read_to_string(site.config()).unwrap();
    let text = text.replacen("127.0.0.1:0", &taken.to_string(), 1);
    std::fs::write(site.config(), text).unwrap();
    let run = site.settled(&["run"]);
    assert_eq!(run.status.code(), Some(1));
    let told = String::from_utf8(run.stderr).unwrap();
    let last = told.lines().last().unwrap();
    assert!(
        last.contains("api") && last.contains(&taken.to_string()),
        "{told}"
    );
}
