//! The pages in a real browser: Chromium, over WebDriver, while the stack mines.
//!
//! Needs `chromedriver` on the PATH, or $CHROMEDRIVER, and Chromium beside it (Debian: chromium,
//! chromium-driver). Without them the test fails and says so, as those do that need a node.
//! With $SCREENSHOTS it saves what it sees in that folder: docs/images has them.

#![allow(clippy::print_stderr, reason = "a test may say what it means")]

mod browser;
mod translator;

use std::time::Duration;

use anyhow::{Context, ensure};
use browser::{Browser, Look};
use testkit::world::{Paying, Plan, Route, World};

/// Much longer than anything takes; a machine under load may use it up.
const SOON: Duration = Duration::from_secs(60);
const DESK: (u32, u32) = (1_280, 900);
const PHONE: (u32, u32) = (390, 844);

/// A stack that shares its blocks, without miners.
fn world() -> anyhow::Result<World> {
    Plan::for_test()?.with_translator().paying(Paying::All { fee: 200, outputs_max: 100 }).start()
}

#[tokio::test]
async fn the_pages_show_what_happens_while_it_happens() -> anyhow::Result<()> {
    let mut browser = Browser::start().await?;
    let world = tokio::task::spawn_blocking(world).await??;
    browser.look(Look { size: DESK, scheme: "light" }).await?;
    browser.go_to(&world.dashboard).await?;
    browser.wait_for("#live-state[data-state=live]", SOON).await?;
    let empty = browser.text("#miners").await?;
    ensure!(empty.contains("No share yet") && empty.contains(&world.pool.url), "{empty}");
    browser.keep("overview-empty.png").await?;

    // Nobody loads the page again: the first block appears by itself.
    let miner = world.node.new_address()?;
    let name = format!("{miner}.rig");
    let _devices = [
        world.start_device(Route::V2Extended, &name)?,
        world.start_device(Route::V2Standard, &format!("{miner}.spare"))?,
    ];
    let first = browser.wait_for("#blocks tr[data-block]", SOON).await?;
    ensure!(first.contains("rig") || first.contains("spare"), "{first}");
    browser.wait_for("#miners tbody tr", SOON).await?;
    // A hashrate is worth a picture once some shares stand behind it.
    browser.wait_for("#blocks tr[data-block]:nth-of-type(6)", SOON).await?;
    browser.wait_for("#blocks .state.good", SOON).await?;
    browser.wait_for("#rates svg .bar", SOON).await?;
    pictures(&mut browser, "overview").await?;

    // To the miner's page as a person gets there.
    browser.look(Look { size: DESK, scheme: "light" }).await?;
    browser.click("#miners tbody a").await?;
    browser.wait_for("#workers tbody tr", SOON).await?;
    ensure!(browser.text("#miner-title").await? == miner);
    let workers = browser.text("#workers").await?;
    ensure!(workers.contains("rig") && workers.contains("spare"), "{workers}");
    browser.wait_for("#payouts tbody tr", SOON).await?;
    let proof = browser.fetch("#payouts a[download]").await?;
    ensure!(proof.contains("\"account\"") && proof.contains(&miner), "{proof}");
    pictures(&mut browser, "miner").await?;

    browser.look(Look { size: DESK, scheme: "light" }).await?;
    browser.go_to(&format!("{}blocks", world.dashboard)).await?;
    browser.wait_for("#blocks tr[data-block]", SOON).await?;
    pictures(&mut browser, "blocks").await?;
    let complaints = browser.complaints().await?;
    ensure!(complaints.is_empty(), "the browser's console says:\n{}", complaints.join("\n"));
    browser.close().await
}

/// The page on a desk and on a phone, by day and by night; on none of them is it wider than its
/// window.
async fn pictures(browser: &mut Browser, page: &str) -> anyhow::Result<()> {
    for (size, device) in [(DESK, "desk"), (PHONE, "phone")] {
        for scheme in ["light", "dark"] {
            browser.look(Look { size, scheme }).await?;
            let width = browser.content_width().await?;
            ensure!(width <= size.0, "{page} on a {device} is {width} wide, not {}", size.0);
            browser.check_names().await.with_context(|| page.to_owned())?;
            // Of the further pages two pictures are enough.
            if page == "overview"
                || [("desk", "light"), ("phone", "dark")].contains(&(device, scheme))
            {
                browser.keep(&format!("{page}-{device}-{scheme}.png")).await?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn without_a_script_the_pages_are_whole() -> anyhow::Result<()> {
    let mut browser = Browser::start_without_scripts().await?;
    let world = tokio::task::spawn_blocking(world).await??;
    browser.go_to(&world.dashboard).await?;
    let page = browser.text("body").await?;
    ensure!(page.contains("No share yet") && page.contains("As of now"), "{page}");
    ensure!(page.contains("Mined now") && page.contains(&world.pool.url), "{page}");
    browser.type_into("#account", "nobody").await?;
    browser.click("form.find button").await?;
    let page = browser.wait_for("main .empty", SOON).await?;
    ensure!(page.contains("No share of nobody"), "{page}");
    browser.close().await
}
