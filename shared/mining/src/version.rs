//! Which bits of the header version a miner may roll.

/// The 24 bits of BIP323, which SV2 lets every miner roll.
pub const BIP323_MASK: u32 = 0x1fff_ffe0;

/// The 16 bits of BIP320, which is what V1 firmware rolls (BIP310 masks).
pub const ROLLING_MASK: u32 = 0x1fff_e000;

/// True if `rolled` differs from `job` in rollable bits alone.
pub fn is_rolled_within(mask: u32, job: u32, rolled: u32) -> bool {
    (job ^ rolled) & !mask == 0
}
