//! `translator-v1 probe` and `translator-v1 list-miners`: what people ask.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use clap::{Args, Subcommand};
use pages::figures::hashrate;
use service::driver::{Host, drive};
use service::program::{Failure, block_on, say};
use service::{clock, listen};
use tokio::time::{Instant, timeout};
use wire::sv2::keys::Sv2Url;

use crate::bridge::notify::{ChannelEpoch, ChannelTerms, Job};
use crate::downstream::device_kind::DeviceKind;
use crate::register::MinerShown;
use crate::teams::Channels;
use crate::upstream::session::UpstreamSession;
use crate::upstream::{Command as ToUpstream, Event, MinersTotal, UpstreamSettings};

/// A pool that gives no job within this time gives none.
const PROBE_MAX: Duration = Duration::from_secs(15);
/// The running translator is asked for so long.
const ASK_MAX: Duration = Duration::from_secs(10);

/// The subcommands that the translator has besides those of every server.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Connect to a pool and say what it supports. It mines nothing.
    Probe(ProbeArguments),
    /// Show the miners of a running translator, whose health address must be set.
    ListMiners(ListArguments),
}

/// `translator-v1 probe`.
#[derive(Debug, Args)]
pub struct ProbeArguments {
    /// HOST:PORT/KEY, or a whole URL stratum2+tcp://HOST:PORT/KEY; without KEY any pool is taken
    /// for the right one.
    pool: String,
    /// Whom the pool would pay.
    #[arg(long, default_value = "translator-v1-probe")]
    user: String,
}

/// `translator-v1 list-miners`.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// HOST:PORT of the running translator's [health] address.
    #[arg(long, default_value = "127.0.0.1:9103")]
    at: String,
    /// The JSON as it comes, in place of a table.
    #[arg(long)]
    json: bool,
}

/// Carries out `command`.
pub fn execute(command: Command) -> Result<(), Failure> {
    match command {
        Command::Probe(ProbeArguments { pool, user }) => block_on("probe", |_| async move {
            probe(&pool, user).await?.iter().for_each(say);
            Ok(())
        }),
        Command::ListMiners(arguments) => list_miners(&arguments),
    }
}

/// Connects to `pool` as `user` and says what it supports, a sentence each.
pub async fn probe(pool: &str, user: String) -> Result<Vec<String>, Failure> {
    let url: Sv2Url = match pool.starts_with("stratum2+tcp://") {
        true => pool.parse(),
        false => format!("stratum2+tcp://{pool}").parse(),
    }
    .map_err(|error| Failure::Usage(format!("{pool}: {error}; write HOST:PORT/KEY")))?;
    let failed = |what: String| Failure::Internal(anyhow::anyhow!("{pool}: {what}"));
    let stream = listen::connect(&format!("{}:{}", url.host, url.port))
        .await
        .map_err(|error| failed(format!("cannot connect: {error}")))?;
    let settings = UpstreamSettings {
        host: url.host.clone(),
        port: url.port,
        authority: url.authority_key,
        user_identity: user,
        initial_hashrate: 1e12,
        share_answer_max: PROBE_MAX,
        channels: Channels::One,
        promise: None,
        names_workers: true,
        first_epoch: ChannelEpoch(0),
    };
    let clocks = (clock::now(), clock::unix_now_seconds());
    let miners = MinersTotal::default();
    let mut session = UpstreamSession::<()>::new(settings, miners, clocks, clock::fresh_seed())
        .map_err(|error| failed(error.to_string()))?;
    let mut host = ProbeHost { start: Instant::now(), terms: None, job: None };
    let ended = timeout(PROBE_MAX, drive(&mut session, &mut host, stream)).await;
    let Some(terms) = host.terms else {
        let why = ended.map_or_else(|_| "no channel in time".to_owned(), |ended| ended.to_string());
        return Err(failed(why));
    };
    let proof = match url.authority_key {
        Some(_) => "encrypted, and the pool has proved its key",
        None => "encrypted; no key was given to check it against",
    };
    let mut said = vec![proof.to_owned(), "version rolling: yes".to_owned()];
    said.extend(of_terms(&terms));
    let names = if session.names_workers() { "yes" } else { "no" };
    said.push(format!("wants to know the worker of each share (extension 0x0002): {names}"));
    let Some((job, after)) = host.job else {
        return Err(failed("it opened a channel and gave no job".to_owned()));
    };
    said.push(format!("first job after {} ms", after.as_millis()));
    said.push(format!("coinbase: {} bytes", job.coinbase_bytes));
    let cannot: Vec<_> = DeviceKind::that_cannot_hold(job.coinbase_bytes).collect();
    if !cannot.is_empty() {
        said.push(format!("too long for: {}", cannot.join(", ")));
    }
    Ok(said)
}

fn of_terms(terms: &ChannelTerms) -> [String; 2] {
    let split = &terms.split;
    let shape = split.shape();
    let (first, second) = (shape.extranonce_1(0).len(), shape.extranonce_2_bytes);
    [
        format!("extranonce of a V1 miner: {first} bytes fixed, {second} to roll"),
        format!("difficulty for a proxy without miners: {}", terms.target.difficulty()),
    ]
}

struct ProbeHost {
    start: Instant,
    terms: Option<ChannelTerms>,
    job: Option<(std::sync::Arc<Job>, Duration)>,
}

impl Host<UpstreamSession<()>> for ProbeHost {
    async fn next_command(&mut self) -> Option<ToUpstream<()>> {
        match self.job {
            Some(_) => None,
            None => std::future::pending().await,
        }
    }

    async fn take_event(&mut self, event: Event<()>) {
        match event {
            Event::ChannelOpened { terms, .. } => self.terms = Some(terms),
            Event::Job { job, .. } => {
                let after = self.start.elapsed();
                self.job.get_or_insert((job, after));
            }
            Event::ChannelClosed { .. }
            | Event::Verdict { .. }
            | Event::TeamJob { .. }
            | Event::TeamLost { .. }
            | Event::TeamRefused { .. }
            | Event::PromiseBroken { .. } => {}
        }
    }
}

fn list_miners(arguments: &ListArguments) -> Result<(), Failure> {
    let at = &arguments.at;
    let answer = ask(at).map_err(|error| {
        Failure::Usage(format!("--at {at}: {error}; is a translator with [health] address there?"))
    })?;
    if arguments.json {
        say(answer);
        return Ok(());
    }
    let miners: Vec<MinerShown> = serde_json::from_str(&answer)
        .map_err(|error| Failure::Usage(format!("--at {at}: no translator answers: {error}")))?;
    say(format_args!(
        "{:<32} {:<22} {:<24} {:>12} {:>9} {:>8}",
        "worker", "address", "software", "hashrate", "accepted", "rejected"
    ));
    for miner in &miners {
        say(format_args!(
            "{:<32} {:<22} {:<24} {:>12} {:>9} {:>8}",
            plain(&miner.workers.join(",")),
            plain(&miner.address),
            plain(&miner.agent),
            hashrate(miner.hashrate),
            miner.accepted,
            miner.refused()
        ));
    }
    Ok(())
}

/// Names come from miners: nothing in them may move the cursor.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// The miners as JSON.
fn ask(at: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(ASK_MAX))?;
    let request = format!("GET /miners.json HTTP/1.0\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.split(' ').nth(1) == Some("200") => Ok(body.to_owned()),
        _ => Err(std::io::Error::other("it has no list of miners")),
    }
}
