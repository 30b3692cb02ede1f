//! The readers of both logs: what they bring, and how often the same comes again.

use super::wire::{Asker, Delivery};
use super::worker::{Reader, Which};
use super::{Happening, World};
use crate::kafka::ResultRecord;
use crate::shard::core::input::Input;

impl World {
    pub(super) fn start_reading(&mut self, worker: usize, which: Which, offset: u64) {
        let generation = self.workers[worker].core.generation();
        self.workers[worker].readers[which as usize] = Some(Reader { generation, offset });
        self.poll_soon(worker, which);
    }

    pub(super) fn poll_soon(&mut self, worker: usize, which: Which) {
        let own = &mut self.workers[worker];
        if own.readers[which as usize].is_some() && !own.polling[which as usize] {
            own.polling[which as usize] = true;
            let life = own.life;
            let delay = self.delay();
            self.at(delay + 1, Happening::Poll(worker, life, which));
        }
    }

    /// A log has something new.
    pub(super) fn stir(&mut self, which: Which) {
        for worker in 0..self.workers.len() {
            self.poll_soon(worker, which);
        }
    }

    pub(super) fn poll(&mut self, worker: usize, life: u32, which: Which) {
        let own = &mut self.workers[worker];
        if own.life != life || !own.alive {
            return;
        }
        own.polling[which as usize] = false;
        if own.paused_until > self.now {
            let delay = own.paused_until - self.now;
            own.polling[which as usize] = true;
            return self.at(delay, Happening::Poll(worker, life, which));
        }
        let Some(reader) = own.readers[which as usize] else {
            return;
        };
        if which == Which::Events && !own.core.wants_events() {
            own.polling[which as usize] = true;
            return self.at(20, Happening::Poll(worker, life, which));
        }
        let max = self.dice.weighted(&[(3, 250), (2, 1), (1, 3)]);
        let to_end = self.dice.in_thousand(700);
        let (input, again, position) = match which {
            Which::Events => {
                let (records, position) = self.events.read(reader.offset, max, to_end);
                let types = &self.workers[worker].core.plan.types;
                let records: Vec<_> = records
                    .iter()
                    .map(|(offset, at, said)| said.record_for(types, *offset, *at))
                    .collect();
                (
                    Input::Events(records.clone(), position),
                    Input::Events(records, position),
                    position,
                )
            }
            Which::Results => {
                let (records, position) = self.results.read(reader.offset, max, to_end);
                let record = |(offset, appended, result)| ResultRecord {
                    offset,
                    appended,
                    result: Some(result),
                };
                let records: Vec<_> = records.into_iter().map(record).collect();
                (
                    Input::Results(records.clone(), position),
                    Input::Results(records, position),
                    position,
                )
            }
        };
        if position == reader.offset {
            if !to_end {
                self.poll_soon(worker, which);
            }
            return;
        }
        let asker = Asker {
            generation: reader.generation,
            ..self.asker(worker)
        };
        if self.dice.in_thousand(self.storm.repeats) {
            let late = self.dice.between(1, 10_000);
            self.at(late, Happening::Deliver(asker, Delivery::Input(again)));
        }
        self.workers[worker].readers[which as usize] = Some(Reader {
            offset: position,
            ..reader
        });
        self.poll_soon(worker, which);
        self.input(worker, reader.generation, input);
        self.turn(worker);
    }
}
