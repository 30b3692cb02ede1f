//! What the real client makes of an owner that misbehaves, and what that means for the order.

use std::time::Duration;

use settled::clock::Clock;
use settled::domain::answer::{Answer, Contract, CouldNotAsk, judge};
use settled::domain::order::ReqNo;
use settled::domain::status::Terminal;
use settled::inquiry::{BODY_MAX, Http, Outcome, Subject, Template};

use crate::owner_stub::{Behaviour, OwnerStub, answer};
use crate::{query, type_name};

const GOOD: &[u8] = br#"{"status":"1","reqNO":"TX1"}"#;

pub async fn ask_within(url: &str, deadline: Duration) -> Outcome {
    let mut query = query(url);
    query.timeout = deadline;
    let template = Template::load(&type_name("transfer"), &query).unwrap();
    let subject = Subject {
        req_no: &ReqNo::new("TX1").unwrap(),
        query: None,
        traceparent: None,
        attempt: 1,
        deadline_ms: 1_000,
    };
    let client = Http::new(Clock::start(), 4, &query).unwrap();
    client
        .send(template.render(&subject).unwrap(), deadline)
        .await
}

async fn ask(stub: &OwnerStub) -> Outcome {
    ask_within(&stub.url(), Duration::from_mins(1)).await
}

fn meaning(outcome: &Outcome) -> Answer {
    judge(
        &outcome.reply(),
        &ReqNo::new("TX1").unwrap(),
        &Contract::default(),
    )
}

fn could_not_ask(outcome: &Outcome) -> Option<(CouldNotAsk, Option<u64>)> {
    match meaning(outcome) {
        Answer::CouldNotAsk { why, retry_after } => Some((why, retry_after)),
        _ => None,
    }
}

fn is_violation(outcome: &Outcome) -> bool {
    matches!(meaning(outcome), Answer::Unknown { violation: Some(_) })
}

#[tokio::test]
async fn a_good_answer_settles_the_order() {
    let stub = OwnerStub::answering("200 OK", "", GOOD).await;
    let outcome = ask(&stub).await;
    assert!(matches!(
        meaning(&outcome),
        Answer::Terminal {
            status: Terminal::Success,
            ..
        }
    ));
    assert_eq!(outcome.body(), GOOD);
}

#[tokio::test]
async fn an_answer_in_many_pieces_is_one_body() {
    let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                  e\r\n{\"status\":\"1\",\r\ne\r\n\"reqNO\":\"TX1\"}\r\n0\r\n\r\n";
    let stub = OwnerStub::start(Behaviour::Sends(chunks.into())).await;
    assert_eq!(ask(&stub).await.body(), GOOD);
}

#[tokio::test]
async fn a_refused_connection_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/q", listener.local_addr().unwrap());
    drop(listener);
    let outcome = ask_within(&url, Duration::from_mins(1)).await;
    assert_eq!(outcome, Outcome::Unreachable);
}

#[tokio::test]
async fn a_connection_that_breaks_is_unreachable_and_asked_once_only() {
    let half = answer("200 OK", "", GOOD);
    let half = half[..half.len() - 5].to_vec();
    for behaviour in [
        Behaviour::Closes,
        Behaviour::Resets,
        Behaviour::SendsAndCloses(half),
        Behaviour::SendsAndCloses(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
    ] {
        let stub = OwnerStub::start(behaviour.clone()).await;
        assert_eq!(ask(&stub).await, Outcome::Unreachable, "{behaviour:?}");
        assert_eq!(stub.requests(), 1, "{behaviour:?}");
    }
}

#[tokio::test]
async fn tls_towards_an_owner_that_speaks_none_is_unreachable() {
    let stub = OwnerStub::answering("200 OK", "", GOOD).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/q", listener.local_addr().unwrap());
    let asking = ask_within(&url, Duration::from_mins(1));
    let plain = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
    };
    let (outcome, ()) = tokio::join!(asking, plain);
    assert_eq!(outcome, Outcome::Unreachable);
    assert_eq!(stub.connections(), 0);
}

#[tokio::test]
async fn silence_and_a_slow_drip_end_at_the_deadline() {
    for behaviour in [Behaviour::Hangs, Behaviour::Drips] {
        let stub = OwnerStub::start(behaviour.clone()).await;
        let outcome = ask_within(&stub.url(), Duration::from_millis(80)).await;
        assert_eq!(outcome, Outcome::TimedOut, "{behaviour:?}");
        assert_eq!(
            could_not_ask(&outcome),
            Some((CouldNotAsk::TimedOut, None)),
            "{behaviour:?}"
        );
    }
}

#[tokio::test]
async fn statuses_other_than_2xx_say_why_the_owner_could_not_be_asked() {
    let later = "retry-after: 7\r\n";
    for (status, headers, why, retry_after) in [
        ("500 Oops", "", CouldNotAsk::ServerError, None),
        ("503 Busy", later, CouldNotAsk::ServerError, Some(7_000)),
        (
            "429 Slow down",
            later,
            CouldNotAsk::TooManyRequests,
            Some(7_000),
        ),
        ("404 Not Found", "", CouldNotAsk::NotFound, None),
        ("401 Who", "", CouldNotAsk::Configuration, None),
        ("403 No", "", CouldNotAsk::Configuration, None),
        ("400 What", "", CouldNotAsk::Configuration, None),
    ] {
        // A body that would settle the order, were it looked at.
        let stub = OwnerStub::answering(status, headers, GOOD).await;
        let outcome = ask(&stub).await;
        assert_eq!(
            could_not_ask(&outcome),
            Some((why, retry_after)),
            "{status}"
        );
        assert_eq!(outcome.body(), b"", "{status}");
    }
}

#[tokio::test]
async fn a_5xx_with_an_endless_page_is_still_a_5xx() {
    let stub = OwnerStub::answering("502 Bad Gateway", "", &vec![b'x'; BODY_MAX * 2]).await;
    assert_eq!(
        could_not_ask(&ask(&stub).await),
        Some((CouldNotAsk::ServerError, None))
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = OwnerStub::answering("200 OK", "", GOOD).await;
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let location = format!("location: {}\r\n", elsewhere.url());
        let stub = OwnerStub::answering(status, &location, b"").await;
        assert_eq!(
            could_not_ask(&ask(&stub).await),
            Some((CouldNotAsk::Configuration, None)),
            "{status}"
        );
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn more_than_the_limit_is_not_read_however_it_is_announced() {
    let full = vec![b' '; BODY_MAX];
    let stub = OwnerStub::answering("200 OK", "", &full).await;
    assert_eq!(ask(&stub).await.body().len(), BODY_MAX);
    let more = vec![b' '; BODY_MAX + 1];
    let stub = OwnerStub::answering("200 OK", "", &more).await;
    assert_eq!(ask(&stub).await, Outcome::TooLarge);
    let chunked = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n",
        more.len()
    );
    let bytes = [chunked.as_bytes(), &more, b"\r\n0\r\n\r\n"].concat();
    let stub = OwnerStub::start(Behaviour::Sends(bytes)).await;
    let outcome = ask(&stub).await;
    assert_eq!(outcome, Outcome::TooLarge);
    assert!(is_violation(&outcome));
}

#[tokio::test]
async fn an_endless_head_is_given_up() {
    let head = format!("x-filler: {}\r\n", "x".repeat(200_000));
    let stub = OwnerStub::answering("200 OK", &head, GOOD).await;
    assert_eq!(ask(&stub).await, Outcome::Unreachable);
}

#[tokio::test]
async fn nonsense_with_status_200_is_a_violation_and_never_an_outcome() {
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    for (headers, body) in [
        (
            "content-type: text/html\r\n",
            &b"<html>maintenance</html>"[..],
        ),
        ("content-encoding: gzip\r\n", &gzip),
        ("", br#"{"status":"2","reqNO":"TX2"}"#),
        ("", br#"{"status":"2"}"#),
        ("", b""),
    ] {
        let stub = OwnerStub::answering("200 OK", headers, body).await;
        assert!(is_violation(&ask(&stub).await), "{headers}{body:?}");
    }
}
