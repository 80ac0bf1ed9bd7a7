//! What every program's `main` does: read arguments, read settings before any port is bound, run
//! until a signal, and leave with a meaningful exit code.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use serde::de::DeserializeOwned;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::advice::{self, Code};
use crate::config::{self, ConfigError};
use crate::drop_in::{DropIn, Remark};
use crate::{authority, manual, telemetry};

/// Bad usage or config (sysexits' EX_USAGE).
pub const EXIT_USAGE: u8 = 64;
/// A fault of the program (sysexits' EX_SOFTWARE).
pub const EXIT_INTERNAL: u8 = 70;

/// What is said to who names no subcommand.
const NO_COMMAND: &str = "name a subcommand: `run` starts the server, `--help` lists them";

/// How long a program may take to say good-bye after a signal.
const GRACE: Duration = Duration::from_secs(10);

/// Why a program ends with a code other than 0.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The person who started it must change something.
    #[error("{0}")]
    Usage(String),
    /// The program itself failed.
    #[error("{0:#}")]
    Internal(anyhow::Error),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::explained_by(error.code(), error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Internal(error)
    }
}

impl Failure {
    /// The person who started it must change something, and `code` explains it further.
    pub fn explained_by(code: Code, sentence: impl Display) -> Self {
        Self::Usage(format!("{sentence} (--explain {code})"))
    }

    /// An address that cannot be listened on.
    pub fn cannot_listen(field: &str, address: &str, error: &std::io::Error) -> Self {
        let what = format!("{field}: cannot listen on {address}: {error}; choose another address");
        Self::explained_by(advice::PORT_TAKEN, what)
    }
}

/// One of the stack's servers, as its `main` sees it.
pub trait Server: Sized {
    /// The program's name.
    const NAME: &'static str;
    /// What it is, in a line.
    const ABOUT: &'static str;
    /// Prefix of the environment variables that override settings.
    const PREFIX: &'static str;
    /// Whether it has an authority key of its own, and so a `keygen`.
    const HAS_AUTHORITY: bool;
    /// Its settings.
    type Config: DeserializeOwned;
    /// Subcommands that it has besides those of every server; `NoMore` if it has none.
    type More: Subcommand;

    /// Makes settings of the keys in a `.env` file of the Python servers.
    fn take_over(keys: &mut DropIn) -> Result<(), ConfigError>;

    /// How long it needs for its good-byes beyond what every program gets.
    fn farewell(config: &Self::Config) -> Duration {
        let _ = config;
        Duration::ZERO
    }

    /// Checks what the types cannot: the settings together, and files that must be there.
    fn check(config: &Self::Config) -> Result<(), ConfigError>;

    /// What the settings, which are fine, make it do: plain sentences for who is about to start it.
    fn explain(config: &Self::Config) -> Vec<String>;

    /// Runs until `shutdown`; what it returns early is a failure.
    fn run(
        config: Self::Config,
        shutdown: CancellationToken,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Carries out a subcommand of its own: no logs are written and no settings read before.
    fn more(command: Self::More) -> Result<(), Failure>;
}

/// No subcommands besides those of every server.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum NoMore {}

#[derive(Debug, Parser)]
#[command(version, propagate_version = true, disable_help_subcommand = true)]
struct Arguments<M: Subcommand> {
    /// Say what a code means that stands in a message or in the log, and what to do.
    #[arg(long, value_name = "CODE", exclusive = true)]
    explain: Option<String>,
    #[command(subcommand)]
    command: Option<Command<M>>,
}

#[derive(Debug, Subcommand)]
enum Command<M: Subcommand> {
    /// Run the server.
    Run(Sources),
    /// Read the settings, say what is wrong with them or what they make the server do, and bind
    /// nothing.
    CheckConfig(Sources),
    /// Make an authority key: FILE (secret) and FILE.pub; prints the public key.
    Keygen {
        /// The file to make; it must not exist.
        #[arg(long, short)]
        out: PathBuf,
    },
    /// Write man pages and completions of shells.
    #[command(hide = true)]
    WriteManual {
        /// A folder; files of the same names are overwritten.
        #[arg(long)]
        dir: PathBuf,
    },
    #[command(flatten)]
    More(M),
}

/// Where a server's settings come from.
#[derive(Debug, Clone, Args)]
pub struct Sources {
    /// The settings, a TOML file.
    #[arg(long, short)]
    config: PathBuf,
    /// The .env file of a Python Stratum server that this program takes over from.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
}

impl Sources {
    /// The settings, checked, and what is to be said of the `.env` file.
    pub fn read<S: Server>(&self) -> Result<(S::Config, Vec<Remark>), ConfigError> {
        let (settings, remarks) = match &self.env_file {
            None => (config::load(&self.config, S::PREFIX)?, Vec::new()),
            Some(env_file) => {
                let names = (S::NAME, S::PREFIX);
                config::load_with_env_file(&self.config, env_file, names, S::take_over)?
            }
        };
        S::check(&settings)?;
        Ok((settings, remarks))
    }
}

/// The whole `main` of a server.
pub fn main<S: Server>() -> ExitCode {
    let matches = match arguments::<S>().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return usage_exit(&error),
    };
    match <Arguments<S::More> as clap::FromArgMatches>::from_arg_matches(&matches) {
        Ok(Arguments { explain: Some(code), .. }) => exit_code(S::NAME, explain(&code)),
        Ok(Arguments { command: Some(command), .. }) => exit_code(S::NAME, execute::<S>(command)),
        Ok(_) => usage_exit(&arguments::<S>().error(ErrorKind::MissingSubcommand, NO_COMMAND)),
        Err(error) => usage_exit(&error),
    }
}

/// What the arguments of a server may be.
fn arguments<S: Server>() -> clap::Command {
    let factory = <Arguments<S::More> as clap::CommandFactory>::command();
    let command = factory.name(S::NAME).about(S::ABOUT);
    match S::HAS_AUTHORITY {
        true => command,
        false => command.mut_subcommand("keygen", |keygen| keygen.hide(true)),
    }
}

/// Prints the text of a code.
fn explain(code: &str) -> Result<(), Failure> {
    match advice::of(code) {
        Some(advice) => {
            say(advice);
            Ok(())
        }
        None => {
            let codes: Vec<_> = advice::ALL.iter().map(|advice| advice.code).collect();
            let codes = codes.join(", ");
            Err(Failure::Usage(format!("{code} is no code; there are {codes}")))
        }
    }
}

/// Prints what clap has to say; help and version are no failure.
pub fn usage_exit(error: &clap::Error) -> ExitCode {
    drop(error.print());
    if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS }
}

/// Says why a program failed, in one line, and gives its exit code.
pub fn exit_code(name: &str, result: Result<(), Failure>) -> ExitCode {
    let Err(failure) = result else {
        return ExitCode::SUCCESS;
    };
    eprintln!("{name}: {failure}");
    match failure {
        Failure::Usage(_) => ExitCode::from(EXIT_USAGE),
        Failure::Internal(_) => ExitCode::from(EXIT_INTERNAL),
    }
}

fn execute<S: Server>(command: Command<S::More>) -> Result<(), Failure> {
    match command {
        Command::Keygen { .. } if !S::HAS_AUTHORITY => {
            Err(Failure::Usage(format!("{} has no authority key of its own", S::NAME)))
        }
        Command::Keygen { out } => {
            say(authority::generate(&out)?);
            Ok(())
        }
        Command::CheckConfig(sources) => {
            let (settings, remarks) = sources.read::<S>()?;
            for sentence in S::explain(&settings) {
                say(sentence);
            }
            for remark in remarks {
                match remark {
                    Remark::Note(text) => say(format_args!("note: {text}")),
                    Remark::Warning(text) => say(format_args!("warning: {text}")),
                }
            }
            say(format_args!("{} is fine", sources.config.display()));
            Ok(())
        }
        Command::Run(sources) => {
            telemetry::start();
            let (settings, remarks) = sources.read::<S>()?;
            for remark in remarks {
                match remark {
                    Remark::Note(text) => info!("{text}"),
                    Remark::Warning(text) => warn!("{text}"),
                }
            }
            let grace = GRACE + S::farewell(&settings);
            run_for(S::NAME, grace, |shutdown| S::run(settings, shutdown))
        }
        Command::WriteManual { dir } => {
            let written = manual::write(&arguments::<S>(), &dir);
            written.map_err(|error| {
                Failure::Usage(format!("--dir {}: {error}; name another", dir.display()))
            })
        }
        Command::More(more) => S::more(more),
    }
}

/// Runs `program` on a runtime of its own until it ends or a signal asks it to.
pub fn block_on<F>(name: &str, program: impl FnOnce(CancellationToken) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>> + Send,
{
    run_for(name, GRACE, program)
}

/// The same; after a signal it has `grace` to end.
fn run_for<F>(
    name: &str,
    grace: Duration,
    program: impl FnOnce(CancellationToken) -> F,
) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>> + Send,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Internal(error.into()))?;
    let shutdown = CancellationToken::new();
    let result = runtime.block_on(async {
        info!(program = name, version = env!("CARGO_PKG_VERSION"), "started");
        let running = program(shutdown.clone());
        tokio::pin!(running);
        tokio::select! {
            result = &mut running => return result,
            signal = first_signal() => info!(signal, "stopping"),
        }
        shutdown.cancel();
        tokio::select! {
            result = running => result,
            () = tokio::time::sleep(grace) => {
                warn!(seconds = grace.as_secs(), "not everything said good-bye in time");
                Ok(())
            }
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn first_signal() -> &'static str {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        warn!("no signal can be waited for: stop this program with SIGKILL");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => "interrupt",
        _ = terminate.recv() => "terminate",
    }
}

/// Prints a line that people and scripts read: on standard output, apart from the logs.
#[expect(clippy::print_stdout, reason = "the one place where programs speak on standard output")]
pub fn say(line: impl Display) {
    println!("{line}");
}

/// Prints a line for the person at the terminal, apart from what scripts read: on standard error.
pub fn tell(line: impl Display) {
    eprintln!("{line}");
}
