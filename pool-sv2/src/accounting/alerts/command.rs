//! `pool-sv2 alert test`: one message, now, and what came back.

use clap::{Args, Subcommand};
use service::clock;
use service::config::ConfigError;
use service::program::{Failure, Sources, say};

use super::message::Message;
use crate::app::Pool;

/// `pool-sv2 alert …`.
#[derive(Debug, Subcommand)]
pub enum AlertCommand {
    /// Send one message to a receiver of the settings, and say what his service answers.
    Test(TestArguments),
}

/// `pool-sv2 alert test`.
#[derive(Debug, Args)]
pub struct TestArguments {
    /// The receiver's name in the settings.
    name: String,
    #[command(flatten)]
    sources: Sources,
}

/// Carries out `command`.
pub fn execute(command: &AlertCommand) -> Result<(), Failure> {
    let AlertCommand::Test(TestArguments { name, sources }) = command;
    let (config, _) = sources.read::<Pool>()?;
    let wording = config.alerts.wording(&config.coin, config.payout.network.name());
    let mut receivers = config.alerts.receivers()?;
    let names: Vec<_> = receivers.iter().map(|receiver| receiver.name.clone()).collect();
    let place = receivers.iter().position(|receiver| receiver.name == *name);
    let Some(receiver) = place.map(|place| receivers.swap_remove(place)) else {
        let remedy = match names.is_empty() {
            true => "there is none; config/pool-sv2.toml has examples".to_owned(),
            false => format!("{name} is none of them: {}", names.join(", ")),
        };
        return Err(ConfigError::unusable("alerts.receiver", remedy).into());
    };
    let id = format!("test-{}", clock::unix_now_milliseconds());
    match receiver.outlet.send(&Message::test(id, name, &wording)) {
        Ok(said) => {
            say(format_args!("{name} has taken it: {said}"));
            Ok(())
        }
        Err(refused) => Err(Failure::Usage(format!("{name} has not taken it: {}", refused.reason))),
    }
}
