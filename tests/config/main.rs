//! The configuration as its user meets it: files and variables in, a `Config` or lines out.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod fields;
mod mistakes;
mod secrets;

use settled::config::{Config, Environment};

/// The smallest file.
const MINIMAL: &str = "[order_types.pay.query]\nurl = \"http://bank/q\"\n";

fn load_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("settled.toml");
    std::fs::write(&file, text).unwrap();
    let environment: Environment = variables.iter().copied().collect();
    let prefix = format!("{}/", dir.path().display());
    Config::load(Some(&file), &environment).map_err(|error| error.to_string().replace(&prefix, ""))
}

fn load(text: &str) -> Result<Config, String> {
    load_with(text, &[])
}
