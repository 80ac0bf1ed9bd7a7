//! Channels of teams, beside the one that every connection has: opened when a team has miners, told
//! of their hashrate, closed when they have left.
//!
//! What goes wrong with one of them ends that one, and never the connection. They are looked after
//! by alarms, so that thousands of them cost nothing while nothing happens.

mod requests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mining::target::Target;
use wire::session::PeerError;
use wire::sv2::codec::Str255;
use wire::sv2::mining::{
    CloseChannel, NewExtendedMiningJob, OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess, OpenMiningChannelError, SetNewPrevHash, UpdateChannel,
};

use self::requests::Requests;
use super::channel::Channel;
use super::session::{
    CLOSES_MAX, Phase, UPDATE_INTERVAL, UpstreamSession, is_worth_telling, single,
};
use super::waiting::Waiting;
use super::{Event, MinersTotal};
use crate::bridge::extranonce::ExtranonceSplit;
use crate::bridge::notify::{ChannelEpoch, ChannelTerms, Job};
use crate::bridge::submit::Verdict;
use crate::teams::{TeamId, TeamName};

/// An upstream that has not opened a team's channel and given it work by then does not.
const FIRST_JOB_MAX: Duration = Duration::from_secs(30);
/// Why a channel is closed (spec 5.3.9).
const LEFT: &str = "its miners have left";

/// The channels of all teams.
pub(super) struct TeamChannels<T> {
    all: HashMap<TeamId, Team<T>>,
    by_channel: HashMap<u32, TeamId>,
    by_epoch: HashMap<ChannelEpoch, TeamId>,
    requests: Requests,
    /// When which team is to be looked at: once for each.
    alarms: BTreeSet<(Instant, TeamId)>,
}

impl<T> Default for TeamChannels<T> {
    fn default() -> Self {
        Self {
            all: HashMap::new(),
            by_channel: HashMap::new(),
            by_epoch: HashMap::new(),
            requests: Requests::default(),
            alarms: BTreeSet::new(),
        }
    }
}

struct Team<T> {
    name: TeamName,
    miners: MinersTotal,
    /// What the upstream was told last, and when.
    told: Option<(MinersTotal, Instant)>,
    /// None until it is open.
    channel: Option<Channel>,
    /// Until when it must have its first job.
    first_job_until: Option<Instant>,
    waiting: Waiting<T>,
    /// When it is looked at next, if ever.
    alarm: Option<Instant>,
    /// How often the upstream has closed it.
    closes: u32,
}

impl<T> TeamChannels<T> {
    pub(super) fn next_alarm(&self) -> Option<Instant> {
        let alarm = self.alarms.first().map(|(at, _)| *at);
        [alarm, self.requests.next_deadline()].into_iter().flatten().min()
    }

    /// True while a share of any team has no verdict.
    pub(super) fn have_shares_waiting(&self) -> bool {
        self.all.values().any(|team| team.waiting.next_deadline().is_some())
    }

    /// The channel that `epoch` opened, and the shares of it that wait.
    pub(super) fn of_epoch(
        &mut self,
        epoch: ChannelEpoch,
    ) -> Option<(TeamId, u32, &mut Waiting<T>)> {
        let id = *self.by_epoch.get(&epoch)?;
        let team = self.all.get_mut(&id)?;
        Some((id, team.channel.as_ref()?.id, &mut team.waiting))
    }

    /// The shares of that very channel that wait.
    pub(super) fn waiting_of(&mut self, channel_id: u32) -> Option<&mut Waiting<T>> {
        let id = self.by_channel.get(&channel_id)?;
        self.all.get_mut(id).map(|team| &mut team.waiting)
    }

    fn is_channel(&self, channel_id: u32) -> bool {
        self.by_channel.contains_key(&channel_id)
    }

    /// How the extranonce of each channel that is addressed so is split.
    pub(super) fn splits_of(&self, channel_id: u32) -> impl Iterator<Item = ExtranonceSplit> {
        let teams = self.addressed(channel_id).into_iter().filter_map(|id| self.all.get(&id));
        teams.filter_map(|team| Some(team.channel.as_ref()?.terms.split))
    }

    /// The team is looked at no later than `at`; then its next alarm is set.
    pub(super) fn set_alarm(&mut self, at: Instant, id: TeamId) {
        let Some(team) = self.all.get_mut(&id) else { return };
        if team.alarm.is_some_and(|present| present <= at) {
            return;
        }
        if let Some(later) = team.alarm.replace(at) {
            self.alarms.remove(&(later, id));
        }
        self.alarms.insert((at, id));
    }

    /// The teams with a channel that a message for `channel_id` is for.
    fn addressed(&self, channel_id: u32) -> Vec<TeamId> {
        if let Some(id) = self.by_channel.get(&channel_id) {
            return vec![*id];
        }
        let is_of_group = |team: &Team<T>| {
            team.channel.as_ref().is_some_and(|channel| channel.answers_to(channel_id))
        };
        let teams = self.all.iter().filter(|(_, team)| is_of_group(team));
        teams.map(|(id, _)| *id).collect()
    }

    fn channel_mut(&mut self, id: TeamId) -> Option<&mut Channel> {
        self.all.get_mut(&id)?.channel.as_mut()
    }

    /// Applies `change` to all channels that `channel_id` addresses.
    pub(super) fn change(&mut self, channel_id: u32, mut change: impl FnMut(&mut Channel)) {
        for id in self.addressed(channel_id) {
            if let Some(channel) = self.channel_mut(id) {
                change(channel);
            }
        }
    }

    /// Puts the channels named by `members` into the group `group_id`.
    pub(super) fn regroup(&mut self, members: &[u32], group_id: u32) {
        for channel_id in members {
            let id = self.by_channel.get(channel_id).copied();
            if let Some(channel) = id.and_then(|id| self.channel_mut(id)) {
                channel.group_id = group_id;
            }
        }
    }

    /// Takes the team away; it has no channel any more.
    fn remove(&mut self, id: TeamId) -> Option<Team<T>> {
        self.requests.forget(id);
        let team = self.all.remove(&id)?;
        if let Some(at) = team.alarm {
            self.alarms.remove(&(at, id));
        }
        Some(team)
    }

    /// Takes the channel away; its shares have no verdict to wait for.
    fn lose_channel(&mut self, id: TeamId) -> Option<(Channel, Vec<T>)> {
        let team = self.all.get_mut(&id)?;
        let channel = team.channel.take()?;
        let tickets = team.waiting.drain().collect();
        (team.told, team.first_job_until) = (None, None);
        self.by_channel.remove(&channel.id);
        self.by_epoch.remove(&channel.terms.epoch);
        Some((channel, tickets))
    }
}

impl<T> UpstreamSession<T> {
    /// A team has changed; none is one that is not there any more.
    pub(super) fn take_team(
        &mut self,
        now: Instant,
        id: TeamId,
        wanted: Option<(TeamName, MinersTotal)>,
    ) -> Result<(), PeerError> {
        let Some((name, miners)) = wanted else {
            return self.forget_team(id);
        };
        if let Some(team) = self.teams.all.get_mut(&id) {
            team.miners = miners;
            return self.tell_team(now, id);
        }
        let team = Team {
            name,
            miners,
            told: None,
            channel: None,
            first_job_until: None,
            waiting: Waiting::default(),
            alarm: None,
            closes: 0,
        };
        self.teams.all.insert(id, team);
        self.teams.requests.queue(id);
        self.open_next_teams(now)
    }

    /// No team is to have a channel here.
    pub(super) fn forget_teams(&mut self) -> Result<(), PeerError> {
        let all: Vec<_> = self.teams.all.keys().copied().collect();
        all.into_iter().try_for_each(|id| self.forget_team(id))
    }

    /// Asks for the channels of teams that wait for one, as many as may wait for an answer.
    pub(super) fn open_next_teams(&mut self, now: Instant) -> Result<(), PeerError> {
        // Each asks for as much room as the one that all upstreams have.
        while matches!(self.phase, Phase::Open(_))
            && let Some(id) = self.teams.requests.pop()
        {
            self.open_team(now, id)?;
        }
        Ok(())
    }

    fn forget_team(&mut self, id: TeamId) -> Result<(), PeerError> {
        let lost = self.teams.lose_channel(id);
        self.teams.remove(id);
        match lost {
            Some((channel, tickets)) => {
                self.lose_shares(tickets);
                self.close(channel.id)
            }
            None => Ok(()),
        }
    }

    fn lose_shares(&mut self, tickets: Vec<T>) {
        let verdict = |ticket| Event::Verdict { ticket, verdict: Verdict::UpstreamLost };
        self.events.extend(tickets.into_iter().map(verdict));
    }

    fn close(&mut self, channel_id: u32) -> Result<(), PeerError> {
        self.link.send(&CloseChannel { channel_id, reason_code: LEFT.into() })
    }

    /// Asks for a channel with as much room as the one that all upstreams have, so that miners need
    /// not be told of another extranonce. It waits until that one is open.
    fn open_team(&mut self, now: Instant, id: TeamId) -> Result<(), PeerError> {
        let Phase::Open(main) = &self.phase else { return Ok(()) };
        let team = self.teams.all.get_mut(&id).filter(|team| team.channel.is_none());
        let Some(team) = team else { return Ok(()) };
        let request_id = self.next_request_id;
        self.next_request_id = request_id.wrapping_add(1);
        team.told = Some((team.miners, now));
        team.first_job_until = Some(now + FIRST_JOB_MAX);
        let identity = team.name.identity(&self.settings.user_identity);
        let hashrate = team.miners.hashrate;
        self.teams.set_alarm(now + FIRST_JOB_MAX, id);
        self.teams.requests.note(request_id, id, now + FIRST_JOB_MAX);
        self.link.send(&OpenExtendedMiningChannel {
            request_id,
            user_identity: Str255::truncated(&identity),
            nominal_hash_rate: single(hashrate),
            max_target: Target::MAX.to_le_bytes(),
            min_extranonce_size: main.terms.split.needed(),
        })
    }

    /// Takes the answer to a team's request; false if it is for nobody here.
    pub(super) fn take_team_open(
        &mut self,
        now: Instant,
        success: &OpenExtendedMiningChannelSuccess,
    ) -> Result<bool, PeerError> {
        let Some(id) = self.teams.requests.take(success.request_id) else { return Ok(false) };
        self.take_team_channel(now, id, success)?;
        self.open_next_teams(now)?;
        Ok(true)
    }

    fn take_team_channel(
        &mut self,
        now: Instant,
        id: TeamId,
        success: &OpenExtendedMiningChannelSuccess,
    ) -> Result<(), PeerError> {
        let epoch = self.next_epoch;
        let split = ExtranonceSplit::new(success.extranonce_prefix, success.extranonce_size);
        let team = self.teams.all.get_mut(&id).filter(|team| team.channel.is_none());
        let Some(team) = team else {
            // Its miners have left meanwhile, or they came back and have another.
            return self.close(success.channel_id);
        };
        let split = match split {
            Ok(split) => split,
            Err(error) => {
                self.refuse_team(id, error.to_string());
                return self.close(success.channel_id);
            }
        };
        self.next_epoch = ChannelEpoch(epoch.0 + 1);
        let terms = ChannelTerms { epoch, split, target: Target::from_le_bytes(success.target) };
        let names = (success.channel_id, success.group_channel_id);
        team.channel = Some(Channel::new(names, terms, true));
        team.waiting = Waiting::default();
        self.teams.by_channel.insert(success.channel_id, id);
        self.teams.by_epoch.insert(epoch, id);
        self.tell_team(now, id)
    }

    /// Takes a refusal of a team's request; false if it is for nobody here.
    pub(super) fn take_team_open_error(
        &mut self,
        now: Instant,
        error: &OpenMiningChannelError,
    ) -> Result<bool, PeerError> {
        let Some(id) = self.teams.requests.take(error.request_id) else { return Ok(false) };
        self.refuse_team(id, error.error_code.display().into_owned());
        self.open_next_teams(now)?;
        Ok(true)
    }

    /// A channel is open for which nobody waits any more.
    pub(super) fn close_stray(&mut self, channel_id: u32) -> Result<(), PeerError> {
        match self.channel_for(channel_id).is_some() || self.teams.is_channel(channel_id) {
            true => Ok(()),
            false => self.close(channel_id),
        }
    }

    /// The team gets no channel here: its miners go elsewhere, and may come back.
    fn refuse_team(&mut self, id: TeamId, reason: String) {
        let lost = self.teams.lose_channel(id);
        if self.teams.remove(id).is_some() {
            self.events.push_back(Event::TeamRefused { team: id, reason });
        }
        if let Some((_, tickets)) = lost {
            self.lose_shares(tickets);
        }
    }

    /// Gives the job to all teams with a channel that it is for.
    pub(super) fn take_team_job(&mut self, now: Instant, job: &NewExtendedMiningJob) {
        for id in self.teams.addressed(job.channel_id) {
            let Some(channel) = self.teams.channel_mut(id) else { continue };
            match channel.take_job(now, job.clone()) {
                Ok(Some(job)) => self.start_team(id, job),
                Ok(None) => {}
                Err(error) => self.refuse_team(id, error.to_string()),
            }
        }
    }

    pub(super) fn take_team_prev_hash(&mut self, now: Instant, message: &SetNewPrevHash) {
        for id in self.teams.addressed(message.channel_id) {
            let Some(channel) = self.teams.channel_mut(id) else { continue };
            match channel.take_prev_hash(now, message) {
                Ok(job) => self.start_team(id, job),
                Err(error) => self.refuse_team(id, error.to_string()),
            }
        }
    }

    fn start_team(&mut self, id: TeamId, job: Arc<Job>) {
        if let Some(team) = self.teams.all.get_mut(&id) {
            team.first_job_until = None;
        }
        self.events.push_back(Event::TeamJob { team: id, job });
    }

    /// The upstream has closed channels of teams: each is opened again, a few times.
    pub(super) fn take_team_close(
        &mut self,
        now: Instant,
        channel_id: u32,
        reason: &str,
    ) -> Result<(), PeerError> {
        for id in self.teams.addressed(channel_id) {
            let Some((_, tickets)) = self.teams.lose_channel(id) else { continue };
            self.lose_shares(tickets);
            let Some(team) = self.teams.all.get_mut(&id) else { continue };
            team.closes += 1;
            if team.closes >= CLOSES_MAX {
                self.refuse_team(id, reason.to_owned());
                continue;
            }
            self.events.push_back(Event::TeamLost { team: id });
            self.teams.requests.queue(id);
        }
        self.open_next_teams(now)
    }

    /// Sends UpdateChannel if the team changed and the last one is old enough; else sets an alarm.
    fn tell_team(&mut self, now: Instant, id: TeamId) -> Result<(), PeerError> {
        let Some(team) = self.teams.all.get_mut(&id) else { return Ok(()) };
        let Some(channel) = &team.channel else { return Ok(()) };
        if let Some((told, at)) = team.told {
            if !is_worth_telling(told, team.miners) {
                return Ok(());
            }
            if now < at + UPDATE_INTERVAL {
                self.teams.set_alarm(at + UPDATE_INTERVAL, id);
                return Ok(());
            }
        }
        team.told = Some((team.miners, now));
        self.link.send(&UpdateChannel {
            channel_id: channel.id,
            nominal_hash_rate: single(team.miners.hashrate),
            maximum_target: Target::MAX.to_le_bytes(),
        })
    }

    /// Looks at all teams whose time has come.
    pub(super) fn look_at_teams(&mut self, now: Instant) -> Result<(), PeerError> {
        while let Some((at, id)) = self.teams.alarms.first().copied().filter(|(at, _)| *at <= now) {
            self.teams.alarms.remove(&(at, id));
            self.look_at_team(now, id)?;
        }
        self.teams.requests.expire(now);
        self.open_next_teams(now)
    }

    fn look_at_team(&mut self, now: Instant, id: TeamId) -> Result<(), PeerError> {
        let Some(team) = self.teams.all.get_mut(&id) else { return Ok(()) };
        team.alarm = None;
        while let Some(ticket) = team.waiting.pop_expired(now) {
            let verdict = Verdict::Unanswered;
            self.events.push_back(Event::Verdict { ticket, verdict });
        }
        let deadlines = [team.waiting.next_deadline(), team.first_job_until];
        if team.first_job_until.is_some_and(|until| until <= now) {
            let channel = team.channel.as_ref().map(|channel| channel.id);
            self.refuse_team(id, "no work for it in time".to_owned());
            return channel.map_or(Ok(()), |channel_id| self.close(channel_id));
        }
        if let Some(at) = deadlines.into_iter().flatten().min() {
            self.teams.set_alarm(at, id);
        }
        self.tell_team(now, id)
    }
}
