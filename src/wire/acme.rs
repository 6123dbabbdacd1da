//! RFC 8555 objects as they stand on the wire.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// §7.1.1
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct Directory<'a> {
    pub new_nonce: String,
    pub new_account: String,
    pub new_order: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_authz: Option<String>,
    pub revoke_cert: String,
    pub key_change: String,
    /// RFC 9773 §3
    pub renewal_info: String,
    pub meta: DirectoryMeta<'a>,
}

/// §7.1.1
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct DirectoryMeta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terms_of_service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub website: Option<String>,
    pub external_account_required: bool,
    /// RFC 9444 §4.4
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub subdomain_auth_allowed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub caa_identities: Vec<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub persist: Option<PersistMeta>,
    #[serde(rename = "auto-renewal", skip_serializing_if = "Option::is_none")]
    pub auto_renewal: Option<AutoRenewalMeta>,
    /// draft-ietf-acme-profiles §3: name → description
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub profiles: BTreeMap<&'a str, &'a str>,
}

/// draft-ietf-acme-dns-persist-02 §3.2, §4.1 and §4.3
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the draft's own names")]
pub struct PersistMeta {
    pub issuer_domain_names: Vec<String>,
    pub account_hash_prefix: String,
    pub key_rotation_period: u64,
}

/// RFC 8739 §3.2
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct AutoRenewalMeta {
    pub min_lifetime: u64,
    pub max_duration: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_certificate_get: bool,
}

/// RFC 8739 §3.1.1, in newOrder's payload and in an order
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct AutoRenewal {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_date: Option<String>,
    pub end_date: String,
    pub lifetime: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime_adjust: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_certificate_get: Option<bool>,
}

/// §7.3, payload
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct NewAccount {
    pub contact: Vec<String>,
    pub terms_of_service_agreed: bool,
    pub only_return_existing: bool,
    pub external_account_binding: Option<Box<serde_json::value::RawValue>>,
}

/// §7.3.2 and §7.3.6, payload
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct AccountUpdate {
    pub contact: Option<Vec<String>>,
    pub status: Option<String>,
}

/// §7.1.2
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct Account<'a> {
    pub status: &'static str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub contact: &'a [String],
    pub terms_of_service_agreed: bool,
    pub orders: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_account_binding: Option<Binding<'a>>,
}

/// §7.1.2.1
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct Orders {
    pub orders: Vec<String>,
}

/// §7.3.4
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct Binding<'a> {
    pub protected: &'a str,
    pub payload: &'a str,
    pub signature: &'a str,
}

/// §7.3.5, the inner payload
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct KeyChange {
    pub account: String,
    pub old_key: Box<serde_json::value::RawValue>,
}

/// §9.7.7
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct Identifier<'a> {
    #[serde(rename = "type")]
    pub kind: Cow<'a, str>,
    pub value: Cow<'a, str>,
}

/// §9.7.7 as a client asks for it, and RFC 9444 §4
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct AskedIdentifier {
    #[serde(rename = "type")]
    pub kind: String,
    pub value: String,
    pub ancestor_domain: Option<String>,
    #[serde(default)]
    pub subdomain_auth_allowed: bool,
}

/// §7.4.1, payload; RFC 9444's flag is taken beside the identifier and in it, since clients differ
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct NewAuthorization {
    pub identifier: AskedIdentifier,
    #[serde(default)]
    pub subdomain_auth_allowed: bool,
}

/// §7.4, payload
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct NewOrder {
    pub identifiers: Vec<AskedIdentifier>,
    pub not_before: Option<String>,
    pub not_after: Option<String>,
    /// RFC 9773 §5
    pub replaces: Option<String>,
    /// draft-ietf-acme-profiles §4
    pub profile: Option<String>,
    /// An [`AutoRenewal`], to be read once it is known to be an object.
    #[serde(rename = "auto-renewal")]
    pub auto_renewal: Option<Box<serde_json::value::RawValue>>,
}

/// RFC 8739 §3.1.2, payload
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct OrderUpdate {
    pub status: String,
}

/// §7.1.3
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct Order<'a> {
    pub status: &'static str,
    pub expires: String,
    pub identifiers: Vec<Identifier<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem<'a>>,
    pub authorizations: Vec<String>,
    pub finalize: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// RFC 9773 §5
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// draft-ietf-acme-profiles §4
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<&'a str>,
    #[serde(rename = "auto-renewal", skip_serializing_if = "Option::is_none")]
    pub auto_renewal: Option<AutoRenewal>,
    #[serde(rename = "star-certificate", skip_serializing_if = "Option::is_none")]
    pub star_certificate: Option<String>,
}

/// RFC 9773 §4.2
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct RenewalInfo<'a> {
    pub suggested_window: Window,
    #[serde(rename = "explanationURL", skip_serializing_if = "Option::is_none")]
    pub explanation_url: Option<&'a str>,
}

/// RFC 9773 §4.2
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct Window {
    pub start: String,
    pub end: String,
}

/// §7.1.4
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct Authorization<'a> {
    pub identifier: Identifier<'a>,
    pub status: &'static str,
    pub expires: String,
    pub challenges: Vec<Challenge<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub wildcard: bool,
    /// RFC 9444 §4.1
    #[serde(rename = "subdomainAuthAllowed", skip_serializing_if = "std::ops::Not::not")]
    pub subdomain_auth_allowed: bool,
}

/// §8
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct Challenge<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub url: String,
    pub status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub issuers: Option<Issuers<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validated: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem<'a>>,
}

/// What a dns-persist-01 challenge has instead of a token: draft-ietf-acme-dns-persist-02 §3.1, and
/// the same by the name that drafts 00 and 01 had for it.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the draft's own names")]
pub struct Issuers<'a> {
    #[serde(rename = "issuerDomainNames")]
    pub domain_names: &'a [String],
    #[serde(rename = "issuer-domain-names")]
    pub old_domain_names: &'a [String],
}

/// draft-ietf-acme-device-attest §5, payload; what else clients put in is of no account
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the draft's own names")]
pub struct DeviceAttest {
    pub att_obj: String,
}

/// §7.5.2, payload
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct AuthorizationUpdate {
    pub status: String,
}

/// §7.4, payload
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct Finalize {
    pub csr: String,
}

/// §7.6, payload
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct Revoke {
    pub certificate: String,
    pub reason: Option<u64>,
}

/// §6.7, RFC 7807
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct Problem<'a> {
    #[serde(rename = "type")]
    pub kind: String,
    pub detail: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identifier: Option<Identifier<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subproblems: Vec<Problem<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub algorithms: Vec<&'static str>,
    /// The request's id, as in `X-Request-Id` and the log: an extension of ours (RFC 7807 §3.2).
    #[serde(rename = "requestId", skip_serializing_if = "Option::is_none")]
    pub request: Option<&'a str>,
}
