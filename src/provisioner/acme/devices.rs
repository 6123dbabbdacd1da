//! Terms for devices: who may be asked for, and which key may be certified.

use std::collections::BTreeSet;

use super::Terms;
use crate::acme::challenge::ChallengeKind;
use crate::acme::error::{ErrorKind, Refusal};
use crate::acme::identifier::{Identifier, PermanentId};
use crate::acme::order::{Order, Slot};
use crate::x509::csr::Csr;

impl Terms {
    pub(super) fn allows_device(&self, device: &PermanentId) -> Result<(), String> {
        match &self.attestation {
            Some(policy) if self.challenges.contains(&ChallengeKind::DeviceAttest01) => {
                if policy.allows(device.as_str()) {
                    Ok(())
                } else {
                    Err("the device is not covered by this provisioner's allow_devices".into())
                }
            }
            Some(_) | None => Err("this provisioner certifies no devices".into()),
        }
    }

    /// Where no devices are attested their type of identifier is not known at all: their subproblems
    /// become `unsupportedIdentifier`, and with them the refusal, if all of it is of that kind.
    pub fn unsupported(&self, mut refusal: Refusal) -> Refusal {
        if self.attestation.is_some() {
            return refusal;
        }
        for problem in &mut refusal.subproblems {
            if problem.identifier.0 == "permanent-identifier" {
                problem.kind = ErrorKind::UnsupportedIdentifier;
            }
        }
        if let Some((first, rest)) = refusal.subproblems.split_first() {
            let one_kind = rest.iter().all(|other| other.kind == first.kind);
            refusal.kind = if one_kind { first.kind } else { ErrorKind::Malformed };
        }
        refusal
    }
}

/// Every device of the order was attested to hold the CSR's key, in this very order.
pub(super) fn check_keys(order: &Order, csr: &Csr) -> Result<(), Refusal> {
    let mut fingerprint = None;
    // By slot, as the keys are kept: names may share a proof, and then come in another number.
    let slots = order.slots.iter().map(Slot::identifier).enumerate();
    for (index, device) in slots.filter(|(_, identifier)| identifier.is_device()) {
        let Some(attested) = order.attested_key(index) else {
            let detail = format!("no key was attested for {device} in this order");
            return Err(Refusal::unauthorized(detail));
        };
        if fingerprint.get_or_insert_with(|| csr.key().hash().0) != attested {
            let detail = format!("the CSR's key is not the one that was attested for {device}");
            return Err(Refusal::new(ErrorKind::BadCsr, detail));
        }
    }
    Ok(())
}

/// Whether a common name is that of an ordered device: clients that know no PermanentIdentifier
/// put it there.
pub(super) fn is_named(ordered: &BTreeSet<Identifier>, common_name: &str) -> bool {
    ordered.iter().any(|name| matches!(name, Identifier::Permanent(device) if device.value() == common_name))
}
