//! Secrets come by reference and leave by no way; what is shown loads again.

use std::fmt::Write;

use settled::config::{Config, Environment};

use super::fields::EVERY_FIELD;
use super::{MINIMAL, load};

#[test]
fn secrets_come_from_the_environment_and_from_files_without_their_final_newline() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("token"), "t\n").unwrap();
    std::fs::write(dir.path().join("empty"), "\n").unwrap();
    let file = dir.path().join("settled.toml");
    let write = |token: &str| {
        let text = format!(
            "redis.urls = [\"env:REDIS\"]\nadmin.token = \"{token}\"\n\
             kafka.properties = {{ \"client.id\" = \"env:ID\" }}\n{MINIMAL}"
        );
        std::fs::write(&file, text).unwrap();
    };
    let environment: Environment = [("REDIS", "redis://:pw@h\n"), ("ID", "me\r\n")]
        .into_iter()
        .collect();
    write("file:token");
    let config = Config::load(Some(&file), &environment).unwrap();
    assert_eq!(config.redis.urls[0].reveal(), "redis://:pw@h");
    assert_eq!(config.admin.token.as_ref().unwrap().reveal(), "t");
    assert_eq!(config.kafka.properties["client.id"].reveal(), "me");
    let shown = config.to_toml();
    assert!(
        shown.contains("\"env:REDIS\"") && shown.contains("\"file:token\""),
        "{shown}"
    );

    for (token, expected) in [
        (
            "file:gone",
            "file:gone: expected a file: No such file or directory (os error 2)",
        ),
        ("file:empty", "file:empty: expected a value, found nothing"),
        (
            "(secret)",
            "(secret): expected the secret itself, env:NAME or file:PATH",
        ),
        ("", "expected visible ASCII characters"),
    ] {
        write(token);
        let told = Config::load(Some(&file), &environment)
            .unwrap_err()
            .to_string();
        assert!(
            told.ends_with(&format!("settled.toml:2: admin.token: {expected}")),
            "{told}"
        );
        assert_eq!(told.lines().count(), 1);
    }
}

#[test]
fn an_address_that_is_no_list_is_not_repeated_in_the_mistake() {
    let told = load(&format!("redis.urls = \"redis://:c4nary@h/0\"\n{MINIMAL}")).unwrap_err();
    assert_eq!(
        told,
        "settled.toml:1: redis.urls: expected a list like [\"redis://host:6379/0\"]"
    );
}

/// A file with a secret in each place that may hold one.
const SECRETIVE: &str = r#"
[kafka.properties]
"client.id" = "shown"
"sasl.password" = "c4nary"
[redis]
urls = ["redis://me:c4nary@h1", "rediss://h2"]
[admin]
token = "c4nary"
[order_types.pay.query]
url = "http://bank/q"
headers = { authorization = "Bearer c4nary" }
"#;

#[test]
fn no_output_of_a_configuration_holds_a_secret() {
    let config = load(SECRETIVE).unwrap();
    for output in [
        config.to_toml(),
        format!("{config:?}"),
        format!("{config:#?}"),
    ] {
        assert!(!output.contains("c4nary"), "{output}");
    }
    assert!(
        config
            .to_toml()
            .contains("\"redis://me:(secret)@h1\", \"rediss://h2\"")
    );
    assert!(config.to_toml().contains("\"client.id\" = \"shown\""));

    // The same secrets where something beside them is wrong, or they are themselves.
    for broken in [
        SECRETIVE.replace("token = \"c4nary\"", "token = \"c4nary"),
        SECRETIVE.replace("token = \"c4nary\"", "token = c4nary"),
        SECRETIVE.replace("token = \"c4nary\"", "token = [\"c4nary\"]"),
        SECRETIVE.replace("token = \"c4nary\"", "token = \"c4nary \u{e9}\""),
        SECRETIVE.replace("redis://me:c4nary@h1", "redi://me:c4nary@h1"),
        SECRETIVE.replace("redis://me:c4nary@h1", "redis://me:c4nary@h1:port"),
        SECRETIVE.replace(
            "\"redis://me:c4nary@h1\", \"rediss://h2\"",
            "{ c4nary = 1 }",
        ),
        SECRETIVE.replace("Bearer c4nary", "Bearer c4nary {"),
        SECRETIVE.replace("Bearer c4nary", "c4nary\\n"),
        SECRETIVE.replace("sasl.password", "sasl.passwort"),
        SECRETIVE.replace("sasl.password", "ssl.ca.pem"),
        SECRETIVE.replace(
            "sasl.password\" = \"c4nary\"",
            "sasl.password\" = [\"c4nary\"]",
        ),
        SECRETIVE.replace("http://bank/q", "http://me:c4nary@bank/q"),
        SECRETIVE.replace("http://bank/q", "http://me:c4nary@{bank/q"),
    ] {
        let told = load(&broken).unwrap_err();
        assert!(!told.contains("c4nary"), "{told}");
    }
}

#[test]
fn the_effective_configuration_loads_again_once_its_secrets_are_put_back() {
    for text in [MINIMAL, SECRETIVE] {
        let config = load(text).unwrap();
        let again = load(&config.to_toml().replace("(secret)", "c4nary"))
            .or_else(|_| load(&config.to_toml()))
            .unwrap();
        assert_eq!(again.to_toml(), config.to_toml());
    }
    let mut everything = String::from("order_types.pay.query.url = \"http://b\"\n");
    for (field, value) in EVERY_FIELD {
        // A body needs POST, and the URL is there.
        if !field.ends_with("method") && !field.ends_with("url") {
            writeln!(everything, "{} = {value}", field.replace("NAME", "pay")).unwrap();
        }
    }
    let config = load(&everything).unwrap();
    let text = config.to_toml().replacen("(secret)", "t0ken", 1);
    let again = load(&text.replacen("(secret)", "a {query.bank}", 1)).unwrap();
    assert_eq!(again, config);
}
