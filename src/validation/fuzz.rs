//! What a hostile target may answer, for the fuzz driver: each takes bytes as they came from outside,
//! says whether they were taken for a proof or for anything readable, and panics if what must hold does
//! not.

use std::cell::RefCell;
use std::time::Duration;

use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::Name;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::dial::Host;
use super::fakes::{KEY_AUTH, TOKEN, ask};
use super::location::{Ports, Target};
use super::{Stop, dns01, http01, resolver, sha256, tls_alpn01};
use crate::acme::challenge::ChallengeKind;
use crate::acme::identifier::DnsName;

thread_local! {
    static RUNTIME: RefCell<tokio::runtime::Runtime> = RefCell::new(
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap(),
    );
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn keeps_secret(stop: &Stop) {
    let (Stop::Failed(failure) | Stop::Inconclusive(failure)) = stop;
    assert!(!failure.detail.contains(KEY_AUTH), "a detail tells the key authorization: {}", failure.detail);
    assert!(failure.detail.len() < 2000, "a detail of {} bytes", failure.detail.len());
}

/// The answer to http-01's request.
pub(crate) fn http01_answer(bytes: &[u8]) -> bool {
    let ports = Ports { http: 5002, tls: 5003 };
    let target = Target::first(Host::Name(DnsName::parse("a.test").unwrap()), TOKEN, ports);
    let ask = ask(ChallengeKind::Http01, "a.test");
    let exchanged = RUNTIME.with_borrow(|runtime| {
        runtime.block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(1 << 20);
            let peer = async {
                // The request first, or the client takes the answer for noise.
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    match theirs.read_u8().await {
                        Ok(byte) => request.push(byte),
                        Err(_) => return,
                    }
                }
                // A client that has seen enough hangs up.
                let _ = theirs.write_all(bytes).await;
                let _ = theirs.shutdown().await;
            };
            let exchange = http01::exchange(ours, &target, "http://a.test/");
            let (exchanged, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(60), exchange), peer);
            exchanged.expect("an answer that has ended ends the exchange")
        })
    });
    match exchanged {
        Err(stop) => {
            keeps_secret(&stop);
            false
        }
        Ok(http01::Reply::Other(status)) => {
            assert_ne!(status, 200);
            false
        }
        Ok(http01::Reply::Redirect(location)) => match location.map(|text| target.follow(&text, ports)) {
            Some(Ok(next)) => {
                assert!([80, 443, ports.http, ports.tls].contains(&next.port), "port {}", next.port);
                assert!(next.path.starts_with('/'), "{}", next.path);
                true
            }
            Some(Err(_)) | None => false,
        },
        Ok(http01::Reply::Ok(body)) => {
            assert!(body.as_ref().is_none_or(|body| body.len() <= http01::MAX_BODY));
            match http01::judge(body.as_deref(), "http://a.test/", &ask) {
                Ok(()) => assert!(body.is_some_and(|body| contains(&body, KEY_AUTH.as_bytes()))),
                Err(stop) => keeps_secret(&stop),
            }
            true
        }
    }
}

/// The certificate that tls-alpn-01 is shown.
pub(crate) fn tls_alpn01_certificate(bytes: &[u8]) -> bool {
    let digest = sha256(KEY_AUTH);
    let mut any = false;
    for name in ["a.test", "127.0.0.1", "::1"] {
        let identifier = ask(ChallengeKind::TlsAlpn01, name).identifier;
        if tls_alpn01::check(bytes, &identifier, &digest).is_ok() {
            assert!(!any, "a proof for two identifiers");
            assert!(contains(bytes, &digest), "a proof without the digest");
            any = true;
        }
    }
    any
}

/// A DNS server's message, as dns-01 reads it.
pub(crate) fn dns_answer(bytes: &[u8]) -> bool {
    let Ok(message) = Message::from_vec(bytes) else { return false };
    let owner = "_acme-challenge.a.test";
    let asked = Name::from_ascii(format!("{owner}.")).unwrap();
    let ask = ask(ChallengeKind::Dns01, "a.test");
    let last = resolver::last_alias(&asked, &message.answers);
    let known =
        *last == asked || message.answers.iter().any(|record| record.data.to_string() == last.to_string());
    assert!(known, "an alias that no record names: {last}");
    let texts: Vec<Vec<u8>> =
        message.answers.iter().filter(|record| record.name == *last).filter_map(resolver::text).collect();
    let expected = dns01::expected(&ask.key_authorization);
    let is_there = texts.iter().any(|text| text == expected.as_bytes());
    match dns01::judge(&texts, owner, &ask) {
        Ok(()) => assert!(is_there, "a proof that is not there"),
        Err(stop) => {
            assert!(!is_there, "a proof that was not seen");
            keeps_secret(&stop);
        }
    }
    true
}

/// Good answers to begin from.
pub(crate) fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    use hickory_resolver::proto::op::{MessageType, OpCode};
    use hickory_resolver::proto::rr::rdata::{CNAME, TXT};
    use hickory_resolver::proto::rr::{RData, Record};
    let named = |name: &str, bytes: Vec<u8>| (name.to_owned(), bytes);
    match target {
        "http01" => {
            let (head, tail) = KEY_AUTH.split_at(10);
            let texts = [
                ("plain", format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{KEY_AUTH}", KEY_AUTH.len())),
                (
                    "chunked",
                    format!(
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n{head}\r\n{:x}\r\n{tail}\r\n0\r\n\r\n",
                        tail.len()
                    ),
                ),
                ("to-the-end", format!("HTTP/1.0 200 OK\r\nServer: x\r\n\r\n{KEY_AUTH}\r\n")),
                (
                    "redirect",
                    "HTTP/1.1 302 Found\r\nLocation: http://b.test:5002/x?y#z\r\nContent-Length: 0\r\n\r\n"
                        .to_owned(),
                ),
                ("redirect-relative", "HTTP/1.1 301 Moved\r\nLocation: ../other\r\n\r\n".to_owned()),
                (
                    "not-found",
                    "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello"
                        .to_owned(),
                ),
                ("continue", format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{KEY_AUTH}")),
            ];
            texts.into_iter().map(|(name, text)| named(name, text.into_bytes())).collect()
        }
        "tls-alpn" => ["a.test", "127.0.0.1", "::1"]
            .iter()
            .enumerate()
            .map(|(number, name)| {
                let mut params = rcgen::CertificateParams::new(vec![(*name).to_owned()]).unwrap();
                let content = [&[4, 32][..], &sha256(KEY_AUTH)].concat();
                let mut proof =
                    rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 31], content);
                proof.set_criticality(true);
                params.custom_extensions.push(proof);
                let der = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec();
                named(&format!("proof-{number}"), der)
            })
            .collect(),
        _ => {
            let name = |text: &str| Name::from_ascii(text).unwrap();
            let expected = dns01::expected(KEY_AUTH);
            let txt = |owner: &str, text: &str| {
                Record::from_rdata(name(owner), 0, RData::TXT(TXT::new(vec![text.to_owned()])))
            };
            let alias =
                |owner: &str, to: &str| Record::from_rdata(name(owner), 0, RData::CNAME(CNAME(name(to))));
            let rows = [
                ("proof", vec![txt("_acme-challenge.a.test.", &expected)]),
                ("others", vec![txt("_acme-challenge.a.test.", "x"), txt("b.test.", &expected)]),
                ("alias", vec![alias("_acme-challenge.a.test.", "b.test."), txt("b.test.", &expected)]),
                (
                    "circle",
                    vec![
                        alias("_acme-challenge.a.test.", "b.test."),
                        alias("b.test.", "_acme-challenge.a.test."),
                    ],
                ),
                ("empty", vec![]),
            ];
            rows.into_iter()
                .map(|(title, answers)| {
                    let mut message = Message::new(7, MessageType::Response, OpCode::Query);
                    message.answers = answers;
                    named(title, message.to_vec().unwrap())
                })
                .collect()
        }
    }
}
