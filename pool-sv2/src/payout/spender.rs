//! Who can spend what a script pays: the look at a payout before a block's reward depends on it.
//!
//! A guard against mistakes: scripts that anyone can spend, or nobody. It cannot know what a hash
//! hides, but for the few scripts that people try things out with.

use bitcoin::hashes::Hash;
use bitcoin::opcodes::all::{
    OP_CHECKMULTISIG, OP_CHECKMULTISIGVERIFY, OP_CHECKSIG, OP_CHECKSIGVERIFY,
};
use bitcoin::script::Instruction;
use bitcoin::{Script, ScriptBuf, WitnessVersion, XOnlyPublicKey};

/// Fails if anyone could spend what `script` pays, or nobody, on a chain with Bitcoin's rules; the
/// reason is a part of a sentence.
pub(super) fn keeps_its_coins(script: &Script) -> Result<(), &'static str> {
    if script.is_empty() {
        return Err("anyone can spend from an empty script");
    }
    if script.is_op_return() {
        return Err("nobody could ever spend from a script that begins with OP_RETURN");
    }
    if open_scripts().any(|open| *script == *open) {
        return Err("this is the hash of a script that anyone can spend from");
    }
    match script.witness_version() {
        Some(version) => witness_keeps_its_coins(version, script),
        None if script.is_p2sh() || asks_for_a_signature(script) => Ok(()),
        None => Err("anyone can spend from a script that asks for no signature"),
    }
}

fn witness_keeps_its_coins(version: WitnessVersion, script: &Script) -> Result<(), &'static str> {
    let key = script.as_bytes().get(2..);
    match version {
        WitnessVersion::V0 if script.is_p2wpkh() || script.is_p2wsh() => Ok(()),
        WitnessVersion::V0 => Err("nobody could ever spend from a witness program of this length"),
        WitnessVersion::V1 if script.is_p2tr() => match key.map(XOnlyPublicKey::from_slice) {
            Some(Ok(_)) => Ok(()),
            _ => Err("nobody could ever spend from a taproot output whose key is no key"),
        },
        _ => Err("anyone can spend from a witness version that has no rules yet"),
    }
}

/// Scripts that hide OP_TRUE, or nothing, behind a hash.
fn open_scripts() -> impl Iterator<Item = ScriptBuf> {
    [ScriptBuf::from_bytes(vec![0x51]), ScriptBuf::new()].into_iter().flat_map(|open| {
        let p2sh = ScriptBuf::new_p2sh(&bitcoin::ScriptHash::hash(open.as_bytes()));
        let p2wsh = ScriptBuf::new_p2wsh(&bitcoin::WScriptHash::hash(open.as_bytes()));
        let nested = ScriptBuf::new_p2sh(&bitcoin::ScriptHash::hash(p2wsh.as_bytes()));
        [p2sh, p2wsh, nested]
    })
}

fn asks_for_a_signature(script: &Script) -> bool {
    let checks = [OP_CHECKSIG, OP_CHECKSIGVERIFY, OP_CHECKMULTISIG, OP_CHECKMULTISIGVERIFY];
    // Behind a push that ends beyond the script nothing can be read, and nothing be spent.
    let mut instructions = script.instructions().map_while(Result::ok);
    instructions.any(|instruction| match instruction {
        Instruction::Op(code) => checks.contains(&code),
        Instruction::PushBytes(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(hex: &str) -> Result<(), &'static str> {
        keeps_its_coins(&ScriptBuf::from_hex(hex).unwrap())
    }

    #[test]
    fn scripts_that_ask_for_a_key_are_fine() {
        let key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        for script in [
            format!("76a914{}88ac", "11".repeat(20)),
            format!("a914{}87", "11".repeat(20)),
            format!("0014{}", "11".repeat(20)),
            format!("0020{}", "11".repeat(32)),
            format!("5120{}", &key[2..]),
            format!("21{key}ac"),
            format!("5121{key}51ae"),
        ] {
            assert_eq!(judge(&script), Ok(()), "{script}");
        }
    }

    #[test]
    fn scripts_that_anyone_can_spend_from_are_found() {
        let hash = "11".repeat(20);
        for script in [
            "",
            // OP_TRUE, OP_2, a push, OP_TRUE hidden behind a signature check's byte in a push.
            "51",
            "52",
            "0101",
            "01ac51",
            // A hash lock: whoever sees it spent can spend it.
            &format!("a820{}87", "11".repeat(32)),
            // Witness versions 1 (pay-to-anchor, 20 bytes), 2 and 16.
            "51024e73",
            &format!("5114{hash}"),
            &format!("5220{}", "11".repeat(32)),
            &format!("6028{}", "11".repeat(40)),
        ] {
            let judged = judge(script).unwrap_err();
            assert!(judged.starts_with("anyone can spend"), "{script}: {judged}");
        }
    }

    #[test]
    fn op_true_is_known_behind_its_hashes() {
        for script in [
            // As Bitcoin's own tests have them: P2SH and P2WSH of OP_TRUE.
            "a914da1745e9b549bd0bfa1a569971c77eba30cd5a4b87",
            "00204ae81572f06e1b88fd5ced7a1a000945432e83e1551e6f721ee9c00b8cc33260",
        ] {
            assert!(judge(script).unwrap_err().contains("hash of a script"), "{script}");
        }
    }

    #[test]
    fn scripts_that_nobody_can_spend_from_are_found() {
        for script in [
            "6a",
            "6a04deadbeef",
            &format!("0015{}", "11".repeat(21)),
            &format!("5120{}", "ff".repeat(32)),
        ] {
            assert!(judge(script).unwrap_err().starts_with("nobody could"), "{script}");
        }
    }
}
