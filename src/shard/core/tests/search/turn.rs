//! A worker's turns, as its actor makes them, and what it reads.

use std::rc::Rc;
use std::sync::Arc;

use super::super::world::said::SHARD;
use super::happening::Manner;
use super::mail::{Mail, What};
use super::part::Part;
use super::small::{Ground, Small, View};
use crate::kafka::ResultRecord;
use crate::shard::core::input::{Alarm, Input, Note, Output};
use crate::store::memory::MemoryStore;
use crate::store::script::{Reply, Script};

type Verdict = Result<(), String>;

/// Scripts that may still arrive; older ones are taken for lost.
const GHOSTS: usize = 2;

impl Small {
    /// One turn of a worker as its actor makes it: an input, the time, what is to be sent.
    pub fn turn(
        &mut self,
        ground: &Ground,
        (worker, generation): (usize, u64),
        input: Option<Input>,
    ) -> Verdict {
        let mono = self.mono();
        let own = &mut self.workers[worker];
        let before = own.core.generation();
        let core = own.core.change();
        let mut out = Output::default();
        if let Some(input) = input {
            core.step(mono, generation, input, &mut out);
        }
        core.permit(0, 3_u32.saturating_sub(core.claimed(0)));
        core.step(mono, core.generation(), Input::Tick, &mut out);
        core.flush(&mut out);
        if core.generation() != before {
            self.haunt(worker);
        }
        for note in out.notes {
            match note {
                Note::Alarm(
                    alarm
                    @ (Alarm::OutOfRange { .. } | Alarm::Damaged(_) | Alarm::ForeignResult(_)),
                ) => return Err(format!("ALARM: {alarm:?}")),
                Note::Swept(count) => {
                    return Err(format!("LOST BUCKET: the sweep put {count} records back"));
                }
                _ => {}
            }
        }
        let mut commands = out.commands.into_iter();
        commands.try_for_each(|command| self.carry_out(ground, worker, command))
    }

    /// A generation is over. Of its letters only those are kept that may do harm: scripts that may
    /// still reach the store, and questions. The rest finds nobody.
    pub fn haunt(&mut self, worker: usize) {
        let own = &mut self.workers[worker];
        let (late, echoes) = (self.left.late > 0, self.left.echoes > 0);
        for mail in &own.mail {
            if let What::Run(script) = &mail.what
                && late
            {
                self.ghosts.push(Arc::clone(script));
            }
        }
        own.mail
            .retain(|mail| echoes && matches!(mail.what, What::Question(..)));
        let surplus = self.ghosts.len().saturating_sub(GHOSTS);
        self.ghosts.drain(..surplus);
    }

    /// Runs a script on the view.
    pub fn run(&mut self, ground: &Ground, script: &Script) -> Result<Reply, String> {
        let store = ground.store(&self.view);
        let reply = store
            .apply(SHARD, script)
            .map_err(|error| format!("DAMAGED: {error} after {script:?}"))?;
        // A look-up and a refused script change nothing.
        if !matches!(reply, Reply::Mismatch | Reply::Found(_)) {
            self.see(store);
        }
        Ok(reply)
    }

    pub fn see(&mut self, store: &MemoryStore) {
        self.view = Part::new(View::of(store));
    }

    pub fn read_event(&mut self, ground: &Ground, worker: usize) -> Verdict {
        let from = self.workers[worker].readers[0].unwrap_or_default();
        let (records, position) = self.events.read(from, 1, true);
        self.workers[worker].readers[0] = Some(position);
        let records = records.iter();
        let records = records.map(|(offset, at, said)| said.record(*offset, *at));
        let input = Input::Events(records.collect(), position);
        let generation = self.workers[worker].core.generation();
        self.turn(ground, (worker, generation), Some(input))
    }

    pub fn read_result(&mut self, ground: &Ground, worker: usize) -> Verdict {
        let from = self.workers[worker].readers[1].unwrap_or_default();
        let (records, position) = self.results.read(from, 1, true);
        self.workers[worker].readers[1] = Some(position);
        let records = records.into_iter();
        let records = records.map(|(offset, appended, result)| ResultRecord {
            offset,
            appended,
            result: Some(result),
        });
        let input = Input::Results(records.collect(), position);
        let generation = self.workers[worker].core.generation();
        self.turn(ground, (worker, generation), Some(input))
    }

    pub fn deliver_mail(
        &mut self,
        ground: &Ground,
        worker: usize,
        mail: &Rc<Mail>,
        manner: Manner,
    ) -> Verdict {
        let input = self.serve(ground, worker, (&mail.what, manner))?;
        match input {
            Some(input) => self.turn(ground, (worker, mail.generation), Some(input)),
            None => Ok(()),
        }
    }
}
