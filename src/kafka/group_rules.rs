//! What KIP-848 leaves to the broker: with `group_protocol = "consumer"` the broker's session decides
//! how long the shards of a dead worker wait. No I/O: `topics` collects the broker's properties.

use std::collections::BTreeMap;
use std::time::Duration;

use super::topic_rules::{Finding, Verdict};

/// The session of the classic protocol, with which another worker takes over within 8 s.
const ADVISED: Duration = Duration::from_secs(6);

const SESSION: &str = "group.consumer.session.timeout.ms";
const SHORTEST: &str = "group.consumer.min.session.timeout.ms";
const LONGEST: &str = "group.consumer.max.session.timeout.ms";

/// The verdict on the broker's session and its limits.
pub(super) fn session(broker: &BTreeMap<String, String>) -> Finding {
    let duration = |property: &str| {
        let millis = broker.get(property)?.parse().ok()?;
        Some(Duration::from_millis(millis))
    };
    let shown = |property: &str| {
        duration(property).map_or_else(
            || "not told".to_owned(),
            |found| humantime::format_duration(found).to_string(),
        )
    };
    let subject = "group session".to_owned();
    let how = format!(
        "{} ({SESSION}; from {} to {} may be set)",
        shown(SESSION),
        shown(SHORTEST),
        shown(LONGEST)
    );
    let verdict = match duration(SESSION) {
        None => Verdict::Refused {
            why: format!("the broker has no {SESSION}: it does not speak KIP-848"),
            way_out: "set kafka.group_protocol = \"classic\", or upgrade to Kafka 4".to_owned(),
        },
        Some(session) if session > ADVISED => Verdict::Warn(format!(
            "{how}: so long do the shards of a worker that dies wait for another (advised: 6s, \
             {SHORTEST} as well; classic has it already)"
        )),
        Some(_) => Verdict::Ok(how),
    };
    Finding { subject, verdict }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(session: &str) -> String {
        let broker = [(SESSION, session), (SHORTEST, "5000"), (LONGEST, "60000")];
        let broker = broker.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self::session(&broker.into()).to_string()
    }

    #[test]
    fn a_session_is_told_with_its_limits_and_warned_about_beyond_six_seconds() {
        assert_eq!(
            told("6000"),
            "ok: group session: 6s (group.consumer.session.timeout.ms; from 5s to 1m may be set)"
        );
        let long = told("45000");
        assert!(long.starts_with("warning: group session: 45s "), "{long}");
    }

    #[test]
    fn a_broker_without_kip_848_is_refused_with_the_way_out() {
        let refused = session(&BTreeMap::new()).to_string();
        assert!(
            refused.contains("way out: set kafka.group_protocol = \"classic\""),
            "{refused}"
        );
    }
}
