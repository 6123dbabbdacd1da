//! What the page shows of rotation health.

use std::fmt;

use super::page::Writer;
use crate::time::Timestamp;

/// For which spans from now it is counted what ends within them, in hours. Close together where certificates
/// that live a day end, so that a heatmap of them shows something; the last one bounds what a scrape costs.
pub const SPANS: &[u32] =
    &[1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 30, 36, 48, 72, 120, 168, 336, 720];

/// Rotation health, by names of its own vocabulary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Identities by state.
    pub states: Vec<(&'static str, u64)>,
    /// Identities that fail, by cause.
    pub failing: Vec<(&'static str, u64)>,
    /// When which share of all certificates has expired if none is issued any more.
    pub horizon: Vec<(&'static str, Timestamp)>,
    /// Of certificates that are to be renewed: how many end within each of [`SPANS`].
    pub within: Vec<u64>,
    /// How many there are.
    pub all: u64,
    /// What has come of the campaigns in force, of which there are few at a time.
    pub campaigns: Vec<Campaign>,
}

/// What has come of a campaign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Campaign {
    /// Its number.
    pub number: u64,
    /// Identities that it calls.
    pub members: u64,
    /// Of these, those that have asked when to renew since it was begun, as far as this process knows.
    pub asked: u64,
    /// Of these, those that have renewed.
    pub renewed: u64,
    /// Of these, those that are waited for.
    pub missing: u64,
}

pub(super) fn write(writer: &mut Writer<'_>, fleet: Option<&Fleet>) -> fmt::Result {
    let help = "Whether the fleet is known (1), or the inventory is still being read after a start (0)";
    writer.level("mayfly_fleet_complete", help, f64::from(u8::from(fleet.is_some())))?;
    // Half an inventory makes whoever has renewed since look late.
    let Some(Fleet { states, failing, horizon, within, all, campaigns }) = fleet else { return Ok(()) };
    writer.levels(
        "mayfly_fleet_identities",
        "Identities (sets of names with a certificate) by how they renew",
        states.iter().map(|(state, count)| (vec![("state", *state)], *count as f64)),
    )?;
    writer.levels(
        "mayfly_fleet_failing_identities",
        "Identities whose attempts have failed since their last certificate, by the cause of the latest",
        failing.iter().map(|(cause, count)| (vec![("cause", *cause)], *count as f64)),
    )?;
    writer.levels(
        "mayfly_fleet_horizon_timestamp_seconds",
        "When the first certificate, and which share of all, has expired if none is issued any more",
        horizon.iter().map(|(share, at)| (vec![("share", *share)], at.as_secs() as f64)),
    )?;
    let spans: Vec<String> = SPANS.iter().map(|hours| (u64::from(*hours) * 3600).to_string()).collect();
    let spans = spans.iter().map(String::as_str).chain(["+Inf"]);
    let counts = within.iter().chain([all]);
    writer.levels(
        "mayfly_fleet_expiring_identities",
        "Identities to be renewed whose certificate expires within so many seconds from now; cumulative",
        spans.zip(counts).map(|(within, count)| (vec![("within", within)], *count as f64)),
    )?;
    write_campaigns(writer, campaigns)
}

fn write_campaigns(writer: &mut Writer<'_>, campaigns: &[Campaign]) -> fmt::Result {
    let rows: Vec<(String, &Campaign)> = campaigns.iter().map(|one| (one.number.to_string(), one)).collect();
    let mut write = |name, help, of: fn(&Campaign) -> u64| {
        let levels = rows.iter().map(|(number, one)| (vec![("campaign", number.as_str())], of(one) as f64));
        writer.levels(name, help, levels)
    };
    let help = "Identities that a campaign in force calls over, those that came included";
    write("mayfly_campaign_members", help, |one| one.members)?;
    let help =
        "Of these, those that have asked when to renew since it was begun, as far as this process knows";
    write("mayfly_campaign_asked_members", help, |one| one.asked)?;
    write("mayfly_campaign_renewed_members", "Of these, those that have renewed", |one| one.renewed)?;
    write("mayfly_campaign_missing_members", "Of these, those that are waited for", |one| one.missing)
}

#[cfg(test)]
mod tests {
    use super::super::page::{self, Format, Now};
    use super::*;

    #[test]
    fn nothing_is_said_of_half_a_fleet() {
        let fleet = Fleet {
            states: vec![("healthy", 7), ("overdue", 2)],
            failing: vec![("dns", 1)],
            horizon: vec![("first", Timestamp::from_secs(60)), ("0.05", Timestamp::from_secs(120))],
            within: (0..SPANS.len() as u64).collect(),
            all: 9,
            campaigns: vec![Campaign { number: 17, members: 9, asked: 5, renewed: 4, missing: 3 }],
        };
        let rows = |fleet| -> Vec<String> {
            let page = page::write(Format::Prometheus, Now { fleet, ..Now::default() }, false);
            page.lines()
                .filter(|line| line.starts_with("mayfly_fleet_") || line.starts_with("mayfly_campaign_"))
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(rows(None), ["mayfly_fleet_complete 0.0"]);
        let shown = rows(Some(fleet));
        assert_eq!(shown.len(), 1 + 2 + 1 + 2 + SPANS.len() + 1 + 4, "{shown:?}");
        for want in [
            "mayfly_fleet_complete 1.0",
            "mayfly_fleet_identities{state=\"overdue\"} 2.0",
            "mayfly_fleet_failing_identities{cause=\"dns\"} 1.0",
            "mayfly_fleet_horizon_timestamp_seconds{share=\"0.05\"} 120.0",
            "mayfly_fleet_expiring_identities{within=\"3600\"} 0.0",
            "mayfly_fleet_expiring_identities{within=\"7200\"} 1.0",
            "mayfly_fleet_expiring_identities{within=\"+Inf\"} 9.0",
            "mayfly_campaign_members{campaign=\"17\"} 9.0",
            "mayfly_campaign_asked_members{campaign=\"17\"} 5.0",
            "mayfly_campaign_renewed_members{campaign=\"17\"} 4.0",
            "mayfly_campaign_missing_members{campaign=\"17\"} 3.0",
        ] {
            assert!(shown.iter().any(|row| row == want), "{want}: {shown:?}");
        }
        assert!(SPANS.is_sorted());
    }
}
