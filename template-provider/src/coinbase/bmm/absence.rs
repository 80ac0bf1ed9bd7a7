//! Why there is no h* to put into a template: the words that logs and metrics share.

/// Why a slot has no M7 of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Absence {
    /// The source was not yet heard of this tip.
    Waiting,
    /// The source cannot be reached, or makes no sense.
    Failed,
    /// The source's h* is for a block on another tip.
    Stale,
    /// The source's h* is all zeros: a side block that does not exist.
    Zero,
    /// Somebody else's M7 for the slot is there already: a block may hold only one.
    Taken,
}

impl Absence {
    /// For logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Failed => "failed",
            Self::Stale => "stale",
            Self::Zero => "zero",
            Self::Taken => "taken",
        }
    }
}
