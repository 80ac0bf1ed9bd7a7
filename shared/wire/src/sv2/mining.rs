//! The messages of the Mining Protocol (spec chapter 5.3).
//!
//! Hashes are in internal byte order, targets are 256-bit little-endian numbers.

use super::codec::{Blob, Bytes32, List, Str255};
use super::message::messages;

/// `OpenMiningChannel.Error`, and `SubmitShares.Error` for a worker's name: it cannot be used.
pub const ERROR_INVALID_USER_IDENTITY: &str = "invalid-user-identity";
/// `OpenMiningChannel.Error` and `UpdateChannel.Error`: no hashrate is like that.
pub const ERROR_INVALID_NOMINAL_HASHRATE: &str = "invalid-nominal-hashrate";
/// `OpenMiningChannel.Error` and `UpdateChannel.Error`: harder than this server lets a target be.
pub const ERROR_MAX_TARGET_OUT_OF_RANGE: &str = "max-target-out-of-range";
/// `OpenMiningChannel.Error`: more rollable extranonce than there is.
pub const ERROR_MIN_EXTRANONCE_SIZE_TOO_LARGE: &str = "min-extranonce-size-too-large";
/// `OpenMiningChannel.Error`: no extranonce prefix or channel id is left.
pub const ERROR_CHANNEL_CAPACITY_EXHAUSTED: &str = "channel-capacity-exhausted";
/// `OpenMiningChannel.Error`: the connection asked for standard jobs.
pub const ERROR_EXTENDED_CHANNELS_NOT_SUPPORTED: &str =
    "extended-channels-not-supported-for-standard-jobs";
/// `UpdateChannel.Error` and `SubmitShares.Error`: no such channel on this connection.
pub const ERROR_INVALID_CHANNEL_ID: &str = "invalid-channel-id";
/// `SubmitShares.Error`: the share cannot be read as one.
pub const ERROR_INVALID_SHARE: &str = "invalid-share";
/// `SubmitShares.Error`: the job belongs to an earlier tip.
pub const ERROR_STALE_SHARE: &str = "stale-share";
/// `SubmitShares.Error`: the hash is above the target of the job.
pub const ERROR_DIFFICULTY_TOO_LOW: &str = "difficulty-too-low";
/// `SubmitShares.Error`: no such job on this channel.
pub const ERROR_INVALID_JOB_ID: &str = "invalid-job-id";
/// `SubmitShares.Error`: this header was submitted before.
pub const ERROR_DUPLICATE_SHARE: &str = "duplicate-share";
/// `SubmitShares.Error`: the extranonce has another size than the channel.
pub const ERROR_BAD_EXTRANONCE_SIZE: &str = "bad-extranonce-size";
/// `SubmitShares.Error`: version bits outside BIP323 were changed.
pub const ERROR_INVALID_NON_ROLLABLE_VERSION_BIT: &str = "invalid-non-rollable-version-bit";
/// `SubmitShares.Error`: nTime outside what the job allows.
pub const ERROR_INVALID_NTIME: &str = "invalid-ntime";
/// `SetCustomMiningJob.Error`: job declaration is not served here.
pub const ERROR_JD_NOT_SUPPORTED: &str = "jd-not-supported";

messages! {
    /// Any message of the Mining Protocol.
    enum Mining, extension: 0;

    /// Asks for a standard channel (spec 5.3.2).
    OpenStandardMiningChannel = 0x10, channel_msg: false, "OpenStandardMiningChannel" {
        /// Pairs the answer with the request.
        request_id: u32,
        /// Who mines.
        user_identity: Str255,
        /// Expected hashes per second; 0.0 from a proxy without miners.
        nominal_hash_rate: f32,
        /// The easiest target that the device takes, little-endian.
        max_target: [u8; 32],
    }

    /// A standard channel is open (spec 5.3.3).
    OpenStandardMiningChannelSuccess = 0x11, channel_msg: false,
    "OpenStandardMiningChannel.Success" {
        /// The request.
        request_id: u32,
        /// The new channel.
        channel_id: u32,
        /// The first target, little-endian.
        target: [u8; 32],
        /// The whole extranonce of the channel.
        extranonce_prefix: Bytes32,
        /// The group that the channel belongs to.
        group_channel_id: u32,
    }

    /// A channel was refused (spec 5.3.6).
    OpenMiningChannelError = 0x12, channel_msg: false, "OpenMiningChannel.Error" {
        /// The request.
        request_id: u32,
        /// The cause.
        error_code: Str255,
    }

    /// Asks for an extended channel (spec 5.3.4).
    OpenExtendedMiningChannel = 0x13, channel_msg: false, "OpenExtendedMiningChannel" {
        /// Pairs the answer with the request.
        request_id: u32,
        /// Who mines.
        user_identity: Str255,
        /// Expected hashes per second; 0.0 from a proxy without miners.
        nominal_hash_rate: f32,
        /// The easiest target that the devices take, little-endian.
        max_target: [u8; 32],
        /// The fewest rollable extranonce bytes that will do.
        min_extranonce_size: u16,
    }

    /// An extended channel is open (spec 5.3.5).
    OpenExtendedMiningChannelSuccess = 0x14, channel_msg: false,
    "OpenExtendedMiningChannel.Success" {
        /// The request.
        request_id: u32,
        /// The new channel.
        channel_id: u32,
        /// The first target, little-endian.
        target: [u8; 32],
        /// Rollable extranonce bytes.
        extranonce_size: u16,
        /// The fixed first part of the extranonce.
        extranonce_prefix: Bytes32,
        /// The group that the channel belongs to.
        group_channel_id: u32,
    }

    /// A job with a fixed merkle root (spec 5.3.15).
    NewMiningJob = 0x15, channel_msg: true, "NewMiningJob" {
        /// A standard channel.
        channel_id: u32,
        /// The job.
        job_id: u32,
        /// Smallest nTime; empty for a future job.
        min_ntime: Option<u32>,
        /// Header version; the BIP323 bits are the miner's.
        version: u32,
        /// Merkle root as in the header.
        merkle_root: [u8; 32],
    }

    /// The client's wishes for a channel changed (spec 5.3.7).
    UpdateChannel = 0x16, channel_msg: true, "UpdateChannel" {
        /// The channel.
        channel_id: u32,
        /// Expected hashes per second.
        nominal_hash_rate: f32,
        /// The easiest target that the client takes, little-endian.
        maximum_target: [u8; 32],
    }

    /// An `UpdateChannel` was refused (spec 5.3.8).
    UpdateChannelError = 0x17, channel_msg: true, "UpdateChannel.Error" {
        /// The channel.
        channel_id: u32,
        /// The cause.
        error_code: Str255,
    }

    /// Ends a channel, or all channels of a group (spec 5.3.9).
    CloseChannel = 0x18, channel_msg: true, "CloseChannel" {
        /// The channel or group.
        channel_id: u32,
        /// The cause.
        reason_code: Str255,
    }

    /// A new extranonce prefix for later jobs (spec 5.3.10).
    SetExtranoncePrefix = 0x19, channel_msg: true, "SetExtranoncePrefix" {
        /// The channel, never a group.
        channel_id: u32,
        /// The fixed first part of the extranonce.
        extranonce_prefix: Bytes32,
    }

    /// A share of a standard channel (spec 5.3.11).
    SubmitSharesStandard = 0x1a, channel_msg: true, "SubmitSharesStandard" {
        /// The channel.
        channel_id: u32,
        /// Pairs the answer with the share.
        sequence_number: u32,
        /// The job.
        job_id: u32,
        /// Header nonce.
        nonce: u32,
        /// Header nTime.
        ntime: u32,
        /// Whole header version.
        version: u32,
    }

    /// A share of an extended channel (spec 5.3.12).
    SubmitSharesExtended = 0x1b, channel_msg: true, "SubmitSharesExtended" {
        /// The channel.
        channel_id: u32,
        /// Pairs the answer with the share.
        sequence_number: u32,
        /// The job.
        job_id: u32,
        /// Header nonce.
        nonce: u32,
        /// Header nTime.
        ntime: u32,
        /// Whole header version.
        version: u32,
        /// The rolled part of the extranonce, exactly as long as the channel's.
        extranonce: Bytes32,
    }

    /// One or more shares were accepted (spec 5.3.13).
    SubmitSharesSuccess = 0x1c, channel_msg: true, "SubmitShares.Success" {
        /// The channel.
        channel_id: u32,
        /// The last accepted share.
        last_sequence_number: u32,
        /// Shares accepted since the last such message.
        new_submits_accepted_count: u32,
        /// Their difficulty, added up.
        new_shares_sum: u64,
    }

    /// A share was rejected (spec 5.3.14).
    SubmitSharesError = 0x1d, channel_msg: true, "SubmitShares.Error" {
        /// The channel.
        channel_id: u32,
        /// The share.
        sequence_number: u32,
        /// The cause.
        error_code: Str255,
    }

    /// A job whose merkle root can be rolled (spec 5.3.16).
    NewExtendedMiningJob = 0x1f, channel_msg: true, "NewExtendedMiningJob" {
        /// An extended channel or a group.
        channel_id: u32,
        /// The job.
        job_id: u32,
        /// Smallest nTime; empty for a future job.
        min_ntime: Option<u32>,
        /// Header version; the BIP323 bits are the miner's.
        version: u32,
        /// True if the BIP323 bits may be rolled.
        version_rolling_allowed: bool,
        /// Merkle path of the coinbase, deepest first.
        merkle_path: List<[u8; 32], 255>,
        /// Coinbase before the extranonce, stripped of BIP141 fields.
        coinbase_tx_prefix: Blob<65_535>,
        /// Coinbase after the extranonce, stripped of BIP141 fields.
        coinbase_tx_suffix: Blob<65_535>,
    }

    /// The tip changed: mine on the named future job (spec 5.3.17).
    SetNewPrevHash = 0x20, channel_msg: true, "SetNewPrevHash" {
        /// The channel or group.
        channel_id: u32,
        /// A future job sent before.
        job_id: u32,
        /// Hash of the tip.
        prev_hash: [u8; 32],
        /// Smallest nTime.
        min_ntime: u32,
        /// nBits of the header.
        nbits: u32,
    }

    /// A new target for later jobs (spec 5.3.21).
    SetTarget = 0x21, channel_msg: true, "SetTarget" {
        /// The channel or group.
        channel_id: u32,
        /// The highest hash that is a share, little-endian.
        maximum_target: [u8; 32],
    }

    /// A job that the miner declared (spec 5.3.18).
    SetCustomMiningJob = 0x22, channel_msg: true, "SetCustomMiningJob" {
        /// An extended channel or a group.
        channel_id: u32,
        /// Pairs the answer with the request.
        request_id: u32,
        /// Token of the declared job.
        mining_job_token: Blob<255>,
        /// Header version.
        version: u32,
        /// Hash of the tip.
        prev_hash: [u8; 32],
        /// Smallest nTime.
        min_ntime: u32,
        /// nBits of the header.
        nbits: u32,
        /// nVersion of the coinbase.
        coinbase_tx_version: u32,
        /// First bytes of the scriptSig.
        coinbase_prefix: Blob<255>,
        /// nSequence of the coinbase input.
        coinbase_tx_input_n_sequence: u32,
        /// CompactSize-prefixed outputs.
        coinbase_tx_outputs: Blob<65_535>,
        /// nLockTime of the coinbase.
        coinbase_tx_locktime: u32,
        /// Merkle path of the coinbase, deepest first.
        merkle_path: List<[u8; 32], 255>,
    }

    /// A custom job was accepted (spec 5.3.19).
    SetCustomMiningJobSuccess = 0x23, channel_msg: true, "SetCustomMiningJob.Success" {
        /// The channel.
        channel_id: u32,
        /// The request.
        request_id: u32,
        /// The server's name for the job.
        job_id: u32,
    }

    /// A custom job was refused (spec 5.3.20).
    SetCustomMiningJobError = 0x24, channel_msg: true, "SetCustomMiningJob.Error" {
        /// The channel.
        channel_id: u32,
        /// The request.
        request_id: u32,
        /// The cause.
        error_code: Str255,
    }

    /// Puts channels into a group (spec 5.3.22).
    SetGroupChannel = 0x25, channel_msg: false, "SetGroupChannel" {
        /// The group.
        group_channel_id: u32,
        /// The channels.
        channel_ids: List<u32, 65_535>,
    }
}
