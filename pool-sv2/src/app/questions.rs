//! Lets other programs ask what the store knows, and what is mined at the moment.

use std::sync::Arc;

use service::config::ConfigError;
use service::health::Health;
use service::questions::{Question, Questions};
use tokio::sync::watch;

use crate::accounting::api::{Api, Chain};
use crate::config::Config;
use crate::work::Work;

/// The same health, with answers below /api if the settings want them.
pub(super) fn answered(
    health: Health,
    config: &Config,
    work: watch::Receiver<Option<Arc<Work>>>,
) -> Result<Health, ConfigError> {
    if !config.api.enabled {
        return Ok(health);
    }
    let chain = move || {
        let work = work.borrow().clone()?;
        let (tip, template) = (&work.job.tip, &work.job.template);
        Some(Chain { height: template.height(), difficulty: tip.target.difficulty() })
    };
    let api =
        Api::new(&config.ledger.store_file(), config.payout.fee_basis_points, Box::new(chain));
    let questions = Questions::new(
        config.api.cors_origin.as_deref(),
        Arc::new(move |question: &Question| api.answer(question)),
    );
    let questions =
        questions.map_err(|error| ConfigError::unusable("api.cors_origin", error.to_string()))?;
    Ok(health.with_questions(questions))
}
