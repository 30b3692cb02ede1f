//! The metrics page, as Prometheus would read it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::plain_http::get;

/// The samples of one page, by name and labels as they stand there.
#[derive(Clone, Debug)]
pub struct Page(BTreeMap<String, f64>);

impl Page {
    /// Asks a worker.
    pub async fn of(admin: SocketAddr) -> Self {
        let reply = get(admin, "/metrics").await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let samples = reply
            .body
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                let (series, value) = line.rsplit_once(' ').unwrap();
                (series.to_owned(), value.parse().unwrap())
            });
        Self(samples.collect())
    }

    /// The sum of a family's series that have all these labels; all of the counters and gauges that
    /// are read here are whole numbers.
    #[expect(clippy::cast_sign_loss, reason = "what is counted is not below 0")]
    pub fn sum(&self, family: &str, labels: &[(&str, &str)]) -> u64 {
        let wanted: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        let series = self.0.iter().filter(|(series, _)| {
            let (name, rest) = series.split_once('{').unwrap_or((series, ""));
            let rest = rest.trim_end_matches('}');
            name == family && wanted.iter().all(|pair| rest.split(',').any(|p| p == pair))
        });
        let values: Vec<f64> = series.map(|(_, value)| *value).collect();
        assert!(!values.is_empty(), "there is no {family} {labels:?}");
        values.iter().sum::<f64>() as u64
    }
}
