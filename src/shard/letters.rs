//! Dead letters and forwards on their way out. What the producer has no room for waits here, and what
//! was sent is kept until it is acknowledged: a broker may refuse it for its size as late as then, and
//! it goes again with less. One that fails otherwise goes again after a rest: whatever is wrong with a
//! topic for a few events must not keep the orders of the shard from being settled. The answers come
//! back through one bounded channel, which bounds what is under way.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::mpsc;

use crate::domain::event::{Reason, Refusal, VALUE_MAX};
use crate::domain::order::Millis;
use crate::kafka::Original;
use crate::kafka::letter::DeadLetter;
use crate::kafka::producer::{Delivered, ProduceError, Producer, Ticket};

/// Letters and forwards of one partition under way at a time.
const UNDER_WAY: usize = 512;

/// Bytes of originals on their way out, beyond which an inlet takes no more.
const FULL_BYTES: usize = 16 << 20;

/// What failed is sent again after this.
const AGAIN: Millis = 1_000;

/// The longest key, and the original headers in all, that a record keeps that was too large, in bytes.
const SHED_TO: usize = 4_096;

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Letter {
    Dead(DeadLetter),
    Forward {
        original: Box<Original>,
        to: u16,
        offset: u64,
        appended: Millis,
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

    fn bytes(&self) -> usize {
        match self {
            Self::Dead(letter) => letter.original.bytes(),
            Self::Forward { original, .. } => original.bytes(),
        }
    }

    /// Of a dead letter, why it is one.
    fn reason(&self) -> Option<Reason> {
        match self {
            Self::Dead(letter) => Some(letter.reason),
            Self::Forward { .. } => None,
        }
    }

    /// What is left of it when its topic did not take it; `None`: there is nothing more to leave out.
    /// A forward leaves out its bulky headers first, which says nothing less about the order.
    fn lightened(self, partition: u16) -> Option<Self> {
        match self {
            Self::Dead(mut letter) => {
                let shed = shed(&mut letter.original);
                // What was large may have been the headers alone.
                let too_large = |value: &mut Vec<u8>| !shed || value.len() > VALUE_MAX;
                let valued = letter.original.value.take_if(too_large).is_some();
                for (left_out, what) in [(shed, "bulky headers or key"), (valued, "the value")] {
                    if left_out {
                        letter.detail.push_str("; without ");
                        letter.detail.push_str(what);
                        letter
                            .detail
                            .push_str(", which this topic does not take: read it where it lies");
                    }
                }
                (valued || shed).then_some(Self::Dead(letter))
            }
            Self::Forward {
                mut original,
                to,
                offset,
                appended,
            } => Some(if shed(&mut original) {
                Self::Forward {
                    original,
                    to,
                    offset,
                    appended,
                }
            } else {
                let detail = format!(
                    "the value: its topic takes none so large, it could not be forwarded to partition {to}"
                );
                let refusal = Refusal::new(Reason::TooLarge, detail);
                Self::dead(partition, offset, appended, refusal, *original)
            }),
        }
    }
}

/// Leaves out a bulky key and bulky headers; whether there were any.
fn shed(original: &mut Original) -> bool {
    let bulky = |key: &mut Vec<u8>| key.len() > SHED_TO;
    let mut shed = original.key.take_if(bulky).is_some();
    let mut left = SHED_TO;
    original.headers.retain(|(name, value)| {
        let bytes = name.len() + value.as_ref().map_or(0, Vec::len);
        let kept = bytes <= left;
        if kept {
            left -= bytes;
        }
        shed |= !kept;
        kept
    });
    shed
}

/// What a delivery comes to.
#[derive(Debug)]
pub(super) enum Fate {
    /// Acknowledged. A dead letter with its reason: what began as a forward may have become one.
    Acknowledged(u64, Option<Reason>),
    /// Given up; its event is to be read again.
    Failed(u64, ProduceError),
    /// It was too large, or failed, and waits to be sent again.
    Again,
}

/// The way out of one partition.
pub(super) struct Letters {
    producer: Producer,
    partition: u16,
    generation: u64,
    waiting: VecDeque<Letter>,
    /// Failed, to be sent again when it is time.
    failed: Vec<Letter>,
    /// In monotonic milliseconds.
    again_at: Millis,
    /// Sent and not acknowledged, by offset.
    under_way: BTreeMap<u64, Letter>,
    /// Of the originals of all.
    bytes: usize,
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
            failed: Vec::new(),
            again_at: 0,
            under_way: BTreeMap::new(),
            bytes: 0,
            answers,
            delivered,
        }
    }

    /// What waited for an older generation is dropped: its events are read again.
    pub fn enter(&mut self, generation: u64) {
        if self.generation != generation {
            self.generation = generation;
            self.waiting.clear();
            self.failed.clear();
            self.under_way.clear();
            self.bytes = 0;
        }
    }

    pub fn push(&mut self, letter: Letter) {
        self.bytes += letter.bytes();
        self.waiting.push_back(letter);
    }

    /// Sends what there is room for, at monotonic time `now`.
    ///
    /// # Errors
    /// Nothing will ever be sent any more.
    pub fn send(&mut self, now: Millis) -> Result<(), ProduceError> {
        if now >= self.again_at {
            self.waiting.extend(self.failed.drain(..));
        }
        while let Some(letter) = self.waiting.pop_front() {
            let ticket = Ticket {
                partition: self.partition,
                generation: self.generation,
                offset: letter.offset(),
            };
            let sent = match &letter {
                Letter::Dead(letter) => self.producer.dead_letter(letter, ticket, &self.answers),
                Letter::Forward { original, to, .. } => {
                    self.producer.forward(original, *to, ticket, &self.answers)
                }
            };
            match sent {
                Ok(()) => drop(self.under_way.insert(ticket.offset, letter)),
                Err(ProduceError::Full) => {
                    self.waiting.push_front(letter);
                    return Ok(());
                }
                Err(ProduceError::TooLarge) => {
                    self.bytes -= letter.bytes();
                    self.lighten(letter, now);
                }
                Err(error @ ProduceError::Closed) => {
                    self.waiting.push_front(letter);
                    return Err(error);
                }
                Err(error) => self.fail(letter, &error, now),
            }
        }
        Ok(())
    }

    /// Takes what [`Letters::delivered`] gave, at monotonic time `now`; [`Letters::send`] is to follow.
    pub fn settle(&mut self, delivered: Delivered, now: Millis) -> Fate {
        let Delivered { ticket, outcome } = delivered;
        let letter = self.under_way.remove(&ticket.offset);
        let Some(letter) = letter else {
            return match outcome {
                Ok(()) => Fate::Acknowledged(ticket.offset, None),
                Err(error) => Fate::Failed(ticket.offset, error),
            };
        };
        match outcome {
            Ok(()) => {
                self.bytes -= letter.bytes();
                return Fate::Acknowledged(ticket.offset, letter.reason());
            }
            Err(ProduceError::TooLarge) => {
                self.bytes -= letter.bytes();
                self.lighten(letter, now);
            }
            Err(error @ ProduceError::Closed) => {
                self.bytes -= letter.bytes();
                return Fate::Failed(ticket.offset, error);
            }
            Err(error) => self.fail(letter, &error, now),
        }
        Fate::Again
    }

    fn lighten(&mut self, letter: Letter, now: Millis) {
        if let Some(lighter) = letter.clone().lightened(self.partition) {
            self.bytes += lighter.bytes();
            self.waiting.push_front(lighter);
        } else {
            self.bytes += letter.bytes();
            self.fail(letter, &ProduceError::TooLarge, now);
        }
    }

    /// What is already counted goes again after a rest; the first of them says why.
    fn fail(&mut self, letter: Letter, error: &ProduceError, now: Millis) {
        if self.failed.is_empty() {
            self.again_at = now + AGAIN;
            tracing::warn!(
                partition = self.partition,
                offset = letter.offset(),
                %error,
                "a dead letter or a forward was not delivered and is sent again; its event holds the position"
            );
        }
        self.failed.push(letter);
    }

    /// Whether something waits to be sent again.
    pub fn rests(&self) -> bool {
        !self.failed.is_empty()
    }

    /// The offset that waits longest; 0: none.
    pub fn next_offset(&self) -> u64 {
        self.waiting.front().map_or(0, Letter::offset)
    }

    /// Whether no more should be pushed for now.
    pub fn is_full(&self) -> bool {
        !self.waiting.is_empty() || self.bytes >= FULL_BYTES || self.failed.len() >= UNDER_WAY
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

#[cfg(test)]
mod tests {
    use rdkafka::error::{KafkaError, RDKafkaErrorCode};

    use super::*;
    use crate::kafka::producer;
    use crate::kafka::settings::Settings;
    use crate::kafka::thread::KafkaThread;

    fn original(header_bytes: usize) -> Original {
        Original {
            key: Some(b"key".to_vec()),
            value: Some(vec![b'x'; 50_000]),
            headers: vec![
                ("bulky".to_owned(), Some(vec![b'h'; header_bytes])),
                ("traceparent".to_owned(), Some(b"00-1-2-01".to_vec())),
            ],
        }
    }

    fn names(original: &Original) -> Vec<&str> {
        let names = original.headers.iter();
        names.map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn a_dead_letter_that_is_too_large_leaves_out_bulky_headers_then_its_value() {
        let refusal = Refusal::new(Reason::NotJson, "no JSON");
        let letter = Letter::dead(3, 42, 7, refusal, original(100_000));
        let Some(Letter::Dead(dead)) = letter.lightened(3) else {
            panic!("it stays a dead letter");
        };
        assert_eq!(names(&dead.original), ["traceparent"]);
        assert_eq!(dead.original.key.as_deref(), Some(&b"key"[..]));
        assert_eq!(dead.original.value.as_ref().map(Vec::len), Some(50_000));
        let lightest = Letter::Dead(dead).lightened(3).unwrap();
        let Letter::Dead(dead) = &lightest else {
            panic!("{lightest:?}");
        };
        assert_eq!(dead.original.value, None);
        assert_eq!((dead.offset, dead.reason), (42, Reason::NotJson));
        assert_eq!(
            dead.detail,
            "no JSON; without bulky headers or key, which this topic does not take: read it where \
             it lies; without the value, which this topic does not take: read it where it lies"
        );
        assert_eq!(lightest.lightened(3), None, "nothing more to leave out");
    }

    #[test]
    fn a_dead_letter_with_a_large_value_leaves_it_out_at_once() {
        let mut original = original(100_000);
        original.value = Some(vec![b'x'; 500_000]);
        let refusal = Refusal::new(Reason::TooLarge, "large");
        let letter = Letter::dead(3, 42, 7, refusal, original);
        let Some(Letter::Dead(dead)) = letter.lightened(3) else {
            panic!("it stays a dead letter");
        };
        assert_eq!(dead.original.value, None);
        assert_eq!(names(&dead.original), ["traceparent"]);
    }

    #[test]
    fn a_forward_that_is_too_large_leaves_out_bulky_headers_before_it_is_a_dead_letter() {
        let forward = Letter::Forward {
            original: Box::new(original(100_000)),
            to: 1,
            offset: 42,
            appended: 7,
        };
        let lighter = forward.lightened(3).unwrap();
        let Letter::Forward { original, to, .. } = &lighter else {
            panic!("{lighter:?}");
        };
        assert_eq!((*to, names(original)), (1, vec!["traceparent"]));
        assert_eq!(original.value.as_ref().map(Vec::len), Some(50_000));
        let Some(Letter::Dead(dead)) = lighter.lightened(3) else {
            panic!("it goes no further as a forward");
        };
        assert_eq!((dead.reason, dead.partition), (Reason::TooLarge, 3));
        assert_eq!(dead.original.value.as_ref().map(Vec::len), Some(50_000));
    }

    /// A way out through a producer that reaches no broker: whatever is sent stays under way.
    fn unanswered() -> (Letters, KafkaThread) {
        let settings = Settings::of_no_broker();
        let (producer, thread) = producer::spawn(&settings).unwrap();
        (Letters::new(producer, 3), thread)
    }

    fn fails(letters: &mut Letters, offset: u64, error: ProduceError, now: Millis) -> Fate {
        let ticket = Ticket {
            partition: 3,
            generation: letters.generation,
            offset,
        };
        letters.settle(
            Delivered {
                ticket,
                outcome: Err(error),
            },
            now,
        )
    }

    fn refused() -> ProduceError {
        ProduceError::Kafka(KafkaError::MessageProduction(
            RDKafkaErrorCode::TopicAuthorizationFailed,
        ))
    }

    fn dead(offset: u64) -> Letter {
        let refusal = Refusal::new(Reason::NotJson, "no JSON");
        Letter::dead(3, offset, 7, refusal, original(0))
    }

    #[test]
    fn what_fails_is_sent_again_after_a_rest_and_holds_up_nothing_else() {
        let (mut letters, _thread) = unanswered();
        letters.enter(1);
        letters.push(dead(42));
        letters.send(5_000).unwrap();
        let all = letters.bytes;
        let fate = fails(&mut letters, 42, refused(), 5_000);
        assert!(matches!(fate, Fate::Again), "{fate:?}");
        letters.push(dead(43));
        letters.send(5_999).unwrap();
        assert_eq!(letters.under_way.keys().collect::<Vec<_>>(), [&43]);
        assert!(letters.rests() && !letters.is_full());
        letters.send(6_000).unwrap();
        assert_eq!(letters.under_way.keys().collect::<Vec<_>>(), [&42, &43]);
        assert!(!letters.rests());
        assert_eq!(letters.bytes, 2 * all);
    }

    #[tokio::test]
    async fn what_an_older_generation_sent_is_not_sent_again_and_its_delivery_does_not_count() {
        let (mut letters, _thread) = unanswered();
        letters.enter(1);
        letters.push(dead(42));
        letters.push(dead(43));
        letters.send(0).unwrap();
        fails(&mut letters, 43, refused(), 0);
        letters.push(dead(44));
        letters.enter(2);
        letters.send(5_000).unwrap();
        assert!(letters.under_way.is_empty() && letters.waiting.is_empty() && !letters.rests());
        assert_eq!(letters.bytes, 0);
        for generation in [1, 2] {
            let ticket = Ticket {
                partition: 3,
                generation,
                offset: 42,
            };
            let outcome = Ok(());
            letters
                .answers
                .try_send(Delivered { ticket, outcome })
                .unwrap();
        }
        let delivered = letters.delivered().await.unwrap();
        assert_eq!(delivered.ticket.generation, 2);
    }

    #[test]
    fn what_is_too_large_with_nothing_left_to_leave_out_is_sent_again_too() {
        let (mut letters, _thread) = unanswered();
        let refusal = Refusal::new(Reason::NotJson, "no JSON");
        let nothing = Original::default();
        letters.push(Letter::dead(3, 42, 7, refusal, nothing));
        letters.send(0).unwrap();
        let fate = fails(&mut letters, 42, ProduceError::TooLarge, 0);
        assert!(matches!(fate, Fate::Again), "{fate:?}");
        assert_eq!((letters.failed.len(), letters.bytes), (1, 0));
    }

    #[test]
    fn a_producer_that_has_ended_ends_the_wait() {
        let (mut letters, _thread) = unanswered();
        let refusal = Refusal::new(Reason::NotJson, "no JSON");
        letters.push(Letter::dead(3, 42, 7, refusal, original(0)));
        letters.send(0).unwrap();
        let fate = fails(&mut letters, 42, ProduceError::Closed, 0);
        assert!(matches!(fate, Fate::Failed(42, _)), "{fate:?}");
    }
}
