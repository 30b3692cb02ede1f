//! How operators' verbs reach a running worker, who speaks, and what a refusal looks like.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::Args;
use http::Method;
use serde_json::Value;

use super::args::Common;
use super::{Failure, file, load, print, work};
use crate::app::operator::{AdminClient, Answer};
use crate::config::{Admin, Config, Environment};
use crate::domain::json::echo;

/// Which worker, and how it is shown.
#[derive(Args, Clone, Debug)]
pub struct Reach {
    /// A worker's admin listener [default: [admin] listen of the configuration]; the token is that of
    /// the configuration or `SETTLED_ADMIN__TOKEN`
    #[arg(long, value_name = "URL", value_parser = read_url)]
    admin: Option<String>,
    /// Prints the worker's JSON document
    #[arg(long)]
    json: bool,
}

/// Who commands, and why; both are kept in the event.
#[derive(Args, Clone, Debug)]
pub struct Who {
    /// Who commands it [default: the login name]
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Why it is commanded
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// One request, and how its answer reads.
pub(super) struct Call<'a> {
    pub method: Method,
    pub path: String,
    pub body: Option<Value>,
    pub shown: &'a dyn Fn(&Value) -> String,
}

impl Who {
    /// Writes both into a body.
    pub fn put_into(&self, body: &mut Value, environment: &Environment) -> Result<(), Failure> {
        let actor = self.actor.as_deref().or(environment.login());
        let actor = actor.ok_or_else(|| {
            Failure::Usage("--actor NAME: expected, as no login name is known".to_owned())
        })?;
        body["actor"] = actor.into();
        body["reason"] = self.reason.as_str().into();
        Ok(())
    }
}

impl Reach {
    /// Makes a call and prints what came of it.
    pub fn call(
        &self,
        common: &Common,
        environment: &Environment,
        call: &Call<'_>,
    ) -> Result<(), Failure> {
        let client = self.client(common, environment)?;
        work::on_runtime(async |stop| {
            let sent = client.send(call.method.clone(), &call.path, call.body.as_ref());
            let Some(answer) = stop.run_until_cancelled(sent).await else {
                let line = "stopped before the answer came; saying it again is harmless";
                return Err(anyhow::anyhow!(line).into());
            };
            self.show(&answer?, call.shown)
        })
    }

    /// Prints an answer; a refusal is a failure.
    pub fn show(&self, answer: &Answer, shown: &dyn Fn(&Value) -> String) -> Result<(), Failure> {
        let body = &answer.body;
        let has_more = body["v"].is_number();
        if (200..300).contains(&answer.status) || has_more {
            print(&if self.json {
                format!("{body}\n")
            } else {
                shown(body)
            })?;
        }
        match answer.status {
            200..300 => Ok(()),
            status => Err(refused(status, body)),
        }
    }

    /// A client of the worker that is meant.
    pub fn client(
        &self,
        common: &Common,
        environment: &Environment,
    ) -> Result<AdminClient, Failure> {
        let admin = admin(common, environment)?;
        let base = match &self.admin {
            Some(url) => url.clone(),
            None => default_url(admin.listen)?,
        };
        Ok(AdminClient::new(&base, admin.token)?)
    }
}

/// What is configured of the listener; without a file, what the environment says.
fn admin(common: &Common, environment: &Environment) -> Result<Admin, Failure> {
    if file(common, environment).is_some() {
        return Ok(load(common, environment)?.admin);
    }
    Config::admin_of(environment).map_err(|error| Failure::Config {
        error,
        without_file: false,
    })
}

fn default_url(listen: SocketAddr) -> Result<String, Failure> {
    if listen.port() == 0 {
        let line = "--admin URL: expected, as [admin] listen names no port";
        return Err(Failure::Usage(line.to_owned()));
    }
    // Where it listens on every address, it does so here too.
    let here = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Ok(format!("http://{}", SocketAddr::new(here, listen.port())))
}

fn refused(status: u16, body: &Value) -> Failure {
    let error = &body["error"];
    let line = match (error["code"].as_str(), error["message"].as_str()) {
        (Some(code), Some(message)) => anyhow::anyhow!("{code}: {message}"),
        _ => anyhow::anyhow!("the worker answered with status {status}"),
    };
    Failure::Failed(line)
}

fn read_url(text: &str) -> Result<String, String> {
    let form = || "expected a URL like http://127.0.0.1:8081".to_owned();
    let uri: http::Uri = text.parse().map_err(|_| form())?;
    let good = matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.authority().is_some_and(|at| !at.as_str().contains('@'))
        && uri.query().is_none();
    good.then(|| text.to_owned()).ok_or_else(form)
}

/// A name as it stands in a path or a query.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => write!(out, "%{byte:02X}").unwrap_or_default(),
        }
    }
    // Two dots alone would be taken for the folder above.
    match out.as_str() {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => out,
    }
}

/// A field as a person reads it: text as it is but for control characters, nothing as a dash.
pub(super) fn text(body: &Value, field: &str) -> String {
    match &body[field] {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.chars().any(char::is_control) => echo(text),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_one_segment_of_a_path() {
        assert_eq!(encoded("TX-1.a_~"), "TX-1.a_~");
        assert_eq!(encoded("a?b#c%d e"), "a%3Fb%23c%25d%20e");
        assert_eq!([encoded("."), encoded("..")], ["%2E", "%2E%2E"]);
    }

    #[test]
    fn only_an_address_of_a_worker_is_taken() {
        for good in ["http://127.0.0.1:8081", "https://admin.example/settled/"] {
            assert!(read_url(good).is_ok(), "{good}");
        }
        for bad in [
            "127.0.0.1:8081",
            "ftp://h",
            "http://me:pw@h",
            "http://h/?a=1",
            "/x",
            "",
        ] {
            assert!(read_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_listener_on_every_address_is_reached_on_loopback() {
        let url = |listen: &str| default_url(listen.parse().unwrap()).unwrap();
        assert_eq!(url("0.0.0.0:8081"), "http://127.0.0.1:8081");
        assert_eq!(url("[::]:8081"), "http://[::1]:8081");
        assert_eq!(url("10.0.0.7:9"), "http://10.0.0.7:9");
        assert!(default_url("127.0.0.1:0".parse().unwrap()).is_err());
    }
}
