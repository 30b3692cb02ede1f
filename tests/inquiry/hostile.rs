//! Owners that would have us ask elsewhere, unpack, read without an end, or wait.

use std::time::Duration;

use settled::inquiry::{Outcome, Template};

use crate::faults::ask_within;
use crate::owner_stub::{Behaviour, OwnerStub};
use crate::{query, type_name};

#[test]
fn a_link_local_address_in_a_url_is_refused_unless_the_type_allows_it() {
    for host in [
        "169.254.169.254",
        "169.254.1.1:8080",
        "[fe80::1]",
        "[fd00:ec2::254]:80",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "100.100.100.200",
    ] {
        let mut query = query(format!("http://{host}/latest/meta-data"));
        let fault = Template::load(&type_name("transfer"), &query).unwrap_err();
        assert!(fault.problem.contains("allow_link_local"), "{fault}");
        query.allow_link_local = true;
        assert!(Template::load(&type_name("transfer"), &query).is_ok());
    }
}

#[tokio::test]
async fn a_redirect_to_a_metadata_address_or_home_is_not_followed() {
    let elsewhere = OwnerStub::answering("200 OK", "", b"{}").await;
    for to in [elsewhere.url(), "http://169.254.169.254/latest".to_owned()] {
        let headers = format!("location: {to}\r\n");
        let stub = OwnerStub::answering("307 Temporary", &headers, b"").await;
        let outcome = ask_within(&stub.url(), Duration::from_mins(1)).await;
        assert!(matches!(outcome, Outcome::Http { status: 307, .. }));
        assert_eq!(stub.requests(), 1);
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn nobody_is_asked_to_pack_an_answer() {
    let stub = OwnerStub::answering("200 OK", "", b"{}").await;
    ask_within(&stub.url(), Duration::from_mins(1)).await;
    let head = stub.last_head();
    assert!(!head.contains("accept-encoding"), "{head}");
}

/// Each would go on for ever; the deadline covers all of them.
#[tokio::test]
async fn what_never_ends_is_over_at_the_deadline_or_at_its_cap() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let again = |head: &str, piece: &str| Behaviour::Repeats(head.into(), piece.into());
    for behaviour in [
        again("", "HTTP/1.1 100 Continue\r\n\r\n"),
        again("", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
        again("HTTP/1.1 200 OK\r\n", "x-more: 1\r\n"),
        again("HTTP/1.1 200 ", "O"),
        again(&format!("{chunked}1;"), "extension=1;"),
        again(&format!("{chunked}1;a=b\r\n \r\n"), "1;a=b\r\n \r\n"),
        again(&format!("{chunked}0\r\n"), "x-trailer: 1\r\n"),
        again("HTTP/1.1 200 OK\r\n\r\n", "          "),
        Behaviour::Drips,
    ] {
        let stub = OwnerStub::start(behaviour.clone()).await;
        let outcome = ask_within(&stub.url(), Duration::from_secs(1)).await;
        assert!(
            matches!(
                outcome,
                Outcome::TimedOut | Outcome::Unreachable | Outcome::TooLarge
            ),
            "{behaviour:?}: {outcome:?}"
        );
        assert_eq!(stub.requests(), 1, "{behaviour:?}");
    }
}

/// The environment's proxies are those of other programs: an owner's secrets are not for them.
#[tokio::test]
async fn a_proxy_of_the_environment_is_not_used() {
    let proxy = OwnerStub::answering("200 OK", "", b"{}").await;
    let proxy_url = format!("http://{}", proxy.addr);
    let mut asker = tokio::process::Command::new(std::env::current_exe().unwrap());
    asker.args([
        "--exact",
        "--ignored",
        "hostile::asks_an_owner_that_nobody_knows",
    ]);
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        asker.env(name, &proxy_url);
    }
    let ended = asker.output().await.unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert!(
        String::from_utf8_lossy(&ended.stdout).contains("1 passed"),
        "{ended:?}"
    );
    assert_eq!(proxy.connections(), 0);
}

#[tokio::test]
#[ignore = "the other half of a_proxy_of_the_environment_is_not_used"]
async fn asks_an_owner_that_nobody_knows() {
    let outcome = ask_within("http://owner.invalid/q", Duration::from_secs(20)).await;
    assert!(matches!(outcome, Outcome::Unreachable | Outcome::TimedOut));
}
