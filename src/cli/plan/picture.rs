//! A schedule as a picture of at most 80 columns: when one order is asked, and how the questions of many
//! orders add up while none of them is settled. Ages run from left to right on a logarithmic scale.

use std::fmt::{self, Write};

use crate::cli::figures::short;
use crate::domain::order::Millis;
use crate::domain::schedule::Step;

const COLUMNS: usize = 62;
const ROWS: u64 = 6;

/// The width of what stands left of the axis.
const MARGIN: usize = 10;

/// Where the scale may begin and end, and what is written below it.
const MARKS: [(Millis, &str); 15] = [
    (1, "1ms"),
    (10, "10ms"),
    (100, "100ms"),
    (1_000, "1s"),
    (10_000, "10s"),
    (60_000, "1m"),
    (600_000, "10m"),
    (3_600_000, "1h"),
    (36_000_000, "10h"),
    (86_400_000, "1d"),
    (864_000_000, "10d"),
    (8_640_000_000, "100d"),
    (86_400_000_000, "1000d"),
    (864_000_000_000, "10000d"),
    (Millis::MAX, ""),
];

/// What is drawn.
pub(super) struct Picture<'a> {
    /// The questions of one order, at least one.
    pub(super) steps: &'a [Step],
    /// Orders a second.
    pub(super) rate: u64,
    /// Questions a second.
    pub(super) ceiling: f64,
}

/// A part of the time line.
struct Scale {
    /// The marks from the first to the last.
    marks: &'static [(Millis, &'static str)],
}

impl Scale {
    /// The smallest that holds both ages.
    fn holding(first: Millis, last: Millis) -> Self {
        let begin = MARKS.iter().rposition(|(age, _)| *age <= first);
        let begin = begin.unwrap_or(0).min(MARKS.len() - 2);
        let end = MARKS.iter().position(|(age, _)| *age >= last);
        let end = end.unwrap_or(MARKS.len() - 1).max(begin + 1);
        Self {
            marks: &MARKS[begin..=end],
        }
    }

    fn column(&self, age: Millis) -> usize {
        let log = |age: Millis| (age.max(1) as f64).ln();
        let (begin, end) = (self.marks[0].0, self.marks[self.marks.len() - 1].0);
        let place = (log(age) - log(begin)) / (log(end) - log(begin));
        #[expect(
            clippy::cast_sign_loss,
            reason = "an age is not below the scale's begin"
        )]
        let column = (place * (COLUMNS - 1) as f64).round() as usize;
        column.min(COLUMNS - 1)
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let (mut line, mut labels) = (vec![b'-'; COLUMNS], String::new());
        for (age, label) in self.marks {
            let column = self.column(*age);
            line[column] = b'+';
            // The last one may stand beyond the line, one that would touch its neighbour nowhere.
            if labels.is_empty() || labels.len() < column {
                let blank = column - labels.len();
                write!(labels, "{:blank$}{label}", "")?;
            }
        }
        let line = String::from_utf8_lossy(&line);
        writeln!(out, "{:>MARGIN$} +{line}", "")?;
        writeln!(out, "{:>MARGIN$}  {labels}", "")
    }
}

impl Picture<'_> {
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        let (Some(first), Some(last)) = (self.steps.first(), self.steps.last()) else {
            return Ok(());
        };
        let scale = Scale::holding(first.age, last.age);
        let mut questions = [0_u64; COLUMNS];
        for step in self.steps {
            questions[scale.column(step.age)] += 1;
        }
        let one: String = questions.iter().map(|count| digit(*count)).collect();
        writeln!(out, "{:>MARGIN$} |{}", "one order", one.trim_end())?;
        writeln!(out, "{:>MARGIN$} |", "")?;
        self.write_bars(out, &questions)?;
        scale.write(out)
    }

    /// What the picture shows.
    pub(super) fn write_caption(&self, out: &mut String) -> fmt::Result {
        writeln!(
            out,
            "One order: its questions at that age, # is 10 and more. Below: questions a second of all\n\
             orders, so long after they began to come at {} a second, while none is settled.",
            short(self.rate)
        )
    }

    fn write_bars(&self, out: &mut String, questions: &[u64; COLUMNS]) -> fmt::Result {
        let asked = |count: usize| (count as u64).saturating_mul(self.rate);
        let most = asked(self.steps.len());
        #[expect(clippy::cast_sign_loss, reason = "a ceiling is above zero")]
        let limited = (self.ceiling < most as f64)
            .then(|| (self.ceiling / most as f64 * ROWS as f64).ceil() as u64)
            .map(|row| row.clamp(1, ROWS - 1));
        for row in (1..=ROWS).rev() {
            let label = match row {
                ROWS => format!("{}/s", short(most)),
                row if limited == Some(row) => "ceiling".to_owned(),
                _ => String::new(),
            };
            let blank = if limited == Some(row) { '-' } else { ' ' };
            let mut sum = 0;
            let bars: String = questions
                .iter()
                .map(|count| {
                    sum += count;
                    match sum * ROWS {
                        0 => blank,
                        grown if grown >= row * self.steps.len() as u64 => '#',
                        _ if row == 1 => '.',
                        _ => blank,
                    }
                })
                .collect();
            writeln!(out, "{label:>MARGIN$} |{}", bars.trim_end())?;
        }
        Ok(())
    }
}

/// One column of an order's questions.
fn digit(count: u64) -> char {
    match u32::try_from(count) {
        Ok(0) => ' ',
        Ok(few @ 1..=9) => char::from_digit(few, 10).unwrap_or('#'),
        _ => '#',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(ages: &[Millis], rate: u64, ceiling: f64) -> String {
        let step = |age: &Millis| Step {
            delay: 1,
            age: *age,
        };
        let steps: Vec<Step> = ages.iter().map(step).collect();
        let mut out = String::new();
        let picture = Picture {
            steps: &steps,
            rate,
            ceiling,
        };
        picture.write(&mut out).unwrap();
        out
    }

    #[test]
    fn no_schedule_makes_a_line_of_more_than_80_columns() {
        for ages in [
            &[1][..],
            &[1, 10 * 365 * 86_400_000],
            &[10 * 365 * 86_400_000],
            &[Millis::MAX],
            &[5, 6, 7, 60_000],
            &[86_400_000; 40],
        ] {
            for rate in [1, 1_000_000] {
                let drawn = drawn(ages, rate, 0.5);
                for line in drawn.lines() {
                    assert!(line.chars().count() <= 80, "{line}");
                }
            }
        }
        assert_eq!(drawn(&[], 1, 1.0), "");
    }

    #[test]
    fn the_ceiling_is_drawn_where_it_is_passed_only() {
        assert!(!drawn(&[1_000, 2_000], 100, 200.0).contains("ceiling"));
        assert!(drawn(&[1_000, 2_000], 100, 199.0).contains("ceiling |"));
    }
}
