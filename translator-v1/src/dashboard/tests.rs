//! The pages against a register and pools as a farm fills them.

use std::time::Duration;

use super::*;
use crate::pools::PoolState;
use crate::register::Registered;

struct Farm {
    register: Register,
    pools: Pools,
    dashboard: Dashboard,
}

fn farm() -> Farm {
    let register = Register::default();
    let addresses = ["pool.example:34254", "backup.example:34254"].map(str::to_owned);
    let pools = Pools::new(&["upstream", "upstream 2"], addresses);
    let dashboard = Dashboard::new(register.clone(), pools.clone(), "one channel for all miners");
    Farm { register, pools, dashboard }
}

fn enter(register: &Register, number: u16, worker: &str) -> Registered {
    let entry = register.enter(([10, 0, 0, 7], number).into());
    entry.authorized(worker, "\"a&b\"");
    entry
}

fn visit(path: &str) -> Visit {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let parameters = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Visit { path: path.to_owned(), parameters, host: None }
}

/// What a page says, with plain spaces.
fn shown(dashboard: &Dashboard, path: &str) -> String {
    match dashboard.show(&visit(path)) {
        View::Page(html) => html.replace(['\u{a0}', '\u{202f}'], " "),
        other => panic!("{path}: {other:?}"),
    }
}

fn says(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "no {part} in {page}");
    }
}

#[test]
fn an_empty_farm_says_so_and_shows_no_number_that_means_nothing() {
    let page = shown(&farm().dashboard, "/");
    says(&page, &["Nobody here", "No share yet", "No upstream gives work", "one channel for all"]);
    assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
}

#[test]
fn the_page_shows_miners_and_pools_and_takes_no_code_from_names() {
    let Farm { register, pools, dashboard } = farm();
    let entry = enter(&register, 1, "<script>alert</script>");
    entry.hashrate(1.5e12);
    entry.difficulty(512.0);
    (0..4).for_each(|_| entry.accepted(true));
    entry.refused("stale");
    says(&shown(&dashboard, "/"), &["not known yet", ">0 H/s<", "20.00 %"]);
    entry.accepted(true);
    entry.waited(Duration::from_millis(7));
    pools.set(0, PoolState::MinedOn, "");
    pools.set(1, PoolState::Gone, "connection refused");
    pools.waited(0, Duration::from_millis(3));
    let page = shown(&dashboard, "/");
    says(
        &page,
        &[
            "1.50 TH/s",
            "over 5 minutes or so",
            "&lt;script&gt;",
            "&quot;a&amp;b&quot;",
            "pool.example:34254",
            "mined on",
            "verdicts after 3.0 ms",
            "connection refused",
            "Stale: found before a new block",
            "16.66 %",
            "7.0 ms",
            "512",
        ],
    );
    assert!(!page.contains("<script>alert"));
    says(&page, &["id=\"warnings\" hidden"]);
}

#[test]
fn miners_whose_shares_may_all_be_wrong_are_warned_of_by_kind() {
    let Farm { register, pools, dashboard } = farm();
    pools.set(0, PoolState::MinedOn, "");
    let (a, b) = (enter(&register, 1, "a"), enter(&register, 2, "b"));
    a.too_long(("nerdminer", 255), 300);
    b.too_long(("nerdminer", 255), 310);
    let page = shown(&dashboard, "/");
    says(&page, &["2 miners of the kind nerdminer were sent a coinbase of 310 bytes"]);
    says(&page, &["can hold (255 bytes)", "cannot hold the coinbase of 300 bytes"]);
    assert!(!page.contains("id=\"warnings\" hidden"));
}

#[test]
fn no_page_grows_with_the_farm() {
    let Farm { register, dashboard, .. } = farm();
    let _entries: Vec<_> =
        (0..10_000).map(|number| enter(&register, number, &format!("w{number}"))).collect();
    for path in ["/", "/miners", "/miners?after=49", "/miners?find=w"] {
        let page = shown(&dashboard, path);
        assert_eq!(page.matches("<tr>").count(), 1 + miners::ROWS_MAX, "{path}");
        assert!(page.len() < 64 * 1024, "{path}: {}", page.len());
    }
    let first = shown(&dashboard, "/miners?find=w");
    says(&first, &["href=\"/miners?find=w&amp;after=49\"", "value=\"w\""]);
    says(&shown(&dashboard, "/"), &["10 000"]);
    let last = shown(&dashboard, "/miners?after=9949");
    says(&last, &["w9999", "All miners"]);
    assert!(!last.contains("Next 50"));
    says(&shown(&dashboard, "/miners?find=w4711"), &["w4711", "All miners"]);
    says(&shown(&dashboard, "/miners?find=nobody"), &["Nobody found"]);
}

#[test]
fn what_changes_while_somebody_looks_is_sent_by_its_part() {
    let Farm { register, dashboard, .. } = farm();
    let before = dashboard.parts(&visit("/"));
    let ids: Vec<_> = before.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, ["glance", "warnings", "upstreams", "rejects", "miners"]);
    let entry = enter(&register, 1, "a");
    entry.accepted(true);
    let after = dashboard.parts(&visit("/"));
    let changed: Vec<_> =
        after.iter().filter(|part| !before.contains(part)).map(|(id, _)| *id).collect();
    assert_eq!(changed, ["glance", "rejects", "miners"]);
    assert!(dashboard.parts(&visit("/assets/live.js")).is_empty());
    assert!(matches!(dashboard.show(&visit("/nothing")), View::Missing(_)));
    assert!(matches!(dashboard.show(&visit("/assets/style.css")), View::File { .. }));
}
