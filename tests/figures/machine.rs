//! The machine and what runs on it: cores, versions, load; CPU and memory of processes, from /proc.

use std::fs::read_to_string;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use settled::clock::Clock;

use crate::checker::process::settled;
use crate::support::broker::libs;

/// Of /proc/PID/stat, on every Linux that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// The highest resident set of a worker in any row.
static HIGHEST: Mutex<(u64, String)> = Mutex::new((0, String::new()));

/// What the figures were taken on.
pub fn tell() {
    if cfg!(debug_assertions) {
        println!("this is a debug build: its figures mean nothing");
    }
    let line = |file: &str, field: &str| {
        let text = read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        line.map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned())
            .unwrap_or_default()
    };
    let version = |command: &mut Command| {
        let said = command.output().map(|output| output.stdout);
        let said = String::from_utf8(said.unwrap_or_default()).unwrap_or_default();
        said.lines().next().unwrap_or_default().to_owned()
    };
    let kafka = std::fs::read_dir(libs().unwrap()).unwrap();
    let mut kafka = kafka.filter_map(|jar| jar.unwrap().file_name().into_string().ok());
    let kafka = kafka.find(|jar| jar.starts_with("kafka_"));
    println!(
        "figure: machine: {} cores of {}, {} of memory, Linux {}",
        cores(),
        line("/proc/cpuinfo", "model name"),
        line("/proc/meminfo", "MemTotal"),
        line("/proc/sys/kernel/osrelease", ""),
    );
    println!(
        "figure: versions: {}; {}; {}; commit {}",
        version(settled().arg("--version")),
        kafka.unwrap_or_default().trim_end_matches(".jar"),
        version(Command::new("redis-server").arg("--version")),
        version(Command::new("git").args(["describe", "--always", "--dirty"])),
    );
    println!("figure: before: {}", load());
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// The load average, and what the machine does in half a second in which this process waits.
pub fn load() -> String {
    let average = read_to_string("/proc/loadavg").unwrap_or_default();
    let average: Vec<&str> = average.split(' ').take(3).collect();
    let clock = Clock::start();
    let (began_us, busy) = (clock.monotonic_us(), busy_seconds());
    std::thread::sleep(Duration::from_millis(500));
    let seconds = (clock.monotonic_us() - began_us) as f64 / 1e6;
    format!(
        "load average {}; {:.0} % of {} cores busy",
        average.join(" "),
        100.0 * (busy_seconds() - busy) / seconds / cores() as f64,
        cores()
    )
}

/// CPU seconds that the machine spent at work since its start.
fn busy_seconds() -> f64 {
    let stat = read_to_string("/proc/stat").unwrap();
    let ticks: Vec<f64> = stat
        .lines()
        .next()
        .unwrap()
        .split_whitespace()
        .skip(1)
        .map(|field| field.parse().unwrap())
        .collect();
    // user, nice, system, then idle and iowait, then irq, softirq, steal.
    let busy = [0, 1, 2, 5, 6, 7].map(|at| ticks.get(at).copied().unwrap_or(0.0));
    busy.iter().sum::<f64>() / TICKS_PER_SECOND
}

/// CPU seconds of a process, user and system.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = [11, 12].map(|at| fields.get(at).map_or(0.0, |field| field.parse().unwrap()));
    (ticks[0] + ticks[1]) / TICKS_PER_SECOND
}

/// Notes the peak of a worker's resident set, in MB.
pub fn peak_mb(name: &str, pid: u32) -> u64 {
    let status = read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    let peak = peak.unwrap_or_default() / 1024;
    let mut highest = HIGHEST.lock().unwrap();
    if peak > highest.0 {
        *highest = (peak, name.to_owned());
    }
    peak
}

/// The highest of those.
pub fn tell_highest_memory() {
    let (peak, name) = &*HIGHEST.lock().unwrap();
    println!("figure: rss: a worker had {peak} MB at most, in row {name}");
}

/// What processes cost from one moment on.
pub struct Meter {
    clock: Clock,
    began_us: u64,
    busy: f64,
    processes: Vec<(&'static str, u32, f64)>,
}

impl Meter {
    /// From now on; this process, which makes the load, is added.
    pub fn start(processes: &[(&'static str, u32)]) -> Self {
        let own = ("load", std::process::id());
        let clock = Clock::start();
        Self {
            clock,
            began_us: clock.monotonic_us(),
            busy: busy_seconds(),
            processes: processes
                .iter()
                .chain([&own])
                .map(|(name, pid)| (*name, *pid, cpu_seconds(*pid)))
                .collect(),
        }
    }

    /// Microseconds of CPU per `count` of each process, and the share of the machine's time that
    /// went to anything else.
    pub fn cost(&self, count: usize) -> String {
        let seconds = (self.clock.monotonic_us() - self.began_us) as f64 / 1e6;
        let mut ours = 0.0;
        let mut text = String::from("CPU us each:");
        for (name, pid, before) in &self.processes {
            let spent = cpu_seconds(*pid) - before;
            ours += spent;
            text += &format!(" {name} {:.1},", spent * 1e6 / count as f64);
        }
        let all = seconds * cores() as f64;
        let others = (busy_seconds() - self.busy - ours).max(0.0);
        text + &format!(
            " ours {:.0} % and others {:.0} % of the machine",
            100.0 * ours / all,
            100.0 * others / all
        )
    }
}
