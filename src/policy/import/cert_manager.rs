//! cert-manager's CertificateRequestPolicy (approver-policy, `policy.cert-manager.io/v1alpha1`).
//!
//! What it does not list must be absent from a request, so every kind gets a list here, be it an empty one.
//! It judges what was asked for, and a policy of ours what is to be signed: where a profile adds names, a
//! subject or usages, they are held to the same lists.

use std::collections::BTreeSet;
use std::time::Duration;

use super::patterns::{CURVES, addresses, duration, emails, rsa, uris};
use super::render::Lists;
use super::{Bearing, Fields, Made, Node, Reader, Value};
use crate::policy::glob::Glob;
use crate::policy::names;
use crate::policy::pattern::{
    AttributePattern, DnsPattern, EmailPattern, IpPattern, TextPattern, UriPattern,
};
use crate::policy::value::{Lasting, shorten};
use crate::x509::permanent::oid_content;

const ATTRIBUTES: &[(&str, &str)] = &[
    ("organizations", "O"),
    ("countries", "C"),
    ("organizationalUnits", "OU"),
    ("localities", "L"),
    ("provinces", "ST"),
    ("streetAddresses", "STREET"),
    ("postalCodes", "postalCode"),
];

/// Usages as cert-manager names them; `None`: it is an extended one.
const USAGES: &[(&str, Option<&str>, Option<&str>)] = &[
    ("signing", Some("digitalSignature"), None),
    ("digital signature", Some("digitalSignature"), None),
    ("content commitment", Some("nonRepudiation"), None),
    ("key encipherment", Some("keyEncipherment"), None),
    ("key agreement", Some("keyAgreement"), None),
    ("data encipherment", Some("dataEncipherment"), None),
    ("cert sign", Some("keyCertSign"), None),
    ("crl sign", Some("cRLSign"), None),
    ("encipher only", Some("encipherOnly"), None),
    ("decipher only", Some("decipherOnly"), None),
    ("any", None, Some(names::ANY)),
    ("server auth", None, Some("serverAuth")),
    ("client auth", None, Some("clientAuth")),
    ("code signing", None, Some("codeSigning")),
    ("email protection", None, Some("emailProtection")),
    ("s/mime", None, Some("emailProtection")),
    ("ipsec end system", None, Some("ipsecEndSystem")),
    ("ipsec tunnel", None, Some("ipsecTunnel")),
    ("ipsec user", None, Some("ipsecUser")),
    ("timestamping", None, Some("timeStamping")),
    ("ocsp signing", None, Some("OCSPSigning")),
    ("microsoft sgc", None, Some("msSGC")),
    ("netscape sgc", None, Some("nsSGC")),
];

/// Reads one policy.
pub(super) fn read(reader: &mut Reader, root: &Node) -> Made {
    let mut fields = reader.fields(root, "");
    let mut one = |key: &str, wanted: &dyn Fn(&str) -> bool, says: &str| {
        let node = fields.take(key);
        let said = node.and_then(|node| reader.text(node, key));
        if !said.as_deref().is_some_and(wanted) {
            let found = said.map_or("is absent".to_owned(), |said| format!("is {:?}", shorten(&said)));
            reader.mistake(node.map_or(root.line, |node| node.line), key, format!("{found}; {says}"));
        }
    };
    one("kind", &|kind| kind == "CertificateRequestPolicy", "give one CertificateRequestPolicy");
    one(
        "apiVersion",
        &|version| version == "policy.cert-manager.io/v1alpha1",
        "this import reads policy.cert-manager.io/v1alpha1",
    );
    let mut name = None;
    if let Some(node) = fields.take("metadata") {
        let mut metadata = reader.fields(node, "metadata");
        name = metadata.take("name").and_then(|node| reader.text(node, "metadata.name"));
        let others: Vec<String> = metadata.entries.iter().map(|(key, _)| metadata.path(key)).collect();
        if !others.is_empty() {
            reader.note(Bearing::Nothing, shorten(&others.join(", ")), "the object's own, in its cluster");
        }
    }
    if fields.take("status").is_some() {
        reader.note(Bearing::Nothing, "status", "the object's own, in its cluster");
    }
    let mut lists = Lists::default();
    match fields.take("spec") {
        None => reader.mistake(root.line, "spec", "is absent; give a whole CertificateRequestPolicy"),
        Some(node) => {
            let mut spec = reader.fields(node, "spec");
            let empty = Node { line: node.line, value: Value::Null };
            allowed(reader, spec.take("allowed").unwrap_or(&empty), &mut lists);
            if let Some(node) = spec.take("constraints") {
                constraints(reader, node, &mut lists);
            }
            if let Some(node) = spec.take("selector") {
                selector(reader, node);
            }
            if let Some(node) = spec.take("plugins") {
                for (plugin, _) in reader.fields(node, "spec.plugins").entries {
                    let text = "no plugin runs here, and what it would have refused is allowed";
                    reader.note(Bearing::Wider, shorten(&format!("spec.plugins.{plugin}")), text);
                }
            }
            reader.finish(spec);
        }
    }
    reader.finish(fields);
    Made { name, lists }
}

impl Reader {
    /// `values` or `value` of an attribute, with what else it says noted; `None`: none may be there.
    fn globs(&mut self, fields: &mut Fields<'_>, key: &str) -> Option<Vec<String>> {
        let node = fields.take(key)?;
        let path = fields.path(key);
        let mut attribute = self.fields(node, &path);
        let listed = self.attribute(&mut attribute);
        self.finish(attribute);
        listed
    }

    fn attribute(&mut self, attribute: &mut Fields<'_>) -> Option<Vec<String>> {
        let path = attribute.path.clone();
        let of = |key: &str| format!("{path}.{key}");
        let mut values = attribute.take("values").map(|node| self.texts(node, &of("values")));
        if let Some(node) = attribute.take("value") {
            values.get_or_insert_default().extend(self.text(node, &of("value")));
        }
        if attribute.take("required").is_some_and(|node| self.flag(node, &of("required"))) {
            let text = "a policy bounds what is there, and does not ask for it to be there";
            self.note(Bearing::Wider, of("required"), text);
        }
        if let Some(node) = attribute.take("validations") {
            let before = values.is_some();
            if self.validations(node, &of("validations")) && !before {
                values = Some(vec!["*".to_owned()]);
            }
        }
        // An empty text is an absent attribute, which is never refused.
        values.map(|values| values.into_iter().filter(|value| !value.is_empty()).collect())
    }

    /// Whether there are any.
    fn validations(&mut self, node: &Node, path: &str) -> bool {
        let Value::List(items) = &node.value else {
            self.mistake(node.line, path, "must be a list of rules");
            return false;
        };
        for item in items {
            let mut fields = self.fields(item, path);
            let rule = fields.take("rule").and_then(|node| self.text(node, path)).unwrap_or_default();
            let _ = fields.take("message");
            let text = format!("CEL is not run here; what it refuses is allowed: {}", shorten(&rule));
            self.note(Bearing::Wider, path, text);
            self.finish(fields);
        }
        !items.is_empty()
    }

    fn other_attributes(&mut self, fields: &mut Fields<'_>, subject: &mut Vec<String>) {
        let Some(node) = fields.take("otherAttributes") else { return };
        let path = fields.path("otherAttributes");
        let Value::List(items) = &node.value else {
            self.mistake(node.line, &path, "must be a list");
            return;
        };
        for item in items {
            let mut attribute = self.fields(item, &path);
            let oid = attribute.take("oid").and_then(|node| self.text(node, &path));
            let values = self.attribute(&mut attribute).unwrap_or_default();
            self.finish(attribute);
            match oid {
                // Entries of ours take names and a star too, and would allow what nobody asks for there.
                Some(oid) if oid_content(&oid).is_none() => {
                    let text = format!(
                        "{:?} is left out: it is no object identifier in dots, so that no attribute has it",
                        shorten(&oid)
                    );
                    self.note(Bearing::Narrower, &path, text);
                }
                Some(oid) => subject.extend(values.iter().map(|value| format!("{oid}={value}"))),
                None => self.mistake(item.line, &path, "has no oid"),
            }
        }
    }
}

fn allowed(reader: &mut Reader, node: &Node, lists: &mut Lists) {
    let mut fields = reader.fields(node, "spec.allowed");
    let path = |key: &str| format!("spec.allowed.{key}");
    let principals = reader.globs(&mut fields, "commonName").unwrap_or_default();
    let dns = reader.globs(&mut fields, "dnsNames").unwrap_or_default();
    let known: BTreeSet<&String> = dns.iter().collect();
    for name in principals.iter().filter(|name| name.contains('.') && !known.contains(name)) {
        let text =
            format!("a common name that looks like a host name must be in dnsNames too: {:?}", shorten(name));
        reader.note(Bearing::Narrower, path("commonName"), text);
    }
    lists.principals = Some(reader.listed(&path("commonName"), principals.clone(), TextPattern::parse));
    lists.wildcards = true;
    lists.dns = Some(reader.listed(&path("dnsNames"), dns, |text| DnsPattern::parse(text, true)));
    lists.wildcards &= lists.dns.as_ref().is_some_and(|dns| !dns.is_empty());

    let mut ip = Vec::new();
    for glob in reader.globs(&mut fields, "ipAddresses").unwrap_or_default() {
        match addresses(&glob) {
            Some(blocks) => ip.extend(blocks),
            None => {
                let text = format!(
                    "{:?} is left out: it is neither an address nor one block of them",
                    shorten(&glob)
                );
                reader.note(Bearing::Narrower, path("ipAddresses"), text);
            }
        }
    }
    lists.ip = Some(reader.listed(&path("ipAddresses"), ip, IpPattern::parse));
    let mut uri = Vec::new();
    for glob in reader.globs(&mut fields, "uris").unwrap_or_default() {
        let (entries, exact) = uris(&glob);
        if !exact {
            let text = format!("a star of {:?} stays within the host here, or the scheme", shorten(&glob));
            reader.note(Bearing::Narrower, path("uris"), text);
        }
        uri.extend(entries);
    }
    lists.uri = Some(reader.listed(&path("uris"), uri, UriPattern::parse));
    let mut email = Vec::new();
    for glob in reader.globs(&mut fields, "emailAddresses").unwrap_or_default() {
        match emails(&glob) {
            Ok(entries) => email.extend(entries),
            Err((bearing, why)) => {
                reader.note(bearing, path("emailAddresses"), format!("{:?} {why}", shorten(&glob)));
            }
        }
    }
    lists.email = Some(reader.listed(&path("emailAddresses"), email, EmailPattern::parse));
    if fields.take("isCA").is_some_and(|node| reader.flag(node, &path("isCA"))) {
        let text = "only the operator makes CA certificates, by `mayfly ca`; no rule says so";
        reader.note(Bearing::Narrower, path("isCA"), text);
    }
    usages(reader, &mut fields, lists);
    subject(reader, &mut fields, &principals, lists);
    lists.devices = Some(Vec::new());
    if fields.take("otherNames").is_some() {
        let text = "no such names are certified here, but for devices' permanent identifiers";
        reader.note(Bearing::Narrower, path("otherNames"), text);
    }
    reader.finish(fields);
}

fn subject(reader: &mut Reader, fields: &mut Fields<'_>, principals: &[String], lists: &mut Lists) {
    let mut subject: Vec<String> = principals.iter().map(|name| format!("CN={name}")).collect();
    if let Some(node) = fields.take("subject") {
        let mut attributes = reader.fields(node, "spec.allowed.subject");
        for (key, attribute) in ATTRIBUTES {
            let values = reader.globs(&mut attributes, key).unwrap_or_default();
            subject.extend(values.iter().map(|value| format!("{attribute}={value}")));
        }
        let serials = reader.globs(&mut attributes, "serialNumber").unwrap_or_default();
        subject.extend(serials.iter().map(|value| format!("serialNumber={value}")));
        reader.other_attributes(&mut attributes, &mut subject);
        reader.finish(attributes);
    }
    lists.subject = Some(reader.listed("spec.allowed.subject", subject, AttributePattern::parse));
}

fn usages(reader: &mut Reader, fields: &mut Fields<'_>, lists: &mut Lists) {
    let path = "spec.allowed.usages";
    let asked = fields.take("usages").map(|node| reader.texts(node, path)).unwrap_or_default();
    if asked.is_empty() {
        let text = "none may be asked for there, and here every one is allowed: the profile alone says what a \
                    certificate is good for";
        reader.note(Bearing::Wider, path, text);
        return;
    }
    let (mut usual, mut extended) = (Vec::new(), Vec::new());
    for text in &asked {
        let glob = Glob::new(text);
        let mut known = false;
        for (_, usage, eku) in USAGES.iter().filter(|(name, ..)| glob.matches(name)) {
            known = true;
            for (list, value) in [(&mut usual, usage), (&mut extended, eku)] {
                if let Some(value) = value
                    && !list.iter().any(|known| known == value)
                {
                    list.push((*value).to_owned());
                }
            }
        }
        if !known {
            let text = format!("{:?} is left out: no usage is called so", shorten(text));
            reader.note(Bearing::Narrower, path, text);
        }
    }
    // Of which none is listed: a certificate without the extension has none of them either.
    for list in [&mut usual, &mut extended] {
        if list.is_empty() {
            list.push(names::ANY.to_owned());
        }
    }
    (lists.key_usage, lists.eku) = (Some(usual), Some(extended));
}

fn constraints(reader: &mut Reader, node: &Node, lists: &mut Lists) {
    let mut fields = reader.fields(node, "spec.constraints");
    let mut bound = |key: &str, up: bool| {
        let node = fields.take(key)?;
        let path = format!("spec.constraints.{key}");
        let text = reader.text(node, &path)?;
        let Some(span) = duration(&text) else {
            reader.mistake(node.line, &path, "must be a duration such as \"24h\" or \"1h30m\"");
            return None;
        };
        // Lifetimes are whole seconds here.
        let more = u64::from(up && span.subsec_nanos() > 0);
        Some(Lasting(Duration::from_secs(span.as_secs() + more)).to_string())
    };
    let (least, most) = (bound("minDuration", true), bound("maxDuration", false));
    if least.is_some() || most.is_some() {
        lists.lifetime = Some(format!("{}..{}", least.unwrap_or_default(), most.unwrap_or_default()));
    }
    if let Some(node) = fields.take("privateKey") {
        private_key(reader, node, lists);
    }
    reader.finish(fields);
}

fn private_key(reader: &mut Reader, node: &Node, lists: &mut Lists) {
    let path = "spec.constraints.privateKey";
    let mut fields = reader.fields(node, path);
    let algorithm = fields.take("algorithm").and_then(|node| Some((node.line, reader.text(node, path)?)));
    let mut size = |key: &str| {
        let node = fields.take(key)?;
        reader.number(node, &format!("{path}.{key}"))
    };
    let (least, most) = (size("minSize"), size("maxSize"));
    reader.finish(fields);
    let (from, to) = (least.unwrap_or(0), most.unwrap_or(u64::MAX));
    let rsa = || rsa(from, to).into_iter().collect::<Vec<_>>();
    let curves = || {
        let within = CURVES.iter().filter(|(_, size)| (from..=to).contains(size));
        within.map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>()
    };
    // Its size counts as less than any.
    let ed25519 = || if least.is_none() { vec!["ed25519".to_owned()] } else { Vec::new() };
    lists.keys = match algorithm.as_ref().map(|(line, name)| (*line, name.as_str())) {
        Some((_, "RSA")) => Some(rsa()),
        Some((_, "ECDSA")) => Some(curves()),
        Some((_, "Ed25519")) => Some(ed25519()),
        Some((line, other)) => {
            let message = format!("{:?} is none of RSA, ECDSA, Ed25519", shorten(other));
            reader.mistake(line, &format!("{path}.algorithm"), message);
            None
        }
        None if least.is_none() && most.is_none() => None,
        None => Some([rsa(), curves(), ed25519()].concat()),
    };
    if lists.keys.as_ref().is_some_and(Vec::is_empty) {
        reader.note(Bearing::Narrower, path, "no key that is certified here is of such a size");
    }
}

fn selector(reader: &mut Reader, node: &Node) {
    let mut fields = reader.fields(node, "spec.selector");
    let text = "name this policy in the provisioner or the authority that it is for";
    if let Some(node) = fields.take("issuerRef") {
        let mut issuer = reader.fields(node, "spec.selector.issuerRef");
        for key in ["name", "kind", "group"] {
            if let Some(node) = issuer.take(key) {
                let path = issuer.path(key);
                let said = reader.text(node, &path).unwrap_or_default();
                reader.note(Bearing::Elsewhere, path, format!("{:?}: {text}", shorten(&said)));
            }
        }
        reader.finish(issuer);
    }
    if let Some(node) = fields.take("namespace") {
        let mut namespace = reader.fields(node, "spec.selector.namespace");
        if let Some(node) = namespace.take("matchNames") {
            let path = namespace.path("matchNames");
            let said = reader.texts(node, &path).join(", ");
            reader.note(Bearing::Elsewhere, path, format!("{:?}: {text}", shorten(&said)));
        }
        if namespace.take("matchLabels").is_some() {
            reader.note(Bearing::Elsewhere, namespace.path("matchLabels"), text);
        }
        reader.finish(namespace);
    }
    reader.finish(fields);
}
