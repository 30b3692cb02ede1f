//! The verdict on topics as they are (DESIGN section 7, «start refuses»), each refusal with the command
//! that mends it. No I/O: `topics` collects the facts.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::settings::{MESSAGE_BYTES, Settings};
use super::topic_plan::{DAY, LETTER_BYTES, Needs};

/// Descriptors that one producer takes, measured.
const DESCRIPTORS_PER_PRODUCER: u64 = 8;

/// For everything but producers: Redis, HTTP, logs, the other handles.
const DESCRIPTORS_BESIDE: u64 = 256;

/// What a dead letter's headers add to its original.
const LETTER_OVERHEAD: u64 = 64 * 1024;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What: a topic, a topic's property, a limit of the process.
    pub subject: String,
    /// How it is.
    pub verdict: Verdict,
}

/// How a thing is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it must be; says how it is.
    Ok(String),
    /// The promises hold, with less margin than they should.
    Warn(String),
    /// A promise would not hold: nothing may start.
    Refused {
        /// Which, and why.
        why: String,
        /// The command, or the change of the configuration, that mends it.
        way_out: String,
    },
}

impl Finding {
    /// Whether the start is refused because of it.
    pub fn is_refused(&self) -> bool {
        matches!(self.verdict, Verdict::Refused { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Ok(how) => write!(f, "ok: {}: {how}", self.subject),
            Verdict::Warn(what) => write!(f, "warning: {}: {what}", self.subject),
            Verdict::Refused { why, way_out } => {
                write!(f, "refused: {}: {why}; way out: {way_out}", self.subject)
            }
        }
    }
}

/// A topic as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicFacts {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: usize,
    /// The fewest replicas of any partition.
    pub replication: usize,
    /// Its properties, defaults included.
    pub properties: BTreeMap<String, String>,
}

impl TopicFacts {
    fn text(&self, property: &str) -> &str {
        self.properties.get(property).map_or("", String::as_str)
    }

    fn number(&self, property: &str) -> Option<u64> {
        self.text(property).parse().ok()
    }

    /// `None`: for ever.
    fn duration(&self, property: &str) -> Option<Duration> {
        self.number(property).map(Duration::from_millis)
    }
}

/// Gives the verdict on topics as they are.
pub struct Judge<'a> {
    /// Names, N and the bootstrap address that commands are written with.
    pub settings: &'a Settings,
    /// For how long records are needed.
    pub needs: Needs,
}

impl Judge<'_> {
    /// Everything about the three topics; `None`: the topic is missing.
    pub fn topics(
        &self,
        events: Option<&TopicFacts>,
        results: Option<&TopicFacts>,
        dead_letters: Option<&TopicFacts>,
    ) -> Vec<Finding> {
        let names = &self.settings.topics;
        let mut findings = Vec::new();
        for (name, topic) in [
            (&names.events, events),
            (&names.results, results),
            (&names.dead_letters, dead_letters),
        ] {
            match topic {
                None => findings.push(missing(name)),
                Some(topic) => {
                    findings.push(self.partitions(topic));
                    findings.push(self.cleanup(topic));
                    findings.push(self.timestamps(topic));
                    findings.push(self.retention(topic, events));
                    findings.push(replication(topic));
                    findings.extend(self.message_size(topic));
                    if topic.text("retention.bytes") != "-1" {
                        findings.push(warn(
                            &topic.name,
                            "retention.bytes",
                            "a limit by size drops records before their time is over",
                        ));
                    }
                }
            }
        }
        if let (Some(events), Some(letters)) = (events, dead_letters) {
            findings.push(letter_size(events, letters));
        }
        findings
    }

    /// The verdict where only counts can be had: the embedded broker has no admin API.
    pub fn partitions(&self, topic: &TopicFacts) -> Finding {
        let (names, shards) = (&self.settings.topics, usize::from(self.settings.shards));
        let count = topic.partitions;
        let subject = format!("{}: partitions", topic.name);
        let refused = |why: String, way_out: String| Finding {
            subject: subject.clone(),
            verdict: Verdict::Refused { why, way_out },
        };
        if topic.name == names.results && count != shards {
            return refused(
                format!("{count}, but shards = {shards}, and they are the same for ever"),
                format!(
                    "set shards = {count}, or set kafka.results to a new name and run \
                     `settled topics create`"
                ),
            );
        }
        if topic.name == names.events && count < shards {
            return refused(
                format!("{count}, but shards = {shards}: some shards would have no events"),
                format!(
                    "kafka-topics.sh --bootstrap-server {} --alter --topic {} --partitions {shards}",
                    self.settings.bootstrap, topic.name
                ),
            );
        }
        ok(&topic.name, "partitions", &count.to_string())
    }

    fn cleanup(&self, topic: &TopicFacts) -> Finding {
        self.property(
            topic,
            "cleanup.policy",
            "delete",
            "compaction would drop what the view is folded from",
        )
    }

    fn timestamps(&self, topic: &TopicFacts) -> Finding {
        if topic.name == self.settings.topics.dead_letters {
            return ok(&topic.name, "message.timestamp.type", "of no concern");
        }
        self.property(
            topic,
            "message.timestamp.type",
            "LogAppendTime",
            "the floor and the dedupe window count on the broker's time, not on the producers'",
        )
    }

    fn property(&self, topic: &TopicFacts, property: &str, wanted: &str, why: &str) -> Finding {
        let found = topic.text(property);
        if found == wanted {
            return ok(&topic.name, property, found);
        }
        Finding {
            subject: format!("{}: {property}", topic.name),
            verdict: Verdict::Refused {
                why: format!("is `{found}`: {why}"),
                way_out: self.alter(topic, property, wanted),
            },
        }
    }

    fn retention(&self, topic: &TopicFacts, events: Option<&TopicFacts>) -> Finding {
        let names = &self.settings.topics;
        let found = topic.duration("retention.ms");
        let (wanted, why) = if topic.name == names.events {
            (
                Some(self.needs.events_retention()),
                "longest schedule + dedupe window + 1 day, or a wiped view loses orders",
            )
        } else if topic.name == names.results {
            let wanted = events.and_then(|events| {
                let segment = events.duration("segment.ms").unwrap_or(7 * DAY);
                Some(
                    self.needs
                        .results_retention(events.duration("retention.ms")?, segment),
                )
            });
            if events.is_some() && wanted.is_none() && found.is_some() {
                return Finding {
                    subject: format!("{}: retention.ms", topic.name),
                    verdict: Verdict::Refused {
                        why: "events are kept for ever, so their results must be".to_owned(),
                        way_out: self.alter(topic, "retention.ms", "-1"),
                    },
                };
            }
            (
                wanted,
                "events' retention + their segment.ms + dedupe window + 1 hour, or settled orders \
                 are settled again",
            )
        } else {
            (None, "")
        };
        match (found, wanted) {
            (Some(found), Some(wanted)) if found < wanted => Finding {
                subject: format!("{}: retention.ms", topic.name),
                verdict: Verdict::Refused {
                    why: format!("{} is less than {} ({why})", shown(found), shown(wanted)),
                    way_out: self.alter(topic, "retention.ms", &wanted.as_millis().to_string()),
                },
            },
            (Some(found), _) => ok(&topic.name, "retention.ms", &shown(found)),
            (None, _) => ok(&topic.name, "retention.ms", "for ever"),
        }
    }

    /// A batch of ours that the topic does not take would be refused for ever.
    fn message_size(&self, topic: &TopicFacts) -> Option<Finding> {
        let property = "max.message.bytes";
        let found = topic
            .number(property)
            .filter(|found| *found < MESSAGE_BYTES)?;
        Some(Finding {
            subject: format!("{}: {property}", topic.name),
            verdict: Verdict::Refused {
                why: format!("{found}: what we write there may take {MESSAGE_BYTES}"),
                way_out: self.alter(topic, property, &MESSAGE_BYTES.to_string()),
            },
        })
    }

    fn alter(&self, topic: &TopicFacts, property: &str, value: &str) -> String {
        format!(
            "kafka-configs.sh --bootstrap-server {} --alter --entity-type topics --entity-name {} \
             --add-config {property}={value}",
            self.settings.bootstrap, topic.name
        )
    }

    /// Whether a worker that owns every shard has descriptors enough.
    pub fn descriptors(&self, limit: u64) -> Finding {
        let producers = u64::from(self.settings.shards) + 1;
        let needed = producers * DESCRIPTORS_PER_PRODUCER + DESCRIPTORS_BESIDE;
        let subject = "file descriptors".to_owned();
        let verdict = if limit >= needed {
            Verdict::Ok(format!(
                "{limit} allowed, {needed} needed to own every shard"
            ))
        } else {
            Verdict::Refused {
                why: format!("{limit} allowed, {needed} needed to own every shard"),
                way_out: format!("ulimit -n {needed} (systemd: LimitNOFILE={needed})"),
            }
        };
        Finding { subject, verdict }
    }
}

fn missing(name: &str) -> Finding {
    Finding {
        subject: name.to_owned(),
        verdict: Verdict::Refused {
            why: "there is no such topic".to_owned(),
            way_out: "settled topics create".to_owned(),
        },
    }
}

fn replication(topic: &TopicFacts) -> Finding {
    let in_sync = topic.number("min.insync.replicas").unwrap_or_default();
    let how = format!(
        "{} replicas, {in_sync} of them acknowledge",
        topic.replication
    );
    if topic.replication < 2 || in_sync < 2 {
        let what = format!("{how}: the loss of one broker loses orders (advised: 3 and 2)");
        return warn(&topic.name, "replication", &what);
    }
    ok(&topic.name, "replication", &how)
}

fn letter_size(events: &TopicFacts, letters: &TopicFacts) -> Finding {
    let property = "max.message.bytes";
    let (event, letter) = (events.number(property), letters.number(property));
    match (event, letter) {
        (Some(event), Some(letter)) if letter < event + LETTER_OVERHEAD => {
            let what = format!(
                "{letter}: an event of {event} bytes does not fit with its reasons and would be kept \
                 without its value (advised: {LETTER_BYTES})"
            );
            warn(&letters.name, property, &what)
        }
        (_, Some(letter)) => ok(&letters.name, property, &letter.to_string()),
        (_, None) => ok(&letters.name, property, "unlimited"),
    }
}

fn ok(topic: &str, property: &str, how: &str) -> Finding {
    Finding {
        subject: format!("{topic}: {property}"),
        verdict: Verdict::Ok(how.to_owned()),
    }
}

fn warn(topic: &str, property: &str, what: &str) -> Finding {
    Finding {
        subject: format!("{topic}: {property}"),
        verdict: Verdict::Warn(what.to_owned()),
    }
}

fn shown(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::settings::sample;
    use crate::kafka::topic_plan::{HOUR, TopicPlan, plans};

    const NEEDS: Needs = Needs {
        longest_schedule: Duration::from_hours(24 * 20),
        window: DAY,
    };

    fn made(plan: &TopicPlan) -> TopicFacts {
        let mut topic = TopicFacts {
            name: plan.name.clone(),
            partitions: usize::from(plan.partitions),
            replication: usize::from(plan.replication),
            properties: BTreeMap::from([
                ("max.message.bytes".to_owned(), "1048588".to_owned()),
                ("retention.bytes".to_owned(), "-1".to_owned()),
            ]),
        };
        for (property, value) in &plan.properties {
            topic
                .properties
                .insert((*property).to_owned(), value.clone());
        }
        topic
    }

    fn judged(topics: &[TopicFacts; 3]) -> Vec<Finding> {
        let settings = sample(16);
        let judge = Judge {
            settings: &settings,
            needs: NEEDS,
        };
        judge.topics(Some(&topics[0]), Some(&topics[1]), Some(&topics[2]))
    }

    #[test]
    fn topics_as_they_are_planned_for_three_brokers_are_all_good() {
        for needs in [
            NEEDS,
            Needs {
                longest_schedule: HOUR,
                ..NEEDS
            },
        ] {
            let plans = plans(&sample(16), &needs, 5);
            assert!(plans.iter().all(|plan| plan.replication == 3));
            let findings = judged(&plans.each_ref().map(made));
            if needs == NEEDS {
                let good = |f: &Finding| matches!(f.verdict, Verdict::Ok(_));
                assert!(findings.iter().all(good), "{findings:?}");
            } else {
                // Planned for short schedules, judged for long ones.
                assert!(findings.iter().any(Finding::is_refused));
            }
        }
    }

    #[test]
    fn results_that_are_kept_no_longer_than_their_events_are_refused() {
        let mut topics = plans(&sample(16), &NEEDS, 3).each_ref().map(made);
        let kept = topics[0].properties["retention.ms"].clone();
        topics[1].properties.insert("retention.ms".to_owned(), kept);
        let findings = judged(&topics);
        let mut refused = findings.iter().filter(|finding| finding.is_refused());
        let first = refused.next().map(|finding| finding.subject.as_str());
        assert_eq!((first, refused.count()), (Some("r: retention.ms"), 0));
    }

    #[test]
    fn results_of_events_that_are_kept_for_ever_are_kept_for_ever() {
        let mut topics = plans(&sample(16), &NEEDS, 3).each_ref().map(made);
        for (topic, refused) in [(0, true), (1, false)] {
            topics[topic]
                .properties
                .insert("retention.ms".to_owned(), "-1".to_owned());
            let findings = judged(&topics);
            assert_eq!(findings.iter().any(Finding::is_refused), refused);
        }
    }

    #[test]
    fn a_limit_by_size_and_a_tight_dead_letter_topic_are_warned_about() {
        let mut topics = plans(&sample(16), &NEEDS, 3).each_ref().map(made);
        topics[1]
            .properties
            .insert("retention.bytes".to_owned(), "1000".to_owned());
        topics[2]
            .properties
            .insert("max.message.bytes".to_owned(), "1048588".to_owned());
        let findings = judged(&topics);
        let warned: Vec<_> = findings
            .iter()
            .filter(|finding| matches!(finding.verdict, Verdict::Warn(_)))
            .map(|finding| finding.subject.as_str())
            .collect();
        assert_eq!(warned, ["r: retention.bytes", "d: max.message.bytes"]);
    }

    #[test]
    fn a_topic_that_would_refuse_what_we_write_is_refused() {
        for topic in 0..3 {
            let mut topics = plans(&sample(16), &NEEDS, 3).each_ref().map(made);
            for (bytes, is_refused) in [("131071", true), ("131072", false)] {
                let bytes = bytes.to_owned();
                topics[topic]
                    .properties
                    .insert("max.message.bytes".to_owned(), bytes);
                let findings = judged(&topics);
                assert_eq!(findings.iter().any(Finding::is_refused), is_refused);
            }
        }
    }

    #[test]
    fn a_worker_needs_descriptors_for_every_shard() {
        let settings = sample(64);
        let judge = Judge {
            settings: &settings,
            needs: NEEDS,
        };
        let needed = 65 * DESCRIPTORS_PER_PRODUCER + DESCRIPTORS_BESIDE;
        assert!(!judge.descriptors(needed).is_refused());
        let refused = judge.descriptors(needed - 1).to_string();
        assert_eq!(
            refused,
            "refused: file descriptors: 775 allowed, 776 needed to own every shard; way out: \
             ulimit -n 776 (systemd: LimitNOFILE=776)"
        );
    }
}
