//! A worker's turns, as the actor makes them: what it hands to its core, and what that commands.

use super::said::SHARD;
use super::wire::{Asker, Delivery};
use super::{Happening, World};
use crate::domain::order::Millis;
use crate::shard::core::Phase;
use crate::shard::core::input::{Alarm, Input, Note, Output};

impl World {
    pub(super) fn hand_over(&mut self, to: Asker, delivery: Delivery) {
        let own = &mut self.workers[to.worker];
        if own.life != to.life || !own.alive {
            return;
        }
        if own.paused_until > self.now {
            let delay = own.paused_until - self.now;
            return self.at(delay, Happening::Deliver(to, delivery));
        }
        let current = own.core.generation() == to.generation;
        let input = match delivery {
            Delivery::Input(input) => input,
            Delivery::Opened(epoch) => {
                if current {
                    own.publisher = Some(epoch);
                }
                Input::Fenced(Ok(()))
            }
        };
        match &input {
            Input::Published(_) if current => own.publishing = false,
            Input::Answered(heard) => {
                let question = (to.worker, to.life, to.generation, heard.id, heard.claim);
                self.watch.questions.answered(question);
            }
            _ => {}
        }
        // The actor takes many answers in one turn.
        let together = matches!(input, Input::Answered(_)) && self.dice.in_thousand(300);
        let fate = matches!(input, Input::Replied(_) | Input::MetaRead(_));
        self.input(to.worker, to.generation, input);
        if fate {
            self.compare(to.worker);
        }
        if together {
            self.wake_in(to.worker, 1);
        } else {
            self.turn(to.worker);
        }
    }

    /// What a core believes of its view, between two scripts, is what the view says: nothing counts
    /// as done that did not run.
    fn compare(&mut self, worker: usize) {
        let Some(own) = &self.workers[worker].core.own else {
            return;
        };
        let Ok(Some(meta)) = self.store_of(worker).meta_now(SHARD, self.now) else {
            return;
        };
        if meta.token != own.token || meta.version != own.version || !own.outbox.is_idle() {
            return;
        }
        let types = own.types.iter().filter(|(_, known)| known.stored).count();
        let believed = (own.e, own.results.folded(), types);
        let real = (meta.e, meta.r, meta.types.len());
        if believed != real {
            self.hold(Err(format!(
                "OUT OF STEP: worker {worker} believes (E, R, types) {believed:?}, the view says {real:?}"
            )));
        }
    }

    /// One step of a core, and what it told.
    pub(super) fn input(&mut self, worker: usize, generation: u64, input: Input) {
        let now = self.now;
        if self.trace.is_some() && !matches!(input, Input::Tick) {
            self.note(|| format!("worker {worker} g{generation} <- {input:?}"));
        }
        let own = &mut self.workers[worker];
        if let Input::Results(records, _) = &input {
            let reader = (worker, own.life, generation);
            for result in records.iter().filter_map(|record| record.result.as_ref()) {
                self.watch.questions.void(reader, &result.key);
            }
        }
        let mut out = Output::default();
        own.core.step(own.mono(now), generation, input, &mut out);
        self.listen(worker, out);
    }

    pub(super) fn listen(&mut self, worker: usize, out: Output) {
        for note in out.notes {
            self.note(|| format!("worker {worker} -- {note:?}"));
            self.tell(worker, &note);
            if let Note::Alarm(
                alarm @ (Alarm::OutOfRange { .. } | Alarm::Damaged(_) | Alarm::ForeignResult(_)),
            ) = note
            {
                self.hold(Err(format!("ALARM: {alarm:?}")));
            }
        }
        for command in out.commands {
            self.note(|| format!("worker {worker} -> {command:?}"));
            self.carry_out(worker, command);
        }
    }

    fn tell(&mut self, worker: usize, note: &Note) {
        if matches!(note, Note::Recovering(_)) && self.fails(200) {
            self.interrupt_soon(worker);
        }
        match note {
            Note::Recovering(_) | Note::DeadLetter(_) | Note::Event(_) => {
                self.saw(&format!("{note:?}"));
            }
            Note::Rebuilding { .. } => {
                self.saw("rebuild");
                self.interrupt_soon(worker);
            }
            Note::Alarm(alarm) => {
                let text = format!("{alarm:?}");
                let kind = text.split(['(', ' ']).next().unwrap_or_default();
                self.saw(&format!("alarm {kind}"));
            }
            _ => {}
        }
    }

    /// As the actor's turn: permits, a tick, what is to be sent, and when to wake.
    pub(super) fn turn(&mut self, worker: usize) {
        let now = self.now;
        let blocked = self.dice.in_thousand(self.storm.bank / 4);
        let own = &mut self.workers[worker];
        for index in 0..self.plan.types.len() {
            let free = 3_u32.saturating_sub(own.core.claimed(index));
            own.core.permit(index, if blocked { 0 } else { free });
        }
        let mut out = Output::default();
        own.core
            .step(own.mono(now), own.core.generation(), Input::Tick, &mut out);
        own.core.flush(&mut out);
        own.idle_turns = if out.commands.is_empty() {
            own.idle_turns
        } else {
            0
        };
        let next = own.core.next_wakeup();
        let spins = out.commands.is_empty() && next <= own.mono(now);
        let (phase, paused) = (own.core.phase(), own.core.paused());
        if let Some(paused) = paused {
            self.saw(&format!("paused: {paused:?}"));
        }
        if matches!(phase, Phase::FoldingResults(end) if self.results.stable() < end) {
            self.saw("recovery waits for an open transaction");
        }
        self.listen(worker, out);
        if spins {
            self.hold(Err(format!("SPINS: worker {worker} in {phase:?} wants to wake at {next}, which is now, and does nothing")));
        }
        let own = &self.workers[worker];
        let sleep = next.saturating_sub(own.mono(now)).min(1_000);
        let late = if self.dice.in_thousand(self.storm.jitter) {
            self.dice.between(1, 900)
        } else {
            self.dice.below(2)
        };
        self.wake_in(worker, sleep + late);
    }

    pub(super) fn wake_in(&mut self, worker: usize, delay: Millis) {
        let own = &mut self.workers[worker];
        own.wake += 1;
        let (life, wake) = (own.life, own.wake);
        self.at(delay, Happening::Wake(worker, life, wake));
    }

    pub(super) fn wake(&mut self, worker: usize, life: u32, wake: u64) {
        let own = &self.workers[worker];
        if own.life != life || own.wake != wake || !own.alive {
            return;
        }
        if own.paused_until > self.now {
            let delay = own.paused_until - self.now;
            return self.at(delay, Happening::Wake(worker, life, wake));
        }
        if own.believes {
            self.turn(worker);
        }
    }
}
