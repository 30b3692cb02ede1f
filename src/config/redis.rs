//! `[redis]`: where the view is.

use super::fields::{Broken, Fields, quoted};
use super::secret::Secret;

/// `[redis]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// `redis://` or `rediss://`; more than one: Redis Cluster. Empty only in the embedded world:
    /// the view is in memory.
    pub urls: Vec<Secret>,
    /// Stands before every key.
    pub prefix: String,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            urls: vec![Secret::url("redis://127.0.0.1:6379/0".to_owned())],
            prefix: String::new(),
        }
    }
}

impl Redis {
    pub(super) fn read(mut fields: Fields<'_>) -> Self {
        let default = Self::default();
        let redis = Self {
            urls: fields.field("urls").map_or(default.urls, |field| {
                let items = field
                    .secret_items(r#"a list like ["redis://host:6379/0"]"#)
                    .unwrap_or_default();
                let url = |item: &super::fields::Field<'_>| {
                    let url = item.secret(Secret::url)?;
                    let is_url = Secret::redis_url(url.reveal().to_owned()).is_some();
                    is_url.then_some(url).or_else(|| {
                        // The URL may hold a password: it is not repeated.
                        item.refuse("expected a URL like redis://host:6379/0 or rediss://host");
                        None
                    })
                };
                items.iter().filter_map(url).collect()
            }),
            prefix: fields
                .field("prefix")
                .and_then(|field| field.text())
                .unwrap_or(default.prefix),
        };
        fields.end(redis.validate());
        redis
    }

    fn validate(&self) -> Vec<Broken> {
        let mut broken = Vec::new();
        if self.urls.is_empty() {
            let what = "expected at least one URL like redis://host:6379/0";
            broken.push(Broken::new("urls", what));
        }
        let in_database = |url: &Secret| {
            redis::parse_redis_url(url.reveal())
                .is_some_and(|url| !matches!(url.path(), "" | "/" | "/0"))
        };
        if self.urls.len() > 1 && self.urls.iter().any(in_database) {
            let what = "several URLs mean Redis Cluster: expected database 0 in each";
            broken.push(Broken::new("urls", what));
        }
        // Braces would take over the hash tag that keeps a shard's keys in one slot.
        let visible = |b: u8| matches!(b, 0x21..=0x7e) && !matches!(b, b'{' | b'}');
        if self.prefix.len() > 32 || !self.prefix.bytes().all(visible) {
            let what = format!(
                "{}: expected at most 32 visible ASCII characters without braces",
                quoted(&self.prefix)
            );
            broken.push(Broken::new("prefix", what));
        }
        broken
    }
}
