//! Which exhausted orders are meant, and the walk through all shards that finds them. Within a shard
//! orders come as they were exhausted, shards come one after the other; the place reached is a shard
//! and an offset, so a walk goes on where it stopped whatever came or went meanwhile.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use super::Clerk;
use super::strict::bad;
use super::verbs::view_unavailable;
use crate::api::refusal::Refusal;
use crate::domain::json::echo;
use crate::domain::order::{Millis, OrderKey, ReqNo, TypeName};
use crate::domain::wire_time;
use crate::store::operator::{Exhausted, Span};
use crate::store::script::{BATCH, Found};

/// The most numbers that a filter may name.
pub(super) const NUMBERS_MAX: usize = 1_000;

/// A filter as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Written {
    #[serde(rename = "type")]
    pub order_type: Option<String>,
    pub from: Option<String>,
    pub to: Option<String>,
    #[serde(rename = "reqNOs")]
    pub numbers: Option<Vec<String>>,
}

/// Which orders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    order_type: Option<TypeName>,
    /// Exhausted at this time or later.
    from: Option<Millis>,
    /// Exhausted before this time.
    to: Option<Millis>,
    /// These numbers of the type only.
    numbers: Option<Vec<ReqNo>>,
}

/// A place in a walk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    shard: u16,
    offset: u64,
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    pub orders: Vec<(u16, Exhausted)>,
    /// Where to go on; `None`: the end was reached.
    pub next: Option<Place>,
}

impl Written {
    /// Reads it.
    pub fn read(self) -> Result<Filter, Refusal> {
        let order_type = self.order_type.map(|name| {
            TypeName::new(&name).ok_or_else(|| {
                bad(format!(
                    "type: {}: expected 1 to 32 of a-z, 0-9, _ and -",
                    echo(&name)
                ))
            })
        });
        let filter = Filter {
            order_type: order_type.transpose()?,
            from: time("from", self.from)?,
            to: time("to", self.to)?,
            numbers: self.numbers.as_deref().map(numbers).transpose()?,
        };
        let in_time = filter.from.is_some() || filter.to.is_some();
        if filter.numbers.is_some() && (filter.order_type.is_none() || in_time) {
            return Err(bad("reqNOs: expected with type, and without from and to"));
        }
        Ok(filter)
    }
}

fn time(name: &str, text: Option<String>) -> Result<Option<Millis>, Refusal> {
    let read = |text: String| {
        wire_time::parse(&text).ok_or_else(|| {
            let shown = echo(&text);
            bad(format!(
                "{name}: {shown}: expected a time like 2026-11-23T07:00:00Z"
            ))
        })
    };
    text.map(read).transpose()
}

fn numbers(written: &[String]) -> Result<Vec<ReqNo>, Refusal> {
    if !(1..=NUMBERS_MAX).contains(&written.len()) {
        return Err(bad(format!("reqNOs: expected 1 to {NUMBERS_MAX}")));
    }
    let read = written.iter().map(|number| {
        ReqNo::new(number).ok_or_else(|| {
            let shown = echo(number);
            bad(format!(
                "reqNOs: {shown}: expected 1 to 48 visible ASCII characters without /"
            ))
        })
    });
    let mut numbers = read.collect::<Result<Vec<_>, _>>()?;
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

impl Clerk {
    /// Walks on from `place` until `limit` orders were found, the end was reached or so many pages
    /// were read. Cancelling it leaves nothing behind.
    pub async fn walk(
        &self,
        filter: &Filter,
        place: Place,
        limit: usize,
        pages: usize,
    ) -> Result<Stretch, Refusal> {
        if let (Some(order_type), Some(numbers)) = (&filter.order_type, &filter.numbers) {
            return self.look_up(order_type, numbers).await;
        }
        let mut found = Stretch::default();
        let mut pages_left = pages;
        for shard in place.shard..self.orders.shards {
            let Some(mut span) = self.span(filter, shard).await? else {
                continue;
            };
            if shard == place.shard {
                span.from = span.from.max(place.offset);
            }
            loop {
                let offset = span.from;
                if found.orders.len() >= limit || pages_left == 0 {
                    found.next = Some(Place { shard, offset });
                    return Ok(found);
                }
                pages_left -= 1;
                // With a type, a page may hold mostly others: a whole one is read all the same.
                let page = (self.ports.exhausted)((shard, span, BATCH)).await;
                let page = page.map_err(|error| view_unavailable(shard, &error))?;
                for order in page.orders {
                    let is_meant = filter
                        .order_type
                        .as_ref()
                        .is_none_or(|name| *name == order.key.order_type);
                    if !is_meant {
                        continue;
                    }
                    if found.orders.len() == limit {
                        let offset = order.offset;
                        found.next = Some(Place { shard, offset });
                        return Ok(found);
                    }
                    found.orders.push((shard, order));
                }
                let Some(next) = page.next else { break };
                span.from = next;
            }
        }
        Ok(found)
    }

    /// Where the results of the filter's time lie; `None`: there are none.
    async fn span(&self, filter: &Filter, shard: u16) -> Result<Option<Span>, Refusal> {
        let from = match filter.from {
            None => Some(0),
            Some(time) => self.result_at(shard, time).await?,
        };
        let to = match filter.to {
            None => None,
            Some(time) => self.result_at(shard, time).await?,
        };
        Ok(from.map(|from| Span { from, to }))
    }

    async fn result_at(&self, shard: u16, time: Millis) -> Result<Option<u64>, Refusal> {
        let found = (self.ports.result_at)((shard, time)).await;
        found.map_err(|error| {
            tracing::warn!(
                shard,
                error,
                "the log of results was not asked for an operator"
            );
            Refusal::unavailable(
                "kafka-unavailable",
                "the log of results does not tell at this moment where that time lies",
            )
        })
    }

    /// Orders by their numbers; those that are not exhausted are left out.
    async fn look_up(&self, order_type: &TypeName, numbers: &[ReqNo]) -> Result<Stretch, Refusal> {
        let mut found = Stretch::default();
        for req_no in numbers {
            let key = OrderKey {
                order_type: order_type.clone(),
                req_no: *req_no,
            };
            if let Found::Open { record, .. } = self.found(&key).await?
                && record.exhausted
            {
                let shard = key.shard(self.orders.shards);
                // Which result it was is not known this way, nor needed.
                let offset = 0;
                let order = Exhausted {
                    key,
                    record,
                    offset,
                };
                found.orders.push((shard, order));
            }
        }
        Ok(found)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.shard, self.offset)
    }
}

impl FromStr for Place {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let read = text.split_once('.');
        let read = read.and_then(|(shard, offset)| {
            Some(Self {
                shard: shard.parse().ok()?,
                offset: offset.parse().ok()?,
            })
        });
        read.ok_or_else(|| bad("after: expected what an earlier page gave as next"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(json: &str) -> Result<Filter, Refusal> {
        serde_json::from_str::<Written>(json).unwrap().read()
    }

    #[test]
    fn a_filter_is_read_or_refused_as_a_whole() {
        for good in [
            "{}",
            r#"{"type":"transfer","from":"2026-11-23T07:00:00Z","to":"2026-11-24T07:00:00+02:00"}"#,
            r#"{"type":"transfer","reqNOs":["TX1","TX1"]}"#,
        ] {
            assert!(written(good).is_ok(), "{good}");
        }
        for bad in [
            r#"{"type":"Transfer"}"#,
            r#"{"from":"yesterday"}"#,
            r#"{"reqNOs":["TX1"]}"#,
            r#"{"type":"transfer","reqNOs":[]}"#,
            r#"{"type":"transfer","reqNOs":["a/b"]}"#,
            r#"{"type":"transfer","reqNOs":["TX1"],"from":"2026-11-23T07:00:00Z"}"#,
        ] {
            assert!(written(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_place_reads_back() {
        let place = Place {
            shard: 7,
            offset: 12,
        };
        assert_eq!(place.to_string().parse::<Place>().ok(), Some(place));
        for text in ["", "7", "x.1", "7.-1", "99999.1"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
