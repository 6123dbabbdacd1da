//! The one factory of ACME URLs; all come from configuration, none from a request.

use std::fmt;

use crate::acme::challenge::ChallengeKind;
use crate::id::{AccountId, OrderId};
use crate::x509::serial::Serial;

/// Where accounts are.
const ACCOUNT: &str = "/account/";

/// Prints the URLs of one provisioner.
pub(super) struct Links {
    base: String,
}

impl Links {
    pub(super) fn new(base_url: &str, provisioner: &str) -> Self {
        Self { base: [base_url, "/acme/", provisioner].concat() }
    }
    /// `path` below the provisioner's own, in one allocation.
    fn url(&self, path: fmt::Arguments<'_>) -> String {
        // The longest path: `/chall/ORDER/INDEX/tls-alpn-01`.
        let mut url = String::with_capacity(self.base.len() + 48);
        url.push_str(&self.base);
        let _ = fmt::Write::write_fmt(&mut url, path);
        url
    }
    pub(super) fn directory(&self) -> String {
        self.url(format_args!("/directory"))
    }
    /// The `Link` that leads from every other resource to the directory (RFC 8555 §7.1).
    pub(super) fn index(&self) -> String {
        ["<", &self.base, "/directory>;rel=\"index\""].concat()
    }
    pub(super) fn new_nonce(&self) -> String {
        self.url(format_args!("/new-nonce"))
    }
    pub(super) fn new_account(&self) -> String {
        self.url(format_args!("/new-account"))
    }
    pub(super) fn new_order(&self) -> String {
        self.url(format_args!("/new-order"))
    }
    pub(super) fn new_authz(&self) -> String {
        self.url(format_args!("/new-authz"))
    }
    pub(super) fn revoke_cert(&self) -> String {
        self.url(format_args!("/revoke-cert"))
    }
    pub(super) fn key_change(&self) -> String {
        self.url(format_args!("/key-change"))
    }
    /// A certificate's own is below it (RFC 9773 §4.1).
    pub(super) fn renewal_info(&self) -> String {
        self.url(format_args!("/renewal-info"))
    }
    pub(super) fn account(&self, id: AccountId) -> String {
        self.url(format_args!("{ACCOUNT}{id}"))
    }
    /// How every account's URL begins; its id ends it.
    pub(super) fn accounts(&self) -> String {
        self.url(format_args!("{ACCOUNT}"))
    }
    /// How hashed account URIs begin (draft-ietf-acme-dns-persist §4.1); nothing is served there.
    pub(super) fn account_hashes(&self) -> String {
        self.url(format_args!("/account-hash/"))
    }
    /// A page of the account's orders: the first, or the one behind that order.
    pub(super) fn orders(&self, id: AccountId, after: Option<OrderId>) -> String {
        match after {
            None => self.url(format_args!("/account/{id}/orders")),
            Some(after) => self.url(format_args!("/account/{id}/orders/{after}")),
        }
    }
    pub(super) fn order(&self, id: OrderId) -> String {
        self.url(format_args!("/order/{id}"))
    }
    pub(super) fn finalize(&self, id: OrderId) -> String {
        self.url(format_args!("/order/{id}/finalize"))
    }
    pub(super) fn authorization(&self, order: OrderId, index: u16) -> String {
        self.url(format_args!("/authz/{order}/{index}"))
    }
    pub(super) fn challenge(&self, order: OrderId, index: u16, kind: ChallengeKind) -> String {
        self.url(format_args!("/chall/{order}/{index}/{}", kind.name()))
    }
    pub(super) fn certificate(&self, serial: Serial) -> String {
        self.url(format_args!("/cert/{serial}"))
    }
    /// The certificate with another chain, from 1; 0 is the certificate's own URL.
    pub(super) fn certificate_chain(&self, serial: Serial, chain: u16) -> String {
        match chain {
            0 => self.certificate(serial),
            _ => self.url(format_args!("/cert/{serial}/{chain}")),
        }
    }

    pub(super) fn star_certificate(&self, order: OrderId) -> String {
        self.url(format_args!("/star/{order}"))
    }

    /// The account that a `kid` names, if it is a URL of ours.
    pub(super) fn account_of(&self, kid: &str) -> Option<AccountId> {
        AccountId::parse(kid.strip_prefix(&self.base)?.strip_prefix(ACCOUNT)?)
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
