//! Each provisioner's way outward, out of the settings.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::authority::authorities::Authorities;
use crate::config::Problem;
use crate::config::settings::{Notify, NotifyType, Provisioner, Settings, Validation};
use crate::fleet::notices;
use crate::http::acme::account_prefixes;
use crate::notify::{Kind, Place, Receiver};
use crate::provisioner::outward::Outward;
use crate::service::{Live, Prove, Reach};
use crate::storage::BoxFuture;
use crate::validation::{Ask, CaaAsk, Consent, Error, Outcome, Rules, Validator};

impl Prove for Validator {
    fn prove<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Outcome> {
        Box::pin(self.validate(ask))
    }

    fn consent<'a>(&'a self, ask: &'a CaaAsk) -> BoxFuture<'a, Consent> {
        Box::pin(Validator::consent(self, ask))
    }
}

/// What a reload replaces; `address` is where this server listens.
pub(super) fn live(
    settings: &Settings,
    authorities: Authorities,
    address: SocketAddr,
) -> Result<Live, Problem> {
    let whole = |key: &str, message: String| Problem { line: None, key: key.to_owned(), message };
    let reach = reach(settings, address).map_err(|error| whole("validation", error.to_string()))?;
    let terms = settings.provisioners.iter().map(|Provisioner::Acme(acme)| acme.clone());
    let rest = (settings.validation.attempts, settings.limits.clone());
    let live = Live::new(authorities, &settings.server.authority, terms, reach, rest)
        .map_err(|error| whole("authority", error.to_string()))?;
    Ok(live.telling(receivers(settings)?))
}

/// Who is told what is wrong in the fleet; the files that `[[notify]]` names are looked at.
pub fn receivers(settings: &Settings) -> Result<Vec<Receiver>, Problem> {
    let one = |(i, notify): (usize, &Notify)| {
        let Notify { kind, repeat, send_resolved, individual, .. } = *notify;
        let kind = match kind {
            NotifyType::Webhook => Kind::Webhook,
            NotifyType::Alertmanager => Kind::Alertmanager,
        };
        let place = Place {
            name: notify.name.clone(),
            kind,
            url: notify.url.clone(),
            ca: notify.ca.clone(),
            token_file: notify.token_file.clone(),
            secret_file: notify.secret_file.clone(),
            timeout: notify.timeout,
        };
        let terms = notices::Terms { repeat, send_resolved, individual };
        Receiver::new(&place, terms, &settings.server.base_url).map_err(|message| Problem {
            line: None,
            key: format!("notify[{i}]"),
            message,
        })
    };
    settings.notify.iter().enumerate().map(one).collect()
}

fn reach(settings: &Settings, address: SocketAddr) -> Result<HashMap<String, Reach>, Error> {
    let mut reach = HashMap::new();
    let mut validators = Validators::default();
    for Provisioner::Acme(acme) in &settings.provisioners {
        let prover = validators.of(rules(&settings.validation, &acme.outward, address))?;
        let (account_urls, account_hash_prefix) = account_prefixes(&settings.server.base_url, &acme.name);
        reach.insert(acme.name.clone(), Reach { prover, account_urls, account_hash_prefix });
    }
    Ok(reach)
}

/// What a provisioner's validator goes by: the server's rules, but for what it sets itself.
fn rules(validation: &Validation, own: &Outward, address: SocketAddr) -> Rules {
    Rules {
        resolvers: own.resolvers.as_ref().unwrap_or(&validation.resolvers).clone(),
        http_port: own.http_port.unwrap_or(validation.http_port),
        tls_alpn_port: own.tls_alpn_port.unwrap_or(validation.tls_alpn_port),
        allow: own.allow.as_ref().unwrap_or(&validation.allow).clone(),
        deny: own.deny.as_ref().unwrap_or(&validation.deny).clone(),
        own_listeners: vec![address],
        timeout: validation.timeout,
    }
}

/// One validator for all provisioners of the same rules: one resolver's sockets, and one bound on the
/// lookups under way.
#[derive(Default)]
struct Validators(Vec<(Rules, Arc<Validator>)>);

impl Validators {
    fn of(&mut self, rules: Rules) -> Result<Arc<Validator>, Error> {
        if let Some((_, known)) = self.0.iter().find(|(known, _)| *known == rules) {
            return Ok(known.clone());
        }
        let made = Arc::new(Validator::new(rules.clone())?);
        self.0.push((rules, made.clone()));
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const FILE: &str = r#"
[server]
address = "127.0.0.1:9443"
dns_names = ["ca.test"]

[validation]
resolvers = ["10.0.0.53:53"]
http_port = 8080
allow = ["127.0.0.1"]
deny = ["10.9.0.0/16"]
timeout = "3s"

[[provisioner]]
type = "acme"
name = "one"

[[provisioner]]
type = "acme"
name = "two"

[[provisioner]]
type = "acme"
name = "inside"
validation = { resolvers = ["10.1.0.53:53"], deny = [] }

[[provisioner]]
type = "acme"
name = "same"
validation = { http_port = 8080 }
"#;

    fn settings() -> Settings {
        crate::config::parse(FILE, Path::new(".")).settings.unwrap()
    }

    #[test]
    fn what_a_provisioner_sets_stands_in_for_the_server_s_and_nothing_else_does() {
        let settings = settings();
        let address = "127.0.0.1:9443".parse().unwrap();
        let own: Vec<Rules> = settings
            .provisioners
            .iter()
            .map(|Provisioner::Acme(acme)| rules(&settings.validation, &acme.outward, address))
            .collect();
        let [one, two, inside, same] = own.as_slice() else { panic!() };
        assert_eq!((one, one), (two, same));
        let resolvers = vec!["10.1.0.53:53".parse().unwrap()];
        assert_eq!(*inside, Rules { resolvers, deny: Vec::new(), ..one.clone() });
        assert_eq!((one.http_port, one.tls_alpn_port), (8080, 443));
        assert_eq!(one.own_listeners, [address], "stronger than any allow");
    }

    #[tokio::test]
    async fn equal_rules_share_one_validator() {
        let reach = reach(&settings(), "127.0.0.1:9443".parse().unwrap()).unwrap();
        let of = |name: &str| Arc::as_ptr(&reach[name].prover).cast::<()>();
        assert_eq!((of("one"), of("one")), (of("two"), of("same")));
        assert_ne!(of("one"), of("inside"));
        assert_eq!(reach.len(), 4);
    }

    #[test]
    fn account_urls_are_the_front_end_s() {
        let reach = reach(&settings(), "127.0.0.1:9443".parse().unwrap()).unwrap();
        let account = crate::id::AccountId::new([7; 16]);
        let url = reach["inside"].account_url(account);
        assert_eq!(url, format!("https://ca.test:9443/acme/inside/account/{account}"));
    }
}
