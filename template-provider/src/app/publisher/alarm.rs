//! Tells people that the node would refuse what miners find: in the log, in `/health` and in
//! `/metrics`.

use service::advice;
use service::health::Health;
use service::metrics::{Counter, Metrics};
use tracing::{debug, error, info};

use super::inquiry::Heard;
use crate::templates::fallback::{Fullness, Question};

/// The name of the templates in `/health`, beside the neighbours.
const TEMPLATES: &str = "templates";

/// Who is told.
#[derive(Debug)]
pub(in crate::app) struct Alarm {
    health: Health,
    accepted: Counter,
    refused: Counter,
    unknown: Counter,
}

impl Alarm {
    pub(in crate::app) fn new(health: Health, metrics: &Metrics) -> Self {
        let help = "Templates that were shown to the node as blocks";
        let verdicts = metrics.counters("proposals", help, "verdict");
        Self {
            health,
            accepted: verdicts.with("accepted"),
            refused: verdicts.with("refused"),
            unknown: verdicts.with("unknown"),
        }
    }

    /// The node was asked about a template; `stands` is what is published now.
    pub(super) fn heard(&self, question: Question, heard: &Heard, stands: Fullness) {
        let Question { fullness, is_published } = question;
        match heard {
            Heard::Accepted => {
                self.accepted.inc();
                if fullness == Fullness::WHOLE {
                    self.health.found(TEMPLATES, "the node accepts them");
                }
                match is_published {
                    true => debug!("the node accepts the template"),
                    false => info!(template = fullness.described(), "fuller template published"),
                }
            }
            Heard::Refused(reason) => {
                self.refused.inc();
                let (refused, now) = (fullness.described(), stands.described());
                if !is_published {
                    return debug!(refused, %reason, "the node still refuses a fuller template");
                }
                error!(code = advice::TEMPLATE_REFUSED,
                    refused, now, %reason, "the node would refuse blocks of the template");
                let detail = format!("published {now}: the node refuses them {refused}: {reason}");
                self.health.lost(TEMPLATES, detail);
            }
            Heard::Nothing => {
                self.unknown.inc();
            }
        }
    }
}
