//! Responses to device-attest-01 (draft-ietf-acme-device-attest §5): the proof is in the response,
//! so that it is checked at once and settled with one commit.

use std::sync::Arc;
use std::time::Duration;

use super::objects::LoadedAuthorization;
use super::{Error, Provisioner, Service, audited, metered};
use crate::acme::challenge::ChallengeKind;
use crate::acme::error::{ErrorKind, Refusal, StoredProblem};
use crate::acme::identifier::Identifier;
use crate::acme::order::{AttestedKey, Authorization, AuthorizationStatus, Verdict};
use crate::attestation;
use crate::audit::Event;
use crate::id::{AccountId, OrderId};
use crate::jose::base64url;
use crate::jose::jwk::Thumbprint;
use crate::limits::{Limit, Source};
use crate::storage::{Batch, CommitOutcome};

fn of((order, index): (OrderId, u16), authorization: Authorization) -> LoadedAuthorization {
    LoadedAuthorization { order, index, authorization, subdomains: false, trusted: false }
}

impl Service {
    /// Checks an attestation object. A statement that proves nothing makes the challenge invalid; a
    /// challenge that is settled is answered with what it is.
    pub async fn attest(
        self: &Arc<Self>,
        terms: &Arc<Provisioner>,
        signer: (AccountId, Thumbprint),
        place: (OrderId, u16),
        object: &[u8],
        from: Source,
    ) -> Result<LoadedAuthorization, Error> {
        let kind = ChallengeKind::DeviceAttest01;
        let ((account, thumbprint), (order, index)) = (signer, place);
        let _guard = self.order_locks.of(order.as_bytes()).await;
        let mut loaded = self.load_own_order(terms, account, order).await?;
        let now = self.now();
        let authorization = loaded.order.own(index).ok_or(Error::NotFound)?;
        let challenge = authorization.challenge(kind).ok_or(Error::NotFound)?;
        let Identifier::Permanent(device) = &authorization.identifier else { return Err(Error::NotFound) };
        if !authorization.awaits(kind, now) {
            return Ok(of(place, authorization.clone()));
        }
        self.admit_attempt(account, from, now)?;
        // The configuration may have changed since the order was opened; no fault of the statement's.
        let Some(policy) = &terms.attestation else {
            return Err(Refusal::unauthorized("this provisioner attests no devices any more").into());
        };
        let token = base64url(&challenge.token);
        let key_authorization = format!("{token}.{thumbprint}");
        let ask = attestation::Ask {
            token: &token,
            key_authorization: &key_authorization,
            device: device.as_str(),
        };
        let identifier = authorization.identifier.clone();
        let (verdict, event) = match attestation::verify(object, &ask, policy, now) {
            Ok(attested) => {
                let key = attested.key.hash().0;
                tracing::info!(%order, %identifier, format = attested.format.name(), "a device is attested");
                loaded.order.details.attested.push(AttestedKey { slot: index, key });
                let event = Event::AuthorizationValid { account, order, identifier, by: kind };
                (Verdict::Proved, event)
            }
            Err(refused) => {
                let (error, detail) = (ErrorKind::BadAttestationStatement, refused.to_string());
                tracing::info!(%order, %identifier, by = kind.name(), detail, "validation failed");
                let problem = StoredProblem { kind: error, detail, identifier: Some(identifier.clone()) };
                let event = Event::AuthorizationInvalid { account, order, identifier, by: kind, error };
                (Verdict::Failed(problem), event)
            }
        };
        let Some(authorization) = loaded.order.own_mut(index) else { return Err(Error::NotFound) };
        let ended = metered::Ended::of(&verdict);
        // It holds as long as the order: it is not used again.
        if !authorization.settle(kind, verdict, now, Duration::ZERO) {
            return Err(Error::Internal("a challenge that awaits its response could not be settled".into()));
        }
        let authorization = authorization.clone();
        match self.store.commit(audited(loaded.stored_by(Batch::new()), now, event)).await? {
            CommitOutcome::Committed(_) => {
                ended.validation(&terms.name, kind);
                if authorization.status(now) == AuthorizationStatus::Invalid {
                    self.limits.charge(Limit::AccountFailures, account.as_bytes(), now);
                }
                Ok(of(place, authorization))
            }
            CommitOutcome::Conflict => Err(Error::Busy("another change of the order came first")),
        }
    }
}
