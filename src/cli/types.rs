//! `settled type`: which order types are asked, and the word that stops and starts it.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::Failure;
use super::args::Common;
use super::reach::{Call, Reach, Who, encoded, text};
use super::table::table;
use crate::config::Environment;

/// What is done with order types.
#[derive(Subcommand, Clone, Debug)]
pub enum TypeCommand {
    /// Lists them with their orders and pauses
    List(Reach),
    /// Stops asking about a type, everywhere; its orders are kept, no attempt is spent
    Pause(SayArgs),
    /// Asks again
    Resume(SayArgs),
}

/// `settled type pause` and `resume`.
#[derive(Args, Clone, Debug)]
pub struct SayArgs {
    /// The order type, as the configuration names it
    #[arg(value_name = "TYPE")]
    order_type: String,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    reach: Reach,
}

/// Carries a command out.
pub(super) fn types(
    command: &TypeCommand,
    common: &Common,
    environment: &Environment,
) -> Result<(), Failure> {
    let (args, verb) = match command {
        TypeCommand::List(reach) => {
            let call = Call {
                method: Method::GET,
                path: "/v1/types".to_owned(),
                body: None,
                shown: &listed,
            };
            return reach.call(common, environment, &call);
        }
        TypeCommand::Pause(args) => (args, "pause"),
        TypeCommand::Resume(args) => (args, "resume"),
    };
    let mut body = json!({});
    args.who.put_into(&mut body, environment)?;
    let call = Call {
        method: Method::POST,
        path: format!("/v1/types/{}/{verb}", encoded(&args.order_type)),
        body: Some(body),
        shown: &said,
    };
    args.reach.call(common, environment, &call)
}

fn listed(body: &Value) -> String {
    let none = Vec::new();
    let types = body["types"].as_array().unwrap_or(&none);
    let rows: Vec<_> = types.iter().map(row).collect();
    let heads = [
        "type",
        "asked",
        "pending",
        "exhausted",
        "since",
        "by",
        "reason",
    ];
    table(heads, &rows)
}

fn row(entry: &Value) -> [String; 7] {
    let asked = match (&entry["configured"], &entry["paused"]) {
        (Value::Bool(false), _) => "not configured",
        (_, Value::Bool(true)) => "paused",
        _ => "yes",
    };
    [
        text(entry, "type"),
        asked.to_owned(),
        text(entry, "pending"),
        text(entry, "exhausted"),
        text(entry, "since"),
        text(entry, "actor"),
        text(entry, "reason"),
    ]
}

fn said(body: &Value) -> String {
    let (name, since, actor) = (text(body, "type"), text(body, "since"), text(body, "actor"));
    if body["paused"] == true {
        format!("{name}: paused since {since} by {actor}; other workers follow within 2 s\n")
    } else {
        format!("{name}: asked again since {since}, said {actor}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_listed_with_who_paused_them() {
        let page = json!({"v": 1, "types": [
            {"type": "pay", "configured": true, "paused": true, "pending": 3, "exhausted": 0,
             "since": "2026-11-23T07:00:00.123Z", "actor": "li.wei", "reason": "bank down"},
            {"type": "old", "configured": false, "paused": false, "pending": 1, "exhausted": 2}]});
        assert_eq!(
            listed(&page),
            "type  asked           pending  exhausted  since                     by      reason\n\
             pay   paused          3        0          2026-11-23T07:00:00.123Z  li.wei  bank down\n\
             old   not configured  1        2          -                         -       -\n"
        );
    }
}
