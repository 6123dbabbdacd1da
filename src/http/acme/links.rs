//! The one factory of ACME URLs; all come from configuration, none from a request.

use crate::acme::challenge::ChallengeKind;
use crate::id::{AccountId, OrderId};
use crate::x509::serial::Serial;

/// Prints the URLs of one provisioner.
pub(super) struct Links {
    base: String,
}

impl Links {
    pub(super) fn new(base_url: &str, provisioner: &str) -> Self {
        Self { base: format!("{base_url}/acme/{provisioner}") }
    }
    pub(super) fn directory(&self) -> String {
        format!("{}/directory", self.base)
    }
    pub(super) fn new_nonce(&self) -> String {
        format!("{}/new-nonce", self.base)
    }
    pub(super) fn new_account(&self) -> String {
        format!("{}/new-account", self.base)
    }
    pub(super) fn new_order(&self) -> String {
        format!("{}/new-order", self.base)
    }
    pub(super) fn revoke_cert(&self) -> String {
        format!("{}/revoke-cert", self.base)
    }
    pub(super) fn key_change(&self) -> String {
        format!("{}/key-change", self.base)
    }
    pub(super) fn account(&self, id: AccountId) -> String {
        format!("{}/account/{id}", self.base)
    }
    pub(super) fn order(&self, id: OrderId) -> String {
        format!("{}/order/{id}", self.base)
    }
    pub(super) fn finalize(&self, id: OrderId) -> String {
        format!("{}/order/{id}/finalize", self.base)
    }
    pub(super) fn authorization(&self, order: OrderId, index: u16) -> String {
        format!("{}/authz/{order}/{index}", self.base)
    }
    pub(super) fn challenge(&self, order: OrderId, index: u16, kind: ChallengeKind) -> String {
        format!("{}/chall/{order}/{index}/{}", self.base, kind.name())
    }
    pub(super) fn certificate(&self, serial: Serial) -> String {
        format!("{}/cert/{serial}", self.base)
    }

    /// The account that a `kid` names, if it is a URL of ours.
    pub(super) fn account_of(&self, kid: &str) -> Option<AccountId> {
        AccountId::parse(kid.strip_prefix(&self.base)?.strip_prefix("/account/")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kid_is_an_account_url_of_this_provisioner_to_the_letter() {
        let links = Links::new("https://ca.test:9443", "acme");
        let id = AccountId::new([0xfb; 16]);
        let url = links.account(id);
        assert_eq!(links.account_of(&url), Some(id));
        let bad = [
            id.to_string(),
            String::new(),
            url.replace("https", "http"),
            url.replace("https", "HTTPS"),
            url.replace(":9443", ""),
            url.replace("ca.test", "CA.test"),
            url.replace("/acme/acme/", "/acme/other/"),
            url.replace("/acme/acme/", "/acme/acme2/"),
            url.replace("/acme/acme/", "//acme/acme/"),
            url.replace("/account/", "/order/"),
            url.replace("/account/", "/account//"),
            format!("{url}/"),
            format!("{url}?"),
            format!("{url}A"),
            format!(" {url}"),
            url[..url.len() - 1].to_owned(),
        ];
        for kid in bad {
            assert_eq!(links.account_of(&kid), None, "{kid}");
        }
    }
}
