//! The coordinator of one transactional id: epochs fence, an open transaction is aborted by the next
//! `init_transactions` or after ten seconds, and a decided one gets its marker a little later.

use super::log::{Log, Txn};
use crate::domain::order::Millis;
use crate::domain::result::OrderResult;

/// Why the coordinator refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A newer producer has begun.
    Fenced,
    /// The last transaction's marker is not written yet: the client tries again.
    Concurrent,
}

/// Of `<app>-results-<p>`.
#[derive(Clone, Debug, Default)]
pub struct Coordinator {
    epoch: u32,
    open: Option<Txn>,
    ending: Option<Txn>,
}

impl Coordinator {
    pub fn init(&mut self, log: &mut Log<OrderResult>, now: Millis) -> Result<u32, Refused> {
        if self.ending.is_some() {
            return Err(Refused::Concurrent);
        }
        self.abort(log, now);
        Ok(self.epoch)
    }

    /// The transaction that would be timed out.
    pub fn open(&self) -> Option<Txn> {
        self.open
    }

    fn abort(&mut self, log: &mut Log<OrderResult>, now: Millis) {
        if let Some(txn) = self.open.take() {
            log.end(now, txn, false);
        }
        self.epoch += 1;
    }

    fn check(&self, epoch: u32) -> Result<(), Refused> {
        if epoch != self.epoch {
            Err(Refused::Fenced)
        } else if self.ending.is_some() {
            Err(Refused::Concurrent)
        } else {
            Ok(())
        }
    }

    /// Appends to the open transaction, or to a new one.
    pub fn produce(
        &mut self,
        log: &mut Log<OrderResult>,
        epoch: u32,
        now: Millis,
        results: &[OrderResult],
    ) -> Result<Txn, Refused> {
        self.check(epoch)?;
        let txn = *self.open.get_or_insert_with(|| log.begin());
        for result in results {
            log.append(now, Some(txn), result.clone());
        }
        Ok(txn)
    }

    /// Decides to commit; [`Coordinator::mark`] follows.
    pub fn commit(&mut self, epoch: u32, txn: Txn) -> Result<(), Refused> {
        self.check(epoch)?;
        if self.open != Some(txn) {
            return Err(Refused::Fenced);
        }
        self.ending = self.open.take();
        Ok(())
    }

    pub fn mark(&mut self, log: &mut Log<OrderResult>, now: Millis, txn: Txn) {
        if self.ending == Some(txn) {
            self.ending = None;
            log.end(now, txn, true);
        }
    }

    /// `transaction.timeout.ms` is over.
    pub fn time_out(&mut self, log: &mut Log<OrderResult>, now: Millis, txn: Txn) -> bool {
        let open = self.open == Some(txn);
        if open {
            self.abort(log, now);
        }
        open
    }
}
