//! Request templates: what is accepted at load, and that an order's values stay where they were put.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use settled::config::QueryConfig;
use settled::domain::order::ReqNo;
use settled::inquiry::{Subject, Template, Unaskable};

use crate::{header, query, type_name};

fn load(query: &QueryConfig) -> Result<Template, String> {
    Template::load(&type_name("transfer"), query).map_err(|fault| fault.to_string())
}

fn render(
    query: &QueryConfig,
    req_no: &str,
    fields: Option<&str>,
) -> Result<http::Request<Full<Bytes>>, Unaskable> {
    load(query).unwrap().render(&Subject {
        req_no: &ReqNo::new(req_no).unwrap(),
        query: fields,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        attempt: 3,
        deadline_ms: 2_000,
    })
}

fn get(url: &str) -> QueryConfig {
    QueryConfig {
        method: "GET".to_owned(),
        ..query(url)
    }
}

async fn text(request: http::Request<Full<Bytes>>) -> String {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn the_default_request_is_the_protocols() {
    let template = query("http://bank.internal/orders/query");
    let request = render(&template, "TX1", Some(r#"{"bank":"CMB"}"#)).unwrap();
    assert_eq!(request.method(), "POST");
    assert_eq!(request.uri(), "http://bank.internal/orders/query");
    for (name, value) in [
        ("host", "bank.internal"),
        ("content-type", "application/json"),
        ("settled-attempt", "3"),
        ("settled-deadline-ms", "2000"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
    ] {
        assert_eq!(request.headers()[name], value, "{name}");
    }
    assert!(!request.headers().contains_key("accept-encoding"));
    assert_eq!(
        text(request).await,
        r#"{"type":"transfer","reqNO":"TX1","query":{"bank":"CMB"}}"#
    );
    let request = render(&template, "TX1", None).unwrap();
    assert_eq!(
        text(request).await,
        r#"{"type":"transfer","reqNO":"TX1","query":{}}"#
    );
}

#[test]
fn an_orders_values_stay_inside_path_and_query() {
    let template = get("https://bank.internal:8443/o/{type}/{reqNO}?bank={query.bank}&x=1");
    for (req_no, bank, expected) in [
        ("TX1", "CMB", "/o/transfer/TX1?bank=CMB&x=1"),
        (
            "a?b=c#d",
            "&x=2",
            "/o/transfer/a%3Fb%3Dc%23d?bank=%26x%3D2&x=1",
        ),
        (
            "@169.254.169.254",
            "//169.254.169.254/",
            "/o/transfer/%40169.254.169.254?bank=%2F%2F169.254.169.254%2F&x=1",
        ),
        (
            "http:\\\\evil",
            "\r\nHost: evil",
            "/o/transfer/http%3A%5C%5Cevil?bank=%0D%0AHost%3A%20evil&x=1",
        ),
        ("%2e%2e", "招", "/o/transfer/%252e%252e?bank=%E6%8B%9B&x=1"),
        (
            "{reqNO}",
            "{type}",
            "/o/transfer/%7BreqNO%7D?bank=%7Btype%7D&x=1",
        ),
        ("a..b", "..", "/o/transfer/a..b?bank=..&x=1"),
    ] {
        let fields = serde_json::json!({ "bank": bank }).to_string();
        let request = render(&template, req_no, Some(&fields)).unwrap();
        let uri = request.uri();
        assert_eq!(uri.scheme_str(), Some("https"));
        assert_eq!(uri.authority().unwrap(), "bank.internal:8443");
        assert_eq!(uri.path_and_query().unwrap(), expected, "{req_no} {bank:?}");
        assert_eq!(request.headers()["host"], "bank.internal:8443");
    }
}

#[test]
fn a_value_that_would_leave_its_place_in_the_path_is_not_asked_about() {
    let template = get("http://bank.internal/orders/{reqNO}/{query.part}");
    for (req_no, part) in [
        ("..", "x"),
        (".", "x"),
        ("TX1", "../../admin"),
        ("TX1", "a/../../admin"),
        ("TX1", "..\\..\\admin"),
    ] {
        let fields = serde_json::json!({ "part": part }).to_string();
        let refused = render(&template, req_no, Some(&fields)).map(|r| r.uri().clone());
        assert_eq!(refused, Err(Unaskable::LeavesPath), "{req_no} {part}");
    }
    let joined = get("http://bank.internal/orders/.{reqNO};v=1/status");
    assert!(matches!(
        render(&joined, ".", None),
        Err(Unaskable::LeavesPath)
    ));
}

#[tokio::test]
async fn an_orders_values_stay_inside_the_strings_of_a_json_body() {
    let mut template = query("http://bank.internal/q");
    template.body = Some(r#"["{type}", {"no": "no {reqNO} \u007b \"q\"", "{query.k}": 1}]"#.into());
    let value = "v\",\"admin\":true,\"\\x\":\"\u{1}\n";
    let fields = serde_json::json!({ "k": value }).to_string();
    let request = render(&template, "T\"},{\"x\":\"\\", Some(&fields)).unwrap();
    let body: serde_json::Value = serde_json::from_str(&text(request).await).unwrap();
    assert_eq!(
        body,
        serde_json::json!(["transfer", { "no": "no T\"},{\"x\":\"\\ { \"q\"", value: 1 }])
    );
}

#[test]
fn an_orders_values_cannot_end_a_header() {
    let mut template = query("http://bank.internal/q");
    header(&mut template, "X-Bank", "bank {query.bank}/{reqNO}");
    header(&mut template, "authorization", "Bearer s3cret");
    let fields = serde_json::json!({ "bank": "a\r\nx-admin: 1\u{7f}é" }).to_string();
    let request = render(&template, "TX1", Some(&fields)).unwrap();
    assert_eq!(
        request.headers()["x-bank"],
        "bank a%0D%0Ax-admin: 1%7F%C3%A9/TX1"
    );
    assert!(!request.headers().contains_key("x-admin"));
    assert_eq!(request.headers()["authorization"], "Bearer s3cret");
    assert!(!format!("{:?}", request.headers()).contains("s3cret"));
}

#[test]
fn an_order_without_the_field_that_the_template_names_is_not_asked_about() {
    let template = get("http://bank.internal/q?bank={query.bank}");
    for fields in [None, Some("{}"), Some(r#"{"Bank":"x"}"#), Some("[]")] {
        assert_eq!(
            render(&template, "TX1", fields).map(|r| r.uri().clone()),
            Err(Unaskable::MissingField("bank".into())),
            "{fields:?}"
        );
    }
    assert!(render(&template, "TX1", Some(r#"{"bank":""}"#)).is_ok());
}

#[test]
fn templates_that_keep_their_place_are_accepted() {
    for url in [
        "http://bank.internal",
        "http://bank.internal?no={reqNO}",
        "https://[::1]:8443/q/{type}/{reqNO}",
        "http://10.0.0.1:80/q%7B?x={query.a-b_c.d}",
    ] {
        assert_eq!(load(&get(url)).err(), None, "{url}");
    }
    let request = render(&get("http://bank.internal:80?no={reqNO}"), "TX1", None).unwrap();
    assert_eq!(request.headers()["host"], "bank.internal");
    assert_eq!(request.uri().path_and_query().unwrap(), "/?no=TX1");
}

#[test]
fn a_url_that_cannot_be_used_is_refused_with_one_line() {
    for (url, expected) in [
        ("bank.internal/q", "expected a URL like http"),
        ("ftp://bank.internal/q", "expected a URL like http"),
        ("http:///q", "expected a URL like http"),
        ("http://bank.internal:99999/q", "expected a URL like http"),
        ("http://bank.internal:/q", "expected a URL like http"),
        (
            "{query.s}://bank.internal/q",
            "expected no placeholder before the path",
        ),
        (
            "http://{query.host}/q",
            "expected no placeholder before the path",
        ),
        (
            "http://bank.{type}.internal/q",
            "expected no placeholder before the path",
        ),
        (
            "http://bank.internal:{query.port}/q",
            "expected no placeholder before the path",
        ),
        (
            "http://bank.internal{reqNO}",
            "expected no placeholder before the path",
        ),
        (
            "http://user:pw@bank.internal/q",
            "expected no login in the URL",
        ),
        ("http://bank.internal/q#part", "expected no fragment"),
        (
            "http://bank.internal/q?a={reqNo}",
            "expected only the placeholders {type}, {reqNO} and {query.NAME}",
        ),
        (
            "http://bank.internal/q?a={query.}",
            "expected only the placeholders",
        ),
        (
            "http://bank.internal/q?a={query.a b}",
            "expected only the placeholders",
        ),
        (
            "http://bank.internal/q?a={reqNO",
            "expected only the placeholders",
        ),
        (
            "http://bank.internal/q?a=}",
            "expected only the placeholders",
        ),
        ("http://bank.internal/a b", "expected a URL like http"),
        (
            "http://bank.internal/a/../{reqNO}",
            "expected no . or .. segment",
        ),
    ] {
        let line = load(&get(url)).unwrap_err();
        assert!(line.contains(expected), "{url}: {line}");
        assert!(!line.contains('\n'), "{url}: {line}");
    }
}

#[test]
fn a_method_or_body_that_cannot_be_used_is_refused() {
    let put = QueryConfig {
        method: "PUT".to_owned(),
        ..query("http://bank.internal/q")
    };
    assert_eq!(
        load(&put).unwrap_err(),
        "method: expected \"GET\" or \"POST\""
    );
    for (body, expected) in [
        ("{\"n\": {reqNO}}", "expected JSON"),
        ("no={reqNO}", "expected JSON"),
        (r#"{"n": "{reqno}"}"#, "expected only the placeholders"),
        (r#"{"n": "{"}"#, "expected only the placeholders"),
    ] {
        let mut template = query("http://bank.internal/q");
        template.body = Some(body.to_owned());
        let line = load(&template).unwrap_err();
        assert!(line.contains(expected), "{body}: {line}");
        template.method = "GET".to_owned();
        template.body = Some("{}".to_owned());
        assert!(load(&template).unwrap_err().contains("expected no body"));
    }
}

#[test]
fn headers_that_settled_sets_itself_are_refused_and_no_secret_is_shown() {
    for (name, value, expected) in [
        ("Host", "evil", "headers.Host: expected not to be set"),
        ("content-length", "1", "expected not to be set"),
        ("Accept-Encoding", "gzip", "expected not to be set"),
        ("settled-attempt", "1", "expected not to be set"),
        ("traceparent", "x", "expected not to be set"),
        ("x y", "1", "expected the name of an HTTP header"),
        ("x-key", "s3cret\r\nx: 1", "expected visible ASCII"),
        ("x-key", "s3cret{", "expected visible ASCII"),
        ("x-key", "a{s3cret}", "expected visible ASCII"),
    ] {
        let mut template = query("http://bank.internal/q");
        header(&mut template, name, value);
        let line = load(&template).unwrap_err();
        assert!(line.contains(expected), "{name}: {line}");
        assert!(!line.contains("s3cret"), "{line}");
    }
}
