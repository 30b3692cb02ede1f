//! `[kafka]`: where the logs are. What librdkafka is told beside is checked here by name and by
//! librdkafka itself, so that a misspelt property is told with its line.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

use super::fields::{Broken, Field, Fields, quoted};
use super::secret::Secret;

/// `[kafka]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kafka {
    /// `host:port,host:port`.
    pub bootstrap: String,
    /// Topic of events.
    pub events: String,
    /// Topic of results.
    pub results: String,
    /// Topic of dead letters.
    pub dead_letters: String,
    /// `classic` or `consumer` (KIP-848).
    pub group_protocol: GroupProtocol,
    /// Handed to librdkafka as they are; those that would break a promise were refused. Passwords
    /// stand among them.
    pub properties: BTreeMap<String, Secret>,
}

/// Which protocol the member group speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupProtocol {
    /// The classic one, cooperative-sticky.
    Classic,
    /// KIP-848.
    Consumer,
}

impl GroupProtocol {
    /// The names that the file knows.
    const NAMES: [(&str, Self); 2] = [("classic", Self::Classic), ("consumer", Self::Consumer)];

    /// As librdkafka and the file name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
        }
    }
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            bootstrap: "127.0.0.1:9092".to_owned(),
            events: "order-events".to_owned(),
            results: "order-results".to_owned(),
            dead_letters: "order-dead-letters".to_owned(),
            group_protocol: GroupProtocol::Classic,
            properties: BTreeMap::new(),
        }
    }
}

impl Kafka {
    pub(super) fn read(mut fields: Fields<'_>, refusal: Refusal) -> Self {
        let default = Self::default();
        let mut text = |name, default| {
            let field: Option<Field<'_>> = fields.field(name);
            field.and_then(|field| field.text()).unwrap_or(default)
        };
        let kafka = Self {
            bootstrap: text("bootstrap", default.bootstrap),
            events: text("events", default.events),
            results: text("results", default.results),
            dead_letters: text("dead_letters", default.dead_letters),
            group_protocol: fields
                .field("group_protocol")
                .and_then(|field| field.choice(&GroupProtocol::NAMES))
                .unwrap_or(default.group_protocol),
            properties: properties(fields.section("properties"), refusal),
        };
        fields.end(kafka.validate());
        kafka
    }

    fn validate(&self) -> Vec<Broken> {
        let mut broken = Vec::new();
        if !self.bootstrap.split(',').all(is_host_and_port) {
            let what = format!("{}: expected host:port,host:port", quoted(&self.bootstrap));
            broken.push(Broken::new("bootstrap", what));
        }
        let topics = [
            ("events", &self.events),
            ("results", &self.results),
            ("dead_letters", &self.dead_letters),
        ];
        for (n, (field, topic)) in topics.iter().enumerate() {
            if !is_topic(topic) {
                let what = format!(
                    "{}: expected a topic: 1 to 249 letters, digits, '.', '_' or '-'",
                    quoted(topic)
                );
                broken.push(Broken::new(field, what));
            }
            if let Some((other, _)) = topics[..n].iter().find(|(_, taken)| taken == topic) {
                let what = format!(
                    "{}: expected another topic than kafka.{other}",
                    quoted(topic)
                );
                broken.push(Broken::new(field, what));
            }
        }
        broken
    }
}

/// Host names, IPv4 addresses and bracketed IPv6 addresses.
fn is_host_and_port(server: &str) -> bool {
    let Some((host, port)) = server.trim().rsplit_once(':') else {
        return false;
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let plain = host
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    !host.is_empty() && (bracketed || plain) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Kafka's own rule (`org.apache.kafka.common.internals.Topic`).
fn is_topic(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && !matches!(name, "." | "..")
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// The properties but for those that `refusal` has a reason against.
fn properties(section: Fields<'_>, refusal: Refusal) -> BTreeMap<String, Secret> {
    let mut properties = BTreeMap::new();
    for (name, field) in section.named() {
        // A variable's name has no dots, and librdkafka's names have nothing else.
        let name = if field.is_variable() {
            name.replace('_', ".")
        } else {
            name
        };
        let wrap = if is_public(&name) {
            Secret::public
        } else {
            Secret::new
        };
        let Some(value) = field.scalar().and_then(|text| field.resolve(&text, wrap)) else {
            continue;
        };
        if let Some(reason) = refusal(&name, value.reveal()) {
            field.refuse(format_args!("not allowed: {reason}"));
            continue;
        }
        match checked(&name, &value) {
            Ok(()) => {
                properties.insert(name, value);
            }
            Err(what) => field.refuse(what),
        }
    }
    properties
}

/// Why a property with this name and value would break a promise; `None` when it would not.
pub(super) type Refusal = fn(&str, &str) -> Option<&'static str>;

/// What speaks of logins and keys is not shown.
fn is_public(name: &str) -> bool {
    let hidden = ["sasl.", "ssl.", "https."];
    !hidden.iter().any(|prefix| name.starts_with(prefix))
        && !["password", "secret", "token"]
            .iter()
            .any(|part| name.contains(part))
}

/// Asks librdkafka whether it takes the property.
fn checked(name: &str, value: &Secret) -> Result<(), String> {
    let asked = ClientConfig::new()
        .set(name, value.reveal())
        .create_native_config();
    match asked {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => {
            Err("expected a property that librdkafka knows".to_owned())
        }
        // librdkafka repeats the value in its message.
        Err(KafkaError::ClientConfig(_, message, ..)) if is_public(name) => {
            Err(format!("expected a value that librdkafka takes: {message}"))
        }
        Err(_) => Err(
            "expected a value that librdkafka takes; TLS and SASL need a build with kafka-tls"
                .to_owned(),
        ),
    }
}
