//! Jobs that were sent ahead and wait for their SetNewPrevHash (spec 5.1.3).

use std::collections::VecDeque;

use wire::sv2::mining::NewExtendedMiningJob;

use crate::bridge::extranonce::ExtranonceSplit;

/// Future jobs that are kept; when one more comes, the oldest is forgotten.
const FUTURE_JOBS_MAX: usize = 16;

/// The jobs that wait, oldest first.
#[derive(Debug, Default)]
pub(super) struct FutureJobs {
    jobs: VecDeque<(NewExtendedMiningJob, ExtranonceSplit)>,
}

impl FutureJobs {
    /// Keeps a job with the extranonce that was in force when it came (spec 5.3.10).
    pub(super) fn keep(&mut self, job: NewExtendedMiningJob, split: ExtranonceSplit) {
        self.jobs.retain(|(kept, _)| kept.job_id != job.job_id);
        if self.jobs.len() == FUTURE_JOBS_MAX {
            self.jobs.pop_front();
        }
        self.jobs.push_back((job, split));
    }

    /// Takes the job `id`; all others are invalid from now on (spec 5.3.17).
    pub(super) fn activate(&mut self, id: u32) -> Option<(NewExtendedMiningJob, ExtranonceSplit)> {
        let mut all = std::mem::take(&mut self.jobs);
        let index = all.iter().position(|(job, _)| job.job_id == id)?;
        all.swap_remove_back(index)
    }
}
