//! The verdict of one policy.

use std::fmt::Display;
use std::net::IpAddr;

use super::pattern::Pattern;
use super::value::{Attribute, DnsValue, Email, Key, Lasting, Named, Uri};
use super::{
    Cause, Conditions, Context, Effect, Facts, Field, Lists, NotUnderstood, Policy, Reason, Rule, Verdict,
};

impl Conditions {
    /// Whether they name `context`; a list that is absent names everybody.
    fn hold(&self, context: &Context) -> bool {
        let held = |list: &Option<Vec<String>>, value: Option<&str>| match (list, value) {
            (None, _) => true,
            (Some(list), Some(value)) => list.iter().any(|entry| entry == value),
            (Some(_), None) => false,
        };
        held(&self.authority, context.authority.as_deref())
            && held(&self.provisioner, context.provisioner.as_deref())
            && held(&self.account, context.account.as_deref())
            && held(&self.eab_key, context.eab_key.as_deref())
            && held(&self.profile, context.profile.as_deref())
            && held(&self.requester, Some(context.requester.name()))
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Rule {
    fn applies(&self, context: &Context) -> bool {
        self.when.hold(context) && (self.unless.is_empty() || !self.unless.hold(context))
    }

    fn line(&self) -> u32 {
        u32::try_from(self.line).unwrap_or(u32::MAX)
    }
}

impl Policy {
    /// Judges a certificate, or a request, by its facts; what could not be read is refused.
    pub fn judge(&self, facts: &Result<Facts, NotUnderstood>, context: &Context) -> Verdict {
        match facts {
            Ok(facts) => self.judge_facts(facts, context),
            Err(error) => {
                let cause = Cause::Unknown(error.to_string());
                let value = error.field.to_owned();
                let reason = Reason { policy: self.name.clone(), field: Field::Form, value, cause };
                Verdict { reasons: vec![reason] }
            }
        }
    }

    /// How many rules it has.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// The conditions that its rules have, by their keys: of these, a verdict depends on whom it is for.
    pub fn conditions(&self) -> Vec<&'static str> {
        type Named = fn(&Conditions) -> bool;
        let all: [(&'static str, Named); 6] = [
            ("authority", |conditions| conditions.authority.is_some()),
            ("provisioner", |conditions| conditions.provisioner.is_some()),
            ("account", |conditions| conditions.account.is_some()),
            ("eab_key", |conditions| conditions.eab_key.is_some()),
            ("profile", |conditions| conditions.profile.is_some()),
            ("requester", |conditions| conditions.requester.is_some()),
        ];
        let named = |has: Named| self.rules.iter().any(|rule| has(&rule.when) || has(&rule.unless));
        all.into_iter().filter(|(_, has)| named(*has)).map(|(key, _)| key).collect()
    }

    /// The kinds that it has rules for and that `facts` says nothing of.
    pub fn unjudged(&self, facts: &Facts) -> Vec<&'static str> {
        type Listed = fn(&Lists) -> bool;
        let kinds: [(bool, &'static str, Listed); 9] = [
            (facts.keys.is_some(), "keys", |lists| lists.keys.is_some()),
            (facts.lifetime.is_some(), "lifetime", |lists| lists.lifetime.is_some()),
            (facts.backdate.is_some(), "backdate", |lists| lists.backdate.is_some()),
            (facts.eku.is_some(), "eku", |lists| lists.eku.is_some()),
            (facts.key_usage.is_some(), "key_usage", |lists| lists.key_usage.is_some()),
            (facts.signatures.is_some(), "signatures", |lists| lists.signatures.is_some()),
            (facts.issuers.is_some(), "issuers", |lists| lists.issuers.is_some()),
            (facts.extensions.is_some(), "extensions", |lists| lists.extensions.is_some()),
            (facts.ca.is_some(), "ca", |lists| lists.ca),
        ];
        let listed = |has: Listed| self.rules.iter().any(|rule| has(&rule.lists));
        kinds.into_iter().filter(|(known, _, has)| !known && listed(*has)).map(|(_, key, _)| key).collect()
    }

    fn judge_facts(&self, facts: &Facts, context: &Context) -> Verdict {
        let mut judge = Judge { policy: self, context, applying: Vec::new(), reasons: Vec::new() };
        judge.applying = self.rules.iter().map(|rule| rule.applies(context)).collect();
        judge.field(Field::Dns, &facts.dns, |lists| lists.dns.as_deref());
        judge.field::<IpAddr, _>(Field::Ip, &facts.ip, |lists| lists.ip.as_deref());
        judge.field::<Uri, _>(Field::Uri, &facts.uri, |lists| lists.uri.as_deref());
        judge.field::<Email, _>(Field::Email, &facts.email, |lists| lists.email.as_deref());
        judge.field::<String, _>(Field::Device, &facts.devices, |lists| lists.devices.as_deref());
        judge.field::<String, _>(Field::Principal, &facts.principals, |lists| lists.principals.as_deref());
        judge.field::<Attribute, _>(Field::Subject, &facts.subject, |lists| lists.subject.as_deref());
        judge.field::<Key, _>(Field::Key, &facts.keys, |lists| lists.keys.as_deref());
        judge.field::<Lasting, _>(Field::Lifetime, &facts.lifetime, |lists| lists.lifetime.as_deref());
        judge.field::<Lasting, _>(Field::Backdate, &facts.backdate, |lists| lists.backdate.as_deref());
        judge.field::<Named, _>(Field::ExtendedKeyUsage, &facts.eku, |lists| lists.eku.as_deref());
        judge.field::<Named, _>(Field::KeyUsage, &facts.key_usage, |lists| lists.key_usage.as_deref());
        judge.field::<Named, _>(Field::Signature, &facts.signatures, |lists| lists.signatures.as_deref());
        judge.field::<String, _>(Field::Issuer, &facts.issuers, |lists| lists.issuers.as_deref());
        judge.field::<Named, _>(Field::Extension, &facts.extensions, |lists| lists.extensions.as_deref());
        judge.wildcards(facts.dns.as_deref().unwrap_or_default());
        if facts.ca == Some(true) {
            judge.ca();
        }
        Verdict { reasons: judge.reasons }
    }
}

struct Judge<'a> {
    policy: &'a Policy,
    context: &'a Context,
    /// Which of the rules apply.
    applying: Vec<bool>,
    reasons: Vec<Reason>,
}

impl<'a> Judge<'a> {
    fn rules(&self, effect: Effect) -> impl Iterator<Item = (&'a Rule, bool)> {
        let applying = self.applying.clone();
        self.policy.rules.iter().zip(applying).filter(move |(rule, _)| rule.effect == effect)
    }

    /// Deny rules first: they win. Then, if any allow rule lists this kind, whoever it is for, one that
    /// applies must cover the value.
    fn field<V: Display, P: Pattern<V> + 'a>(
        &mut self,
        field: Field,
        values: &Option<Vec<V>>,
        list: impl Fn(&'a Lists) -> Option<&'a [P]>,
    ) {
        for value in values.iter().flatten() {
            let denied = self.rules(Effect::Deny).filter(|(_, applies)| *applies).find_map(|(rule, _)| {
                let entry = list(&rule.lists)?.iter().find(|entry| entry.touches(value))?;
                Some(Cause::Denied(rule.name.clone(), rule.line(), entry.to_string()))
            });
            let cause = denied.or_else(|| {
                let listing = || self.rules(Effect::Allow).filter(|(rule, _)| list(&rule.lists).is_some());
                let covered = listing().any(|(rule, applies)| {
                    applies && list(&rule.lists).into_iter().flatten().any(|entry| entry.covers(value))
                });
                (!covered && listing().next().is_some()).then(|| uncovered(listing().collect()))
            });
            if let Some(cause) = cause {
                self.refuse(field, value.to_string(), cause);
            }
        }
    }

    fn wildcards(&mut self, names: &[DnsValue]) {
        for name in names.iter().filter(|name| name.wildcard) {
            let denying = self.rules(Effect::Deny).find(|(rule, applies)| *applies && rule.lists.wildcards);
            if let Some((rule, _)) = denying {
                let cause = Cause::Denied(rule.name.clone(), rule.line(), "wildcards".to_owned());
                self.refuse(Field::Dns, name.to_string(), cause);
            }
        }
    }

    fn ca(&mut self) {
        let allowing = self.rules(Effect::Allow).any(|(rule, applies)| applies && rule.lists.ca);
        if !allowing {
            let rules = self.rules(Effect::Allow).filter(|(rule, _)| rule.lists.ca);
            let cause = uncovered(rules.collect());
            self.refuse(Field::Ca, "CA".to_owned(), cause);
        } else if self.context.requester != super::Who::Ceremony {
            let cause = Cause::Never("only the operator makes CA certificates".to_owned());
            self.refuse(Field::Ca, "CA".to_owned(), cause);
        }
    }

    fn refuse(&mut self, field: Field, value: String, cause: Cause) {
        self.reasons.push(Reason { policy: self.policy.name.clone(), field, value, cause });
    }
}

/// Names a few of the rules that list a kind, those that apply first.
fn uncovered(mut rules: Vec<(&Rule, bool)>) -> Cause {
    const NAMED: usize = 3;
    rules.sort_by_key(|(_, applies)| !applies);
    let more = rules.len().saturating_sub(NAMED);
    let named =
        rules.into_iter().take(NAMED).map(|(rule, applies)| (rule.name.clone(), rule.line(), applies));
    Cause::Uncovered(named.collect(), u32::try_from(more).unwrap_or(u32::MAX))
}
