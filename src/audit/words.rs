//! Events in words: what each is called, and its facts by name.

use super::Event;
use crate::acme::identifier::Identifier;
use crate::authority::blocked::Blocker;
use crate::authority::certificate::Revoker;
use crate::id::{AccountId, OrderId};
use crate::policy::Reason;
use crate::provisioner::Requester;
use crate::x509::hex;

/// Facts of an event, in an order of their own.
type Facts = Vec<(&'static str, String)>;

fn names(identifiers: &[Identifier]) -> String {
    identifiers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn of_requester(requester: &Requester) -> Facts {
    match requester {
        Requester::Acme { provisioner, account, order } => asked("acme", provisioner, account, order),
        Requester::AutoRenewal { provisioner, account, order } => {
            asked("auto-renewal", provisioner, account, order)
        }
        Requester::Own => vec![("door", "own".into())],
        Requester::Ceremony => vec![("door", "ceremony".into())],
    }
}

fn asked(door: &str, provisioner: &str, account: &AccountId, order: &OrderId) -> Facts {
    let mut facts = vec![("door", door.to_owned()), ("provisioner", provisioner.to_owned())];
    facts.extend(ordered(account, order));
    facts
}

fn ordered(account: &AccountId, order: &OrderId) -> Facts {
    vec![("account", account.to_string()), ("order", order.to_string())]
}

fn reasons(reasons: &[Reason]) -> String {
    reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn with(mut facts: Facts, more: impl IntoIterator<Item = (&'static str, String)>) -> Facts {
    facts.extend(more);
    facts
}

impl Event {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AccountCreated { .. } => "account_created",
            Self::AccountUpdated { .. } => "account_updated",
            Self::AccountKeyChanged { .. } => "account_key_changed",
            Self::AccountDeactivated { .. } => "account_deactivated",
            Self::AuthorizationValid { .. } => "authorization_valid",
            Self::AuthorizationInvalid { .. } => "authorization_invalid",
            Self::AuthorizationDeactivated { .. } => "authorization_deactivated",
            Self::CertificateIssued { .. } => "certificate_issued",
            Self::IssuanceRefused { .. } => "issuance_refused",
            Self::CertificateRevoked { .. } => "certificate_revoked",
            Self::EabKeyCreated { .. } => "eab_key_created",
            Self::EabKeyRevoked { .. } => "eab_key_revoked",
            Self::AccountBound { .. } => "account_bound",
            Self::NamesTrusted { .. } => "names_trusted",
            Self::CertificateReused { .. } => "certificate_reused",
            Self::AccountRemoved { .. } => "account_removed",
            Self::AutoRenewalBegun { .. } => "auto_renewal_begun",
            Self::AutoRenewalCanceled { .. } => "auto_renewal_canceled",
            Self::AutoRenewalStopped { .. } => "auto_renewal_stopped",
            Self::AutoRenewalRefused { .. } => "auto_renewal_refused",
            Self::KeyBlocked { .. } => "key_blocked",
            Self::KeyUnblocked { .. } => "key_unblocked",
            Self::PolicyRefused { .. } => "policy_refused",
            Self::PolicyDiffers { .. } => "policy_differs",
            Self::ConfigurationChanged { .. } => "configuration_changed",
            Self::IssuerChanged { .. } => "issuer_changed",
            Self::IdentityRetired { .. } => "identity_retired",
            Self::CampaignBegun { .. } => "campaign_begun",
            Self::CampaignCancelled { .. } => "campaign_cancelled",
        }
    }

    /// What is known of it.
    pub fn facts(&self) -> Facts {
        match self {
            Self::AccountCreated { provisioner, account, thumbprint }
            | Self::AccountRemoved { provisioner, account, thumbprint } => vec![
                ("provisioner", provisioner.clone()),
                ("account", account.to_string()),
                ("thumbprint", hex::encode(thumbprint)),
            ],
            Self::AccountKeyChanged { account, thumbprint } => {
                vec![("account", account.to_string()), ("thumbprint", hex::encode(thumbprint))]
            }
            Self::AccountUpdated { account } | Self::AccountDeactivated { account } => {
                vec![("account", account.to_string())]
            }
            Self::AuthorizationValid { account, order, identifier, by } => {
                let more = [("name", identifier.to_string()), ("challenge", by.name().to_owned())];
                with(ordered(account, order), more)
            }
            Self::AuthorizationInvalid { account, order, identifier, by, error } => {
                let (name, by) = (identifier.to_string(), by.name().to_owned());
                let more = [("name", name), ("challenge", by), ("error", error.name().to_owned())];
                with(ordered(account, order), more)
            }
            Self::AuthorizationDeactivated { account, order, identifier } => {
                with(ordered(account, order), [("name", identifier.to_string())])
            }
            Self::CertificateIssued { serial, requester } => {
                with(vec![("serial", serial.to_string())], of_requester(requester))
            }
            Self::IssuanceRefused { account, order, error }
            | Self::AutoRenewalStopped { account, order, error }
            | Self::AutoRenewalRefused { account, order, error } => {
                with(ordered(account, order), [("error", error.name().to_owned())])
            }
            Self::AccountBound { account, kid } => {
                vec![("account", account.to_string()), ("eab_key", kid.to_string())]
            }
            Self::NamesTrusted { account, order, kid, identifiers } => {
                with(ordered(account, order), [("eab_key", kid.to_string()), ("names", names(identifiers))])
            }
            Self::CertificateReused { serial, account, order } => {
                with(vec![("serial", serial.to_string())], ordered(account, order))
            }
            Self::AutoRenewalBegun { account, order, end } => {
                with(ordered(account, order), [("end", end.to_rfc3339())])
            }
            Self::AutoRenewalCanceled { account, order } => ordered(account, order),
            Self::PolicyRefused { requester, reasons: why } => {
                with(of_requester(requester), [("reasons", reasons(why))])
            }
            Self::PolicyDiffers { requester, serial, tried } => {
                let serial = serial.iter().map(|serial| ("serial", serial.to_string()));
                let policies = tried.iter().map(|one| one.policy.as_str()).collect::<Vec<_>>().join(",");
                let why = tried.iter().map(|one| reasons(&one.reasons)).collect::<Vec<_>>().join("; ");
                let more = serial.chain([("policies", policies), ("reasons", why)]);
                with(of_requester(requester), more)
            }
            Self::CertificateRevoked { .. }
            | Self::EabKeyCreated { .. }
            | Self::EabKeyRevoked { .. }
            | Self::KeyBlocked { .. }
            | Self::KeyUnblocked { .. }
            | Self::ConfigurationChanged { .. }
            | Self::IssuerChanged { .. }
            | Self::IdentityRetired { .. }
            | Self::CampaignBegun { .. }
            | Self::CampaignCancelled { .. } => self.facts_of_authority(),
        }
    }

    /// Of what is done to the CA, rather than by a client.
    fn facts_of_authority(&self) -> Facts {
        match self {
            Self::CertificateRevoked { serial, by, reason } => {
                let mut facts = vec![("serial", serial.to_string())];
                facts.extend(match by {
                    Revoker::Owner(account) => vec![("by", "owner".into()), ("account", account.to_string())],
                    Revoker::Authorized(account) => {
                        vec![("by", "authorized".into()), ("account", account.to_string())]
                    }
                    Revoker::Key => vec![("by", "key".into())],
                });
                with(facts, reason.map(|code| ("reason", code.to_string())))
            }
            Self::EabKeyCreated { kid, provisioner, trusts_names } => vec![
                ("eab_key", kid.to_string()),
                ("provisioner", provisioner.clone()),
                ("trusts_names", trusts_names.to_string()),
            ],
            Self::EabKeyRevoked { kid } => vec![("eab_key", kid.to_string())],
            Self::KeyBlocked { key, by } => {
                let by = match by {
                    Blocker::Operator => vec![("by", "operator".to_owned())],
                    Blocker::Revocation(serial) => {
                        vec![("by", "revocation".to_owned()), ("serial", serial.to_string())]
                    }
                };
                with(vec![("key", key.to_string())], by)
            }
            Self::KeyUnblocked { key } => vec![("key", key.to_string())],
            Self::ConfigurationChanged { version, how, sha256 } => vec![
                ("version", version.to_string()),
                ("how", how.to_string()),
                ("sha256", hex::encode(sha256)),
            ],
            Self::IssuerChanged { authority, before, now } => vec![
                ("authority", authority.clone()),
                ("before", hex::encode(before)),
                ("now", hex::encode(now)),
            ],
            Self::IdentityRetired { identifiers } => vec![("names", names(identifiers))],
            Self::CampaignBegun { campaign, reason, drill } => vec![
                ("campaign", campaign.to_string()),
                ("reason", reason.clone()),
                ("drill", drill.to_string()),
            ],
            Self::CampaignCancelled { campaign } => vec![("campaign", campaign.to_string())],
            Self::AccountCreated { .. }
            | Self::AccountUpdated { .. }
            | Self::AccountKeyChanged { .. }
            | Self::AccountDeactivated { .. }
            | Self::AuthorizationValid { .. }
            | Self::AuthorizationInvalid { .. }
            | Self::AuthorizationDeactivated { .. }
            | Self::CertificateIssued { .. }
            | Self::IssuanceRefused { .. }
            | Self::AccountBound { .. }
            | Self::NamesTrusted { .. }
            | Self::CertificateReused { .. }
            | Self::AccountRemoved { .. }
            | Self::AutoRenewalBegun { .. }
            | Self::AutoRenewalCanceled { .. }
            | Self::AutoRenewalStopped { .. }
            | Self::AutoRenewalRefused { .. }
            | Self::PolicyRefused { .. }
            | Self::PolicyDiffers { .. } => Vec::new(),
        }
    }
}
