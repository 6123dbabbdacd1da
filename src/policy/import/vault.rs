//! A role of Vault's or OpenBao's PKI engine.
//!
//! A role says both what may be asked for and what a certificate gets. Here the second is a profile's: the
//! policy holds it to the same values, and the report names the profile's keys. Fields that are absent have
//! the engine's defaults, as in a role that is written.

mod names;

use super::patterns::{CURVES, addresses, duration, rsa, uris};
use super::render::Lists;
use super::{Bearing, Fields, Made, Node, Reader, Value};
use crate::policy::names::{ANY, EXTENDED_KEY_USAGES};
use crate::policy::pattern::{AttributePattern, IpPattern, OidPattern, UriPattern};
use crate::policy::value::{Lasting, shorten};

/// The subject's attributes that a role gives to every certificate.
const GIVEN: &[(&str, &str)] = &[
    ("ou", "OU"),
    ("organization", "O"),
    ("country", "C"),
    ("locality", "L"),
    ("province", "ST"),
    ("street_address", "STREET"),
    ("postal_code", "postalCode"),
];

/// Key usages as Go names them.
const KEY_USAGES: &[(&str, &str)] = &[
    ("digitalsignature", "digitalSignature"),
    ("contentcommitment", "nonRepudiation"),
    ("keyencipherment", "keyEncipherment"),
    ("dataencipherment", "dataEncipherment"),
    ("keyagreement", "keyAgreement"),
    ("certsign", "keyCertSign"),
    ("crlsign", "cRLSign"),
    ("encipheronly", "encipherOnly"),
    ("decipheronly", "decipherOnly"),
];

/// Extended key usages as Go names them.
const EXTENDED: &[(&str, &str)] = &[
    ("any", ANY),
    ("serverauth", "serverAuth"),
    ("clientauth", "clientAuth"),
    ("codesigning", "codeSigning"),
    ("emailprotection", "emailProtection"),
    ("ipsecendsystem", "ipsecEndSystem"),
    ("ipsectunnel", "ipsecTunnel"),
    ("ipsecuser", "ipsecUser"),
    ("timestamping", "timeStamping"),
    ("ocspsigning", "OCSPSigning"),
    ("microsoftservergatedcrypto", "msSGC"),
    ("netscapeservergatedcrypto", "nsSGC"),
    ("microsoftcommercialcodesigning", "1.3.6.1.4.1.311.2.1.22"),
    ("microsoftkernelcodesigning", "1.3.6.1.4.1.311.61.1.1"),
];

/// Fields that say nothing of what is in a certificate.
const NO_PART: &[&str] = &[
    "allow_token_displayname",
    "generate_lease",
    "issuer_ref",
    "no_store",
    "no_store_metadata",
    "use_csr_common_name",
    "use_csr_sans",
    "name",
    "issuer_id",
];

/// Reads a role: bare, or as the API answers, in `data`.
pub(super) fn read(reader: &mut Reader, root: &Node) -> Made {
    let mut answer = reader.fields(root, "");
    let inside =
        answer.entries.iter().find(|(key, node)| key == "data" && matches!(node.value, Value::Map(_)));
    let mut fields = match inside {
        Some((_, data)) => reader.fields(data, ""),
        None => std::mem::replace(&mut answer, Fields { path: String::new(), entries: Vec::new() }),
    };
    let mut role = Role { reader, fields: &mut fields };
    let name = role.text("name");
    let mut lists = role.names();
    role.subject(&mut lists);
    role.addresses_and_uris(&mut lists);
    role.keys(&mut lists);
    role.lifetime(&mut lists);
    role.usages(&mut lists);
    role.rest();
    reader.finish(fields);
    Made { name, lists }
}

struct Role<'r, 'a> {
    reader: &'r mut Reader,
    fields: &'r mut Fields<'a>,
}

impl Role<'_, '_> {
    fn note(&mut self, bearing: Bearing, field: &str, text: impl Into<String>) {
        self.reader.note(bearing, field, text);
    }

    fn flag(&mut self, key: &str, otherwise: bool) -> bool {
        self.fields.take(key).map_or(otherwise, |node| self.reader.flag(node, key))
    }

    fn text(&mut self, key: &str) -> Option<String> {
        let node = self.fields.take(key)?;
        self.reader.text(node, key)
    }

    /// A list, or its items with commas between them.
    fn list(&mut self, key: &str) -> Option<Vec<String>> {
        let node = self.fields.take(key)?;
        Some(match &node.value {
            Value::Text(text) => {
                text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
            }
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => self.reader.texts(node, key),
        })
    }

    /// Seconds, or with units.
    fn seconds(&mut self, key: &str) -> u64 {
        let Some(node) = self.fields.take(key) else { return 0 };
        let Some(text) = self.reader.text(node, key) else { return 0 };
        let seconds = text.parse().ok().or_else(|| duration(&text).map(|span| span.as_secs()));
        if seconds.is_none() {
            self.reader.mistake(node.line, key, "must be a duration: whole seconds, or like \"72h\"");
        }
        seconds.unwrap_or(0)
    }

    fn subject(&mut self, lists: &mut Lists) {
        let mut subject = vec!["CN=*".to_owned()];
        for (key, attribute) in GIVEN {
            let values = self.list(key).unwrap_or_default();
            if values.is_empty() {
                continue;
            }
            // A star is a star to them, and any text to us.
            for value in values.iter().filter(|value| value.contains('*')) {
                let text = format!("the star in {:?} stands for any text here", shorten(value));
                self.reader.note(Bearing::Wider, *key, text);
            }
            let text = format!("is given to every certificate; the profile's subject gives {attribute} here");
            self.note(Bearing::Elsewhere, key, text);
            subject.extend(values.iter().map(|value| format!("{attribute}={value}")));
        }
        for (key, attribute) in [("allowed_serial_numbers", "serialNumber"), ("allowed_user_ids", "UID")] {
            let values = self.list(key).unwrap_or_default();
            subject.extend(values.iter().map(|value| format!("{attribute}={value}")));
        }
        lists.subject = Some(self.reader.listed("subject", subject, AttributePattern::parse));
    }

    fn addresses_and_uris(&mut self, lists: &mut Lists) {
        let blocks = self.list("allowed_ip_sans_cidr").unwrap_or_default();
        let ip = match (self.flag("allow_ip_sans", true), blocks.is_empty()) {
            (false, _) => Vec::new(),
            (true, true) => addresses("*").unwrap_or_default(),
            (true, false) => blocks,
        };
        lists.ip = Some(self.reader.listed("allowed_ip_sans_cidr", ip, IpPattern::parse));
        let template = self.flag("allowed_uri_sans_template", false);
        let mut uri = Vec::new();
        for glob in self.list("allowed_uri_sans").unwrap_or_default() {
            if template && glob.contains("{{") {
                let text =
                    format!("{:?} is a template, and is left out; write rules with `when`", shorten(&glob));
                self.note(Bearing::Narrower, "allowed_uri_sans", text);
                continue;
            }
            let (entries, exact) = uris(&glob);
            if !exact {
                let text =
                    format!("a star of {:?} stays within the host here, or the scheme", shorten(&glob));
                self.note(Bearing::Narrower, "allowed_uri_sans", text);
            }
            uri.extend(entries);
        }
        lists.uri = Some(self.reader.listed("allowed_uri_sans", uri, UriPattern::parse));
        lists.devices = Some(Vec::new());
        if self.list("allowed_other_sans").is_some_and(|others| !others.is_empty()) {
            let text = "no such names are certified here, but for devices' permanent identifiers";
            self.note(Bearing::Narrower, "allowed_other_sans", text);
        }
    }

    fn keys(&mut self, lists: &mut Lists) {
        let kind = self.text("key_type").unwrap_or_else(|| "rsa".to_owned());
        let bits = match self.fields.take("key_bits") {
            Some(node) => self.reader.number(node, "key_bits").unwrap_or(0),
            None => 0,
        };
        let curves = |least: u64| {
            CURVES.iter().filter(move |(_, size)| *size >= least).map(|(name, _)| (*name).to_owned())
        };
        lists.keys = Some(match kind.as_str() {
            "rsa" => rsa(bits.max(2048), u64::MAX).into_iter().collect(),
            "ec" => {
                if bits == 224 {
                    self.note(Bearing::Narrower, "key_bits", "P-224 is not certified here");
                }
                curves(bits).collect()
            }
            "ed25519" => vec!["ed25519".to_owned()],
            "any" => {
                self.note(Bearing::Narrower, "key_type", "P-224, which is among any, is not certified here");
                rsa(2048, u64::MAX).into_iter().chain(curves(0)).chain(["ed25519".to_owned()]).collect()
            }
            "mldsa" | "ml-dsa" => ["ml-dsa-44", "ml-dsa-65", "ml-dsa-87"].map(str::to_owned).into(),
            other => {
                let message = format!("{:?} is none of rsa, ec, ed25519, any", shorten(other));
                self.reader.mistake(1, "key_type", message);
                return;
            }
        });
        if self.flag("use_pss", false) {
            let text = "issuers here sign in the way that their key's type says, RSA by PKCS #1 v1.5";
            self.note(Bearing::Elsewhere, "use_pss", text);
        }
        if self.text("signature_bits").is_some_and(|bits| bits != "0") {
            let text = "the issuer's key says which digest it is; a rule may list `signatures`";
            self.note(Bearing::Elsewhere, "signature_bits", text);
        }
    }

    fn lifetime(&mut self, lists: &mut Lists) {
        let shown = |seconds| Lasting(std::time::Duration::from_secs(seconds)).to_string();
        let longest = self.seconds("max_ttl");
        if longest > 0 {
            lists.lifetime = Some(format!("..{}", shown(longest)));
            let text = format!(
                "the policy refuses what is longer; the engine cut it: set the profile's max_ttl = \"{}\"",
                shown(longest)
            );
            self.note(Bearing::Elsewhere, "max_ttl", text);
        } else {
            let text = "the mount's longest lifetime holds, which the role does not say; list `lifetime`, or set the profile's max_ttl";
            self.note(Bearing::Wider, "max_ttl", text);
        }
        match self.seconds("ttl") {
            0 => {}
            usual => {
                let text = format!("set the profile's default_ttl = \"{}\"", shown(usual));
                self.note(Bearing::Elsewhere, "ttl", text);
            }
        }
        match self.seconds("not_before_duration") {
            0 => {}
            back => {
                let text = format!("set the profile's backdate = \"{}\"", shown(back));
                self.note(Bearing::Elsewhere, "not_before_duration", text);
            }
        }
        for (key, usual) in [
            ("not_after", ""),
            ("not_before", ""),
            ("not_after_bound", "permit"),
            ("not_before_bound", "permit"),
        ] {
            let said = self.text(key);
            if said.as_deref().is_some_and(|said| said != usual && !said.is_empty()) {
                let text =
                    "fixed dates and bounds of dates have no equivalent; profiles and `lifetime` bound them";
                self.note(Bearing::Wider, key, text);
            }
        }
    }

    fn usages(&mut self, lists: &mut Lists) {
        let usual = || ["DigitalSignature", "KeyAgreement", "KeyEncipherment"].map(str::to_owned).to_vec();
        let named = self.list("key_usage").unwrap_or_else(usual);
        let mut usages = Vec::new();
        for name in &named {
            let lower = name.to_ascii_lowercase();
            let bare = lower.strip_prefix("keyusage").unwrap_or(&lower);
            match KEY_USAGES.iter().find(|(known, _)| *known == bare) {
                Some((_, usage)) => usages.push((*usage).to_owned()),
                // The engine ignores what it does not know.
                None => {
                    self.note(Bearing::Nothing, "key_usage", format!("{:?} is no key usage", shorten(name)))
                }
            }
        }
        if usages.is_empty() {
            usages.push(ANY.to_owned());
        }
        lists.key_usage = Some(usages);
        let mut extended = Vec::new();
        for (flag, usual, usage) in [
            ("server_flag", true, "serverAuth"),
            ("client_flag", true, "clientAuth"),
            ("code_signing_flag", false, "codeSigning"),
            ("email_protection_flag", false, "emailProtection"),
        ] {
            if self.flag(flag, usual) {
                extended.push(usage.to_owned());
            }
        }
        for name in self.list("ext_key_usage").unwrap_or_default() {
            let lower = name.to_ascii_lowercase();
            let bare = lower.strip_prefix("extkeyusage").unwrap_or(&lower);
            match EXTENDED.iter().find(|(known, _)| *known == bare) {
                Some((_, usage)) => extended.push((*usage).to_owned()),
                None => {
                    let text = format!("{:?} is no extended key usage", shorten(&name));
                    self.note(Bearing::Nothing, "ext_key_usage", text);
                }
            }
        }
        extended.extend(self.list("ext_key_usage_oids").unwrap_or_default());
        if extended.is_empty() {
            extended.push(ANY.to_owned());
        }
        let parse = |text: &str| OidPattern::parse(text, EXTENDED_KEY_USAGES);
        lists.eku = Some(self.reader.listed("ext_key_usage_oids", extended, parse));
        let text = "are given to every certificate; the profile's key_usage and usages give them here";
        self.note(Bearing::Elsewhere, "key_usage, ext_key_usage, *_flag", text);
    }

    fn rest(&mut self) {
        if self.list("policy_identifiers").is_some_and(|given| !given.is_empty()) {
            let text = "certificate policies are an extension of the profile's";
            self.note(Bearing::Elsewhere, "policy_identifiers", text);
        }
        if self.flag("basic_constraints_valid_for_non_ca", false) {
            let text = "leaves have no basic constraints here, which says the same";
            self.note(Bearing::Nothing, "basic_constraints_valid_for_non_ca", text);
        }
        let given: Vec<&str> =
            NO_PART.iter().copied().filter(|key| self.fields.take(key).is_some()).collect();
        if !given.is_empty() {
            self.note(
                Bearing::Nothing,
                &given.join(", "),
                "how the engine goes about it, not what is certified",
            );
        }
    }
}
