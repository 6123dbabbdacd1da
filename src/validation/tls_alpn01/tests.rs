use std::time::Duration;

use proptest::prelude::*;
use rcgen::{CertificateParams, CustomExtension, KeyPair, SanType};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use super::*;
use crate::acme::challenge::ChallengeKind::TlsAlpn01;
use crate::validation::fake_dns::FakeDns;
use crate::validation::fakes::{KEY_AUTH, Names, Responder, ask, failed, rules, server_config};
use crate::validation::{Outcome, Rules};

const OID: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 1, 31];
const DRAFT_OID: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 1, 30, 1];

fn extension(oid: &[u64], content: &[u8], critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
    extension.set_criticality(critical);
    extension
}

fn octets(digest: &[u8]) -> Vec<u8> {
    [&[0x04, u8::try_from(digest.len()).unwrap()], digest].concat()
}

fn proof() -> CustomExtension {
    extension(OID, &octets(&sha256(KEY_AUTH)), true)
}

fn params(names: &[&str], extensions: Vec<CustomExtension>) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.custom_extensions = extensions;
    params
}

fn der(params: &CertificateParams) -> Vec<u8> {
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn checked(params: &CertificateParams, identifier: &str) -> Result<(), Fault> {
    check(&der(params), &ask(TlsAlpn01, identifier).identifier, &sha256(KEY_AUTH))
}

/// One responder showing this certificate, and a.test pointing to it.
async fn shown(
    params: &CertificateParams,
    identifier: &str,
    alpn: &[&[u8]],
    versions: &[&'static SupportedProtocolVersion],
) -> (Outcome, Names) {
    let key = KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap().der().clone();
    let (config, names) = server_config(cert, &key, alpn, versions);
    let listen = if identifier == "::1" { "[::1]:0" } else { "127.0.0.1:0" };
    let responder = Responder::tls(listen, config, |_| Vec::new()).await;
    let dns = FakeDns::of(&["127.0.0.1"]).await;
    let validator = Validator::new(rules(dns.addr, responder.addr.port())).unwrap();
    let outcome = validator.validate(&ask(TlsAlpn01, identifier)).await;
    (outcome, names)
}

#[tokio::test]
async fn the_challenges_certificate_proves_in_tls_12_and_13() {
    for version in [&TLS12, &TLS13] {
        let (outcome, names) =
            shown(&params(&["a.test"], vec![proof()]), "a.test", &[ACME_TLS], &[version]).await;
        assert_eq!(outcome, Outcome::Proved);
        assert_eq!(*names.lock().unwrap(), [Some("a.test".to_owned())]);
    }
}

#[tokio::test]
async fn addresses_are_proved_by_their_reverse_name() {
    let v6 = format!("1.{}ip6.arpa", "0.".repeat(31));
    for (identifier, sni) in [("127.0.0.1", "1.0.0.127.in-addr.arpa"), ("::1", v6.as_str())] {
        if identifier == "::1" && std::net::TcpListener::bind("[::1]:0").is_err() {
            continue; // A machine without IPv6.
        }
        let mut cert = params(&[], vec![proof()]);
        cert.subject_alt_names = vec![SanType::IpAddress(identifier.parse().unwrap())];
        let (outcome, names) = shown(&cert, identifier, &[ACME_TLS], &[&TLS13]).await;
        assert_eq!(outcome, Outcome::Proved, "{identifier}");
        assert_eq!(*names.lock().unwrap(), [Some(sni.to_owned())]);
    }
}

#[test]
fn reverse_names() {
    let rows = [
        ("10.1.2.3", "3.2.1.10.in-addr.arpa"),
        // RFC 8738 §6's example form.
        ("2001:db8::567:89ab", "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"),
    ];
    for (ip, name) in rows {
        assert_eq!(reverse_name(ip.parse().unwrap()), name);
    }
}

/// What others once accepted and had to revoke two million certificates for. (TLS 1.1 cannot be
/// tried from here: rustls speaks no version below 1.2 on either side, which is also why the
/// client cannot negotiate it; `only_tls_12_and_newer_is_offered` reads the offer off the wire.)
mod field_14_tls_alpn {
    use super::*;

    #[test]
    fn certificates_that_are_no_proof() {
        let digest = sha256(KEY_AUTH);
        let two = params(&["a.test", "b.test"], vec![proof()]);
        let mut address = params(&[], vec![proof()]);
        address.subject_alt_names = vec![SanType::IpAddress("10.0.0.1".parse().unwrap())];
        let draft = extension(DRAFT_OID, &octets(&digest), true);
        let not_critical = extension(OID, &octets(&digest), false);
        let other = extension(OID, &octets(&sha256("other")), true);
        let bare = extension(OID, &digest, true);
        let trailing = extension(OID, &[octets(&digest), vec![0]].concat(), true);
        let short = extension(OID, &octets(&digest[..31]), true);
        let rows = [
            ("right", params(&["a.test"], vec![proof()]), Ok(())),
            ("upper case", params(&["A.Test"], vec![proof()]), Ok(())),
            ("draft OID", params(&["a.test"], vec![draft]), Err(Fault::Extensions(0))),
            ("no extension", params(&["a.test"], vec![]), Err(Fault::Extensions(0))),
            ("twice", params(&["a.test"], vec![proof(), proof()]), Err(Fault::Extensions(2))),
            ("not critical", params(&["a.test"], vec![not_critical]), Err(Fault::NotCritical)),
            ("other digest", params(&["a.test"], vec![other]), Err(Fault::Digest)),
            ("bare digest", params(&["a.test"], vec![bare]), Err(Fault::Form)),
            ("trailing byte", params(&["a.test"], vec![trailing]), Err(Fault::Form)),
            ("31 bytes", params(&["a.test"], vec![short]), Err(Fault::Form)),
            ("two names", two, Err(Fault::AltNames(2))),
            ("no names", params(&[], vec![proof()]), Err(Fault::AltNameExtensions(0))),
            ("other name", params(&["b.test"], vec![proof()]), Err(Fault::OtherName("a.test".to_owned()))),
            ("wildcard", params(&["*.test"], vec![proof()]), Err(Fault::OtherName("a.test".to_owned()))),
            ("an address", address, Err(Fault::OtherName("a.test".to_owned()))),
        ];
        for (label, params, want) in rows {
            assert_eq!(checked(&params, "a.test"), want, "{label}");
        }
        let name = params(&["a.test"], vec![proof()]);
        assert_eq!(checked(&name, "10.0.0.1"), Err(Fault::OtherName("10.0.0.1".to_owned())));
    }

    #[test]
    fn a_certificate_of_another_issuer_is_no_proof() {
        let issuer_key = KeyPair::generate().unwrap();
        let mut issuer = CertificateParams::default();
        issuer.distinguished_name.push(rcgen::DnType::CommonName, "Other CA");
        let issuer = rcgen::Issuer::new(issuer, issuer_key);
        let key = KeyPair::generate().unwrap();
        let cert = params(&["a.test"], vec![proof()]).signed_by(&key, &issuer).unwrap();
        let identifier = ask(TlsAlpn01, "a.test").identifier;
        assert_eq!(check(cert.der(), &identifier, &sha256(KEY_AUTH)), Err(Fault::NotSelfSigned));
        assert_eq!(check(b"no certificate", &identifier, &sha256(KEY_AUTH)), Err(Fault::Unreadable));
    }

    #[tokio::test]
    async fn they_fail_as_unauthorized_over_the_wire() {
        let digest = octets(&sha256(KEY_AUTH));
        let draft = params(&["a.test"], vec![extension(DRAFT_OID, &digest, true)]);
        let lax = params(&["a.test"], vec![extension(OID, &digest, false)]);
        let two = params(&["a.test", "b.test"], vec![proof()]);
        let other = params(&["b.test"], vec![proof()]);
        for cert in [draft, lax, two, other] {
            for version in [&TLS12, &TLS13] {
                let (outcome, _) = shown(&cert, "a.test", &[ACME_TLS], &[version]).await;
                failed(outcome, FailureKind::Unauthorized);
            }
        }
    }

    #[tokio::test]
    async fn another_protocol_or_none_is_a_tls_failure() {
        let cert = params(&["a.test"], vec![proof()]);
        for alpn in [&[b"h2".as_slice()][..], &[], &[b"acme-tls/2"], &[b"http/1.1", b"h2"]] {
            let (outcome, _) = shown(&cert, "a.test", alpn, &[&TLS12, &TLS13]).await;
            failed(outcome, FailureKind::Tls);
        }
    }

    /// Reads the ClientHello: legacy_version 3.3, and supported_versions holding 1.3 and 1.2 only.
    #[tokio::test]
    async fn only_tls_12_and_newer_is_offered() {
        use tokio::io::AsyncReadExt;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = vec![0; 2048];
            let length = stream.read(&mut hello).await.unwrap();
            hello.truncate(length);
            hello
        });
        let dns = FakeDns::of(&["127.0.0.1"]).await;
        let validator = Validator::new(rules(dns.addr, port)).unwrap();
        failed(validator.validate(&ask(TlsAlpn01, "a.test")).await, FailureKind::Tls);
        let hello = server.await.unwrap();
        assert_eq!(hello[9..11], [3, 3]);
        let offer = [0x00, 0x2b, 0, 5, 4, 3, 4, 3, 3];
        assert!(hello.windows(offer.len()).any(|window| window == offer), "{hello:02x?}");
        // And exactly one ALPN protocol.
        let alpn = [&[0x00, 0x10, 0, 13, 0, 11, 10][..], ACME_TLS].concat();
        assert!(hello.windows(alpn.len()).any(|window| window == alpn), "{hello:02x?}");
    }
}

/// One shared host that answers for everybody proves nothing for a name it was not given: the
/// proof hangs on the SNI that was sent and on the certificate's own name, never on a name under
/// `.invalid` or on the certificate of a default site.
#[tokio::test]
async fn field_15_a_default_site_proves_nothing() {
    let default_site = params(&["hosting.test"], vec![]);
    let (outcome, names) = shown(&default_site, "a.test", &[ACME_TLS], &[&TLS13]).await;
    failed(outcome, FailureKind::Unauthorized);
    assert_eq!(*names.lock().unwrap(), [Some("a.test".to_owned())]);
    // The neighbour's challenge for the neighbour's name.
    let neighbour = params(&["neighbour.test"], vec![proof()]);
    let (outcome, _) = shown(&neighbour, "a.test", &[ACME_TLS], &[&TLS13]).await;
    failed(outcome, FailureKind::Unauthorized);
}

/// A certificate is public; without its key it must not be a proof.
#[tokio::test]
async fn a_replayed_certificate_without_its_key_fails() {
    for version in [&TLS12, &TLS13] {
        let cert = params(&["a.test"], vec![proof()]).self_signed(&KeyPair::generate().unwrap()).unwrap();
        let other_key = KeyPair::generate().unwrap();
        let (config, _) = server_config(cert.der().clone(), &other_key, &[ACME_TLS], &[version]);
        let responder = Responder::tls("127.0.0.1:0", config, |_| Vec::new()).await;
        let dns = FakeDns::of(&["127.0.0.1"]).await;
        let validator = Validator::new(rules(dns.addr, responder.addr.port())).unwrap();
        failed(validator.validate(&ask(TlsAlpn01, "a.test")).await, FailureKind::Tls);
    }
}

#[tokio::test]
async fn other_key_types_work_too() {
    for algorithm in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        for version in [&TLS12, &TLS13] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let cert = params(&["a.test"], vec![proof()]).self_signed(&key).unwrap();
            let (config, _) = server_config(cert.der().clone(), &key, &[ACME_TLS], &[version]);
            let responder = Responder::tls("127.0.0.1:0", config, |_| Vec::new()).await;
            let dns = FakeDns::of(&["127.0.0.1"]).await;
            let validator = Validator::new(rules(dns.addr, responder.addr.port())).unwrap();
            assert_eq!(validator.validate(&ask(TlsAlpn01, "a.test")).await, Outcome::Proved);
        }
    }
}

#[tokio::test]
async fn a_plain_server_and_a_closed_port_are_told_apart() {
    let plain = Responder::http("127.0.0.1:0", |_| Vec::new()).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dns = FakeDns::of(&["127.0.0.1"]).await;
    let timeout = Duration::from_secs(1);
    for (addr, hint) in [(plain.addr, "TLS"), (closed, "tls-alpn-01")] {
        let validator = Validator::new(Rules { timeout, ..rules(dns.addr, addr.port()) }).unwrap();
        let detail = failed(validator.validate(&ask(TlsAlpn01, "a.test")).await, FailureKind::Connection);
        assert!(detail.contains(hint), "{detail}");
    }
}

proptest! {
    #[test]
    fn random_bytes_are_no_proof(cert in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(check(&cert, &ask(TlsAlpn01, "a.test").identifier, &sha256(KEY_AUTH)).is_err());
    }

    #[test]
    fn damaged_certificates_are_judged_and_never_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        static CERT: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let mut cert = CERT.get_or_init(|| der(&params(&["a.test"], vec![proof()]))).clone();
        for (at, byte) in damage {
            let at = at.index(cert.len());
            cert[at] = byte;
        }
        let identifier = ask(TlsAlpn01, "a.test").identifier;
        let _ = check(&cert, &identifier, &sha256(KEY_AUTH));
        let _ = check(&cert[..cut.index(cert.len())], &identifier, &sha256(KEY_AUTH));
    }
}
