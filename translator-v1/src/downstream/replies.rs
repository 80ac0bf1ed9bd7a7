//! Answers to `mining.submit`, in the order of the requests.
//!
//! Some clients use one id for all their shares (rule 2), so an answer must not overtake another.

use std::collections::VecDeque;
use std::sync::Arc;

use wire::sv1::request::Id;

use super::SHARES_WAITING_MAX;
use crate::bridge::submit::ShareError;

/// Shares that may wait for their turn to be answered, those among them that were refused because
/// too many wait; with so many the miner is not read. A block that it finds waits in its socket
/// then, which takes an upstream that answers nothing and a far too low difficulty.
const REPLIES_MAX: usize = 2 * SHARES_WAITING_MAX;

/// The answer to one share.
pub(super) type Answer = Result<(), ShareError>;

/// A share that was not answered yet.
#[derive(Debug)]
pub(super) struct Reply {
    /// To be echoed.
    pub(super) id: Id,
    /// Who sent it.
    pub(super) worker: Arc<str>,
    /// Difficulty of its job.
    pub(super) difficulty: f64,
    /// True if the upstream judges it.
    pub(super) is_upstreams: bool,
    answer: Option<Answer>,
}

/// Shares that were not answered yet.
#[derive(Debug, Default)]
pub(super) struct Replies {
    waiting: VecDeque<Reply>,
    /// The ticket of the first one.
    first: u64,
}

impl Replies {
    /// True if no further share may wait for the upstream.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= SHARES_WAITING_MAX
    }

    /// True if no further share is to be read.
    pub(super) fn is_over(&self) -> bool {
        self.waiting.len() >= REPLIES_MAX
    }

    /// Takes a share; gives its ticket.
    pub(super) fn push(&mut self, id: Id, worker: Arc<str>, difficulty: f64) -> u64 {
        let length = u64::try_from(self.waiting.len()).unwrap_or(u64::MAX);
        let (is_upstreams, answer) = (false, None);
        self.waiting.push_back(Reply { id, worker, difficulty, is_upstreams, answer });
        self.first.wrapping_add(length)
    }

    /// The share that was pushed last goes to the upstream.
    pub(super) fn last_goes_up(&mut self) {
        if let Some(reply) = self.waiting.back_mut() {
            reply.is_upstreams = true;
        }
    }

    /// Notes the answer to a share; the first one counts.
    pub(super) fn decide(&mut self, ticket: u64, answer: Answer) {
        let index = usize::try_from(ticket.wrapping_sub(self.first)).unwrap_or(usize::MAX);
        if let Some(reply) = self.waiting.get_mut(index) {
            reply.answer.get_or_insert(answer);
        }
    }

    /// Takes the next share whose turn it is and whose answer is known.
    pub(super) fn pop(&mut self) -> Option<(Reply, Answer)> {
        let mut reply = self.waiting.pop_front_if(|reply| reply.answer.is_some())?;
        self.first = self.first.wrapping_add(1);
        let answer = reply.answer.take()?;
        Some((reply, answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_keep_the_order_of_the_requests() {
        let mut replies = Replies::default();
        let mut push = |id: u64| replies.push(id.into(), "w".into(), 1.0);
        let (first, second) = (push(4), push(4));
        replies.decide(second, Err(ShareError::new(21, "x")));
        assert!(replies.pop().is_none());
        replies.decide(first, Ok(()));
        replies.decide(first, Err(ShareError::new(20, "late")));
        assert_eq!(replies.pop().unwrap().1, Ok(()));
        assert!(replies.pop().unwrap().1.is_err());
        assert!(replies.pop().is_none());
        let third = replies.push(5.into(), "w".into(), 1.0);
        assert_eq!(third, second + 1);
        replies.decide(first, Ok(()));
        assert!(replies.pop().is_none(), "an old ticket answers nothing new");
    }
}
