//! The configuration as the rest of the program uses it: checked, complete, secrets resolved.
//! Defaults < file < environment; the only reader of the environment.
//!
//! Each section has its file: the struct, its defaults, how it is read and its `validate`.
//! `settled.example.toml` shows every field.

mod answer;
mod dump;
pub mod duration;
mod embedded;
mod environment;
mod fields;
mod kafka;
mod link_local;
mod listen;
mod mistake;
mod order_type;
mod placeholder;
mod query;
mod redis;
mod request;
mod secret;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use embedded::Embedded;
#[cfg(feature = "fault-points")]
pub use environment::FAULT;
pub use environment::{CONFIG, Environment, LOG, LOG_FORMAT};
pub use kafka::{GroupProtocol, Kafka};
pub use link_local::is_link_local;
pub use listen::{Admin, Api};
pub use mistake::ConfigError;
pub use order_type::{Ceiling, OrderTypeConfig};
pub use placeholder::{Piece, Place, Text};
pub use query::{QueryConfig, QueryFault, Request};
pub use redis::Redis;
pub use request::{Target, has_dot_segment};
pub use secret::Secret;

use crate::domain::order::TypeName;
use fields::{Broken, Fields, Reading, quoted};
use mistake::{Mistake, Origin};

/// Everything, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Prefix of groups and transactional ids.
    pub app: String,
    /// N: partitions of `order-results`, for ever. 1 to 256.
    pub shards: u16,
    /// How long a settled order is remembered.
    pub dedupe_window: Duration,
    /// `[kafka]`.
    pub kafka: Kafka,
    /// `[redis]`.
    pub redis: Redis,
    /// `[api]`.
    pub api: Api,
    /// `[admin]`.
    pub admin: Admin,
    /// `[order_types.<name>]`.
    pub order_types: BTreeMap<TypeName, OrderTypeConfig>,
}

/// The largest number of shards, with a producer of four threads each.
pub const MAX_SHARDS: u32 = 256;

impl Config {
    /// Reads `file` (none: only defaults) and the environment over it. The error has every mistake.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        let (origin, text) = match file {
            None => (Origin::Nowhere, String::new()),
            Some(path) => {
                let name: Arc<str> = path.display().to_string().into();
                let text = std::fs::read_to_string(path).map_err(|error| {
                    ConfigError::new(vec![Mistake {
                        origin: Origin::File(name.clone()),
                        path: String::new(),
                        what: format!("cannot be read: {error}"),
                    }])
                })?;
                (Origin::File(name), text)
            }
        };
        let mut table = source::from_toml(&origin.to_string(), &text).map_err(ConfigError::new)?;
        let mut mistakes = source::overlay(&mut table, environment);
        let base = file.and_then(Path::parent).unwrap_or(Path::new(""));
        let reading = Reading::new(environment, base);
        let config = Self::read(reading.root(table, origin));
        mistakes.extend(reading.mistakes());
        if mistakes.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError::new(mistakes))
        }
    }

    /// Only what reaches a running worker, for who has no file: `[admin]` from the environment.
    ///
    /// # Errors
    /// Every mistake of that section.
    pub fn admin_of(environment: &Environment) -> Result<Admin, ConfigError> {
        let mut table = source::Table::new();
        let mut mistakes = source::overlay(&mut table, environment);
        let reading = Reading::new(environment, Path::new(""));
        let mut fields = reading.root(table, Origin::Nowhere);
        let api = Api::read(fields.section("api"));
        let admin = Admin::read(fields.section("admin"), &api);
        mistakes.extend(reading.mistakes());
        if mistakes.is_empty() {
            Ok(admin)
        } else {
            Err(ConfigError::new(mistakes))
        }
    }

    /// The path of every field that a file may have, with `NAME` for the name of an order type.
    pub fn fields() -> BTreeSet<String> {
        let environment: Environment = [("SETTLED_ORDER_TYPES__NAME", "{}")].into_iter().collect();
        let mut table = source::Table::new();
        source::overlay(&mut table, &environment);
        let reading = Reading::new(&environment, Path::new(""));
        Self::read(reading.root(table, Origin::Nowhere));
        reading.known()
    }

    fn read(mut fields: Fields<'_>) -> Self {
        let kafka = Kafka::read(fields.section("kafka"), crate::kafka::settings::refusal);
        let redis = Redis::read(fields.section("redis"));
        let api = Api::read(fields.section("api"));
        let admin = Admin::read(fields.section("admin"), &api);
        let types = fields.section("order_types");
        let none = types.is_empty();
        let config = Self {
            app: fields
                .field("app")
                .and_then(|field| field.text())
                .unwrap_or_else(|| "settled".to_owned()),
            shards: fields
                .field("shards")
                .and_then(|field| field.whole(1..=MAX_SHARDS))
                .map_or(16, |shards| shards as u16),
            dedupe_window: fields
                .field("dedupe_window")
                .and_then(|field| field.duration(1000..=90 * 86_400_000))
                .unwrap_or(Duration::from_hours(24)),
            kafka,
            redis,
            api,
            admin,
            order_types: OrderTypeConfig::read_all(types),
        };
        let mut broken = config.validate();
        if none {
            let what = "expected at least one: [order_types.NAME] with query = { url = \"..\" }";
            broken.push(Broken::new("order_types", what));
        }
        fields.end(broken);
        config
    }

    fn validate(&self) -> Vec<Broken> {
        // Kafka's ids take more; a group that is also a file name and a label makes life easier.
        let good = (1..=64).contains(&self.app.len())
            && self
                .app
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if good {
            return Vec::new();
        }
        let what = format!(
            "{}: expected 1 to 64 letters, digits, '.', '_' or '-'",
            quoted(&self.app)
        );
        vec![Broken::new("app", what)]
    }
}
