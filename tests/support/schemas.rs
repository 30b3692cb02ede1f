//! The schemas as the tests use them: what reads a topic hands every record over, so that no test can
//! see a record that the schemas do not describe. Counts what it saw.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a broken schema file fails the test"
)]

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use jsonschema::Validator;
use serde_json::{Map, Value};

/// A record's headers as a Kafka client gives them.
pub type Headers = [(String, Option<Vec<u8>>)];

/// All schemas of the repository, and how many documents each was held against.
pub struct SchemaBook {
    schemas: BTreeMap<String, Validator>,
    counts: Mutex<BTreeMap<String, Count>>,
}

#[derive(Default)]
struct Count {
    validated: u64,
    failed: u64,
}

impl SchemaBook {
    /// Where the schemas and their examples are.
    pub fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
    }

    /// Reads every `schemas/<name>.schema.json`.
    pub fn open() -> Self {
        let mut schemas = BTreeMap::new();
        for entry in fs::read_dir(Self::folder()).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_string_lossy();
            let Some(name) = file.strip_suffix(".schema.json") else {
                continue;
            };
            let schema: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let validator = jsonschema::draft202012::options()
                .should_validate_formats(true)
                .build(&schema)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            schemas.insert(name.to_owned(), validator);
        }
        Self {
            schemas,
            counts: Mutex::default(),
        }
    }

    /// The schemas' names, as in `schemas/<name>.schema.json`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.schemas.keys().map(String::as_str)
    }

    /// How many documents were held against the schemas so far.
    pub fn validated(&self) -> u64 {
        let counts = self.counts.lock().unwrap();
        counts.values().map(|count| count.validated).sum()
    }

    /// Holds a document against the schema `name`; the error names what is wrong and shows it.
    pub fn validate(&self, name: &str, document: &[u8]) -> Result<(), String> {
        let outcome = match serde_json::from_slice(document) {
            Ok(document) => self.look(name, &document),
            Err(error) => Err(error.to_string()),
        };
        let mut counts = self.counts.lock().unwrap();
        let count = counts.entry(name.to_owned()).or_default();
        count.validated += 1;
        outcome.map_err(|error| {
            count.failed += 1;
            format!("{name}: {error}: {}", String::from_utf8_lossy(document))
        })
    }

    /// The value of a record of `order-events`.
    pub fn validate_event(&self, value: &[u8]) -> Result<(), String> {
        self.validate("event", value)
    }

    /// A record of `order-results`: its value, its headers, and that both say the same.
    pub fn validate_result(&self, value: &[u8], headers: &Headers) -> Result<(), String> {
        self.validate("result", value)?;
        let headers = object(headers);
        self.validate("result-headers", headers.to_string().as_bytes())?;
        let result: Value = serde_json::from_slice(value).map_err(|error| error.to_string())?;
        for (header, field) in [("settled-outcome", "outcome"), ("settled-status", "status")] {
            if headers[header] != result[field] {
                return Err(format!(
                    "{header} is not the {field} of {result}: {headers}"
                ));
            }
        }
        Ok(())
    }

    /// The headers of a record of `order-dead-letters`; its value is as bad as it came.
    pub fn validate_dead_letter(&self, headers: &Headers) -> Result<(), String> {
        let headers = object(headers).to_string();
        self.validate("dead-letter-headers", headers.as_bytes())
    }

    fn look(&self, name: &str, document: &Value) -> Result<(), String> {
        let schema = self.schemas.get(name).ok_or("there is no such schema")?;
        let error = schema.iter_errors(document).next();
        error.map_or(Ok(()), |error| {
            Err(format!("{error} at \"{}\"", error.instance_path()))
        })
    }
}

/// One line: how many documents of which kind, how many of them failed.
impl fmt::Display for SchemaBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts.lock().unwrap();
        let failed: u64 = counts.values().map(|count| count.failed).sum();
        f.write_str("held against the schemas:")?;
        for (name, count) in counts.iter() {
            write!(f, " {} {name},", count.validated)?;
        }
        write!(f, " {failed} failed")
    }
}

/// Headers as the schemas describe them. A name that occurs twice keeps its last value.
fn object(headers: &Headers) -> Value {
    let headers = headers.iter().map(|(name, value)| {
        let value = value
            .as_ref()
            .map(|value| String::from_utf8_lossy(value).into_owned());
        (name.clone(), value.map_or(Value::Null, Value::String))
    });
    Value::Object(headers.collect::<Map<String, Value>>())
}
