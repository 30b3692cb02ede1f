//! Makes scripts as an owner sends them, and as a broken one would: seeded, from what the view holds.

use settled::domain::order::{
    Mark, Millis, OrderId, OrderKey, RECORD_HASHES, ReqNo, TypeId, TypeName,
};
use settled::domain::record::Record;
use settled::domain::status::{Open, Terminal};
use settled::store::Dump;
use settled::store::script::{
    BATCH, Body, Claim, Fold, Lookup, Meta, Placement, Reschedule, Script, Settle, SettleOne,
    SettleOutcome, Token,
};

use super::random::Random;

/// The first second of every test's time.
pub const START_SECOND: u64 = 1_800_000_000;
pub const FIRST_HOUR: u32 = (START_SECOND / 3600) as u32;
const TYPES: [&str; 3] = ["transfer", "pay_2", "r"];

/// One owner's knowledge, from which scripts are drawn.
pub struct Owner<'a> {
    pub random: &'a mut Random,
    pub meta: Meta,
    pub dump: Dump,
    pub clock: Millis,
    /// An order that is drawn more often than others.
    pub focus: Option<OrderId>,
    new_types: Vec<(TypeId, TypeName, u32)>,
}

/// The numbers are of every length and of every shape that people use.
pub fn req_no(n: u64) -> ReqNo {
    let text = match n % 6 {
        0 => n.to_string(),
        1 => format!("TX20261123{n:014}"),
        2 => format!("{n:08x}-5f2b-4c9e-9d1a-4c3388e0aa11"),
        3 => format!("{n:~>48}"),
        4 => format!("{:024}", n * 7919),
        _ => format!("ref#{n}:A"),
    };
    ReqNo::new(&text).unwrap()
}

impl<'a> Owner<'a> {
    pub fn new(random: &'a mut Random, meta: Meta, dump: Dump, clock: Millis) -> Self {
        Self {
            random,
            meta,
            dump,
            clock,
            focus: None,
            new_types: Vec::new(),
        }
    }

    /// Any script.
    pub fn script(&mut self) -> Script {
        let body = self.body();
        self.around(body)
    }

    /// A script with this body.
    pub fn around(&mut self, body: Body) -> Script {
        let lookup = matches!(body, Body::Lookup(_));
        let mut script = Script {
            token: self.meta.token,
            version: self.meta.version,
            clock: self.clock,
            e: self.meta.e + self.random.below(20),
            ends_rebuild: !lookup && self.random.once_in(15),
            new_types: std::mem::take(&mut self.new_types),
            body,
        };
        if lookup && !self.random.once_in(30) {
            script.new_types.clear();
        } else if self.random.once_in(40) {
            // A type that is there already, under its own id or a wrong one.
            let name = TypeName::new(self.random.pick(&TYPES)).unwrap();
            let id = TypeId(self.random.below(4) as u8);
            script.new_types.push((id, name, self.second()));
        }
        match self.random.below(60) {
            0 => script.token = Token(script.token.0 ^ 1),
            1 => script.version = script.version.saturating_sub(1),
            2 => script.version += 1,
            3 => script.new_types.clear(),
            _ => {}
        }
        script
    }

    fn body(&mut self) -> Body {
        match self.random.below(100) {
            0..32 => self.fold(),
            32..38 => self.lookup(),
            38..58 => Body::Claim(self.claim()),
            58..70 => self.reschedule(),
            70..86 => self.settle(),
            86..91 => self.end_leases(),
            91..98 => self.sweep(),
            98 if self.random.once_in(3) => Body::Discard,
            _ => Body::DropMarks {
                before_hour: FIRST_HOUR + self.random.below(5) as u32,
            },
        }
    }

    fn second(&self) -> u32 {
        (self.clock / 1000) as u32
    }

    /// Mostly a few entries, sometimes a full batch, rarely one too many.
    fn size(&mut self) -> usize {
        match self.random.below(30) {
            0 => BATCH,
            1 if self.random.once_in(8) => BATCH + 1,
            2 | 3 => 100,
            _ => self.random.below(9) as usize,
        }
    }

    /// A type by name; new ones are registered, but for a forgetful moment.
    fn type_id(&mut self) -> TypeId {
        let name = TypeName::new(self.random.pick(&TYPES)).unwrap();
        let new = self.new_types.iter();
        let mut known = self.meta.types.iter().chain(new);
        if let Some((id, _, _)) = known.find(|(_, n, _)| *n == name) {
            return *id;
        }
        let id = TypeId((self.meta.types.len() + self.new_types.len()) as u8);
        let cursor = self.second() - self.random.below(4) as u32;
        if !self.random.once_in(60) {
            self.new_types.push((id, name, cursor));
        }
        id
    }

    /// An order that the view knows, if any, or another of not too many.
    fn order(&mut self) -> OrderId {
        if let Some(id) = self.focus
            && self.random.once_in(2)
        {
            return id;
        }
        if self.random.once_in(2)
            && let Some((id, _)) = self.known_order()
        {
            return id;
        }
        self.any_order()
    }

    fn any_order(&mut self) -> OrderId {
        let few = if self.random.once_in(3) { 30 } else { 3000 };
        OrderId {
            type_id: self.type_id(),
            req_no: req_no(self.random.below(few)),
        }
    }

    pub fn known_order(&mut self) -> Option<(OrderId, Record)> {
        if let Some(id) = self.focus
            && self.random.once_in(2)
        {
            let name = format!("{}/{}", id.type_id.0, id.req_no);
            return self.dump.records.get(&name).map(|record| (id, *record));
        }
        let count = self.dump.records.len() as u64;
        if count == 0 {
            return None;
        }
        let at = self.random.below(count) as usize;
        let (name, record) = self.dump.records.iter().nth(at)?;
        Self::read_order(name, record)
    }

    /// One whose bucket lies behind the cursor: its entry is gone.
    fn lost_order(&self) -> Option<(OrderId, Record)> {
        let cursors = &self.meta.types;
        let mut records = self.dump.records.iter();
        let (name, record) = records.find(|(name, record)| {
            let mut types = cursors.iter();
            let own = types.find(|(id, _, _)| name.starts_with(&format!("{}/", id.0)));
            record.bucket > 0 && own.is_some_and(|(_, _, cursor)| record.bucket < *cursor)
        })?;
        Self::read_order(name, record)
    }

    /// Hundreds of orders due now, claimed until one second, some settled, then all leases ended.
    pub fn herd(&mut self) -> Option<Vec<Body>> {
        let (type_id, _, cursor) = self.meta.types.first()?.clone();
        let (due, lease_second) = (u64::from(cursor + 1) * 1000, cursor + 9);
        let first = self.random.below(5000);
        let mut bodies = Vec::new();
        for batch in 0..3 {
            let mut folds = Vec::new();
            for n in 0..BATCH as u64 {
                let id = OrderId {
                    type_id,
                    req_no: req_no(first + BATCH as u64 * batch + n),
                };
                let mut record = self.record();
                record.due = due;
                folds.push(Fold {
                    id,
                    mark: self.mark(&id),
                    record,
                    requeue: None,
                    query: None,
                    placement: Placement {
                        granule: 1,
                        lease_second: 0,
                    },
                });
            }
            bodies.push(Body::Fold(folds));
        }
        let claim = Body::Claim(Claim {
            type_id,
            after: 0,
            to_second: cursor + 2,
            limit: BATCH as u16,
            lease_second,
        });
        bodies.extend([claim.clone(), claim.clone(), claim]);
        bodies.push(Body::EndLeases {
            type_id,
            from_second: cursor,
            to_second: lease_second + self.random.below(3) as u32,
        });
        Some(bodies)
    }

    /// An order in a bucket that a few claims reach.
    pub fn bucket_in_sight(&mut self) -> Option<(OrderId, u32)> {
        let near = self.second() + 60;
        for _ in 0..20 {
            let (id, record) = self.known_order()?;
            let mut types = self.meta.types.iter();
            let cursor = types.find(|(type_id, _, _)| *type_id == id.type_id)?.2;
            if record.bucket > cursor && record.bucket < near {
                return Some((id, record.bucket));
            }
        }
        None
    }

    fn read_order(name: &str, record: &Record) -> Option<(OrderId, Record)> {
        let (id, number) = name.split_once('/')?;
        let id = OrderId {
            type_id: TypeId(id.parse().ok()?),
            req_no: ReqNo::new(number)?,
        };
        Some((id, *record))
    }

    fn key(&self, id: &OrderId) -> OrderKey {
        let new = self.new_types.iter();
        let mut known = self.meta.types.iter().chain(new);
        let name = known.find(|(type_id, _, _)| *type_id == id.type_id);
        OrderKey {
            order_type: name.map_or(TypeName::new("none").unwrap(), |(_, name, _)| name.clone()),
            req_no: id.req_no,
        }
    }

    pub fn mark(&self, id: &OrderId) -> Mark {
        self.key(id).mark(&self.meta.mark_key)
    }

    /// Fields that a store must set by itself are filled with anything.
    fn record(&mut self) -> Record {
        let last = self.random.pick(&[Open::InProgress, Open::Unknown]);
        Record {
            claim: self.random.next() as u32,
            bucket: self.random.next() as u32,
            leased: self.random.once_in(2),
            exhausted: self.random.once_in(2),
            has_query: self.random.once_in(2),
            last,
            due: self.due(),
            phase: self.random.below(3) as u16,
            asked: self.random.below(70_000) as u16,
            drawn_in_progress: self.random.below(70_000) as u16,
            drawn_unknown: self.random.below(9) as u16,
            streak: self.random.below(300) as u8,
            first_seen: self.clock - self.random.below(200_000),
            event_offset: (self.meta.e + self.random.below(40)).saturating_sub(10),
        }
    }

    fn due(&mut self) -> Millis {
        let ahead = match self.random.below(8) {
            0 => self.random.below(400_000),
            1 | 2 => self.random.below(70_000),
            _ => self.random.below(9_000),
        };
        (self.clock + ahead).saturating_sub(5_000)
    }

    fn placement(&mut self) -> Placement {
        let granule = self.random.pick(&[0, 1, 1, 2, 5, 16]);
        let lease_second = if self.random.once_in(2) {
            self.second() + self.random.below(30) as u32
        } else {
            0
        };
        Placement {
            granule,
            lease_second,
        }
    }

    fn query(&mut self) -> Option<Box<str>> {
        let text = format!("{{\"query\":{{\"bank\":\"{}\"}}}}", self.random.next());
        self.random.once_in(3).then(|| text.into())
    }

    fn fold(&mut self) -> Body {
        // Now and then a herd: one due second for all, so that a coarse bucket fills up.
        let herd = self
            .random
            .once_in(4)
            .then(|| (self.due(), self.placement()));
        let mut folds = Vec::new();
        for _ in 0..self.size() {
            let id = if herd.is_some() {
                self.any_order()
            } else {
                self.order()
            };
            let mut fold = Fold {
                id,
                mark: self.mark(&id),
                record: self.record(),
                requeue: None,
                query: self.query(),
                placement: self.placement(),
            };
            if self.random.once_in(3) {
                fold.requeue = Some(fold.record.phase);
            }
            if let Some((due, placement)) = herd {
                fold.record.due = due;
                fold.placement = placement;
            }
            folds.push(fold);
        }
        Body::Fold(folds)
    }

    fn lookup(&mut self) -> Body {
        let mut lookups = Vec::new();
        for _ in 0..self.size() {
            let id = self.order();
            lookups.push(Lookup {
                id: (!self.random.once_in(8)).then_some(id),
                mark: self.mark(&id),
            });
        }
        Body::Lookup(lookups)
    }

    fn claim(&mut self) -> Claim {
        let far = self.random.once_in(12);
        let ahead = if far {
            400
        } else {
            self.random.below(6) as u32
        };
        let to_second = self.second() + ahead;
        let after = match self.random.below(3) {
            0 => to_second.saturating_sub(self.random.below(4) as u32),
            _ => 0,
        };
        Claim {
            type_id: self.type_id(),
            after,
            to_second,
            limit: self.random.pick(&[1, 2, 5, 20, BATCH as u16, BATCH as u16]),
            lease_second: to_second + 1 + self.random.below(12) as u32,
        }
    }

    fn reschedule(&mut self) -> Body {
        let mut all = Vec::new();
        for _ in 0..self.size() {
            let (id, claim) = match self.known_order() {
                Some((id, record)) => (id, record.claim),
                None => (self.any_order(), 1),
            };
            let stale = self.random.once_in(5);
            all.push(Reschedule {
                id,
                claim: claim.wrapping_sub(u32::from(stale)),
                record: self.record(),
                placement: self.placement(),
            });
        }
        Body::Reschedule(all)
    }

    fn settle(&mut self) -> Body {
        let mut results = Vec::new();
        let mut offset = self.meta.r;
        for _ in 0..self.size() {
            let id = self.order();
            let settled = self.random.below(3) > 0;
            let status = self.random.pick(&[Terminal::Success, Terminal::Failure]);
            let hour = FIRST_HOUR + self.random.below(4) as u32;
            let outcome = if settled {
                SettleOutcome::Settled {
                    status,
                    mark_hour: (!self.random.once_in(5)).then_some(hour),
                }
            } else {
                SettleOutcome::Exhausted {
                    record: self.record(),
                    query: self.query(),
                    granule: self.random.pick(&[None, Some(1), Some(4)]),
                }
            };
            let unknown_type = self.random.once_in(if settled { 12 } else { 300 });
            results.push(SettleOne {
                id: (!unknown_type).then_some(id),
                mark: self.mark(&id),
                outcome,
                offset,
            });
            offset += 1 + self.random.below(3);
        }
        let off = u64::from(self.random.once_in(25));
        Body::Settle(Settle {
            from_r: self.meta.r + off,
            to_r: offset,
            results,
        })
    }

    fn end_leases(&mut self) -> Body {
        let from_second = self.second() - self.random.below(8) as u32;
        let span = self.random.pick(&[0, 20, 40, 600]);
        Body::EndLeases {
            type_id: self.type_id(),
            from_second,
            to_second: from_second + span,
        }
    }

    fn sweep(&mut self) -> Body {
        let any = self.random.below(RECORD_HASHES.into()) as u16;
        let order = self.lost_order().or_else(|| self.known_order());
        let hash = order.map_or(any, |(id, _)| id.record_hash());
        let some = self.random.below(4) > 0;
        let types = self
            .meta
            .types
            .iter()
            .filter(|(id, _, _)| some || id.0 == 0);
        Body::Sweep {
            hash,
            slack_seconds: self.random.below(10) as u32,
            types: types.map(|(id, _, _)| *id).collect(),
        }
    }
}
