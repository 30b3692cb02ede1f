//! How fast the bank was asked, by its own log: what a ceiling promises of any sliding second, and how
//! evenly what waits is spread over it.

/// The most questions of any sliding second under a ceiling: 2 % more, and one block of start times,
/// a tenth of a second's worth.
pub fn promised(ceiling: u64) -> u64 {
    ceiling + ceiling / 50 + (ceiling / 10).clamp(1, 250)
}

/// A busiest span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Busiest {
    /// Arrivals within it.
    pub count: u64,
    /// The longest time without one in it or right before it, in milliseconds: what a bank, or a
    /// machine, that stood still lets in all at once afterwards was not asked at once.
    pub gap_ms: u64,
}

/// The busiest 1000 consecutive milliseconds of these sorted arrivals.
pub fn busiest_second(arrived: &[u64]) -> Busiest {
    busiest(arrived, 1_000)
}

/// The most of them within any 100 consecutive milliseconds, and the mean of 100 ms from the first to
/// the last.
pub fn busiest_slot(arrived: &[u64]) -> (u64, f64) {
    let span = arrived[arrived.len() - 1] - arrived[0] + 1;
    let mean = arrived.len() as f64 * 100.0 / span as f64;
    (busiest(arrived, 100).count, mean)
}

fn busiest(arrived: &[u64], span_ms: u64) -> Busiest {
    let (mut first, mut most) = (0, 0..0);
    for (last, at) in arrived.iter().enumerate() {
        while arrived[first] + span_ms <= *at {
            first += 1;
        }
        let end = last + 1;
        if end - first > most.len() {
            most = first..end;
        }
    }
    let around = &arrived[most.start.saturating_sub(1)..most.end];
    let gaps = around.windows(2).map(|pair| pair[1] - pair[0]);
    Busiest {
        count: most.len() as u64,
        gap_ms: gaps.max().unwrap_or(0),
    }
}

#[test]
fn a_sliding_second_ends_before_its_thousandth_millisecond() {
    let arrived = [5, 900, 999, 1_004, 1_005];
    let busiest = Busiest {
        count: 4,
        gap_ms: 895,
    };
    assert_eq!(busiest_second(&arrived), busiest, "5 to 1004");
    assert_eq!(busiest_slot(&arrived).0, 3, "from 999 on");
    assert_eq!([promised(100), promised(5_000)], [112, 5_350]);
}
