//! One of our programs in the place of SRI's: how the stand-ins start it. Must not know what its
//! settings say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

/// Starts `NAME run` with the settings `config`; what it says goes to `NAME.log` in `folder`.
pub(crate) fn started(name: &str, config: &Path, folder: &Path) -> std::io::Result<Child> {
    let programs = std::env::var_os("ADIT_PROGRAMS").expect("scripts/interop sets ADIT_PROGRAMS");
    let log = fs::File::create(folder.join(format!("{name}.log")))?;
    Command::new(PathBuf::from(programs).join(name))
        .args(["run", "--config"])
        .arg(config)
        .env("RUST_LOG", "debug")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
}
