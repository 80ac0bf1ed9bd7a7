//! SIGKILL at random points of a block's way: found, written down, submitted, judged, promoted,
//! delivered, remembered.
//!
//! The client behaves as the pool does: what it found it sends again to a provider that comes back.
//! `CRASH_KILLS` says how often is killed, `CRASH_SEED` repeats a run.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use testkit::log::Event;
use testkit::node::Node;
use wire::sv2::template::{NewTemplate, SetNewPrevHash, SubmitSolution};

use crate::client::{Client, mine};
use crate::provider::{PAYOUT, Provider, SOON, commitment, hash_of};
use crate::sidecar::Sidecar;

/// Kills of a run of which nobody asked another number.
const KILLS: u32 = 200;
/// Blocks on left tips; each waits for hours to become part of the chain after all.
const STALE_MAX: usize = 12;
/// How long an event is waited for before a kill falls without it.
const EVENT_MAX: Duration = Duration::from_secs(3);

/// Where a kill is to fall: after an event of the log, after a POST came, or anywhere.
#[derive(Clone, Copy)]
enum Aim {
    After(&'static str),
    AfterPost,
    Anywhere,
}

const AIMS: [Aim; 7] = [
    Aim::After("found block written to disk"),
    Aim::After("block accepted"),
    Aim::After("parcel put into the outbox"),
    Aim::After("block settled on disk"),
    Aim::After("parcel delivered"),
    Aim::AfterPost,
    Aim::Anywhere,
];

/// A block that was found.
struct Found {
    solution: SubmitSolution,
    hash: String,
    note: String,
    /// True if another block of its height was in the chain before it was found.
    is_stale: bool,
}

struct Run {
    random: StdRng,
    node: Node,
    sidecar: Sidecar,
    provider: Provider,
    events: Receiver<(String, Event)>,
    posts: Receiver<String>,
    found: Vec<Found>,
    /// How many kills fell at which step.
    steps: BTreeMap<&'static str, u32>,
    /// How often a note may be posted again: a kill fell between its POST and its tombstone.
    excused: BTreeMap<String, usize>,
}

#[test]
fn whenever_it_is_killed_every_accepted_blocks_note_arrives_once_and_no_others() {
    let variable = |name| std::env::var(name).ok().and_then(|text: String| text.parse().ok());
    let seed = variable("CRASH_SEED").unwrap_or_else(rand::random::<u64>);
    let kills = variable("CRASH_KILLS").map_or(KILLS, |kills| kills.try_into().unwrap());
    println!("CRASH_SEED={seed} CRASH_KILLS={kills}");
    let start = Instant::now();
    let mut run = Run::start(seed);
    for _ in 0..kills {
        match run.random.gen_range(0..10) {
            0 => run.kill_at_start(),
            1 | 2 => run.kill_while_sending_again(),
            3 => run.kill_with_stale_block(),
            _ => run.kill_with_block(),
        }
    }
    run.come_to_rest();
    run.judge();
    println!("{kills} kills in {:?}, by step: {:?}", start.elapsed(), run.steps);
}

impl Run {
    fn start(seed: u64) -> Self {
        let node = Node::start_funded().unwrap();
        let sidecar = Sidecar::start();
        let provider = Provider::start(&node, Some(&sidecar));
        let (sender, events) = channel();
        provider.program.log().follow(sender);
        let (sender, posts) = channel();
        sidecar.follow(sender);
        Self {
            random: StdRng::seed_from_u64(seed),
            node,
            sidecar,
            provider,
            events,
            posts,
            found: Vec::new(),
            steps: BTreeMap::new(),
            excused: BTreeMap::new(),
        }
    }

    /// A block on the tip, and a kill on its way.
    fn kill_with_block(&mut self) {
        let (mut client, template, tip) = self.client_on_tip();
        self.find(&mut client, &template, &tip, false);
        let aim = AIMS[self.random.gen_range(0..AIMS.len())];
        self.kill_at(aim);
    }

    /// A block on a tip that the node has left.
    fn kill_with_stale_block(&mut self) {
        let (mut client, template, tip) = self.client_on_tip();
        let is_stale = self.found.iter().filter(|found| found.is_stale).count() < STALE_MAX;
        if is_stale {
            // Two: of two chains with the same work, the node would be asked for that of the block.
            self.node.generate(2).unwrap();
        }
        self.find(&mut client, &template, &tip, is_stale);
        self.kill_at(Aim::Anywhere);
    }

    /// The client comes back and sends again what it found, and a kill falls.
    fn kill_while_sending_again(&mut self) {
        let mut client = Client::connect(&self.provider.url, PAYOUT);
        for found in self.found.iter().rev().take(3) {
            client.submit(&found.solution);
        }
        self.kill_at(Aim::Anywhere);
    }

    /// Nothing but what is on disk.
    fn kill_at_start(&mut self) {
        self.kill_at(Aim::Anywhere);
    }

    /// A client that brought everything to the node that was found before, and the work on the tip.
    fn client_on_tip(&mut self) -> (Client, NewTemplate, SetNewPrevHash) {
        let mut client = Client::connect(&self.provider.url, PAYOUT);
        for found in self.found.iter().filter(|found| !self.is_known(found)) {
            client.submit(&found.solution);
        }
        self.wait_until_known();
        loop {
            let (template, tip) = client.next_tip();
            if mining::hash::display(&tip.prev_hash) == self.node.tip().unwrap() {
                // Before it is on disk, a restarted program could make no block of a solution.
                self.provider.wait_until_spooled(template.template_id);
                return (client, template, tip);
            }
        }
    }

    fn find(
        &mut self,
        client: &mut Client,
        template: &NewTemplate,
        tip: &SetNewPrevHash,
        is_stale: bool,
    ) {
        self.events.try_iter().for_each(drop);
        self.posts.try_iter().for_each(drop);
        let solution = mine(template, tip, self.random.r#gen());
        let (hash, note) = (hash_of(template, tip, &solution), commitment(template));
        client.submit(&solution);
        self.found.push(Found { solution, hash, note, is_stale });
    }

    fn kill_at(&mut self, aim: Aim) {
        let deadline = Instant::now() + EVENT_MAX;
        let left = || deadline.saturating_duration_since(Instant::now());
        let most_us = match aim {
            Aim::Anywhere => 40_000,
            Aim::After(message) => {
                while let Ok((_, event)) = self.events.recv_timeout(left()) {
                    if event.is(message) {
                        break;
                    }
                }
                self.soon_us()
            }
            Aim::AfterPost => {
                drop(self.posts.recv_timeout(left()));
                self.soon_us()
            }
        };
        let until = Instant::now() + Duration::from_micros(self.random.gen_range(0..=most_us));
        while Instant::now() < until {
            std::thread::yield_now();
        }
        self.provider.program.kill();
        self.sidecar.wait_until_idle();
        let step = self.step();
        *self.steps.entry(step).or_default() += 1;
        for note in self.posted_only() {
            *self.excused.entry(note).or_default() += 1;
        }
        self.provider.restart();
    }

    /// The most microseconds from an event to a kill: the next steps are that near.
    fn soon_us(&mut self) -> u64 {
        [0, 300, 3_000][self.random.gen_range(0..3)]
    }

    /// How far the newest block was.
    fn step(&self) -> &'static str {
        let Some(found) = self.found.last() else { return "0 nothing found yet" };
        let log = self.provider.program.log().events(testkit::log::Mark::default());
        let logged = |message: &str, field: &str, value: &str| {
            log.iter().any(|event| event.is(message) && event.text(field) == value)
        };
        let of_block = |message: &str| logged(message, "hash", &found.hash);
        if logged("parcel delivered", "key", &found.note) {
            "7 delivered and remembered"
        } else if self.sidecar.posts().contains(&found.note) {
            "6 posted, not remembered"
        } else if of_block("block settled on disk") {
            "5 record settled, not posted"
        } else if of_block("parcel put into the outbox") {
            "4 promoted, record not settled"
        } else if of_block("block accepted") {
            "3 accepted, not promoted"
        } else if self.is_known(found) {
            "2 at the node, no verdict"
        } else if of_block("found block written to disk") {
            "1 written down, not at the node"
        } else {
            "0 sent, not written down"
        }
    }

    /// Notes that were posted and whose tombstone was not told of.
    fn posted_only(&self) -> Vec<String> {
        let log = self.provider.program.log().events(testkit::log::Mark::default());
        let delivered: Vec<_> = log
            .iter()
            .filter(|event| event.is("parcel delivered"))
            .map(|event| event.text("key"))
            .collect();
        let mut posted = self.sidecar.posts();
        posted.sort();
        posted.dedup();
        posted.retain(|note| !delivered.contains(note));
        posted
    }

    fn confirmations(&self, found: &Found) -> Option<i64> {
        let header = self.node.rpc("getblockheader", &json!([found.hash])).ok()?;
        header["confirmations"].as_i64()
    }

    fn is_known(&self, found: &Found) -> bool {
        self.confirmations(found).is_some()
    }

    fn wait_until_known(&self) {
        let all = || self.found.iter().all(|found| self.is_known(found));
        let waited = testkit::wait::until("the node", SOON, || Ok(all().then_some(())));
        waited.unwrap_or_else(|error| panic!("{error:#}\n{}", self.provider.program.log().tail()));
    }

    fn come_to_rest(&mut self) {
        drop(self.client_on_tip());
        let stale = self.found.iter().filter(|found| found.is_stale).count();
        self.provider.wait_until(|| {
            self.provider.blocks().len() == stale && self.provider.waiting().is_empty()
        });
    }

    fn judge(&self) {
        let is_in = |found: &&Found| self.confirmations(found).is_some_and(|count| count > 0);
        let mut expected: Vec<_> =
            self.found.iter().filter(is_in).map(|found| found.note.clone()).collect();
        expected.sort();
        let stale = self.found.iter().filter(|found| found.is_stale);
        assert_eq!(stale.clone().filter(is_in).count(), 0);
        assert_eq!(expected.len() + stale.count(), self.found.len(), "a block is missing");
        assert_eq!(self.sidecar.taken(), expected, "notes and blocks differ");
        let posts = self.sidecar.posts();
        let mut repeated = 0;
        for note in &expected {
            let count = posts.iter().filter(|post| *post == note).count();
            let excused = self.excused.get(note).copied().unwrap_or_default();
            assert!(count <= 1 + excused, "{note}: {count} POSTs, {excused} kills");
            repeated += count - 1;
        }
        let found = self.found.len();
        println!(
            "{found} blocks found, {} in the chain, {repeated} POSTs repeated",
            expected.len()
        );
    }
}
