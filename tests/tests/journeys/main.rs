//! Journeys through the real programs and a real node: what a person would try, on one machine.
//!
//! Nothing here sleeps to let something happen: a journey waits for a log event or for the node's
//! chain, up to a deadline. Where a program is killed, it is by SIGKILL.

mod blocks;
mod demo;
mod init;
mod losses;
mod metrics;
mod payouts;
mod ports;
mod shielded;
mod templates;
mod tips;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use testkit::block::MinedBlock;
use testkit::log::{Event, Mark};
use testkit::program::Program;
use testkit::world::{COINBASE_TAG, Plan, Route, TRANSLATOR_USER, World};

/// Much longer than anything takes; a machine under load may use it up.
const SOON: Duration = Duration::from_secs(20);

/// One journey at a time, where no nextest sees to it.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A world with one device that mines.
struct Mining {
    world: World,
    device: Program,
    /// As which the pool knows the device.
    user: &'static str,
    /// Last, so that the next journey begins when everything of this one has ended.
    _alone: MutexGuard<'static, ()>,
}

impl Mining {
    fn start(route: Route) -> anyhow::Result<Self> {
        let alone = alone();
        let plan = Plan::for_test()?;
        let (plan, user) = match route {
            Route::V1 => (plan.with_translator(), TRANSLATOR_USER),
            Route::V2Extended | Route::V2Standard => (plan, "device"),
        };
        let world = plan.start()?;
        let device = world.start_device(route, "device")?;
        Ok(Self { world, device, user, _alone: alone })
    }

    /// The device's next block after `from`, in the node's chain.
    fn next_block(&mut self, from: Mark) -> anyhow::Result<MinedBlock> {
        self.world.wait_for_block(self.user, from, SOON)
    }

    /// A block of the device that is found from now on.
    fn block_from_now_on(&mut self) -> anyhow::Result<MinedBlock> {
        let now = self.world.pool.program.log().end();
        self.next_block(now)
    }
}

/// What every block of the pool must show.
fn check_is_of_the_pool(world: &World, block: &MinedBlock) -> anyhow::Result<()> {
    block.check_tag(COINBASE_TAG)?;
    block.check_payout(&world.payout_address)?;
    block.check_witness_commitment()?;
    Ok(())
}

fn says(message: &str) -> impl Fn(&Event) -> bool {
    move |event| event.is(message)
}
