//! What a process has used: processor time and memory, as the kernel counts them.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Ticks a second in /proc/PID/stat: USER_HZ, which is 100 on every machine that Linux supports.
const TICKS_PER_SECOND: u64 = 100;

/// A process to be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched(u32);

impl Watched {
    /// The process with this id.
    pub fn new(pid: u32) -> Self {
        Self(pid)
    }

    /// This process itself.
    pub fn own() -> Self {
        Self(std::process::id())
    }

    /// Processor time of all its threads so far, user and system, in steps of 10 ms.
    pub fn cpu(self) -> Result<Duration> {
        let text = self.read("stat")?;
        cpu_of_stat(&text).with_context(|| format!("/proc/{}/stat cannot be read", self.0))
    }

    /// Resident memory in KiB.
    pub fn resident_kib(self) -> Result<u64> {
        let text = self.read("status")?;
        field_of_status(&text, "VmRSS:")
            .with_context(|| format!("/proc/{}/status has no VmRSS", self.0))
    }

    fn read(self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.0);
        fs::read_to_string(&path).with_context(|| format!("the pool is gone: no {path}"))
    }
}

/// Fields 14 and 15; the second field is a name in brackets that may hold anything.
fn cpu_of_stat(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system).saturating_mul(1_000 / TICKS_PER_SECOND)))
}

fn field_of_status(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added_whatever_the_name_of_the_program() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 9 0 0 0 150 25 0 0 20 0 3 0 99 1 2";
        assert_eq!(cpu_of_stat(stat), Some(Duration::from_millis(1_750)));
        assert_eq!(cpu_of_stat("7 (a) S 1"), None);
    }

    #[test]
    fn memory_is_read_from_the_line_of_its_name() {
        let status = "Name:\tx\nVmHWM:\t  9 kB\nVmRSS:\t  1234 kB\n";
        assert_eq!(field_of_status(status, "VmRSS:"), Some(1_234));
        assert_eq!(field_of_status(status, "VmSwap:"), None);
    }

    #[test]
    fn this_process_has_used_some_memory() {
        assert!(Watched::own().resident_kib().unwrap() > 0);
        assert!(Watched::own().cpu().is_ok());
    }
}
