//! `mayfly check-config`

use std::io::Write;
use std::path::{Path, PathBuf};

use super::CliError;
use crate::acme::star::Offer;
use crate::attestation::Policy;
use crate::authority::authorities::Authorities;
use crate::config::settings::{Engine, NotifyType, Provisioner, Settings};
use crate::config::units::format_duration;
use crate::config::{self, Problem};
use crate::daemon::{dumps, issuer, receivers};
use crate::limits::Limit;
use crate::provisioner::acme::Terms;
use crate::provisioner::eab::EabMode;
use crate::provisioner::profile::{Profile, Rules};
use crate::time::{Clock, SystemClock};

const AFTER_HELP: &str = "\
Prints `FILE: ok` and a summary, or every error as `FILE:LINE: key: message` with exit code 1. \
Looks at the files that FILE names: the key must open and fit the certificate, whose chain must \
lead to the root. Starts nothing, changes nothing.

Example:
  mayfly check-config /etc/mayfly/mayfly.toml";

/// Arguments of `mayfly check-config`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The mayfly.toml to check
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Checks the file, prints what it says.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    dumps::forbid().map_err(CliError::CoreDumps)?;
    let file = &args.file;
    let report = config::check(file);
    let settings =
        report.settings.and_then(|settings| match issuer::load_all(&settings, SystemClock.now()) {
            // The files that it names must fit together, or a start would fail.
            Err(problem) => Err(vec![problem]),
            Ok(authorities) => Ok((settings, authorities)),
        });
    let settings = settings.and_then(|(settings, authorities)| match receivers(&settings) {
        Err(problem) => Err(vec![problem]),
        Ok(_) => Ok((settings, authorities)),
    });
    match settings {
        Ok((settings, authorities)) => {
            writeln!(out, "{}: ok", file.display())?;
            summary(&settings, &authorities, out)?;
            notes(file, &report.notes, out)?;
            let names = &settings.server.dns_names;
            let tried = issuer::judge_own(&settings, &authorities, names, SystemClock.now());
            notes(file, tried.ok().flatten().as_slice(), out)
        }
        Err(problems) => {
            notes(file, &report.notes, out)?;
            Err(CliError::Config { file: file.clone(), problems })
        }
    }
}

fn notes(file: &Path, notes: &[Problem], out: &mut dyn Write) -> Result<(), CliError> {
    for note in notes {
        writeln!(out, "note: {}", note.render(file))?;
    }
    Ok(())
}

/// One screen of what the settings mean.
fn summary(settings: &Settings, loaded: &Authorities, out: &mut dyn Write) -> Result<(), CliError> {
    let Settings {
        server,
        store,
        validation,
        authorities,
        admin,
        provisioners,
        limits,
        network_connections: _,
        log,
        metrics,
        traces,
        notify,
    } = settings;
    let mut row = |name: &str, text: String| writeln!(out, "  {name:<12} {text}");
    row("serves", format!("{} on {}", server.base_url, server.address))?;
    row("its names", list(&server.dns_names))?;
    row(
        "store",
        match store.engine {
            Engine::Fjall => format!("fjall in {}", store.path.display()),
            Engine::Sled => format!("sled in {}", store.path.display()),
            Engine::Memory => "memory: nothing is kept".to_owned(),
        },
    )?;
    for authority in authorities {
        let name = if authorities.len() > 1 { format!("{}: ", authority.name) } else { String::new() };
        let end = loaded.get(authority.name.as_str()).map(|loaded| loaded.issuer().not_after().to_rfc3339());
        let end = end.map(|end| format!(", until {end}")).unwrap_or_default();
        row("issues as", format!("{name}{}{end}", authority.certificate.display()))?;
        for path in &authority.alternate_chains {
            row("", format!("and by the chain in {}", path.display()))?;
        }
        if let Some(next) = &authority.next {
            row("", format!("and next as {}", next.certificate.display()))?;
        }
    }
    let resolvers = match validation.resolvers.as_slice() {
        [] => "the system's DNS".to_owned(),
        given => format!("DNS {}", list(given)),
    };
    row(
        "validates by",
        format!(
            "{resolvers}; http-01 on port {}, tls-alpn-01 on {}; {} attempts of {}",
            validation.http_port,
            validation.tls_alpn_port,
            validation.attempts,
            format_duration(validation.timeout),
        ),
    )?;
    for (name, nets) in [("allows", &validation.allow), ("denies", &validation.deny)] {
        if !nets.is_empty() {
            row(name, list(nets))?;
        }
    }
    let off: Vec<_> =
        Limit::ALL.iter().filter(|limit| limits.quota(**limit).is_none()).map(|limit| limit.name()).collect();
    if !off.is_empty() {
        row("limits off", off.join(", "))?;
    }
    if !limits.exempt.is_empty() {
        row("not limited", list(&limits.exempt))?;
    }
    for Provisioner::Acme(acme) in provisioners {
        row("directory", format!("{}/acme/{}/directory", server.base_url, acme.name))?;
        row("", format!("under authority {}; {}", acme.authority, usual_profile(acme)))?;
        row("", provisioner(acme))?;
        for each in &acme.profiles.offered {
            row("profile", profile(each))?;
        }
        if let Some(policy) = &acme.attestation {
            row("devices", devices(policy))?;
        }
        if let Some(offer) = &acme.auto_renewal {
            row("series", series(offer))?;
        }
        if acme.restraints.fresh_keys {
            row("", "a key that was certified before is refused".to_owned())?;
        }
        if let Some(budget) = acme.restraints.issue_budget {
            row("", format!("an account gets {budget} certificates for the same names"))?;
        }
        if let Some(window) = acme.reuse_certificates {
            row("", format!("the same again within {} is the same certificate", format_duration(window)))?;
        }
    }
    row("admin", format!("commands go through {}", admin.socket.display()))?;
    if let Some(listener) = &admin.listener {
        row("", format!("and to {}, by {}", listener.address, list(&listener.clients)))?;
    }
    row("logs", format!("{:?} as {}", log.level, if log.json { "JSON" } else { "text" }).to_lowercase())?;
    let here = format!("{}/metrics", server.base_url);
    let page = metrics.address.map_or(here, |address| format!("http://{address}/metrics"));
    let who = if metrics.allow.is_empty() { String::new() } else { format!(" and {}", list(&metrics.allow)) };
    row("metrics", format!("{page}, for this machine{who}"))?;
    if let Some(traces) = traces {
        let share = f64::from(traces.sample) / 10_000.0;
        row("traces", format!("{share} % of them to {}", traces.url))?;
    }
    for one in notify {
        let kind = match one.kind {
            NotifyType::Webhook => "webhook",
            NotifyType::Alertmanager => "Alertmanager",
        };
        row("tells", format!("{}, {kind}, again every {}", one.name, format_duration(one.repeat)))?;
    }
    Ok(())
}

/// What orders get that name no profile.
fn usual_profile(acme: &Terms) -> String {
    match &acme.profiles.default {
        Some(name) => format!("profile {name} for orders that name none"),
        None => "its own rules for orders that name no profile".to_owned(),
    }
}

fn provisioner(acme: &Terms) -> String {
    let challenges: Vec<_> = acme.challenges.iter().map(|kind| kind.name()).collect();
    let dns = match acme.outward.resolvers.as_deref() {
        None => String::new(),
        Some([]) => "; the system's DNS".to_owned(),
        Some(own) => format!("; DNS {}", list(own)),
    };
    let names = match acme.allow.len() {
        0 => "any name".to_owned(),
        1 => "names of 1 rule".to_owned(),
        n => format!("names of {n} rules"),
    };
    format!(
        "{}; {names}{}{}{}; {} ({} to {}){}{dns}",
        challenges.join(", "),
        if acme.wildcards { ", wildcards" } else { "" },
        if acme.subdomains { ", subdomains by their ancestor" } else { "" },
        match (acme.eab, acme.eab_trusts_names) {
            (EabMode::Off, _) => "",
            (EabMode::Optional, false) => "; EAB optional",
            (EabMode::Required, false) => "; EAB required",
            (EabMode::Optional, true) => "; EAB optional, may stand in for validation",
            (EabMode::Required, true) => "; EAB required, may stand in for validation",
        },
        format_duration(acme.lifetimes.default),
        format_duration(acme.lifetimes.min),
        format_duration(acme.lifetimes.max),
        if acme.caa { "; CAA" } else { "" },
    )
}

fn profile((name, profile): (&String, &Profile)) -> String {
    let Rules { lifetimes, leaf } = &profile.rules;
    format!(
        "{name}: {} ({} to {}); {}; {}",
        format_duration(lifetimes.default),
        format_duration(lifetimes.min),
        format_duration(lifetimes.max),
        leaf.usages.names(),
        leaf.key_types.names(),
    )
}

fn devices(policy: &Policy) -> String {
    let formats: Vec<_> = policy.formats.iter().map(|format| format.name()).collect();
    let which = match policy.devices.len() {
        0 => "any that a root vouches for".to_owned(),
        1 => "of 1 rule".to_owned(),
        n => format!("of {n} rules"),
    };
    format!("{which}; attested by {}", formats.join(", "))
}

fn series(offer: &Offer) -> String {
    format!(
        "orders are renewed automatically for up to {}, in lifetimes of at least {}{}",
        format_duration(offer.max_duration),
        format_duration(offer.min_lifetime),
        if offer.allow_certificate_get { "; their certificates may be read by anybody" } else { "" },
    )
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
