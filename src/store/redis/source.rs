//! The text of every Lua script, put together from its shared parts, and the hash that Redis knows
//! it by.

use std::sync::LazyLock;

macro_rules! lua {
    ($name:literal) => {
        include_str!(concat!("scripts/", $name, ".lua"))
    };
}

macro_rules! sources {
    ($($(#[$doc:meta])* $name:ident = $($part:literal)+;)+) => {$(
        $(#[$doc])*
        pub(super) static $name: LazyLock<Source> =
            LazyLock::new(|| Source::new(concat!($(lua!($part)),+)));
    )+};
}

/// One script.
pub(super) struct Source {
    pub text: &'static str,
    pub sha: String,
}

impl Source {
    fn new(text: &'static str) -> Self {
        let sha = redis::Script::new(text).get_hash().to_owned();
        Self { text, sha }
    }
}

sources! {
    ACQUIRE = "common" "acquire";
    META = "common" "meta";
    SURVEY = "common" "survey";
    FIND = "common" "find";
    RESERVE = "reserve";
    PAUSE = "pause";
    FOLD = "common" "owner" "fold";
    LOOKUP = "common" "owner" "lookup";
    CLAIM = "common" "owner" "claim";
    RESCHEDULE = "common" "owner" "reschedule";
    SETTLE = "common" "owner" "settle";
    END_LEASES = "common" "owner" "end_leases";
    SWEEP = "common" "owner" "sweep";
    DISCARD = "common" "owner" "discard";
    DROP_MARKS = "common" "owner" "drop_marks";
}
