//! A log's ends, held against a position of ours, and the memory of a log that ended below it: what was
//! appended since lies where other records were, and to go on behind it would skip it.

use crate::kafka::Ends;

/// Where a log was seen to end below our position.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cut(Option<u64>);

impl Cut {
    /// The ends that `position` lies outside of, if it does. A position is good from the oldest record
    /// up to the end: a log that was emptied has `low == high`. One that lay beyond the end is not good
    /// again because the log has grown over it; only a position up to that end is.
    pub fn outside(&mut self, position: u64, ends: Ends) -> Option<Ends> {
        let end = self.0.unwrap_or(ends.high).min(ends.high);
        if position > end {
            self.0 = Some(end);
            return Some(Ends { high: end, ..ends });
        }
        *self = Self::default();
        (position < ends.low).then_some(ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_beyond_the_end_is_good_again_when_it_was_moved_not_when_the_log_has_grown() {
        let ends = |low, high| Ends { low, high };
        let mut cut = Cut::default();
        assert_eq!(cut.outside(7, ends(0, 7)), None);
        assert_eq!(cut.outside(7, ends(0, 5)), Some(ends(0, 5)));
        assert_eq!(cut.outside(7, ends(0, 9)), Some(ends(0, 5)));
        assert_eq!(cut.outside(7, ends(0, 4)), Some(ends(0, 4)));
        assert_eq!(cut.outside(4, ends(0, 9)), None);
        assert_eq!(cut.outside(7, ends(0, 9)), None);
        assert_eq!(cut.outside(7, ends(8, 9)), Some(ends(8, 9)));
        assert_eq!(cut.outside(8, ends(8, 8)), None);
    }
}
