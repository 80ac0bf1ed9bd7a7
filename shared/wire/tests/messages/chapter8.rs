//! Message types and channel bits against the table of spec chapter 8, and against SRI's constants.
//!
//! On the messages of these three protocols SRI's constants and the table do not differ (spec at
//! 0f38d51, mining_sv2 12.0.0): where they once will, the table is what counts.

use stratum_core::framing_sv2::header::Header as SriHeader;
use stratum_core::{common_messages_sv2, mining_sv2, template_distribution_sv2};
use wire::sv2::codec::DecodeError;
use wire::sv2::frame::{EncodedFrame, Header};
use wire::sv2::message::Message;
use wire::sv2::mining::Mining;
use wire::sv2::setup::{self, Setup, is_setup_message};
use wire::sv2::template::{self, TemplateDistribution};

/// Rows of chapter 8 but those of the Job Declaration Protocol, which we do not speak.
const TABLE: &str = "
    0x00 0 SetupConnection
    0x01 0 SetupConnection.Success
    0x02 0 SetupConnection.Error
    0x03 1 ChannelEndpointChanged
    0x04 0 Reconnect
    0x10 0 OpenStandardMiningChannel
    0x11 0 OpenStandardMiningChannel.Success
    0x12 0 OpenMiningChannel.Error
    0x13 0 OpenExtendedMiningChannel
    0x14 0 OpenExtendedMiningChannel.Success
    0x15 1 NewMiningJob
    0x16 1 UpdateChannel
    0x17 1 UpdateChannel.Error
    0x18 1 CloseChannel
    0x19 1 SetExtranoncePrefix
    0x1a 1 SubmitSharesStandard
    0x1b 1 SubmitSharesExtended
    0x1c 1 SubmitShares.Success
    0x1d 1 SubmitShares.Error
    0x1f 1 NewExtendedMiningJob
    0x20 1 SetNewPrevHash
    0x21 1 SetTarget
    0x22 1 SetCustomMiningJob
    0x23 1 SetCustomMiningJob.Success
    0x24 1 SetCustomMiningJob.Error
    0x25 0 SetGroupChannel
    0x70 0 CoinbaseOutputConstraints
    0x71 0 NewTemplate
    0x72 0 SetNewPrevHash
    0x73 0 RequestTransactionData
    0x74 0 RequestTransactionData.Success
    0x75 0 RequestTransactionData.Error
    0x76 0 SubmitSolution";

/// A message's place in the protocol: type, channel bit, name.
type Row = (u8, bool, String);

fn table() -> Vec<Row> {
    let rows = TABLE.lines().filter(|line| !line.trim().is_empty()).map(|line| {
        let mut cells = line.split_whitespace();
        let number = cells.next().unwrap().strip_prefix("0x").unwrap();
        let bit = cells.next().unwrap() == "1";
        (u8::from_str_radix(number, 16).unwrap(), bit, cells.next().unwrap().to_owned())
    });
    rows.collect()
}

fn row<M: Message>() -> Row {
    (M::MESSAGE_TYPE, M::CHANNEL_MSG, M::NAME.to_owned())
}

/// Every message of ours with SRI's type and bit.
macro_rules! rows {
    ($( $ours:ty, $sri:ident: $number:ident, $bit:ident; )*) => {
        vec![ $( (row::<$ours>(), ($sri::$number, $sri::$bit)) ),* ]
    };
}

fn ours_and_sri() -> Vec<(Row, (u8, bool))> {
    use common_messages_sv2 as common;
    use mining_sv2 as sri;
    use template_distribution_sv2 as tdp;
    use wire::sv2::mining as m;
    rows! {
        setup::SetupConnection, common: MESSAGE_TYPE_SETUP_CONNECTION, CHANNEL_BIT_SETUP_CONNECTION;
        setup::SetupConnectionSuccess, common:
            MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, CHANNEL_BIT_SETUP_CONNECTION_SUCCESS;
        setup::SetupConnectionError, common:
            MESSAGE_TYPE_SETUP_CONNECTION_ERROR, CHANNEL_BIT_SETUP_CONNECTION_ERROR;
        setup::ChannelEndpointChanged, common:
            MESSAGE_TYPE_CHANNEL_ENDPOINT_CHANGED, CHANNEL_BIT_CHANNEL_ENDPOINT_CHANGED;
        setup::Reconnect, common: MESSAGE_TYPE_RECONNECT, CHANNEL_BIT_RECONNECT;
        m::OpenStandardMiningChannel, sri:
            MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL, CHANNEL_BIT_OPEN_STANDARD_MINING_CHANNEL;
        m::OpenStandardMiningChannelSuccess, sri: MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS,
            CHANNEL_BIT_OPEN_STANDARD_MINING_CHANNEL_SUCCESS;
        m::OpenMiningChannelError, sri:
            MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR, CHANNEL_BIT_OPEN_MINING_CHANNEL_ERROR;
        m::OpenExtendedMiningChannel, sri:
            MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL, CHANNEL_BIT_OPEN_EXTENDED_MINING_CHANNEL;
        m::OpenExtendedMiningChannelSuccess, sri: MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS,
            CHANNEL_BIT_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS;
        m::NewMiningJob, sri: MESSAGE_TYPE_NEW_MINING_JOB, CHANNEL_BIT_NEW_MINING_JOB;
        m::UpdateChannel, sri: MESSAGE_TYPE_UPDATE_CHANNEL, CHANNEL_BIT_UPDATE_CHANNEL;
        m::UpdateChannelError, sri:
            MESSAGE_TYPE_UPDATE_CHANNEL_ERROR, CHANNEL_BIT_UPDATE_CHANNEL_ERROR;
        m::CloseChannel, sri: MESSAGE_TYPE_CLOSE_CHANNEL, CHANNEL_BIT_CLOSE_CHANNEL;
        m::SetExtranoncePrefix, sri:
            MESSAGE_TYPE_SET_EXTRANONCE_PREFIX, CHANNEL_BIT_SET_EXTRANONCE_PREFIX;
        m::SubmitSharesStandard, sri:
            MESSAGE_TYPE_SUBMIT_SHARES_STANDARD, CHANNEL_BIT_SUBMIT_SHARES_STANDARD;
        m::SubmitSharesExtended, sri:
            MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED, CHANNEL_BIT_SUBMIT_SHARES_EXTENDED;
        m::SubmitSharesSuccess, sri:
            MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS, CHANNEL_BIT_SUBMIT_SHARES_SUCCESS;
        m::SubmitSharesError, sri:
            MESSAGE_TYPE_SUBMIT_SHARES_ERROR, CHANNEL_BIT_SUBMIT_SHARES_ERROR;
        m::NewExtendedMiningJob, sri:
            MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB, CHANNEL_BIT_NEW_EXTENDED_MINING_JOB;
        m::SetNewPrevHash, sri:
            MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH, CHANNEL_BIT_MINING_SET_NEW_PREV_HASH;
        m::SetTarget, sri: MESSAGE_TYPE_SET_TARGET, CHANNEL_BIT_SET_TARGET;
        m::SetCustomMiningJob, sri:
            MESSAGE_TYPE_SET_CUSTOM_MINING_JOB, CHANNEL_BIT_SET_CUSTOM_MINING_JOB;
        m::SetCustomMiningJobSuccess, sri:
            MESSAGE_TYPE_SET_CUSTOM_MINING_JOB_SUCCESS, CHANNEL_BIT_SET_CUSTOM_MINING_JOB_SUCCESS;
        m::SetCustomMiningJobError, sri:
            MESSAGE_TYPE_SET_CUSTOM_MINING_JOB_ERROR, CHANNEL_BIT_SET_CUSTOM_MINING_JOB_ERROR;
        m::SetGroupChannel, sri: MESSAGE_TYPE_SET_GROUP_CHANNEL, CHANNEL_BIT_SET_GROUP_CHANNEL;
        template::CoinbaseOutputConstraints, tdp:
            MESSAGE_TYPE_COINBASE_OUTPUT_CONSTRAINTS, CHANNEL_BIT_COINBASE_OUTPUT_CONSTRAINTS;
        template::NewTemplate, tdp: MESSAGE_TYPE_NEW_TEMPLATE, CHANNEL_BIT_NEW_TEMPLATE;
        template::SetNewPrevHash, tdp:
            MESSAGE_TYPE_SET_NEW_PREV_HASH, CHANNEL_BIT_SET_NEW_PREV_HASH;
        template::RequestTransactionData, tdp:
            MESSAGE_TYPE_REQUEST_TRANSACTION_DATA, CHANNEL_BIT_REQUEST_TRANSACTION_DATA;
        template::RequestTransactionDataSuccess, tdp:
            MESSAGE_TYPE_REQUEST_TRANSACTION_DATA_SUCCESS,
            CHANNEL_BIT_REQUEST_TRANSACTION_DATA_SUCCESS;
        template::RequestTransactionDataError, tdp:
            MESSAGE_TYPE_REQUEST_TRANSACTION_DATA_ERROR, CHANNEL_BIT_REQUEST_TRANSACTION_DATA_ERROR;
        template::SubmitSolution, tdp: MESSAGE_TYPE_SUBMIT_SOLUTION, CHANNEL_BIT_SUBMIT_SOLUTION;
    }
}

/// Spec 8: each message has the type and the channel_msg bit of the table (SetGroupChannel 0,
/// NewMiningJob and SetCustomMiningJob 1).
#[test]
fn every_message_has_the_type_and_channel_bit_of_chapter_8() {
    let ours: Vec<_> = ours_and_sri().into_iter().map(|(ours, _)| ours).collect();
    assert_eq!(ours, table());
}

#[test]
fn every_message_has_the_type_and_channel_bit_of_sri() {
    for ((number, bit, name), sri) in ours_and_sri() {
        assert_eq!((number, bit), sri, "{name}");
    }
}

/// Spec 8: a type that the table does not give to the protocol is unknown.
#[test]
fn types_that_chapter_8_does_not_give_to_a_protocol_are_unknown_to_it() {
    for number in 0..=u8::MAX {
        let in_table = table().iter().any(|(given, ..)| *given == number);
        let unknown = Err(DecodeError::UnknownMessage(number));
        let known = [
            Setup::decode(number, &[]).map(drop) != unknown,
            Mining::decode(number, &[]).map(drop) != unknown,
            TemplateDistribution::decode(number, &[]).map(drop) != unknown,
        ];
        let protocol = match number {
            0x00..=0x0f => [true, false, false],
            0x10..=0x4f => [false, true, false],
            _ => [false, false, true],
        };
        assert_eq!(known, if in_table { protocol } else { [false; 3] }, "{number:#04x}");
        assert_eq!(is_setup_message(number), number < 0x10, "{number:#04x}");
    }
}

#[test]
fn a_header_reads_in_sri_as_it_was_meant() {
    let headers = [
        Header { extension: 0, channel_msg: true, message_type: 0x1f, length: 0x00ff_fffe },
        Header { extension: 0x0abc, channel_msg: false, message_type: 0xff, length: 0 },
        Header { extension: 0x7fff, channel_msg: true, message_type: 0, length: 65_536 },
    ];
    for header in headers {
        let read = SriHeader::from_bytes(&header.to_bytes()).unwrap();
        let theirs = Header {
            extension: read.ext_type_without_channel_msg(),
            channel_msg: read.channel_msg(),
            message_type: read.msg_type(),
            length: read.payload_length().try_into().unwrap(),
        };
        assert_eq!(theirs, header);
        assert_eq!(Header::from_bytes(header.to_bytes()), header);
    }
}

#[test]
fn a_frame_states_type_bit_and_length_of_its_message() {
    let message = wire::sv2::mining::SetTarget { channel_id: 1, maximum_target: [9; 32] };
    assert_eq!(EncodedFrame::new(&message).header(), &[0x00, 0x80, 0x21, 36, 0, 0]);
    let message = template::RequestTransactionData { template_id: 1 };
    assert_eq!(EncodedFrame::new(&message).header(), &[0x00, 0x00, 0x73, 8, 0, 0]);
}
