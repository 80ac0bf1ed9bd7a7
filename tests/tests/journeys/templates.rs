//! Templates follow the mempool.

use testkit::log::Mark;
use testkit::world::{Plan, Route};

use super::{SOON, alone, check_is_of_the_pool};

#[test]
fn a_transaction_that_pays_gets_into_the_next_block_with_a_right_commitment() -> anyhow::Result<()>
{
    let _alone = alone();
    // No device yet: the template must change while the tip stays.
    let mut world = Plan::for_test()?.start()?;
    let before = world.template_provider.program.log().end();
    let transaction = world.node.pay_itself(100)?;
    let provider = &mut world.template_provider.program;
    provider.wait_for_log(before, SOON, "a template with the payment", |event| {
        event.is("template sent") && event.number("transactions") == Some(1)
    })?;
    let _device = world.start_device(Route::V2Extended, "device")?;
    let block = world.wait_for_block("device", Mark::default(), SOON)?;
    assert!(block.contains(&transaction)?, "the first block lacks the payment");
    check_is_of_the_pool(&world, &block)?;
    Ok(())
}
