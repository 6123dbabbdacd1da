//! What `mayfly fleet renew` and `mayfly fleet drill` share: which certificates, over how long, and what
//! that would come to.

use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use hyper::Method;

use super::{FleetError, span};
use crate::cli::CliError;
use crate::cli::running::Target;
use crate::config::units;
use crate::time::Timestamp;
use crate::wire::admin::{
    AskForPreview, Campaign, CampaignPreview, CampaignSelector, NewCampaign, Rotations,
};

/// Which certificates are called over, and when.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Selection {
    /// Of this issuer (its key identifier) or of an authority's issuers (its name)
    #[arg(long, value_name = "ISSUER")]
    pub issuer: Option<String>,
    /// Issued to this account
    #[arg(long, value_name = "ID")]
    pub account: Option<String>,
    /// Issued by this provisioner
    #[arg(long, value_name = "NAME")]
    pub provisioner: Option<String>,
    /// Issued under this profile
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// With this DNS name or one below it
    #[arg(long, value_name = "NAME")]
    pub suffix: Option<String>,
    /// With this very name, wildcard or address
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// For a key of this type: ec-p256, ec-p384, ec-p521, ed25519, rsa, ml-dsa-44, ml-dsa-65, ml-dsa-87
    #[arg(long, value_name = "TYPE")]
    pub key_type: Option<String>,
    /// With this serial, in hex
    #[arg(long, value_name = "SERIAL")]
    pub serial: Option<String>,
    /// Signed before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub issued_before: Option<String>,
    /// Every certificate
    #[arg(long)]
    pub all: bool,
    /// Over how long windows begin, evenly: 2h, 30m; from 10s to 30d
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    pub over: Option<u64>,
    /// When the first window begins (RFC 3339) [default: now]
    #[arg(long, value_name = "TIME")]
    pub start: Option<String>,
    /// What for, in one line; it is kept in the audit log
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// A page that clients show to their operators
    #[arg(long, value_name = "URL")]
    pub explanation_url: Option<String>,
}

/// A span of time, as the configuration writes it.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    units::parse_duration(text).map(|span| span.as_secs()).map_err(|error| error.to_string())
}

impl Selection {
    /// That it says whom it means, in the words of this command: the server knows no arguments.
    fn check_conditions(&self) -> Result<(), FleetError> {
        let conditions = [
            &self.issuer,
            &self.account,
            &self.provisioner,
            &self.profile,
            &self.suffix,
            &self.name,
            &self.key_type,
            &self.serial,
            &self.issued_before,
        ];
        match (self.all, conditions.iter().any(|condition| condition.is_some())) {
            (false, false) => Err(FleetError::NoCondition),
            (true, true) => Err(FleetError::AllAndConditions),
            (true, false) | (false, true) => Ok(()),
        }
    }

    /// The campaign that is asked for.
    pub(super) fn campaign(
        &self,
        target: &Target,
        drill: bool,
        reason: &str,
    ) -> Result<NewCampaign, CliError> {
        self.check_conditions()?;
        let (mut issuer, mut authority) = (self.issuer.clone(), None);
        // A name of 40 hexadecimal digits would be an odd one.
        if let Some(text) = issuer.take_if(|text| !is_key_id(text)) {
            let known: Rotations = target.call(Method::GET, "/v1/rotations", None::<&()>)?;
            if !known.rotations.iter().any(|one| one.authority == text) {
                let known = known.rotations.into_iter().map(|one| one.authority).collect();
                return Err(FleetError::NoIssuer { issuer: text, known }.into());
            }
            authority = Some(text);
        }
        let selector = CampaignSelector {
            all: self.all,
            authority,
            issuer,
            account: self.account.clone(),
            provisioner: self.provisioner.clone(),
            profile: self.profile.clone(),
            suffix: self.suffix.clone(),
            name: self.name.clone(),
            key_type: self.key_type.clone(),
            serial: self.serial.as_ref().map(|text| text.replace(':', "").to_ascii_lowercase()),
            issued_before: self.issued_before.clone(),
        };
        Ok(NewCampaign {
            selector,
            start: self.start.clone(),
            over: self.over.unwrap_or_default(),
            reason: self.reason.clone().unwrap_or_else(|| reason.to_owned()),
            explanation_url: self.explanation_url.clone(),
            drill,
        })
    }
}

fn is_key_id(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What it would come to: asked for part by part, so that no request takes long.
pub(super) fn preview(target: &Target, campaign: &NewCampaign) -> Result<CampaignPreview, CliError> {
    let mut asked = AskForPreview { campaign: campaign.clone(), after: None };
    let mut sum: Option<CampaignPreview> = None;
    loop {
        let part: CampaignPreview = target.call(Method::POST, "/v1/fleet/campaigns/preview", Some(&asked))?;
        asked.after.clone_from(&part.next);
        let all = match sum.take() {
            None => part,
            Some(all) => CampaignPreview {
                certificates: all.certificates + part.certificates,
                due: all.due + part.due,
                superseded: all.superseded + part.superseded,
                windows: all.windows.iter().zip(&part.windows).map(|(a, b)| a + b).collect(),
                longest_pause: all.longest_pause.max(part.longest_pause),
                incomplete: all.incomplete || part.incomplete,
                next: part.next,
            },
        };
        if asked.after.is_none() {
            return Ok(all);
        }
        sum = Some(all);
    }
}

/// Begins it.
pub(super) fn begin(target: &Target, campaign: &NewCampaign) -> Result<Campaign, CliError> {
    target.call(Method::POST, "/v1/fleet/campaigns", Some(campaign))
}

/// What it comes to, in words: how many, how many a minute, and whom it reaches when.
pub(super) fn told(found: &CampaignPreview, campaign: &NewCampaign, now: Timestamp) -> String {
    let CampaignPreview { certificates, due, superseded, longest_pause: pause, .. } = *found;
    if certificates == 0 {
        return format!("{:<14} 0: none meets these conditions\n", "certificates");
    }
    let (over, pause) = (campaign.over.max(1), pause.max(1));
    let start = campaign.start.as_deref().and_then(Timestamp::parse_rfc3339);
    let ahead = start.map_or(0, |start| start.since(now).as_secs()).min(pause);
    let mut text = format!("{:<14} {certificates}", "certificates");
    if superseded > 0 {
        let _ = write!(text, " ({superseded} more were renewed already and are not counted)");
    }
    if due > 0 {
        let _ = write!(text, ", {due} of them due by then anyway");
    }
    let moved = (certificates - due) as f64;
    let _ = writeln!(
        text,
        "\n{:<14} {} over {}: {}",
        "windows",
        sparkline(&found.windows),
        span(over),
        per_minute(moved * 60.0 / over as f64)
    );
    let _ = writeln!(
        text,
        "{:<14} at most {}, if these clients ask at different times, each every {} as it is told",
        "load",
        per_minute(moved * 60.0 * peak(over as f64, pause as f64, ahead as f64)),
        span(pause)
    );
    let heard = ((ahead + over) * 100 / pause).min(100);
    let reached = if ahead >= pause {
        "each of them asks before it starts".to_owned()
    } else if heard == 100 {
        "each of them asks before the last window begins".to_owned()
    } else {
        let early = (now + Duration::from_secs(pause)).to_rfc3339();
        format!(
            "about {heard} % of them ask in time; the others hear of it when they ask next,\n{:<14} within {}, and \
             renew at once then; to reach all in time, begin ahead: --start {early}",
            "",
            span(pause)
        )
    };
    let _ = writeln!(text, "{:<14} {reached}", "reach");
    let _ = writeln!(
        text,
        "{:<14} clients that do not ask (no ARI, RFC 9773) renew when they would have anyway",
        ""
    );
    if found.incomplete {
        let _ =
            writeln!(text, "{:<14} certificates from before the index was made may be missing", "incomplete");
    }
    text
}

/// Renewals in a second, at most, of one certificate: each client asks every `pause` seconds, at an even
/// chance, from `ahead` seconds before the start on, and comes once it has asked and its window, one of
/// `over`, has begun.
fn peak(over: f64, pause: f64, ahead: f64) -> f64 {
    // Most have asked before their window comes.
    if pause * 10.0 <= over {
        return 1.0 / over;
    }
    // By t, (t / over) * ((t + ahead) / pause) have come, until one of the two is over.
    let last = over.min(pause - ahead);
    let rising = (2.0 * last + ahead) / (over * pause);
    if over > pause - ahead { rising.max(1.0 / over) } else { rising }
}

fn per_minute(rate: f64) -> String {
    if rate >= 10.0 { format!("{rate:.0} a minute") } else { format!("{rate:.1} a minute") }
}

/// Numbers as a line of bars.
pub(super) fn sparkline(numbers: &[u64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = numbers.iter().copied().max().unwrap_or_default().max(1);
    let bar = |number: &u64| match usize::try_from((number * 8).div_ceil(most)) {
        Ok(0) | Err(_) => ' ',
        Ok(height) => BARS[height.min(8) - 1],
    };
    numbers.iter().map(bar).collect()
}

/// A selector, as arguments have it.
pub(super) fn conditions(selector: &CampaignSelector) -> String {
    let CampaignSelector {
        all,
        authority,
        issuer,
        account,
        provisioner,
        profile,
        suffix,
        name,
        key_type,
        serial,
        issued_before,
    } = selector;
    if *all {
        return "all".to_owned();
    }
    let given = [
        ("issuer", authority),
        ("issuer", issuer),
        ("account", account),
        ("provisioner", provisioner),
        ("profile", profile),
        ("suffix", suffix),
        ("name", name),
        ("key-type", key_type),
        ("serial", serial),
        ("issued-before", issued_before),
    ];
    let given = given.iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?)));
    given.collect::<Vec<_>>().join(", ")
}

/// Writes a campaign's own line.
pub(super) fn line(campaign: &Campaign, out: &mut dyn Write) -> Result<(), CliError> {
    let kind = if campaign.drill { "drill" } else { "renewal" };
    writeln!(
        out,
        "{:>4}  {:<9}  {kind:<7}  {}  {:<9}  {}: {}",
        campaign.id,
        campaign.standing,
        campaign.start,
        span(campaign.over),
        conditions(&campaign.selector),
        campaign.reason
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn campaign(over: u64, start: Option<&str>) -> NewCampaign {
        NewCampaign {
            selector: CampaignSelector::default(),
            start: start.map(str::to_owned),
            over,
            reason: "r".into(),
            explanation_url: None,
            drill: false,
        }
    }

    fn found(certificates: u64, longest_pause: u64) -> CampaignPreview {
        CampaignPreview {
            certificates,
            due: 0,
            superseded: 0,
            windows: vec![1; 24],
            longest_pause,
            incomplete: false,
            next: None,
        }
    }

    #[test]
    fn who_is_meant_is_asked_in_arguments() {
        let some = || Selection { suffix: Some("test".into()), ..Selection::default() };
        for (selection, want) in [
            (Selection::default(), Some("--all if every certificate is meant")),
            (Selection { all: true, ..some() }, Some("leave out --all")),
            (Selection { all: true, ..Selection::default() }, None),
            (Selection { issued_before: Some("x".into()), ..Selection::default() }, None),
            (some(), None),
        ] {
            let said = selection.check_conditions().err().map(|error| error.next_step());
            assert_eq!(said.is_some(), want.is_some(), "{said:?}");
            assert!(said.unwrap_or_default().contains(want.unwrap_or_default()), "{want:?}");
        }
    }

    #[test]
    fn whom_it_reaches_is_said_plainly() {
        let (hour, now) = (3600, Timestamp::from_secs(1_793_318_400));
        for (over, pause, ahead, words) in [
            (2 * hour, 6 * hour, 0, ["500 a minute", "most 333 a minute", "about 33 % of them ask in time"]),
            (2 * hour, 6 * hour, 2 * hour, ["500 a minute", "most 500 a minute", "about 66 % of them"]),
            (2 * hour, 6 * hour, 6 * hour, ["500 a minute", "most 500 a minute", "asks before it starts"]),
            (12 * hour, 6 * hour, 0, ["83 a minute", "most 167 a minute", "before the last window begins"]),
            (hour / 2, 60, 0, ["2000 a minute", "most 2000 a minute", "before the last window begins"]),
        ] {
            let start = (now + Duration::from_secs(ahead)).to_rfc3339();
            let text = told(&found(60_000, pause), &campaign(over, (ahead > 0).then_some(&*start)), now);
            for word in words {
                assert!(text.contains(word), "{word}: {text}");
            }
        }
        let now = Timestamp::from_secs(1_793_318_400);
        assert_eq!(
            told(&found(0, 0), &campaign(60, None), now),
            "certificates   0: none meets these conditions\n"
        );
        let some = CampaignPreview { due: 7, superseded: 3, incomplete: true, ..found(10, 21_600) };
        let text = told(&some, &campaign(7200, None), now);
        for word in ["10 (3 more were renewed", "7 of them due", "0.0 a minute", "incomplete"] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }

    #[test]
    fn bars() {
        assert_eq!(sparkline(&[0, 1, 4, 8]), " ▁▄█");
        assert_eq!(sparkline(&[0, 0]), "  ");
        assert_eq!(sparkline(&[]), "");
    }

    #[test]
    fn conditions_are_told_as_they_are_given() {
        let selector = CampaignSelector {
            suffix: Some("a.test".into()),
            key_type: Some("rsa".into()),
            ..CampaignSelector::default()
        };
        assert_eq!(conditions(&selector), "suffix a.test, key-type rsa");
        assert_eq!(conditions(&CampaignSelector { all: true, ..CampaignSelector::default() }), "all");
    }
}
