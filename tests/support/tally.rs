//! The schemas, with a word at the end of a test about how much was held against them.

use std::fmt;
use std::ops::Deref;

use super::schemas::SchemaBook;

/// A book that tells its counts when it is dropped.
pub struct Tally(SchemaBook);

impl Default for Tally {
    fn default() -> Self {
        Self(SchemaBook::open())
    }
}

impl Deref for Tally {
    type Target = SchemaBook;

    fn deref(&self) -> &SchemaBook {
        &self.0
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if self.validated() > 0 {
            println!("figure: {}", self.0);
        }
    }
}
