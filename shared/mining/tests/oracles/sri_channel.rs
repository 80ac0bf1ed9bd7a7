//! SRI's server channels behind one face.

use channels_sv2::extranonce_manager::ExtranonceAllocator;
use channels_sv2::server::extended::ExtendedChannel;
use channels_sv2::server::share_accounting::{ShareValidationError, ShareValidationResult};
use channels_sv2::server::standard::StandardChannel;
use mining::channel::Channel;
use mining::job::Job;
use mining::share::Submission;
use mining::target::Target;
use mining::template::ChainTip;
use stratum_core::mining_sv2::{SubmitSharesExtendedOwned, SubmitSharesStandardOwned};

use crate::samples::{POOL_NAME, Sample, tip_to_sri};

/// Jobs that may be named besides the newest, so that SRI keeps as many as we do (32).
const PAST_JOBS: usize = 31;
/// Bytes of the whole extranonce on both sides.
const EXTRANONCE_BYTES: u8 = 12;

pub(crate) enum SriChannel {
    Extended(Box<ExtendedChannel>),
    Standard(Box<StandardChannel>),
}

pub(crate) type Verdict = Result<ShareValidationResult, ShareValidationError>;

impl SriChannel {
    /// A channel with the kind, the extranonce prefix and the target of ours.
    pub(crate) fn like(ours: &Channel) -> Self {
        let mut channel = match ours.is_standard() {
            true => Self::standard(ours),
            false => Self::extended(ours),
        };
        assert_eq!(channel.extranonce_prefix(), ours.extranonce_prefix());
        channel.set_target(ours.target());
        channel
    }

    fn extended(ours: &Channel) -> Self {
        let (index, local) = ours.extranonce_prefix().split_last().unwrap();
        let mut all = ExtranonceAllocator::new(local.to_vec(), EXTRANONCE_BYTES, 256).unwrap();
        let rollable = ours.rollable_bytes();
        let prefix = (0..=*index).map(|_| all.allocate_extended(rollable).unwrap()).last();
        let easiest = bitcoin::Target::from_le_bytes([0xff; 32]);
        let rollable = rollable.try_into().unwrap();
        let name = POOL_NAME.to_owned();
        let channel = ExtendedChannel::new_for_pool(
            1,
            String::new(),
            prefix.unwrap(),
            easiest,
            1.0,
            true,
            rollable,
            1,
            1.0,
            name,
            Some(PAST_JOBS),
        );
        Self::Extended(Box::new(channel.unwrap()))
    }

    /// SRI, too, fills the prefix of a standard channel up with zeros.
    fn standard(ours: &Channel) -> Self {
        let [local @ .., index] = &ours.extranonce_prefix()[..4] else {
            unreachable!("four bytes are not none");
        };
        let mut all = ExtranonceAllocator::new(local.to_vec(), EXTRANONCE_BYTES, 256).unwrap();
        let prefix = (0..=*index).map(|_| all.allocate_standard().unwrap()).last();
        let easiest = bitcoin::Target::from_le_bytes([0xff; 32]);
        let name = POOL_NAME.to_owned();
        let channel = StandardChannel::new_for_pool(
            1,
            String::new(),
            prefix.unwrap(),
            easiest,
            1.0,
            1,
            1.0,
            name,
            Some(PAST_JOBS),
        );
        Self::Standard(Box::new(channel.unwrap()))
    }

    fn extranonce_prefix(&self) -> &[u8] {
        match self {
            Self::Extended(channel) => channel.get_extranonce_prefix(),
            Self::Standard(channel) => channel.get_extranonce_prefix(),
        }
    }

    pub(crate) fn set_target(&mut self, target: Target) {
        let target = bitcoin::Target::from_le_bytes(target.to_le_bytes());
        match self {
            Self::Extended(channel) => channel.set_target(target).unwrap(),
            Self::Standard(channel) => channel.set_target(target).unwrap(),
        }
    }

    /// Takes a future template; gives the id of its job.
    pub(crate) fn future(&mut self, sample: &Sample) -> u32 {
        self.take(sample, true);
        let id = sample.template.id;
        match self {
            Self::Extended(channel) => channel.get_future_job_id_from_template_id(id),
            Self::Standard(channel) => channel.get_future_job_id_from_template_id(id),
        }
        .unwrap()
    }

    /// Takes a template for the tip that the channel is on; gives the id of its job.
    pub(crate) fn refresh(&mut self, sample: &Sample) -> u32 {
        self.take(sample, false);
        match self {
            Self::Extended(channel) => channel.get_active_job().unwrap().get_job_id(),
            Self::Standard(channel) => channel.get_active_job().unwrap().get_job_id(),
        }
    }

    fn take(&mut self, sample: &Sample, future: bool) {
        let (template, payouts) = (sample.to_sri(future), sample.payouts_to_sri());
        match self {
            Self::Extended(channel) => channel.on_new_template(template, payouts).unwrap(),
            Self::Standard(channel) => channel.on_new_template(template, payouts).unwrap(),
        }
    }

    /// Turns to a tip and to the future template that goes with it.
    pub(crate) fn turn_to(&mut self, tip: &ChainTip, template_id: u64) {
        let message = tip_to_sri(tip, template_id);
        match self {
            Self::Extended(channel) => channel.on_set_new_prev_hash(message).unwrap(),
            Self::Standard(channel) => channel.on_set_new_prev_hash(message).unwrap(),
        }
    }

    /// The newest job is ours: the same cut of the coinbase on an extended channel, the same merkle
    /// root on a standard one.
    pub(crate) fn assert_mines(&self, job: &Job, ours: &Channel) {
        match self {
            Self::Extended(channel) => {
                let theirs = channel.get_active_job().unwrap();
                let prefix = theirs.get_coinbase_tx_prefix_without_bip141();
                let suffix = theirs.get_coinbase_tx_suffix_without_bip141();
                assert_eq!(
                    (prefix.as_slice(), suffix.as_slice()),
                    (job.coinbase.prefix.as_ref(), job.coinbase.suffix.as_ref())
                );
            }
            Self::Standard(channel) => {
                let theirs = channel.get_active_job().unwrap().get_merkle_root().to_array();
                assert_eq!(Some(theirs), ours.merkle_root());
            }
        }
    }

    pub(crate) fn check(&mut self, share: &Submission<'_>) -> Verdict {
        let Submission { job_id, nonce, ntime, version, extranonce } = *share;
        let (channel_id, sequence_number) = (1, 1);
        match self {
            Self::Extended(channel) => channel.validate_share(SubmitSharesExtendedOwned {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
                extranonce: extranonce.to_vec().try_into().unwrap(),
            }),
            Self::Standard(channel) => channel.validate_share(SubmitSharesStandardOwned {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
            }),
        }
    }
}
