//! The program's side of one client: what its session asks for comes from the store, what it finds
//! goes to the node.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use mining::target::Target;
use service::clock;
use service::driver::Host;
use tracing::{debug, info, warn};
use wire::sv2::codec::{Blob, List};
use wire::sv2::template::{
    CoinbaseOutputConstraints, ERROR_STALE_TEMPLATE_ID, ERROR_TEMPLATE_ID_NOT_FOUND, NewTemplate,
    RequestTransactionDataError, RequestTransactionDataSuccess, SetNewPrevHash, SubmitSolution,
};

use super::Hub;
use crate::server::session::{self, Command, Event, Session};
use crate::templates::assemble::{Solution, assemble};
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
    wrong_solutions: u32,
}

impl Client {
    /// A client that has said nothing yet.
    pub(super) fn new(peer: SocketAddr, hub: Hub) -> Self {
        let (commands, held) = (VecDeque::new(), VecDeque::new());
        Self { peer, hub, room: None, commands, last_id: 0, held, wrong_solutions: 0 }
    }

    /// Queues the present template, if there is one and the client said what it needs.
    fn offer(&mut self) {
        let Some(offer) = self.hub.offers.borrow_and_update().clone() else { return };
        let Some(room) = self.room else { return };
        let now = clock::now();
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
            Err(error) => {
                warn!(peer = %self.peer, %error, "no template for this client");
                self.close("no template can be made for its constraints");
            }
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

    async fn take_solution(&mut self, submitted: SubmitSolution) {
        let template_id = submitted.template_id;
        let found = self.hub.store.find(clock::now(), template_id);
        let contents = match found {
            Ok(template) => template.contents,
            Err(missing) => match self.hub.spooling.find(template_id).await {
                Some(contents) => {
                    info!(template = template_id, "template found on disk");
                    Arc::new(contents)
                }
                None => return self.refuse_solution(template_id, &format!("{missing:?}")),
            },
        };
        let solution = Solution {
            version: submitted.version,
            header_timestamp: submitted.header_timestamp,
            header_nonce: submitted.header_nonce,
            coinbase_tx: submitted.coinbase_tx.into_bytes(),
        };
        match assemble(&contents, &solution) {
            Ok(block) => self.hub.submissions.submit(block),
            Err(error) => self.refuse_solution(template_id, &error.to_string()),
        }
    }

    fn refuse_solution(&mut self, template_id: u64, reason: &str) {
        warn!(peer = %self.peer, template = template_id, reason, "solution is no block");
        self.wrong_solutions += 1;
        if self.wrong_solutions >= WRONG_SOLUTIONS_MAX {
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
            Event::SolutionSubmitted(solution) => self.take_solution(solution).await,
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
