//! Blocks that the network accepted: what we compute of them must be what is in them.
//!
//! Headers and txids are in display order, as explorers print them. Each block proves its own
//! vector: a wrong digit anywhere changes its hash.

use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash;
use bitcoin::hex::FromHex;
use bitcoin::{CompactTarget, Transaction};
use channels_sv2::bip141::try_strip_bip141;
use mining::coinbase::Coinbase;
use mining::hash::{display, double_sha256};
use mining::header::Header;
use mining::merkle::{path_of_coinbase, root_from_path};
use mining::target::Target;

/// A block and what is known of it.
struct Known {
    hash: &'static str,
    version: u32,
    prev_hash: &'static str,
    merkle_root: &'static str,
    ntime: u32,
    nbits: u32,
    nonce: u32,
    difficulty: f64,
    /// The coinbase's first.
    txids: &'static [&'static str],
}

const BLOCKS: [Known; 4] = [
    // mainnet 0
    Known {
        hash: "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
        version: 1,
        prev_hash: "0000000000000000000000000000000000000000000000000000000000000000",
        merkle_root: "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b",
        ntime: 1_231_006_505,
        nbits: 0x1d00_ffff,
        nonce: 2_083_236_893,
        difficulty: 1.0,
        txids: &["4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"],
    },
    // mainnet 170
    Known {
        hash: "00000000d1145790a8694403d4063f323d499e655c83426834d4ce2f8dd4a2ee",
        version: 1,
        prev_hash: "000000002a22cfee1f2c846adbd12b3e183d4f97683f85dad08a79780a84bd55",
        merkle_root: "7dac2c5666815c17a3b36427de37bb9d2e2c5ccec3f8633eb91a4205cb4c10ff",
        ntime: 1_231_731_025,
        nbits: 0x1d00_ffff,
        nonce: 1_889_418_792,
        difficulty: 1.0,
        txids: &[
            "b1fea52486ce0c62bb442b530a3f0132b826c74e473d1f2c220bfa78111c5082",
            "f4184fc596403b9d638783cf57adfe4c75c605f6356fbc91338530e9831e9e16",
        ],
    },
    // mainnet 100 000
    Known {
        hash: "000000000003ba27aa200b1cecaad478d2b00432346c3f1f3986da1afd33e506",
        version: 1,
        prev_hash: "000000000002d01c1fccc21636b607dfd930d31d01c3a62104612a1719011250",
        merkle_root: "f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766",
        ntime: 1_293_623_863,
        nbits: 0x1b04_864c,
        nonce: 274_148_111,
        difficulty: 14_484.162_361_225_4,
        txids: &[
            "8c14f0db3df150123e6f3dbbf30f8b955a8249b62ac1d1ff16284aefa3d06d87",
            "fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4",
            "6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4",
            "e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d",
        ],
    },
    // regtest 107, with a segwit transaction: the example of BIP152 in rust-bitcoin's tests
    Known {
        hash: "38c34a52ad8b8a937ca861a2991372eb9b6a0c9b43a71ba4acba3959f570f816",
        version: 0x2000_0000,
        prev_hash: "2cc6fde139acce0d52e42e3195916d11759976088a50815ffdae3540360a756c",
        merkle_root: "c93a5e3dbd628a0f94e243df45bd580841f7affe0a611e8c3554e3b87374c64d",
        ntime: 1_553_449_539,
        nbits: 0x207f_ffff,
        nonce: 0,
        difficulty: 4.656_542_373_906_924_7e-10,
        txids: &[
            "d6e810b3b5e8cab1596b5a9612075f61b717bc1be40c0a40f77b7c44b514d5b5",
            "7f5aa3c7165f84bc87ebc91d67c674d300b193ef57a07ca9462d247888551fd7",
        ],
    },
];

/// The coinbase of regtest 107 as it stands in the block, up to its scriptSig, from there to the
/// end.
const SEGWIT_PREFIX: &str = concat!(
    "02000000",                                                         // version
    "0001",                                                             // marker, flag
    "01",                                                               // inputs
    "0000000000000000000000000000000000000000000000000000000000000000", // no transaction
    "ffffffff",                                                         // no output of it
    "04",                                                               // bytes of scriptSig
    "016b",                                                             // height 107
);
/// What takes the place of the extranonce in it.
const SEGWIT_EXTRANONCE: &str = "0101";
const SEGWIT_SUFFIX: &str = concat!(
    "ffffffff",                       // sequence
    "02",                             // outputs
    "0006062a010000000151",           // the miner's
    "0000000000000000266a24aa21a9ed", // witness commitment
    "4a3d9f3343dafcc0d6f6d4310f2ee5ce273ed34edca6c75db3a73e7f36873420",
    "0120", // witness
    "0000000000000000000000000000000000000000000000000000000000000000",
    "00000000", // locktime
);

/// From display order to internal byte order.
fn internal(text: &str) -> [u8; 32] {
    let mut bytes = <[u8; 32]>::from_hex(text).unwrap();
    bytes.reverse();
    bytes
}

fn bytes(text: &str) -> Vec<u8> {
    Vec::from_hex(text).unwrap()
}

impl Known {
    fn header(&self) -> Header {
        Header {
            version: self.version,
            prev_hash: internal(self.prev_hash),
            merkle_root: internal(self.merkle_root),
            ntime: self.ntime,
            nbits: self.nbits,
            nonce: self.nonce,
        }
    }
}

#[test]
fn known_headers_hash_to_known_blocks() {
    for block in BLOCKS {
        let header = block.header();
        assert_eq!(display(&header.hash()), block.hash);
        let read: bitcoin::block::Header = deserialize(&header.to_bytes()).unwrap();
        assert_eq!(read.block_hash().to_string(), block.hash);
        assert_eq!(read.bits, CompactTarget::from_consensus(block.nbits));
    }
}

#[test]
fn known_transactions_fold_to_known_merkle_roots() {
    for block in BLOCKS {
        let txids: Vec<_> = block.txids.iter().map(|txid| internal(txid)).collect();
        let path = path_of_coinbase(&txids[1..]);
        let root = root_from_path(txids[0], &path);
        assert_eq!(display(&root), block.merkle_root, "of {}", block.hash);
    }
}

#[test]
fn known_blocks_meet_their_target_and_not_one_below_their_hash() {
    for block in BLOCKS {
        let target = Target::from_nbits(block.nbits).unwrap();
        let hash = internal(block.hash);
        assert!(target.is_met_by(&hash), "{}", block.hash);
        assert!(Target::from_le_bytes(hash).is_met_by(&hash), "{}", block.hash);
        let mut below = hash;
        below[0] -= 1;
        assert!(!Target::from_le_bytes(below).is_met_by(&hash), "{}", block.hash);
    }
}

#[test]
fn known_targets_have_known_difficulties() {
    for block in BLOCKS {
        let target = Target::from_nbits(block.nbits).unwrap();
        let ratio = target.difficulty() / block.difficulty;
        assert!((ratio - 1.0).abs() < 1e-12, "{} of {}", target.difficulty(), block.hash);
    }
}

#[test]
fn the_segwit_coinbase_of_a_known_block_is_put_together_and_stripped() {
    let (prefix, suffix) = (bytes(SEGWIT_PREFIX), bytes(SEGWIT_SUFFIX));
    let extranonce = bytes(SEGWIT_EXTRANONCE);
    let known = [&prefix[..], &extranonce, &suffix].concat();
    let (stripped_prefix, stripped_suffix) = try_strip_bip141(&prefix, &suffix).unwrap().unwrap();
    let coinbase = Coinbase {
        prefix: stripped_prefix.into(),
        suffix: stripped_suffix.into(),
        has_witness: true,
    };
    assert_eq!(coinbase.whole(&extranonce), known);
    let read: Transaction = deserialize(&known).unwrap();
    let stripped = [&coinbase.prefix[..], &extranonce, &coinbase.suffix].concat();
    assert_eq!(double_sha256(&stripped), read.compute_txid().to_byte_array());
    assert_eq!(display(&double_sha256(&stripped)), BLOCKS[3].txids[0]);
    assert_ne!(display(&double_sha256(&known)), BLOCKS[3].txids[0], "that is the wtxid");
}

#[test]
fn the_coinbase_of_the_first_block_is_put_together_without_a_witness() {
    let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin);
    let known = bitcoin::consensus::serialize(&genesis.txdata[0]);
    // Any place in the scriptSig will do for the extranonce; it starts at byte 42.
    let (prefix, rest) = known.split_at(50);
    let (extranonce, suffix) = rest.split_at(12);
    let coinbase = Coinbase {
        prefix: prefix.to_vec().into(),
        suffix: suffix.to_vec().into(),
        has_witness: false,
    };
    assert_eq!(coinbase.whole(extranonce), known);
    assert_eq!(display(&double_sha256(&known)), BLOCKS[0].txids[0]);
}
