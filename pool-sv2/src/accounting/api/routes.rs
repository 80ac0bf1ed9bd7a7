//! Which endpoints there are. A test holds `openapi.json` against this list.

use serde_json::Value;

use super::{Api, Asked, Refusal};

/// What stands in the place of a path's `{…}`, in their order.
type Captured<'a> = [&'a str; PARTS_MAX];
/// The most of them in one path.
const PARTS_MAX: usize = 3;

/// One endpoint.
pub(super) struct Route {
    /// Without the first slash; `{…}` stands for any one part that is not empty.
    pub(super) path: &'static str,
    pub(super) handler: Handler,
}

/// Who answers.
pub(super) enum Handler {
    /// Without a look into the store.
    Api(fn(&Api, Captured<'_>) -> Result<Answer, Refusal>),
    /// With it.
    Store(fn(&Asked<'_>, Captured<'_>) -> Result<Answer, Refusal>),
}

/// What is answered.
pub(super) enum Answer {
    Json(Value),
    /// JSON as it is.
    Document(&'static str),
    Text(String),
}

const fn api(
    path: &'static str,
    answer: fn(&Api, Captured<'_>) -> Result<Answer, Refusal>,
) -> Route {
    Route { path, handler: Handler::Api(answer) }
}

const fn store(
    path: &'static str,
    answer: fn(&Asked<'_>, Captured<'_>) -> Result<Answer, Refusal>,
) -> Route {
    Route { path, handler: Handler::Store(answer) }
}

/// Of two that fit, the first one answers.
pub(super) const ROUTES: [Route; 33] = [
    api("api/v1/openapi.json", |_, _| Ok(Answer::Document(super::OPENAPI))),
    api("api/v1/template", |it, _| it.template().map(Answer::Json)),
    api("api/v1/health", |it, _| it.health().map(Answer::Json)),
    api("api/v1/connect", |it, _| it.connect().map(Answer::Json)),
    api("api/v1/blocks/{hash}/proof/{account}", |it, [hash, account, ..]| {
        it.proof(hash, account).map(Answer::Json)
    }),
    api("api/v1/miners/{account}/channels", |it, [of, ..]| Ok(Answer::Json(it.channels(of)))),
    store("api/v1/pool", |it, _| it.pool().map(Answer::Json)),
    store("api/v1/history", |it, _| it.history().map(Answer::Json)),
    store("api/v1/miners", |it, _| it.miners().map(Answer::Json)),
    store("api/v1/miners/{account}", |it, [of, ..]| it.miner(of).map(Answer::Json)),
    store("api/v1/miners/{account}/workers", |it, [of, ..]| it.workers(of).map(Answer::Json)),
    store("api/v1/miners/{account}/payouts", |it, [of, ..]| it.payouts_of(of).map(Answer::Json)),
    store("api/v1/blocks", |it, _| it.blocks().map(Answer::Json)),
    store("api/v1/payouts", |it, _| it.payouts().map(Answer::Json)),
    store("api/client/{account}", |it, [of, ..]| it.client(of).map(Answer::Json)),
    store("api/client/{account}/chart", |it, [of, ..]| it.client_chart(of).map(Answer::Json)),
    store("api/client/{account}/{worker}", |it, [of, worker, ..]| {
        it.client_worker(of, worker).map(Answer::Json)
    }),
    store("api/client/{account}/{worker}/{session}", |it, at| {
        it.client_session(at).map(Answer::Json)
    }),
    store("api/info", |it, _| it.info().map(Answer::Json)),
    store("api/info/chart", |it, _| it.info_chart().map(Answer::Json)),
    store("api/pool", |it, _| it.pool_status().map(Answer::Json)),
    store("api/network", |it, _| it.network().map(Answer::Json)),
    store("api/pools", |it, _| it.core_pools().map(Answer::Json)),
    store("api/pools/{id}", |it, [id, ..]| it.core_pool(id).map(Answer::Json)),
    store("api/pools/{id}/performance", |it, [id, ..]| it.core_performance(id).map(Answer::Json)),
    store("api/pools/{id}/miners", |it, [id, ..]| it.core_miners(id).map(Answer::Json)),
    store("api/pools/{id}/blocks", |it, [id, ..]| it.core_blocks(id).map(Answer::Json)),
    store("api/pools/{id}/payments", |it, [id, ..]| it.core_payments(id).map(Answer::Json)),
    store("api/pools/{id}/miners/{account}", |it, [id, of, ..]| {
        it.core_miner(id, of).map(Answer::Json)
    }),
    store("api/pools/{id}/miners/{account}/payments", |it, [id, of, ..]| {
        it.core_miner_payments(id, of).map(Answer::Json)
    }),
    store("api/pools/{id}/miners/{account}/performance", |it, [id, of, ..]| {
        it.core_miner_performance(id, of).map(Answer::Json)
    }),
    store("pool/pool.status", |it, _| it.ckpool_status().map(Answer::Text)),
    store("users/{account}", |it, [of, ..]| it.ckpool_user(of).map(Answer::Json)),
];

/// The endpoint of a path, and what stands in the place of its `{…}`.
pub(super) fn find(path: &str) -> Option<(&'static Route, Captured<'_>)> {
    ROUTES.iter().find_map(|route| Some((route, captured(route.path, path)?)))
}

fn captured<'a>(pattern: &str, path: &'a str) -> Option<Captured<'a>> {
    let mut captured = Captured::default();
    let mut free = captured.iter_mut();
    let (mut parts, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (parts.next(), given.next()) {
            (None, None) => return Some(captured),
            (Some(part), Some(it)) if part.starts_with('{') && !it.is_empty() => {
                *free.next()? = it;
            }
            (Some(part), Some(it)) if part == it => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_finds_its_endpoint_and_nothing_else_does() {
        let found = |path| find(path).map(|(route, at)| (route.path, at));
        assert_eq!(found("api/v1/pool"), Some(("api/v1/pool", ["", "", ""])));
        assert_eq!(
            found("api/v1/miners/a/payouts"),
            Some(("api/v1/miners/{account}/payouts", ["a", "", ""]))
        );
        assert_eq!(found("api/client/a/chart").unwrap().0, "api/client/{account}/chart");
        assert_eq!(
            found("api/client/a/rig/1f"),
            Some(("api/client/{account}/{worker}/{session}", ["a", "rig", "1f"]))
        );
        for path in ["", "api", "api/v1", "api/v1/miners/", "api/v1/pool/", "api/v2/pool", "users"]
        {
            assert_eq!(found(path), None, "{path}");
        }
    }
}
