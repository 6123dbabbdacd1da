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

/// Makes a key pair in the token under the URI's names, which must be free, sensitive and not
/// extractable; returns the public half.
pub fn generate(
    uri: &Pkcs11Uri,
    pin: Option<&PasswordSource>,
    kind: Kind,
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
    let (public, private) = pair(&session, uri, kind, &id)?;
    let made = check(&session, private);
    if made.is_err() {
        let _ = session.destroy_object(private).and(session.destroy_object(public));
    }
    drop(visit);
    made
}

/// A token may take a template and not keep to it.
fn check(session: &Session, private: ObjectHandle) -> Result<Spki, Pkcs11Error> {
    let public = object::public_key(session, private)?;
    match object::secrecy(session, private)?.kept {
        true => Ok(Spki::from_key(public)),
        false => {
            Err(Pkcs11Error::Key("the token would let it be taken out again; it was removed".to_owned()))
        }
    }
}

fn pair(
    session: &Session,
    uri: &Pkcs11Uri,
    kind: Kind,
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
        .chain([
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ])
        .collect();
    let mut last: Option<Pkcs11Error> = None;
    for form in forms {
        let public: Vec<_> =
            named().chain([Attribute::Private(false), Attribute::Verify(true)]).chain(form).collect();
        match session.generate_key_pair(&mechanism, &public, &private) {
            Ok(pair) => return Ok(pair),
            Err(error) => last = Some(error.into()),
        }
    }
    let reason = last.map(|error| error.to_string()).unwrap_or_default();
    Err(Pkcs11Error::Key(format!("the token makes no key of this kind: {reason}")))
}
