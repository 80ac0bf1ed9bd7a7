//! Runs the stack and two devices, tells what happens, and looks each found block up in the node.

use std::collections::VecDeque;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use service::program::say;
use testkit::block::MinedBlock;
use testkit::program::{Program, Programs};
use testkit::world::{COINBASE_TAG, Paying, Plan, Route, Server, TRANSLATOR_USER, World};
use tokio_util::sync::CancellationToken;

use crate::narrator::{Found, Narrator, brief, found_block, payments};

/// Hashes per second of each device: little enough for any machine.
const DEVICE_HASHRATE: u64 = 1_000_000;
/// A block of each path every six seconds, slow enough to read along.
const SHARES_PER_MINUTE: f64 = 10.0;
/// One share in some five seconds, for a V1 device of which nothing is known yet.
const MIN_DIFFICULTY: f64 = 0.001;
/// The programs say more than is told here.
const LOG_FILTER: &str = "info,pool_sv2=debug,translator_v1=debug";
/// How often Ctrl-C, ended programs and open blocks are looked at.
const LOOK_PERIOD: Duration = Duration::from_millis(100);
/// After so long a found block that is not in the chain has lost against another one.
const LOST_AFTER: Duration = Duration::from_secs(5);
/// Satoshis per virtual byte of the demo's own payments.
const FEE_RATE: u32 = 10;

/// What the person wants.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Blocks of each path after which the demo ends.
    pub(crate) blocks: Option<u64>,
    /// How long a path may be without a block.
    pub(crate) patience: Duration,
    /// Where miners can connect, without a port.
    pub(crate) listen_host: String,
}

/// The two ways to the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    V2,
    V1,
}

struct Show {
    world: World,
    devices: Vec<Program>,
    narrator: Narrator,
    started: Instant,
    /// Blocks that were found and not yet seen in the chain.
    open: VecDeque<(Found, Instant)>,
    v2: Tally,
    v1: Tally,
}

/// The blocks of one path.
struct Tally {
    blocks: u64,
    last: Instant,
}

/// Runs until the blocks are there, `shutdown`, or something fails.
pub(crate) fn run(settings: &Settings, shutdown: &CancellationToken) -> Result<()> {
    say("Adit demo: a whole mining stack on a private test chain (regtest). One moment ...");
    let mut show = Show::start(settings)?;
    let told = show.go_on(settings, shutdown);
    let (v2, v1) = (show.v2.blocks, show.v1.blocks);
    say("\nStopping everything ...");
    let stopped = show.stop();
    told?;
    stopped?;
    say(format_args!(
        "Done: {v2} blocks by Stratum V2 and {v1} by Stratum V1. Nothing is left running."
    ));
    Ok(())
}

impl Show {
    fn start(settings: &Settings) -> Result<Self> {
        let plan = Plan {
            programs: Programs::beside_this_executable()?,
            listen_host: settings.listen_host.clone(),
            translator: true,
            device_hashrate: DEVICE_HASHRATE,
            shares_per_minute: SHARES_PER_MINUTE,
            min_difficulty: MIN_DIFFICULTY,
            log_filter: LOG_FILTER.to_owned(),
            further_ports: Vec::new(),
            shielded: None,
            paying: Paying::Pool,
        };
        let world = plan.start()?;
        introduce(&world)?;
        let now = Instant::now();
        let tally = || Tally { blocks: 0, last: now };
        Ok(Self {
            world,
            devices: Vec::new(),
            narrator: Narrator::default(),
            started: now,
            open: VecDeque::new(),
            v2: tally(),
            v1: tally(),
        })
    }

    fn go_on(&mut self, settings: &Settings, shutdown: &CancellationToken) -> Result<()> {
        let events = self.world.follow();
        self.pay()?;
        self.devices.push(self.world.start_device(Route::V2Extended, "v2-device")?);
        self.devices.push(self.world.start_device(Route::V1, "v1-device")?);
        let mut looked = Instant::now();
        while !shutdown.is_cancelled() {
            match events.recv_timeout(LOOK_PERIOD) {
                Ok((program, event)) => {
                    if let Some(found) = found_block(&program, &event) {
                        self.open.push_back((found, Instant::now()));
                    } else if let Some(sentence) = self.narrator.tell(&program, &event) {
                        self.say(&sentence);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("all programs fell silent"),
            }
            if looked.elapsed() >= LOOK_PERIOD {
                looked = Instant::now();
                self.look_up_blocks()?;
                self.check_all_run(shutdown)?;
                if let Some(wanted) = settings.blocks {
                    if self.v2.blocks >= wanted && self.v1.blocks >= wanted {
                        return Ok(());
                    }
                    self.check_patience(wanted, settings.patience)?;
                }
            }
        }
        Ok(())
    }

    /// Counts the open blocks that the node has by now.
    fn look_up_blocks(&mut self) -> Result<()> {
        for _ in 0..self.open.len() {
            let Some((found, since)) = self.open.pop_front() else { break };
            match MinedBlock::read(&self.world.node, &found.hash) {
                Ok(block) => self.count(&found, &block)?,
                Err(_) if since.elapsed() < LOST_AFTER => self.open.push_back((found, since)),
                Err(reason) => {
                    let brief = brief(&found.hash);
                    self.say(&format!("lost      block {brief} is not in the chain: {reason:#}"));
                }
            }
        }
        Ok(())
    }

    /// Tells a block that stands in the chain; one that is not as it must be ends the demo.
    fn count(&mut self, found: &Found, block: &MinedBlock) -> Result<()> {
        let finder = self.narrator.finder(found);
        block.check_tag(COINBASE_TAG)?;
        let paid = block.check_payout(&self.world.payout_address)?;
        block.check_witness_commitment()?;
        let side = if found.user == TRANSLATOR_USER { Side::V1 } else { Side::V2 };
        let tally = match side {
            Side::V2 => &mut self.v2,
            Side::V1 => &mut self.v1,
        };
        tally.blocks += 1;
        tally.last = Instant::now();
        let count = payments(u64::try_from(block.block.txdata.len().saturating_sub(1))?);
        self.say(&format!("BLOCK     {} {}", block.height, block.hash));
        for line in [
            format!("found by {finder}"),
            format!("in the node's chain, with {count}; its coinbase carries {COINBASE_TAG},"),
            format!("pays {paid} to {}", self.world.payout_address),
            "and commits to the right witnesses (BIP141)".to_owned(),
            format!("so far: {} by V2, {} by V1", self.v2.blocks, self.v1.blocks),
        ] {
            say(format_args!("                  {line}"));
        }
        self.pay()
    }

    /// A payment for the next template.
    fn pay(&mut self) -> Result<()> {
        let transaction = self.world.node.pay_itself(FEE_RATE)?;
        self.say(&format!("payment   {} waits for a block", brief(&transaction)));
        Ok(())
    }

    fn check_patience(&self, wanted: u64, patience: Duration) -> Result<()> {
        let sides = [("V2", "v2-device", &self.v2), ("V1", "v1-device", &self.v1)];
        let late = |tally: &Tally| tally.blocks < wanted && tally.last.elapsed() > patience;
        let Some((name, device, tally)) = sides.into_iter().find(|(_, _, tally)| late(tally))
        else {
            return Ok(());
        };
        let logs = self.devices.iter().map(|device| device.log().tail());
        let logs: Vec<_> = logs.chain([self.world.pool.program.log().tail()]).collect();
        bail!(
            "no block by Stratum {name} for {} s ({} of {wanted} found by {device})\n{}",
            patience.as_secs(),
            tally.blocks,
            logs.join("\n")
        );
    }

    /// A program that ended by itself ends the demo.
    fn check_all_run(&mut self, shutdown: &CancellationToken) -> Result<()> {
        let world = &mut self.world;
        let servers = [&mut world.template_provider, &mut world.pool];
        let servers = servers.into_iter().chain(world.translator.as_mut());
        let programs = servers.map(|server| &mut server.program).chain(&mut self.devices);
        for program in programs {
            if let Some(ending) = program.ending()?.filter(|_| !shutdown.is_cancelled()) {
                bail!("a program {ending}; {}", program.log().tail());
            }
        }
        Ok(())
    }

    /// Ends the programs as a person would, whoever needs another one first.
    fn stop(mut self) -> Result<()> {
        for device in &mut self.devices {
            device.stop()?;
        }
        let World { translator, pool, template_provider, node, .. } = &mut self.world;
        for server in translator.iter_mut().chain([pool, template_provider]) {
            server.program.stop()?;
        }
        node.stop()
    }

    fn say(&self, sentence: &str) {
        let seconds = self.started.elapsed().as_secs();
        say(format_args!("{:>3}:{:02}  {sentence}", seconds / 60, seconds % 60));
    }
}

/// Who is there, and how to join.
fn introduce(world: &World) -> Result<()> {
    let translator = world.translator.as_ref().context("the demo has a translator")?;
    let row = |name: &str, server: &Server| say(format_args!("  {name:<18} {}", server.url));
    say(format_args!("\n  {:<18} {}", "node", world.node.rpc_url()));
    row("template-provider", &world.template_provider);
    row("pool-sv2", &world.pool);
    row("translator-v1", translator);
    say("\nOpen in a browser, and see the first block appear:");
    say(format_args!("  Dashboard          {}", world.dashboard));
    say("\nConnect a miner of your own, with any user name:");
    say(format_args!("  Stratum V2         {}", world.pool.url));
    say(format_args!("  Stratum V1         {}", translator.url));
    say(format_args!("  for instance       target/debug/cpu-miner {} --user me\n", world.pool.url));
    Ok(())
}
