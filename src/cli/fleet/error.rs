//! How a command about identities fails.

use hyper::Method;
use url::form_urlencoded::Serializer;

use crate::acme::identifier::{Identifier, IdentifierError};
use crate::cli::CliError;
use crate::cli::running::Target;
use crate::client::admin::AdminError;
use crate::wire::admin::Certificates;

/// Sets of names that are offered.
const OFFERED: usize = 5;

/// Why a command about identities failed.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// What was given is no name.
    #[error("{name}: {error}")]
    Name {
        /// What.
        name: String,
        /// Why.
        error: IdentifierError,
    },
    /// No certificate is for these names.
    #[error("no certificate of the last days is for exactly these names: {}", .names.join(" "))]
    NoIdentity {
        /// What was given.
        names: Vec<String>,
        /// Names of certificates that have some of them.
        alike: Vec<Vec<String>>,
    },
    /// What was given as an issuer is neither a key identifier nor an authority's name.
    #[error("--issuer {issuer}: neither a key identifier nor the name of an authority")]
    NoIssuer {
        /// What was given.
        issuer: String,
        /// The authorities.
        known: Vec<String>,
    },
    /// An argument is missing that the command needs.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Nothing says which certificates are meant.
    #[error("no condition says which certificates are meant")]
    NoCondition,
    /// Every certificate is asked for, and some.
    #[error("--all is every certificate, and there are conditions beside it")]
    AllAndConditions,
    /// No certificate meets the conditions.
    #[error("no certificate meets these conditions; nothing was begun")]
    NobodyToCall,
    /// The number is no campaign's.
    #[error("there is no campaign {0}; the last 200 are kept")]
    NoCampaign(u64),
}

impl FleetError {
    /// What to do about it.
    pub(in crate::cli) fn next_step(&self) -> String {
        match self {
            Self::Name { .. } => {
                "give DNS names, wildcards, addresses, or permanent-identifier:ID for a device".to_owned()
            }
            Self::NoIssuer { known, .. } => {
                format!("give 40 lower-case hexadecimal digits, or one of: {}", known.join(", "))
            }
            Self::NoCampaign(_) => "`mayfly fleet renew --list` shows those that there are".to_owned(),
            Self::Missing(argument) => format!("give {argument}; --help has examples"),
            Self::NoCondition => {
                "give --issuer, --suffix, --key-type or another condition (--help has them all), or --all if every \
                 certificate is meant"
                    .to_owned()
            }
            Self::AllAndConditions => "leave out --all, or the conditions".to_owned(),
            Self::NobodyToCall => {
                "`mayfly certs list` takes the same conditions and shows what there is".to_owned()
            }
            Self::NoIdentity { alike, .. } if alike.is_empty() => {
                "give all names of one certificate; `mayfly certs search NAME` finds it".to_owned()
            }
            Self::NoIdentity { alike, .. } => {
                let sets: Vec<String> =
                    alike.iter().map(|names| format!("\n    {}", names.join(" "))).collect();
                format!("give all names of one certificate; these have some of them:{}", sets.concat())
            }
        }
    }
}

/// What a call about a campaign came to.
pub(super) fn of_campaign<T>(number: u64, called: Result<T, CliError>) -> Result<T, CliError> {
    match called {
        Err(CliError::Admin { error: AdminError::Refused(problem), .. }) if problem.status == 404 => {
            Err(FleetError::NoCampaign(number).into())
        }
        other => other,
    }
}

/// What was given, as names.
pub(super) fn names(words: &[String]) -> Result<Vec<Identifier>, FleetError> {
    let name = |word: &String| {
        Identifier::parse_written(word).map_err(|error| FleetError::Name { name: word.clone(), error })
    };
    words.iter().map(name).collect()
}

/// That there is no identity of these names, and which ones may have been meant.
pub(super) fn unknown(target: &Target, words: &[String]) -> Result<CliError, CliError> {
    let mut alike: Vec<Vec<String>> = Vec::new();
    for word in words.iter().take(OFFERED) {
        let query =
            Serializer::new(String::new()).append_pair("name", word).append_pair("limit", "50").finish();
        let found: Certificates =
            target.call(Method::GET, &format!("/v1/certificates?{query}"), None::<&()>)?;
        for certificate in found.certificates {
            if alike.len() < OFFERED && !alike.contains(&certificate.names) {
                alike.push(certificate.names);
            }
        }
    }
    Ok(FleetError::NoIdentity { names: words.to_vec(), alike }.into())
}
