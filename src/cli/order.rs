//! `settled order`: what an operator does to one order.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::args::Common;
use super::reach::{Call, Reach, Who, encoded, text};
use super::{Failure, history, load};
use crate::config::Environment;
use crate::domain::order::OrderKey;

/// What is done to one order.
#[derive(Subcommand, Clone, Debug)]
pub enum OrderCommand {
    /// Prints its history: events, questions and results
    ///
    /// Its events and results are read from Kafka, as far as the topics reach back; its questions from
    /// log lines of the workers (in JSON, with --log-level `info,settled::question=debug`), where they
    /// are handed in. Nothing is asked and nothing is changed.
    Show(ShowArgs),
    /// Asks its owner now, and prints the answer; a terminal one is recorded
    Ask(OrderArgs),
    /// Starts its schedule again; for an exhausted order
    Requeue(RequeueArgs),
    /// Publishes its outcome; for an order that is not settled yet
    Settle(SettleArgs),
}

/// Which order.
#[derive(Args, Clone, Debug)]
pub struct OrderArgs {
    /// The order, as its key is written
    #[arg(value_name = "TYPE/REQNO", value_parser = read_key)]
    order: OrderKey,
    #[command(flatten)]
    reach: Reach,
}

/// `settled order show`.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// The order, as its key is written
    #[arg(value_name = "TYPE/REQNO", value_parser = read_key)]
    pub order: OrderKey,
    /// Log lines of workers, one file after the other; - reads standard input
    #[arg(long = "log", value_name = "FILE")]
    pub logs: Vec<PathBuf>,
    /// Prints one JSON document instead of lines
    #[arg(long)]
    pub json: bool,
}

/// `settled order requeue`.
#[derive(Args, Clone, Debug)]
pub struct RequeueArgs {
    #[command(flatten)]
    order: OrderArgs,
    #[command(flatten)]
    who: Who,
}

/// `settled order settle`.
#[derive(Args, Clone, Debug)]
pub struct SettleArgs {
    #[command(flatten)]
    order: OrderArgs,
    /// 1 success, 2 failure; it is published and stands for good
    #[arg(long, value_name = "1|2", value_parser = ["1", "2"])]
    status: String,
    /// The owner's own number
    #[arg(long, value_name = "TEXT")]
    rsp_no: Option<String>,
    /// The owner's return code
    #[arg(long, value_name = "TEXT")]
    ret_cd: Option<String>,
    /// The owner's message
    #[arg(long, value_name = "TEXT")]
    ret_msg: Option<String>,
    #[command(flatten)]
    who: Who,
}

/// Carries a command out.
pub(super) fn order(
    command: &OrderCommand,
    common: &Common,
    environment: &Environment,
) -> Result<(), Failure> {
    let (of, verb, body): (_, _, _) = match command {
        OrderCommand::Show(args) => return history::show(&load(common, environment)?, args),
        OrderCommand::Ask(args) => (args, "ask", None),
        OrderCommand::Requeue(args) => {
            let mut body = json!({});
            args.who.put_into(&mut body, environment)?;
            (&args.order, "requeue", Some(body))
        }
        OrderCommand::Settle(args) => {
            let mut body = json!({"status": args.status});
            for (field, value) in [
                ("rspNO", &args.rsp_no),
                ("retCd", &args.ret_cd),
                ("retMsg", &args.ret_msg),
            ] {
                if let Some(value) = value {
                    body[field] = json!(value);
                }
            }
            args.who.put_into(&mut body, environment)?;
            (&args.order, "settle", Some(body))
        }
    };
    let shown: &dyn Fn(&Value) -> String = match command {
        OrderCommand::Ask(_) => &asked,
        _ => &appended,
    };
    let call = Call {
        method: Method::POST,
        path: path(&of.order, verb),
        body,
        shown,
    };
    of.reach.call(common, environment, &call)
}

fn path(order: &OrderKey, verb: &str) -> String {
    let number = encoded(order.req_no.as_str());
    format!("/v1/orders/{}/{number}/{verb}", order.order_type)
}

fn read_key(text: &str) -> Result<OrderKey, String> {
    OrderKey::parse(text).ok_or_else(|| "expected TYPE/REQNO like transfer/TX1".to_owned())
}

fn asked(body: &Value) -> String {
    let mut lines = vec![format!(
        "{}/{}: {}, status {}{}",
        text(body, "type"),
        text(body, "reqNO"),
        text(body, "state"),
        text(body, "status"),
        if body["final"] == true { ", final" } else { "" }
    )];
    for field in [
        "rspNO",
        "retCd",
        "retMsg",
        "data",
        "asked",
        "firstSeenAt",
        "reason",
    ] {
        if !body[field].is_null() {
            lines.push(format!("  {field}: {}", text(body, field)));
        }
    }
    lines.join("\n") + "\n"
}

fn appended(body: &Value) -> String {
    let order = format!("{}/{}", text(body, "type"), text(body, "reqNO"));
    if body["already"] == true {
        return format!("{order}: settled so already\n");
    }
    format!(
        "{order}: {} appended to order-events at {}/{}\n",
        text(body, "command"),
        text(body, "partition"),
        text(body, "offset")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_one_line() {
        let receipt = json!({"v": 1, "type": "transfer", "reqNO": "TX1", "command": "requeue",
            "phase": 1, "partition": 3, "offset": 41});
        assert_eq!(
            appended(&receipt),
            "transfer/TX1: requeue appended to order-events at 3/41\n"
        );
        let answer = json!({"v": 1, "type": "transfer", "reqNO": "TX1", "state": "settled",
            "status": "1", "final": true, "retMsg": "a\nb"});
        assert_eq!(
            asked(&answer),
            "transfer/TX1: settled, status 1, final\n  retMsg: \"a\\nb\"\n"
        );
        let key = OrderKey::parse("transfer/TX?1").unwrap();
        assert_eq!(path(&key, "ask"), "/v1/orders/transfer/TX%3F1/ask");
    }
}
