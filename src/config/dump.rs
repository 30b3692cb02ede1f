//! The effective configuration as TOML: complete, in the order of the example file, every secret
//! replaced by the reference it came by or by `(secret)`.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::Duration;

use super::{Config, OrderTypeConfig, QueryConfig, Secret, duration, query};
use crate::domain::answer::Place;
use crate::domain::order::{Millis, TypeName};
use crate::domain::status::Status;

impl Config {
    /// A file that loads to this configuration once its secrets are put back; until then `(secret)`
    /// is refused.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        self.write(&mut out).unwrap_or_default();
        out
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "app = {}", text(&self.app))?;
        writeln!(out, "shards = {}", self.shards)?;
        let window = text(&duration::show(self.dedupe_window));
        writeln!(out, "dedupe_window = {window}")?;

        let kafka = &self.kafka;
        writeln!(out, "\n[kafka]")?;
        writeln!(out, "bootstrap = {}", text(&kafka.bootstrap))?;
        writeln!(out, "events = {}", text(&kafka.events))?;
        writeln!(out, "results = {}", text(&kafka.results))?;
        writeln!(out, "dead_letters = {}", text(&kafka.dead_letters))?;
        let protocol = text(kafka.group_protocol.as_str());
        writeln!(out, "group_protocol = {protocol}")?;
        writeln!(out, "properties = {}", table(&kafka.properties))?;

        writeln!(out, "\n[redis]")?;
        writeln!(
            out,
            "urls = {}",
            list(self.redis.urls.iter().map(Secret::shown))
        )?;
        writeln!(out, "prefix = {}", text(&self.redis.prefix))?;

        writeln!(out, "\n[api]")?;
        writeln!(out, "listen = {}", text(&self.api.listen.to_string()))?;

        writeln!(out, "\n[admin]")?;
        writeln!(out, "listen = {}", text(&self.admin.listen.to_string()))?;
        if let Some(token) = &self.admin.token {
            writeln!(out, "token = {}", text(token.shown()))?;
        }
        for (name, order_type) in &self.order_types {
            write_type(out, name, order_type)?;
        }
        Ok(())
    }
}

fn write_type(out: &mut String, name: &TypeName, order_type: &OrderTypeConfig) -> fmt::Result {
    writeln!(out, "\n[order_types.{name}.query]")?;
    write_query(out, &order_type.query)?;

    if let Some(mapping) = &order_type.answer {
        writeln!(out, "\n[order_types.{name}.answer]")?;
        for place in Place::ALL {
            if let Some(pointer) = mapping.pointer(place) {
                writeln!(out, "{} = {}", place.as_str(), text(pointer))?;
            }
        }
        let value = |(value, status): (&String, &Status)| {
            format!("{} = {}", text(value), text(status.code()))
        };
        let values: Vec<String> = mapping.values().iter().map(value).collect();
        writeln!(out, "values = {{ {} }}", values.join(", "))?;
    }

    writeln!(out, "\n[order_types.{name}.schedule]")?;
    let schedule = &order_type.schedule;
    let bounds = schedule.bounds;
    if let Some(delay) = bounds.first_delay {
        writeln!(out, "first_delay = {}", millis(delay))?;
    }
    writeln!(
        out,
        "in_progress = {}",
        list(schedule.in_progress.to_stages())
    )?;
    writeln!(out, "unknown = {}", list(schedule.unknown.to_stages()))?;
    if let Some(limit) = bounds.attempt_limit {
        writeln!(out, "attempt_limit = {limit}")?;
    }
    if let Some(age) = bounds.total_age {
        writeln!(out, "total_age = {}", millis(age))?;
    }
    if let Some(then) = schedule.then {
        writeln!(out, "then = {}", millis(then))?;
    }

    writeln!(out, "\n[order_types.{name}.ceiling]")?;
    let per_second = order_type.ceiling.questions_per_second;
    writeln!(out, "questions_per_second = {per_second}")?;
    writeln!(out, "in_flight = {}", order_type.ceiling.in_flight)?;
    writeln!(out, "callers_share = {}", order_type.ceiling.callers_share)?;
    writeln!(out, "first_share = {}", order_type.ceiling.first_share)?;
    let refusals = order_type.ceiling.refusals_in_a_row;
    writeln!(out, "refusals_in_a_row = {refusals}")
}

fn write_query(out: &mut String, query: &QueryConfig) -> fmt::Result {
    writeln!(out, "method = {}", text(&query.method))?;
    writeln!(out, "url = {}", text(&query.url))?;
    writeln!(out, "headers = {}", table(&query.headers))?;
    if let Some(body) = &query.body {
        writeln!(out, "body = {}", text(body))?;
    }
    writeln!(out, "timeout = {}", text(&duration::show(query.timeout)))?;
    for (name, is_unknown) in query::NOT_FOUND {
        if is_unknown == query.not_found_is_unknown {
            writeln!(out, "not_found = {}", text(name))?;
        }
    }
    writeln!(out, "allow_link_local = {}", query.allow_link_local)?;
    Ok(())
}

fn millis(ms: Millis) -> String {
    text(&duration::show(Duration::from_millis(ms)))
}

fn text(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| text(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

fn table(fields: &BTreeMap<String, Secret>) -> String {
    if fields.is_empty() {
        return "{}".to_owned();
    }
    let field = |(name, value): (&String, &Secret)| {
        // A quoted key has the form of a text.
        format!("{} = {}", text(name), text(value.shown()))
    };
    let fields: Vec<String> = fields.iter().map(field).collect();
    format!("{{ {} }}", fields.join(", "))
}
