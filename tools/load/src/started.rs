//! A program that is started for a measurement, in a folder of its own that goes with it.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use testkit::process::{Process, describe};
use testkit::program::Programs;
use testkit::wait::until;
use toml::Table;

use crate::arguments::Software;

/// How long a program may take until it does what is waited for.
const START_MAX: Duration = Duration::from_secs(30);
/// Lines of its log that are shown when it fails.
const LOG_LINES: usize = 20;

impl Software {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Adit => "adit",
            Self::Sri => "sri",
        }
    }
}

/// What a program is to be started with.
#[derive(Debug, Clone)]
pub struct Launch<'a> {
    /// Whose.
    pub software: Software,
    /// The program, if it is not where it belongs.
    pub path: Option<&'a Path>,
    /// What it logs.
    pub log: &'a str,
    /// Connections that it must take.
    pub connections: usize,
}

impl Launch<'_> {
    /// The program: at its path, or Adit's beside this one, or SRI's on PATH.
    pub fn command(&self, adit: &str, sri: &str) -> Result<Command> {
        Ok(match (self.software, self.path) {
            (_, Some(path)) => Command::new(
                path.canonicalize()
                    .with_context(|| format!("{}: there is no such program", path.display()))?,
            ),
            (Software::Adit, None) => Command::new(beside_this_program(adit)?),
            (Software::Sri, None) => Command::new(sri),
        })
    }
}

fn beside_this_program(name: &str) -> Result<PathBuf> {
    let path = Programs::beside_this_executable()?.path(name);
    path.with_context(|| format!("{name} is not beside this program: build it, or give its path"))
}

/// A program that runs. It ends when this is dropped, and so does what stands behind it.
#[derive(Debug)]
pub struct Started {
    /// Where miners connect.
    pub address: SocketAddr,
    name: &'static str,
    process: Process,
    folder: TempDir,
    behind: Option<Box<Self>>,
}

impl Started {
    /// Starts `command` with `settings` as its last argument's file.
    pub fn start(
        name: &'static str,
        mut command: Command,
        settings: &Table,
        address: SocketAddr,
        log: &str,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("load-").tempdir()?;
        let config = folder.path().join("config.toml");
        fs::write(&config, settings.to_string())?;
        let output = File::create(folder.path().join("log"))?;
        command.arg(&config).env("RUST_LOG", log).current_dir(folder.path());
        command.stdout(output.try_clone()?).stderr(output);
        let process = Process::start(&mut command)?;
        Ok(Self { address, name, process, folder, behind: None })
    }

    /// The same in front of `behind`.
    #[must_use]
    pub fn in_front_of(self, behind: Self) -> Self {
        Self { behind: Some(Box::new(behind)), ..self }
    }

    /// Waits until it listens.
    pub fn wait_to_listen(&mut self) -> Result<()> {
        self.wait_for("it listens", |started| TcpStream::connect(started.address).is_ok())
    }

    /// Waits until `is_so`; the log's last lines say why it never was.
    pub fn wait_for(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) -> Result<()> {
        let waited = until(&format!("{} until {what}", self.name), START_MAX, || {
            self.check()?;
            Ok(is_so(self).then_some(()))
        });
        waited.map(drop).with_context(|| self.log_tail())
    }

    /// Fails if it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.process.ending()? {
            Some(status) => bail!("{} {}", self.name, describe(status)),
            None => self.behind.as_mut().map_or(Ok(()), |behind| behind.check()),
        }
    }

    /// Its process.
    pub fn pid(&mut self) -> u32 {
        self.process.child().id()
    }

    /// What it has written into its file `name`.
    pub fn written(&self, name: &str) -> Result<String> {
        let path = self.folder.path().join(name);
        fs::read_to_string(&path).with_context(|| format!("{} has not written {name}", self.name))
    }

    /// The last lines that it logged.
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default();
        format!("last words of {}:\n{}", self.name, tail.join("\n"))
    }
}

/// A port that was free a moment ago.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}
