//! PermanentIdentifier (RFC 4043), the otherName that names a device.
//!
//! Its text form is that of draft-ietf-acme-device-attest §3.1: `VALUE`, or `VALUE/ASSIGNER` with
//! the assigner's object identifier in dotted decimal.

use x509_parser::asn1_rs::{Any, Class, FromDer, Tag};

use super::der::{sequence, tlv};

/// id-on-permanentIdentifier, 1.3.6.1.5.5.7.8.3; content bytes.
pub const PERMANENT_IDENTIFIER: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x08, 0x03];

/// The GeneralName of a device; `None` if the assigner is no object identifier.
pub fn general_name(text: &str) -> Option<Vec<u8>> {
    Some(tlv(0xa0, &[&tlv(0x06, &[PERMANENT_IDENTIFIER]), &other_name_value(text)?]))
}

/// The value of the otherName: `[0] EXPLICIT PermanentIdentifier`.
fn other_name_value(text: &str) -> Option<Vec<u8>> {
    let (value, assigner) = match text.split_once('/') {
        Some((value, assigner)) => (value, tlv(0x06, &[&oid_content(assigner)?])),
        None => (text, Vec::new()),
    };
    Some(tlv(0xa0, &[&sequence(&[&tlv(0x0c, &[value.as_bytes()]), &assigner])]))
}

/// The text form of an otherName's value; `None` if it is anything but the one encoding of a
/// PermanentIdentifier with an identifierValue (which the draft makes mandatory).
pub fn parse_other_name(value: &[u8]) -> Option<String> {
    let outer = only(value)?;
    (outer.class() == Class::ContextSpecific && outer.tag() == Tag(0)).then_some(())?;
    let inner = only(outer.data)?;
    (inner.tag() == Tag::Sequence).then_some(())?;
    let (rest, identifier) = Any::from_der(inner.data).ok()?;
    (identifier.tag() == Tag::Utf8String).then_some(())?;
    let mut text = std::str::from_utf8(identifier.data).ok()?.to_owned();
    if text.is_empty() || text.contains('/') {
        return None;
    }
    if !rest.is_empty() {
        let assigner = only(rest)?;
        (assigner.tag() == Tag::Oid).then_some(())?;
        text.push('/');
        text.push_str(&oid_text(assigner.data)?);
    }
    // One encoding only.
    (other_name_value(&text)?.as_slice() == value).then_some(text)
}

fn only(bytes: &[u8]) -> Option<Any<'_>> {
    let (rest, any) = Any::from_der(bytes).ok()?;
    rest.is_empty().then_some(any)
}

/// Content bytes of an object identifier in dotted decimal: no leading zeros, the second number
/// below 40 under 0 and 1, each number below 2^63.
pub fn oid_content(text: &str) -> Option<Vec<u8>> {
    let numbers = text.split('.').map(number).collect::<Option<Vec<u64>>>()?;
    let [first, second, rest @ ..] = numbers.as_slice() else { return None };
    if *first > 2 || (*first < 2 && *second >= 40) {
        return None;
    }
    let mut out = Vec::new();
    base128(first * 40 + second, &mut out);
    rest.iter().for_each(|number| base128(*number, &mut out));
    Some(out)
}

fn number(text: &str) -> Option<u64> {
    let plain = text == "0" || !text.starts_with('0');
    let digits = (1..=18).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if plain && digits { text.parse().ok() } else { None }
}

fn base128(number: u64, out: &mut Vec<u8>) {
    let groups = (64 - (number | 1).leading_zeros()).div_ceil(7);
    for group in (0..groups).rev() {
        let more = if group > 0 { 0x80 } else { 0 };
        out.push((number >> (7 * group)) as u8 & 0x7f | more);
    }
}

/// Dotted decimal of an object identifier's content bytes; `None` where [`oid_content`] would not
/// give those bytes back.
fn oid_text(content: &[u8]) -> Option<String> {
    let (mut numbers, mut number, mut open) = (Vec::new(), 0_u64, false);
    for byte in content {
        number = number.checked_mul(128)?.checked_add(u64::from(byte & 0x7f))?;
        open = byte & 0x80 != 0;
        if !open {
            numbers.push(std::mem::take(&mut number));
        }
    }
    let (head, rest) = numbers.split_first()?;
    let first = (head / 40).min(2);
    let mut text = format!("{first}.{}", head - first * 40);
    rest.iter().for_each(|number| text.push_str(&format!(".{number}")));
    (!open && oid_content(&text)? == content).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_identifiers() {
        let rows: &[(&str, Option<&[u8]>)] = &[
            ("1.2.840.113549", Some(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d])),
            ("2.999", Some(&[0x88, 0x37])),
            ("0.0", Some(&[0])),
            ("1.39", Some(&[79])),
            ("1.40", None),
            ("3.1", None),
            ("1", None),
            ("", None),
            ("1.02", None),
            ("1.2.", None),
            (".1.2", None),
            ("1.2.+3", None),
            ("1.2.9999999999999999999", None),
        ];
        for (text, want) in rows {
            assert_eq!(oid_content(text).as_deref(), *want, "{text}");
            if let Some(content) = want {
                assert_eq!(oid_text(content).as_deref(), Some(*text));
            }
        }
        for bad in [&[][..], &[0x80, 0x01], &[0x2a, 0x86], &[0xff; 12]] {
            assert_eq!(oid_text(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn permanent_identifiers() {
        for text in ["ABCDEF123456", "ABCDEF123456/1.2.3.4", "Gerät 7"] {
            let name = general_name(text).unwrap();
            // Behind the header of the GeneralName and the object identifier (2 + 10 bytes).
            assert_eq!(parse_other_name(&name[12..]).as_deref(), Some(text));
            for end in 0..name.len() - 12 {
                assert_eq!(parse_other_name(&name[12..12 + end]), None);
            }
            assert_eq!(parse_other_name(&[&name[12..], &[0]].concat()), None);
        }
        assert_eq!(
            general_name("AB/1.2.3").unwrap(),
            [
                &[0xa0, 0x16, 0x06, 8, 0x2b, 6, 1, 5, 5, 7, 8, 3][..],
                &[0xa0, 0x0a, 0x30, 8, 0x0c, 2, b'A', b'B', 6, 2, 0x2a, 3]
            ]
            .concat()
        );
        assert_eq!(general_name("AB/"), None);
        // A PrintableString, no identifierValue, and one with a slash in it.
        assert_eq!(parse_other_name(&[0xa0, 5, 0x30, 3, 0x13, 1, b'A']), None);
        assert_eq!(parse_other_name(&[0xa0, 2, 0x30, 0]), None);
        assert_eq!(parse_other_name(&[0xa0, 7, 0x30, 5, 0x0c, 3, b'A', b'/', b'1']), None);
        // A length in long form is not DER.
        assert_eq!(parse_other_name(&[0xa0, 6, 0x30, 0x81, 3, 0x0c, 1, b'A']), None);
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>, text in ".{0,20}(/[0-9.]{0,20})?") {
            let _ = (parse_other_name(&bytes), oid_text(&bytes));
            if let Some(name) = general_name(&text).filter(|_| !text.is_empty() && !text.starts_with('/')) {
                // Short names have short lengths.
                if name.len() < 128 {
                    proptest::prop_assert_eq!(parse_other_name(&name[12..]), Some(text));
                }
            }
        }
    }
}
