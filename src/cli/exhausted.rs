//! `settled exhausted`: the list of orders that wait for a person, and one command for many of them.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::args::Common;
use super::figures::count;
use super::reach::{Call, Reach, encoded, text};
use super::table::table;
use super::{Failure, work};
use crate::config::Environment;

/// The most that a worker gives in one page.
const PAGE: u32 = 1_000;

/// What is done with exhausted orders.
#[derive(Subcommand, Clone, Debug)]
pub enum ExhaustedCommand {
    /// Lists them, shard by shard, in each the oldest first
    List(ListArgs),
    /// Starts their schedules again: first shows which, then does it
    ///
    /// Without --selection it is a dry run: it prints how many orders are meant, and the selection
    /// that the same command with --selection carries out, for exactly these orders. Repeating that
    /// is harmless.
    Requeue(ManyArgs),
    /// Publishes one outcome for all of them: first shows which, then does it
    ///
    /// Without --selection it is a dry run: it prints how many orders are meant, and the selection
    /// that the same command with --selection carries out, for exactly these orders. Repeating that
    /// is harmless.
    Settle(SettleManyArgs),
}

/// Which orders.
#[derive(Args, Clone, Debug)]
pub struct FilterArgs {
    /// Of this order type
    #[arg(long = "type", value_name = "TYPE")]
    order_type: Option<String>,
    /// Exhausted at this time or later, like 2026-11-23T07:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Exhausted before this time
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    #[command(flatten)]
    reach: Reach,
}

/// `settled exhausted list`.
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// Goes on where an earlier list ended
    #[arg(long, value_name = "PLACE")]
    after: Option<String>,
}

/// `settled exhausted requeue`.
#[derive(Args, Clone, Debug)]
pub struct ManyArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Only these numbers of the type
    #[arg(long = "req-no", value_name = "REQNO", conflicts_with_all = ["from", "to"], requires = "order_type")]
    numbers: Vec<String>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Carries out what the dry run has shown under this name
    #[arg(long, value_name = "SELECTION", requires = "reason")]
    selection: Option<String>,
    /// Who commands it [default: the login name]
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Why it is commanded
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// `settled exhausted settle`.
#[derive(Args, Clone, Debug)]
pub struct SettleManyArgs {
    #[command(flatten)]
    many: ManyArgs,
    /// 1 success, 2 failure; it is published and stands for good
    #[arg(long, value_name = "1|2", value_parser = ["1", "2"])]
    status: String,
    /// The owner's return code
    #[arg(long, value_name = "TEXT")]
    ret_cd: Option<String>,
    /// The owner's message
    #[arg(long, value_name = "TEXT")]
    ret_msg: Option<String>,
}

/// Carries a command out.
pub(super) fn exhausted(
    command: &ExhaustedCommand,
    common: &Common,
    environment: &Environment,
) -> Result<(), Failure> {
    let (many, verb, mut body) = match command {
        ExhaustedCommand::List(args) => return list(args, common, environment),
        ExhaustedCommand::Requeue(many) => (many, "requeue", json!({})),
        ExhaustedCommand::Settle(args) => {
            let mut body = json!({"status": args.status});
            put(&mut body, "retCd", args.ret_cd.as_deref());
            put(&mut body, "retMsg", args.ret_msg.as_deref());
            (&args.many, "settle", body)
        }
    };
    many.put_into(&mut body, environment)?;
    let call = Call {
        method: Method::POST,
        path: format!("/v1/exhausted:{verb}"),
        body: Some(body),
        shown: &done,
    };
    many.filter.reach.call(common, environment, &call)
}

impl ManyArgs {
    fn put_into(&self, body: &mut Value, environment: &Environment) -> Result<(), Failure> {
        let mut filter = json!({});
        put(&mut filter, "type", self.filter.order_type.as_deref());
        put(&mut filter, "from", self.filter.from.as_deref());
        put(&mut filter, "to", self.filter.to.as_deref());
        if !self.numbers.is_empty() {
            filter["reqNOs"] = json!(self.numbers);
        }
        body["filter"] = filter;
        body["limit"] = json!(self.limit);
        body["dry_run"] = json!(self.selection.is_none());
        put(body, "selection", self.selection.as_deref());
        put(body, "reason", self.reason.as_deref());
        let actor = self.actor.as_deref().or(environment.login());
        if self.selection.is_some() && actor.is_none() {
            let line = "--actor NAME: expected, as no login name is known";
            return Err(Failure::Usage(line.to_owned()));
        }
        put(body, "actor", actor);
        Ok(())
    }
}

fn put(body: &mut Value, field: &str, value: Option<&str>) {
    if let Some(value) = value {
        body[field] = json!(value);
    }
}

fn list(args: &ListArgs, common: &Common, environment: &Environment) -> Result<(), Failure> {
    let client = args.filter.reach.client(common, environment)?;
    work::on_runtime(async |stop| {
        let mut orders = Vec::new();
        let mut after = args.after.clone();
        loop {
            let left = args.limit - u32::try_from(orders.len()).unwrap_or(args.limit);
            let path = args.path(after.as_deref(), left.min(PAGE));
            let sent = stop.run_until_cancelled(client.send(Method::GET, &path, None));
            let Some(answer) = sent.await else {
                return Err(anyhow::anyhow!("stopped before it was done").into());
            };
            let mut answer = answer?;
            if answer.status != 200 {
                return args.filter.reach.show(&answer, &|_| String::new());
            }
            if let Some(page) = answer.body["orders"].as_array_mut() {
                orders.append(page);
            }
            after = answer.body["next"].as_str().map(str::to_owned);
            if after.is_none() || orders.len() >= args.limit as usize {
                let mut body = json!({"v": 1, "orders": orders});
                put(&mut body, "next", after.as_deref());
                answer.body = body;
                return args.filter.reach.show(&answer, &listed);
            }
        }
    })
}

impl ListArgs {
    fn path(&self, after: Option<&str>, limit: u32) -> String {
        let mut path = format!("/v1/exhausted?limit={limit}");
        for (name, value) in [
            ("type", self.filter.order_type.as_deref()),
            ("from", self.filter.from.as_deref()),
            ("to", self.filter.to.as_deref()),
            ("after", after),
        ] {
            if let Some(value) = value {
                write!(path, "&{name}={}", encoded(value)).unwrap_or_default();
            }
        }
        path
    }
}

fn listed(body: &Value) -> String {
    let none = Vec::new();
    let orders = body["orders"].as_array().unwrap_or(&none);
    if orders.is_empty() {
        return "no exhausted order\n".to_owned();
    }
    let rows: Vec<_> = orders.iter().map(row).collect();
    let heads = ["order", "phase", "last", "asked", "first seen", "exhausted"];
    let mut out = table(heads, &rows);
    if let Some(next) = body["next"].as_str() {
        writeln!(out, "there are more: --after {next}").unwrap_or_default();
    }
    out
}

fn row(order: &Value) -> [String; 6] {
    [
        format!("{}/{}", text(order, "type"), text(order, "reqNO")),
        text(order, "phase"),
        text(order, "status"),
        text(order, "asked"),
        text(order, "firstSeenAt"),
        text(order, "exhaustedAt"),
    ]
}

fn done(body: &Value) -> String {
    let number = |field: &str| count(body[field].as_u64().unwrap_or(0));
    let command = text(body, "command");
    if body["dry_run"] == true {
        let mut lines = vec![format!("{} orders would get {command}", number("selected"))];
        let none = Vec::new();
        for order in body["orders"].as_array().unwrap_or(&none).iter().take(10) {
            lines.push(format!(
                "  {}/{}",
                text(order, "type"),
                text(order, "reqNO")
            ));
        }
        if body["more"] == true {
            lines.push("the filter shows more than --limit".to_owned());
        }
        let selection = text(body, "selection");
        lines.push(format!(
            "nothing was done; the same with --selection {selection} --reason TEXT does it"
        ));
        return lines.join("\n") + "\n";
    }
    let skipped = |field: &str| count(body["skipped"][field].as_u64().unwrap_or(0));
    format!(
        "{command} appended for {} of {} orders; {} were settled and {} had moved on, {} are left\n",
        number("appended"),
        number("selected"),
        skipped("settled"),
        skipped("moved_on"),
        number("left")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_table_that_says_where_to_go_on() {
        let page = json!({"v": 1, "next": "3.17", "orders": [
            {"type": "transfer", "reqNO": "TX1", "phase": 0, "status": "3", "asked": 8,
             "firstSeenAt": "2026-11-23T07:00:00.123Z"}]});
        assert_eq!(
            listed(&page),
            "order         phase  last  asked  first seen                exhausted\n\
             transfer/TX1  0      3     8      2026-11-23T07:00:00.123Z  -\n\
             there are more: --after 3.17\n"
        );
        assert_eq!(
            listed(&json!({"v": 1, "orders": []})),
            "no exhausted order\n"
        );
    }

    #[test]
    fn a_dry_run_names_the_way_on_and_a_run_what_it_did() {
        let shown = done(&json!({"v": 1, "command": "requeue", "dry_run": true,
            "selection": "ab12", "selected": 1, "more": false,
            "orders": [{"type": "transfer", "reqNO": "TX1", "phase": 0}]}));
        assert_eq!(
            shown,
            "1 orders would get requeue\n  transfer/TX1\n\
             nothing was done; the same with --selection ab12 --reason TEXT does it\n"
        );
        let told = done(
            &json!({"v": 1, "command": "settle", "dry_run": false, "selected": 1_500,
            "appended": 1_400, "skipped": {"settled": 60, "moved_on": 40}, "left": 0}),
        );
        assert_eq!(
            told,
            "settle appended for 1,400 of 1,500 orders; 60 were settled and 40 had moved on, 0 are left\n"
        );
    }
}
