//! What the benches share: a CA in memory whose every challenge is proved.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mayfly::acme::challenge::ChallengeKind;
use mayfly::authority::authorities::{Authorities, Authority};
use mayfly::authority::issuer::Issuer;
use mayfly::authority::realm::Realm;
use mayfly::authority::signer::Signer;
use mayfly::entropy::{Entropy, SystemEntropy};
use mayfly::id::AuthorityName;
use mayfly::keystore::file::{FileKey, KeyKind};
use mayfly::limits::Rules;
use mayfly::provisioner::acme::Terms;
use mayfly::service::ceremony::{CeremonyPlan, create_hierarchy};
use mayfly::service::{Live, Prove, Reach, Service};
use mayfly::storage::{Backend, BoxFuture, open};
use mayfly::time::{Clock, SystemClock};
use mayfly::validation::{Ask, CaaAsk, Consent, Outcome};

struct AlwaysProved;

impl Prove for AlwaysProved {
    fn prove<'a>(&'a self, _: &'a Ask) -> BoxFuture<'a, Outcome> {
        Box::pin(async { Outcome::Proved })
    }

    fn consent<'a>(&'a self, _: &'a CaaAsk) -> BoxFuture<'a, Consent> {
        Box::pin(async { Consent::Permitted })
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
    // Nothing is proved twice: each order is the same work.
    let terms = Terms {
        challenges: vec![ChallengeKind::Http01],
        authorization_ttl: Duration::ZERO,
        ..Terms::named("acme")
    };
    let reach = Reach {
        prover: Arc::new(AlwaysProved),
        account_urls: "https://ca.test/acme/acme/account/".into(),
        account_hash_prefix: "https://ca.test/acme/acme/account-hash/".into(),
    };
    let authority = Authority::new(Realm::default(), issuer, Vec::new(), vec![made.root_der], DAY * 30);
    let authorities = Authorities::new(vec![authority]).expect("one authority");
    let reach = HashMap::from([("acme".to_owned(), reach)]);
    let live = Live::new(authorities, &AuthorityName::default(), [terms], reach, (1, Rules::default()));
    Arc::new(Service::new(store, clock, entropy, live.expect("its authority")))
}
