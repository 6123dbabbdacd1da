//! Where an issuer's certificates say that more is to be had.

/// The URLs of an authority; a certificate names only those that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Urls {
    /// The issuer's certificate, DER (RFC 5280 §4.2.2.1, caIssuers).
    pub ca_issuers: Option<String>,
    /// Its revocation list, DER (RFC 5280 §4.2.1.13).
    pub crl: Option<String>,
    /// Its OCSP responder (RFC 6960).
    pub ocsp: Option<String>,
}

impl Urls {
    /// What a leaf says of them: where nobody need ask whether it was revoked, nobody is told whom to
    /// ask (RFC 9608 §4).
    pub(super) fn of_leaf(&self, no_rev_avail: bool) -> LeafUrls<'_> {
        LeafUrls {
            ca_issuers: self.ca_issuers.as_deref(),
            crl: self.crl.as_deref().filter(|_| !no_rev_avail),
            ocsp: self.ocsp.as_deref().filter(|_| !no_rev_avail),
        }
    }
}

/// The URLs that one leaf names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeafUrls<'a> {
    pub(super) ca_issuers: Option<&'a str>,
    pub(super) crl: Option<&'a str>,
    pub(super) ocsp: Option<&'a str>,
}

impl LeafUrls<'_> {
    /// Whether there is anything for authorityInfoAccess to say.
    pub(super) fn has_access(&self) -> bool {
        self.ca_issuers.is_some() || self.ocsp.is_some()
    }
}
