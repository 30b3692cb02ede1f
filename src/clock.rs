//! The only place that reads a clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::domain::order::Millis;

/// Wall and monotonic time of one process. Cheap to copy; tests pass their own numbers to the pure
/// parts instead of a clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts the monotonic count at zero.
    #[expect(clippy::disallowed_methods, reason = "this file is the clock")]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Wall time; only for what people read and for broker time stamps.
    #[expect(clippy::disallowed_methods, reason = "this file is the clock")]
    pub fn wall(&self) -> Millis {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO)
            .as_millis() as Millis
    }

    /// Microseconds since the start; never goes back.
    #[expect(clippy::disallowed_methods, reason = "this file is the clock")]
    pub fn monotonic_us(&self) -> u64 {
        Instant::now().duration_since(self.start).as_micros() as u64
    }

    /// Milliseconds since the start; never goes back.
    pub fn monotonic(&self) -> Millis {
        self.monotonic_us() / 1000
    }
}
