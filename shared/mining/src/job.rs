//! A job: a template made ready to be mined, shared by all channels that work on it.
//!
//! Built once per template and payout; a channel keeps no copy of it.

use std::sync::Arc;

use crate::coinbase::{Coinbase, CoinbaseError, Output};
use crate::hash::Midstate;
use crate::header::Header;
use crate::memo::Memo;
use crate::merkle::root_from_path;
use crate::template::{ChainTip, Template};

/// Work for any number of channels. Immutable.
pub struct Job {
    /// The block that it builds on.
    pub tip: Arc<ChainTip>,
    /// The template that it was made of.
    pub template: Arc<Template>,
    /// The coinbase but for its extranonce.
    pub coinbase: Coinbase,
    /// For whoever keeps the books of its blocks.
    pub memo: Memo,
    /// SHA-256 after the coinbase's prefix, which all shares of the job have in common.
    after_prefix: Midstate,
}

impl Job {
    /// Makes `template` ready to be mined on `tip`.
    pub fn new(
        tip: Arc<ChainTip>,
        template: Arc<Template>,
        tag: &[u8],
        outputs: &[Output],
    ) -> Result<Self, CoinbaseError> {
        let coinbase = Coinbase::build(&template, tag, outputs)?;
        let after_prefix = Midstate::after(&coinbase.prefix);
        Ok(Self { tip, template, coinbase, memo: Memo::default(), after_prefix })
    }

    /// The same with a memo that each of its solutions carries.
    #[must_use]
    pub fn with_memo(self, memo: Memo) -> Self {
        Self { memo, ..self }
    }

    /// The merkle root with the extranonce that `extranonce` gives in parts, internal byte order.
    pub fn merkle_root(&self, extranonce: [&[u8]; 2]) -> [u8; 32] {
        let [prefix, rolled] = extranonce;
        let txid = self.after_prefix.finish(&[prefix, rolled, &self.coinbase.suffix]);
        root_from_path(txid, &self.template.merkle_path)
    }

    /// The header with what the miner chose.
    pub fn header(&self, merkle_root: [u8; 32], version: u32, ntime: u32, nonce: u32) -> Header {
        let prev_hash = self.tip.hash;
        Header { version, prev_hash, merkle_root, ntime, nbits: self.tip.nbits, nonce }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::double_sha256;
    use crate::template::tests::{template, tip};

    /// Spec 5.3.16: the merkle root is folded from the coinbase's txid, the deepest sibling first.
    #[test]
    fn the_merkle_root_is_that_of_the_coinbase_put_together() {
        let output = Output { value: 5_000_000_000, script: vec![0x51].into() };
        let job =
            Job::new(Arc::new(tip(3, 0x207f_ffff)), Arc::new(template(1)), b"/Adit/", &[output])
                .unwrap();
        let coinbase = [&job.coinbase.prefix[..], &[1, 2], &[3; 10], &job.coinbase.suffix].concat();
        let root = root_from_path(double_sha256(&coinbase), &job.template.merkle_path);
        assert_eq!(job.merkle_root([&[1, 2], &[3; 10]]), root);
    }
}
