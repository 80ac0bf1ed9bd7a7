//! The codes of what asks a person to act, and the one text of each: what it means, what to do.
//!
//! A code stands at the end of a sentence with which a program refuses to start, and as `code` in
//! what it logs as an error. `PROGRAM --explain CODE` prints the text, of every code by every
//! program: whoever asks need not know whose it is. A code never changes its meaning, and one that
//! is no longer used is given to nothing else.

use std::fmt;

/// A code. It is written as it stands.
pub type Code = &'static str;

/// The settings' file, or the one of `--env-file`, is not there or cannot be read.
pub const SETTINGS_UNREADABLE: Code = "A01";
/// The settings are no TOML, have an unknown key, or lack one.
pub const SETTINGS_NOT_UNDERSTOOD: Code = "A02";
/// A setting has a value that cannot work.
pub const SETTING_UNUSABLE: Code = "A03";
/// An environment variable names no setting.
pub const VARIABLE_UNUSABLE: Code = "A04";
/// A port cannot be opened.
pub const PORT_TAKEN: Code = "A05";
/// The ledger cannot be opened or is damaged.
pub const LEDGER_NOT_OPENED: Code = "A06";
/// The ledger is not written.
pub const LEDGER_NOT_WRITTEN: Code = "A10";
/// The database behind it is not fed.
pub const STORE_NOT_FED: Code = "A11";
/// The books do not follow the log.
pub const BOOKS_NOT_KEPT: Code = "A12";
/// The wallet's payout lost its coins to another transaction.
pub const PAYOUT_IN_CONFLICT: Code = "A13";
/// An account is owed more than there can be.
pub const BALANCE_IMPOSSIBLE: Code = "A14";
/// Anyone could take what blocks would pay.
pub const NOTHING_MINED: Code = "A15";
/// No job can be made of a template.
pub const TEMPLATE_UNUSABLE: Code = "A16";
/// A template provider does not take blocks.
pub const SOLUTIONS_LOST: Code = "A17";
/// People or a program are not told.
pub const NOBODY_TOLD: Code = "A18";
/// A node has refused a block.
pub const BLOCK_REFUSED: Code = "A30";
/// No node has answered for a block yet.
pub const BLOCK_WAITS: Code = "A31";
/// A block is not on disk as it should be.
pub const VAULT_BROKEN: Code = "A32";
/// No template goes out, or a smaller one.
pub const TEMPLATE_REFUSED: Code = "A33";
/// Templates are not on disk as they should be.
pub const SPOOL_BROKEN: Code = "A34";
/// The outbox is not on disk as it should be.
pub const OUTBOX_BROKEN: Code = "A35";
/// A parcel is delivered no more.
pub const PARCEL_STUCK: Code = "A36";
/// An extension's outputs are missing from templates.
pub const EXTENSION_BROKEN: Code = "A37";
/// The upstream pool does not pay as it said.
pub const PROMISE_BROKEN: Code = "A50";

/// The text of one code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// Which.
    pub code: Code,
    /// What it is about, in a line.
    pub title: &'static str,
    /// What has happened, and what that costs.
    pub meaning: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, title, meaning, remedy } = self;
        write!(f, "{code}: {title}\n\n{meaning}\n\nWhat to do: {remedy}")
    }
}

/// The text of `code`, in whatever case.
pub fn of(code: &str) -> Option<&'static Advice> {
    ALL.iter().find(|advice| advice.code.eq_ignore_ascii_case(code.trim()))
}

const fn advice(
    code: Code,
    title: &'static str,
    meaning: &'static str,
    remedy: &'static str,
) -> Advice {
    Advice { code, title, meaning, remedy }
}

/// All of them, in order.
pub const ALL: [Advice; 24] = [
    advice(
        SETTINGS_UNREADABLE,
        "the settings cannot be read",
        "The file of --config or --env-file is not there, or this user may not read it. Nothing \
         was started.",
        "name the right file, or give the user that the program runs as the right to read it. \
         `pool-sv2 init` makes settings for the whole stack.",
    ),
    advice(
        SETTINGS_NOT_UNDERSTOOD,
        "the settings are not understood",
        "The file is no TOML, has a key or a section that this version does not know, lacks one \
         that it needs, or has a value of another kind. The message names the line. Nothing was \
         started.",
        "compare the line with the example in config/, which explains every key. After an upgrade \
         see CHANGELOG.md: keys that went away are named there.",
    ),
    advice(
        SETTING_UNUSABLE,
        "a setting cannot be used",
        "The settings are well written, but this value cannot work, or not together with another \
         one, or a file that it names is not as it should be. Nothing was started.",
        "the message names the setting and what to write instead. `check-config` tries the \
         settings without starting anything.",
    ),
    advice(
        VARIABLE_UNUSABLE,
        "an environment variable names no setting",
        "A variable PROGRAM__SECTION__KEY overrides a setting; this one goes through something \
         that is no section. Nothing was started.",
        "correct its name or remove it: in the unit, in compose's .env, or in the shell.",
    ),
    advice(
        PORT_TAKEN,
        "a port cannot be opened",
        "Another program, perhaps this one started twice, listens at the address, it is no \
         address of this machine, or its number is below 1024 and the user may not open it.",
        "see who listens with `ss -ltnp`, and stop that one or choose another address.",
    ),
    advice(
        LEDGER_NOT_OPENED,
        "the ledger cannot be opened",
        "Another pool has it open, its disk does not work, part of its log is missing or damaged, \
         or the clock is hours behind its last record. The pool does not start, for it would pay \
         wrongly.",
        "the message says which. One pool at a time; the clock set right; a segment that is \
         missing put back from the backup. `pool-sv2 ledger verify` reads the whole log. \
         docs/troubleshooting.md, \"The pool does not start\".",
    ),
    advice(
        LEDGER_NOT_WRITTEN,
        "shares are not acknowledged",
        "The ledger's disk is full or fails. Nothing that was acknowledged is lost and blocks go \
         out as always, but no share is acknowledged until it can be written, and miners will \
         leave.",
        "free room or mend the disk; the pool goes on by itself. store.sqlite may be deleted once \
         the pool is stopped, and old segments of the log moved elsewhere (docs/payouts.md).",
    ),
    advice(
        STORE_NOT_FED,
        "the dashboard's numbers stand still",
        "The database behind the log does not work. Shares, blocks and payouts go on; pages, API \
         and alerts of workers show old numbers.",
        "free room on its disk. If it is damaged or of another version, delete store.sqlite: it \
         is built again from the log while miners mine.",
    ),
    advice(
        BOOKS_NOT_KEPT,
        "the books do not follow the log",
        "A record of the log cannot be read. Shares are kept; shared blocks pay by earlier work, \
         and no debts, until it is mended.",
        "`pool-sv2 ledger verify` names the place. Put that segment back from the backup and \
         start the pool again.",
    ),
    advice(
        PAYOUT_IN_CONFLICT,
        "a payout is in conflict with another transaction",
        "The coins of a payout were spent by another transaction of the wallet, so that it may \
         never be mined. No further payout is made until a person says what became of it.",
        "see in the wallet whether those accounts were paid after all, then `pool-sv2 payout \
         settle TXID --paid` or `--unpaid`. Use the pool's wallet for nothing else.",
    ),
    advice(
        BALANCE_IMPOSSIBLE,
        "a balance cannot be true",
        "The books owe an account more than there are coins; it is left out of payouts, and the \
         others are paid.",
        "`pool-sv2 payout balances` and `pool-sv2 ledger verify`; keep the log as it is, and \
         report it.",
    ),
    advice(
        NOTHING_MINED,
        "no miner has work",
        "The template says that this is a chain with money, and anyone could take what the \
         configured destination is paid.",
        "set payout.address (or descriptor, or script) to one that is yours, and payout.network to \
         the chain.",
    ),
    advice(
        TEMPLATE_UNUSABLE,
        "a template cannot be mined",
        "No job could be made of it: the outputs do not add up or do not fit. Miners keep the \
         work before it, which grows stale with the next block.",
        "the message says what does not fit. With payout.by_template the templates must pay by \
         themselves; without it the provider's clients must leave room for the pool's outputs. \
         Restart both programs in the same version.",
    ),
    advice(
        SOLUTIONS_LOST,
        "a template provider does not take blocks",
        "Blocks were found, and one provider has not read them. If it is the only one, they may be \
         lost.",
        "look at that template-provider and its machine, and restart it. A second provider at \
         another node is insurance.",
    ),
    advice(
        NOBODY_TOLD,
        "a webhook or somebody with alerts is not told",
        "The service answers with an error, or not at all, or the pool's own files beside the \
         ledger cannot be written. Nothing else waits for it; messages of blocks and payouts are \
         kept and sent again.",
        "`pool-sv2 alert test NAME` says what the service answers: a token, an address, a \
         firewall. docs/alerts.md and docs/webhooks.md.",
    ),
    advice(
        BLOCK_REFUSED,
        "a node has refused a block",
        "A found block breaks a rule of the node, or another block took its place. The reason is \
         the node's own.",
        "if it says duplicate or stale, another block was faster. Anything else is worth a report, \
         with the log and the block: `template-provider vault list`.",
    ),
    advice(
        BLOCK_WAITS,
        "a found block has not reached a node yet",
        "It is on disk and is offered again and again, but a block that comes late is orphaned.",
        "bring the node back at once: is it running, is its RPC answering, is the password right? \
         `template-provider vault resubmit --all` offers it by hand.",
    ),
    advice(
        VAULT_BROKEN,
        "found blocks are not safe on disk",
        "A found block could not be written, read or settled in vault.blocks_dir. It was sent to \
         the node all the same; but should the node be away, a restart may lose it.",
        "free room or mend the disk of vault.blocks_dir, and keep what is in it. \
         `template-provider vault list` shows what waits.",
    ),
    advice(
        TEMPLATE_REFUSED,
        "no template goes out, or a poorer one",
        "The node would refuse a block of the template, or none could be made of what it gave. \
         Less is published, down to an empty block, or the work before it goes on.",
        "the reason is the node's own. Often it is an extension (a sidechain's or a shielded \
         output) that the chain does not take: check its settings, and the versions of node and \
         enforcer.",
    ),
    advice(
        SPOOL_BROKEN,
        "templates are not kept on disk",
        "A block that is found just as the template-provider starts anew may not be put together.",
        "free room or mend the disk of templates_dir; its files may be deleted while the program \
         is stopped.",
    ),
    advice(
        OUTBOX_BROKEN,
        "the outbox is not safe on disk",
        "What must be delivered for an accepted block, such as a shielded reward's note, could not \
         be read or written.",
        "free room or mend the disk of outbox.dir, delete nothing in it, and restart. \
         `template-provider outbox list`; lost notes are made again by `notes recover`.",
    ),
    advice(
        PARCEL_STUCK,
        "a delivery is given up",
        "The sidecar has refused a parcel for good, or the settings no longer say where it goes. \
         It is kept: with a shielded coinbase it is the reward.",
        "put the settings back or ask the sidecar why, then `template-provider outbox retry`.",
    ),
    advice(
        EXTENSION_BROKEN,
        "an extension's outputs are left out, or its file not written",
        "A template goes out without what a chain asks for in the coinbase, or a note was not \
         added to the notes file.",
        "the message names the extension and the reason; check its section in the settings, and \
         the disk of its files. `notes recover` makes notes again.",
    ),
    advice(
        PROMISE_BROKEN,
        "the upstream pool does not pay as it said",
        "A job's coinbase does not pay whom the settings expect; the translator has left that \
         pool for the next one.",
        "ask the pool, or correct what the settings expect of it (upstream in config/\
         translator-v1.toml). Without another upstream the miners have no work.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_one_text_which_is_found_in_any_case() {
        for advice in &ALL {
            assert_eq!(of(&advice.code.to_lowercase()), Some(advice));
            assert!(!advice.meaning.is_empty() && !advice.remedy.is_empty());
        }
        assert!(ALL.is_sorted_by(|a, b| a.code < b.code));
        assert_eq!(of("A99"), None);
    }
}
