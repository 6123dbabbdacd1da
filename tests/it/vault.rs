//! Names as Vault judges them and as the policy does that was made of the role: the real OpenBao is asked for
//! every one, and where the two differ it is one of a few ways that are meant.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mayfly::policy::describe::Description;
use mayfly::policy::document;
use mayfly::policy::import::{Source, import};
use mayfly::policy::{Context, Facts, NotUnderstood, Policy, Who};
use mayfly::time::Timestamp;
use serde_json::{Value, json};

use super::support::acme::{csr, csr_for, leaf};
use super::support::clients;
use super::support::ports;
use super::support::process::{Running, until_or_explain};

/// An OpenBao in memory with a root.
struct Bao {
    port: u16,
    _running: Running,
    _home: tempfile::TempDir,
}

impl Bao {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        // It takes the next one as well.
        let port = std::iter::repeat_with(|| (ports::free(), ports::free()))
            .find_map(|(first, second)| (second == first + 1).then_some(first))
            .unwrap();
        let mut command = Command::new(clients::installed("py/bin/bao"));
        command
            .args(["server", "-dev", "-dev-root-token-id=root", "-dev-no-store-token"])
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            // Neither a proxy of the caller's nor its settings.
            .env_clear()
            .env("HOME", home.path())
            .current_dir(home.path());
        let running = Running::start(&mut command, &home.path().join("bao.log"));
        let up = || running.output().contains("Root Token: root").then_some(());
        until_or_explain("OpenBao", Duration::from_secs(60), up, || running.output());
        let bao = Self { port, _running: running, _home: home };
        bao.expect("sys/mounts/pki", &json!({"type": "pki", "config": {"max_lease_ttl": "8760h"}}));
        let root = json!({"common_name": "Root", "key_type": "ec", "key_bits": 256, "ttl": "8000h"});
        bao.expect("pki/root/generate/internal", &root);
        bao
    }

    /// Status and body. Without keep-alive the body ends with the connection.
    fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let body = body.to_string();
        write!(
            stream,
            "{method} /v1/{path} HTTP/1.0\r\nX-Vault-Token: root\r\nX-Vault-Request: true\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").expect("a reply");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn expect(&self, path: &str, body: &Value) -> Value {
        let (status, reply) = self.call("POST", path, body);
        assert!((200..300).contains(&status), "{path}: {status} {reply}");
        reply
    }
}

/// Roles without what all of them share, by what they are about.
fn roles() -> Vec<(&'static str, Value)> {
    let of = |rest: Value| rest;
    let one = json!(["example.com"]);
    vec![
        ("default", of(json!({}))),
        ("nothing", of(json!({"allow_localhost": false, "allow_ip_sans": false}))),
        ("localhost-below", of(json!({"allow_subdomains": true}))),
        ("bare", of(json!({"allowed_domains": one, "allow_bare_domains": true}))),
        ("below", of(json!({"allowed_domains": one, "allow_subdomains": true, "allow_localhost": false}))),
        (
            "below-plain",
            of(
                json!({"allowed_domains": one, "allow_subdomains": true, "allow_wildcard_certificates": false}),
            ),
        ),
        ("both", of(json!({"allowed_domains": one, "allow_bare_domains": true, "allow_subdomains": true}))),
        ("no-mode", of(json!({"allowed_domains": one}))),
        ("glob", of(json!({"allowed_domains": ["*.example.com"], "allow_glob_domains": true}))),
        (
            "glob-plain",
            of(
                json!({"allowed_domains": ["*.example.com"], "allow_glob_domains": true, "allow_wildcard_certificates": false}),
            ),
        ),
        (
            "glob-middle",
            of(
                json!({"allowed_domains": ["a*.example.com"], "allow_glob_domains": true, "allow_localhost": false}),
            ),
        ),
        (
            "glob-dash",
            of(json!({"allowed_domains": ["*-web.example.com", "*.sub.*"], "allow_glob_domains": true})),
        ),
        ("glob-any", of(json!({"allowed_domains": ["*"], "allow_glob_domains": true}))),
        ("glob-front", of(json!({"allowed_domains": ["*example.com"], "allow_glob_domains": true}))),
        ("glob-exact", of(json!({"allowed_domains": one, "allow_glob_domains": true}))),
        (
            "glob-unsaid",
            of(
                json!({"allowed_domains": ["*.example.com"], "allow_bare_domains": true, "allow_subdomains": true}),
            ),
        ),
        (
            "all-modes",
            of(
                json!({"allowed_domains": ["example.com", "*.example.org"], "allow_bare_domains": true, "allow_subdomains": true, "allow_glob_domains": true}),
            ),
        ),
        (
            "two",
            of(
                json!({"allowed_domains": "example.com,sub.example.org", "allow_bare_domains": true, "allow_subdomains": true}),
            ),
        ),
        (
            "nested",
            of(
                json!({"allowed_domains": ["sub.example.com"], "allow_subdomains": true, "allow_bare_domains": true}),
            ),
        ),
        ("top", of(json!({"allowed_domains": ["com"], "allow_subdomains": true}))),
        (
            "upper",
            of(
                json!({"allowed_domains": ["EXAMPLE.com"], "allow_subdomains": true, "allow_bare_domains": true}),
            ),
        ),
        ("any", of(json!({"allow_any_name": true}))),
        ("any-plain", of(json!({"allow_any_name": true, "allow_wildcard_certificates": false}))),
        ("any-loose", of(json!({"allow_any_name": true, "enforce_hostnames": false}))),
        ("loose", of(json!({"allowed_domains": one, "allow_subdomains": true, "enforce_hostnames": false}))),
        (
            "free-cn",
            of(json!({"allowed_domains": one, "allow_subdomains": true, "cn_validations": ["disabled"]})),
        ),
        (
            "email-cn",
            of(json!({"allowed_domains": one, "allow_bare_domains": true, "cn_validations": ["email"]})),
        ),
        (
            "host-cn",
            of(json!({"allowed_domains": one, "allow_bare_domains": true, "cn_validations": ["hostname"]})),
        ),
        ("uri-any", of(json!({"allowed_uri_sans": ["*"]}))),
        ("uri-scheme", of(json!({"allowed_uri_sans": ["spiffe://*"]}))),
        ("uri-path", of(json!({"allowed_uri_sans": ["spiffe://example.com/web/*", "https://example.com/"]}))),
        ("uri-host", of(json!({"allowed_uri_sans": ["spiffe://*.example.com/web", "spiffe://exam*"]}))),
        ("blocks", of(json!({"allowed_ip_sans_cidr": ["10.0.0.0/8", "2001:db8::/32"]}))),
        (
            "subject",
            of(json!({"ou": ["Web"], "organization": ["Example"], "country": ["CH"], "allow_any_name": true,
                              "key_usage": ["DigitalSignature"], "ext_key_usage": ["IPSECUser"], "max_ttl": "72h"})),
        ),
        (
            "no-usage",
            of(json!({"key_usage": [], "server_flag": false, "client_flag": false, "allow_any_name": true})),
        ),
    ]
}

/// How a name is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Dns,
    Email,
    Ip,
    Uri,
    Cn,
}

fn requests() -> Vec<(Kind, String)> {
    let mut requests = Vec::new();
    let hosts = [
        "example.com",
        "EXAMPLE.com",
        "sub.example.com",
        "example.org",
        "sub.example.org",
        "localhost",
        "localdomain",
        "notexample.com",
        "example.com.evil",
        "a-web.example.com",
        "com",
    ];
    let fronts = [
        "",
        "a.",
        "a.b.",
        "*.",
        "*.a.",
        "x*.",
        "*x.",
        "x*y.",
        "x",
        "A.",
        "a_b.",
        "-a.",
        "xn--bcher-kva.",
        "a..",
        "*.*.",
    ];
    for host in hosts {
        requests.extend(fronts.map(|front| (Kind::Dns, format!("{front}{host}"))));
        requests.extend(
            ["me@", "a@", "ME@a.", "a@b.c.", "a*@"].map(|front| (Kind::Email, format!("{front}{host}"))),
        );
        requests.extend(["", "a.", "*.", "x"].map(|front| (Kind::Cn, format!("{front}{host}"))));
        requests.push((Kind::Cn, format!("me@{host}")));
    }
    let long = format!("{}.example.com", "a".repeat(64));
    requests.extend(
        ["*", "a.example.com.", "10.0.0.1", "a b.example.com", "a.sub.b", long.as_str(), "a/b.example.com"]
            .map(|name| (Kind::Dns, name.to_owned())),
    );
    requests.extend(
        ["me@sub.example.com", "@example.com", "a@b@example.com"].map(|name| (Kind::Email, name.to_owned())),
    );
    requests
        .extend(["me", "Some Body", "10.0.0.1", "a_b.example.com"].map(|name| (Kind::Cn, name.to_owned())));
    requests.extend(
        [
            "10.0.0.1",
            "10.255.0.1",
            "11.0.0.1",
            "127.0.0.1",
            "192.168.1.1",
            "2001:db8::1",
            "2001:db9::1",
            "::1",
        ]
        .map(|name| (Kind::Ip, name.to_owned())),
    );
    requests.extend(
        [
            "spiffe://example.com/web/a",
            "spiffe://example.com/web/a/b",
            "spiffe://example.com/web",
            "spiffe://example.com",
            "spiffe://a.example.com/web",
            "spiffe://a.b.example.com/web",
            "spiffe://evil.test/x.example.com/web",
            "spiffe://example.org/web/a",
            "https://example.com/",
            "https://example.com/a",
            "urn:example:a",
            "spiffe://exam",
        ]
        .map(|name| (Kind::Uri, name.to_owned())),
    );
    requests
}

/// What the certificate holds of what was asked for: OpenBao leaves out in silence what it cannot make a name
/// of.
fn holds(facts: &Facts, kind: Kind, name: &str) -> bool {
    let shown: Vec<String> = match kind {
        Kind::Dns => facts.dns.iter().flatten().map(ToString::to_string).collect(),
        Kind::Email => facts.email.iter().flatten().map(ToString::to_string).collect(),
        Kind::Ip => facts.ip.iter().flatten().map(ToString::to_string).collect(),
        Kind::Uri => facts.uri.iter().flatten().map(ToString::to_string).collect(),
        Kind::Cn => facts.principals.iter().flatten().cloned().collect(),
    };
    shown.iter().any(|shown| shown.eq_ignore_ascii_case(name))
}

/// What OpenBao makes of a request.
enum Theirs {
    Refused,
    /// Of the certificate; of none that was left out.
    Signed(Box<Result<Facts, NotUnderstood>>),
}

fn ask(bao: &Bao, role: &str, csr: &str, kind: Kind, name: &str) -> Theirs {
    let mut body = json!({"csr": csr, "ttl": "1h", "exclude_cn_from_sans": true});
    let field = match kind {
        Kind::Dns | Kind::Email => "alt_names",
        Kind::Ip => "ip_sans",
        Kind::Uri => "uri_sans",
        Kind::Cn => "common_name",
    };
    body[field] = name.into();
    let (status, reply) = bao.call("POST", &format!("pki/sign/{role}"), &body);
    match (status, reply["data"]["certificate"].as_str()) {
        (200, Some(pem)) => {
            let facts = Facts::of_certificate(&leaf(pem), Timestamp::EPOCH);
            if facts.as_ref().is_ok_and(|facts| !holds(facts, kind, name)) {
                return Theirs::Refused;
            }
            Theirs::Signed(Box::new(facts))
        }
        (400, _) => Theirs::Refused,
        _ => panic!("{role}: {kind:?} {name:?}: {status} {reply}"),
    }
}

fn described(kind: Kind, name: &str) -> Description {
    let mut description = Description::default();
    match kind {
        Kind::Dns => description.dns.push(name.to_owned()),
        Kind::Email => description.email.push(name.to_owned()),
        Kind::Ip => description.ip.push(name.to_owned()),
        Kind::Uri => description.uri.push(name.to_owned()),
        Kind::Cn => description.subject.push(format!("CN={name}")),
    }
    description
}

/// The ways in which the two differ, all of them meant.
const WAYS: [&str; 8] = [
    "no name that is certified here: partial wildcards, dots at the end, odd labels",
    "*.localhost, which passes there since only what is behind the star is looked at",
    "a domain with a star where globs are not allowed, which is that one wildcard there",
    "a star in front of the end of a URI's host stays within the host",
    "a common name that looks like a host name is judged as one, whatever else holds",
    "common names are compared letter by letter",
    "suffixes and globs are compared by case there; DNS knows none",
    "a common name is a text, and need not be a host name",
];

fn meant(role: &Value, (kind, name): (Kind, &str), theirs: bool, understood: bool) -> Option<&'static str> {
    let said = |key: &str| role[key].as_bool() == Some(true);
    let upper = |text: &str| text.contains("EXAMPLE") || text.contains("A.") || text.contains("ME@");
    let way = match (theirs, kind) {
        // We are stricter.
        (true, _) if !understood => 0,
        (true, Kind::Dns | Kind::Cn) if name.starts_with("*.local") && !said("allow_subdomains") => 1,
        (true, Kind::Dns | Kind::Cn)
            if role["allowed_domains"] == json!(["*.example.com"]) && !said("allow_glob_domains") =>
        {
            2
        }
        (true, Kind::Uri) => 3,
        (true, Kind::Cn) if role["cn_validations"] == json!(["disabled"]) && name.contains('.') => 4,
        (true, Kind::Cn) if upper(name) => 5,
        // We are laxer.
        (false, Kind::Dns | Kind::Email | Kind::Cn) if upper(name) || upper(&role.to_string()) => 6,
        (false, Kind::Cn) if name.contains(['_', ' ']) || said("allow_any_name") => 7,
        _ => return None,
    };
    Some(WAYS[way])
}

/// Keys through roles of every type and size, and through the policies made of them: there is no difference.
fn keys_are_judged_as_openbao_judges_them(bao: &Bao) {
    use rcgen::{KeyPair, RsaKeySize};
    let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap();
    let of = |algorithm| KeyPair::generate_for(algorithm).unwrap();
    let keys = [
        ("rsa:2048", rsa(RsaKeySize::_2048)),
        ("rsa:3072", rsa(RsaKeySize::_3072)),
        ("ec-p256", of(&rcgen::PKCS_ECDSA_P256_SHA256)),
        ("ec-p384", of(&rcgen::PKCS_ECDSA_P384_SHA384)),
        ("ec-p521", of(&rcgen::PKCS_ECDSA_P521_SHA512)),
        ("ed25519", of(&rcgen::PKCS_ED25519)),
    ];
    let kinds =
        [("rsa", &[0, 2048, 3072, 4096][..]), ("ec", &[0, 256, 384, 521]), ("ed25519", &[0]), ("any", &[0])];
    let mut signed = 0;
    for (kind, bits) in kinds.iter().flat_map(|(kind, sizes)| sizes.iter().map(move |bits| (*kind, *bits))) {
        let role = json!({"key_type": kind, "key_bits": bits, "allow_any_name": true, "no_store": true});
        bao.expect("pki/roles/keys", &role);
        let imported = import(&role.to_string(), Some(Source::VaultRole), "keys").unwrap();
        let policy = document::parse(&imported.policy, "keys").unwrap();
        for (name, key) in &keys {
            let der = csr_for(&["a.test"], key);
            let csr =
                pem_rfc7468::encode_string("CERTIFICATE REQUEST", pem_rfc7468::LineEnding::LF, &der).unwrap();
            let (status, reply) =
                bao.call("POST", "pki/sign/keys", &json!({"csr": csr, "common_name": "a.test"}));
            assert!(matches!(status, 200 | 400), "{status} {reply}");
            let context = Context::new(Timestamp::EPOCH, Who::Acme);
            let ours = policy.judge(&Facts::of_request(&der), &context);
            assert_eq!(ours.allowed(), status == 200, "{kind} of {bits} bits: {name}: {ours}; {reply}");
            signed += usize::from(status == 200);
        }
    }
    assert!((15..40).contains(&signed), "{signed}");
}

#[test]
fn names_are_judged_as_openbao_judges_them() {
    let begun = Instant::now();
    let bao = Bao::start();
    let (_, der) = csr(&["unused.test"]);
    let csr = pem_rfc7468::encode_string("CERTIFICATE REQUEST", pem_rfc7468::LineEnding::LF, &der).unwrap();
    let (roles, requests) = (roles(), requests());
    assert!(requests.len() >= 200, "{}", requests.len());
    let mut policies: Vec<Policy> = Vec::new();
    for (name, role) in &roles {
        let mut whole = json!({
            "key_type": "any", "require_cn": false, "use_csr_sans": false, "use_csr_common_name": false, "no_store": true,
        });
        whole.as_object_mut().unwrap().extend(role.as_object().unwrap().clone());
        bao.expect(&format!("pki/roles/{name}"), &whole);
        let (_, read) = bao.call("GET", &format!("pki/roles/{name}"), &json!({}));
        // As it is written and as it is read, a role is the same.
        let imported = [whole.to_string(), read.to_string()].map(|text| {
            import(&text, Some(Source::VaultRole), name).unwrap_or_else(|m| panic!("{name}: {m:#?}"))
        });
        let [written, read] =
            imported.map(|imported| document::parse(&imported.policy, name).unwrap().to_owned());
        let bare = |policy: &Policy| format!("{policy:?}").split("rules").nth(1).unwrap().to_owned();
        let lines = |text: String| {
            text.split(", ").filter(|part| !part.starts_with("line")).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(lines(bare(&written)), lines(bare(&read)), "{name}");
        policies.push(written);
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
        let (mut odd, mut signed) = (Vec::new(), 0);
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some((name, role)) = roles.get(at / requests.len()) else { return (found, odd, signed) };
            let (kind, asked) = &requests[at % requests.len()];
            let policy = &policies[at / requests.len()];
            let context = Context::new(Timestamp::EPOCH, Who::Acme);
            let facts = described(*kind, asked).facts();
            let ours = facts.as_ref().is_ok_and(|facts| policy.judge(&Ok(facts.clone()), &context).allowed());
            let theirs = ask(&bao, name, &csr, *kind, asked);
            let row = format!("{name}: {kind:?} {asked:?}");
            if let Theirs::Signed(certificate) = &theirs {
                signed += 1;
                // Not the names alone: whatever else the role gives passes too.
                let verdict = policy.judge(certificate, &context);
                if verdict.allowed() != ours {
                    odd.push(format!("{row}: by its name {ours}, the certificate {verdict}"));
                }
            }
            let theirs = matches!(theirs, Theirs::Signed(_));
            if theirs != ours {
                match meant(role, (*kind, asked), theirs, facts.is_ok()) {
                    Some(why) => {
                        found.entry(why).or_default().insert(row);
                    }
                    None => odd.push(format!("{row}: OpenBao {theirs}, the policy {ours}")),
                }
            }
        }
    };
    let (mut found, mut odd, mut signed): (BTreeMap<_, BTreeSet<String>>, Vec<_>, usize) = Default::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let (ways, strange, of_them) = worker.join().unwrap();
            ways.into_iter().for_each(|(why, rows)| found.entry(why).or_default().extend(rows));
            odd.extend(strange);
            signed += of_them;
        }
    });
    odd.sort();
    let all = roles.len() * requests.len();
    println!("{all} requests, {signed} signed, {:.1} s", begun.elapsed().as_secs_f64());
    for (why, rows) in &found {
        println!("{} x {why}, such as {}", rows.len(), rows.first().unwrap());
    }
    assert!(odd.is_empty(), "{} of {all} differ:\n{}", odd.len(), odd.join("\n"));
    assert_eq!(found.len(), WAYS.len(), "a way in which nothing differs any more: {found:#?}");
    assert!(signed * 10 > all, "{signed} of {all} were signed");
    keys_are_judged_as_openbao_judges_them(&bao);
}
