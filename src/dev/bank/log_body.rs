//! The bank's log as a response body, rendered a piece at a time: half a million lines never stand
//! in memory twice.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};

use super::ledger::Ledger;

/// Lines per piece: short enough that the books are not locked for long.
const LINES: usize = 500;

/// The log as it stood when the body was made, less what is dropped while it is read.
#[derive(Debug)]
pub(super) struct LogBody {
    ledger: Arc<Ledger>,
    next: u64,
    end: u64,
}

impl LogBody {
    pub(super) fn new(ledger: Arc<Ledger>) -> Self {
        let end = ledger.log_end();
        Self {
            ledger,
            next: 0,
            end,
        }
    }
}

impl Body for LogBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let (lines, next) = self.ledger.log(self.next, self.end, LINES);
        self.next = next;
        Poll::Ready((!lines.is_empty()).then(|| Ok(Frame::data(Bytes::from(lines)))))
    }
}
