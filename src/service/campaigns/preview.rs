//! What a campaign would come to, before it is begun: a bounded step at a time over the inventory, by the
//! narrowest index that its conditions name.

use std::time::Duration;

use super::super::inventory::{CertificateQuery, CertificateState, ListedCertificate, PAGE, Page};
use super::super::{Error, Service};
use super::{NewCampaign, candidate, malformed};
use crate::acme::renewal::{begin, longest_pause};
use crate::fleet::IdentityId;
use crate::fleet::campaign::Selector;
use crate::time::Timestamp;

/// Parts of a campaign's time that windows are counted by.
pub const BUCKETS: usize = 24;

/// Pages of the inventory that one step reads.
const PAGES: usize = 4;

/// What one step found; the steps add up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// Certificates that would be called over: the latest ones of their names.
    pub certificates: u64,
    /// Of these, those whose window has begun by the start anyway.
    pub due: u64,
    /// Certificates that meet the conditions and were renewed already: nobody waits for these.
    pub superseded: u64,
    /// Windows that begin in each part of the campaign's time.
    pub windows: [u64; BUCKETS],
    /// The longest pause after which one of these clients asks again, if it keeps to what it is told.
    pub longest_pause: Duration,
    /// Where to go on; `None` at the end.
    pub next: Option<Vec<u8>>,
    /// Whether certificates from before there was an index may be missing.
    pub incomplete: bool,
}

impl Selector {
    fn query(&self, state: Option<CertificateState>, expires_from: Option<Timestamp>) -> CertificateQuery {
        CertificateQuery {
            name: self.name.clone(),
            suffix: self.suffix.clone(),
            account: self.account,
            provisioner: self.provisioner.clone(),
            profile: self.profile.clone(),
            issuer: self.issuer,
            state,
            expires_from,
            ..CertificateQuery::default()
        }
    }
}

impl Service {
    /// One page of what a selector's conditions may select, all but those that the inventory cannot ask for.
    pub(super) async fn selected(
        &self,
        selector: &Selector,
        state: Option<CertificateState>,
        expires_from: Option<Timestamp>,
        after: Option<&[u8]>,
    ) -> Result<Page, Error> {
        let Some(serial) = selector.serial else {
            return self.certificates(&selector.query(state, expires_from), after, PAGE.1).await;
        };
        let certificates = match self.listed_certificate(serial).await {
            Ok(found) => vec![found],
            Err(Error::NotFound) => Vec::new(),
            Err(error) => return Err(error),
        };
        let now = self.now();
        let meets = |found: &ListedCertificate| state.is_none_or(|state| state == found.state(now));
        Ok(Page {
            certificates: certificates.into_iter().filter(meets).collect(),
            next: None,
            building: None,
        })
    }

    /// One step of what a campaign would come to, from behind `after`.
    pub async fn preview_campaign(&self, asked: NewCampaign, after: Option<&[u8]>) -> Result<Preview, Error> {
        let campaign = self.planned(asked)?;
        if !self.fleet.is_complete() {
            return Err(Error::Busy("the inventory is still being read"));
        }
        let mut sum = Preview { next: after.map(<[u8]>::to_vec), ..Preview::default() };
        for _ in 0..PAGES {
            let valid = Some(CertificateState::Valid);
            let page = self.selected(&campaign.selector, valid, None, sum.next.as_deref()).await;
            let page = page.map_err(|error| match error {
                Error::Refused(_) => malformed("after: is not a cursor of this campaign"),
                other => other,
            })?;
            let live = self.live();
            for ListedCertificate { serial, record, content, .. } in &page.certificates {
                let calls = candidate(&live, serial, record, content).is_some_and(|it| campaign.calls(&it));
                let identity = IdentityId::of(content.identifiers.iter());
                let Some(identity) = identity.filter(|_| calls) else { continue };
                if self.fleet.identity(&identity).is_some_and(|known| known.serial != *serial) {
                    sum.superseded += 1;
                    continue;
                }
                let usual = begin(content.not_before, record.not_after, serial);
                let begins = usual.min(campaign.call().begin(serial));
                sum.certificates += 1;
                let pause = longest_pause(record.not_after.since(content.not_before));
                sum.longest_pause = sum.longest_pause.max(pause);
                if begins < campaign.start {
                    sum.due += 1;
                } else {
                    let part = begins.since(campaign.start).as_millis() * BUCKETS as u128;
                    let place = part / campaign.over.as_millis().max(1);
                    sum.windows[usize::try_from(place).unwrap_or(BUCKETS).min(BUCKETS - 1)] += 1;
                }
            }
            sum.incomplete |= page.building.is_some();
            sum.next = page.next;
            if sum.next.is_none() {
                break;
            }
        }
        Ok(sum)
    }
}
