//! How a provisioner's validations reach outward, and what they know of the account: values that the
//! composition root derives from the configuration, so that no verb prints a URL.

use std::sync::Arc;

use super::Live;
use crate::acme::challenge::ChallengeKind;
use crate::acme::identifier::Identifier;
use crate::id::AccountId;
use crate::jose::jwk::Thumbprint;
use crate::provisioner::acme::Terms;
use crate::storage::BoxFuture;
use crate::time::Timestamp;
use crate::validation::{Ask, CaaAsk, Consent, Outcome, Persist};

/// Checks challenges and CAA records; what validation offers to the verbs.
pub trait Prove: Send + Sync {
    /// One attempt.
    fn prove<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Outcome>;

    /// What the CAA records of one name say.
    fn consent<'a>(&'a self, ask: &'a CaaAsk) -> BoxFuture<'a, Consent>;
}

/// One provisioner's way outward.
#[derive(Clone)]
pub struct Reach {
    /// Its validator.
    pub prover: Arc<dyn Prove>,
    /// How its accounts' URLs begin; an account's id ends them.
    pub account_urls: String,
    /// How hashed account URIs begin (draft-ietf-acme-dns-persist §4.1).
    pub account_hash_prefix: String,
}

impl Live {
    /// How the provisioner of that name reaches outward.
    pub fn reach(&self, provisioner: &str) -> Option<&Reach> {
        self.reach.get(provisioner)
    }
}

/// What is to be proved, by whom and how.
pub(super) struct Subject {
    pub(super) identifier: Identifier,
    pub(super) kind: ChallengeKind,
    pub(super) token: String,
    pub(super) account: AccountId,
    pub(super) thumbprint: Thumbprint,
}

impl Reach {
    /// The URL of an account, as the front end prints it.
    pub fn account_url(&self, account: AccountId) -> String {
        format!("{}{account}", self.account_urls)
    }

    /// What the validator is asked.
    pub(super) fn ask(&self, terms: &Terms, subject: Subject, now: Timestamp) -> Ask {
        let Subject { identifier, kind, token, account, thumbprint } = subject;
        let persist = (kind == ChallengeKind::DnsPersist01).then(|| Persist {
            issuer_domains: terms.issuer_domains.clone(),
            account_hash_prefix: self.account_hash_prefix.clone(),
            thumbprint: thumbprint.to_string(),
        });
        Ask {
            identifier,
            challenge: kind,
            key_authorization: format!("{token}.{thumbprint}"),
            token,
            account_url: self.account_url(account),
            persist,
            caa: terms.caa.then(|| terms.caa_identities.clone()),
            now,
        }
    }
}
