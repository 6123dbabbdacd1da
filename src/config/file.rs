//! The file's raw shape: sections and keys with their places, read one by one so that every
//! mistake is found, not only the first.

use std::path::Path;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::problem::{Findings, nearest};
use super::units::{UnitError, format_duration, format_size, parse_duration, parse_size};

/// Every section and its keys; anything else in a file is refused.
pub(super) const SECTIONS: &[(&str, &[&str])] = &[
    (
        "server",
        &[
            "address",
            "dns_names",
            "base_url",
            "max_body",
            "max_connections",
            "max_requests",
            "max_head",
            "max_headers",
            "max_url",
            "request_timeout",
            "drain_timeout",
            "allow_core_dumps",
            "authority",
        ],
    ),
    ("store", &["engine", "path", "retention", "account_retention"]),
    (
        "authority",
        &[
            "name",
            "root",
            "certificate",
            "key",
            "password_file",
            "password_env",
            "password_credential",
            "alternate_chains",
            "other_issuers",
            "max_ttl",
            "ca_issuers_url",
            "crl_url",
            "ocsp_url",
            "expiry_warning",
            "profiles",
            "policy",
            "policy_audit",
            "next",
            "bundle_overlap",
            "handover",
        ],
    ),
    ("validation", &["resolvers", "http_port", "tls_alpn_port", "allow", "deny", "timeout", "attempts"]),
    (
        "provisioner",
        &[
            "type",
            "name",
            "challenges",
            "default_ttl",
            "max_ttl",
            "min_ttl",
            "allow_names",
            "deny_names",
            "wildcards",
            "max_names",
            "order_ttl",
            "authorization_ttl",
            "terms_of_service",
            "website",
            "pre_authorization",
            "subdomain_authorizations",
            "validation",
            "issuer_domains",
            "caa",
            "caa_identities",
            "eab",
            "eab_trusts_names",
            "attestation",
            "profiles",
            "default_profile",
            "reuse_certificates",
            "fresh_keys",
            "issue_budget",
            "renewal_explanation",
            "auto_renewal",
            "policy",
            "policy_audit",
            "authority",
            "offer_profiles",
        ],
    ),
    (
        PROFILE,
        &[
            "description",
            "default_ttl",
            "max_ttl",
            "min_ttl",
            "key_types",
            "usages",
            "min_rsa_bits",
            "key_usage",
            "sans",
            "uris",
            "emails",
            "subject",
            "extensions",
            "backdate",
            "no_rev_avail_below",
            "fresh_keys",
            "issue_budget",
        ],
    ),
    (
        "limits",
        &[
            "network_requests",
            "network_accounts",
            "network_orders",
            "network_connections",
            "account_requests",
            "account_orders",
            "account_changes",
            "account_failures",
            "name_set_certificates",
            "open_orders",
            "ipv4_prefix",
            "ipv6_prefix",
            "exempt",
        ],
    ),
    ("log", &["level", "format"]),
    ("admin", &["socket", "address", "client_ca", "clients", "dashboard_on_loopback"]),
    ("metrics", &["address", "allow", "vault_aliases"]),
    (
        "traces",
        &[
            "otlp_endpoint",
            "ca",
            "headers_file",
            "sample",
            "service_name",
            "trust",
            "queue",
            "batch",
            "interval",
            "timeout",
        ],
    ),
    (
        "notify",
        &[
            "name",
            "type",
            "url",
            "ca",
            "token_file",
            "secret_file",
            "timeout",
            "repeat",
            "send_resolved",
            "individual",
        ],
    ),
];

/// Sections inside others, and their keys. They stand nowhere else.
const INNER: &[(&str, &[&str])] = &[
    (
        "authority.next",
        &["certificate", "key", "password_file", "password_env", "password_credential", "alternate_chains"],
    ),
    ("provisioner.validation", &["resolvers", "http_port", "tls_alpn_port", "allow", "deny"]),
    ("provisioner.auto_renewal", &["min_lifetime", "max_duration", "allow_certificate_get"]),
    ("provisioner.attestation", &["formats", "roots", "allow_devices"]),
    (
        PROFILE_SUBJECT,
        &[
            "country",
            "province",
            "locality",
            "organization",
            "organizational_unit",
            "common_name",
            "serial_number",
        ],
    ),
    (PROFILE_EXTENSION, &["oid", "critical", "utf8", "hex", "base64"]),
];

/// A profile of the provisioner above it; NAME is the profile's own.
pub(super) const PROFILE: &str = "provisioner.profiles.NAME";
/// The subject of its certificates.
pub(super) const PROFILE_SUBJECT: &str = "provisioner.profiles.NAME.subject";
/// An extension of its own.
pub(super) const PROFILE_EXTENSION: &str = "provisioner.profiles.NAME.extensions";

/// The sections that stand by themselves.
pub(super) fn section_names() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().map(|(name, _)| *name).filter(|name| *name != PROFILE)
}

/// The keys of a section.
pub(super) fn keys_of(section: &str) -> &'static [&'static str] {
    SECTIONS.iter().chain(INNER).find(|(name, _)| *name == section).map_or(&[], |(_, keys)| keys)
}

/// Where the lines of a text begin, to turn byte offsets into lines.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(ends).collect())
    }
}

/// The text and its lines.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub text: &'a str,
    pub lines: &'a Lines,
}

impl Source<'_> {
    /// The line, from 1, of a byte offset.
    pub(super) fn line(self, offset: usize) -> usize {
        self.lines.0.partition_point(|start| *start <= offset)
    }

    /// The column, from 1, of a byte offset.
    fn column(self, offset: usize) -> usize {
        let start = self.lines.0.get(self.line(offset) - 1).copied().unwrap_or_default();
        1 + self.text.get(start..offset).map_or(0, |before| before.chars().count())
    }
}

/// Parses TOML; reports every syntax error and then returns `None`.
pub(super) fn parse<'a>(source: Source<'a>, findings: &mut Findings) -> Option<Spanned<DeTable<'a>>> {
    let (document, errors) = DeTable::parse_recoverable(source.text);
    if errors.is_empty() {
        return Some(document);
    }
    let mut last = None;
    for error in errors {
        let offset = error.span().map_or(0, |span| span.start);
        let line = source.line(offset);
        // The parser trips over the rest of a broken line again and again; the first is the cause.
        if last.replace(line) != Some(line) {
            let message = error.message().trim();
            let column = source.column(offset);
            findings.error(Some(line), "", format!("TOML syntax, column {column}: {message}"));
        }
    }
    None
}

/// One table of the file.
pub(super) struct Section<'a> {
    source: Source<'a>,
    /// Its path, such as `server` or `provisioner[1]`.
    pub path: String,
    /// The line it begins at; `None` if the file does not have it.
    pub line: Option<usize>,
    table: Option<&'a DeTable<'a>>,
    keys: &'static [&'static str],
}

impl<'a> Section<'a> {
    /// A section called `name` at `value`, or an absent one. Unknown keys are reported here.
    pub(super) fn new(
        source: Source<'a>,
        name: &str,
        path: String,
        value: Option<&'a Spanned<DeValue<'a>>>,
        findings: &mut Findings,
    ) -> Self {
        let line = value.map(|v| source.line(v.span().start));
        let table = value.and_then(|v| v.get_ref().as_table());
        if let Some(value) = value
            && table.is_none()
        {
            let found = value.get_ref().type_str();
            findings.error(line, &path, format!("is {}; write a section [{name}]", article(found)));
        }
        let section = Self { source, path, line, table, keys: keys_of(name) };
        section.refuse_unknown(name, findings);
        section
    }

    fn refuse_unknown(&self, name: &str, findings: &mut Findings) {
        for (key, _) in self.table.into_iter().flatten() {
            let typed: &str = key.get_ref();
            if self.keys.contains(&typed) {
                continue;
            }
            let elsewhere = SECTIONS.iter().find(|(other, keys)| *other != name && keys.contains(&typed));
            let hint = match (nearest(typed, self.keys.iter().copied()), elsewhere) {
                (Some(near), _) => format!("did you mean `{near}`?"),
                (None, Some((other, _))) => format!("it belongs in [{other}]"),
                (None, None) => format!("[{name}] has {}", self.keys.join(", ")),
            };
            let line = self.source.line(key.span().start);
            findings.error(
                Some(line),
                &format!("{}.{}", self.path, shorten(typed)),
                format!("unknown key; {hint}"),
            );
        }
    }

    /// The path of a key in this section.
    pub(super) fn path_of(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }

    /// The key's value, if the file has it.
    pub(super) fn get(&self, key: &'static str) -> Option<Field<'a>> {
        debug_assert!(self.keys.contains(&key), "{key} is missing in SECTIONS");
        let value = self.table?.get(key)?;
        Some(Field {
            source: self.source,
            path: self.path_of(key),
            line: self.source.line(value.span().start),
            value: value.get_ref(),
        })
    }

    /// The section `key` inside this one, if the file has it; `name` is its own in [`INNER`].
    pub(super) fn inner(&self, key: &'static str, name: &str, findings: &mut Findings) -> Option<Self> {
        debug_assert!(self.keys.contains(&key), "{key} is missing in SECTIONS");
        let value = self.table?.get(key)?;
        Some(Self::new(self.source, name, self.path_of(key), Some(value), findings))
    }

    /// The sections of the list `key` inside this one; `name` is their own in [`INNER`].
    pub(super) fn inner_list(&self, key: &'static str, name: &str, findings: &mut Findings) -> Vec<Self> {
        debug_assert!(self.keys.contains(&key), "{key} is missing in SECTIONS");
        let Some(value) = self.table.and_then(|table| table.get(key)) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            let line = Some(self.source.line(value.span().start));
            let message = format!("write [[{name}]], with two brackets on each side");
            findings.error(line, &self.path_of(key), message);
            return Vec::new();
        };
        let one = |(i, item)| {
            Self::new(self.source, name, format!("{}[{i}]", self.path_of(key)), Some(item), findings)
        };
        items.iter().enumerate().map(one).collect()
    }

    /// Whether the file has it as a section; what else stands in its place was reported, and has no keys.
    pub(super) fn is_section(&self) -> bool {
        self.table.is_some()
    }

    /// Whether the file has any key of it.
    pub(super) fn has_keys(&self) -> bool {
        self.table.is_some_and(|table| !table.is_empty())
    }

    /// The key's value; absence is an error that quotes `example`.
    pub(super) fn require(
        &self,
        key: &'static str,
        example: &str,
        findings: &mut Findings,
    ) -> Option<Field<'a>> {
        let field = self.get(key);
        if field.is_none() {
            let message = format!("is required; write for example `{key} = {example}`");
            findings.error(self.line, &self.path_of(key), message);
        }
        field
    }

    /// A duration within `least..=most`, or `default`.
    pub(super) fn duration(
        &self,
        key: &'static str,
        default: Duration,
        range: (Duration, Duration),
        findings: &mut Findings,
    ) -> Duration {
        self.get(key).and_then(|field| field.duration(range, findings)).unwrap_or(default)
    }

    /// A whole number within `least..=most`, or `default`.
    pub(super) fn integer(
        &self,
        key: &'static str,
        default: u64,
        range: (u64, u64),
        findings: &mut Findings,
    ) -> u64 {
        self.get(key).and_then(|field| field.integer(range, findings)).unwrap_or(default)
    }

    /// A path, relative to `base`, or `default` there.
    pub(super) fn file(
        &self,
        key: &'static str,
        default: &str,
        base: &Path,
        findings: &mut Findings,
    ) -> std::path::PathBuf {
        let given = self.get(key).and_then(|field| field.non_empty(findings));
        base.join(given.unwrap_or(default))
    }
}

/// One value of the file.
#[derive(Clone)]
pub(super) struct Field<'a> {
    source: Source<'a>,
    /// The path of its key.
    pub path: String,
    /// The line it begins at.
    pub line: usize,
    value: &'a DeValue<'a>,
}

impl<'a> Field<'a> {
    /// Reports something about this value.
    pub(super) fn error(&self, findings: &mut Findings, message: impl Into<String>) {
        findings.error(Some(self.line), &self.path, message);
    }

    fn wrong_type(&self, wanted: &str, findings: &mut Findings) {
        let found = article(self.value.type_str());
        self.error(findings, format!("is {found}; write {wanted}"));
    }

    /// The entries of a table, each with its key, place and value.
    pub(super) fn entries(&self, findings: &mut Findings) -> Vec<(&'a str, usize, &'a Spanned<DeValue<'a>>)> {
        let Some(table) = self.value.as_table() else {
            self.wrong_type("a section for each, such as [provisioner.profiles.short]", findings);
            return Vec::new();
        };
        let entry = |(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let name: &std::borrow::Cow<'a, str> = key.get_ref();
            (name.as_ref(), self.source.line(key.span().start), value)
        };
        table.iter().map(entry).collect()
    }

    /// A string.
    pub(super) fn string(&self, findings: &mut Findings) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.wrong_type("a string in quotes", findings);
        }
        text
    }

    /// Whether it is a string.
    pub(super) fn is_string(&self) -> bool {
        self.value.as_str().is_some()
    }

    /// A string with something in it and no control characters.
    pub(super) fn non_empty(&self, findings: &mut Findings) -> Option<&'a str> {
        let text = self.string(findings)?;
        if text.trim().is_empty() || text.chars().any(char::is_control) {
            self.error(findings, "is empty or has control characters; give a value or leave the key out");
            return None;
        }
        Some(text)
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self, findings: &mut Findings) -> Option<bool> {
        let value = self.value.as_bool();
        if value.is_none() {
            self.wrong_type("true or false, without quotes", findings);
        }
        value
    }

    /// The fields of an array, each with its own place.
    pub(super) fn array(&self, findings: &mut Findings) -> Vec<Field<'a>> {
        let Some(items) = self.value.as_array() else {
            self.wrong_type("a list in brackets, such as [\"…\", \"…\"]", findings);
            return Vec::new();
        };
        self.items(items)
    }

    fn items(&self, items: &'a DeArray<'a>) -> Vec<Field<'a>> {
        let field = |(i, item): (usize, &'a Spanned<DeValue<'a>>)| Field {
            source: self.source,
            path: format!("{}[{i}]", self.path),
            line: self.source.line(item.span().start),
            value: item.get_ref(),
        };
        items.iter().enumerate().map(field).collect()
    }

    /// A duration with units.
    fn duration(&self, (least, most): (Duration, Duration), findings: &mut Findings) -> Option<Duration> {
        if let Some(number) = self.value.as_integer() {
            let text = number.as_str();
            self.error(findings, format!("{text} has no unit; write a duration such as \"{text}s\""));
            return None;
        }
        let text = self.unit_text("\"90s\", \"24h\" or \"1h30m\"", findings)?;
        match parse_duration(text) {
            Ok(value) if (least..=most).contains(&value) => Some(value),
            Ok(value) => {
                let given = format_duration(value);
                self.out_of_range(&given, &format_duration(least), &format_duration(most), findings);
                None
            }
            Err(error) => self.bad_unit(&error, "a duration such as \"90s\", \"24h\" or \"1h30m\"", findings),
        }
    }

    /// A size with a unit, in bytes.
    pub(super) fn size(&self, (least, most): (u64, u64), findings: &mut Findings) -> Option<u64> {
        if let Some(number) = self.value.as_integer() {
            let text = number.as_str();
            self.error(findings, format!("{text} has no unit; write a size such as \"{text}KiB\""));
            return None;
        }
        let text = self.unit_text("\"64KiB\" or \"1MiB\"", findings)?;
        match parse_size(text) {
            Ok(value) if (least..=most).contains(&value) => Some(value),
            Ok(value) => {
                self.out_of_range(&format_size(value), &format_size(least), &format_size(most), findings);
                None
            }
            Err(error) => self.bad_unit(&error, "a size such as \"64KiB\" or \"1MiB\"", findings),
        }
    }

    fn unit_text(&self, examples: &str, findings: &mut Findings) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.wrong_type(&format!("a string with a unit, such as {examples}"), findings);
        }
        text
    }

    fn bad_unit<T>(&self, error: &UnitError, wanted: &str, findings: &mut Findings) -> Option<T> {
        self.error(findings, format!("{error}; write {wanted}"));
        None
    }

    fn out_of_range(&self, given: &str, least: &str, most: &str, findings: &mut Findings) {
        let zero = given.bytes().next() == Some(b'0');
        let why = if zero { "zero does not switch a limit off here" } else { "is out of range" };
        self.error(findings, format!("{given}: {why}; give {least} to {most}"));
    }

    /// A number from 0 to 1, in millionths.
    pub(super) fn share(&self, findings: &mut Findings) -> Option<u32> {
        let number = self.value.as_float().map(|float| float.as_str());
        let number = number.or_else(|| self.value.as_integer().map(|integer| integer.as_str()));
        let Some(number) = number.and_then(|text| text.parse::<f64>().ok()) else {
            self.wrong_type("a number from 0 to 1, without quotes", findings);
            return None;
        };
        if !(0.0..=1.0).contains(&number) {
            self.error(findings, format!("{number}: is out of range; give 0 to 1"));
            return None;
        }
        Some((number * 1e6).round() as u32)
    }

    /// A whole number.
    pub(super) fn integer(&self, (least, most): (u64, u64), findings: &mut Findings) -> Option<u64> {
        let Some(number) = self.value.as_integer() else {
            self.wrong_type("a whole number without quotes", findings);
            return None;
        };
        let value = u64::from_str_radix(number.as_str(), number.radix()).ok();
        match value {
            Some(value) if (least..=most).contains(&value) => Some(value),
            _ => {
                let given = value.map_or_else(|| number.as_str().to_owned(), |v| v.to_string());
                self.out_of_range(&shorten(&given), &least.to_string(), &most.to_string(), findings);
                None
            }
        }
    }
}

/// A type's name as a sentence has it.
fn article(found: &str) -> String {
    let an = matches!(found.bytes().next(), Some(b'a' | b'i'));
    format!("{} {found}", if an { "an" } else { "a" })
}

/// At most a few dozen characters of what a file holds, without control characters.
pub(super) fn shorten(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut out: String = text.chars().take(60).map(clean).collect();
    if text.chars().nth(60).is_some() {
        out.push('…');
    }
    out
}
