//! The attestation object (WebAuthn §6.5.4): a CBOR map with `fmt` and `attStmt`.
//!
//! `authData` says nothing here (draft §5) and other members mean nothing; they are passed over.
//! What could be read in two ways is refused: keys that occur twice, and bytes behind the object.

use ciborium::Value;

use super::Refused;

/// Bytes of an object; the largest chains seen take a tenth of it.
const MOST_BYTES: usize = 48 * 1024;
/// Nesting; an object of any format has four levels.
const DEEPEST: usize = 8;
/// Members of one map or array.
const MOST_MEMBERS: usize = 32;
/// Certificates of a statement.
const MOST_CERTIFICATES: usize = 8;

/// An attestation object.
#[derive(Debug)]
pub(super) struct Object {
    format: String,
    statement: Vec<(Value, Value)>,
}

impl Object {
    /// Reads an object.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Refused> {
        if bytes.len() > MOST_BYTES {
            return Err(Refused::Object("it is longer than 48 KiB"));
        }
        let mut rest = bytes;
        let value: Value = ciborium::de::from_reader_with_recursion_limit(&mut rest, DEEPEST)
            .map_err(|_| Refused::Object("it is not CBOR, or nested too deeply"))?;
        if !rest.is_empty() {
            return Err(Refused::Object("bytes follow it"));
        }
        check(&value)?;
        let Value::Map(mut members) = value else { return Err(Refused::Object("it is not a map")) };
        let mut take = |name: &str| {
            let at = members.iter().position(|(key, _)| key.as_text() == Some(name))?;
            Some(members.swap_remove(at).1)
        };
        let Some(Value::Text(format)) = take("fmt") else {
            return Err(Refused::Object("fmt is not a text"));
        };
        let Some(Value::Map(statement)) = take("attStmt") else {
            return Err(Refused::Object("attStmt is not a map"));
        };
        Ok(Self { format, statement })
    }

    /// `fmt`
    pub(super) fn format(&self) -> &str {
        &self.format
    }

    fn member(&self, name: &str) -> Option<&Value> {
        self.statement.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value)
    }

    /// A member that is a byte string with something in it.
    pub(super) fn bytes(&self, name: &'static str) -> Result<&[u8], Refused> {
        let bytes = self.member(name).and_then(Value::as_bytes).filter(|bytes| !bytes.is_empty());
        bytes.map(Vec::as_slice).ok_or(Refused::Member(name))
    }

    /// A member that is a text.
    pub(super) fn text(&self, name: &'static str) -> Result<&str, Refused> {
        self.member(name).and_then(Value::as_text).ok_or(Refused::Member(name))
    }

    /// `alg`, a COSE number.
    pub(super) fn algorithm(&self) -> Result<i64, Refused> {
        let number = self.member("alg").and_then(Value::as_integer);
        number.and_then(|number| i64::try_from(number).ok()).ok_or(Refused::Member("alg"))
    }

    /// `x5c`, the attesting certificate first.
    pub(super) fn certificates(&self) -> Result<Vec<&[u8]>, Refused> {
        let list = self.member("x5c").and_then(Value::as_array).ok_or(Refused::Member("x5c"))?;
        if list.is_empty() || list.len() > MOST_CERTIFICATES {
            return Err(Refused::Member("x5c: one to eight certificates"));
        }
        let der = |value| Value::as_bytes(value).map(Vec::as_slice).ok_or(Refused::Member("x5c"));
        list.iter().map(der).collect()
    }
}

/// Bounds, and no key twice, at every level; the levels themselves are bounded by the reader.
fn check(value: &Value) -> Result<(), Refused> {
    match value {
        Value::Array(items) => {
            bounded(items.len())?;
            items.iter().try_for_each(check)
        }
        Value::Map(members) => {
            bounded(members.len())?;
            for (at, (key, value)) in members.iter().enumerate() {
                if members[..at].iter().any(|(other, _)| other == key) {
                    return Err(Refused::Object("a key is there twice"));
                }
                check(key)?;
                check(value)?;
            }
            Ok(())
        }
        Value::Tag(_, inner) => check(inner),
        _ => Ok(()),
    }
}

fn bounded(members: usize) -> Result<(), Refused> {
    if members > MOST_MEMBERS { Err(Refused::Object("a map or array has too many members")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        ciborium::into_writer(value, &mut out).unwrap();
        out
    }

    fn map(members: &[(&str, Value)]) -> Value {
        Value::Map(members.iter().map(|(key, value)| (Value::from(*key), value.clone())).collect())
    }

    #[test]
    fn what_is_an_object() {
        let empty = || Value::Map(Vec::new());
        let nested = |levels| (0..levels).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
        let good = map(&[("fmt", "tpm".into()), ("attStmt", empty())]);
        let refused = |value: &Value| match Object::parse(&encode(value)) {
            Err(Refused::Object(why)) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(Object::parse(&encode(&good)).unwrap().format(), "tpm");
        let rows = [
            (map(&[("attStmt", empty())]), "fmt"),
            (map(&[("fmt", 1.into()), ("attStmt", empty())]), "fmt"),
            (map(&[("fmt", "tpm".into())]), "attStmt"),
            (map(&[("fmt", "tpm".into()), ("attStmt", Value::Array(vec![]))]), "attStmt"),
            (map(&[("fmt", "tpm".into()), ("fmt", "tpm".into()), ("attStmt", empty())]), "twice"),
            (
                map(&[("fmt", "tpm".into()), ("attStmt", map(&[("sig", 1.into()), ("sig", 2.into())]))]),
                "twice",
            ),
            (map(&[("fmt", "tpm".into()), ("attStmt", empty()), ("x", nested(9))]), "nested too deeply"),
            (map(&[("fmt", "tpm".into()), ("x", Value::Array(vec![Value::Null; 33]))]), "too many"),
            (Value::Array(vec![]), "not a map"),
            ("text".into(), "not a map"),
        ];
        for (value, want) in rows {
            assert!(refused(&value).contains(want), "{value:?}: {}", refused(&value));
        }
        let longer = [encode(&good), vec![0]].concat();
        assert_eq!(Object::parse(&longer).unwrap_err(), Refused::Object("bytes follow it"));
        assert!(Object::parse(&vec![0; MOST_BYTES + 1]).is_err());
    }

    #[test]
    fn promises_of_length_cost_nothing() {
        for major in [0x5b, 0x7b, 0x9b, 0xbb_u8] {
            let huge = [&[major][..], &u64::MAX.to_be_bytes()].concat();
            assert!(Object::parse(&huge).is_err());
            let inside = [&[0xa1, 0x63, b'f', b'm', b't'][..], &huge].concat();
            assert!(Object::parse(&inside).is_err());
        }
        // A thousand arrays, one in the other, and as many tags.
        assert!(Object::parse(&vec![0x81; 1000]).is_err());
        assert!(Object::parse(&vec![0xc1; 1000]).is_err());
    }
}
