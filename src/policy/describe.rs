//! A certificate in a few words, for trying a policy without one.
//!
//! ```toml
//! dns = ["a.web.example.internal"]
//! key = "ec-p256"
//! lifetime = "24h"
//! context.provisioner = "web"
//! ```

use serde::Deserialize;

use super::facts::Facts;
use super::names::{
    ATTRIBUTES, EXTENDED_KEY_USAGES, EXTENSIONS, KEY_USAGES, SIGNATURES, Table, name_of, oid_of,
};
use super::pattern::duration_of;
use super::value::{Key, Lasting, Named, parse_dns, parse_email, parse_uri};
use super::{Context, Who};
use crate::acme::identifier::Identifier;
use crate::provisioner::profile::KeyType;
use crate::time::Timestamp;

/// What a certificate would hold; what is absent is not judged.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "as rules call them")]
pub struct Description {
    pub dns: Vec<String>,
    pub ip: Vec<String>,
    pub uri: Vec<String>,
    pub email: Vec<String>,
    pub devices: Vec<String>,
    pub subject: Vec<String>,
    pub key: Option<String>,
    pub lifetime: Option<String>,
    pub backdate: Option<String>,
    pub eku: Option<Vec<String>>,
    pub key_usage: Option<Vec<String>>,
    pub signature: Option<String>,
    pub issuer: Option<String>,
    pub extensions: Option<Vec<String>>,
    pub ca: Option<bool>,
    pub context: Whom,
}

/// For whom it would be.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "as conditions call them")]
pub struct Whom {
    pub requester: Option<String>,
    pub authority: Option<String>,
    pub provisioner: Option<String>,
    pub account: Option<String>,
    pub eab_key: Option<String>,
    pub profile: Option<String>,
}

impl Whom {
    /// The context of a request at `at`.
    pub fn context(self, at: Timestamp) -> Result<Context, String> {
        let Self { requester, authority, provisioner, account, eab_key, profile } = self;
        let requester = match &requester {
            None => Who::Acme,
            Some(name) => {
                let known = Who::TABLE.iter().find(|(known, _)| known == name);
                let names: Vec<&str> = Who::TABLE.iter().map(|(known, _)| *known).collect();
                known.ok_or_else(|| format!("requester: {name:?} is none of {}", names.join(", ")))?.1
            }
        };
        Ok(Context { at, requester, authority, provisioner, account, eab_key, profile })
    }
}

fn each<T>(
    key: &str,
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<Vec<T>>, String> {
    let parsed = |text: &String| parse(text).map_err(|error| format!("{key}: {text:?}: {error}"));
    texts.iter().map(parsed).collect::<Result<Vec<T>, String>>().map(Some)
}

fn span(key: &str, text: Option<&String>) -> Result<Option<Vec<Lasting>>, String> {
    let Some(text) = text else { return Ok(None) };
    let span = duration_of(text).ok_or_else(|| format!("{key}: {text:?} is no duration such as \"24h\""))?;
    Ok(Some(vec![Lasting(span)]))
}

fn named(key: &str, table: Table, texts: Option<&[String]>) -> Result<Option<Vec<Named>>, String> {
    let Some(texts) = texts else { return Ok(None) };
    let parse = |text: &str| {
        let oid = match table.iter().find(|(name, _)| *name == text) {
            Some((_, oid)) => Some((*oid).to_owned()),
            None => oid_of(table, text),
        };
        let oid = oid.ok_or("is neither a known name nor an object identifier")?;
        Ok(Named { name: name_of(table, &oid), oid })
    };
    each(key, texts, parse)
}

fn key(text: &str) -> Result<Key, String> {
    let (name, bits) = match text.split_once(':') {
        None => (text, None),
        Some((name, bits)) => (name, Some(bits.parse().map_err(|_| "has no size in bits behind the colon")?)),
    };
    let kind = KeyType::TABLE.iter().find(|(known, _)| *known == name);
    let names: Vec<&str> = KeyType::TABLE.iter().map(|(known, _)| *known).collect();
    let (_, kind) = kind.ok_or_else(|| format!("is none of {}", names.join(", ")))?;
    match (kind, bits) {
        (KeyType::Rsa, None) => Err("has no size; write for example rsa:3072".to_owned()),
        (kind, bits) => Ok(Key { kind: *kind, bits: bits.unwrap_or(0) }),
    }
}

impl Description {
    /// The facts that it gives; the error names the key that says something impossible.
    pub fn facts(&self) -> Result<Facts, String> {
        let mut facts = Facts {
            dns: each("dns", &self.dns, parse_dns)?,
            ip: each("ip", &self.ip, |text| match Identifier::parse_ip(text) {
                Ok(Identifier::Ip(ip)) => Ok(ip),
                Ok(_) => Err("is no address".to_owned()),
                Err(error) => Err(error.to_string()),
            })?,
            uri: each("uri", &self.uri, parse_uri)?,
            email: each("email", &self.email, parse_email)?,
            devices: Some(self.devices.clone()),
            principals: Some(Vec::new()),
            subject: Some(Vec::new()),
            keys: self
                .key
                .as_ref()
                .map(|text| key(text).map(|key| vec![key]))
                .transpose()
                .map_err(|e| format!("key: {e}"))?,
            lifetime: span("lifetime", self.lifetime.as_ref())?,
            backdate: span("backdate", self.backdate.as_ref())?,
            eku: named("eku", EXTENDED_KEY_USAGES, self.eku.as_deref())?,
            key_usage: named("key_usage", KEY_USAGES, self.key_usage.as_deref())?,
            ca: self.ca,
            signatures: named("signature", SIGNATURES, self.signature.as_ref().map(std::slice::from_ref))?,
            issuers: self.issuer.clone().map(|issuer| vec![issuer]),
            extensions: named("extensions", EXTENSIONS, self.extensions.as_deref())?,
        };
        for text in &self.subject {
            let attribute =
                text.split_once('=').and_then(|(name, value)| Some((oid_of(ATTRIBUTES, name)?, value)));
            let (oid, value) =
                attribute.ok_or_else(|| format!("subject: {text:?} is not like \"O=Example\""))?;
            facts.add_attribute(&oid, value).map_err(|error| format!("subject: {error}"))?;
        }
        Ok(facts)
    }
}
