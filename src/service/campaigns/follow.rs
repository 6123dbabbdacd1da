//! Following a campaign: whom it calls, from the inventory, in the background; what came of it.

use super::super::inventory::ListedCertificate;
use super::super::{Error, Service};
use super::{Numbered, candidate};
use crate::acme::renewal::begin;
use crate::authority::certificate::CertificateRecord;
use crate::fleet::campaign::{Campaign, MOST_IN_FORCE};
use crate::fleet::{Followed, IdentityId, Member, Unanswered};
use crate::time::Timestamp;

/// How far the members of a campaign were read.
#[derive(Debug, Default)]
pub struct EnrolCursor {
    campaign: u64,
    after: Option<Vec<u8>>,
}

/// An identity that was called and has not come, and its latest certificate's record, if it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silent {
    /// What the fleet knows of it.
    pub known: Unanswered,
    /// What the inventory does.
    pub record: Option<CertificateRecord>,
}

/// Whether a campaign has called anybody and is worth following: until it would have been over.
fn is_followed(campaign: &Campaign, now: Timestamp) -> bool {
    campaign.start <= now
        && now < campaign.until()
        && campaign.cancelled.is_none_or(|cancelled| cancelled > campaign.start)
}

/// The campaigns that are worth following, at most as many as can be. Those that are cancelled give way.
fn wanted(known: &[Numbered], now: Timestamp) -> Vec<&Numbered> {
    let mut wanted: Vec<&Numbered> = known.iter().filter(|(_, it)| is_followed(it, now)).collect();
    wanted.sort_by_key(|(number, it)| (!it.is_in_force(now), std::cmp::Reverse(*number)));
    wanted.truncate(MOST_IN_FORCE);
    wanted
}

impl Service {
    /// One bounded step; whether more is to be done at once.
    pub async fn follow_campaigns(&self, cursor: &mut EnrolCursor) -> Result<bool, Error> {
        let now = self.now();
        self.expect_campaigns(now);
        let known = self.campaigns.known();
        if !self.fleet.is_complete() {
            return Ok(false);
        }
        let wanted = wanted(&known, now);
        let is_wanted = |old: &u64| wanted.iter().any(|(number, _)| number == old);
        // One in a step: each costs a look at every identity, and issuance waits for it.
        if let Some(old) =
            self.fleet.with(|fleet, _| fleet.following()).into_iter().find(|old| !is_wanted(old))
        {
            self.fleet.with(|fleet, _| fleet.unfollow(old));
            return Ok(true);
        }
        let next = self.fleet.with(|fleet, _| {
            let known = |number| fleet.reaction(number).is_some_and(|followed: &Followed| followed.complete);
            wanted.iter().find(|(number, _)| !known(*number)).copied()
        });
        let Some((number, campaign)) = next else { return Ok(false) };
        if cursor.campaign != *number {
            *cursor = EnrolCursor { campaign: *number, after: None };
            let followed = Followed::new(*number, campaign.created, campaign.start);
            self.fleet.with(|fleet, _| fleet.follow(followed));
        }
        self.enrol(*number, campaign, cursor).await?;
        Ok(true)
    }

    /// Tells the fleet whether there are campaigns that are not followed yet.
    pub(super) fn expect_campaigns(&self, now: Timestamp) {
        self.fleet.with(|fleet, _| {
            // Read here: of two who tell, the later one knows more.
            let known = self.campaigns.known();
            let following = fleet.following();
            let planned = known.iter().filter(|(_, it)| it.is_in_force(now));
            let missing =
                planned.chain(wanted(&known, now)).filter(|(number, _)| !following.contains(number));
            fleet.expect_campaign(missing.map(|(_, it)| it.start).min());
        });
    }

    /// One page of the certificates that a campaign calls, those that have expired since included.
    async fn enrol(&self, number: u64, campaign: &Campaign, cursor: &mut EnrolCursor) -> Result<(), Error> {
        let after = cursor.after.as_deref();
        let page = self.selected(&campaign.selector, None, Some(campaign.start), after).await?;
        let live = self.live();
        let member = |ListedCertificate { serial, record, content, .. }: &ListedCertificate| {
            let calls = candidate(&live, serial, record, content).is_some_and(|it| campaign.calls(&it));
            let alive = record.not_after > campaign.start
                && record.revocation.as_ref().is_none_or(|revoked| revoked.at > campaign.start);
            let identity = IdentityId::of(content.identifiers.iter()).filter(|_| calls && alive)?;
            let usual = begin(content.not_before, record.not_after, serial);
            let begin = usual.min(campaign.call().begin(serial));
            Some(Member { identity, serial: *serial, issued: record.issued, begin })
        };
        // Before the fleet is held: whoever issues waits for it.
        let members: Vec<Member> = page.certificates.iter().filter_map(member).collect();
        self.fleet.with(|fleet, changed| {
            members.iter().for_each(|member| fleet.enrol(number, member, changed));
            if page.next.is_none() {
                fleet.enrolled(number);
            }
        });
        cursor.after = page.next;
        if cursor.after.is_none() {
            *cursor = EnrolCursor::default();
        }
        Ok(())
    }

    /// What has come of a campaign; `None` before its start, and of one that is not followed any more.
    pub fn reaction(&self, number: u64) -> Option<Followed> {
        self.fleet.with(|fleet, _| fleet.reaction(number).cloned())
    }

    /// Identities that it has called and that have not come, from behind `after`; the place to go on from.
    pub async fn unanswered(
        &self,
        number: u64,
        after: Option<u32>,
        limit: usize,
    ) -> Result<(Vec<Silent>, Option<u32>), Error> {
        self.campaign(number)?;
        let (page, next) = self.fleet.with(|fleet, _| fleet.unanswered(number, after, limit));
        let mut silent = Vec::with_capacity(page.len());
        for known in page {
            silent.push(Silent { record: self.readable_of(&known.identity).await?, known });
        }
        Ok((silent, next))
    }

    /// Since when it is known who asks for renewal information: since this process runs.
    pub fn asking_known_since(&self) -> Timestamp {
        self.started
    }
}
