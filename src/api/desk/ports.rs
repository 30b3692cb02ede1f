//! What the verbs need of the rest of the program beside the API's own ports.

use std::fmt;

use crate::api::ports::Port;
use crate::domain::order::{Millis, TypeName};
use crate::store::StoreError;
use crate::store::operator::{ExhaustedPage, Span, TypePause};

/// The rest of the program, as the verbs see it.
#[derive(Clone)]
pub struct DeskPorts {
    /// A page of one shard's exhausted orders.
    pub exhausted: Port<(u16, Span, usize), Result<ExhaustedPage, StoreError>>,
    /// The offset of a shard's first result that was appended at or after a time; `None`: there is
    /// none. The error is one line.
    pub result_at: Port<(u16, Millis), Result<Option<u64>, String>>,
    /// How many orders of each type a shard holds.
    pub counts: Port<u16, Result<Vec<TypeCount>, StoreError>>,
    /// The last word on each type's pause, as this worker knows it.
    pub pauses: Port<(), Vec<TypePause>>,
    /// Reads the configuration again: what has changed, or why nothing has, a mistake a line.
    pub reload: Port<(), Result<Reloaded, String>>,
    /// Says a new word on a type's pause, for the whole cluster: the word that stands.
    pub say: Port<Word, Result<TypePause, StoreError>>,
}

impl fmt::Debug for DeskPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeskPorts")
    }
}

/// What one shard holds of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeCount {
    /// Which type.
    pub order_type: TypeName,
    /// Pending orders.
    pub pending: u64,
    /// Exhausted orders.
    pub exhausted: u64,
}

/// The order types that a reload has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Not configured before; orders that were kept for them are asked about now.
    pub added: Vec<TypeName>,
    /// With another query, schedule or limit.
    pub changed: Vec<TypeName>,
    /// Configured no longer: their orders are kept, and not asked about.
    pub removed: Vec<TypeName>,
}

/// What an operator says about a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Which type.
    pub order_type: TypeName,
    /// Paused, or resumed.
    pub paused: bool,
    /// Who says it.
    pub actor: String,
    /// Why.
    pub reason: String,
}
