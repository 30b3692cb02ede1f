//! The order types of one view: their ids, whether the view has them yet, and where their timers stand.

use super::plan::Plan;
use crate::domain::order::{Millis, OrderId, OrderKey, TypeId, TypeName};

/// One type that this shard has met.
#[derive(Clone, Debug)]
pub(super) struct KnownType {
    pub name: TypeName,
    /// Index into `Plan::types`; `None`: not configured, folded and paused.
    pub plan: Option<usize>,
    /// Every bucket up to this second is empty. The view's own is authoritative and never behind.
    pub cursor: u32,
    /// The view has it.
    pub stored: bool,
    /// The earliest next claim, in monotonic milliseconds: where few orders are permitted at a time,
    /// they are claimed together.
    pub rests_until: Millis,
    /// How many claims have left a backlog out since one took from it.
    pub left_out: u8,
}

/// All types of a view, by id.
#[derive(Clone, Debug, Default)]
pub(super) struct TypeTable {
    by_id: Vec<KnownType>,
}

impl TypeTable {
    pub fn from_view(types: Vec<(TypeId, TypeName, u32)>, plan: &Plan) -> Self {
        let mut types = types;
        types.sort_by_key(|(id, ..)| *id);
        let by_id = types
            .into_iter()
            .map(|(_, name, cursor)| KnownType {
                plan: index(plan, &name),
                name,
                cursor,
                stored: true,
                rests_until: 0,
                left_out: 0,
            })
            .collect();
        Self { by_id }
    }

    /// Finds each type's place in a plan that has changed.
    pub fn replan(&mut self, plan: &Plan) {
        for known in &mut self.by_id {
            known.plan = index(plan, &known.name);
        }
    }

    pub fn find(&self, name: &TypeName) -> Option<TypeId> {
        self.by_id
            .iter()
            .position(|known| known.name == *name)
            .map(|i| TypeId(i as u8))
    }

    /// The id of a type, given now if it is new; `None`: too many types that are not configured.
    pub fn admit(&mut self, name: &TypeName, plan: &Plan, cursor: u32) -> Option<TypeId> {
        if let Some(id) = self.find(name) {
            return Some(id);
        }
        let configured = index(plan, name);
        let unknown = self
            .by_id
            .iter()
            .filter(|known| known.plan.is_none())
            .count();
        let room = 256_usize
            .saturating_sub(plan.types.len())
            .min(plan.unknown_types);
        if (configured.is_none() && unknown >= room) || self.by_id.len() >= 256 {
            return None;
        }
        self.by_id.push(KnownType {
            name: name.clone(),
            plan: configured,
            cursor,
            stored: false,
            rests_until: 0,
            left_out: 0,
        });
        Some(TypeId((self.by_id.len() - 1) as u8))
    }

    pub fn get(&self, id: TypeId) -> Option<&KnownType> {
        self.by_id.get(usize::from(id.0))
    }

    pub fn get_mut(&mut self, id: TypeId) -> Option<&mut KnownType> {
        self.by_id.get_mut(usize::from(id.0))
    }

    pub fn key(&self, id: OrderId) -> Option<OrderKey> {
        self.get(id.type_id).map(|known| OrderKey {
            order_type: known.name.clone(),
            req_no: id.req_no,
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = (TypeId, &KnownType)> {
        self.by_id
            .iter()
            .enumerate()
            .map(|(i, known)| (TypeId(i as u8), known))
    }

    /// Types that the view does not have yet, for the next script.
    pub fn unstored(&self) -> Vec<(TypeId, TypeName, u32)> {
        self.iter()
            .filter(|(_, known)| !known.stored)
            .map(|(id, known)| (id, known.name.clone(), known.cursor))
            .collect()
    }

    pub fn stored(&mut self, types: &[(TypeId, TypeName, u32)]) {
        for (id, ..) in types {
            if let Some(known) = self.get_mut(*id) {
                known.stored = true;
            }
        }
    }
}

fn index(plan: &Plan, name: &TypeName) -> Option<usize> {
    plan.types.iter().position(|known| known.name == *name)
}
