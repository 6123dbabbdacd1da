//! What an alert says to people.

use crate::fleet::notices::{Alert, Key, Sample};
use crate::fleet::{Cause, Trouble};

/// How bad it is: what has expired is missed by somebody already.
pub(super) fn severity(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Failing | Trouble::Overdue => "warning",
        Trouble::Expired => "critical",
    }
}

/// What Alertmanager calls it.
pub(super) fn alert_name(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Failing => "MayflyRenewalFailing",
        Trouble::Overdue => "MayflyIdentityOverdue",
        Trouble::Expired => "MayflyIdentityExpired",
    }
}

/// The name that it is known by, with how many there are beside it.
pub(super) fn names(sample: &Sample) -> String {
    let Some(first) = sample.names.first() else { return format!("the identity {}", sample.id) };
    match sample.names_total {
        0 | 1 => first.clone(),
        more => format!("{first} (and {} more names)", more - 1),
    }
}

/// One line.
pub(super) fn summary(alert: &Alert) -> String {
    let trouble = alert.key.trouble();
    match (&alert.key, alert.samples.first()) {
        (Key::Identity(..), Some(one)) => {
            let end = one.not_after.to_rfc3339();
            let names = names(one);
            match trouble {
                Trouble::Failing => format!("{names}: attempts to renew keep failing; it expires at {end}"),
                Trouble::Overdue => format!(
                    "{names} has not renewed: expected by {}; it expires at {end}",
                    one.due.to_rfc3339()
                ),
                Trouble::Expired => format!("{names} has expired, at {end}, and was not renewed"),
            }
        }
        (Key::Identity(_, id), None) => format!("{}: the identity {id}", trouble.name()),
        (Key::Group(..), first) => {
            let (count, provisioner) = (alert.identities, &alert.provisioner);
            let next = first.map(|one| one.not_after.to_rfc3339());
            let next = |what: &str| next.as_ref().map(|end| format!("; {what} {end}")).unwrap_or_default();
            match trouble {
                Trouble::Failing => {
                    format!(
                        "{count} identities of {provisioner}: attempts to renew keep failing{}",
                        next("the first expires at")
                    )
                }
                Trouble::Overdue => {
                    format!(
                        "{count} identities of {provisioner} have not renewed{}",
                        next("the first expires at")
                    )
                }
                Trouble::Expired => {
                    format!("{count} identities of {provisioner} have expired{}", next("the first did at"))
                }
            }
        }
    }
}

/// Where to look.
pub(super) fn advice(cause: Option<Cause>) -> &'static str {
    match cause {
        None => {
            "No attempt has come since its latest certificate: see that its ACME client runs and reaches \
             this CA. If it is not to renew any more, retire it."
        }
        Some(Cause::Dns) => "DNS queries for the name fail: see to its zone, and to [validation] resolvers.",
        Some(Cause::Connection) => {
            "The CA cannot reach the host: see that it listens at the challenge's port, and to firewalls."
        }
        Some(Cause::Content) => {
            "Something else than the challenge's answer comes back: see which server answers for the name."
        }
        Some(Cause::Tls) => "The validation's TLS handshake fails: see what answers at the name's TLS port.",
        Some(Cause::Caa) => "CAA records forbid it: see to the name's CAA records, and to caa_identities.",
        Some(Cause::Policy) => {
            "The CA's rules refuse it: see its log and the provisioner's allow_names, profiles and policy."
        }
        Some(Cause::Limits) => "It is over a limit: see [limits], and whether its client asks in a loop.",
        Some(Cause::Other) => "Its requests fail: see the CA's log.",
    }
}
