//! The command `settled` as a process of its own: started, watched through its JSON log lines, told
//! to end or killed. Ends with the test process even when that is killed.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::support::eventually;

const POLL: Duration = Duration::from_millis(5);

/// The command, without the variables of this process that it would take for its configuration.
pub fn settled() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_settled"));
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"SETTLED_") {
            command.env_remove(name);
        }
    }
    command
}

/// A running `settled`.
pub struct Process {
    child: Child,
    /// Kills the child when this process is gone; its own end is awaited by nobody.
    watchdog: Child,
    lifeline: Option<ChildStdin>,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `settled` with `arguments` and `variables`; its standard output and error go into the
    /// file `log`.
    pub fn start(arguments: &[&str], log: PathBuf, variables: &[(&str, &str)]) -> Self {
        let mut command = settled();
        command.args(arguments).envs(variables.iter().copied());
        Self::of(command, log)
    }

    /// Any other command, as [`Process::start`].
    pub fn of(mut command: Command, log: PathBuf) -> Self {
        let file = File::create(&log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        let mut watchdog = Command::new("sh")
            .args(["-c", "read end || kill -9 \"$1\" 2>/dev/null", "watchdog"])
            .arg(child.id().to_string())
            .process_group(0)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let lifeline = watchdog.stdin.take();
        Self {
            child,
            watchdog,
            lifeline,
            log,
            ended: None,
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        assert!(self.ended.is_none(), "the process has ended");
        let sent = Command::new("kill")
            .args(["-s", name, &self.pid().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// `kill -9`, and waits until it is dead.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.ended = Some(self.child.wait().unwrap());
    }

    /// Waits for its end.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.ended = Some(status);
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "still there after {within:?}; its log ends:\n{}",
                self.log_tail()
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// SIGTERM, exit code 0; how long it took.
    pub async fn terminate(&mut self, within: Duration) -> Duration {
        let began = Instant::now();
        self.signal("TERM");
        let status = self.ended(within).await;
        assert!(status.success(), "{status}; {}", self.log_tail());
        began.elapsed()
    }

    /// Everything that it has written.
    pub fn log(&self) -> String {
        // Gone with its folder when a failed test ends.
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of its log, for the message of a failure.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Its log lines so far, those that are JSON objects.
    pub fn log_lines(&self) -> Vec<Value> {
        self.log()
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    fn assert_alive(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "{ended:?}; {}", self.log_tail());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // First the one that would kill by number: after the child was waited for, the number may
        // be another's.
        self.watchdog.kill().ok();
        self.watchdog.wait().ok();
        drop(self.lifeline.take());
        if self.ended.is_none() {
            self.child.kill().ok();
            self.child.wait().ok();
        }
        if std::thread::panicking() {
            println!("the log of {} ends:\n{}", self.pid(), self.log_tail());
        }
    }
}

/// A running `settled run`.
pub struct Worker {
    /// The process.
    pub process: Process,
    /// `[api]`.
    pub api: SocketAddr,
    /// `[admin]`.
    pub admin: SocketAddr,
}

impl Worker {
    /// Starts a worker and waits until it listens.
    pub async fn start(config: &str, log: PathBuf, variables: &[(&str, &str)]) -> Self {
        let arguments = ["run", "--config", config, "--log-format", "json"];
        let mut process = Process::start(&arguments, log, variables);
        let limit = Duration::from_secs(30);
        let (api, admin) = eventually("the worker listens", limit, || {
            process.assert_alive();
            let at = process
                .log_lines()
                .into_iter()
                .find(|line| line["message"] == "listening");
            async move {
                let at = at?;
                let address = |name: &str| at[name].as_str()?.parse().ok();
                Some((address("api")?, address("admin")?))
            }
        })
        .await;
        Self {
            process,
            api,
            admin,
        }
    }
}

/// A running `settled bank`.
pub struct Bank {
    _process: Process,
    /// Where it listens.
    pub at: SocketAddr,
}

impl Bank {
    /// Starts a bank on a free port and waits until it listens.
    pub async fn start(options: &[&str], log: PathBuf) -> Self {
        let mut arguments = vec!["bank", "--listen", "127.0.0.1:0"];
        arguments.extend(options);
        let mut process = Process::start(&arguments, log, &[]);
        let at = eventually("the bank listens", Duration::from_secs(10), || {
            process.assert_alive();
            let log = process.log();
            async move {
                let line = log
                    .lines()
                    .find_map(|line| line.strip_prefix("bank listening on "))?;
                line.parse().ok()
            }
        })
        .await;
        Self {
            _process: process,
            at,
        }
    }
}
