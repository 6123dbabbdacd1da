//! `mayfly policy what-if`: what another policy would have said of what a running CA has issued and refused.
//!
//! The running CA reads, this process judges. The store is the CA's alone, so what is replayed comes through its
//! admin socket, a page at a time; and the judging is done here, so that a policy that is only thought of
//! neither gets near the one gate nor takes time from those who wait for certificates. One page is in memory at
//! a time, whatever the inventory holds.
//!
//! Each certificate is judged by its own bytes, at the moment of its issuance and for whom it was issued; each
//! refusal by the bytes that were to be signed. What a record cannot say (the profile and the EAB key of old
//! ones, the authority of an issuer that is gone) leaves a verdict open if the policy asks for it. Orders that
//! were refused before anything was proved are only logged, and are not among what is replayed.

mod tally;
mod telling;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use hyper::Method;
use url::form_urlencoded::Serializer;

use self::tally::Tally;
use self::telling::{Recorded, Why};
use super::super::CliError;
use super::super::running::Target;
use crate::config::policy::load;
use crate::jose::from_base64url;
use crate::policy::pattern::duration_of;
use crate::policy::{Context, Facts, NotUnderstood, Policy, Verdict, Who};
use crate::time::{Clock, SystemClock, Timestamp};
use crate::wire::admin::{Certificate, Certificates, PolicyRefusal, PolicyRefusals};

const AFTER_HELP: &str = "\
Goes through the admin socket of the running CA, as the user it runs as or as root, and judges here: the CA \
only reads. FILE is judged alone, as if it were the only policy. Without --provisioner and --authority, \
everything is replayed, this server's own certificates and the CA's too; a policy of a provisioner is best \
tried with --provisioner.

Examples:
  mayfly policy what-if web.toml --since 7d --provisioner web
  mayfly policy what-if all.toml --since 2030-01-31T12:00:00Z --authority prod --config /etc/mayfly/mayfly.toml

Not replayed: orders that policy refused when they were opened; the log has them.";

/// Arguments of `mayfly policy what-if`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct WhatIf {
    /// The policy
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How far to go back: a duration, or a time (RFC 3339)
    #[arg(long, value_name = "WHEN", default_value = "7d", value_parser = since)]
    pub since: Since,
    /// Only what was asked of this provisioner
    #[arg(long, value_name = "NAME")]
    pub provisioner: Option<String>,
    /// Only what this authority signed, or was to
    #[arg(long, value_name = "NAME")]
    pub authority: Option<String>,
    /// Print so many differences at most; all are counted
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: u64,
    /// Print JSON: one object a line for each difference, and one for the totals at the end
    #[arg(long)]
    pub json: bool,
    /// Which CA
    #[command(flatten)]
    pub target: Target,
}

/// How far to go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// So long before now.
    Ago(std::time::Duration),
    /// To then.
    At(Timestamp),
}

fn since(text: &str) -> Result<Since, String> {
    let span = duration_of(text).map(Since::Ago);
    let at = || Timestamp::parse_rfc3339(text).map(Since::At);
    span.or_else(at)
        .ok_or_else(|| "is neither a duration such as 7d nor a time such as 2030-01-31T12:00:00Z".into())
}

pub(super) fn run(args: &WhatIf, out: &mut dyn Write) -> Result<(), CliError> {
    let wrong = |problems| CliError::Policy { file: args.file.clone(), problems, again: "check" };
    let policy = load(&args.file).map_err(wrong)?;
    let begin = match args.since {
        Since::At(at) => at,
        Since::Ago(span) => SystemClock.now() - span,
    };
    let mut replay =
        Replay { asks: policy.conditions(), policy: &policy, args, out, tally: Tally::default() };
    replay.certificates(begin)?;
    replay.refusals(begin)?;
    let Replay { tally, .. } = replay;
    if args.json {
        writeln!(out, "{}", tally.json(&policy.name, begin))?;
    } else {
        out.write_all(tally.told(&policy.name, begin, args.limit).as_bytes())?;
    }
    Ok(())
}

struct Replay<'a> {
    policy: &'a Policy,
    /// The conditions that the policy has.
    asks: Vec<&'static str>,
    args: &'a WhatIf,
    out: &'a mut dyn Write,
    tally: Tally,
}

impl Replay<'_> {
    fn certificates(&mut self, begin: Timestamp) -> Result<(), CliError> {
        let mut after: Option<String> = None;
        loop {
            let mut query = Serializer::new(String::new());
            query.append_pair("issued_from", &begin.to_rfc3339()).append_pair("pem", "true");
            query.append_pair("limit", "500");
            if let Some(provisioner) = &self.args.provisioner {
                query.append_pair("provisioner", provisioner);
            }
            if let Some(after) = &after {
                query.append_pair("after", after);
            }
            let path = format!("/v1/certificates?{}", query.finish());
            let page: Certificates = self.args.target.call(Method::GET, &path, None::<&()>)?;
            self.tally.indexing |= page.indexing.is_some();
            for certificate in &page.certificates {
                self.certificate(certificate)?;
            }
            self.progress(page.next.is_some())?;
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// On a terminal, where it is.
    fn progress(&self, more: bool) -> Result<(), CliError> {
        let mut terminal = io::stderr();
        if terminal.is_terminal() {
            let end = if more { "" } else { "\n" };
            write!(terminal, "\r{} certificates looked at{end}", self.tally.issued.all())?;
        }
        Ok(())
    }

    /// Whether the authority is the one asked for; where it is not known, it is counted.
    fn is_asked_for(&mut self, authority: Option<&String>, known: bool) -> bool {
        match &self.args.authority {
            None => true,
            Some(_) if !known => {
                self.tally.foreign += 1;
                false
            }
            Some(asked) => authority == Some(asked),
        }
    }

    fn certificate(&mut self, found: &Certificate) -> Result<(), CliError> {
        let who = Who::TABLE.iter().find(|(name, _)| *name == found.door).map(|(_, who)| *who);
        let (Some(who), Some(at), Some(pem)) = (who, Timestamp::parse_rfc3339(&found.issued), &found.pem)
        else {
            self.tally.issued.unreadable += 1;
            return Ok(());
        };
        // The operator's certificates are no authority's.
        let known = found.authority.is_some() || who == Who::Ceremony;
        if !self.is_asked_for(found.authority.as_ref(), known) {
            return Ok(());
        }
        let unrecorded = |name: &str| found.unrecorded.iter().any(|missing| missing == name);
        let unknown =
            [("authority", !known), ("profile", unrecorded("profile")), ("eab_key", unrecorded("eab_key"))];
        let recorded = Recorded {
            context: Context {
                authority: found.authority.clone(),
                provisioner: found.provisioner.clone(),
                account: found.account.clone(),
                eab_key: found.eab_key.clone(),
                profile: found.profile.clone(),
                ..Context::new(at, who)
            },
            unknown: unknown.into_iter().filter(|(_, unknown)| *unknown).map(|(name, _)| name).collect(),
            serial: Some(found.serial.clone()),
            names: found.names.clone(),
        };
        let facts = match pem_rfc7468::decode_vec(pem.as_bytes()) {
            Ok((_, der)) => Facts::of_certificate(&der, at),
            Err(_) => {
                self.tally.issued.unreadable += 1;
                return Ok(());
            }
        };
        match self.judged(&recorded, &facts) {
            Err(unknown) => self.tally.issued.open(&unknown),
            Ok(verdict) if verdict.allowed() => self.tally.issued.same += 1,
            Ok(verdict) => {
                self.tally.issued.differs += 1;
                self.tally.blame(&verdict);
                self.tell("would be refused", &recorded, Why::Now(&verdict.reasons))?;
            }
        }
        Ok(())
    }

    /// Or what it depends on and is not known.
    fn judged(
        &self,
        recorded: &Recorded,
        facts: &Result<Facts, NotUnderstood>,
    ) -> Result<Verdict, Vec<&'static str>> {
        let unknown = recorded.unknown.iter().copied();
        let open: Vec<&'static str> = unknown.filter(|unknown| self.asks.contains(unknown)).collect();
        if open.is_empty() { Ok(self.policy.judge(facts, &recorded.context)) } else { Err(open) }
    }

    fn refusals(&mut self, begin: Timestamp) -> Result<(), CliError> {
        let mut after: Option<String> = None;
        loop {
            let mut query = Serializer::new(String::new());
            query.append_pair("since", &begin.to_rfc3339());
            if let Some(after) = &after {
                query.append_pair("after", after);
            }
            let path = format!("/v1/policy-refusals?{}", query.finish());
            let page: PolicyRefusals = self.args.target.call(Method::GET, &path, None::<&()>)?;
            for refusal in &page.refusals {
                self.refusal(refusal)?;
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    fn refusal(&mut self, refused: &PolicyRefusal) -> Result<(), CliError> {
        if self.args.provisioner.is_some() && self.args.provisioner != refused.provisioner {
            return Ok(());
        }
        if !self.is_asked_for(refused.authority.as_ref(), true) {
            return Ok(());
        }
        let who = Who::TABLE.iter().find(|(name, _)| *name == refused.door).map(|(_, who)| *who);
        let read = (who, Timestamp::parse_rfc3339(&refused.at), from_base64url(&refused.tbs));
        let (Some(who), Some(at), Some(tbs)) = read else {
            self.tally.refused.unreadable += 1;
            return Ok(());
        };
        let facts = Facts::of_tbs(&tbs, at);
        let recorded = Recorded {
            context: Context {
                authority: refused.authority.clone(),
                provisioner: refused.provisioner.clone(),
                account: refused.account.clone(),
                eab_key: refused.eab_key.clone(),
                profile: refused.profile.clone(),
                ..Context::new(at, who)
            },
            unknown: Vec::new(),
            serial: None,
            names: names(&facts),
        };
        if self.policy.judge(&facts, &recorded.context).allowed() {
            self.tally.refused.differs += 1;
            return self.tell("would be allowed", &recorded, Why::Then(&refused.reasons));
        }
        self.tally.refused.same += 1;
        Ok(())
    }

    /// A difference, unless there are too many.
    fn tell(&mut self, what: &str, recorded: &Recorded, why: Why<'_>) -> Result<(), CliError> {
        if self.tally.issued.differs + self.tally.refused.differs > self.args.limit {
            return Ok(());
        }
        let mut text = telling::text(what, recorded, &why);
        if self.args.json {
            text = format!("{}\n", telling::json(what, recorded, &why));
        }
        Ok(self.out.write_all(text.as_bytes())?)
    }
}

/// The names of what was to be signed.
fn names(facts: &Result<Facts, NotUnderstood>) -> Vec<String> {
    let Ok(facts) = facts else { return Vec::new() };
    let dns = facts.dns.iter().flatten().map(ToString::to_string);
    let ip = facts.ip.iter().flatten().map(ToString::to_string);
    let others = facts.uri.iter().flatten().map(ToString::to_string);
    let devices = facts.devices.iter().flatten().cloned();
    let mut all: Vec<String> = dns.chain(ip).chain(others).chain(devices).collect();
    all.dedup();
    all
}

#[cfg(test)]
mod tests;
