//! Certificates: what is in them, how they are fetched, how they are revoked.

use serde_json::{Value, json};
use x509_parser::prelude::X509Certificate;

use super::world::{World, reply};
use super::{Case, Check::*, Group, Want, case, ok, refused};
use crate::support::acme::*;
use crate::support::https::Reply;

pub const GROUPS: &[Group] = &[
    Group { section: "RFC 8555 §7.4.2", cases: DOWNLOAD },
    Group { section: "RFC 5280 §4.1", cases: PROFILE },
    Group { section: "RFC 8555 §7.6", cases: REVOKE },
    Group { section: "RFC 5280 §5.3.1", cases: REASONS },
];

fn download(w: &mut World) -> Reply {
    let url = w.issued().url.clone();
    w.read(&url)
}

fn is_chain(reply: &Reply) -> Result<(), String> {
    let text = reply.text();
    let count = text.matches("-----BEGIN CERTIFICATE-----\n").count();
    if count != 2 || !text.starts_with("-----BEGIN") || !text.ends_with("-----END CERTIFICATE-----\n") {
        return Err(format!("{count} certificates"));
    }
    Ok(())
}

fn leads_up(reply: &Reply) -> Result<(), String> {
    let chain: Vec<Vec<u8>> = reply.text().split_inclusive("-----END CERTIFICATE-----\n").map(leaf).collect();
    let parsed: Vec<_> =
        chain.iter().map(|der| x509_parser::parse_x509_certificate(der).unwrap().1).collect();
    let [leaf, issuer] = parsed.as_slice() else { return Err("no chain of two".into()) };
    if leaf.issuer().as_raw() != issuer.subject().as_raw() {
        return Err("another issuer".into());
    }
    leaf.verify_signature(Some(issuer.public_key())).map_err(|e| e.to_string())
}

const DOWNLOAD: &[Case] = &[
    case(
        "a chain in PEM",
        download,
        ok(200).and(&[Header("content-type", "application/pem-certificate-chain"), That(is_chain)]),
    ),
    case("each signed by the next", download, ok(200).and(&[That(leads_up)])),
    case(
        "whatever the client accepts",
        |w| {
            let url = w.issued().url.clone();
            let body = w.alice.jws(&url, "").unwrap().body();
            w.alice
                .https
                .send(
                    "POST",
                    &url,
                    &[("Content-Type", JOSE), ("Accept", "application/pkix-cert")],
                    Some(&body),
                )
                .unwrap()
        },
        ok(200).and(&[Header("content-type", "application/pem-certificate-chain")]),
    ),
    case(
        "the same every time",
        |w| {
            let first = download(w);
            let second = download(w);
            assert_eq!(first.body, second.body);
            second
        },
        ok(200),
    ),
    case(
        "somebody else's",
        |w| {
            let url = w.issued().url.clone();
            w.bob_reads(&url)
        },
        refused(404, "malformed"),
    ),
    case(
        "one that there is not",
        |w| {
            let url = w.issued().url.clone();
            let (head, serial) = url.rsplit_once('/').unwrap();
            let url = format!("{head}/{}{}", &serial[..6], "0".repeat(serial.len() - 6));
            w.read(&url)
        },
        refused(404, "malformed"),
    ),
    case(
        "a serial in capitals",
        |w| {
            let url = w.issued().url.clone();
            let (head, serial) = url.rsplit_once('/').unwrap();
            let url = format!("{head}/{}", serial.to_uppercase());
            w.read(&url)
        },
        refused(404, "malformed"),
    ),
    case(
        "a serial that is none",
        |w| {
            let url = w.server.url("/acme/acme/cert/x");
            w.read(&url)
        },
        refused(404, "malformed"),
    ),
    case(
        "a revoked one is still there",
        |w| {
            let issued = w.issue();
            w.alice.revoke(&issued.pem, None).unwrap();
            w.read(&issued.url)
        },
        ok(200).and(&[That(is_chain)]),
    ),
    case(
        "not at another provisioner",
        |w| {
            let url = w.issued().url.replace("/acme/acme/", "/acme/narrow/");
            w.read(&url)
        },
        refused(400, "accountDoesNotExist"),
    ),
];

/// Looks at the leaf of a chain.
fn look(reply: &Reply, at: impl Fn(&X509Certificate<'_>) -> Result<(), String>) -> Result<(), String> {
    let der = leaf(&reply.text());
    at(&x509_parser::parse_x509_certificate(&der).unwrap().1)
}

fn must(holds: bool, what: &str) -> Result<(), String> {
    holds.then_some(()).ok_or_else(|| what.to_owned())
}

const PROFILE: &[Case] = &[
    case(
        "version 3",
        download,
        ok(200).and(&[That(|r| look(r, |c| must(c.version.0 == 2, "another version")))]),
    ),
    case(
        "a positive serial number of at most 20 bytes",
        download,
        ok(200).and(&[That(|r| {
            look(r, |c| {
                must(
                    c.raw_serial().len() <= 20 && c.raw_serial().len() >= 16 && c.raw_serial()[0] < 0x80,
                    "a serial out of bounds",
                )
            })
        })]),
    ),
    case(
        "no subject, and a critical subjectAltName",
        download,
        ok(200).and(&[That(|r| {
            look(r, |c| {
                must(c.subject().iter().count() == 0, "a subject")?;
                must(
                    c.subject_alternative_name().unwrap().is_some_and(|san| san.critical),
                    "no critical subjectAltName",
                )
            })
        })]),
    ),
    case("no CA", download, ok(200).and(&[That(|r| look(r, |c| must(!c.is_ca(), "a CA")))])),
    case(
        "for servers",
        download,
        ok(200).and(&[That(|r| {
            look(r, |c| {
                must(
                    c.extended_key_usage().unwrap().is_some_and(|u| u.value.server_auth && !u.value.any),
                    "another purpose",
                )
            })
        })]),
    ),
    case(
        "signatures only",
        download,
        ok(200).and(&[That(|r| {
            look(r, |c| {
                must(
                    c.key_usage().unwrap().is_some_and(|u| {
                        u.critical && u.value.digital_signature() && !u.value.key_cert_sign()
                    }),
                    "other uses",
                )
            })
        })]),
    ),
    case(
        "it lives a day",
        download,
        ok(200).and(&[That(|r| {
            look(r, |c| {
                let left =
                    c.validity().not_after.timestamp() - time::OffsetDateTime::now_utc().unix_timestamp();
                must((80_000..=86_400).contains(&left), "another life")
            })
        })]),
    ),
    case(
        "no more names than ordered",
        |w| {
            let name = w.name();
            let issued = w.alice.issue(&w.web, &[&name]).unwrap();
            let der = leaf(&issued.pem);
            let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
            let names = certificate.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
            assert_eq!(names, [x509_parser::extensions::GeneralName::DNSName(&name)]);
            w.read(&issued.url)
        },
        ok(200),
    ),
    case(
        "an address as an address",
        |w| {
            let issued = w.alice.issue(&w.web, &["127.0.0.1"]).unwrap();
            let der = leaf(&issued.pem);
            let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
            let names = certificate.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
            assert_eq!(names, [x509_parser::extensions::GeneralName::IPAddress(&[127, 0, 0, 1])]);
            w.read(&issued.url)
        },
        ok(200),
    ),
    case(
        "no two serial numbers are the same",
        |w| {
            let (a, b) = (w.issue(), w.issue());
            assert_ne!(a.url, b.url);
            w.read(&b.url)
        },
        ok(200),
    ),
];

fn revoke(w: &mut World, payload: &Value) -> Reply {
    let url = w.url("revokeCert");
    w.post(&url, payload)
}

fn with_reason(w: &mut World, reason: Value) -> Reply {
    let certificate = b64(leaf(&w.issue().pem));
    revoke(w, &json!({"certificate": certificate, "reason": reason}))
}

fn bad_reason(w: &mut World, reason: Value) -> Reply {
    let certificate = b64(leaf(&w.issued().pem));
    revoke(w, &json!({"certificate": certificate, "reason": reason}))
}

const REVOKED: Want = ok(200).and(&[Empty, HasHeader("replay-nonce")]);

/// An envelope of a bare key.
fn by_key(w: &mut World, key: Key, payload: &Value) -> Reply {
    let url = w.url("revokeCert");
    let mut bearer = w.stranger();
    bearer.key = key;
    reply(bearer.post(&url, &payload.to_string()))
}

const REVOKE: &[Case] = &[
    case(
        "by the account that has it",
        |w| {
            let der = leaf(&w.issue().pem);
            revoke(w, &json!({"certificate": b64(der)}))
        },
        REVOKED,
    ),
    case(
        "by its own key",
        |w| {
            let issued = w.issue();
            by_key(w, issued.key.clone(), &json!({"certificate": b64(leaf(&issued.pem))}))
        },
        REVOKED,
    ),
    case(
        "by another key",
        |w| {
            let der = leaf(&w.issued().pem);
            by_key(w, Key::generate(), &json!({"certificate": b64(der)}))
        },
        refused(403, "unauthorized"),
    ),
    case(
        "by the bare key of the account that has it",
        |w| {
            let (der, key) = (leaf(&w.issued().pem), w.alice.key.clone());
            by_key(w, key, &json!({"certificate": b64(der)}))
        },
        refused(403, "unauthorized"),
    ),
    case(
        "by somebody else",
        |w| {
            let pem = w.issued().pem.clone();
            reply(w.bob.revoke(&pem, None))
        },
        refused(403, "unauthorized"),
    ),
    case(
        "by somebody who has proved the name too",
        |w| {
            let issued = w.issue();
            let name = issued.order.object["identifiers"][0]["value"].as_str().unwrap().to_owned();
            let order = w.bob.order(&[&name]).unwrap();
            w.bob.authorize(&w.web, &order).unwrap();
            reply(w.bob.revoke(&issued.pem, None))
        },
        REVOKED,
    ),
    case(
        "by somebody who has proved one name of two",
        |w| {
            let (a, b) = (w.name(), w.name());
            let issued = w.alice.issue(&w.web, &[&a, &b]).unwrap();
            let order = w.bob.order(&[&a]).unwrap();
            w.bob.authorize(&w.web, &order).unwrap();
            reply(w.bob.revoke(&issued.pem, None))
        },
        refused(403, "unauthorized"),
    ),
    case(
        "twice",
        |w| {
            let pem = w.issue().pem;
            w.alice.revoke(&pem, None).unwrap();
            reply(w.alice.revoke(&pem, None))
        },
        refused(400, "alreadyRevoked"),
    ),
    case(
        "twice, by its key",
        |w| {
            let issued = w.issue();
            w.alice.revoke(&issued.pem, None).unwrap();
            by_key(w, issued.key.clone(), &json!({"certificate": b64(leaf(&issued.pem))}))
        },
        refused(400, "alreadyRevoked"),
    ),
    case(
        "one that was issued elsewhere",
        |w| {
            let der =
                rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap().cert.der().to_vec();
            revoke(w, &json!({"certificate": b64(der)}))
        },
        refused(400, "malformed"),
    ),
    case(
        "the issuer's own",
        |w| {
            let pem = std::fs::read_to_string(w.server.intermediate()).unwrap();
            revoke(w, &json!({"certificate": b64(leaf(&pem))}))
        },
        refused(400, "malformed"),
    ),
    case(
        "the listener's own",
        |w| {
            let der = w.alice.https.peer_certificate().unwrap();
            revoke(w, &json!({"certificate": b64(der)}))
        },
        refused(403, "unauthorized"),
    ),
    case(
        "one bit of the signature changed",
        |w| {
            let mut der = leaf(&w.issued().pem);
            *der.last_mut().unwrap() ^= 1;
            revoke(w, &json!({"certificate": b64(der)}))
        },
        refused(400, "malformed"),
    ),
    case(
        "a byte behind it",
        |w| {
            let mut der = leaf(&w.issued().pem);
            der.push(0);
            revoke(w, &json!({"certificate": b64(der)}))
        },
        refused(400, "malformed"),
    ),
    case("no certificate", |w| revoke(w, &json!({})), refused(400, "malformed")),
    case("certificate null", |w| revoke(w, &json!({"certificate": null})), refused(400, "malformed")),
    case("certificate empty", |w| revoke(w, &json!({"certificate": ""})), refused(400, "malformed")),
    case(
        "certificate as PEM",
        |w| {
            let pem = w.issued().pem.clone();
            revoke(w, &json!({"certificate": pem}))
        },
        refused(400, "malformed"),
    ),
    case(
        "certificate of rubbish",
        |w| revoke(w, &json!({"certificate": b64("rubbish")})),
        refused(400, "malformed"),
    ),
    case(
        "certificate with padding",
        |w| {
            let der = leaf(&w.issued().pem);
            revoke(w, &json!({"certificate": b64(der) + "="}))
        },
        refused(400, "malformed"),
    ),
    case(
        "at another provisioner",
        |w| {
            let issued = w.issue();
            let url = w.url("revokeCert").replace("/acme/acme/", "/acme/narrow/");
            let mut bearer = w.stranger();
            bearer.key = issued.key.clone();
            reply(bearer.post(&url, &json!({"certificate": b64(leaf(&issued.pem))}).to_string()))
        },
        refused(403, "unauthorized"),
    ),
];

const BAD_REASON: Want = refused(400, "badRevocationReason");

const REASONS: &[Case] = &[
    case("unspecified", |w| with_reason(w, json!(0)), REVOKED),
    case("keyCompromise", |w| with_reason(w, json!(1)), REVOKED),
    case("affiliationChanged", |w| with_reason(w, json!(3)), REVOKED),
    case("superseded", |w| with_reason(w, json!(4)), REVOKED),
    case("cessationOfOperation", |w| with_reason(w, json!(5)), REVOKED),
    case("privilegeWithdrawn", |w| with_reason(w, json!(9)), REVOKED),
    case("null is none", |w| with_reason(w, Value::Null), REVOKED),
    case("cACompromise is not a client's to say", |w| bad_reason(w, json!(2)), BAD_REASON),
    case("certificateHold is not offered", |w| bad_reason(w, json!(6)), BAD_REASON),
    case("7 is not used", |w| bad_reason(w, json!(7)), BAD_REASON),
    case("removeFromCRL is not a client's to say", |w| bad_reason(w, json!(8)), BAD_REASON),
    case("aACompromise is not a client's to say", |w| bad_reason(w, json!(10)), BAD_REASON),
    case("11 is none", |w| bad_reason(w, json!(11)), BAD_REASON),
    case("a large number", |w| bad_reason(w, json!(256)), BAD_REASON),
    case("a number below zero", |w| bad_reason(w, json!(-1)), refused(400, "malformed")),
    case("a fraction", |w| bad_reason(w, json!(1.5)), refused(400, "malformed")),
    case("a text", |w| bad_reason(w, json!("keyCompromise")), refused(400, "malformed")),
];
