//! Each trick as it looks on the wire.

use std::time::Duration;

use settled::dev::bank::{BankOptions, Trick, Tricks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::World;

/// A bank that plays this trick with every question.
async fn playing(trick: Trick) -> World {
    World::new(BankOptions {
        tricks: Tricks::default().with(trick, 1.0).unwrap(),
        retry_after: Duration::from_secs(7),
        ..BankOptions::default()
    })
    .await
}

/// Asks by hand.
async fn asked(world: &World) -> TcpStream {
    let mut stream = TcpStream::connect(world.bank.local_addr()).await.unwrap();
    let question = b"GET /transfer/TX1 HTTP/1.1\r\nhost: bank\r\n\r\n";
    stream.write_all(question).await.unwrap();
    stream
}

/// Everything that comes until the connection ends, and whether it ended well.
async fn all(world: &World) -> (Vec<u8>, bool) {
    let mut stream = asked(world).await;
    let mut all = Vec::new();
    let end = stream.read_to_end(&mut all).await;
    (all, end.is_ok())
}

#[tokio::test]
async fn a_status_brings_the_headers_that_belong_to_it() {
    for (code, header) in [
        (
            307,
            Some(("location", "http://169.254.169.254:80/latest/meta-data/")),
        ),
        (429, Some(("retry-after", "7"))),
        (503, Some(("retry-after", "7"))),
        (500, None),
        (401, None),
        (404, None),
    ] {
        let world = playing(Trick::Code(code)).await;
        let mut stream = asked(&world).await;
        let mut head = vec![0; 4_096];
        let length = stream.read(&mut head).await.unwrap();
        let head = String::from_utf8(head[..length].to_vec()).unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {code} ")), "{head}");
        for name in ["location", "retry-after"] {
            let line = head.lines().find_map(|line| line.strip_prefix(name));
            let expected = header.filter(|(named, _)| *named == name);
            let expected = expected.map(|(_, value)| format!(": {value}"));
            assert_eq!(line.map(str::to_owned), expected, "{code} {name}");
        }
    }
}

#[tokio::test]
async fn a_whole_reply_can_be_none_of_the_protocol() {
    for (trick, told) in [
        (Trick::Html, "<title>Maintenance</title>"),
        (Trick::Empty, ""),
        (Trick::OtherNumber, r#"{"status":"1","reqNO":"other-TX1""#),
        (Trick::NoNumber, r#"{"status":"1","retCd""#),
        (Trick::OtherStatus, r#"{"status":"7","reqNO":"TX1""#),
    ] {
        let world = playing(trick).await;
        let (status, body) = world.send("GET", "/transfer/TX1", "").await;
        assert_eq!(status, 200, "{trick}");
        assert!(
            body.contains(told) && body.is_empty() == told.is_empty(),
            "{trick}: {body}"
        );
        assert_eq!(world.bank.summary().tricks.of(trick), 1);
    }
}

#[tokio::test]
async fn a_connection_that_strays_ends_as_it_is_named() {
    let (bytes, well) = all(&playing(Trick::Close).await).await;
    assert_eq!((bytes.len(), well), (0, true));
    let (_, well) = all(&playing(Trick::Reset).await).await;
    assert!(!well, "reset");
    for (trick, place) in [
        (Trick::HugeHeader, "x-filler: "),
        (Trick::HugeBody, "\"filler\":\""),
    ] {
        let (bytes, well) = all(&playing(trick).await).await;
        assert!(well && bytes.len() > 10_000_000, "{trick}: {}", bytes.len());
        let text = String::from_utf8(bytes).unwrap();
        let (before, after) = text.split_once(&format!("{place}xxxx")).unwrap();
        let both = format!("{before}{}", after.trim_start_matches('x'));
        assert!(
            both.contains(r#"{"status":"1","reqNO":"TX1""#),
            "{trick}: {both}"
        );
    }
}

#[tokio::test]
async fn a_drip_is_a_byte_a_second_and_a_hang_is_nothing() {
    let world = playing(Trick::Drip).await;
    let mut stream = asked(&world).await;
    let mut head = vec![0; 4_096];
    let mut length = 0;
    while !head[..length].ends_with(b"\r\n\r\n{") {
        length += stream.read(&mut head[length..]).await.unwrap();
    }
    let next = tokio::time::timeout(Duration::from_millis(500), stream.read_u8()).await;
    assert!(next.is_err(), "within half a second: {next:?}");
    assert_eq!(stream.read_u8().await.unwrap(), b'"');

    let world = playing(Trick::Hang).await;
    let mut stream = asked(&world).await;
    let next = tokio::time::timeout(Duration::from_millis(100), stream.read_u8()).await;
    assert!(next.is_err(), "{next:?}");
    assert_eq!(world.bank.summary().hangs, 1);
}
