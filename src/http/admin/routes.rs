//! One row per resource.

use crate::id::EabKid;
use crate::x509::key_hash::KeyHash;

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
}

/// Parses a path; only the one spelling is known.
pub(super) fn parse(path: &str) -> Option<Resource> {
    let parts: Vec<&str> = path.strip_prefix("/v1/")?.split('/').take(4).collect();
    Some(match parts.as_slice() {
        ["eab-keys"] => Resource::EabKeys,
        ["eab-keys", kid, "revoke"] => Resource::EabRevocation(EabKid::parse(kid)?),
        ["blocked-keys"] => Resource::BlockedKeys,
        ["blocked-keys", key, "unblock"] => Resource::Unblocking(KeyHash::parse(key)?),
        _ => return None,
    })
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
        for bad in
            ["", "/", "/v1", "/v1/", "/v2/eab-keys", "/v1/eab-keys/", "/v1/eab-keys/x/revoke", "v1/eab-keys"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(parse(&format!("/v1/eab-keys/{kid}/revoke/")), None);
        assert_eq!(parse(&format!("/v1/eab-keys/{kid}")), None);
    }
}
