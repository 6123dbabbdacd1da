//! The names that a role lets be asked for.

use super::super::patterns::emails;
use super::super::render::Lists;
use super::Role;
use crate::policy::MOST_ENTRIES;
use crate::policy::import::Bearing;
use crate::policy::pattern::{DnsPattern, EmailPattern, TextPattern};
use crate::policy::value::shorten;

/// Which forms of a domain are names.
#[derive(Clone, Copy)]
struct Modes {
    bare: bool,
    subdomains: bool,
    globs: bool,
}

/// What is listed so far.
#[derive(Default)]
struct Names {
    dns: Vec<String>,
    email: Vec<String>,
}

impl Names {
    /// A name, what is below it, and the mailboxes there.
    fn add(&mut self, host: &str, bare: bool, below: bool) {
        for front in [bare.then_some(""), below.then_some("*.")].into_iter().flatten() {
            self.dns.push(format!("{front}{host}"));
            self.email.push(format!("@{front}{host}"));
        }
    }
}

impl Role<'_, '_> {
    /// DNS names and email addresses, which one list of domains is for, and common names, which are one or
    /// the other.
    pub(super) fn names(&mut self) -> Lists {
        let wildcards = self.flag("allow_wildcard_certificates", true);
        let modes = Modes {
            bare: self.flag("allow_bare_domains", false),
            subdomains: self.flag("allow_subdomains", false),
            globs: self.flag("allow_glob_domains", false),
        };
        let mut names = Names::default();
        if self.flag("allow_localhost", true) {
            for host in ["localhost", "localdomain"] {
                names.add(host, true, modes.subdomains);
            }
        }
        self.domains(modes, &mut names);
        let any = self.flag("allow_any_name", false);
        if any {
            names = Names { dns: vec!["*".to_owned()], email: vec!["*@*".to_owned()] };
        }
        if !self.flag("enforce_hostnames", true) {
            let text = "only host names are certified here, whatever a policy says";
            self.note(Bearing::Narrower, "enforce_hostnames", text);
        }
        let Names { dns, email } = names;
        let dns = self.reader.listed("allowed_domains", dns, |text| DnsPattern::parse(text, wildcards));
        let email = self.reader.listed("allowed_domains", email, EmailPattern::parse);
        let principals = self.principals(any, &dns, &email);
        Lists {
            dns: Some(dns),
            wildcards,
            email: Some(email),
            principals: Some(principals),
            ..Lists::default()
        }
    }

    fn domains(&mut self, modes: Modes, names: &mut Names) {
        const FIELD: &str = "allowed_domains";
        let domains = self.list(FIELD).unwrap_or_default();
        let template = self.flag("allowed_domains_template", false);
        if self.flag("allow_globs_in_identity_templates", false) {
            let text = "policies know no identities to fill templates from";
            self.note(Bearing::Narrower, "allow_globs_in_identity_templates", text);
        }
        if !(domains.is_empty() || modes.bare || modes.subdomains || modes.globs) {
            let text = "means nothing: neither bare domains nor subdomains nor globs are allowed";
            self.note(Bearing::Nothing, FIELD, text);
        }
        // Case is nothing to a name.
        for domain in domains.iter().map(|domain| domain.to_ascii_lowercase()) {
            let shown = shorten(&domain);
            if template && domain.contains("{{") {
                let text = format!("{shown:?} is a template, and is left out; write rules with `when`");
                self.note(Bearing::Narrower, FIELD, text);
            } else if !domain.contains('*') {
                names.add(&domain, modes.bare, modes.subdomains);
            } else if modes.globs {
                // Over whole names and whole addresses.
                match emails(&domain) {
                    Ok(entries) => names.email.extend(entries),
                    Err((bearing, why)) => self.note(bearing, FIELD, format!("{shown:?} {why}")),
                }
                names.dns.push(domain);
            } else {
                let text =
                    format!("{shown:?} has a star, which is none without allow_glob_domains; left out");
                self.note(Bearing::Narrower, FIELD, text);
            }
        }
    }

    fn principals(&mut self, any: bool, dns: &[String], email: &[String]) -> Vec<String> {
        if self.flag("require_cn", true) {
            let text = "nothing here asks for a common name; a profile may give one";
            self.note(Bearing::Wider, "require_cn", text);
        }
        let checks = self.list("cn_validations").unwrap_or_else(|| vec!["email".into(), "hostname".into()]);
        let is = |kind: &str| checks.iter().any(|check| check == kind);
        if dns.len() + email.len() > MOST_ENTRIES / 2 {
            let text = "any, since the list is long; those that look like a host name are judged as one";
            self.note(Bearing::Wider, "cn_validations", text);
            return vec!["*".to_owned()];
        }
        if is("disabled") {
            let text = "a common name that looks like a host name is judged as one all the same";
            self.note(Bearing::Narrower, "cn_validations", text);
            return vec!["*".to_owned()];
        }
        if any {
            let text = "a common name need not be a host name or an address";
            self.note(Bearing::Wider, "cn_validations", text);
            return vec!["*".to_owned()];
        }
        for unknown in checks.iter().filter(|check| !["email", "hostname"].contains(&check.as_str())) {
            let text = format!("{:?} is no validation that this import knows", shorten(unknown));
            self.reader.note(Bearing::Wider, "cn_validations", text);
        }
        if dns.iter().chain(email).any(|entry| entry.contains('*') || entry.starts_with('@')) {
            let text = "a common name is compared as a text, and a star in it stands for any characters";
            self.note(Bearing::Wider, "cn_validations", text);
        }
        let mut texts: Vec<String> = Vec::new();
        if is("hostname") {
            texts.extend(dns.iter().cloned());
        }
        if is("email") {
            let whole =
                |entry: &String| if entry.starts_with('@') { format!("*{entry}") } else { entry.clone() };
            texts.extend(email.iter().map(whole));
        }
        self.reader.listed("cn_validations", texts, TextPattern::parse)
    }
}
