//! The settings in force, as one value that a reload replaces.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use super::Reach;
use crate::authority::authorities::{Authorities, Authority};
use crate::authority::issuer::Issuer;
use crate::id::AuthorityName;
use crate::limits::Rules;
use crate::notify::Receiver;
use crate::provisioner::acme::Terms;

/// A provisioner in force: its terms, and the authority that it issues under. A verb is handed one and
/// keeps to it: whatever a reload does meanwhile, its certificate is of one piece.
#[derive(Debug)]
pub struct Provisioner {
    terms: Terms,
    issues_under: Arc<Authority>,
    configuration: Arc<OnceLock<u64>>,
}

impl Provisioner {
    /// Joins a provisioner's terms and its authority; `None` if they name another one.
    pub fn new(terms: Terms, authority: Arc<Authority>) -> Option<Self> {
        (terms.authority == *authority.name()).then_some(Self {
            terms,
            issues_under: authority,
            configuration: Arc::default(),
        })
    }

    /// The terms alone.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The authority that it issues under.
    pub fn issues_under(&self) -> &Arc<Authority> {
        &self.issues_under
    }

    /// The number of the configuration that it is of, once that is known.
    pub fn configuration(&self) -> Option<u64> {
        self.configuration.get().copied()
    }

    /// The issuer that signs for it.
    pub fn issuer(&self) -> &Arc<Issuer> {
        self.issues_under.issuer()
    }
}

impl Deref for Provisioner {
    type Target = Terms;

    fn deref(&self) -> &Terms {
        &self.terms
    }
}

/// What a reload replaces, all at once; a verb sees one such snapshot from beginning to end.
pub struct Live {
    /// The authorities.
    pub authorities: Authorities,
    /// The one that issues this server's own certificate.
    pub own: Arc<Authority>,
    /// By name.
    pub provisioners: HashMap<String, Arc<Provisioner>>,
    /// How each of them reaches outward, by its name.
    pub reach: HashMap<String, Reach>,
    /// Attempts per challenge.
    pub attempts: u32,
    /// How much clients may ask for.
    pub limits: Rules,
    /// Who is told what is wrong in the fleet.
    pub receivers: Vec<Arc<Receiver>>,
    /// The number that the configuration is kept under, known once it is.
    configuration: Arc<OnceLock<u64>>,
}

/// A name that no authority has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no authority named {0}")]
pub struct NoSuchAuthority(pub AuthorityName);

impl Live {
    /// Joins the parts; every name of an authority must be one's.
    pub fn new(
        authorities: Authorities,
        own: &AuthorityName,
        terms: impl IntoIterator<Item = Terms>,
        reach: HashMap<String, Reach>,
        (attempts, limits): (u32, Rules),
    ) -> Result<Self, NoSuchAuthority> {
        let of = |name: &AuthorityName| {
            authorities.get(name.as_str()).cloned().ok_or_else(|| NoSuchAuthority(name.clone()))
        };
        let own = of(own)?;
        let (mut provisioners, configuration) = (HashMap::new(), Arc::<OnceLock<u64>>::default());
        for terms in terms {
            let issues_under = of(&terms.authority)?;
            provisioners.insert(
                terms.name.clone(),
                Arc::new(Provisioner { terms, issues_under, configuration: configuration.clone() }),
            );
        }
        Ok(Self {
            authorities,
            own,
            provisioners,
            reach,
            attempts,
            limits,
            receivers: Vec::new(),
            configuration,
        })
    }

    /// It is kept under that number; the first word counts.
    pub fn kept_as(&self, number: u64) {
        let _ = self.configuration.set(number);
    }

    /// The same, with these receivers.
    #[must_use]
    pub fn telling(self, receivers: impl IntoIterator<Item = Receiver>) -> Self {
        Self { receivers: receivers.into_iter().map(Arc::new).collect(), ..self }
    }
}
