//! The rules that all V1 clients together ask of a server, by their numbers.

use std::time::Duration;

use proptest::prelude::*;
use translator_v1::bridge::submit::Verdict;
use translator_v1::downstream::{Command, Event};
use wire::session::{PeerError, Session};

use crate::device::{Device, HARD_NBITS, MINER_DIFFICULTY, NTIME, Rolling, Sample};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn rule_1_pipelined_requests_are_answered_in_order() {
    let mut device = Device::with_work();
    device.send_bytes(
        concat!(
            r#"{"id":1,"method":"mining.configure","params":[["version-rolling"],"#,
            r#"{"version-rolling.mask":"ffffffff"}]}"#,
            "\r\n",
            r#"{"id":2,"method":"mining.subscribe","params":["bitaxe/BM1370/v2.15.0"]}"#,
            "\n",
            r#"{"id":3,"method":"mining.authorize","params":["w","x"]}"#,
            "\n",
        )
        .as_bytes(),
    );
    let said = device.said();
    let jobs = ["mining.set_difficulty", "mining.notify"];
    assert_eq!(said[..3], ["reply 1", "reply 2", "reply 3"]);
    assert_eq!(said[3..], jobs);
}

#[test]
fn rule_1_lines_end_with_a_newline_and_hold_no_other() {
    let mut device = Device::with_work();
    device.login();
    assert!(device.last_write.ends_with('\n'));
    assert!(!device.last_write.contains('\0') && !device.last_write.contains("\n\n"));
}

#[test]
fn rule_2_an_id_comes_back_as_it_was_sent() {
    let mut device = Device::with_work();
    for id in ["0", "4", "4", "\"auth\"", "\"xnsub\"", "\"txlist1\"", "-7"] {
        device.lines.clear();
        device.send(&format!("{{\"id\":{id},\"method\":\"mining.ping\",\"params\":[]}}"));
        assert!(device.last_write.starts_with(&format!("{{\"id\":{id},")), "{id}");
    }
}

#[test]
fn rule_3_a_request_with_id_null_gets_no_reply() {
    let mut device = Device::with_work();
    device.send(r#"{"id":null,"method":"mining.suggest_target","params":["00ff"]}"#);
    device.send(r#"{"id":null,"method":"mining.suggest_difficulty","params":[1]}"#);
    device.send(r#"{"id":null,"method":"mining.capabilities","params":[{}]}"#);
    assert!(device.lines.is_empty());
    device.send(r#"{"id":0,"method":"mining.subscribe","params":[]}"#);
    assert_eq!(device.said(), ["reply 0"]);
}

#[test]
fn rule_4_answers_have_all_three_keys_and_success_is_true() {
    let mut device = Device::with_work();
    device.login();
    let expected = "{\"id\":2,\"result\":true,\"error\":null}\n";
    assert!(device.last_write.starts_with(expected), "{}", device.last_write);
    device.lines.clear();
    device.send(r#"{"id":5,"method":"nonsense","params":[]}"#);
    let error = device.line();
    assert!(error["result"].is_null() && error["error"][1].is_string());
}

#[test]
fn rule_5_notifications_have_the_id_null() {
    let mut device = Device::with_work();
    device.login();
    device.send(r#"{"id":3,"method":"mining.extranonce.subscribe","params":[]}"#);
    device.give(Sample { epoch: 2, rollable: 8, ..Sample::default() });
    device.command(Command::Leave { elsewhere: Some(("other.example".to_owned(), 3333)) });
    let mut other = Device::logged_in(Sample::default());
    other.command(Command::Work(None));
    let mut methods = std::collections::BTreeSet::new();
    for line in device.lines.iter().chain(&other.lines) {
        let Some(method) = line["method"].as_str() else { continue };
        // ESP-Miner takes what has an id, or an error, for an answer.
        assert_eq!(line.get("id"), Some(&serde_json::Value::Null), "{line}");
        assert!(line["error"].is_null(), "{line}");
        methods.insert(method);
    }
    let expected = [
        "client.reconnect",
        "client.show_message",
        "mining.notify",
        "mining.set_difficulty",
        "mining.set_extranonce",
    ];
    assert!(methods.iter().eq(&expected), "{methods:?}");
}

#[test]
fn rule_6_an_unknown_method_is_refused_and_the_connection_kept() {
    let mut device = Device::with_work();
    device.send(r#"{"id":5,"method":"mining.extraordinary","params":{"a":1}}"#);
    assert_eq!(device.line()["error"][0], 20);
    device.send(r#"{"id":6,"method":"pong","params":[]}"#);
    device.send(r#"{"id":7,"result":"pong"}"#);
    assert!(device.lines.is_empty() && device.ended.is_none());
    device.login();
    assert_eq!(device.said().len(), 4);
}

#[test]
fn rule_7_a_tls_hello_is_closed_at_once() {
    let mut device = Device::new();
    device.send_bytes(&[0x16, 0x03, 0x01, 0x02, 0x00]);
    assert!(matches!(device.ended, Some(PeerError::Incompatible(_))));
    assert!(device.last_write.is_empty());
}

#[test]
fn rule_9_the_order_is_subscribe_authorize_one_difficulty_job() {
    let mut device = Device::with_work();
    device.pass(SECOND);
    assert!(device.lines.is_empty(), "nothing unasked before the subscribe reply");
    device.login();
    let order = ["reply 1", "reply 2", "mining.set_difficulty", "mining.notify"];
    assert_eq!(device.said(), order);
}

#[test]
fn rule_9_a_suggestion_before_the_login_does_not_change_the_order() {
    let mut device = Device::with_work();
    device.send(r#"{"id":1,"method":"mining.subscribe","params":["test/1"]}"#);
    device.send(r#"{"id":5,"method":"mining.suggest_difficulty","params":[0.00000001]}"#);
    device.send(r#"{"id":2,"method":"mining.authorize","params":["w","x"]}"#);
    let order = ["reply 1", "reply 5", "reply 2", "mining.set_difficulty", "mining.notify"];
    assert_eq!(device.said(), order);
    assert!(device.difficulty.unwrap() <= 0.000_000_01);
}

#[test]
fn rule_9_authorize_may_come_before_subscribe() {
    let mut device = Device::with_work();
    device.send(r#"{"id":1,"method":"mining.authorize","params":["w","x"]}"#);
    device.send(r#"{"id":2,"method":"mining.subscribe","params":["test/1"]}"#);
    let order = ["reply 1", "reply 2", "mining.set_difficulty", "mining.notify"];
    assert_eq!(device.said(), order);
}

#[test]
fn rule_9_a_second_subscribe_gets_the_same_extranonce_and_a_job_again() {
    let mut device = Device::logged_in(Sample::default());
    let (extranonce_1, first) = (device.extranonce_1.clone(), device.job.clone().unwrap());
    device.send(r#"{"id":4,"method":"mining.subscribe","params":[]}"#);
    assert_eq!(device.extranonce_1, extranonce_1);
    // Within the same second there is no other content: the job follows with the next one.
    device.pass(SECOND);
    assert_eq!(device.said(), ["reply 4", "mining.set_difficulty", "mining.notify"]);
    assert!(device.job.unwrap().ntime > first.ntime);
}

#[test]
fn rule_9_a_subscribe_waits_until_there_is_work() {
    let mut device = Device::new();
    device.login();
    assert!(device.lines.is_empty() && device.ended.is_none());
    device.give(Sample::default());
    let order = ["reply 1", "reply 2", "mining.set_difficulty", "mining.notify"];
    assert_eq!(device.said(), order);
}

#[test]
fn rule_10_nothing_stands_between_the_replies_to_subscribe_and_authorize() {
    let mut device = Device::with_work();
    device.send(r#"{"id":1,"method":"mining.subscribe","params":["test/1"]}"#);
    device.give(Sample { id: 2, content: 5, ..Sample::default() });
    device.pass(20 * SECOND);
    assert_eq!(device.said(), ["reply 1"]);
    device.send(r#"{"id":2,"method":"mining.authorize","params":["w","x"]}"#);
    assert_eq!(device.said(), ["reply 2", "mining.set_difficulty", "mining.notify"]);
}

/// Nor a `mining.set_extranonce` to who asked for them, nor a message: who cannot go on is hung up
/// on.
#[test]
fn rule_10_who_has_to_hear_of_something_before_authorize_is_hung_up_on_without_a_line() {
    for is_work_gone in [false, true] {
        let mut device = Device::with_work();
        device
            .send(r#"{"id":1,"method":"mining.configure","params":[["subscribe-extranonce"],{}]}"#);
        device.send(r#"{"id":2,"method":"mining.subscribe","params":["test/1"]}"#);
        device.lines.clear();
        match is_work_gone {
            true => device.command(Command::Work(None)),
            false => device.give(Sample { epoch: 2, rollable: 8, ..Sample::default() }),
        }
        assert_eq!(device.said(), [""; 0], "{is_work_gone}");
        assert!(device.session.is_finished(), "{is_work_gone}");
    }
}

#[test]
fn rule_11_the_subscribe_reply_names_mining_notify_and_the_session() {
    let mut device = Device::with_work();
    device.send(r#"{"id":1,"method":"mining.subscribe","params":["test/1"]}"#);
    let expected = concat!(
        r#"{"id":1,"result":[[["mining.set_difficulty","5e55"],["mining.notify","5e55"]],"#,
        r#""0102",8],"error":null}"#,
        "\n",
    );
    assert_eq!(device.last_write, expected);
}

#[test]
fn rule_12_a_difficulty_is_followed_at_once_by_a_new_job_with_other_content() {
    let mut device = Device::logged_in(Sample::default());
    let first = device.job.clone().unwrap();
    device.pass(3 * SECOND);
    device.send(r#"{"id":3,"method":"mining.suggest_difficulty","params":[0.00000001]}"#);
    assert_eq!(device.said(), ["reply 3", "mining.set_difficulty", "mining.notify"]);
    let second = device.job.clone().unwrap();
    assert_ne!(second.job_id, first.job_id);
    assert_eq!(second.ntime, first.ntime + 3);
    assert!(!second.clean_jobs, "the running job is as good as before");
}

/// Flaw 14: a new difficulty does not hold for V1 shares of jobs before it.
#[test]
fn rule_12_a_share_is_judged_by_the_difficulty_of_its_job() {
    let mut device = Device::logged_in(Sample::default());
    let easy = device.mine_local();
    device.pass(SECOND);
    device.send(r#"{"id":3,"method":"mining.suggest_difficulty","params":[0.0000005]}"#);
    assert!(device.difficulty.unwrap() > MINER_DIFFICULTY);
    assert_eq!(device.submit(&easy)["result"], true, "the job was given with the easier one");
}

#[test]
fn rule_12_a_decrease_holds_for_running_jobs() {
    let mut device = Device::logged_in(Sample::default());
    let (job, old) = (device.job.clone().unwrap(), MINER_DIFFICULTY);
    let too_easy = |hash: &[u8; 32]| {
        let difficulty = mining::target::Target::from_le_bytes(*hash).difficulty();
        (old / 8.0..old / 2.0).contains(&difficulty)
    };
    let found = device.mine_job(&job, 0, None, too_easy);
    assert_eq!(device.refusal(&found).0, 23);
    device.pass(SECOND);
    let suggestion = old / 16.0;
    let line =
        format!(r#"{{"id":3,"method":"mining.suggest_difficulty","params":[{suggestion}]}}"#);
    device.send(&line);
    assert_eq!(device.submit(&found)["result"], true);
}

#[test]
fn rule_13_every_job_differs_from_all_before_in_what_is_hashed() {
    let mut device = Device::logged_in(Sample::default());
    let mut seen = vec![device.job.clone().unwrap()];
    for step in 0..20 {
        // The same work again, suggestions, silence: each may make a new job.
        match step % 3 {
            0 => device.give(Sample { id: step, ..Sample::default() }),
            1 => {
                let difficulty = f64::from(step + 1) * 1e-9;
                device.send(&format!(
                    r#"{{"id":3,"method":"mining.suggest_difficulty","params":[{difficulty}]}}"#
                ));
            }
            _ => device.pass(Duration::from_millis(1100)),
        }
        let job = device.job.clone().unwrap();
        if seen.last().is_some_and(|last| last.job_id != job.job_id) {
            let content = |job: &wire::sv1::notify::Notify| {
                (job.ntime, job.coinbase_1.clone(), job.prev_hash, job.version)
            };
            assert!(seen.iter().all(|earlier| content(earlier) != content(&job)), "{job:?}");
            seen.push(job);
        }
    }
    assert!(seen.len() > 5, "{} jobs", seen.len());
}

#[test]
fn rule_13_ntime_runs_no_faster_than_the_clock() {
    let mut device = Device::logged_in(Sample::default());
    for step in 1..=30_u32 {
        device.pass(Duration::from_millis(100));
        let difficulty = f64::from(step) * 1e-9;
        device.send(&format!(
            r#"{{"id":3,"method":"mining.suggest_difficulty","params":[{difficulty}]}}"#
        ));
        assert!(device.job.as_ref().unwrap().ntime <= NTIME + step / 10);
    }
}

#[test]
fn rule_14_job_ids_are_short_and_never_used_again() {
    let mut device = Device::logged_in(Sample::default());
    let mut ids = vec![device.job.as_ref().unwrap().job_id.clone()];
    for step in 1..50 {
        let prev_hash = u8::try_from(step % 7).unwrap();
        device.give(Sample { id: step % 3, prev_hash, ..Sample::default() });
        ids.push(device.job.as_ref().unwrap().job_id.clone());
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
    assert!(ids.iter().all(|id| id.len() <= 8 && id.is_ascii()));
}

#[test]
fn rule_15_clean_jobs_is_a_boolean_ninth_and_last_and_true_on_a_new_tip() {
    let mut device = Device::logged_in(Sample::default());
    device.give(Sample { id: 2, content: 1, ..Sample::default() });
    device.give(Sample { id: 3, prev_hash: 0xb2, ..Sample::default() });
    let clean: Vec<_> = device
        .lines
        .iter()
        .map(|line| line["params"].as_array().unwrap())
        .map(|params| (params.len(), params[8].as_bool()))
        .collect();
    assert_eq!(clean, [(9, Some(false)), (9, Some(true))]);
    // testnet4: the difficulty changes while the tip stays.
    device.give(Sample { id: 4, prev_hash: 0xb2, nbits: 0x1d00_aaaa, ..Sample::default() });
    assert_eq!(device.lines.back().unwrap()["params"][8], true);
    let mut fresh = Device::with_work();
    fresh.login();
    assert_eq!(fresh.lines.back().unwrap()["params"][8], true);
}

/// Lets 45 seconds pass, so often: each time there is another job, with a later nTime.
fn assert_repeated(device: &mut Device, times: usize) {
    let mut last = device.job.clone().unwrap();
    for _ in 0..times {
        device.pass(45 * SECOND);
        let job = device.job.clone().unwrap();
        assert_ne!(job.job_id, last.job_id);
        assert!(job.ntime > last.ntime);
        last = job;
    }
}

#[test]
fn rule_16_a_job_comes_at_least_every_45_seconds() {
    assert_repeated(&mut Device::logged_in(Sample::default()), 10);
}

/// The nTime of a job is often that of the clock, and the tip's the median of the last blocks: the
/// clock never gets ahead of such a job.
#[test]
fn rule_16_a_job_ahead_of_its_tip_is_repeated_too() {
    let ahead = Sample { min_ntime: Some(NTIME + 3_600), ..Sample::default() };
    let mut device = Device::logged_in(ahead);
    assert_eq!(device.job.as_ref().unwrap().ntime, NTIME + 3_600);
    assert_repeated(&mut device, 3);
    let mut device = Device::logged_in(ahead);
    device.pass(SECOND);
    device.send(r#"{"id":3,"method":"mining.suggest_difficulty","params":[0.00000001]}"#);
    assert_eq!(device.said(), ["reply 3", "mining.set_difficulty", "mining.notify"]);
    assert_eq!(device.job.unwrap().ntime, NTIME + 3_601);
}

#[test]
fn rule_17_extranonce2_has_4_or_8_bytes() {
    for (rollable, bytes) in [(10, 8), (8, 4), (6, 4), (16, 8)] {
        let device = Device::logged_in(Sample { rollable, ..Sample::default() });
        assert_eq!(device.extranonce_2_bytes, bytes);
    }
}

/// Flaw 28: whose devices cannot hold the upstream's coinbase hears of it.
///
/// Nothing else can be done about it here.
#[test]
fn rule_18_a_coinbase_that_a_device_cannot_hold_is_told_once() {
    let told = |agent: &str, coinbase_bytes| {
        let mut device = Device::new();
        device.give(Sample { coinbase_bytes, ..Sample::default() });
        device.send(&format!(r#"{{"id":1,"method":"mining.subscribe","params":["{agent}"]}}"#));
        device.send(r#"{"id":2,"method":"mining.authorize","params":["w","x"]}"#);
        device.give(Sample { coinbase_bytes, id: 2, content: 7, ..Sample::default() });
        let events = device.events.iter().filter_map(|event| match event {
            Event::CoinbaseTooLong { kind, bytes } => Some((kind.name, *bytes)),
            _ => None,
        });
        events.collect::<Vec<_>>()
    };
    assert_eq!(told("NerdMinerV2/V1.8.3", 255), []);
    assert_eq!(told("NerdMinerV2/V1.8.3", 256), [("nerdminer", 256)]);
    assert_eq!(told("NiceHash/1.0.0", 501), [("nicehash", 501)]);
    assert_eq!(told("Antminer S19/x", 751), [("antminer-s19", 751)]);
    assert_eq!(told("whatsminer/v1.0", 2_000), []);
    assert_eq!(told("cgminer/4.11.1", 6_000), []);
}

#[test]
fn rule_19_the_line_of_a_job_with_24_branches_fits_into_three_kilobytes() {
    let mut device = Device::new();
    device.give(Sample { branches: 24, coinbase_bytes: 255, ..Sample::default() });
    device.login();
    assert_eq!(device.job.as_ref().unwrap().merkle_path.len(), 24);
    assert!(device.last_write.lines().all(|line| line.len() < 3_000));
}

#[test]
fn rule_20_all_fields_have_their_full_width() {
    let mut device = Device::with_work();
    device.login();
    let notify = device.lines.back().unwrap()["params"].clone();
    let widths = |index: usize| notify[index].as_str().unwrap().len();
    assert_eq!([widths(1), widths(5), widths(6), widths(7)], [64, 8, 8, 8]);
    assert!(notify[4].as_array().unwrap().iter().all(|hash| hash.as_str().unwrap().len() == 64));
}

#[test]
fn rule_21_prevhash_is_sent_with_its_words_reversed_and_all_else_as_it_is_hashed() {
    let mut device = Device::with_work();
    device.login();
    let line = device.lines.pop_back().unwrap();
    let field = |index: usize| line["params"][index].as_str().unwrap();
    assert_eq!(field(1), "a1".repeat(32));
    assert!(field(2).starts_with("00") && field(3).ends_with("22"));
    let ascending: String = (0x77..0x77 + 32).map(|byte: u8| format!("{byte:02x}")).collect();
    assert_eq!(line["params"][4][0], ascending);
    assert_eq!((field(5), field(6), field(7)), ("20000000", "1d00ffff", "65000000"));
}

#[test]
fn rule_22_the_difficulty_is_not_above_the_upstream_and_follows_it() {
    let mut device = Device::logged_in(Sample { difficulty: 1e-9, ..Sample::default() });
    assert!(device.difficulty.unwrap() <= 1e-9);
    device.give(Sample { id: 2, content: 1, ..Sample::default() });
    assert_eq!(device.difficulty, Some(MINER_DIFFICULTY));
    assert_eq!(device.said(), ["mining.set_difficulty", "mining.notify"]);
}

#[test]
fn rule_24_numbers_without_leading_zeros_and_in_upper_case_are_taken() {
    let mut device = Device::logged_in(Sample::default());
    let own = mining::target::Target::from_difficulty(MINER_DIFFICULTY);
    // A small nonce has leading zeros.
    let found = device.mine(0, |hash| own.is_met_by(hash));
    let (job, extranonce_2) = (&found.job_id, "5e".repeat(8).to_uppercase());
    let (ntime, nonce) = (found.ntime, found.nonce);
    device.send(&format!(
        "{{\"params\":[\"w\",\"{job}\",\"{extranonce_2}\",\"{ntime:X}\",\"{nonce:X}\"],\
         \"id\":7,\"method\":\"mining.submit\"}}"
    ));
    if let Some((ticket, _)) = device.passed_on() {
        device.command(Command::Verdict { ticket, verdict: Verdict::Accepted });
    }
    assert!(nonce < 0x1000_0000);
    assert_eq!(device.line()["result"], true);
}

/// Flaw 2: a V1 share's extranonce2 of another length is not padded or cut.
#[test]
fn rule_24_an_extranonce2_of_another_length_is_refused() {
    let mut device = Device::logged_in(Sample::default());
    let mut found = device.mine_local();
    found.extranonce_2.pop();
    assert_eq!(device.refusal(&found), (20, "extranonce2 has the wrong length".into()));
}

#[test]
fn rule_25_shares_of_or_and_xor_clients_are_hashed_alike() {
    // The node's version has bit 28 set, as on regtest.
    let mut device = Device::logged_in(Sample { version: 0x3000_0000, ..Sample::default() });
    let job = device.job.clone().unwrap();
    let own = mining::target::Target::from_difficulty(MINER_DIFFICULTY);
    for (bits, rolling, first_nonce) in [
        (0x1fff_e000, Rolling::Or, 0),
        (0x1fff_e000, Rolling::Xor, 1 << 20),
        (0x0000_2000, Rolling::Or, 0),
        (0x1000_4000, Rolling::Xor, 0),
    ] {
        let suits = |hash: &[u8; 32]| own.is_met_by(hash);
        let found = device.mine_job(&job, first_nonce, Some((bits, rolling)), suits);
        let answer = {
            device.lines.clear();
            device.send(&found.line(9, "w"));
            if let Some((ticket, share)) = device.passed_on() {
                assert_eq!(share.version, found.version);
                device.command(Command::Verdict { ticket, verdict: Verdict::Accepted });
            }
            device.lines.iter().find(|line| line["id"] == 9).cloned().unwrap()
        };
        assert_eq!(answer["result"], true, "{answer}");
    }
}

/// Flaw 6: version bits of a V1 share outside of the mask are refused.
#[test]
fn rule_25_version_bits_outside_the_mask_are_refused() {
    let mut device = Device::logged_in(Sample::default());
    let mut found = device.mine_local();
    found.bits = Some(0x2000_0000);
    assert_eq!(device.refusal(&found).0, 20);
}

#[test]
fn rule_26_the_mask_is_granted_and_only_the_keys_asked_for_are_answered() {
    let mut device = Device::with_work();
    for (asked, granted) in
        [("ffffffff", "1fffe000"), ("1fffe000", "1fffe000"), ("00ffe000", "00ffe000")]
    {
        device.send(&format!(
            "{{\"id\":1,\"method\":\"mining.configure\",\"params\":[[\"version-rolling\"],\
             {{\"version-rolling.mask\":\"{asked}\",\"version-rolling.min-bit-count\":2}}]}}"
        ));
        let expected = format!(
            "{{\"id\":1,\"result\":{{\"version-rolling\":true,\
             \"version-rolling.mask\":\"{granted}\"}},\"error\":null}}\n"
        );
        assert_eq!(device.last_write, expected);
    }
}

#[test]
fn rule_26_a_miner_that_rolls_without_having_asked_is_understood() {
    let mut device = Device::logged_in(Sample::default());
    let job = device.job.clone().unwrap();
    let upstream = mining::target::Target::from_difficulty(crate::device::UPSTREAM_DIFFICULTY);
    let bits = Some((0x0ff0_0000, Rolling::Xor));
    let found = device.mine_job(&job, 0, bits, |hash| upstream.is_met_by(hash));
    device.send(&found.line(9, "w"));
    assert_eq!(device.passed_on().unwrap().1.version, found.version);
}

#[test]
fn rule_27_a_suggestion_is_answered_true_and_acted_on_when_it_changes() {
    let mut device = Device::logged_in(Sample::default());
    device.pass(SECOND);
    for repeated in 0..3 {
        device.send(r#"{"id":3,"method":"mining.suggest_difficulty","params":[0.00000001]}"#);
        let expected: &[&str] = match repeated {
            0 => &["reply 3", "mining.set_difficulty", "mining.notify"],
            _ => &["reply 3"],
        };
        assert_eq!(device.said(), expected);
        device.pass(SECOND);
    }
    let target = format!("{:0>64}", "ff".repeat(31));
    device.send(&format!(r#"{{"id":4,"method":"mining.suggest_target","params":["{target}"]}}"#));
    assert_eq!(device.line()["result"], true);
}

/// Flaw 20: a V1 request whose answer would be much larger than it is gets none.
#[test]
fn rule_28_get_transactions_is_refused_cheaply() {
    let mut device = Device::logged_in(Sample::default());
    device.send(r#"{"id":"txlist1","method":"mining.get_transactions","params":["1"]}"#);
    let answer = device.line();
    assert_eq!((answer["id"].as_str(), answer["error"][0].as_i64()), (Some("txlist1"), Some(20)));
}

#[test]
fn rule_29_another_extranonce_goes_only_to_those_that_asked_with_a_clean_job() {
    let other = Sample { id: 9, epoch: 2, rollable: 8, ..Sample::default() };
    for asks in [
        r#"{"id":"xnsub","method":"mining.extranonce.subscribe","params":[]}"#,
        r#"{"id":5,"method":"mining.configure","params":[["subscribe-extranonce"],{}]}"#,
    ] {
        let mut device = Device::logged_in(Sample::default());
        device.send(asks);
        device.lines.clear();
        device.give(other);
        assert_eq!(device.last_write.lines().count(), 2, "one write");
        assert_eq!(device.said(), ["mining.set_extranonce", "mining.notify"]);
        assert_eq!((&*device.extranonce_1, device.extranonce_2_bytes), (&[1, 2][..], 4));
        assert!(device.job.as_ref().unwrap().clean_jobs);
        assert!(!device.session.is_finished());
    }
    let mut device = Device::logged_in(Sample::default());
    device.give(other);
    assert!(device.lines.is_empty());
    device.pass(SECOND);
    assert!(device.lines.is_empty());
    assert!(device.session.is_finished(), "it comes back with the new one");
}

/// Nobody has to be told: the upstream's part of the extranonce stands in coinbase1.
#[test]
fn rule_29_another_channel_or_pool_with_room_for_as_much_is_mined_on_by_all_at_once() {
    for (rollable, zeros) in [(10, &[][..]), (12, &[0, 0])] {
        let mut device = Device::logged_in(Sample::default());
        let extranonce_1 = device.extranonce_1.clone();
        let prefix = [0xf1, 0xf2];
        device.give(Sample { id: 9, epoch: 2, prefix, rollable, ..Sample::default() });
        assert_eq!(device.said(), ["mining.notify"], "{rollable}");
        let job = device.job.clone().unwrap();
        assert!(job.clean_jobs && job.coinbase_1.ends_with(&[&prefix[..], zeros].concat()));
        assert_eq!(device.extranonce_1, extranonce_1);
        let found = device.mine_upstream();
        device.send(&found.line(9, "w"));
        let share = device.passed_on().unwrap().1;
        let rolled = [zeros, &extranonce_1[..], &found.extranonce_2].concat();
        assert_eq!(share.extranonce.as_slice(), rolled);
    }
}

#[test]
fn rule_30_who_is_to_go_elsewhere_is_told_where_and_the_connection_ends() {
    let mut device = Device::logged_in(Sample::default());
    device.command(Command::Leave { elsewhere: Some(("other.example".to_owned(), 3333)) });
    let line = device.line();
    assert_eq!(line["method"], "client.reconnect");
    assert_eq!(line["params"], serde_json::json!(["other.example", "3333", 0]));
    assert!(device.session.is_finished());
    // Unless it is set, nobody is sent anywhere; and between the replies nothing may stand.
    for mut device in [Device::logged_in(Sample::default()), Device::with_work()] {
        device.command(Command::Leave { elsewhere: None });
        assert!(device.lines.is_empty() && device.session.is_finished());
    }
}

#[test]
fn rule_31_names_come_in_any_form() {
    for name in ["", "bc1qexample.rig/1", "a b", &"n".repeat(250)] {
        let mut device = Device::with_work();
        device.send(r#"{"id":1,"method":"mining.subscribe","params":[]}"#);
        device.send(&format!(r#"{{"id":2,"method":"mining.authorize","params":["{name}",""]}}"#));
        assert_eq!(device.said()[1], "reply 2");
        assert!(device.job.is_some(), "{name}");
    }
}

#[test]
fn rule_31_a_name_that_is_no_utf_8_is_taken() {
    let mut device = Device::with_work();
    device.send(r#"{"id":1,"method":"mining.subscribe","params":[]}"#);
    let line = b"{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"caf\xe9\",\"x\"]}\n";
    device.send_bytes(line);
    assert!(device.ended.is_none() && device.job.is_some());
}

#[test]
fn rule_31_a_name_without_its_escapes_ends_the_connection_and_is_no_fault() {
    for name in [r"DOM\worker", "pass\"word"] {
        let mut device = Device::with_work();
        device.send(&format!(r#"{{"id":2,"method":"mining.authorize","params":["{name}","x"]}}"#));
        assert!(matches!(device.ended, Some(PeerError::Incompatible(_))), "{name}");
    }
}

#[test]
fn several_workers_may_share_a_connection_without_disturbing_each_other() {
    let mut device = Device::logged_in(Sample::default());
    device.send(r#"{"id":3,"method":"mining.authorize","params":["second","x"]}"#);
    assert_eq!(device.said(), ["reply 3"]);
    let found = device.mine_local();
    device.send(&found.line(9, "second"));
    assert_eq!(device.line()["result"], true);
}

#[test]
fn a_password_may_name_the_first_difficulty() {
    let mut device = Device::with_work();
    device.send(r#"{"id":1,"method":"mining.subscribe","params":[]}"#);
    device.send(r#"{"id":2,"method":"mining.authorize","params":["w","x,d=0.00000001"]}"#);
    assert!(device.difficulty.unwrap() <= 0.000_000_01);
}

#[test]
fn a_password_may_name_the_hashrate_in_terahashes() {
    let mut device = Device::with_work();
    device.send(r#"{"id":1,"method":"mining.subscribe","params":[]}"#);
    device.send(r#"{"id":2,"method":"mining.authorize","params":["w","th=0.00000000001"]}"#);
    // Ten hashes a second and six shares a minute: a hundred hashes a share.
    assert_eq!(device.difficulty, Some(2_f64.powi(6 - 32)));
}

#[test]
fn capabilities_are_answered_and_may_name_a_target() {
    let mut device = Device::logged_in(Sample::default());
    let target = format!("{}{}", "0".repeat(4), "f".repeat(60));
    let capabilities = |id: &str, target: &str| {
        format!(r#"{{"id":{id},"method":"mining.capabilities","params":[{{"notify":[],"#,)
            + &format!(r#""suggested_target":"{target}"}}]}}"#)
    };
    device.send(&capabilities("null", &target));
    device.pass(SECOND);
    assert_eq!(device.difficulty, Some(2_f64.powi(-20)), "held to the upstream's");
    device.lines.clear();
    device.send(&capabilities("7", &target));
    assert_eq!(device.line()["result"], true);
    device.send(&capabilities("8", "ff"));
    assert_eq!(device.line()["error"][0], 20);
    device.send(r#"{"id":9,"method":"mining.capabilities","params":[7]}"#);
    assert_eq!(device.line()["error"][0], 20);
}

#[test]
fn a_miner_without_a_name_is_asked_for_it_once_it_mines() {
    let mut device = Device::with_work();
    device.send(r#"{"id":1,"method":"mining.subscribe","params":[]}"#);
    device.send(r#"{"id":2,"method":"mining.authorize","params":["w","x"]}"#);
    let asked = device.lines.pop_back().unwrap();
    assert_eq!(asked["method"], "client.get_version");
    device.events.clear();
    device.send(&format!(r#"{{"id":{},"result":"NerdMinerV2/1","error":null}}"#, asked["id"]));
    device.send(&format!(r#"{{"id":{},"result":"another","error":null}}"#, asked["id"]));
    device.send(r#"{"id":7,"result":"stranger","error":null}"#);
    let named: Vec<_> = device
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Named { agent } => Some(agent.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(named, ["NerdMinerV2/1"]);
}

#[test]
fn a_miner_that_loses_its_work_is_shown_why() {
    let mut device = Device::logged_in(Sample::default());
    device.command(Command::Work(None));
    assert_eq!(device.said(), ["client.show_message"]);
}

/// Flaw 9: a V1 miner that does not log in is not waited for for ever.
#[test]
fn who_does_not_log_in_is_closed_after_30_seconds() {
    let mut device = Device::with_work();
    device.send(r#"{"id":1,"method":"mining.subscribe","params":[]}"#);
    device.pass(29 * SECOND);
    assert!(device.ended.is_none());
    device.pass(2 * SECOND);
    assert!(matches!(device.ended, Some(PeerError::TimedOut(_))));
}

#[test]
fn what_is_no_stratum_is_closed() {
    for bytes in ["GET / HTTP/1.1\r\n\r\n", "{\"id\":[1]}\n", "[]\n", "{\"a\":\"\0\"}\n"] {
        let mut device = Device::with_work();
        device.send_bytes(bytes.as_bytes());
        assert!(matches!(device.ended, Some(PeerError::Misbehaved(_))), "{bytes}");
    }
}

#[test]
fn requests_pile_up_only_to_a_limit_while_there_is_no_work() {
    let mut device = Device::new();
    let line = r#"{"id":1,"method":"mining.subscribe","params":["x"]}"#;
    for _ in 0..100_000 {
        device.send(line);
        if device.ended.is_some() {
            break;
        }
    }
    assert!(matches!(device.ended, Some(PeerError::OverLimit(_))));
}

/// Flaw 9: no line of a V1 miner makes a buffer grow past its limit.
#[test]
fn a_line_over_16_kib_is_closed() {
    let mut device = Device::with_work();
    device.send_bytes(&vec![b' '; 17 * 1024]);
    assert!(matches!(device.ended, Some(PeerError::OverLimit(_))));
}

#[test]
fn no_work_for_too_long_closes_miners_and_lets_newcomers_wait() {
    let mut device = Device::logged_in(Sample { nbits: HARD_NBITS, ..Sample::default() });
    device.command(Command::Work(None));
    assert!(device.session.is_finished());
    let mut newcomer = Device::with_work();
    newcomer.command(Command::Work(None));
    assert!(!newcomer.session.is_finished());
}

/// Lines of all kinds, to be cut and joined.
const LINES: [&str; 9] = [
    r#"{"id":1,"method":"mining.subscribe","params":["x","1"]}"#,
    r#"{"id":2,"method":"mining.authorize","params":["w","d=1e-9"]}"#,
    r#"{"id":3,"method":"mining.configure","params":[["version-rolling","info"],{"a":"x"}]}"#,
    r#"{"id":4,"method":"mining.submit","params":["w","1","5e5e5e5e5e5e5e5e","65000000","1"]}"#,
    r#"{"id":null,"method":"mining.suggest_target","params":["ffffffff"]}"#,
    r#"{"id":5,"method":"mining.suggest_difficulty","params":[1e-300]}"#,
    r#"{"id":6,"method":"mining.extranonce.subscribe"}"#,
    r#"{"id":"a","result":[[["b"]]],"error":{}}"#,
    "\u{16}\u{0}\\\"[[[[{{",
];

proptest! {
    #[test]
    fn no_line_that_a_miner_could_write_breaks_the_session(
        parts in proptest::collection::vec((0..LINES.len(), 0..120_usize, any::<u8>()), 1..40),
    ) {
        let mut device = Device::with_work();
        for (line, at, byte) in parts {
            let mut bytes = LINES[line].as_bytes().to_vec();
            // Half of them are whole; in the others one byte is another.
            if byte & 1 == 1 && at < bytes.len() {
                bytes[at] = byte;
            }
            bytes.push(b'\n');
            if device.ended.is_some() {
                device = Device::with_work();
            }
            device.send_bytes(&bytes);
            device.pass(Duration::from_millis(300));
        }
    }
}
