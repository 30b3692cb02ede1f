//! What the processes of a run wrote, kept when the run failed.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use crate::checker::Site;
use crate::verdict::Verdict;

/// Keeps the logs of a run that failed, by a verdict or by a panic.
pub struct Logs {
    from: PathBuf,
    to: PathBuf,
    keep: Cell<bool>,
}

impl Logs {
    /// Of the run in this site. They are kept unless [`Logs::kept_unless`] says otherwise.
    pub fn of(site: &Site, test: &str, name: &str) -> Self {
        Self {
            from: site.config().parent().unwrap().to_owned(),
            to: Path::new(env!("CARGO_TARGET_TMPDIR")).join(test).join(name),
            keep: Cell::new(true),
        }
    }

    /// The run came to its end; what it broke is told.
    pub fn kept_unless(&self, verdict: &Verdict) {
        let broken = verdict
            .broken()
            .into_iter()
            .filter(|(_, broken)| !broken.is_empty());
        self.keep.set(false);
        for (name, broken) in broken {
            self.keep.set(true);
            for what in broken {
                println!("{name}: {what}");
            }
        }
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        if !self.keep.get() {
            return;
        }
        std::fs::create_dir_all(&self.to).unwrap();
        for file in std::fs::read_dir(&self.from).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), self.to.join(file.file_name())).unwrap();
        }
        println!("its logs: {}", self.to.display());
    }
}
