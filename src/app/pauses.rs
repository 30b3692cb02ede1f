//! Which order types are paused by an operator: the last word on each, kept in the store and in the
//! memory of every worker. Each second a worker takes over later words and puts back those that the
//! store has lost, so neither a restart of workers nor a wiped or rolled back Redis forgets one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api::desk::ports::Word;
use crate::clock::Clock;
use crate::domain::json::echo;
use crate::domain::order::TypeName;
use crate::inquiry::Engine;
use crate::metrics::Metrics;
use crate::shard::core::plan::TypePlan;
use crate::store::StoreError;
use crate::store::operator::{OperatorStore, TypePause};

/// How soon a word that was said at one worker reaches the others.
const EVERY: Duration = Duration::from_secs(1);

/// What this worker knows of pauses.
pub(super) struct Pauses<S> {
    store: Arc<S>,
    engine: Engine,
    metrics: Arc<Metrics>,
    clock: Clock,
    /// Those that are held at first.
    types: BTreeSet<TypeName>,
    known: Mutex<BTreeMap<TypeName, TypePause>>,
}

impl<S: OperatorStore> Pauses<S> {
    /// Holds every type of `types` until the store was read once: a worker that starts must not ask
    /// about a paused type before it knows.
    pub fn new(
        (store, engine, metrics): (&Arc<S>, &Engine, &Arc<Metrics>),
        clock: Clock,
        types: &watch::Receiver<Arc<[TypePlan]>>,
    ) -> Arc<Self> {
        let types: BTreeSet<_> = types
            .borrow()
            .iter()
            .map(|known| known.name.clone())
            .collect();
        for order_type in &types {
            engine.set_paused(order_type, true);
        }
        Arc::new(Self {
            store: Arc::clone(store),
            engine: engine.clone(),
            metrics: Arc::clone(metrics),
            clock,
            types,
            known: Mutex::default(),
        })
    }

    /// Runs until `stop`.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut held = self.types.clone();
        loop {
            match self.exchange().await {
                Ok(()) => {
                    for order_type in std::mem::take(&mut held) {
                        self.apply(&order_type);
                    }
                }
                // The shards tell that the store is away.
                Err(error) => tracing::debug!(%error, "the pauses of order types were not read"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Holds every word against the engine, whose order types may have changed.
    pub fn apply_all(&self) {
        for word in self.known() {
            self.apply(&word.order_type);
        }
    }

    /// The last words, in the order of the types' names.
    pub fn known(&self) -> Vec<TypePause> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().cloned().collect()
    }

    /// Says a word that is later than every one before it: what stands then.
    pub async fn say(&self, word: Word) -> Result<TypePause, StoreError> {
        // A word of another worker, whose clock may be ahead of ours.
        self.exchange().await?;
        let before = self.word_on(&word.order_type).map_or(0, |known| known.at);
        let pause = TypePause {
            at: self.clock.wall().max(before + 1),
            order_type: word.order_type,
            paused: word.paused,
            actor: word.actor,
            reason: word.reason,
        };
        let stands = self.store.put_pause(&pause).await?;
        self.learn(&stands);
        Ok(stands)
    }

    /// Takes over what is later in the store, and puts back what is later here.
    async fn exchange(&self) -> Result<(), StoreError> {
        let kept = self.store.pauses().await?;
        for pause in &kept {
            self.learn(pause);
        }
        for known in self.known() {
            let there = kept.iter().find(|kept| kept.order_type == known.order_type);
            if there.is_none_or(|there| there.at < known.at) {
                tracing::warn!(order.type = %known.order_type, "the store had lost the word on a type's pause");
                self.learn(&self.store.put_pause(&known).await?);
            }
        }
        Ok(())
    }

    fn learn(&self, pause: &TypePause) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.get(&pause.order_type);
        if before.is_some_and(|before| before.at >= pause.at) {
            return;
        }
        let was_paused = before.is_some_and(|before| before.paused);
        known.insert(pause.order_type.clone(), pause.clone());
        drop(known);
        self.apply(&pause.order_type);
        if was_paused != pause.paused {
            tracing::warn!(
                order.type = %pause.order_type,
                paused = pause.paused,
                actor = echo(&pause.actor),
                reason = echo(&pause.reason),
                "an operator has paused an order type, or resumed it"
            );
        }
    }

    fn apply(&self, order_type: &TypeName) {
        let paused = self.word_on(order_type).is_some_and(|word| word.paused);
        self.engine.set_paused(order_type, paused);
        self.metrics.type_paused(order_type, paused);
    }

    fn word_on(&self, order_type: &TypeName) -> Option<TypePause> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(order_type).cloned()
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::domain::schedule::Schedule;
    use crate::inquiry::Around;
    use crate::store::memory::MemoryStore;

    fn transfer() -> TypeName {
        TypeName::new("transfer").unwrap()
    }

    fn worker(store: &Arc<MemoryStore>) -> Arc<Pauses<MemoryStore>> {
        let clock = Clock::start();
        let stop = CancellationToken::new();
        let none = BTreeMap::new();
        let metrics = Metrics::new(clock, &[transfer()]).unwrap();
        let around = Around {
            clock,
            metrics: Arc::clone(&metrics),
            tasks: TaskTracker::new(),
            stop,
        };
        let engine = Engine::new(&none, store, &around).unwrap();
        let plan = TypePlan {
            name: transfer(),
            schedule: Schedule::default(),
            timeout: 1,
        };
        let (_, types) = watch::channel(Arc::from([plan]));
        Pauses::new((store, &engine, &metrics), clock, &types)
    }

    fn word(paused: bool) -> Word {
        Word {
            order_type: transfer(),
            paused,
            actor: "li.wei".to_owned(),
            reason: "bank down".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_wiped_store_gets_the_word_back_and_a_later_word_counts() {
        let store = Arc::new(MemoryStore::new(Clock::start()));
        let (one, other) = (worker(&store), worker(&store));
        let paused = one.say(word(true)).await.unwrap();
        other.exchange().await.unwrap();
        assert_eq!(other.known(), std::slice::from_ref(&paused));

        // Another store, empty: as after a wipe. Both workers remember.
        let empty = Arc::new(MemoryStore::new(Clock::start()));
        let again = worker(&empty);
        again.learn(&paused);
        again.exchange().await.unwrap();
        assert_eq!(empty.pauses().await.unwrap(), std::slice::from_ref(&paused));

        let resumed = other.say(word(false)).await.unwrap();
        assert!(resumed.at > paused.at && !resumed.paused);
        one.exchange().await.unwrap();
        assert_eq!(one.known(), std::slice::from_ref(&resumed));
        // Rolled back to the pause: the later word is put back.
        let rolled_back = Arc::new(MemoryStore::new(Clock::start()));
        rolled_back.put_pause(&paused).await.unwrap();
        let third = worker(&rolled_back);
        third.learn(&resumed);
        third.exchange().await.unwrap();
        assert_eq!(rolled_back.pauses().await.unwrap(), [resumed]);
    }
}
