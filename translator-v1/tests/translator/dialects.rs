//! Real miners' own lines, from their sources and from recordings: each logs in and has a share
//! accepted.

use mining::target::Target;
use translator_v1::bridge::submit::Verdict;
use translator_v1::downstream::{Command, Event};

use crate::device::{Device, MINER_DIFFICULTY, Rolling, Sample};

/// Mines a share with `bits` rolled and hands its parts to `line`; the answer must be true.
fn share_is_taken(
    device: &mut Device,
    bits: Option<(u32, Rolling)>,
    line: impl Fn(&crate::device::Found) -> String,
) {
    let own = Target::from_difficulty(MINER_DIFFICULTY);
    let job = device.job.clone().unwrap();
    let found = device.mine_job(&job, 0, bits, |hash| own.is_met_by(hash));
    device.lines.clear();
    device.send(&line(&found));
    if let Some((ticket, _)) = device.passed_on() {
        device.command(Command::Verdict { ticket, verdict: Verdict::Accepted });
    }
    let answer = device.line();
    assert_eq!(answer["result"], true, "{answer}");
}

fn agent(device: &Device) -> String {
    let mut agents = device.events.iter().filter_map(|event| match event {
        Event::Authorized { agent, .. } => Some(agent.to_string()),
        _ => None,
    });
    agents.next().unwrap_or_default()
}

#[test]
fn cgminer_with_version_rolling() {
    let mut device = Device::with_work();
    device.send(concat!(
        r#"{"id": 0, "method": "mining.configure", "params": [["version-rolling"], "#,
        r#"{"version-rolling.mask": "ffffffff"}]}"#,
    ));
    assert_eq!(device.line()["result"]["version-rolling.mask"], "1fffe000");
    device.send(r#"{"id": 1, "method": "mining.subscribe", "params": ["cgminer/4.11.1"]}"#);
    device.send(r#"{"id": 2, "method": "mining.authorize", "params": ["user.rig", "x"]}"#);
    assert_eq!(device.said(), ["reply 1", "reply 2", "mining.set_difficulty", "mining.notify"]);
    assert_eq!(agent(&device), "cgminer/4.11.1");
    share_is_taken(&mut device, Some((0x0000_e000, Rolling::Or)), |found| {
        let (job, ntime, nonce) = (&found.job_id, found.ntime, found.nonce);
        format!(
            "{{\"params\": [\"user.rig\", \"{job}\", \"5e5e5e5e5e5e5e5e\", \"{ntime:08x}\", \
             \"{nonce:08x}\", \"0000e000\"], \"id\": 3, \"method\": \"mining.submit\"}}"
        )
    });
}

#[test]
fn cgminer_that_comes_back_with_a_session_id() {
    let mut device = Device::with_work();
    device.send(concat!(
        r#"{"id": 0, "method": "mining.subscribe", "#,
        r#""params": ["cgminer/4.11.1", "9f3c1a2b"]}"#,
    ));
    device.send(r#"{"id": 1, "method": "mining.authorize", "params": ["user", "x"]}"#);
    assert_eq!(device.said()[..2], ["reply 0", "reply 1"]);
    share_is_taken(&mut device, None, |found| {
        let (job, ntime, nonce) = (&found.job_id, found.ntime, found.nonce);
        format!(
            "{{\"params\": [\"user\", \"{job}\", \"5e5e5e5e5e5e5e5e\", \"{ntime:08x}\", \
             \"{nonce:08x}\"], \"id\": 2, \"method\": \"mining.submit\"}}"
        )
    });
}

#[test]
fn bfgminer() {
    // It tries TLS on a first connection, and plain on a second.
    let mut hello = Device::with_work();
    hello.send_bytes(&[0x16, 0x03, 0x01]);
    assert!(hello.ended.is_some());
    let mut device = Device::with_work();
    let target = "00000000ffff0000000000000000000000000000000000000000000000000000";
    device.send(&format!(
        r#"{{"id": null, "method": "mining.suggest_target", "params": ["{target}"]}}"#
    ));
    device.send(r#"{"id": 0, "method": "mining.subscribe", "params": ["bfgminer/5.5.0"]}"#);
    assert_eq!(device.said(), ["reply 0"], "the next line is the subscribe reply");
    device.send(r#"{"id": "xnsub", "method": "mining.extranonce.subscribe", "params": []}"#);
    device.send(r#"{"id": "auth", "method": "mining.authorize", "params": ["user", "x"]}"#);
    let said = device.said();
    assert_eq!(said[..2], ["reply \"xnsub\"", "reply \"auth\""]);
    device.send(r#"{"id": "txlist1", "method": "mining.get_transactions", "params": ["1"]}"#);
    // Its wish of difficulty 1 is more than the upstream asks.
    let upstream = Target::from_difficulty(crate::device::UPSTREAM_DIFFICULTY);
    let found = device.mine(0, |hash| upstream.is_met_by(hash));
    let (job, ntime, nonce) = (&found.job_id, found.ntime, found.nonce);
    device.send(&format!(
        "{{\"params\": [\"user\", \"{job}\", \"5e5e5e5e5e5e5e5e\", \"{ntime:08x}\", \
         \"{nonce:08x}\"], \"id\": 1, \"method\": \"mining.submit\"}}"
    ));
    assert!(device.passed_on().is_some());
}

#[test]
fn minerd() {
    let mut device = Device::with_work();
    device.send(r#"{"id": 1, "method": "mining.subscribe", "params": ["cpuminer/2.5.1"]}"#);
    device.send(r#"{"id": 2, "method": "mining.authorize", "params": ["user", "pass"]}"#);
    assert_eq!(device.said(), ["reply 1", "reply 2", "mining.set_difficulty", "mining.notify"]);
    for _ in 0..2 {
        // Every submit has the id 4.
        share_is_taken(&mut device, None, |found| {
            let (job, ntime, nonce) = (&found.job_id, found.ntime, found.nonce);
            format!(
                "{{\"method\": \"mining.submit\", \"params\": [\"user\", \"{job}\", \
                 \"5e5e5e5e5e5e5e5e\", \"{ntime:08x}\", \"{nonce:08x}\"], \"id\":4}}"
            )
        });
        device.give(Sample { id: 2, content: 3, ..Sample::default() });
    }
}

#[test]
fn esp_miner() {
    let mut device = Device::new();
    device.give(Sample { version: 0x3000_0000, ..Sample::default() });
    device.send_bytes(
        concat!(
            r#"{"id":1,"method":"mining.configure","params":[["version-rolling"],"#,
            r#"{"version-rolling.mask":"ffffffff"}]}"#,
            "\n",
            r#"{"id":2,"method":"mining.subscribe","params":["bitaxe/BM1370/v2.15.0"]}"#,
            "\n",
            r#"{"id":3,"method":"mining.authorize","params":["bc1quser.bitaxe","x"]}"#,
            "\n",
        )
        .as_bytes(),
    );
    let said = device.said();
    assert_eq!(said.len(), 5);
    device.send(r#"{"id":4,"method":"mining.suggest_difficulty","params":[1000]}"#);
    device.send(r#"{"id":5,"method":"mining.extranonce.subscribe","params":[]}"#);
    let rolled = 0x0008_6000;
    share_is_taken(&mut device, Some((rolled, Rolling::Xor)), |found| {
        let (job, ntime, nonce) = (&found.job_id, found.ntime, found.nonce);
        format!(
            "{{\"id\":6,\"method\":\"mining.submit\",\"params\":[\"bc1quser.bitaxe\",\"{job}\",\
             \"5e5e5e5e5e5e5e5e\",\"{ntime:08x}\",\"{nonce:08x}\",\"{rolled:08x}\"]}}"
        )
    });
}

#[test]
fn esp_miner_before_2_12_subscribes_first_and_suggests_before_authorize() {
    let mut device = Device::with_work();
    for line in [
        r#"{"id": 1, "method": "mining.subscribe", "params": ["bitaxe/BM1366/v2.4.0"]}"#,
        concat!(
            r#"{"id": 2, "method": "mining.configure", "params": [["version-rolling"], "#,
            r#"{"version-rolling.mask": "ffffffff"}]}"#,
        ),
        r#"{"id": 3, "method": "mining.suggest_difficulty", "params": [1000]}"#,
        r#"{"id": 4, "method": "mining.authorize", "params": ["user", "x"]}"#,
    ] {
        device.send(line);
    }
    let said = device.said();
    assert_eq!(said[..4], ["reply 1", "reply 2", "reply 3", "reply 4"]);
    assert_eq!(said[4..], ["mining.set_difficulty", "mining.notify"]);
}

#[test]
fn esp_miner_probes_and_leaves() {
    let mut device = Device::with_work();
    device.send(r#"{"id":1,"method":"mining.subscribe","params":["bitaxe/BM1370/v2.15.0"]}"#);
    assert!(device.last_write.contains("mining.notify") && device.last_write.len() <= 1023);
    device.send(r#"{"id":2,"method":"mining.authorize","params":["user","x"]}"#);
    assert!(device.ended.is_none());
}

#[test]
fn nerdminer() {
    let mut device = Device::with_work();
    device.send(r#"{"id": 1, "method": "mining.subscribe", "params": ["NerdMinerV2/V1.8.3"]}"#);
    let answer = device.line();
    assert_eq!(answer["result"][0][0][1], "5e55");
    let authorize = r#"{"params": ["bc1quser", "x"], "id": 2, "method": "mining.authorize"}"#;
    device.send(authorize);
    let suggest = r#"{"id": 3, "method": "mining.suggest_difficulty", "params": [0.00000006]}"#;
    device.send(suggest);
    share_is_taken(&mut device, None, |found| {
        let (job, ntime, nonce) = (&found.job_id, found.ntime, found.nonce);
        format!(
            "{{\"params\": [\"bc1quser\", \"{job}\", \"5e5e5e5e5e5e5e5e\", \"{ntime:x}\", \
             \"{nonce:x}\"], \"id\": 4, \"method\": \"mining.submit\"}}"
        )
    });
    let (difficulty, job) = (device.difficulty, device.job.clone());
    for _ in 0..3 {
        device.send(suggest);
    }
    assert_eq!((device.difficulty, device.job), (difficulty, job), "only a sign of life");
}

#[test]
fn whatsminer_suggests_a_difficulty_first() {
    let mut device = Device::with_work();
    device.send(r#"{"id":1,"method":"mining.suggest_difficulty","params":[0.0000001]}"#);
    device.send(r#"{"id":2,"method":"mining.subscribe","params":["whatsminer/v1.0","ae"]}"#);
    device.send(r#"{"id":3,"method":"mining.authorize","params":["user","x"]}"#);
    let said = device.said();
    assert_eq!(said[..3], ["reply 1", "reply 2", "reply 3"]);
    assert!(device.job.is_some());
}

#[test]
fn luxos_asks_for_three_extensions_at_once() {
    let mut device = Device::with_work();
    device.send_bytes(
        concat!(
            r#"{"id":1,"method":"mining.configure","params":[["version-rolling","#,
            r#""minimum-difficulty","subscribe-extranonce"],{"version-rolling.mask":"1fffe000","#,
            r#""version-rolling.min-bit-count":16,"minimum-difficulty.value":0.000000001}]}"#,
            "\n",
            r#"{"id":2,"method":"mining.subscribe","params":["LUXminer 2024.1.1"]}"#,
            "\n",
            r#"{"id":3,"method":"mining.authorize","params":["user.lux","x"]}"#,
            "\n",
        )
        .as_bytes(),
    );
    let expected = ["reply 1", "reply 2", "reply 3", "mining.set_difficulty", "mining.notify"];
    // Difficulty and job in the same write: one thread has it leave within a second.
    assert_eq!(device.last_write.lines().count(), 5);
    let configured = &device.lines[0]["result"];
    let granted = ["version-rolling", "minimum-difficulty", "subscribe-extranonce"];
    assert!(granted.iter().all(|name| configured[*name] == true), "{configured}");
    assert_eq!(configured.as_object().unwrap().len(), 4, "and the mask");
    assert_eq!(device.said(), expected);
    share_is_taken(&mut device, Some((0x0ab0_0000, Rolling::Or)), |found| {
        let (job, ntime, nonce) = (&found.job_id, found.ntime, found.nonce);
        format!(
            "{{\"id\":4,\"method\":\"mining.submit\",\"params\":[\"user.lux\",\"{job}\",\
             \"5e5e5e5e5e5e5e5e\",\"{ntime:08x}\",\"{nonce:08x}\",\"0ab00000\"]}}"
        )
    });
}

#[test]
fn nicehash_gets_a_difficulty_that_it_takes_before_any_job() {
    let mut device = Device::new();
    device.give(Sample { difficulty: 4e6, ..Sample::default() });
    device.send(concat!(
        r#"{"id":1,"method":"mining.subscribe","#,
        r#""params":["NiceHash/1.0.0","","stratum+tcp://adit",3333]}"#,
    ));
    let subscribed = device.line();
    assert_eq!(subscribed["result"][2], 8, "at least 4");
    device.send(r#"{"id":2,"method":"mining.extranonce.subscribe","params":[]}"#);
    device.send(r#"{"id":3,"method":"mining.authorize","params":["user","x"]}"#);
    let expected = ["reply 2", "reply 3", "mining.set_difficulty", "mining.notify"];
    assert_eq!(device.said(), expected);
    assert_eq!(device.difficulty, Some(524_288.0));
}

#[test]
fn whatsminer_comes_back_with_a_session_and_its_own_mask() {
    let mut device = Device::with_work();
    device.send(r#"{"id":0,"method":"mining.subscribe","params":["whatsminer/v1.0","ab12"]}"#);
    let mask = r#"[["version-rolling"],{"version-rolling.mask":"1fffe000"}]"#;
    device.send(&format!(r#"{{"id":1,"method":"mining.configure","params":{mask}}}"#));
    device.send(r#"{"id":2,"method":"mining.authorize","params":["user.m30","x"]}"#);
    let configured = device.lines[1]["result"].clone();
    assert_eq!(configured.as_object().unwrap().len(), 2, "no key that was not asked for");
    assert_eq!(device.said()[..3], ["reply 0", "reply 1", "reply 2"]);
    share_is_taken(&mut device, Some((0x0000_2000, Rolling::Or)), |found| {
        let (job, ntime, nonce) = (&found.job_id, found.ntime, found.nonce);
        format!(
            "{{\"params\":[\"user.m30\",\"{job}\",\"5e5e5e5e5e5e5e5e\",\"{ntime:08x}\",\
             \"{nonce:08x}\",\"00002000\"],\"id\":3,\"method\":\"mining.submit\"}}"
        )
    });
}

/// btcagent logs in. Its shares are binary messages of its own pool's, which are not spoken here.
#[test]
fn btcagent_logs_in_and_its_binary_shares_are_refused() {
    let mut device = Device::with_work();
    let capabilities = r#""method":"agent.get_capabilities","params":["verrol"]}"#;
    device.send(&format!(r#"{{"id":"conn_test",{capabilities}"#));
    assert_eq!(device.line()["id"], "conn_test", "it waits for this line");
    device.send(&format!(r#"{{"id":"caps",{capabilities}"#));
    device.send(concat!(
        r#"{"id":"conf","method":"mining.configure","params":[["version-rolling"],"#,
        r#"{"version-rolling.mask":"ffffffff","version-rolling.min-bit-count":0}]}"#,
    ));
    device.send(r#"{"id":"sub","method":"mining.subscribe","params":["btccom-agent/2.0.0-mu"]}"#);
    device.send(r#"{"id":"auth","method":"mining.authorize","params":["subaccount",""]}"#);
    device.send(&format!(r#"{{"id":"caps_again",{capabilities}"#));
    let subscribed = &device.lines[2]["result"];
    assert_eq!((subscribed[1].as_str().unwrap().len(), subscribed[2].as_u64()), (4, Some(8)));
    assert_eq!(device.lines[3]["result"], true);
    assert!(device.ended.is_none());
    device.send_bytes(&[0x7f, 0x02, 0x0f, 0x00, 0x0a]);
    assert!(device.ended.is_some());
}
