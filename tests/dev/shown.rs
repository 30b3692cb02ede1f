//! What the second reader of a run was shown, held against the schemas.

use std::collections::BTreeSet;
use std::sync::Mutex;

use settled::dev::audit::{Counts, Place, Seen};

use crate::support::tally::Tally;

/// Looks at every record. It is asked on the reader's thread, and so only remembers what was wrong.
#[derive(Default)]
pub struct Shown {
    book: Tally,
    wrong: Mutex<Vec<String>>,
    /// Events that the schema refuses.
    refused: Mutex<BTreeSet<Place>>,
    /// Keys of dead letters.
    letters: Mutex<BTreeSet<String>>,
}

impl Shown {
    /// Takes a record.
    pub fn look(&self, record: &Seen) {
        match record {
            Seen::Event { at, value, .. } => {
                if self.book.validate_event(value).is_err() {
                    self.refused.lock().unwrap().insert(*at);
                }
            }
            // Its headers are nothing to the audit.
            Seen::Result { value, .. } => {
                let wrong = self.book.validate("result", value).err();
                self.wrong.lock().unwrap().extend(wrong);
            }
            Seen::DeadLetter { key, .. } => {
                let key = String::from_utf8(key.clone()).unwrap();
                self.letters.lock().unwrap().insert(key);
            }
        }
    }

    /// Every result was one, and every event or it has a dead letter.
    pub fn is_well_formed(&self, counts: &Counts) {
        assert_eq!(*self.wrong.lock().unwrap(), Vec::<String>::new());
        let letters = self.letters.lock().unwrap();
        for (partition, offset) in &*self.refused.lock().unwrap() {
            let key = format!("order-events/{partition}/{offset}");
            assert!(letters.contains(&key), "{key} fits no schema");
        }
        let read = counts.events + counts.forwarded + counts.results;
        assert!(self.book.validated() >= read, "all were looked at");
    }
}
