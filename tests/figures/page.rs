//! A worker's metrics page, histograms included.

use std::net::SocketAddr;

use crate::plain_http::get;

/// A page as it was at some moment.
pub struct Page(Vec<(String, f64)>);

impl Page {
    pub async fn of(admin: SocketAddr) -> Self {
        let reply = get(admin, "/metrics").await;
        let lines = reply.body.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        });
        Self(samples.collect())
    }

    /// The sum of the series that begin so, up to their labels or into them; 0 without any.
    pub fn sum(&self, prefix: &str) -> f64 {
        let ends = |rest: &str| rest.is_empty() || rest.starts_with(['{', ',', '}']);
        let matching = self
            .0
            .iter()
            .filter(|(series, _)| series.strip_prefix(prefix).is_some_and(ends));
        matching.map(|(_, value)| value).sum()
    }

    /// The shards that are open here.
    #[expect(clippy::cast_sign_loss, reason = "a count")]
    pub fn open(&self) -> u64 {
        self.sum(r#"settled_shards{phase="open""#) as u64
    }

    /// Upper bounds in milliseconds of p50, p99 and the highest of what this histogram of an order
    /// type took in since `before`, and how many that were.
    pub fn quantiles_since(
        &self,
        before: &Self,
        family: &str,
        order_type: &str,
    ) -> ([f64; 3], f64) {
        let buckets = |page: &Self| -> Vec<(f64, f64)> {
            let prefix = format!(r#"{family}_bucket{{type="{order_type}","#);
            let all = page
                .0
                .iter()
                .filter(|(series, _)| series.starts_with(&prefix));
            let mut buckets: Vec<(f64, f64)> = Vec::new();
            for (series, value) in all {
                let bound = series.split_once("le=\"").unwrap().1;
                let bound: f64 = bound.split_once('"').unwrap().0.parse().unwrap();
                match buckets
                    .iter_mut()
                    .find(|one| one.0.total_cmp(&bound).is_eq())
                {
                    Some((_, sum)) => *sum += value,
                    None => buckets.push((bound, *value)),
                }
            }
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            buckets
        };
        let (before, after) = (buckets(before), buckets(self));
        let earlier = |bound: f64| {
            let same = before.iter().find(|one| one.0.total_cmp(&bound).is_eq());
            same.map_or(0.0, |(_, count)| *count)
        };
        let since: Vec<(f64, f64)> = after
            .iter()
            .map(|(bound, count)| (*bound, count - earlier(*bound)))
            .collect();
        let all = since.last().map_or(0.0, |(_, count)| *count);
        let reached = |share: f64| {
            let mut buckets = since.iter();
            let reached = buckets.find(|(_, count)| *count >= all * share);
            reached.map_or(f64::NAN, |(bound, _)| bound * 1000.0)
        };
        ([reached(0.5), reached(0.99), reached(1.0)], all)
    }
}
