//! `settled verify`: prints where the orders stand, shard by shard, and each difference.

use std::fmt::Write;

use super::args::VerifyArgs;
use super::figures::{count, time};
use super::{Failure, print, work};
use crate::app;
use crate::config::Config;
use crate::domain::order::Millis;
use crate::verify::report::{Figures, Report};

/// Verifies a running system; a difference is a failure.
pub(super) fn verify(config: &Config, args: &VerifyArgs) -> Result<(), Failure> {
    work::on_runtime(async |stop| {
        let verified = stop.run_until_cancelled(app::verify::run(config, args.slack));
        let report = match verified.await {
            Some(report) => report?,
            None => return Err(anyhow::anyhow!("stopped before it was done").into()),
        };
        let text = if args.json {
            report.to_json().map_err(anyhow::Error::from)? + "\n"
        } else {
            text(&report, args.slack.as_millis() as Millis)
        };
        print(&text)?;
        match report.differences.total() {
            0 => Ok(()),
            1 => Err(anyhow::anyhow!("1 difference").into()),
            n => Err(anyhow::anyhow!("{} differences", count(n)).into()),
        }
    })
}

fn text(report: &Report, slack: Millis) -> String {
    let mut lines = table(report);
    let sum = report.sum();
    let unaccounted = sum.accepted - sum.settled - sum.exhausted - sum.pending;
    lines.push(format!(
        "accepted {} = settled {} + exhausted {} + pending {}{}",
        count(sum.accepted),
        count(sum.settled),
        count(sum.exhausted),
        count(sum.pending),
        if unaccounted == 0 {
            String::new()
        } else {
            format!(" + unaccounted {}", count(unaccounted))
        }
    ));
    if sum.older > 0 {
        lines.push(format!(
            "older: {} orders have a result, and retention has taken their event",
            count(sum.older)
        ));
    }
    if sum.untold > 0 {
        lines.push(format!(
            "untold: {} orders without a result are older than the oldest result that is left",
            count(sum.untold)
        ));
    }
    differences(report, &mut lines);
    if report.differences.total() == 0 {
        let slack = time(slack);
        lines.push(format!(
            "no difference; none is overdue by more than {slack}"
        ));
    }
    lines.join("\n") + "\n"
}

/// A row a shard, and their sum.
fn table(report: &Report) -> Vec<String> {
    let row = |of: &str, figures: &Figures, differences: u64| {
        let figures = [
            figures.accepted,
            figures.settled,
            figures.exhausted,
            figures.pending,
            figures.unfolded,
            figures.misplaced,
        ];
        let mut row = format!("{of:>5}");
        for figure in figures.map(count) {
            write!(row, " {figure:>10}").unwrap_or_default();
        }
        row + &format!(" {:>11}", count(differences))
    };
    let mut rows = vec![HEADER.to_owned()];
    for shard in &report.shards {
        rows.push(row(
            &shard.shard.to_string(),
            &shard.figures,
            shard.differences,
        ));
    }
    rows.push(row("all", &report.sum(), report.differences.total()));
    rows
}

/// A line each, kind by kind.
fn differences(report: &Report, lines: &mut Vec<String>) {
    for (kind, number) in report.differences.counts() {
        let mut told = 0;
        for difference in report.differences.examples_of(*kind) {
            told += 1;
            let order = difference.order.as_deref().unwrap_or("-");
            let (kind, shard) = (kind.text(), difference.shard);
            lines.push(format!(
                "{kind}: {order}: shard {shard}: {}",
                difference.what
            ));
        }
        let more = number.saturating_sub(told);
        if more > 0 {
            lines.push(format!("{}: and {} more", kind.text(), count(more)));
        }
    }
}

const HEADER: &str =
    "shard   accepted    settled  exhausted    pending   unfolded  misplaced differences";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::difference::{Difference, Kind};
    use crate::verify::report::ShardFigures;

    fn report() -> Report {
        let figures = Figures {
            accepted: 1_203,
            settled: 1_000,
            exhausted: 2,
            pending: 200,
            unfolded: 5,
            misplaced: 7,
            ..Figures::default()
        };
        let mut report = Report::default();
        report.shards.push(ShardFigures {
            shard: 0,
            figures,
            differences: 1,
        });
        report.differences.add(Kind::Unaccounted, || {
            Some(Difference {
                kind: Kind::Unaccounted,
                shard: 0,
                order: Some("transfer/TX7".to_owned()),
                what: "event 0/3 was accepted".to_owned(),
            })
        });
        report.differences.add(Kind::Unaccounted, || None);
        report
    }

    #[test]
    fn the_figures_stand_under_their_names_and_each_difference_has_a_line() {
        let expected = "\
shard   accepted    settled  exhausted    pending   unfolded  misplaced differences
    0      1,203      1,000          2        200          5          7           1
  all      1,203      1,000          2        200          5          7           2
accepted 1,203 = settled 1,000 + exhausted 2 + pending 200 + unaccounted 1
unaccounted: transfer/TX7: shard 0: event 0/3 was accepted
unaccounted: and 1 more
";
        assert_eq!(text(&report(), 60_000), expected);
        let clean = text(&Report::default(), 60_000);
        assert!(
            clean.ends_with("no difference; none is overdue by more than 1m\n"),
            "{clean}"
        );
    }

    #[test]
    fn the_document_has_the_same_figures() {
        let document = report().to_json().unwrap();
        let document: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(document["sum"]["accepted"], 1_203);
        assert_eq!(document["shards"][0]["pending"], 200);
        assert_eq!(document["differences"]["unaccounted"], 2);
        assert_eq!(document["examples"][0]["order"], "transfer/TX7");
    }
}
