//! Child processes that never outlive their owner.
//!
//! Dropping a process kills it. Should this process itself be killed, a watching shell, which
//! notices the end of its standard input, kills what is left. All are in process groups of their
//! own, so that a Ctrl-C reaches this process alone, which then ends them in the right order, and
//! a killed test's group does not take the watcher with it.

use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::wait::until;

/// A running child.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `command`. Its standard input is closed.
    pub fn start(command: &mut Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        watch('+', child.id());
        Ok(Self { child })
    }

    /// The child itself, for its output.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// How it ended, if it has.
    pub fn ending(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// SIGKILL: the end without a last word.
    pub fn kill(&mut self) {
        // It may have ended by itself: then there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
        watch('-', self.child.id());
    }

    /// SIGTERM, and then waits for the end; says how it ended.
    pub fn stop(&mut self, within: Duration) -> Result<ExitStatus> {
        let pid = self.child.id().to_string();
        let sent = Command::new("/bin/sh").args(["-c", "kill -TERM \"$0\"", &pid]).status()?;
        if !sent.success() && self.ending()?.is_none() {
            return Err(anyhow!("SIGTERM cannot be sent to process {pid}"));
        }
        let status = until("a process to end after SIGTERM", within, || self.ending())?;
        watch('-', self.child.id());
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How a process ended, in words.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// Keeps a list of processes, one line for each that starts (+) or ends (-); when its input ends,
/// which happens however the writer dies, it kills those that are left.
const WATCHER: &str = r#"
trap "" INT TERM HUP
left=
while read -r sign pid; do
  case $sign in
    +) left="$left $pid" ;;
    -) rest=
       for other in $left; do [ "$other" = "$pid" ] || rest="$rest $other"; done
       left=$rest ;;
  esac
done
[ -z "$left" ] || kill -9 $left
"#;

fn watch(sign: char, pid: u32) {
    static WATCHER_INPUT: OnceLock<Option<Mutex<ChildStdin>>> = OnceLock::new();
    let input = WATCHER_INPUT.get_or_init(|| {
        let mut watcher = Command::new("/bin/sh");
        watcher.args(["-c", WATCHER]).stdin(Stdio::piped());
        watcher.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        // Without it, dropping still cleans up: only a killed test would leave something behind.
        watcher.spawn().ok()?.stdin.map(Mutex::new)
    });
    if let Some(input) = input {
        let mut input = input.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(input, "{sign} {pid}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_alive(pid: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let process = Process::start(Command::new("sleep").arg("600")).unwrap();
        let pid = process.child.id();
        assert!(is_alive(pid));
        drop(process);
        assert!(!is_alive(pid));
    }

    #[test]
    fn a_stopped_process_says_how_it_ended() {
        let mut process = Process::start(Command::new("sleep").arg("600")).unwrap();
        let status = process.stop(Duration::from_secs(5)).unwrap();
        assert_eq!(describe(status), "was ended by signal 15");
    }

    #[test]
    fn the_watcher_kills_what_is_left_when_its_input_ends() {
        let sleep = || Command::new("sleep").arg("600").spawn().unwrap();
        let (mut kept, mut killed) = (sleep(), sleep());
        let mut watcher =
            Command::new("/bin/sh").args(["-c", WATCHER]).stdin(Stdio::piped()).spawn().unwrap();
        let mut input = watcher.stdin.take().unwrap();
        for (sign, child) in [('+', &killed), ('+', &kept), ('-', &kept)] {
            writeln!(input, "{sign} {}", child.id()).unwrap();
        }
        drop(input);
        watcher.wait().unwrap();
        assert_eq!(killed.wait().unwrap().signal(), Some(9));
        assert!(kept.try_wait().unwrap().is_none());
        kept.kill().unwrap();
        kept.wait().unwrap();
    }
}
