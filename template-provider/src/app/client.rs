//! The program's side of one client: what its session asks for comes from the store, what it finds
//! goes to the node.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use mining::target::Target;
use service::clock;
use service::driver::Host;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{debug, info, warn};
use wire::sv2::codec::{Blob, List};
use wire::sv2::template::{
    CoinbaseOutputConstraints, ERROR_STALE_TEMPLATE_ID, ERROR_TEMPLATE_ID_NOT_FOUND, NewTemplate,
    RequestTransactionDataError, RequestTransactionDataSuccess, SetNewPrevHash, SubmitSolution,
};

use super::Hub;
use super::spooling::Spooling;
use super::submission::Submissions;
use crate::server::session::{self, Command, Event, Session};
use crate::templates::assemble::{Solution, assemble};
use crate::templates::build::{BuildError, Contents};
use crate::templates::coinbase::{
    COINBASE_SEQUENCE, COINBASE_VERSION, WITNESS_RESERVED_VALUE, coinbase_locktime,
};
use crate::templates::store::{Missing, Template};
use crate::templates::trim::Room;

/// Solutions that are no blocks which a client may send: an honest one sends none.
const WRONG_SOLUTIONS_MAX: u32 = 100;
/// Templates of a client that no other client can push out of the store, the newest first: miners
/// go on with the last one for a moment, and a template every 30 seconds makes it four minutes.
const TEMPLATES_HELD_MAX: usize = 8;
/// How soon the present offer is tried again, after an extension had no outputs for it.
const OWED_RETRY: Duration = Duration::from_secs(1);
/// Solutions of one client whose templates are looked for on disk at a time. An honest one has one
/// or two, after a restart of this program.
const LOOK_UPS_MAX: usize = 16;

/// One client.
pub(super) struct Client {
    peer: SocketAddr,
    hub: Hub,
    /// What the client reserves; `None` until it said so.
    room: Option<Room>,
    /// Commands for the session, oldest first. Short: each is the answer to one message of the
    /// client, who is not read from meanwhile, or the newest offer.
    commands: VecDeque<Command>,
    /// The highest id that was given to the session; 0 before the first.
    last_id: u64,
    /// What was given to the session last, oldest first.
    held: VecDeque<Template>,
    /// While it has no template of the present offer, which may be had in a moment: when to try.
    owed_at: Option<Instant>,
    solutions: Solutions,
}

/// What becomes of one client's solutions. Cheap to clone; all clones are one.
#[derive(Clone)]
struct Solutions {
    peer: SocketAddr,
    submissions: Submissions,
    look_ups: Arc<Semaphore>,
    wrong: Arc<AtomicU32>,
}

impl Client {
    /// A client that has said nothing yet.
    pub(super) fn new(peer: SocketAddr, hub: Hub) -> Self {
        let (commands, held) = (VecDeque::new(), VecDeque::new());
        let solutions = Solutions {
            peer,
            submissions: hub.submissions.clone(),
            look_ups: Arc::new(Semaphore::new(LOOK_UPS_MAX)),
            wrong: Arc::default(),
        };
        Self { peer, hub, room: None, commands, last_id: 0, held, owed_at: None, solutions }
    }

    /// Queues the present template, if there is one and the client said what it needs.
    fn offer(&mut self) {
        let Some(offer) = self.hub.offers.borrow_and_update().clone() else { return };
        let Some(room) = self.room else { return };
        let now = clock::now();
        let was_owed = self.owed_at.take().is_some();
        match self.hub.store.template(now, &offer, room, self.last_id) {
            Ok(template) => match messages(&template, offer.tip, offer.header_timestamp(now)) {
                Some(command) => {
                    self.last_id = template.id;
                    self.hub.spooling.keep(&template, offer.tip);
                    self.commands.push_back(command);
                    self.hold(template);
                }
                None => self.close("a template that fits no message"),
            },
            Err(error) => self.offer_nothing(&error, was_owed),
        }
    }

    /// A client whose constraints cannot be met is not kept waiting for what will not come. One
    /// that only lacks an extension's outputs keeps the work that it has until they are there.
    fn offer_nothing(&mut self, error: &BuildError, was_owed: bool) {
        if !was_owed {
            warn!(peer = %self.peer, %error, "no template for this client");
        }
        match error {
            BuildError::Extension { .. } => self.owed_at = Some(Instant::now() + OWED_RETRY),
            _ => self.close("no template can be made for its constraints"),
        }
    }

    /// Notes how long the present tip took, if it is new and was offered just now.
    fn time_tip(&self) {
        let heard_at = self.hub.offers.borrow().as_ref().and_then(|offer| offer.tip_heard_at);
        if let (Some(heard_at), Some(Command::Offer(_))) = (heard_at, self.commands.back()) {
            self.hub.tip_seconds.observe(clock::now().duration_since(heard_at).as_secs_f64());
        }
    }

    fn hold(&mut self, template: Template) {
        self.held.push_back(template);
        if self.held.len() > TEMPLATES_HELD_MAX {
            self.held.pop_front();
        }
    }

    fn close(&mut self, reason: &'static str) {
        self.commands.push_back(Command::Close(reason));
    }

    fn give_transaction_data(&mut self, template_id: u64) {
        let found = self.hub.store.find(clock::now(), template_id);
        let code = match found {
            Ok(template) => match transaction_data(&template) {
                Some(data) => {
                    return self.commands.push_back(Command::GiveTransactionData(Box::new(data)));
                }
                None => return self.close("transactions that fit no message"),
            },
            Err(Missing::Stale) => ERROR_STALE_TEMPLATE_ID,
            Err(Missing::NeverMade) => ERROR_TEMPLATE_ID_NOT_FOUND,
        };
        let refusal = RequestTransactionDataError { template_id, error_code: code.into() };
        self.commands.push_back(Command::RefuseTransactionData(refusal));
    }

    fn take_solution(&mut self, submitted: SubmitSolution) {
        let template_id = submitted.template_id;
        match self.hub.store.find(clock::now(), template_id) {
            Ok(template) => self.solutions.submit(submitted, &template.contents),
            Err(missing) => self.solutions.look_up(submitted, missing, self.hub.spooling.clone()),
        }
        if self.solutions.wrong.load(Ordering::Relaxed) >= WRONG_SOLUTIONS_MAX {
            self.close("too many solutions that are no blocks");
        }
    }

    fn note_sent(&self, template_id: u64, future: bool) {
        let Ok(Template { contents, .. }) = self.hub.store.find(clock::now(), template_id) else {
            return;
        };
        info!(
            peer = %self.peer,
            template = template_id,
            height = contents.height,
            transactions = contents.transactions.len(),
            fees = contents.fees,
            future,
            "template sent"
        );
    }
}

impl Solutions {
    /// Looks for the template on disk, which may hang: the client goes on meanwhile, and if it ends
    /// its block does not.
    fn look_up(&self, submitted: SubmitSolution, missing: Missing, spooling: Spooling) {
        let template_id = submitted.template_id;
        let Ok(place) = Arc::clone(&self.look_ups).try_acquire_owned() else {
            return self.refuse(template_id, &format!("{missing:?}, and the disk is busy"));
        };
        let solutions = self.clone();
        self.submissions.follow(async move {
            match spooling.find(template_id).await {
                Some(contents) => {
                    info!(template = template_id, "template found on disk");
                    solutions.submit(submitted, &contents);
                }
                None => solutions.refuse(template_id, &format!("{missing:?}")),
            }
            drop(place);
        });
    }

    fn submit(&self, submitted: SubmitSolution, contents: &Contents) {
        let solution = Solution {
            version: submitted.version,
            header_timestamp: submitted.header_timestamp,
            header_nonce: submitted.header_nonce,
            coinbase_tx: submitted.coinbase_tx.into_bytes(),
        };
        match assemble(contents, &solution) {
            Ok(block) => self.submissions.submit(block),
            Err(error) => self.refuse(submitted.template_id, &error.to_string()),
        }
    }

    fn refuse(&self, template_id: u64, reason: &str) {
        warn!(peer = %self.peer, template = template_id, reason, "solution is no block");
        self.wrong.fetch_add(1, Ordering::Relaxed);
    }
}

impl Host<Session> for Client {
    async fn next_command(&mut self) -> Option<Command> {
        loop {
            if let Some(command) = self.commands.pop_front() {
                return Some(command);
            }
            tokio::select! {
                () = self.hub.shutdown.cancelled() => return None,
                changed = self.hub.offers.changed() => {
                    changed.ok()?;
                    self.offer();
                    self.time_tip();
                }
                () = clock::until(self.owed_at) => self.offer(),
            }
        }
    }

    async fn take_event(&mut self, event: Event) {
        match event {
            Event::SetUp { client } => info!(peer = %self.peer, %client, "client set up"),
            Event::ConstraintsSet(constraints) => {
                debug!(peer = %self.peer, ?constraints, "constraints set");
                let room = room(&constraints);
                self.room = Some(room);
                self.hub.rooms.set(self.peer, room);
                self.offer();
            }
            Event::TemplateSent { template_id, future } => self.note_sent(template_id, future),
            Event::TransactionDataRequested { template_id } => {
                self.give_transaction_data(template_id);
            }
            Event::SolutionSubmitted(solution) => self.take_solution(solution),
        }
    }
}

fn room(constraints: &CoinbaseOutputConstraints) -> Room {
    Room {
        output_bytes: constraints.coinbase_output_max_additional_size,
        output_sigops: constraints.coinbase_output_max_additional_sigops,
    }
}

/// The messages of a template; `None` if it exceeds what they can hold.
fn messages(template: &Template, tip: u64, header_timestamp: u32) -> Option<Command> {
    let contents = &template.contents;
    let new_template = NewTemplate {
        template_id: template.id,
        future_template: true,
        version: contents.version,
        coinbase_tx_version: COINBASE_VERSION,
        coinbase_prefix: Blob::new(contents.coinbase_prefix.clone())?,
        coinbase_tx_input_sequence: COINBASE_SEQUENCE,
        coinbase_tx_value_remaining: contents.value_remaining,
        coinbase_tx_outputs_count: contents.coinbase_outputs_count,
        coinbase_tx_outputs: Blob::new(contents.coinbase_outputs.clone())?,
        coinbase_tx_locktime: coinbase_locktime(contents.height),
        merkle_path: List::new(contents.merkle_path.clone())?,
    };
    let set_new_prev_hash = SetNewPrevHash {
        template_id: template.id,
        prev_hash: contents.prev_hash,
        header_timestamp,
        n_bits: contents.nbits,
        target: Target::from_nbits(contents.nbits)?.to_le_bytes(),
    };
    let offer = session::Offer { tip, new_template, set_new_prev_hash };
    Some(Command::Offer(Box::new(offer)))
}

fn transaction_data(template: &Template) -> Option<RequestTransactionDataSuccess> {
    let all = &template.contents.transactions;
    let all: Option<Vec<_>> = all.iter().map(|one| Blob::new(one.data.clone())).collect();
    Some(RequestTransactionDataSuccess {
        template_id: template.id,
        excess_data: Blob::new(Bytes::from_static(&WITNESS_RESERVED_VALUE))?,
        transaction_list: List::new(all?)?,
    })
}

#[cfg(test)]
mod tests;
