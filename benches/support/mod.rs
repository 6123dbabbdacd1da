//! What the benches share: a CA in memory whose every challenge is proved.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mayfly::acme::challenge::ChallengeKind;
use mayfly::acme::order::Lifetimes;
use mayfly::authority::issuer::Issuer;
use mayfly::authority::signer::Signer;
use mayfly::entropy::{Entropy, SystemEntropy};
use mayfly::keystore::file::{FileKey, KeyKind};
use mayfly::provisioner::acme::Terms;
use mayfly::service::ceremony::{CeremonyPlan, create_hierarchy};
use mayfly::service::{Live, Prove, Service};
use mayfly::storage::{Backend, BoxFuture, open};
use mayfly::time::{Clock, SystemClock};
use mayfly::validation::{Ask, Outcome};

struct AlwaysProved;

impl Prove for AlwaysProved {
    fn prove<'a>(&'a self, _: &'a Ask) -> BoxFuture<'a, Outcome> {
        Box::pin(async { Outcome::Proved })
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A hierarchy and the service over it, with the store in memory or (`Some`) in a directory.
pub async fn service(home: &Path, backend: Backend) -> Arc<Service> {
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::default());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let key = |name: &str, kind| -> Arc<dyn Signer> {
        Arc::new(FileKey::generate(&home.join(name), kind, None, &*entropy).expect("a key"))
    };
    let (root, intermediate) = (key("root", KeyKind::P384), key("intermediate", KeyKind::P256));
    let store = open(backend, &home.join("db")).expect("a store");
    let plan =
        CeremonyPlan { name: "Bench".into(), root_lifetime: DAY * 3650, intermediate_lifetime: DAY * 365 };
    let made = create_hierarchy(&*store, &*clock, &*entropy, root, intermediate.clone(), &plan)
        .await
        .expect("a hierarchy");
    let issuer = Issuer::new(made.intermediate_der, &[], intermediate).expect("an issuer");
    let terms = Terms {
        name: "acme".into(),
        challenges: vec![ChallengeKind::Http01],
        lifetimes: Lifetimes { default: DAY, min: Duration::from_secs(300), max: DAY },
        allow: Vec::new(),
        deny: Vec::new(),
        wildcards: true,
        max_names: 100,
        order_ttl: Duration::from_secs(7200),
        authorization_ttl: Duration::ZERO,
        terms_of_service: None,
        website: None,
        auto_renewal: None,
    };
    let live = Live {
        provisioners: HashMap::from([("acme".to_owned(), Arc::new(terms))]),
        prover: Arc::new(AlwaysProved),
        attempts: 1,
    };
    Arc::new(Service::new(store, clock, entropy, Arc::new(issuer), live))
}
