//! The translator's pages: what a farm's technician looks at.

use anyhow::ensure;
use testkit::world::{Plan, Route, World};

use super::browser::{Browser, Look};
use super::{DESK, SOON, pictures};

fn world() -> anyhow::Result<World> {
    Plan::for_test()?.with_translator().start()
}

fn pages(world: &World) -> &str {
    world.translator_pages.as_deref().unwrap_or_default()
}

#[tokio::test]
async fn the_translators_page_shows_its_miners_while_they_mine() -> anyhow::Result<()> {
    let mut browser = Browser::start().await?;
    let world = tokio::task::spawn_blocking(world).await??;
    browser.look(Look { size: DESK, scheme: "light" }).await?;
    browser.go_to(pages(&world)).await?;
    browser.wait_for("#live-state[data-state=live]", SOON).await?;
    let empty = browser.text("#miners").await?;
    ensure!(empty.contains("Nobody here"), "{empty}");
    browser.wait_for("#upstreams .state.good", SOON).await?;
    let upstreams = browser.text("#upstreams").await?;
    let address = world.pool.address();
    ensure!(upstreams.contains(address) && upstreams.contains("one channel"), "{upstreams}");

    // Nobody loads the page again: miners and their shares appear by themselves.
    let name = world.node.new_address()?;
    let _devices = [
        world.start_device(Route::V1, &format!("{name}.rig-1"))?,
        world.start_device(Route::V1, &format!("{name}.rig-2"))?,
    ];
    browser.wait_for("#miners tbody tr:nth-of-type(2)", SOON).await?;
    let miners = browser.text("#miners tbody").await?;
    ensure!(miners.contains("rig-1") && miners.contains("rig-2"), "{miners}");
    // A verdict of the pool has come, and was shown in both places.
    browser.wait_for("#rejects dl", SOON).await?;
    wait_for_text(&mut browser, "#upstreams", "verdicts after").await?;
    wait_for_text(&mut browser, "#miners tbody", " ms").await?;
    // Five shares of each, and its hashrate is no guess any more.
    wait_for_text(&mut browser, "#miners tbody tr:nth-of-type(1)", "kH/s").await?;
    wait_for_text(&mut browser, "#miners tbody tr:nth-of-type(2)", "kH/s").await?;
    pictures(&mut browser, "translator").await?;

    // A miner is found as a person finds it.
    browser.look(Look { size: DESK, scheme: "light" }).await?;
    browser.type_into("#find", "RIG-2").await?;
    browser.click("form.find button").await?;
    wait_for_text(&mut browser, "#miners", "with “RIG-2”").await?;
    let found = browser.text("#miners tbody").await?;
    ensure!(found.contains("rig-2") && !found.contains("rig-1"), "{found}");
    let complaints = browser.complaints().await?;
    ensure!(complaints.is_empty(), "the browser's console says:\n{}", complaints.join("\n"));
    browser.close().await
}

#[tokio::test]
async fn without_a_script_the_translators_page_is_whole() -> anyhow::Result<()> {
    let mut browser = Browser::start_without_scripts().await?;
    let world = tokio::task::spawn_blocking(world).await??;
    browser.go_to(pages(&world)).await?;
    let page = browser.text("body").await?;
    ensure!(page.contains("Nobody here") && page.contains("As of now"), "{page}");
    ensure!(page.contains(world.pool.address()), "{page}");
    browser.type_into("#find", "nobody").await?;
    browser.click("form.find button").await?;
    let page = browser.wait_for("main .empty", SOON).await?;
    ensure!(page.contains("Nobody found"), "{page}");
    browser.close().await
}

/// Waits until the element says it.
async fn wait_for_text(browser: &mut Browser, css: &str, text: &str) -> anyhow::Result<()> {
    let deadline = std::time::Instant::now() + SOON;
    loop {
        let said = browser.text(css).await?.replace('\u{a0}', " ");
        if said.contains(text) {
            return Ok(());
        }
        ensure!(std::time::Instant::now() < deadline, "{css} never says {text}: {said}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
