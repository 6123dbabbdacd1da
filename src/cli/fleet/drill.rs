//! `mayfly fleet drill`

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use hyper::Method;
use serde::Serialize;

use super::campaign::{self, Selection, seconds, sparkline};
use super::error::of_campaign;
use super::{FleetError, span};
use crate::cli::CliError;
use crate::cli::running::{Target, json};
use crate::time::{Clock, SystemClock, Timestamp};
use crate::wire::admin::{Campaign, Reaction, Unanswered, UnansweredPage};

const AFTER_HELP: &str = "\
A drill is a campaign (`mayfly fleet renew`) that is begun to see who reacts. It tells, as it happens, how many \
identities were called, asked for their renewal information, and renewed; and at its end, who did not, by account \
and by the client that they use:

  failed            it tried, and was refused or failed; why is told
  asked, stayed     it asked since, was told to renew, and did not
  asked before      it asks, but has not since; it may come yet
  never asked       not since this CA was started: it does not know ARI, or is dead

Without ID, one is begun. With ID, that campaign is watched, be it a drill or not. Watching ends when nobody is \
waited for or all windows have begun (or after --for); the campaign itself goes on, and can be looked at again.

Examples:
  mayfly fleet drill --suffix web.example.internal --over 30m
  mayfly fleet drill 3
  mayfly fleet drill 3 --for 0s --json";

/// Arguments of `mayfly fleet drill`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP, arg_required_else_help = true)]
pub struct Drill {
    /// A campaign that was begun already
    #[arg(value_name = "ID", conflicts_with = "Selection")]
    pub id: Option<u64>,
    /// Which certificates, and when
    #[command(flatten)]
    pub selection: Selection,
    /// Watch for so long at most; 0s: look once [default: until all windows have begun]
    #[arg(long = "for", value_name = "DURATION", value_parser = seconds)]
    pub watch: Option<u64>,
    /// Look so often
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = seconds)]
    pub interval: u64,
    /// Look at so many who have not come, at most
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub limit: u64,
    /// Print JSON at the end, and nothing before
    #[arg(long)]
    pub json: bool,
    /// Which CA
    #[command(flatten)]
    pub target: Target,
}

/// What a drill has shown.
#[derive(Debug, Serialize)]
struct Report {
    campaign: Campaign,
    /// Who has not come, most first.
    unanswered: Vec<Group>,
    /// Whether there are more than were looked at.
    cut_off: bool,
}

/// Identities of one account and client that did the same.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Group {
    identities: u64,
    reaction: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    /// One of them.
    example: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    example_address: Option<String>,
}

/// Runs a drill, or watches a campaign.
pub(super) fn run(args: &Drill, out: &mut dyn Write) -> Result<(), CliError> {
    let number = match args.id {
        Some(number) => number,
        None => begin(args, out)?,
    };
    let campaign = watch(args, number, out)?;
    let (unanswered, cut_off) = unanswered(args, number)?;
    let report = Report { campaign, unanswered, cut_off };
    if args.json { json(out, &report) } else { Ok(out.write_all(told(&report).as_bytes())?) }
}

fn begin(args: &Drill, out: &mut dyn Write) -> Result<u64, CliError> {
    if args.selection.over.is_none() {
        return Err(FleetError::Missing("--over").into());
    }
    let wanted = args.selection.campaign(&args.target, true, "drill")?;
    let found = campaign::preview(&args.target, &wanted)?;
    if found.certificates == 0 {
        return Err(FleetError::NobodyToCall.into());
    }
    let begun = campaign::begin(&args.target, &wanted)?;
    if !args.json {
        out.write_all(campaign::told(&found, &wanted, SystemClock.now()).as_bytes())?;
        writeln!(out, "\nCampaign {} is begun.", begun.id)?;
    }
    Ok(begun.id)
}

/// Looks at it again and again; as it was at the last look.
fn watch(args: &Drill, number: u64, out: &mut dyn Write) -> Result<Campaign, CliError> {
    let path = format!("/v1/fleet/campaigns/{number}");
    let begun = SystemClock.now();
    let mut before: Option<Reaction> = None;
    loop {
        let found = args.target.call(Method::GET, &path, None::<&()>);
        let campaign: Campaign = of_campaign(number, found)?;
        let now = SystemClock.now();
        if campaign.reaction.is_some() && campaign.reaction != before && !args.json {
            campaign.reaction.iter().try_for_each(|reaction| progress(reaction, now, out))?;
        }
        let last = match args.watch {
            Some(span) => begun + Duration::from_secs(span),
            None => end(&campaign),
        };
        let settled = campaign.reaction.as_ref().is_some_and(|reaction| reaction.complete);
        let missing = campaign.reaction.as_ref().map_or(0, |reaction| reaction.missing);
        let alive = matches!(campaign.standing.as_str(), "planned" | "calling" | "lingering");
        if now >= last && (settled || args.watch.is_some()) || !alive || (settled && missing == 0) {
            return Ok(campaign);
        }
        before.clone_from(&campaign.reaction);
        std::thread::sleep(
            Duration::from_secs(args.interval.max(1)).min(last.since(now).max(Duration::from_secs(1))),
        );
    }
}

/// When all windows have begun.
fn end(campaign: &Campaign) -> Timestamp {
    let start = Timestamp::parse_rfc3339(&campaign.start).unwrap_or(Timestamp::EPOCH);
    start + Duration::from_secs(campaign.over)
}

fn progress(reaction: &Reaction, now: Timestamp, out: &mut dyn Write) -> Result<(), CliError> {
    let Reaction { members, called, asked, renewed, missing, .. } = reaction;
    let time = now.to_rfc3339();
    let time = time.split_once('T').map_or("", |(_, time)| time);
    writeln!(
        out,
        "{time:<10}  called {called}/{members}  asked {asked}  renewed {renewed}  not yet {missing}  {}",
        sparkline(&coarse(reaction, 24))
    )?;
    Ok(())
}

/// Renewals, in so many parts at most.
fn coarse(reaction: &Reaction, parts: usize) -> Vec<u64> {
    let all: Vec<u64> = reaction.curve.iter().map(|point| u64::from(point.renewed)).collect();
    let each = all.len().div_ceil(parts).max(1);
    all.chunks(each).map(|some| some.iter().sum()).collect()
}

/// Who has not come, in groups, and whether there are more.
fn unanswered(args: &Drill, number: u64) -> Result<(Vec<Group>, bool), CliError> {
    let (mut groups, mut left, mut after) = (BTreeMap::new(), args.limit, None);
    loop {
        let limit = left.min(500);
        let cursor = after.map(|after: String| format!("&after={after}")).unwrap_or_default();
        let path = format!("/v1/fleet/campaigns/{number}/unanswered?limit={limit}{cursor}");
        let page: UnansweredPage = args.target.call(Method::GET, &path, None::<&()>)?;
        left -= (page.identities.len() as u64).min(left);
        page.identities.into_iter().for_each(|one| count(&mut groups, one));
        after = page.next;
        if after.is_none() || left == 0 {
            break;
        }
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.identities));
    Ok((groups, after.is_some()))
}

type Key = (String, Option<String>, Option<String>, Option<String>);

fn count(groups: &mut BTreeMap<Key, Group>, one: Unanswered) {
    let key = (one.reaction, one.failure, one.account, one.user_agent);
    let group = groups.entry(key.clone()).or_insert_with(|| {
        let (reaction, failure, account, user_agent) = key;
        let example = if one.names.is_empty() { one.serial } else { one.names.join(",") };
        let example_address = one.client_address;
        Group { identities: 0, reaction, failure, account, user_agent, example, example_address }
    });
    group.identities += 1;
}

/// The end of it, in words.
fn told(report: &Report) -> String {
    use std::fmt::Write as _;
    let Campaign { id, standing, reaction, start, .. } = &report.campaign;
    let Some(reaction) = reaction else {
        return format!(
            "Campaign {id} is {standing}; its first window begins at {start}, or nobody follows it any more.\n"
        );
    };
    let Reaction { members, called, asked, renewed, renewed_unasked, excused, missing, .. } = reaction;
    let mut text = format!(
        "\nCampaign {id} ({standing}): {members} identities, {called} called so far\n  {:<14} {asked} (who asked before {} is not known)\n  \
         {:<14} {renewed}, {renewed_unasked} of them without asking\n",
        "asked", reaction.asking_known_since, "renewed"
    );
    let line = |name: &str, of: fn(&crate::wire::admin::CurvePoint) -> u32| {
        let all: Vec<u64> = reaction.curve.iter().map(|point| u64::from(of(point))).collect();
        let each = all.len().div_ceil(60).max(1);
        let sums: Vec<u64> = all.chunks(each).map(|some| some.iter().sum()).collect();
        format!("  {name:<14} {}\n", sparkline(&sums))
    };
    text.push_str(&line("called", |point| point.called));
    text.push_str(&line("asking", |point| point.asked));
    text.push_str(&line("renewing", |point| point.renewed));
    if let (Some(first), Some(second)) = (reaction.curve.first(), reaction.curve.get(1)) {
        let at = |text: &str| Timestamp::parse_rfc3339(text).unwrap_or(Timestamp::EPOCH);
        let each =
            at(&second.from).since(at(&first.from)).as_secs() * reaction.curve.len().div_ceil(60) as u64;
        let _ = writeln!(text, "  {:<14} from {}, {} a bar", "", first.from, span(each.max(1)));
    }
    if *excused > 0 {
        let _ = writeln!(text, "  {:<14} {excused}, retired or revoked: nobody waits for them", "excused");
    }
    let _ = writeln!(text, "  {:<14} {missing}", "not yet");
    if !reaction.complete {
        text.push_str("  More may be called: the inventory is still being read.\n");
    }
    if report.unanswered.is_empty() {
        return text;
    }
    let _ = writeln!(
        text,
        "\n{:>10}  {:<22}  {:<22}  {:<30}  FOR EXAMPLE",
        "IDENTITIES", "REACTION", "ACCOUNT", "CLIENT"
    );
    for group in &report.unanswered {
        let reaction = match (group.reaction.as_str(), &group.failure) {
            ("failed", Some(why)) => format!("failed: {why}"),
            ("not-yet", _) => "window not begun".to_owned(),
            ("asked-and-stayed", _) => "asked, stayed".to_owned(),
            ("asked-before", _) => "asked before".to_owned(),
            ("never-asked", _) => "never asked".to_owned(),
            (other, _) => other.to_owned(),
        };
        let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let address =
            group.example_address.as_ref().map(|address| format!(" ({address})")).unwrap_or_default();
        let _ = writeln!(
            text,
            "{:>10}  {reaction:<22}  {:<22}  {:<30}  {}{address}",
            group.identities,
            shown(&group.account),
            shown(&group.user_agent),
            group.example
        );
    }
    if report.cut_off {
        text.push_str("There are more: --limit N looks at more.\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(reaction: &str, user_agent: &str, name: &str) -> Unanswered {
        Unanswered {
            id: "00".repeat(12),
            state: "healthy".into(),
            names: vec![name.into()],
            serial: "ab".repeat(19),
            not_after: "2030-01-01T00:00:00Z".into(),
            window: None,
            reaction: reaction.into(),
            asked: None,
            failure: (reaction == "failed").then(|| "dns".to_owned()),
            provisioner: Some("acme".into()),
            account: Some("A".repeat(22)),
            client_address: Some("10.0.0.1".into()),
            user_agent: Some(user_agent.into()),
        }
    }

    fn report(unanswered: Vec<Group>) -> Report {
        let curve = (0..3).map(|n| crate::wire::admin::CurvePoint {
            from: format!("2030-01-01T00:0{n}:00Z"),
            called: 4,
            asked: 2,
            renewed: n,
        });
        let reaction = Reaction {
            complete: true,
            members: 12,
            called: 12,
            asked: 6,
            renewed: 3,
            renewed_unasked: 1,
            excused: 1,
            missing: 8,
            asking_known_since: "2029-12-01T00:00:00Z".into(),
            curve: curve.collect(),
        };
        let campaign = Campaign {
            id: 3,
            standing: "lingering".into(),
            selector: Default::default(),
            created: "2030-01-01T00:00:00Z".into(),
            start: "2030-01-01T00:00:00Z".into(),
            over: 60,
            until: "2030-01-08T00:01:00Z".into(),
            reason: "drill".into(),
            explanation_url: None,
            drill: true,
            cancelled: None,
            reaction: Some(reaction),
        };
        Report { campaign, unanswered, cut_off: true }
    }

    #[test]
    fn a_campaign_that_was_begun_is_not_selected_again() {
        use clap::Parser;
        let parses = |line: &str| crate::cli::Cli::try_parse_from(line.split(' ')).is_ok();
        for (line, want) in [
            ("mayfly fleet drill 3", true),
            ("mayfly fleet drill 3 --for 10m --json", true),
            ("mayfly fleet drill --suffix a.test --over 2h", true),
            ("mayfly fleet drill 3 --suffix a.test", false),
            ("mayfly fleet drill 3 --over 2h", false),
            ("mayfly fleet renew --all --over 2h --reason x", true),
            ("mayfly fleet renew --list --json", true),
            ("mayfly fleet renew --list --all", false),
            ("mayfly fleet renew --cancel 3", true),
            ("mayfly fleet renew --cancel 3 --suffix a.test", false),
            ("mayfly fleet renew --over soon", false),
        ] {
            assert_eq!(parses(line), want, "{line}");
        }
    }

    #[test]
    fn who_ignored_it_is_told_in_groups() {
        let mut groups = BTreeMap::new();
        for (reaction, agent, name) in [
            ("never-asked", "certbot/1.0", "a.test"),
            ("never-asked", "certbot/1.0", "b.test"),
            ("asked-and-stayed", "lego/4", "c.test"),
            ("failed", "lego/4", "d.test"),
        ] {
            count(&mut groups, one(reaction, agent, name));
        }
        let mut groups: Vec<Group> = groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.identities));
        assert_eq!((groups.len(), groups[0].identities, groups[0].example.as_str()), (3, 2, "a.test"));
        let text = told(&report(groups));
        for words in [
            "12 identities",
            "3, 1 of them without asking",
            "called         ███",
            "renewing        ▄█",
            "1 m a bar",
            "never asked",
            "certbot/1.0",
            "failed: dns",
            "(10.0.0.1)",
            "--limit N",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        let planned = Report {
            campaign: Campaign { reaction: None, standing: "planned".into(), ..report(Vec::new()).campaign },
            ..report(Vec::new())
        };
        assert!(told(&planned).contains("first window begins at 2030-01-01"));
    }
}
