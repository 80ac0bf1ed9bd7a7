//! The Template Distribution Protocol (spec chapter 7) against SRI's.

use stratum_core::template_distribution_sv2 as sri;
use wire::sv2::template::{
    CoinbaseOutputConstraints, NewTemplate, RequestTransactionData, RequestTransactionDataError,
    RequestTransactionDataSuccess, SetNewPrevHash, SubmitSolution,
};

use crate::agrees_with_sri;

agrees_with_sri! {
    coinbase_output_constraints: CoinbaseOutputConstraints, sri::CoinbaseOutputConstraints,
    sri::CoinbaseOutputConstraintsOwned {
        coinbase_output_max_additional_size, coinbase_output_max_additional_sigops
    }
    new_template: NewTemplate, sri::NewTemplate<'_>, sri::NewTemplateOwned {
        template_id, future_template, version, coinbase_tx_version, coinbase_prefix,
        coinbase_tx_input_sequence, coinbase_tx_value_remaining, coinbase_tx_outputs_count,
        coinbase_tx_outputs, coinbase_tx_locktime, merkle_path
    }
    set_new_prev_hash: SetNewPrevHash, sri::SetNewPrevHash<'_>, sri::SetNewPrevHashOwned {
        template_id, prev_hash, header_timestamp, n_bits, target
    }
    request_transaction_data: RequestTransactionData, sri::RequestTransactionData,
    sri::RequestTransactionDataOwned { template_id }
    request_transaction_data_success: RequestTransactionDataSuccess,
    sri::RequestTransactionDataSuccess<'_>, sri::RequestTransactionDataSuccessOwned {
        template_id, excess_data, transaction_list
    }
    request_transaction_data_error: RequestTransactionDataError,
    sri::RequestTransactionDataError<'_>, sri::RequestTransactionDataErrorOwned {
        template_id, error_code
    }
    submit_solution: SubmitSolution, sri::SubmitSolution<'_>, sri::SubmitSolutionOwned {
        template_id, version, header_timestamp, header_nonce, coinbase_tx
    }
}
