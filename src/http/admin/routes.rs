//! One row per resource.

use crate::fleet::IdentityId;
use crate::id::EabKid;
use crate::x509::key_hash::KeyHash;
use crate::x509::serial::Serial;

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// All keys for external account binding.
    EabKeys,
    /// The end of one.
    EabRevocation(EabKid),
    /// All blocked keys.
    BlockedKeys,
    /// The end of one block.
    Unblocking(KeyHash),
    /// The inventory.
    Certificates,
    /// One certificate.
    Certificate(Serial),
    /// What policy refused.
    PolicyRefusals,
    /// Requests that were refused.
    RefusedRequests,
    /// The audit log.
    AuditEvents,
    /// All configurations that were in force.
    Configurations,
    /// One of them; 0 is the one in force.
    Configuration(u64),
    /// Where each authority's rotation stands.
    Rotations,
    /// Rotation health at a glance.
    Fleet,
    /// Who is about to renew, who is late, and who will not.
    Identities,
    /// One of them.
    Identity(IdentityId),
    /// That one is not to renew any more.
    Retirement,
    /// Campaigns.
    Campaigns(Campaigns),
    /// Receivers of notices, and how they stand.
    Receivers,
    /// A test of them.
    ReceiverTest,
    /// The description of all this.
    OpenApi,
}

/// What a path below campaigns names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Campaigns {
    /// All of them.
    All,
    /// What one would come to.
    Preview,
    /// One of them.
    One(u64),
    /// The end of one.
    Cancellation(u64),
    /// Who has not come.
    Unanswered(u64),
}

impl Resource {
    /// Whether a GET of it may have a query.
    pub(super) fn takes_query(self) -> bool {
        match self {
            Self::EabKeys
            | Self::BlockedKeys
            | Self::Certificates
            | Self::PolicyRefusals
            | Self::RefusedRequests
            | Self::AuditEvents
            | Self::Identities => true,
            Self::EabRevocation(_) | Self::Unblocking(_) | Self::Certificate(_) | Self::OpenApi => false,
            Self::Configurations | Self::Configuration(_) | Self::Rotations => false,
            Self::Fleet | Self::Identity(_) | Self::Retirement => false,
            Self::Campaigns(which) => match which {
                Campaigns::Unanswered(_) => true,
                Campaigns::All | Campaigns::Preview | Campaigns::One(_) | Campaigns::Cancellation(_) => false,
            },
            Self::Receivers | Self::ReceiverTest => false,
        }
    }
}

/// Parses a path; only the one spelling is known.
pub(super) fn parse(path: &str) -> Option<Resource> {
    if path == "/openapi.json" {
        return Some(Resource::OpenApi);
    }
    let parts: Vec<&str> = path.strip_prefix("/v1/")?.split('/').take(5).collect();
    Some(match parts.as_slice() {
        ["eab-keys"] => Resource::EabKeys,
        ["eab-keys", kid, "revoke"] => Resource::EabRevocation(EabKid::parse(kid)?),
        ["blocked-keys"] => Resource::BlockedKeys,
        ["blocked-keys", key, "unblock"] => Resource::Unblocking(KeyHash::parse(key)?),
        ["certificates"] => Resource::Certificates,
        ["rotations"] => Resource::Rotations,
        ["receivers"] => Resource::Receivers,
        ["receivers", "test"] => Resource::ReceiverTest,
        ["policy-refusals"] => Resource::PolicyRefusals,
        ["refused-requests"] => Resource::RefusedRequests,
        ["audit-events"] => Resource::AuditEvents,
        ["configurations"] => Resource::Configurations,
        ["configurations", "current"] => Resource::Configuration(0),
        ["configurations", number] => Resource::Configuration(positive(number)?),
        ["fleet"] => Resource::Fleet,
        ["fleet", "identities"] => Resource::Identities,
        ["fleet", "identities", id] => Resource::Identity(IdentityId::parse(id)?),
        ["fleet", "retire"] => Resource::Retirement,
        ["fleet", "campaigns"] => Resource::Campaigns(Campaigns::All),
        ["fleet", "campaigns", "preview"] => Resource::Campaigns(Campaigns::Preview),
        ["fleet", "campaigns", number] => Resource::Campaigns(Campaigns::One(positive(number)?)),
        ["fleet", "campaigns", number, "cancel"] => {
            Resource::Campaigns(Campaigns::Cancellation(positive(number)?))
        }
        ["fleet", "campaigns", number, "unanswered"] => {
            Resource::Campaigns(Campaigns::Unanswered(positive(number)?))
        }
        ["certificates", serial] => Resource::Certificate(Serial::parse(serial)?),
        _ => return None,
    })
}

/// A number as a program writes it, from 1.
fn positive(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let kid = EabKid::new([0xfb; 16]);
        assert_eq!(parse("/v1/eab-keys"), Some(Resource::EabKeys));
        assert_eq!(parse(&format!("/v1/eab-keys/{kid}/revoke")), Some(Resource::EabRevocation(kid)));
        let key = KeyHash([0xab; 32]);
        assert_eq!(parse("/v1/blocked-keys"), Some(Resource::BlockedKeys));
        assert_eq!(parse(&format!("/v1/blocked-keys/{key}/unblock")), Some(Resource::Unblocking(key)));
        assert_eq!(parse(&format!("/v1/blocked-keys/{key}0/unblock")), None);
        let serial = Serial::new(crate::time::Timestamp::EPOCH, [0xab; 16]);
        assert_eq!(parse("/v1/certificates"), Some(Resource::Certificates));
        assert_eq!(parse(&format!("/v1/certificates/{serial}")), Some(Resource::Certificate(serial)));
        assert_eq!(parse("/openapi.json"), Some(Resource::OpenApi));
        let id = IdentityId::from_key(&[0xab; 12]).unwrap();
        assert_eq!(parse(&format!("/v1/fleet/identities/{id}")), Some(Resource::Identity(id)));
        assert_eq!(parse(&format!("/v1/fleet/identities/{id}0")), None);
        assert_eq!(parse("/v1/configurations/current"), Some(Resource::Configuration(0)));
        assert_eq!(parse("/v1/configurations/17"), Some(Resource::Configuration(17)));
        let cancellation = Some(Resource::Campaigns(Campaigns::Cancellation(17)));
        assert_eq!(parse("/v1/fleet/campaigns/17/cancel"), cancellation);
        for bad in ["17/cancel/x", "17/cancel/", "0", "01/cancel", "x/unanswered"] {
            assert_eq!(parse(&format!("/v1/fleet/campaigns/{bad}")), None, "{bad}");
        }
        for bad in ["0", "01", "+1", "-1", "", "x", "99999999999999999999"] {
            assert_eq!(parse(&format!("/v1/configurations/{bad}")), None, "{bad}");
        }
        for bad in
            ["", "/", "/v1", "/v1/", "/v2/eab-keys", "/v1/eab-keys/", "/v1/eab-keys/x/revoke", "v1/eab-keys"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(parse(&format!("/v1/eab-keys/{kid}/revoke/")), None);
        assert_eq!(parse(&format!("/v1/eab-keys/{kid}")), None);
    }

    /// The path of a resource in the description; a new one must be given its own there.
    fn described(resource: Resource) -> &'static str {
        match resource {
            Resource::EabKeys => "/v1/eab-keys",
            Resource::EabRevocation(_) => "/v1/eab-keys/{kid}/revoke",
            Resource::BlockedKeys => "/v1/blocked-keys",
            Resource::Unblocking(_) => "/v1/blocked-keys/{key}/unblock",
            Resource::Certificates => "/v1/certificates",
            Resource::Certificate(_) => "/v1/certificates/{serial}",
            Resource::PolicyRefusals => "/v1/policy-refusals",
            Resource::RefusedRequests => "/v1/refused-requests",
            Resource::AuditEvents => "/v1/audit-events",
            Resource::Configurations => "/v1/configurations",
            Resource::Configuration(_) => "/v1/configurations/{version}",
            Resource::Rotations => "/v1/rotations",
            Resource::Fleet => "/v1/fleet",
            Resource::Identities => "/v1/fleet/identities",
            Resource::Identity(_) => "/v1/fleet/identities/{id}",
            Resource::Retirement => "/v1/fleet/retire",
            Resource::Campaigns(which) => match which {
                Campaigns::All => "/v1/fleet/campaigns",
                Campaigns::Preview => "/v1/fleet/campaigns/preview",
                Campaigns::One(_) => "/v1/fleet/campaigns/{campaign}",
                Campaigns::Cancellation(_) => "/v1/fleet/campaigns/{campaign}/cancel",
                Campaigns::Unanswered(_) => "/v1/fleet/campaigns/{campaign}/unanswered",
            },
            Resource::Receivers => "/v1/receivers",
            Resource::ReceiverTest => "/v1/receivers/test",
            Resource::OpenApi => "/openapi.json",
        }
    }

    #[test]
    fn every_path_of_the_description_is_a_resource() {
        let description: serde_json::Value = serde_json::from_str(super::super::OPEN_API).unwrap();
        let paths = description["paths"].as_object().unwrap();
        let kid = EabKid::new([1; 16]).to_string();
        for path in paths.keys() {
            let real = path
                .replace("{kid}", &kid)
                .replace("{key}", &"ab".repeat(32))
                .replace("{version}", "7")
                .replace("{id}", &"ab".repeat(12))
                .replace("{campaign}", "7")
                .replace("{serial}", &"ab".repeat(19));
            let resource = parse(&real).unwrap_or_else(|| panic!("{path} is not known"));
            assert_eq!(described(resource), path);
        }
        assert_eq!(paths.len(), 24, "one for each resource");
    }
}
