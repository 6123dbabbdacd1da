//! Keys made in a token, that never leave it.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::module::Module;
use super::pin::login;
use super::{Pkcs11Error, object};
use crate::authority::key_source::{PasswordSource, Pkcs11Uri};
use crate::entropy::Entropy;
use crate::x509::spki::Spki;

/// Kinds of keys that tokens make for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// Ed25519, where the token has it.
    Ed25519,
    /// RSA that signs, with a modulus of so many bits.
    Rsa(u32),
}

/// What a new key is for; where the token can tell the two apart, it does nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Signatures.
    Signing,
    /// Opening what is sealed by it.
    Sealing,
}

/// Makes a key pair in the token under the URI's names, which must be free, sensitive and not
/// extractable; returns the public half.
pub fn generate(
    uri: &Pkcs11Uri,
    pin: Option<&PasswordSource>,
    kind: Kind,
    for_use: Use,
    entropy: &dyn Entropy,
) -> Result<Spki, Pkcs11Error> {
    let module = Module::load(&uri.module_path)?;
    let visit = module.enter()?;
    let slot = module.slot(uri)?;
    let session = module.context().open_rw_session(slot)?;
    let file = uri.pin_source.clone().map(PasswordSource::File);
    login(&module, slot, &session, file.as_ref().or(pin))?;
    for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
        let mut template = object::names(uri);
        template.push(Attribute::Class(class));
        if !session.find_objects(&template)?.is_empty() {
            return Err(Pkcs11Error::Exists(object::described(uri)));
        }
    }
    // The two halves find each other by it.
    let id = uri.id.clone().unwrap_or_else(|| entropy.bytes::<16>().to_vec());
    let (public, private) = pair(&session, uri, (kind, for_use), &id)?;
    let made = check(&session, private).map_err(|error| {
        // Both, whatever becomes of the first.
        let removed = [private, public].map(|half| session.destroy_object(half));
        match removed.into_iter().find_map(Result::err) {
            None => Pkcs11Error::Key(format!("{error}; it was removed again")),
            Some(left) => Pkcs11Error::Key(format!(
                "{error}; it could not be removed ({left}): remove what the token has with {}",
                object::described(uri)
            )),
        }
    });
    drop(visit);
    made
}

/// A token may take a template and not keep to it.
fn check(session: &Session, private: ObjectHandle) -> Result<Spki, Pkcs11Error> {
    let public = object::public_key(session, private)?;
    match object::secrecy(session, private)?.kept {
        true => Ok(Spki::from_key(public)),
        false => Err(Pkcs11Error::Key("the token would let it be taken out again".to_owned())),
    }
}

fn pair(
    session: &Session,
    uri: &Pkcs11Uri,
    (kind, for_use): (Kind, Use),
    id: &[u8],
) -> Result<(ObjectHandle, ObjectHandle), Pkcs11Error> {
    let rsa = |bits: u32| {
        let bits = Attribute::ModulusBits(u64::from(bits).into());
        (Mechanism::RsaPkcsKeyPairGen, vec![vec![bits, Attribute::PublicExponent(vec![1, 0, 1])]])
    };
    let curve = |oid: &[u8]| vec![Attribute::EcParams(oid.to_vec())];
    let (mechanism, forms) = match kind {
        Kind::P256 => (Mechanism::EccKeyPairGen, vec![curve(object::P256)]),
        Kind::P384 => (Mechanism::EccKeyPairGen, vec![curve(object::P384)]),
        // Tokens know the curve by the one name or the other.
        Kind::Ed25519 => {
            (Mechanism::EccEdwardsKeyPairGen, vec![curve(object::ED25519), curve(object::ED25519_NAME)])
        }
        Kind::Rsa(bits) => rsa(bits),
    };
    let named = || {
        let label = uri.object.as_ref().map(|label| Attribute::Label(label.as_bytes().to_vec()));
        [Attribute::Token(true), Attribute::Id(id.to_vec())].into_iter().chain(label)
    };
    let private: Vec<_> = named()
        .chain([Attribute::Private(true), Attribute::Sensitive(true), Attribute::Extractable(false)])
        .chain(match for_use {
            Use::Signing => [Attribute::Sign(true)],
            Use::Sealing => [Attribute::Decrypt(true)],
        })
        .collect();
    let public_use = match for_use {
        Use::Signing => [Attribute::Verify(true)],
        Use::Sealing => [Attribute::Encrypt(true)],
    };
    let mut last: Option<Pkcs11Error> = None;
    for form in forms {
        let public: Vec<_> =
            named().chain([Attribute::Private(false)]).chain(public_use.clone()).chain(form).collect();
        match session.generate_key_pair(&mechanism, &public, &private) {
            Ok(pair) => {
                // Afterwards: libtpm2_pkcs11 takes no template that says what a key is not for.
                let other = match for_use {
                    Use::Signing => Attribute::Decrypt(false),
                    Use::Sealing => Attribute::Sign(false),
                };
                if let Err(error) = session.update_attributes(pair.1, &[other]) {
                    tracing::debug!(%error, "the token does not restrict the key's use");
                }
                return Ok(pair);
            }
            Err(error) => last = Some(error.into()),
        }
    }
    let reason = last.map(|error| error.to_string()).unwrap_or_default();
    Err(Pkcs11Error::Key(format!("the token makes no key of this kind: {reason}")))
}
