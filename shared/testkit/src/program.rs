//! The workspace's own programs as processes: built, started, watched, killed and started again.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::log::{Event, Log, Mark};
use crate::process::{Process, describe};

/// How long a program may take until it says where it listens.
const START_MAX: Duration = Duration::from_secs(15);
/// How long a program may take to say good-bye.
const STOP_MAX: Duration = Duration::from_secs(15);

/// The folder with the built programs.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// The programs of the same build as this executable, built first: for tests. Costs a moment
    /// where everything is fresh, and makes sure that no test runs an old program.
    pub fn built() -> Result<Self> {
        static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
        let programs = Self::beside_this_executable()?;
        let built =
            BUILT.get_or_init(|| build(&programs.folder).map_err(|error| format!("{error:#}")));
        built.clone().map_err(|error| anyhow!(error))?;
        Ok(programs)
    }

    /// The programs that were built together with this executable.
    pub fn beside_this_executable() -> Result<Self> {
        let executable = std::env::current_exe()?;
        let folder = executable.parent().context("this executable is in no folder")?;
        // Test executables are one folder deeper.
        let folder = match folder.file_name() {
            Some(name) if name == "deps" => folder.parent().unwrap_or(folder),
            _ => folder,
        };
        Ok(Self { folder: folder.to_owned() })
    }

    /// The program `name`; fails if it was not built.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        ensure!(path.is_file(), "{} is not built: run `cargo build --locked`", path.display());
        Ok(path)
    }
}

fn build(folder: &Path) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // With the tests, because their dependencies give others further features: without them, all of
    // it would be compiled a second time.
    command.args(["build", "--locked", "--workspace", "--bins", "--tests", "--quiet"]);
    command.arg("--target-dir").arg(folder.parent().unwrap_or(folder));
    if folder.ends_with("release") {
        command.arg("--release");
    }
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    // What cargo tells a test about its package: a build script that asks for it would run again,
    // and everything that depends on it would be built again, in each test anew.
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_package(name)) {
        command.env_remove(name);
    }
    let output = command.output().context("cargo cannot be started")?;
    if !output.status.success() {
        bail!("the programs do not build:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn is_of_package(variable: &OsStr) -> bool {
    let name = variable.to_string_lossy();
    let starts = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];
    name == "OUT_DIR" || starts.iter().any(|start| name.starts_with(start))
}

/// How a program is started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// What people call it, in failures and in the demo.
    pub name: String,
    /// The executable.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Environment variables beside those of this process.
    pub variables: Vec<(String, String)>,
}

impl Launch {
    /// One of the stack's servers, with its settings in the file `config`. `log_filter` says what
    /// it logs, as RUST_LOG does.
    pub fn server(
        name: &str,
        path: impl Into<PathBuf>,
        config: impl Into<OsString>,
        log_filter: &str,
    ) -> Self {
        Self {
            name: name.to_owned(),
            path: path.into(),
            arguments: vec!["run".into(), "--config".into(), config.into()],
            variables: vec![("RUST_LOG".to_owned(), log_filter.to_owned())],
        }
    }
}

/// A program, running or not, and its log.
#[derive(Debug)]
pub struct Program {
    launch: Launch,
    log: Log,
    process: Option<Process>,
}

impl Program {
    /// Starts it, with its log as JSON.
    pub fn start(launch: Launch) -> Result<Self> {
        let log = Log::new(&launch.name);
        let mut program = Self { launch, log, process: None };
        program.restart()?;
        Ok(program)
    }

    /// What it said and logged, over all its runs.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Waits for the line of standard output that starts with `start`; gives the rest of it.
    pub fn wait_said(&mut self, start: &str) -> Result<String> {
        let said = self.log.wait_said(start, START_MAX);
        said.with_context(|| self.state())
    }

    /// Waits for the first log event from `from` on that `matches`.
    pub fn wait_for_log(
        &mut self,
        from: Mark,
        within: Duration,
        what: &str,
        matches: impl Fn(&Event) -> bool,
    ) -> Result<Event> {
        let waited = self.log.wait_for(from, within, what, matches);
        waited.with_context(|| self.state())
    }

    /// Sets an environment variable for the next start.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.launch.variables.retain(|(known, _)| known != name);
        self.launch.variables.push((name.to_owned(), value.to_owned()));
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// SIGTERM; says how it ended.
    pub fn stop(&mut self) -> Result<Option<ExitStatus>> {
        let Some(mut process) = self.process.take() else { return Ok(None) };
        process.stop(STOP_MAX).map(Some).with_context(|| self.log.tail())
    }

    /// Starts it again, with the same arguments.
    pub fn restart(&mut self) -> Result<()> {
        self.process = None;
        let Launch { path, arguments, variables, .. } = &self.launch;
        let mut command = Command::new(path);
        command.args(arguments).env("LOG_FORMAT", "json");
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process::start(&mut command)?;
        if let Some(stdout) = process.child().stdout.take() {
            self.log.read_said(stdout);
        }
        if let Some(stderr) = process.child().stderr.take() {
            self.log.read_events(stderr);
        }
        self.process = Some(process);
        Ok(())
    }

    /// How it ended, if it did by itself.
    pub fn ending(&mut self) -> Result<Option<String>> {
        let Some(process) = &mut self.process else { return Ok(None) };
        Ok(process.ending()?.map(describe))
    }

    /// Whether it runs, in words.
    fn state(&mut self) -> String {
        let name = self.launch.name.clone();
        match self.ending() {
            Ok(Some(ending)) => format!("{name} {ending}"),
            Ok(None) => format!("{name} is running"),
            Err(error) => format!("{name}: {error:#}"),
        }
    }
}
