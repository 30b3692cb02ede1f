//! What happens to clocks: the wall clock of workers or of Redis is stepped (`stepped_clock.c`),
//! monotonic time goes on. Whether a question is early is judged by the broker's clock and
//! the owner's, which are right.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tokio::time::sleep;

use crate::rig::Rig;
use crate::rows::{Row, Setup, Whose};

pub fn rows() -> Vec<Row> {
    let row = |name, whose| {
        let setup = Setup {
            stepped: Some(whose),
            ..Setup::lasting(24)
        };
        Row::new(name, setup, |rig| Box::pin(stepped(rig)))
    };
    vec![
        row("clock-workers-stepped", Whose::Workers),
        row("clock-redis-stepped", Whose::Redis),
    ]
}

/// A wall clock that shows what it is told to.
pub struct Clock {
    dir: tempfile::TempDir,
}

impl Clock {
    pub fn right() -> Self {
        let clock = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        clock.step(0);
        clock
    }

    /// So many seconds from the right time. The file is mapped: it never gets shorter.
    fn step(&self, seconds: i64) {
        let mut open = OpenOptions::new();
        let file = open
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.file("step"));
        file.unwrap().write_all(&seconds.to_ne_bytes()).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The environment of a process that lives by it; of others, nothing.
    pub fn of(&self, lives_by_it: bool) -> Vec<(String, String)> {
        if !lives_by_it {
            return Vec::new();
        }
        let library = self.file("stepped_clock.so");
        if !library.exists() {
            let compiled = Command::new("cc")
                .args(["-shared", "-fPIC", "-O1", "-o"])
                .arg(&library)
                .arg(concat!(
                    env!("CARGO_MANIFEST_DIR"),
                    "/tests/chaos/stepped_clock.c"
                ))
                .status();
            assert!(compiled.unwrap().success());
        }
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        vec![
            ("LD_PRELOAD".to_owned(), text(library)),
            ("STEPPED_CLOCK".to_owned(), text(self.file("step"))),
        ]
    }
}

/// Five minutes ahead, and back, and behind, and back; at each place a worker dies, and another takes
/// its shards and the time from Redis.
async fn stepped(rig: &mut Rig) {
    for (n, seconds) in [300, 0, -300, 0].into_iter().enumerate() {
        rig.clock.step(seconds);
        sleep(Duration::from_secs(1)).await;
        rig.workers[0].process.kill();
        rig.workers[0] = rig.worker(&format!("one-{n}")).await;
        rig.all_open().await;
        sleep(Duration::from_secs(2)).await;
    }
}
