//! Dead letters and forwards on their way out. What the producer has no room for waits here; the
//! answers come back through one bounded channel, which bounds what is under way.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::domain::event::Refusal;
use crate::domain::order::Millis;
use crate::kafka::Original;
use crate::kafka::letter::DeadLetter;
use crate::kafka::producer::{Delivered, ProduceError, Producer, Ticket};

/// Letters and forwards of one partition under way at a time.
const UNDER_WAY: usize = 512;

/// What is to be sent.
#[derive(Clone, Debug)]
pub(super) enum Letter {
    Dead(DeadLetter),
    Forward {
        original: Box<Original>,
        to: u16,
        offset: u64,
    },
}

impl Letter {
    pub fn dead(
        partition: u16,
        offset: u64,
        appended: Millis,
        refusal: Refusal,
        original: Original,
    ) -> Self {
        Self::Dead(DeadLetter {
            original,
            partition,
            offset,
            appended,
            reason: refusal.reason,
            detail: refusal.detail,
        })
    }

    fn offset(&self) -> u64 {
        match self {
            Self::Dead(letter) => letter.offset,
            Self::Forward { offset, .. } => *offset,
        }
    }
}

/// The way out of one partition.
pub(super) struct Letters {
    producer: Producer,
    partition: u16,
    generation: u64,
    waiting: VecDeque<Letter>,
    answers: mpsc::Sender<Delivered>,
    delivered: mpsc::Receiver<Delivered>,
}

impl Letters {
    pub fn new(producer: Producer, partition: u16) -> Self {
        let (answers, delivered) = mpsc::channel(UNDER_WAY);
        Self {
            producer,
            partition,
            generation: 0,
            waiting: VecDeque::new(),
            answers,
            delivered,
        }
    }

    /// What waited for an older generation is dropped: its events are read again.
    pub fn enter(&mut self, generation: u64) {
        if self.generation != generation {
            self.generation = generation;
            self.waiting.clear();
        }
    }

    pub fn push(&mut self, letter: Letter) {
        self.waiting.push_back(letter);
    }

    /// Sends what there is room for. A letter that the topic can't take goes without its value.
    pub fn send(&mut self) -> Result<(), ProduceError> {
        while let Some(letter) = self.waiting.front_mut() {
            let ticket = Ticket {
                partition: self.partition,
                generation: self.generation,
                offset: letter.offset(),
            };
            let sent = match letter {
                Letter::Dead(letter) => self.producer.dead_letter(letter, ticket, &self.answers),
                Letter::Forward { original, to, .. } => {
                    self.producer.forward(original, *to, ticket, &self.answers)
                }
            };
            match (sent, letter) {
                (Ok(()), _) => drop(self.waiting.pop_front()),
                (Err(ProduceError::Full), _) => return Ok(()),
                (Err(ProduceError::TooLarge), Letter::Dead(letter))
                    if letter.original.value.is_some() =>
                {
                    letter.original.value = None;
                    letter.detail.push_str(
                        "; the value is larger than this topic takes, read it where it lies",
                    );
                }
                (Err(error), _) => return Err(error),
            }
        }
        Ok(())
    }

    /// The offset that waits longest; 0: none.
    pub fn next_offset(&self) -> u64 {
        self.waiting.front().map_or(0, Letter::offset)
    }

    /// Whether something waits for room.
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next delivery of this generation. Cancelling loses nothing.
    pub async fn delivered(&mut self) -> Option<Delivered> {
        loop {
            let delivered = self.delivered.recv().await?;
            if delivered.ticket.generation == self.generation {
                return Some(delivered);
            }
        }
    }
}
