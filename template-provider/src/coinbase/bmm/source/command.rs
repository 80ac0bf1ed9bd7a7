//! h* from the standard output of a program that is run at each question.
//!
//! No shell stands between. The program is killed with all that it started when its answer is
//! there or no longer waited for: past the deadline, or when the tip moved. It must not learn the
//! settings of this one, which may have come as variables.

use std::ffi::OsStr;
use std::process::Stdio;

use mining::hash;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use super::{Answer, AskError, TEXT_BYTES_MAX, read_text};

/// What the names of variables begin with that are settings of this program.
const VARIABLES: &str = "TEMPLATE_PROVIDER__";

/// Runs it now; it is told slot and tip.
pub(super) async fn ask(
    program: &str,
    arguments: &[String],
    slot: u8,
    prev_hash: [u8; 32],
) -> Result<Answer, AskError> {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_settings(name)) {
        command.env_remove(name);
    }
    let mut child = command
        .args(arguments)
        .env("BMM_SLOT", slot.to_string())
        .env("BMM_PREV_HASH", hash::display(&prev_hash))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let _group = Group::of(&child);
    let mut text = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let one_too_many = u64::try_from(TEXT_BYTES_MAX + 1).unwrap_or(u64::MAX);
        stdout.take(one_too_many).read_to_end(&mut text).await?;
    }
    if text.len() > TEXT_BYTES_MAX {
        // It might write on for ever. Dropped, it is killed.
        return read_text(&text);
    }
    let status = child.wait().await?;
    match status.success() {
        true => read_text(&text),
        false => Err(AskError::Command(status)),
    }
}

fn is_of_settings(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(VARIABLES))
}

/// A program and what it started; killed when dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(leader: &Child) -> Self {
        let id = leader.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // An error says that all of them have ended.
        self.0.map(|group| kill_process_group(group, Signal::KILL));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shell(script: &str) -> (String, Vec<String>) {
        ("sh".to_owned(), vec!["-c".to_owned(), script.to_owned()])
    }

    #[tokio::test]
    async fn a_command_is_told_slot_and_tip() {
        let (program, arguments) =
            shell("test $BMM_SLOT = 7 && echo $BMM_PREV_HASH $BMM_PREV_HASH");
        let mut prev_hash = [0; 32];
        prev_hash[0] = 1;
        let answer = ask(&program, &arguments, 7, prev_hash).await.unwrap();
        assert_eq!(answer.prev_hash, Some(prev_hash));
        assert_eq!(answer.h_star[31], 1, "as it is displayed");
    }

    #[tokio::test]
    async fn a_command_that_fails_or_never_stops_writing_is_no_answer() {
        let hash = "ab".repeat(32);
        for script in [&format!("echo {hash}; exit 1"), "yes", "true"] {
            let (program, arguments) = shell(script);
            assert!(ask(&program, &arguments, 7, [0; 32]).await.is_err(), "{script}");
        }
        assert!(ask("/no/such/program", &[], 7, [0; 32]).await.is_err());
    }

    #[tokio::test]
    async fn a_command_is_killed_when_nobody_waits_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        // The one to look for is a child of the child.
        let (program, arguments) = shell(&format!(
            "sh -c 'echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000' | cat",
            file.display()
        ));
        let pid = {
            let asked = ask(&program, &arguments, 7, [0; 32]);
            tokio::pin!(asked);
            loop {
                if let Ok(pid) = std::fs::read_to_string(&file) {
                    break pid.trim().to_owned();
                }
                let turn = Duration::from_millis(1);
                assert!(tokio::time::timeout(turn, &mut asked).await.is_err());
            }
        };
        let process = std::path::PathBuf::from(format!("/proc/{pid}/stat"));
        // Gone, or dead and not yet waited for.
        let is_dead =
            || std::fs::read_to_string(&process).map_or(true, |stat| stat.contains(") Z "));
        testkit::wait::until("its end", Duration::from_secs(10), || Ok(is_dead().then_some(())))
            .unwrap();
    }
}
