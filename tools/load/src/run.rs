//! Goes through a plan with one pool or V1 server and writes down the figures.
//!
//! It waits and counts; it speaks no protocol. A pool that dies ends the run, and what was measured
//! until then stays.

mod flow;
mod tips;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use wire::sv2::keys::AuthorityKey;

use crate::crew::{Crews, Kinds, Target};
use crate::figures::{Better, Figures, microseconds_each, to_f64};
use crate::plan::Plan;
use crate::process::Watched;
use crate::progress::Progress;
use crate::provider::Provider;
use crate::tally::{Live, Tally};

/// Between two looks at the counts.
const LOOK_PERIOD: Duration = Duration::from_millis(2);
/// Nothing new for so long, and an opening has failed.
const OPEN_STALL_MAX: Duration = Duration::from_secs(20);
/// What a pool gets to come to rest before memory is read.
const SETTLE: Duration = Duration::from_millis(1_500);

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// What it is called in the figures.
    pub name: &'static str,
    /// Where miners connect.
    pub address: SocketAddr,
    /// The key that it must prove.
    pub authority: Option<AuthorityKey>,
    /// Which miners connect.
    pub kinds: Kinds,
    /// Its process, if it is known.
    pub process: Option<Watched>,
}

/// One pool under one plan.
pub struct Run<'a> {
    plan: &'a Plan,
    subject: Subject,
    provider: Option<&'a mut Provider>,
    progress: &'a Progress,
    crews: Crews,
    live: Arc<Live>,
    figures: Figures,
}

/// Processor time at a moment: of the subject, if it is known, and of this program.
#[derive(Debug, Clone, Copy)]
struct Usage {
    at: Instant,
    subject: Option<Duration>,
    own: Duration,
}

impl<'a> Run<'a> {
    /// Makes everything ready; connects nothing.
    pub fn new(
        plan: &'a Plan,
        subject: Subject,
        provider: Option<&'a mut Provider>,
        progress: &'a Progress,
    ) -> Result<Self> {
        let live = Arc::new(Live::default());
        let target = Target { address: subject.address, authority: subject.authority };
        let crews = Crews::start(plan.threads, &target, subject.kinds, &live)?;
        let figures = Figures::default();
        Ok(Self { plan, subject, provider, progress, crews, live, figures })
    }

    /// Measures all; gives what there is, and why it ended early if it did.
    pub fn measure(mut self) -> (Figures, Option<String>) {
        let measured = self.go_through();
        (self.figures, measured.err().map(|error| format!("{error:#}")))
    }

    fn go_through(&mut self) -> Result<()> {
        let before = self.resident_kib()?;
        self.open()?;
        sleep(SETTLE);
        self.put_memory("memory of a connection, open", before)?;
        if self.plan.tips > 0 {
            self.tips()?;
            sleep(SETTLE);
            let name = format!("memory of a connection, after {} tips", self.plan.tips);
            self.put_memory(&name, before)?;
        }
        let mut flood = None;
        for flow in &self.plan.flows {
            flood = self.flow(flow, flood)?.or(flood);
        }
        if !self.plan.flows.is_empty() {
            sleep(SETTLE);
            self.put_memory("memory of a connection, in the end", before)?;
        }
        let lost = self.live.lost.load(Ordering::Relaxed);
        self.figures.put_faults("connections lost", lost);
        Ok(())
    }

    /// Opens all connections, and says how fast the first and the last quarter of them were.
    fn open(&mut self) -> Result<()> {
        let wanted = u64::try_from(self.plan.connections)?;
        self.progress.begin("opening", wanted);
        let before = self.usage()?;
        self.crews.open(self.plan.connections, self.plan.parallel)?;
        let mut quarters = Vec::new();
        let (mut seen, mut moved_at) = (0, before.at);
        loop {
            let (ready, now) = (count(&self.live.ready), Instant::now());
            while quarters.len() < 4 && ready * 4 >= wanted * (length(&quarters) + 1) {
                quarters.push(now);
            }
            let done = ready + count(&self.live.lost);
            if done >= wanted {
                break;
            }
            if done != seen {
                (seen, moved_at) = (done, now);
            } else if now.saturating_duration_since(moved_at) > OPEN_STALL_MAX {
                self.note_lost()?;
                bail!("only {ready} of {wanted} connections got a channel and a job");
            }
            self.progress.at(ready);
            sleep(LOOK_PERIOD);
        }
        let after = self.usage()?;
        let ready = count(&self.live.ready);
        self.put_opening(before, after, ready, &quarters);
        self.note_lost()?;
        if ready == 0 {
            bail!("no connection got a channel and a job");
        }
        Ok(())
    }

    fn put_opening(&mut self, before: Usage, after: Usage, ready: u64, quarters: &[Instant]) {
        let seconds = after.at.saturating_duration_since(before.at).as_secs_f64();
        let rate = to_f64(ready) / seconds;
        self.figures.put("channels opened", "/s", rate, Better::Higher);
        if let [first, _, third, last] = quarters {
            let quarter = to_f64(ready) / 4.0;
            let start = first.saturating_duration_since(before.at).as_secs_f64();
            let end = last.saturating_duration_since(*third).as_secs_f64();
            let name = "channels opened, first quarter";
            self.figures.put(name, "/s", quarter / start, Better::Higher);
            let name = "channels opened, last quarter";
            self.figures.put(name, "/s", quarter / end, Better::Higher);
        }
        self.put_cost("opened channel", before, after, ready);
    }

    /// Processor time of the subject and of this program for each of `count` things.
    fn put_cost(&mut self, what: &str, before: Usage, after: Usage, count: u64) {
        let subject = match (before.subject, after.subject) {
            (Some(before), Some(after)) => Some(after.saturating_sub(before)),
            _ => None,
        };
        if let Some(each) = subject.and_then(|subject| microseconds_each(subject, count)) {
            let name = format!("{}'s CPU per {what}", self.subject.name);
            self.figures.put(&name, "us", each, Better::Lower);
        }
        if let Some(each) = microseconds_each(after.own.saturating_sub(before.own), count) {
            self.figures.put(&format!("generator's CPU per {what}"), "us", each, Better::Neither);
        }
    }

    /// Takes the crews' counts of the opening out of the way, and says what was lost and why.
    fn note_lost(&mut self) -> Result<()> {
        let tally = self.crews.report()?;
        self.figures.put_times("opening a connection", &tally.opening);
        self.put_reasons(&tally);
        Ok(())
    }

    fn put_reasons(&mut self, tally: &Tally) {
        for (reason, count) in tally.lost.iter() {
            self.figures.put_faults(&format!("lost: {reason}"), count);
        }
    }

    fn resident_kib(&self) -> Result<Option<u64>> {
        self.subject.process.map(Watched::resident_kib).transpose()
    }

    fn put_memory(&mut self, name: &str, before: Option<u64>) -> Result<()> {
        if let (Some(before), Some(now)) = (before, self.resident_kib()?) {
            let connections = count(&self.live.ready).max(1);
            let each = to_f64(now.saturating_sub(before)) / to_f64(connections);
            self.figures.put(name, "KiB", each, Better::Lower);
        }
        Ok(())
    }

    fn usage(&self) -> Result<Usage> {
        let subject = self.subject.process.map(Watched::cpu).transpose()?;
        Ok(Usage { at: Instant::now(), subject, own: Watched::own().cpu()? })
    }

    /// Connections that should get what is sent to all.
    fn connected(&self) -> u64 {
        // Those that never got ready are lost too, but were never counted as ready.
        count(&self.live.ready)
    }
}

fn count(live: &AtomicU64) -> u64 {
    live.load(Ordering::Relaxed)
}

fn length<T>(list: &[T]) -> u64 {
    u64::try_from(list.len()).unwrap_or(u64::MAX)
}
