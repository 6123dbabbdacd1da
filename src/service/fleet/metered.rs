//! What the metrics show of rotation health.

use super::super::Service;
use crate::fleet::{Cause, State};
use crate::telemetry::metrics::fleet::{Campaign, Fleet, SPANS};

impl Service {
    /// As of now; `None` until the inventory has been read.
    pub(in crate::service) fn metered_fleet(&self) -> Option<Fleet> {
        if !self.fleet.is_complete() {
            return None;
        }
        self.fleet.advance(self.now());
        let summary = self.fleet.summary();
        let minutes: Vec<u32> = SPANS.iter().map(|hours| hours * 60).collect();
        let (within, all) = self.fleet.expiring(&minutes);
        let horizon = summary.horizon.iter().flat_map(|horizon| {
            [("first", horizon.first), ("0.05", horizon.twentieth), ("0.5", horizon.half)]
        });
        Some(Fleet {
            states: State::ALL.iter().map(|state| (state.name(), summary.of(*state))).collect(),
            failing: Cause::ALL
                .iter()
                .map(|cause| (cause.name(), summary.failing[*cause as usize]))
                .collect(),
            horizon: horizon.collect(),
            within,
            all,
            campaigns: self.metered_campaigns(),
        })
    }

    /// Those in force whose members are known: of others there are more than is known yet.
    fn metered_campaigns(&self) -> Vec<Campaign> {
        let in_force = self.campaigns_in_force();
        let count = |fleet: &crate::fleet::Fleet, number: &u64| {
            let known = fleet.reaction(*number).filter(|known| known.complete)?;
            let (members, asked, renewed) = (known.members, known.asked, known.renewed);
            Some(Campaign { number: *number, members, asked, renewed, missing: known.missing() })
        };
        self.fleet.with(|fleet, _| in_force.iter().filter_map(|number| count(fleet, number)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use crate::acme::identifier::Identifier;
    use crate::entropy::{Entropy, SeededEntropy};
    use crate::fleet::{IdentityId, Issuance};
    use crate::service::stand::Stand;
    use crate::telemetry::metrics::page::{self, Format};
    use crate::x509::serial::Serial;

    /// A server that knows so many identities, whose certificates of a day end one after the other.
    async fn of(count: u64) -> Stand {
        let stand = Stand::new().await;
        let (fleet, now) = (stand.service.fleet(), stand.service.now());
        fleet.advance(now);
        let entropy = SeededEntropy::new(5);
        for number in 0..count {
            let name = Identifier::parse_dns(&format!("h{number}.fleet.test")).unwrap();
            let issued = now - Duration::from_secs(number % 80_000);
            let serial = Serial::new(issued, (&entropy as &dyn Entropy).bytes());
            let identity = IdentityId::of([name].iter()).unwrap();
            let not_after = issued + Duration::from_secs(86_400);
            let issuance = Issuance {
                identity,
                serial,
                issued,
                not_before: issued,
                not_after,
                revoked: false,
                automatic: false,
                provisioner: 0,
            };
            fleet.with(|fleet, changed| fleet.learn(&issuance, changed));
        }
        fleet.complete.store(true, std::sync::atomic::Ordering::SeqCst);
        stand
    }

    fn page(stand: &Stand) -> String {
        page::write(Format::OpenMetrics, stand.service.metered(), false)
    }

    fn series(page: &str) -> Vec<&str> {
        page.lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.rsplit_once(' ').unwrap().0)
            .collect()
    }

    #[tokio::test]
    async fn as_many_series_for_many_identities_as_for_one() {
        let of_fleet = |page: &str| {
            let of_fleet = series(page).into_iter().filter(|one| one.starts_with("mayfly_fleet_"));
            of_fleet.map(str::to_owned).collect::<Vec<_>>()
        };
        let few = of_fleet(&page(&of(1).await));
        let many = page(&of(5_000).await);
        assert_eq!(of_fleet(&many), few);
        assert!(many.contains("mayfly_fleet_expiring_identities{within=\"+Inf\"} 5000"), "{many}");
        assert!((20..60).contains(&few.len()), "{few:?}");
    }

    #[tokio::test]
    #[ignore = "measures: cargo test --lib -- --ignored --nocapture a_scrape_at_a_million"]
    async fn a_scrape_at_a_million_identities() {
        for count in [1, 1_000_000] {
            let stand = of(count).await;
            let text = page(&stand);
            let begun = Instant::now();
            (0..50).for_each(|_| drop(page(&stand)));
            let each = begun.elapsed() / 50;
            println!("{count} identities: {} series, {} bytes, {each:?}", series(&text).len(), text.len());
            assert!(each < Duration::from_millis(250), "{each:?}");
        }
    }
}
