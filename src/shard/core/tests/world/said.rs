//! What business systems and operators say: events as they lie in the log.

use crate::domain::event::{Body, Event, Reason, Refusal, TerminalEvent};
use crate::domain::order::{Millis, OrderKey, ReqNo, TypeName};
use crate::domain::status::{Open, Terminal};
use crate::kafka::{EventRecord, Original};
use crate::shard::core::plan::TypePlan;
use crate::shard::core::tests::order_types::types;

/// The shard that the tests watch.
pub const SHARD: u16 = 0;
/// N; orders of the other one are misplaced here.
pub const SHARDS: u16 = 2;

/// A record of `order-events`, before it has an offset.
#[derive(Clone, Debug)]
pub struct Said {
    pub forwarded: bool,
    pub event: Result<Event, Refusal>,
}

impl Said {
    fn new(key: &OrderKey, at: Millis, body: Body) -> Self {
        Self {
            forwarded: false,
            event: Ok(Event {
                key: key.clone(),
                at,
                body,
            }),
        }
    }

    pub fn pending(key: &OrderKey, at: Millis, status: Open) -> Self {
        Self::new(
            key,
            at,
            Body::Pending {
                status,
                ask_at: None,
                query: None,
            },
        )
    }

    pub fn ask_at(mut self, when: Millis) -> Self {
        if let Ok(Event {
            body: Body::Pending { ask_at, .. },
            ..
        }) = &mut self.event
        {
            *ask_at = Some(when);
        }
        self
    }

    pub fn with_query(mut self, text: &str) -> Self {
        if let Ok(Event {
            body: Body::Pending { query, .. } | Body::Requeue { query, .. },
            ..
        }) = &mut self.event
        {
            *query = Some(text.into());
        }
        self
    }

    pub fn settle(key: &OrderKey, at: Millis, status: Terminal) -> Self {
        let terminal = TerminalEvent {
            status,
            source: "pay-core".to_owned(),
            rsp_no: None,
            ret_cd: None,
            ret_msg: None,
        };
        Self::new(key, at, Body::Terminal(Box::new(terminal)))
    }

    pub fn requeue(key: &OrderKey, at: Millis, phase: u16) -> Self {
        Self::new(key, at, Body::Requeue { phase, query: None })
    }

    pub fn garbage() -> Self {
        Self {
            forwarded: false,
            event: Err(Refusal::new(Reason::NotJson, "not JSON")),
        }
    }

    pub fn is_about(&self, key: &OrderKey) -> bool {
        self.event.as_ref().is_ok_and(|event| event.key == *key)
    }

    pub fn terminal(&self) -> Option<Terminal> {
        match &self.event {
            Ok(Event {
                body: Body::Terminal(terminal),
                ..
            }) => Some(terminal.status),
            _ => None,
        }
    }

    pub fn requeues(&self) -> Option<u16> {
        match &self.event {
            Ok(Event {
                body: Body::Requeue { phase, .. },
                ..
            }) => Some(*phase),
            _ => None,
        }
    }

    /// The phase that it opens, and with which query.
    pub fn opens(&self) -> Option<(&OrderKey, u16, Option<&str>)> {
        let event = self.event.as_ref().ok()?;
        let (phase, query) = match &event.body {
            Body::Pending { query, .. } => (0, query),
            Body::Requeue { phase, query } => (*phase, query),
            Body::Terminal(_) => return None,
        };
        Some((&event.key, phase, query.as_deref()))
    }

    pub fn misplaced(&self) -> bool {
        self.event
            .as_ref()
            .is_ok_and(|event| event.key.shard(SHARDS) != SHARD)
    }

    /// As the reader hands it over that knows these order types.
    pub fn record_for(&self, types: &[TypePlan], offset: u64, appended: Millis) -> EventRecord {
        let known = |key: &OrderKey| types.iter().any(|known| known.name == key.order_type);
        let ordinary = matches!(
            &self.event,
            Ok(Event {
                body: Body::Pending { .. },
                key,
                ..
            }) if known(key)
        ) && !self.misplaced();
        EventRecord {
            offset,
            appended,
            traceparent: None,
            forwarded: self.forwarded,
            event: self.event.clone(),
            original: (!ordinary).then(|| Box::new(Original::default())),
        }
    }

    /// The same, where all types are configured.
    pub fn record(&self, offset: u64, appended: Millis) -> EventRecord {
        self.record_for(&types(), offset, appended)
    }
}

/// The `n`th order of a type that lives in the watched shard, or in the other one.
pub fn order(order_type: &str, n: u64, here: bool) -> OrderKey {
    let key = |salt: u64| OrderKey {
        order_type: TypeName::new(order_type).unwrap(),
        req_no: ReqNo::new(&format!("{n}-{salt}")).unwrap(),
    };
    (0..100_000)
        .map(key)
        .find(|key| (key.shard(SHARDS) == SHARD) == here)
        .unwrap()
}
