//! `examples/ResultsReader.java`, compiled and run as its readers would.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rdkafka::producer::Producer;
use serde_json::Value;

use crate::checker::Site;
use crate::support::schemas::SchemaBook;
use crate::support::topics::{Raw, create_topic, open_transaction, produce};

const TIMEOUT: Duration = Duration::from_secs(20);

/// The schemas' own example of a result, for another order.
fn result(example: &str, req_no: &str) -> Raw {
    let file = SchemaBook::folder().join(format!("examples/{example}.json"));
    let mut value: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    value["reqNO"] = req_no.into();
    value["id"] = format!("{:0>32}", req_no.to_lowercase()).into();
    Raw {
        partition: Some(0),
        key: Some(format!("transfer/{req_no}").into_bytes()),
        value: Some(value.to_string().into_bytes()),
        ..Raw::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_java_reader_acts_once_on_each_settled_result_and_on_nothing_else() {
    let Some(site) = Site::plan("java", 1) else {
        return;
    };
    let libs = std::env::var_os("SETTLED_TEST_KAFKA_LIBS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/kafka-libs"),
        PathBuf::from,
    );
    let compiled = Command::new("javac")
        .arg("-cp")
        .arg(libs.join("*"))
        .arg("-d")
        .arg(site.file("classes"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ResultsReader.java"))
        .output();
    let compiled = match compiled {
        Ok(compiled) => compiled,
        Err(error) => {
            println!("skipped: java (javac: {error})");
            assert!(std::env::var_os("CI").is_none(), "javac is needed under CI");
            return;
        }
    };
    assert!(compiled.status.success(), "{compiled:?}");

    let (bootstrap, topic) = (&site.broker.bootstrap, &site.names.results);
    create_topic(site.broker, topic, 1, &[]).await;
    let aborted = open_transaction(
        bootstrap,
        &site.names.app,
        topic,
        &[result("result.settled", "ABBA")],
    );
    aborted.abort_transaction(TIMEOUT).unwrap();
    let records = [
        result("result.exhausted", "E1"),
        result("result.settled", "A1"),
        result("result.settled", "A1"),
        result("result.settled", "B2"),
    ];
    let transaction = open_transaction(bootstrap, &site.names.app, topic, &records);
    transaction.commit_transaction(TIMEOUT).unwrap();
    produce(bootstrap, topic, [result("result.settled", "C3")]);

    let mut class_path = libs.join("*").into_os_string();
    class_path.push(":");
    class_path.push(site.file("classes"));
    let mut java = Command::new("java")
        .arg("-cp")
        .arg(class_path)
        .args(["ResultsReader", bootstrap, topic, &site.names.app])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let told = BufReader::new(java.stdout.take().unwrap()).lines();
    let told: Vec<String> = told.take(3).map(Result::unwrap).collect();
    java.kill().unwrap();
    java.wait().unwrap();
    let settled = |req_no| format!("transfer/{req_no} ended with status 1");
    assert_eq!(told, ["A1", "B2", "C3"].map(settled));
}
