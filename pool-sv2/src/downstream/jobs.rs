//! Giving jobs to channels (spec 5.3.15 to 5.3.17).
//!
//! Frames that every connection gets were serialised once in `Work`; here they get their ids. A
//! connection with extended jobs is told group by group; one that takes standard jobs alone is told
//! channel by channel.

use std::sync::Arc;
use std::time::Instant;

use tracing::debug;
use wire::session::PeerError;
use wire::sv2::mining::{NewExtendedMiningJob, NewMiningJob, SetNewPrevHash};

use super::connection::Downstream;
use crate::work::Work;

impl Downstream {
    /// Passes new work to all channels, and opens those that waited for the first.
    pub(super) fn take_work(&mut self, now: Instant, work: &Arc<Work>) -> Result<(), PeerError> {
        let before = self.work.replace(Arc::clone(work));
        for request in std::mem::take(&mut self.waiting) {
            self.request_channel(now, request)?;
        }
        let Some(before) = before else {
            return Ok(());
        };
        if self.channels.is_empty() {
            return Ok(());
        }
        let is_new_tip = before.job.tip != work.job.tip;
        if is_new_tip {
            self.ease_to_network(now)?;
        }
        match (self.standard_jobs_only(), is_new_tip) {
            (false, true) => self.move_groups(now, work)?,
            (false, false) => self.refresh_groups(now, work)?,
            (true, true) => self.each_channel(now, Self::send_first_job)?,
            (true, false) => self.each_channel(now, Self::send_active_job)?,
        }
        if is_new_tip {
            self.settings.tip_reach.reached(work, now);
        }
        Ok(())
    }

    /// A new tip for each group: its job first, then the hash that activates it.
    fn move_groups(&mut self, now: Instant, work: &Arc<Work>) -> Result<(), PeerError> {
        let issued = self.issue_to_groups(now, work, work.job.tip.header_timestamp);
        issued.into_iter().try_for_each(|(group, job_id, work)| {
            self.link.send_frame(&work.future_job, &[group, job_id])?;
            self.link.send_frame(&work.new_prev_hash, &[group, job_id])
        })
    }

    /// A better job on the same tip for each group.
    fn refresh_groups(&mut self, now: Instant, work: &Arc<Work>) -> Result<(), PeerError> {
        let issued = self.issue_to_groups(now, work, work.ntime);
        issued.into_iter().try_for_each(|(group, job_id, work)| {
            self.link.send_frame(&work.active_job, &[group, job_id])
        })
    }

    /// Gives every channel the job of its group, and says which: group, job id, work. A group that
    /// there is no work for keeps what it has.
    fn issue_to_groups(
        &mut self,
        now: Instant,
        work: &Arc<Work>,
        min_ntime: u32,
    ) -> Vec<(u32, u32, Arc<Work>)> {
        if self.groups.len() > 1 {
            self.forget_empty_groups();
        }
        let mut next_job_id = self.next_job_id;
        let groups = self.groups.iter().filter_map(|group| {
            let work = work.of(&group.payee)?;
            let job_id = next_job_id;
            next_job_id = job_id_after(job_id);
            Some((group.id, job_id, work))
        });
        let issued: Vec<_> = groups.collect();
        self.next_job_id = next_job_id;
        for open in self.channels.values_mut() {
            if let Ok(index) = issued.binary_search_by_key(&open.group, |(group, ..)| *group)
                && let Some((_, job_id, work)) = issued.get(index)
            {
                open.channel.issue(*job_id, &work.job, min_ntime, now);
            }
        }
        debug!(groups = issued.len(), channels = self.channels.len(), "jobs sent");
        issued
    }

    fn each_channel(
        &mut self,
        now: Instant,
        send: impl Fn(&mut Self, Instant, u32) -> Result<(), PeerError>,
    ) -> Result<(), PeerError> {
        let ids: Vec<_> = self.channels.keys().copied().collect();
        ids.into_iter().try_for_each(|id| send(self, now, id))
    }

    /// A future job and the hash that activates it, to one channel: what follows its opening, and a
    /// new tip where there is no group.
    pub(super) fn send_first_job(
        &mut self,
        now: Instant,
        channel_id: u32,
    ) -> Result<(), PeerError> {
        let Some(work) = self.work_of(channel_id) else {
            return Ok(());
        };
        // A miner that comes late to a tip need not start at the tip's own time.
        let min_ntime = work.ntime_at(now);
        let job_id = self.send_job(now, &work, channel_id, min_ntime, None)?;
        self.link.send(&SetNewPrevHash {
            channel_id,
            job_id,
            prev_hash: work.job.tip.hash,
            min_ntime,
            nbits: work.job.tip.nbits,
        })
    }

    /// A job for the tip that the channel is on. The same job again starts at a later nTime:
    /// devices begin at the first nonce, and would find their own shares a second time.
    pub(super) fn send_active_job(
        &mut self,
        now: Instant,
        channel_id: u32,
    ) -> Result<(), PeerError> {
        let Some(work) = self.work_of(channel_id) else {
            return Ok(());
        };
        let open = self.channels.get(&channel_id);
        let fresh = open.and_then(|open| open.channel.fresh_ntime(&work.job));
        let min_ntime = work.ntime_at(now).max(fresh.unwrap_or(0));
        self.send_job(now, &work, channel_id, min_ntime, Some(min_ntime)).map(drop)
    }

    /// What one channel works on.
    fn work_of(&self, channel_id: u32) -> Option<Arc<Work>> {
        let group = self.channels.get(&channel_id)?.group;
        self.work.as_ref()?.of(self.payee_of(group)?)
    }

    /// Issues the job to one channel and sends it, with `sent_ntime` (none makes it a future one).
    fn send_job(
        &mut self,
        now: Instant,
        work: &Work,
        channel_id: u32,
        min_ntime: u32,
        sent_ntime: Option<u32>,
    ) -> Result<u32, PeerError> {
        let job_id = self.take_job_id();
        let Some(open) = self.channels.get_mut(&channel_id) else {
            return Ok(job_id);
        };
        open.channel.issue(job_id, &work.job, min_ntime, now);
        debug!(job = job_id, channel = channel_id, "job sent");
        if let Some(merkle_root) = open.channel.merkle_root() {
            let version = work.job.template.version;
            let min_ntime = sent_ntime;
            let job = NewMiningJob { channel_id, job_id, min_ntime, version, merkle_root };
            self.link.send(&job)?;
        } else if let Some(job) = work.extended_job(sent_ntime) {
            self.link.send(&NewExtendedMiningJob { channel_id, job_id, ..job })?;
        }
        Ok(job_id)
    }

    /// Job ids are unique on the connection until they wrap, long after any job is forgotten.
    fn take_job_id(&mut self) -> u32 {
        let id = self.next_job_id;
        self.next_job_id = job_id_after(id);
        id
    }
}

fn job_id_after(id: u32) -> u32 {
    id.wrapping_add(1).max(1)
}
