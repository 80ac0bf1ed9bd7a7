//! The Mining Protocol (spec chapter 5.3) against SRI's.

use stratum_core::mining_sv2 as sri;
use wire::sv2::mining::{
    CloseChannel, NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess, OpenMiningChannelError, OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess, SetCustomMiningJob, SetCustomMiningJobError,
    SetCustomMiningJobSuccess, SetExtranoncePrefix, SetGroupChannel, SetNewPrevHash, SetTarget,
    SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard, SubmitSharesSuccess,
    UpdateChannel, UpdateChannelError,
};

use crate::agrees_with_sri;

agrees_with_sri! {
    open_standard_mining_channel: OpenStandardMiningChannel, sri::OpenStandardMiningChannel<'_>,
    sri::OpenStandardMiningChannelOwned {
        request_id, user_identity, nominal_hash_rate, max_target
    }
    open_standard_mining_channel_success: OpenStandardMiningChannelSuccess,
    sri::OpenStandardMiningChannelSuccess<'_>, sri::OpenStandardMiningChannelSuccessOwned {
        request_id, channel_id, target, extranonce_prefix, group_channel_id
    }
    open_mining_channel_error: OpenMiningChannelError, sri::OpenMiningChannelError<'_>,
    sri::OpenMiningChannelErrorOwned { request_id, error_code }
    open_extended_mining_channel: OpenExtendedMiningChannel, sri::OpenExtendedMiningChannel<'_>,
    sri::OpenExtendedMiningChannelOwned {
        request_id, user_identity, nominal_hash_rate, max_target, min_extranonce_size
    }
    open_extended_mining_channel_success: OpenExtendedMiningChannelSuccess,
    sri::OpenExtendedMiningChannelSuccess<'_>, sri::OpenExtendedMiningChannelSuccessOwned {
        request_id, channel_id, target, extranonce_size, extranonce_prefix, group_channel_id
    }
    new_mining_job: NewMiningJob, sri::NewMiningJob<'_>, sri::NewMiningJobOwned {
        channel_id, job_id, min_ntime, version, merkle_root
    }
    update_channel: UpdateChannel, sri::UpdateChannel<'_>, sri::UpdateChannelOwned {
        channel_id, nominal_hash_rate, maximum_target
    }
    update_channel_error: UpdateChannelError, sri::UpdateChannelError<'_>,
    sri::UpdateChannelErrorOwned { channel_id, error_code }
    close_channel: CloseChannel, sri::CloseChannel<'_>, sri::CloseChannelOwned {
        channel_id, reason_code
    }
    set_extranonce_prefix: SetExtranoncePrefix, sri::SetExtranoncePrefix<'_>,
    sri::SetExtranoncePrefixOwned { channel_id, extranonce_prefix }
    submit_shares_standard: SubmitSharesStandard, sri::SubmitSharesStandard,
    sri::SubmitSharesStandardOwned {
        channel_id, sequence_number, job_id, nonce, ntime, version
    }
    submit_shares_extended: SubmitSharesExtended, sri::SubmitSharesExtended<'_>,
    sri::SubmitSharesExtendedOwned {
        channel_id, sequence_number, job_id, nonce, ntime, version, extranonce
    }
    submit_shares_success: SubmitSharesSuccess, sri::SubmitSharesSuccess,
    sri::SubmitSharesSuccessOwned {
        channel_id, last_sequence_number, new_submits_accepted_count, new_shares_sum
    }
    submit_shares_error: SubmitSharesError, sri::SubmitSharesError<'_>,
    sri::SubmitSharesErrorOwned { channel_id, sequence_number, error_code }
    new_extended_mining_job: NewExtendedMiningJob, sri::NewExtendedMiningJob<'_>,
    sri::NewExtendedMiningJobOwned {
        channel_id, job_id, min_ntime, version, version_rolling_allowed, merkle_path,
        coinbase_tx_prefix, coinbase_tx_suffix
    }
    set_new_prev_hash: SetNewPrevHash, sri::SetNewPrevHash<'_>, sri::SetNewPrevHashOwned {
        channel_id, job_id, prev_hash, min_ntime, nbits
    }
    set_target: SetTarget, sri::SetTarget<'_>, sri::SetTargetOwned { channel_id, maximum_target }
    set_custom_mining_job: SetCustomMiningJob, sri::SetCustomMiningJob<'_>,
    sri::SetCustomMiningJobOwned {
        channel_id, request_id, version, prev_hash, min_ntime, nbits, coinbase_tx_version,
        coinbase_prefix, coinbase_tx_input_n_sequence, coinbase_tx_outputs, coinbase_tx_locktime,
        merkle_path; mining_job_token as token
    }
    set_custom_mining_job_success: SetCustomMiningJobSuccess, sri::SetCustomMiningJobSuccess,
    sri::SetCustomMiningJobSuccessOwned { channel_id, request_id, job_id }
    set_custom_mining_job_error: SetCustomMiningJobError, sri::SetCustomMiningJobError<'_>,
    sri::SetCustomMiningJobErrorOwned { channel_id, request_id, error_code }
    set_group_channel: SetGroupChannel, sri::SetGroupChannel<'_>, sri::SetGroupChannelOwned {
        group_channel_id, channel_ids
    }
}
