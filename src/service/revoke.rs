//! revokeCert (RFC 8555 §7.6).

use std::time::Instant;

use x509_parser::prelude::{FromDer, X509Certificate};

use super::renewal::content;
use super::{Error, Service, audited, metered};
use crate::acme::error::{ErrorKind, Refusal};
use crate::audit::Event;
use crate::authority::blocked::Blocker;
use crate::authority::certificate::{CertificateRecord, Revocation, Revoker};
use crate::id::AccountId;
use crate::jose::jwk::Jwk;
use crate::provisioner::Requester;
use crate::provisioner::acme::Terms;
use crate::storage::codec::Record;
use crate::storage::{Batch, CommitOutcome, Expect, Table, inventory};
use crate::x509::key_hash::KeyHash;
use crate::x509::serial::Serial;

/// Who signed the request.
pub enum Asker<'a> {
    /// An account.
    Account(AccountId),
    /// A key; it must be the certificate's.
    Key(&'a Jwk),
}

/// Reasons that a subscriber may give (RFC 5280 §5.3.1): unspecified, keyCompromise,
/// affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn.
const REASONS: [u8; 6] = [0, KEY_COMPROMISE, 3, 4, 5, 9];

/// Whoever gives this reason has the key blocked in the same commit (RFC 8555 §7.6).
const KEY_COMPROMISE: u8 = 1;

impl Service {
    /// Revokes a certificate of ours.
    pub async fn revoke(
        &self,
        terms: &Terms,
        asker: Asker<'_>,
        certificate: &[u8],
        reason: Option<u64>,
    ) -> Result<(), Error> {
        let begun = Instant::now();
        let outcome = self.revoke_certificate(terms, asker, certificate, reason).await;
        metered::revocation(&terms.name, reason, begun, outcome)
    }

    async fn revoke_certificate(
        &self,
        terms: &Terms,
        asker: Asker<'_>,
        certificate: &[u8],
        reason: Option<u64>,
    ) -> Result<(), Error> {
        let reason = match reason {
            None => None,
            Some(code) => match u8::try_from(code).ok().filter(|code| REASONS.contains(code)) {
                Some(code) => Some(code),
                None => {
                    let detail = "reason: accepted are 0, 1, 3, 4, 5 and 9";
                    return Err(Refusal::new(ErrorKind::BadRevocationReason, detail).into());
                }
            },
        };
        let (serial, spki) = read(certificate)?;
        let unknown = || Refusal::malformed("certificate: it was not issued by this server");
        let serial = serial.ok_or_else(unknown)?;
        let row = self.store.get(Table::Certificates, serial.as_bytes()).await?.ok_or_else(unknown)?;
        let mut record = CertificateRecord::decode(&row.value)?;
        if record.der != certificate {
            return Err(unknown().into());
        }
        let by = self.revoker(terms, asker, &record, &spki).await?;
        let now = self.now();
        if record.revocation.is_some() {
            return Err(Refusal::new(ErrorKind::AlreadyRevoked, "the certificate is revoked already").into());
        }
        if now >= record.not_after {
            return Err(Refusal::malformed("certificate: it has expired").into());
        }
        record.revocation = Some(Revocation { at: now, reason, by: by.clone() });
        let key = *serial.as_bytes();
        let batch = Batch::new()
            .expect(Table::Certificates, key, Expect::Is(row.version))
            .put(Table::Certificates, key, record.encode())
            .put(Table::CertificateIndex, inventory::revoked_row(&serial), Vec::new());
        let batch = match reason {
            Some(KEY_COMPROMISE) => {
                self.blocked_by(batch, KeyHash::of(&spki), Blocker::Revocation(serial), now).await?
            }
            Some(_) | None => batch,
        };
        let event = Event::CertificateRevoked { serial, by: by.clone(), reason };
        match self.store.commit(audited(batch, now, event)).await? {
            CommitOutcome::Committed(_) => {
                self.leaves.revoked(serial, &record, now);
                if let Some(content) = record.content() {
                    self.fleet.revoked(&serial, &content);
                }
                tracing::info!(%serial, ?by, ?reason, "certificate revoked");
                Ok(())
            }
            // Revoked meanwhile, as a rule; who asks again hears it.
            CommitOutcome::Conflict => Err(Error::Busy("another change of the certificate came first")),
        }
    }

    async fn revoker(
        &self,
        terms: &Terms,
        asker: Asker<'_>,
        record: &CertificateRecord,
        spki: &[u8],
    ) -> Result<Revoker, Error> {
        // What was not issued by ACME is not revoked by ACME; and only at its own provisioner.
        let owner = match &record.requester {
            Requester::Acme { account, provisioner, .. } if *provisioner == terms.name => *account,
            // RFC 8739 §3.1.2, whoever asks.
            Requester::AutoRenewal { provisioner, .. } if *provisioner == terms.name => {
                let detail = "the certificate is renewed automatically: cancel its order instead";
                return Err(Refusal::new(ErrorKind::AutoRenewalRevocationNotSupported, detail).into());
            }
            Requester::Acme { .. } | Requester::AutoRenewal { .. } | Requester::Own | Requester::Ceremony => {
                return Err(
                    Refusal::unauthorized("the certificate was not issued by this provisioner").into()
                );
            }
        };
        match asker {
            Asker::Key(key) if key.spki().der() == spki => Ok(Revoker::Key),
            Asker::Key(_) => {
                Err(Refusal::unauthorized("the request is not signed with the certificate's key").into())
            }
            Asker::Account(account) if account == owner => Ok(Revoker::Owner(account)),
            Asker::Account(account) => {
                let now = self.now();
                for identifier in &content(record)?.identifiers {
                    if !self.holds_proof(terms, account, identifier, now).await? {
                        let detail = format!(
                            "the account neither owns the certificate nor holds an authorization for {identifier}"
                        );
                        return Err(Refusal::unauthorized(detail).into());
                    }
                }
                Ok(Revoker::Authorized(account))
            }
        }
    }
}

/// A certificate's serial number, if it can be one of ours, and its key.
fn read(der: &[u8]) -> Result<(Option<Serial>, Vec<u8>), Refusal> {
    let malformed = || Refusal::malformed("certificate: it is not a DER-encoded certificate");
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| malformed())?;
    if !rest.is_empty() {
        return Err(malformed());
    }
    let names = certificate.subject_alternative_name().map_err(|_| malformed())?;
    // Without a name every account would hold authorizations for "all" of them. What ACME issued has
    // some; a CA's certificate has none.
    if names.is_none_or(|names| names.value.general_names.is_empty()) {
        let detail = "certificate: it was not issued by this server to an ACME account: it has no such names";
        return Err(Refusal::malformed(detail));
    }
    Ok((Serial::from_bytes(certificate.raw_serial()), certificate.public_key().raw.to_vec()))
}
