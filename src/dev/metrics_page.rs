//! The worker's metrics page, read over HTTP like anybody would: for the line that is printed each
//! second and for the brake of the traffic, never for the verified count.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The whole of one look.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A page as it was at some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricsPage(String);

/// A histogram's buckets: upper bound in seconds and how many were observed up to it, in total.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets(Vec<(f64, f64)>);

impl MetricsPage {
    /// Reads the page of the admin listener at `address`.
    ///
    /// # Errors
    /// The listener does not answer within 2 s.
    pub async fn read(address: SocketAddr) -> io::Result<Self> {
        let reading = async {
            let mut stream = TcpStream::connect(address).await?;
            // HTTP/1.0: the answer ends with the connection and is never chunked.
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok(Self(answer))
        };
        tokio::time::timeout(TIMEOUT, reading)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// The sum of a metric over all its labels.
    pub fn sum(&self, name: &str) -> f64 {
        self.lines(name).map(|(_, value)| value).sum()
    }

    /// A histogram's buckets, summed up over all other labels.
    pub fn buckets(&self, name: &str) -> Buckets {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for (labels, value) in self.lines(&format!("{name}_bucket")) {
            let bound = labels
                .split_once("le=\"")
                .and_then(|(_, rest)| rest.split_once('"'));
            let Some(bound) = bound.and_then(|(bound, _)| bound.parse::<f64>().ok()) else {
                continue;
            };
            match buckets
                .iter_mut()
                .find(|(known, _)| known.total_cmp(&bound).is_eq())
            {
                Some((_, sum)) => *sum += value,
                None => buckets.push((bound, value)),
            }
        }
        buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        Buckets(buckets)
    }

    fn lines<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = rest.rsplit_once(' ')?;
            let whole_name = labels.is_empty() || labels.starts_with('{');
            Some((labels, value.parse().ok()?)).filter(|_| whole_name)
        })
    }
}

impl Buckets {
    /// Below which 99 % of what was observed since `before` lie; `None`: nothing was. An upper
    /// bound: the bucket's end. Beyond the last bucket it is infinite.
    pub fn p99_since(&self, before: &Self) -> Option<f64> {
        let since: Vec<(f64, f64)> = self
            .0
            .iter()
            .map(|(bound, count)| {
                let earlier = before
                    .0
                    .iter()
                    .find(|(known, _)| known.total_cmp(bound).is_eq());
                (*bound, count - earlier.map_or(0.0, |(_, count)| *count))
            })
            .collect();
        let all = since.last().map_or(0.0, |(_, count)| *count);
        if all <= 0.0 {
            return None;
        }
        let reached = since.iter().find(|(_, count)| *count >= all * 0.99);
        reached.map(|(bound, _)| *bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(small: u32, all: u32) -> MetricsPage {
        MetricsPage(format!(
            "HTTP/1.0 200 OK\r\n\r\n# HELP late_seconds text 9\n\
             late_seconds_bucket{{type=\"a\",le=\"0.01\"}} {small}\n\
             late_seconds_bucket{{type=\"a\",le=\"1\"}} {all}\n\
             late_seconds_bucket{{type=\"a\",le=\"+Inf\"}} {all}\n\
             late_seconds_bucket{{type=\"b\",le=\"0.01\"}} 5\n\
             late_seconds_bucket{{type=\"b\",le=\"1\"}} 5\n\
             late_seconds_bucket{{type=\"b\",le=\"+Inf\"}} 5\n\
             late_seconds_count{{type=\"a\"}} {all}\nevents_total{{outcome=\"added\"}} 3\n\
             events_total{{outcome=\"known\"}} 4\nevents 2\n"
        ))
    }

    #[test]
    fn a_metric_is_summed_over_its_labels_and_no_other_name() {
        assert!((page(1, 2).sum("events_total") - 7.0).abs() < f64::EPSILON);
        assert!((page(1, 2).sum("events") - 2.0).abs() < f64::EPSILON);
    }

    #[test]
    fn the_percentile_is_that_of_what_came_since() {
        let before = page(0, 100).buckets("late_seconds");
        assert_eq!(before.p99_since(&Buckets::default()), Some(1.0));
        let after = page(1_000, 1_100).buckets("late_seconds");
        assert_eq!(after.p99_since(&before), Some(0.01));
        assert_eq!(after.p99_since(&after), None);
    }
}
