//! What is left out of templates after the node refused one, until it accepts another.
//!
//! A template is published before the node was asked about it, and taken back if the node would
//! refuse its block: less is published, at once, first without transactions, then without the
//! outputs that may be missing as well. From then on nothing fuller goes out on this tip without
//! the node's word for it. It knows no node and builds no template; it only says what is next.

/// How much of what the node offers stands in a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fullness {
    /// True with the node's transactions.
    pub transactions: bool,
    /// True with the outputs of extensions that are not mandatory.
    pub optional_outputs: bool,
}

impl Fullness {
    /// Everything.
    pub const WHOLE: Self = Self { transactions: true, optional_outputs: true };
    /// Without transactions.
    pub const EMPTY: Self = Self { transactions: false, optional_outputs: true };
    /// Without optional outputs.
    pub const PLAIN: Self = Self { transactions: true, optional_outputs: false };
    /// With nothing that can be left out.
    pub const BARE: Self = Self { transactions: false, optional_outputs: false };

    fn holds(self, other: Self) -> bool {
        self.transactions >= other.transactions && self.optional_outputs >= other.optional_outputs
    }

    /// How it differs from the whole, for people.
    pub fn described(self) -> &'static str {
        match (self.transactions, self.optional_outputs) {
            (true, true) => "whole",
            (false, true) => "without transactions",
            (true, false) => "without optional outputs",
            (false, false) => "without transactions and optional outputs",
        }
    }
}

/// A template that the node is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// How full it is.
    pub fullness: Fullness,
    /// True if clients mine on it already, false if it waits for the answer.
    pub is_published: bool,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// Publish the node's last template so full at once, and ask about it.
    Publish(Fullness),
    /// Ask about the node's last template so full, and publish nothing yet.
    Try(Fullness),
    /// Publish what was asked about.
    Release,
    /// The node refuses even the least: it stays published, for there is nothing better.
    Helpless,
}

/// Where the present tip stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    stands: Fullness,
    /// What the last template of the node can do without.
    parts: Fullness,
    /// What was refused of it.
    refused: Vec<Fullness>,
    /// True if what stands published is made of it.
    is_newest: bool,
}

impl Fallback {
    /// A new tip: its template, which has `parts`, is published whole.
    pub fn new_tip(parts: Fullness) -> Self {
        Self { stands: Fullness::WHOLE, parts, refused: Vec::new(), is_newest: true }
    }

    /// The node has another template for the tip.
    pub fn renewed(&mut self, parts: Fullness) -> Step {
        self.parts = parts;
        if self.stands == Fullness::WHOLE {
            return Step::Publish(Fullness::WHOLE);
        }
        self.refused.clear();
        self.is_newest = false;
        self.fuller()
    }

    /// The node accepts what was asked about.
    pub fn accepted(&mut self, question: Question) -> Step {
        if question.is_published {
            return self.fuller();
        }
        self.stands = question.fullness;
        self.is_newest = true;
        Step::Release
    }

    /// The node refuses it.
    pub fn refused(&mut self, question: Question) -> Step {
        self.refused.push(question.fullness);
        if !question.is_published {
            return self.fuller();
        }
        let less = [Fullness::EMPTY, Fullness::PLAIN, Fullness::BARE].into_iter();
        let less = less.map(|less| self.possible(less));
        let mut less = less.filter(|less| self.stands.holds(*less));
        match less.find(|less| !self.refused.contains(less)) {
            Some(less) => {
                self.stands = less;
                Step::Publish(less)
            }
            None => Step::Helpless,
        }
    }

    /// How full the published template is.
    pub fn stands(&self) -> Fullness {
        self.stands
    }

    /// The fullest that may do and was not refused yet.
    fn fuller(&self) -> Step {
        let all = [Fullness::WHOLE, Fullness::PLAIN, Fullness::EMPTY].into_iter();
        let mut all = all.map(|fullness| self.possible(fullness));
        let is_better = |fullness: &Fullness| {
            let is_fuller = *fullness != self.stands && fullness.holds(self.stands);
            // The same parts of a newer template pay more, if these are transactions.
            let is_renewed = *fullness == self.stands && !self.is_newest && fullness.transactions;
            (is_fuller || is_renewed) && !self.refused.contains(fullness)
        };
        all.find(is_better).map_or(Step::Rest, Step::Try)
    }

    /// What cannot be left out stays.
    fn possible(&self, wanted: Fullness) -> Fullness {
        Fullness {
            transactions: wanted.transactions || !self.parts.transactions,
            optional_outputs: wanted.optional_outputs || !self.parts.optional_outputs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Fullness as F;

    fn published(fullness: Fullness) -> Question {
        Question { fullness, is_published: true }
    }

    fn tried(fullness: Fullness) -> Question {
        Question { fullness, is_published: false }
    }

    #[test]
    fn an_accepted_tip_publishes_everything_without_asking() {
        let mut tip = Fallback::new_tip(F::WHOLE);
        assert_eq!(tip.accepted(published(F::WHOLE)), Step::Rest);
        assert_eq!(tip.renewed(F::WHOLE), Step::Publish(F::WHOLE));
    }

    #[test]
    fn a_refused_template_loses_its_transactions_first_then_the_optional_outputs() {
        let mut tip = Fallback::new_tip(F::WHOLE);
        assert_eq!(tip.refused(published(F::WHOLE)), Step::Publish(F::EMPTY));
        assert_eq!(tip.refused(published(F::EMPTY)), Step::Publish(F::BARE));
        assert_eq!(tip.refused(published(F::BARE)), Step::Helpless);
        assert_eq!(tip.stands(), F::BARE);
    }

    #[test]
    fn only_what_is_there_is_left_out() {
        let mut outputs = Fallback::new_tip(F::EMPTY);
        assert_eq!(outputs.refused(published(F::WHOLE)), Step::Publish(F::PLAIN));
        assert_eq!(outputs.refused(published(F::PLAIN)), Step::Helpless);
        let mut transactions = Fallback::new_tip(F::PLAIN);
        assert_eq!(transactions.refused(published(F::WHOLE)), Step::Publish(F::EMPTY));
        assert_eq!(transactions.refused(published(F::EMPTY)), Step::Helpless);
        let mut nothing = Fallback::new_tip(F::BARE);
        assert_eq!(nothing.refused(published(F::WHOLE)), Step::Helpless);
    }

    #[test]
    fn after_a_refusal_nothing_fuller_goes_out_without_the_nodes_word() {
        let mut tip = Fallback::new_tip(F::WHOLE);
        tip.refused(published(F::WHOLE));
        assert_eq!(tip.accepted(published(F::EMPTY)), Step::Rest, "the whole was refused");
        assert_eq!(tip.renewed(F::WHOLE), Step::Try(F::WHOLE));
        assert_eq!(tip.refused(tried(F::WHOLE)), Step::Rest);
        assert_eq!((tip.renewed(F::WHOLE), tip.stands()), (Step::Try(F::WHOLE), F::EMPTY));
        assert_eq!((tip.accepted(tried(F::WHOLE)), tip.stands()), (Step::Release, F::WHOLE));
        assert_eq!(tip.renewed(F::WHOLE), Step::Publish(F::WHOLE));
    }

    #[test]
    fn transactions_come_back_if_it_was_the_optional_outputs() {
        let mut tip = Fallback::new_tip(F::WHOLE);
        tip.refused(published(F::WHOLE));
        tip.refused(published(F::EMPTY));
        assert_eq!(tip.accepted(published(F::BARE)), Step::Try(F::PLAIN));
        assert_eq!((tip.accepted(tried(F::PLAIN)), tip.stands()), (Step::Release, F::PLAIN));
        // The next template: perhaps the outputs are right now, and if not, it still pays more.
        assert_eq!(tip.renewed(F::WHOLE), Step::Try(F::WHOLE));
        assert_eq!(tip.refused(tried(F::WHOLE)), Step::Try(F::PLAIN));
        assert_eq!(tip.accepted(tried(F::PLAIN)), Step::Release);
        assert_eq!(tip.renewed(F::WHOLE), Step::Try(F::WHOLE));
        assert_eq!((tip.accepted(tried(F::WHOLE)), tip.stands()), (Step::Release, F::WHOLE));
    }

    #[test]
    fn whatever_the_node_says_it_is_asked_a_bounded_number_of_times_for_one_template() {
        // Each bit is an answer.
        for (answers, parts) in (0..64_u32).flat_map(|answers| {
            [F::WHOLE, F::EMPTY, F::PLAIN, F::BARE].map(|parts| (answers, parts))
        }) {
            let mut tip = Fallback::new_tip(parts);
            let mut question = Some(published(F::WHOLE));
            for asked in 0..7 {
                let Some(now) = question else { break };
                assert!(asked < 6, "{answers:b} {parts:?}");
                let step = match answers >> asked & 1 == 1 {
                    true => tip.accepted(now),
                    false => tip.refused(now),
                };
                question = match step {
                    Step::Publish(fullness) => Some(published(fullness)),
                    Step::Try(fullness) => Some(tried(fullness)),
                    Step::Rest | Step::Release | Step::Helpless => None,
                };
            }
        }
    }
}
