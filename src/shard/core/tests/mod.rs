//! The pure core under test: worlds drawn from seeds, and its rules one by one.

mod bench;
mod gate_rules;
mod intake_rules;
mod order_types;
mod plants;
mod rebuild_rules;
mod recovery_rules;
mod replan_rules;
mod schedule_rules;
mod script_rules;
mod search;
mod world;
mod worlds;
