//! Servers of a test process: each on loopback with its data in a directory of its own, and ended
//! with the test process even when that is killed.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;

/// A running server.
pub struct Server {
    child: Mutex<Child>,
    /// Closing it, which the end of this process does, ends the server and its directory.
    lifeline: Mutex<Option<ChildStdin>>,
    watchdog: Mutex<Child>,
    dir: PathBuf,
}

impl Server {
    /// Starts `command`, its output into `<dir>/log`. The directory goes with the server.
    pub fn start(mut command: Command, dir: &Path) -> io::Result<Self> {
        let log = File::create(dir.join("log"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        // A shell that waits for the end of this process, in a process group of its own so that a
        // Ctrl-C leaves it its work.
        let mut watchdog = Command::new("sh");
        std::os::unix::process::CommandExt::process_group(&mut watchdog, 0);
        let mut watchdog = watchdog
            .args([
                "-c",
                "read end; kill -9 \"$1\" 2>/dev/null; rm -rf \"$2\"",
                "watchdog",
            ])
            .arg(child.id().to_string())
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self {
            lifeline: Mutex::new(watchdog.stdin.take()),
            child: Mutex::new(child),
            watchdog: Mutex::new(watchdog),
            dir: dir.to_owned(),
        })
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.child
            .lock()
            .unwrap()
            .try_wait()
            .is_ok_and(|end| end.is_some())
    }

    /// The end of its log, for the message of a failed start.
    pub fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.lifeline.lock().unwrap().take());
        self.child.lock().unwrap().wait().ok();
        self.watchdog.lock().unwrap().wait().ok();
    }
}

/// A directory for a server's data. Not removed by its own drop: the server's watchdog does that.
pub fn data_dir(name: &str) -> io::Result<PathBuf> {
    Ok(tempfile::Builder::new()
        .prefix(&format!("settled-{name}-"))
        .tempdir()?
        .keep())
}

/// Ports that were free a moment ago, all different.
pub fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    let held: Vec<TcpListener> = (0..N)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<io::Result<_>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
