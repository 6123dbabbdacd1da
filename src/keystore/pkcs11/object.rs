//! Keys as a token's objects: which one a URI means, and its public half.

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::Pkcs11Error;
use crate::authority::key_source::Pkcs11Uri;
use crate::x509::spki::PublicKey;

/// Curves by their OIDs (RFC 5480 §2.1.1.1, RFC 8410 §3), as CKA_EC_PARAMS has them.
pub(super) const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
pub(super) const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
pub(super) const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
/// The same as PKCS #11 v3.0 names it: PrintableString "edwards25519".
pub(super) const ED25519_NAME: &[u8] = b"\x13\x0cedwards25519";

/// A key as the URI names it.
pub(super) fn described(uri: &Pkcs11Uri) -> String {
    let object = uri.object.as_ref().map(|label| format!("object={label:?}"));
    let id = uri
        .id
        .as_ref()
        .map(|id| format!("id={}", id.iter().map(|byte| format!("%{byte:02X}")).collect::<String>()));
    object.into_iter().chain(id).collect::<Vec<_>>().join(" and ")
}

/// What the URI says of the key, for a search or a new key.
pub(super) fn names(uri: &Pkcs11Uri) -> Vec<Attribute> {
    let label = uri.object.as_ref().map(|label| Attribute::Label(label.as_bytes().to_vec()));
    let id = uri.id.as_ref().map(|id| Attribute::Id(id.clone()));
    label.into_iter().chain(id).collect()
}

/// The one private key that the URI names.
pub(super) fn private_key(session: &Session, uri: &Pkcs11Uri) -> Result<ObjectHandle, Pkcs11Error> {
    let mut template = names(uri);
    template.push(Attribute::Class(ObjectClass::PRIVATE_KEY));
    match session.find_objects(&template)?[..] {
        [key] => Ok(key),
        [] => Err(Pkcs11Error::NoKey(described(uri))),
        ref several => Err(Pkcs11Error::SeveralKeys { wanted: described(uri), count: several.len() }),
    }
}

/// Whether a key can leave its token.
pub(super) struct Secrecy {
    /// Sensitive and not extractable. Whether it was so since it was made is not asked
    /// (CKA_ALWAYS_SENSITIVE): a key that was imported on purpose is as good now.
    pub kept: bool,
}

/// Reads how a private key is kept.
pub(super) fn secrecy(session: &Session, key: ObjectHandle) -> Result<Secrecy, Pkcs11Error> {
    let read = session.get_attributes(key, &[AttributeType::Sensitive, AttributeType::Extractable])?;
    let is = |wanted: &Attribute| read.contains(wanted);
    Ok(Secrecy { kept: is(&Attribute::Sensitive(true)) && is(&Attribute::Extractable(false)) })
}

/// The public half, from the public object with the private one's id or label. Of RSA the private
/// object has it too.
pub(super) fn public_key(session: &Session, private: ObjectHandle) -> Result<PublicKey, Pkcs11Error> {
    let object = public_object(session, private)?.unwrap_or(private);
    let wanted = [
        AttributeType::KeyType,
        AttributeType::EcParams,
        AttributeType::EcPoint,
        AttributeType::Modulus,
        AttributeType::PublicExponent,
    ];
    let mut found = Found::default();
    for attribute in session.get_attributes(object, &wanted)? {
        match attribute {
            Attribute::KeyType(kind) => found.kind = Some(kind),
            Attribute::EcParams(bytes) => found.params = bytes,
            Attribute::EcPoint(bytes) => found.point = bytes,
            Attribute::Modulus(bytes) => found.modulus = bytes,
            Attribute::PublicExponent(bytes) => found.exponent = bytes,
            // Only what was asked for comes back.
            _ => {}
        }
    }
    found.key()
}

fn public_object(session: &Session, private: ObjectHandle) -> Result<Option<ObjectHandle>, Pkcs11Error> {
    let names = session.get_attributes(private, &[AttributeType::Id, AttributeType::Label])?;
    let given = |attribute: &Attribute| match attribute {
        Attribute::Id(bytes) | Attribute::Label(bytes) => !bytes.is_empty(),
        _ => false,
    };
    // By its id if it has one: labels are for people.
    let by_id = names.iter().find(|name| matches!(name, Attribute::Id(_)) && given(name));
    let Some(name) = by_id.or(names.iter().find(|name| given(name))) else { return Ok(None) };
    let found = session.find_objects(&[Attribute::Class(ObjectClass::PUBLIC_KEY), name.clone()])?;
    match found[..] {
        [] => Ok(None),
        [object] => Ok(Some(object)),
        _ => Err(Pkcs11Error::Key("the token has several public keys of its name".to_owned())),
    }
}

#[derive(Default)]
struct Found {
    kind: Option<KeyType>,
    params: Vec<u8>,
    point: Vec<u8>,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl Found {
    fn key(self) -> Result<PublicKey, Pkcs11Error> {
        let wrong = |what: &str| Err(Pkcs11Error::Key(what.to_owned()));
        let trim = |number: Vec<u8>| number.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
        if self.kind == Some(KeyType::RSA) {
            let (n, e) = (trim(self.modulus), trim(self.exponent));
            return if n.is_empty() || e.is_empty() {
                wrong("the token does not show its modulus and public exponent")
            } else {
                Ok(PublicKey::Rsa { n, e })
            };
        }
        let elliptic = [Some(KeyType::EC), Some(KeyType::EC_EDWARDS)].contains(&self.kind);
        if elliptic && self.point.is_empty() {
            return wrong("the token has no public key object with its id or label, or does not show it");
        }
        let (length, make): (usize, fn(Vec<u8>) -> PublicKey) = match self.params.as_slice() {
            P256 => (65, PublicKey::EcP256),
            P384 => (97, PublicKey::EcP384),
            ED25519 | ED25519_NAME => (32, PublicKey::Ed25519),
            _ => return wrong("this CA signs with P-256, P-384, Ed25519 or RSA of 2048 to 4096 bits"),
        };
        match point(&self.point, length) {
            Some(point) => Ok(make(point.to_vec())),
            None => wrong("its public point has an unexpected form"),
        }
    }
}

/// CKA_EC_POINT is an OCTET STRING around the point; some tokens leave the wrapping out.
fn point(bytes: &[u8], length: usize) -> Option<&[u8]> {
    match bytes {
        [0x04, inner, rest @ ..] if usize::from(*inner) == length && rest.len() == length => Some(rest),
        whole if whole.len() == length => Some(whole),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_with_and_without_their_wrapping() {
        let raw = [&[4][..], &[7; 64]].concat();
        let wrapped = [&[4, 65][..], &raw].concat();
        assert_eq!(point(&raw, 65), Some(&raw[..]));
        assert_eq!(point(&wrapped, 65), Some(&raw[..]));
        assert_eq!(point(&raw[1..], 65), None);
        assert_eq!(point(&[&[4, 32][..], &[9; 32]].concat(), 32), Some(&[9; 32][..]));
        assert_eq!(point(&[], 32), None);
    }

    #[test]
    fn kinds_of_keys() {
        let found = |kind, params: &[u8], point: &[u8]| Found {
            kind: Some(kind),
            params: params.to_vec(),
            point: point.to_vec(),
            ..Found::default()
        };
        let p384 = found(KeyType::EC, P384, &[4; 97]).key().unwrap();
        assert_eq!(p384.label(), "P-384");
        let edwards = found(KeyType::EC_EDWARDS, ED25519_NAME, &[4; 32]).key().unwrap();
        assert_eq!(edwards.label(), "Ed25519");
        let rsa = Found {
            kind: Some(KeyType::RSA),
            modulus: [&[0][..], &[0x80; 256]].concat(),
            exponent: vec![1, 0, 1],
            ..Found::default()
        };
        assert_eq!(rsa.key().unwrap().label(), "RSA-2048");
        for (bad, want) in [
            (found(KeyType::EC, P256, &[]), "no public key object"),
            (found(KeyType::EC, &[6, 1, 1], &[4; 65]), "signs with"),
            (found(KeyType::EC, P256, &[4; 66]), "unexpected form"),
            (found(KeyType::RSA, &[], &[]), "modulus"),
            (found(KeyType::AES, &[], &[]), "signs with"),
        ] {
            let error = bad.key().unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
