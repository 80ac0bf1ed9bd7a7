//! Whom blocks pay, seen in the node's chain.

use testkit::world::{Plan, Route};

use crate::{SOON, alone};

#[test]
fn a_block_pays_its_finder_and_the_pool_its_fee() -> anyhow::Result<()> {
    let _alone = alone();
    let mut world = Plan::for_test()?.where_finders_are_paid(250).start()?;
    let finder = world.node.new_address()?;
    let from = world.pool.program.log().end();
    let _device = world.start_device(Route::V2Extended, &format!("{finder}.rig"))?;
    let block = world.wait_for_block(&format!("{finder}.rig"), from, SOON)?;
    let (paid, fee) = (block.check_payout(&finder)?, block.check_payout(&world.payout_address)?);
    assert_eq!(fee.to_sat(), (paid + fee).to_sat() * 250 / 10_000);
    block.check_witness_commitment()?;
    Ok(())
}
