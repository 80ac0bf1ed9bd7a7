//! The OpenAPI document, held against the routes and against what they answer.

use super::*;

/// Where a block's proof has an own test, for it comes from the log.
const PROOF: &str = "/api/v1/blocks/{hash}/proof/{account}";

#[test]
fn what_is_described_is_what_there_is() {
    let described = serde_json::from_str::<Value>(OPENAPI).unwrap();
    let mut described: Vec<_> = described["paths"].as_object().unwrap().keys().collect();
    let mut there: Vec<_> = ROUTES.iter().map(|route| format!("/{}", route.path)).collect();
    described.sort();
    there.sort();
    assert_eq!(there.iter().collect::<Vec<_>>(), described);
    for path in &there {
        let root = path.trim_start_matches('/').split('/').next().unwrap();
        assert!(ROOTS.contains(&root), "{path} is never asked");
    }
}

#[test]
fn every_endpoint_that_is_described_answers() {
    let (table, described) = (Table::new(), serde_json::from_str::<Value>(OPENAPI).unwrap());
    let session = table.ask("api/client/a")["workers"][0]["sessionId"].as_str().unwrap().to_owned();
    for path in described["paths"].as_object().unwrap().keys().filter(|path| *path != PROOF) {
        let asked = path.trim_start_matches('/').replace("{account}", "a").replace("{id}", "adit");
        let asked = asked.replace("{worker}", "rig").replace("{session}", &session);
        let reply = table.reply(&asked);
        let answers = &described["paths"][path]["get"]["responses"]["200"]["content"];
        if answers["text/plain"].is_object() {
            assert!(matches!(reply, Reply::Text(_)), "{asked}: {reply:?}");
            continue;
        }
        let Reply::Found(answer) = reply else { panic!("{asked}: {reply:?}") };
        let answer: Value = serde_json::from_str(&answer).unwrap();
        check_shape(path, &described, &answers["application/json"]["schema"], &answer);
    }
}
