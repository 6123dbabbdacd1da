//! Campaigns: begun, planned ahead and cancelled by the operator, kept durably, and held in memory, so
//! that renewal information costs no read more.

mod follow;
mod preview;
#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;

pub use self::follow::{EnrolCursor, Silent};
pub use self::preview::{BUCKETS, Preview};
use super::{Error, Live, Service, audited_by};
use crate::acme::error::Refusal;
use crate::acme::renewal::is_explanation;
use crate::audit::{Actor, Event};
use crate::authority::blocked::check_reason;
use crate::authority::certificate::{CertificateRecord, Content};
use crate::fleet::campaign::{AHEAD, Campaign, Candidate, MOST_IN_FORCE, MOST_KEPT, OVER, Selector, called};
use crate::provisioner::Requester;
use crate::provisioner::profile::KeyType;
use crate::storage::codec::Record;
use crate::storage::{Batch, CommitOutcome, Expect, Table};
use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// A campaign and its number.
pub type Numbered = (u64, Campaign);

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCampaign {
    /// Which certificates.
    pub selector: Selector,
    /// That a selector without a condition is meant.
    pub all: bool,
    /// When the first window begins; if not said, with the next whole second.
    pub start: Option<Timestamp>,
    /// Over how long they begin.
    pub over: Duration,
    /// What for.
    pub reason: String,
    /// A page that tells clients' operators more.
    pub explanation: Option<String>,
    /// Whether it is a drill.
    pub drill: bool,
}

/// The campaigns of a running server, by number.
#[derive(Debug, Default)]
pub(super) struct Campaigns {
    known: RwLock<Arc<Vec<Numbered>>>,
    /// Who changes them takes turns.
    turn: Mutex<()>,
}

impl Campaigns {
    fn known(&self) -> Arc<Vec<Numbered>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, all: Vec<Numbered>) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(all);
    }
}

/// What a campaign looks at; `None` of a certificate that no client renews.
fn candidate<'a>(
    live: &'a Live,
    serial: &'a Serial,
    record: &'a CertificateRecord,
    content: &'a Content,
) -> Option<Candidate<'a>> {
    let (provisioner, account) = match &record.requester {
        Requester::Acme { provisioner, account, .. } => (provisioner, *account),
        // The server renews these itself, or nobody does.
        Requester::AutoRenewal { .. } | Requester::Own | Requester::Ceremony => return None,
    };
    Some(Candidate {
        serial,
        issuer: &record.issuer,
        authority: live.authorities.of_issuer(&record.issuer).map(|authority| authority.name().as_str()),
        account,
        provisioner,
        profile: record.details.profile.as_deref(),
        names: &content.identifiers,
        key_type: content.key_type.map(KeyType::name),
        issued: record.issued,
    })
}

fn malformed(detail: impl Into<String>) -> Error {
    Refusal::malformed(detail.into()).into()
}

fn key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

impl Service {
    /// Reads them at a start.
    pub async fn load_campaigns(&self) -> Result<(), Error> {
        let _turn = self.campaigns.turn.lock().await;
        let rows = self.store.scan(Table::Campaigns, &[], None, MOST_KEPT + 1).await?;
        let mut all = Vec::with_capacity(rows.len());
        for (key, row) in rows {
            let number = <[u8; 8]>::try_from(key.as_slice()).map(u64::from_be_bytes);
            let number = number.map_err(|_| Error::Internal("a campaign has no number".into()))?;
            all.push((number, Campaign::decode(&row.value)?));
        }
        self.campaigns.set(all);
        self.expect_campaigns(self.now());
        Ok(())
    }

    /// All that are kept, the latest first.
    pub fn campaigns(&self) -> Vec<Numbered> {
        self.campaigns.known().iter().rev().cloned().collect()
    }

    /// The numbers of those in force: at most [`MOST_IN_FORCE`].
    pub fn campaigns_in_force(&self) -> Vec<u64> {
        let now = self.now();
        let known = self.campaigns.known();
        known.iter().filter(|(_, one)| one.is_in_force(now)).map(|(number, _)| *number).collect()
    }

    /// One of them.
    pub fn campaign(&self, number: u64) -> Result<Campaign, Error> {
        let known = self.campaigns.known();
        let found = known.iter().find(|(known, _)| *known == number);
        found.map(|(_, campaign)| campaign.clone()).ok_or(Error::NotFound)
    }

    /// Checks what is asked for; the campaign that comes of it.
    pub(super) fn planned(&self, asked: NewCampaign) -> Result<Campaign, Error> {
        let NewCampaign { selector, all, start, over, reason, explanation, drill } = asked;
        let now = self.now();
        self.check_selector(&selector, all)?;
        if over < OVER.0 || over > OVER.1 {
            return Err(malformed("over: must be from 10 seconds to 30 days"));
        }
        // A whole second, as the fleet keeps them: who renewed within that second has come, or was before it.
        let start = start.unwrap_or_else(|| now.next_whole_second());
        if start < now {
            return Err(malformed("start: lies in the past; leave it out to begin at once"));
        }
        if start > now + AHEAD {
            return Err(malformed("start: must be within 30 days"));
        }
        if explanation.as_deref().is_some_and(|url| !is_explanation(url)) {
            return Err(malformed("explanation_url: is not an http or https URL"));
        }
        let reason = check_reason(&reason).map_err(|why| malformed(format!("reason: {why}")))?;
        Ok(Campaign { selector, created: now, start, over, reason, explanation, drill, cancelled: None })
    }

    fn check_selector(&self, selector: &Selector, all: bool) -> Result<(), Error> {
        match (selector.is_all(), all) {
            (true, false) => {
                return Err(malformed(
                    "selector: has no condition; give one, or say `all` if every certificate is meant",
                ));
            }
            (false, true) => return Err(malformed("selector: says `all` and has conditions; say either")),
            (true, true) | (false, false) => {}
        }
        let live = self.live();
        if let Some(name) = &selector.authority
            && live.authorities.get(name).is_none()
        {
            return Err(malformed(format!("selector.authority: there is no authority {name:?}")));
        }
        if let Some(name) = &selector.provisioner
            && !live.provisioners.contains_key(name)
        {
            return Err(malformed(format!("selector.provisioner: there is no provisioner {name:?}")));
        }
        let types = KeyType::TABLE;
        if let Some(name) = &selector.key_type
            && !types.iter().any(|(known, _)| known == name)
        {
            let names: Vec<&str> = types.iter().map(|(name, _)| *name).collect();
            return Err(malformed(format!("selector.key_type: must be one of {}", names.join(", "))));
        }
        Ok(())
    }

    /// Begins a campaign: clients hear of it from now on, over a restart too.
    pub async fn begin_campaign(&self, asked: NewCampaign, by: Option<&Actor>) -> Result<Numbered, Error> {
        let campaign = self.planned(asked)?;
        let _turn = self.campaigns.turn.lock().await;
        let mut all = Vec::clone(&self.campaigns.known());
        let now = self.now();
        if all.iter().filter(|(_, known)| known.is_in_force(now)).count() >= MOST_IN_FORCE {
            return Err(malformed(format!(
                "{MOST_IN_FORCE} campaigns are in force, and no more can be: cancel one that has done its work"
            )));
        }
        let number = all.last().map_or(1, |(last, _)| last + 1);
        let event =
            Event::CampaignBegun { campaign: number, reason: campaign.reason.clone(), drill: campaign.drill };
        let mut batch = audited_by(Batch::new(), now, event, by)
            .expect(Table::Campaigns, key(number), Expect::Absent)
            .put(Table::Campaigns, key(number), campaign.encode());
        // The oldest that is over makes room; there are more than can be in force.
        if all.len() >= MOST_KEPT
            && let Some(place) = all.iter().position(|(_, known)| !known.is_in_force(now))
        {
            batch = batch.delete(Table::Campaigns, key(all.remove(place).0));
        }
        self.commit_campaigns(batch).await?;
        all.push((number, campaign.clone()));
        self.campaigns.set(all);
        // Until it is followed, which comes a moment later, or at its start.
        self.expect_campaigns(now);
        tracing::info!(campaign = number, reason = campaign.reason, drill = campaign.drill, "campaign begun");
        Ok((number, campaign))
    }

    /// Ends a campaign early: windows are again what they would have been.
    pub async fn cancel_campaign(&self, number: u64, by: Option<&Actor>) -> Result<Campaign, Error> {
        let _turn = self.campaigns.turn.lock().await;
        let mut all = Vec::clone(&self.campaigns.known());
        let now = self.now();
        let found = all.iter_mut().find(|(known, _)| *known == number);
        let (_, campaign) = found.ok_or(Error::NotFound)?;
        if !campaign.is_in_force(now) {
            let standing = campaign.standing(now).name();
            return Err(malformed(format!(
                "the campaign {number} is {standing}: there is nothing to cancel"
            )));
        }
        campaign.cancelled = Some(now);
        let cancelled = campaign.clone();
        let event = Event::CampaignCancelled { campaign: number };
        let batch = audited_by(Batch::new(), now, event, by);
        self.commit_campaigns(batch.put(Table::Campaigns, key(number), cancelled.encode())).await?;
        self.campaigns.set(all);
        tracing::info!(campaign = number, "campaign cancelled");
        Ok(cancelled)
    }

    async fn commit_campaigns(&self, batch: Batch) -> Result<(), Error> {
        match self.store.commit(batch).await? {
            CommitOutcome::Committed(_) => Ok(()),
            CommitOutcome::Conflict => Err(Error::Internal("a campaign's number was taken already".into())),
        }
    }

    /// The campaign that calls a certificate over, the one whose window begins first.
    pub(super) fn called_over(
        &self,
        serial: &Serial,
        record: &CertificateRecord,
        content: &Content,
        now: Timestamp,
    ) -> Option<Campaign> {
        let known = self.campaigns.known();
        if known.is_empty() {
            return None;
        }
        let live = self.live();
        let candidate = candidate(&live, serial, record, content)?;
        called(known.iter().map(|(_, campaign)| campaign), &candidate, now).cloned()
    }

    /// Since when a certificate was called over, by a campaign that may be over by now.
    pub(super) fn called_since(&self, serial: &Serial, record: &CertificateRecord) -> Option<Timestamp> {
        let known = self.campaigns.known();
        let mut met = known.iter().map(|(_, campaign)| campaign).filter(|campaign| {
            record.issued < campaign.start
                && campaign.start < record.not_after
                && campaign.cancelled.is_none_or(|cancelled| cancelled > campaign.start)
        });
        let first = met.next()?;
        let (live, content) = (self.live(), record.content()?);
        let candidate = candidate(&live, serial, record, &content)?;
        let met = std::iter::once(first).chain(met).filter(|campaign| campaign.calls(&candidate));
        met.map(|campaign| campaign.start).min()
    }
}
