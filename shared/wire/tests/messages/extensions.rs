//! The messages of extension 0x0001 against SRI's.

use stratum_core::extensions_sv2 as sri;
use wire::sv2::extensions::{RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess};

use crate::agrees_with_sri;

agrees_with_sri! {
    request_extensions: RequestExtensions, sri::RequestExtensions<'_>, sri::RequestExtensionsOwned {
        request_id, requested_extensions
    }
    request_extensions_success: RequestExtensionsSuccess, sri::RequestExtensionsSuccess<'_>,
    sri::RequestExtensionsSuccessOwned { request_id, supported_extensions }
    request_extensions_error: RequestExtensionsError, sri::RequestExtensionsError<'_>,
    sri::RequestExtensionsErrorOwned { request_id, unsupported_extensions, required_extensions }
}
