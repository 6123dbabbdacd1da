//! What policies decide, row by row.

mod property;

use super::describe::{Description, Whom};
use super::*;

const T0: Timestamp = Timestamp::from_secs(1_793_318_400);

pub(super) fn policy(text: &str) -> Policy {
    document::parse(text, "test").unwrap_or_else(|mistakes| panic!("{mistakes:#?}\n{text}"))
}

/// A certificate in words: `dns:a.test key:rsa:2048 @provisioner=web …`, blanks between them.
fn read(words: &str) -> Result<(Facts, Context), String> {
    let mut description = Description::default();
    let mut whom = Whom::default();
    let more = |list: &mut Option<Vec<String>>, value: &str| {
        list.get_or_insert_default().extend((value != "none").then(|| value.to_owned()));
    };
    for word in words.split_whitespace() {
        if let Some(condition) = word.strip_prefix('@') {
            let (key, value) = condition.split_once('=').unwrap();
            let field = match key {
                "requester" => &mut whom.requester,
                "authority" => &mut whom.authority,
                "provisioner" => &mut whom.provisioner,
                "account" => &mut whom.account,
                "eab" => &mut whom.eab_key,
                "profile" => &mut whom.profile,
                other => panic!("{other}"),
            };
            *field = Some(value.to_owned());
            continue;
        }
        let (key, value) = word.split_once(':').unwrap_or((word, ""));
        let value = value.to_owned();
        match key {
            "dns" => description.dns.push(value),
            "ip" => description.ip.push(value),
            "uri" => description.uri.push(value),
            "email" => description.email.push(value),
            "device" => description.devices.push(value),
            "subject" => description.subject.push(value.replace('_', " ")),
            "key" => description.key = Some(value),
            "lifetime" => description.lifetime = Some(value),
            "backdate" => description.backdate = Some(value),
            "eku" => more(&mut description.eku, &value),
            "ku" => more(&mut description.key_usage, &value),
            "signature" => description.signature = Some(value),
            "issuer" => description.issuer = Some(value.replace('_', " ")),
            "extension" => more(&mut description.extensions, &value),
            "ca" => description.ca = Some(true),
            other => panic!("{other}"),
        }
    }
    Ok((description.facts()?, whom.context(T0)?))
}

/// Rows of one policy: certificates in words; each allowed, or refused by what its text says, or not
/// understood at all (`?`).
fn check(policy_text: &str, rows: &[(&str, &str)]) -> usize {
    let policy = policy(policy_text);
    let mut wrong = Vec::new();
    for (words, want) in rows {
        let got = match read(words) {
            Err(error) => format!("? {error}"),
            Ok((facts, context)) => match policy.judge(&Ok(facts), &context) {
                verdict if verdict.allowed() => "ok".to_owned(),
                verdict => verdict.to_string(),
            },
        };
        let right = match *want {
            "ok" => got == "ok",
            want => got != "ok" && got.starts_with('?') == (want == "?") && got.contains(want),
        };
        if !right {
            wrong.push(format!("{words}: {got:?} instead of {want:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n{policy_text}", wrong.join("\n"));
    rows.len()
}

fn dns_rows() -> usize {
    check(
        "[[allow]]\nname = \"web\"\ndns = [\"a.test\", \"*.b.test\", \"c-*.test\", \"XN--BCHER-KVA.test\"]\n[[deny]]\nname = \"secret\"\ndns = [\"db.b.test\", \"*.deep.b.test\", \"sec*.b.test\"]",
        &[
            ("dns:a.test", "ok"),
            ("dns:A.TEST", "ok"),
            ("dns:xn--bcher-kva.test", "ok"),
            ("dns:x.a.test", "no allow rule covers it"),
            ("dns:b.test", "no allow rule covers it"),
            ("dns:x.b.test", "ok"),
            ("dns:x.y.b.test", "ok"),
            ("dns:xb.test", "no allow rule covers it"),
            ("dns:b.test.evil", "no allow rule covers it"),
            ("dns:x.b.test.evil", "no allow rule covers it"),
            ("dns:c-1.test", "ok"),
            ("dns:c-1.evil.test", "ok"),
            ("dns:d-1.test", "no allow rule covers it"),
            ("dns:db.b.test", "denied by rule \"secret\" (line 4): db.b.test"),
            ("dns:DB.b.test", "denied by rule \"secret\""),
            ("dns:deep.b.test", "ok"),
            ("dns:x.deep.b.test", "denied by rule \"secret\" (line 4): *.deep.b.test"),
            ("dns:secure.b.test", "sec*.b.test"),
            ("dns:insecure.b.test", "ok"),
            ("dns:a.test dns:x.b.test", "ok"),
            ("dns:a.test dns:evil.test", "DNS name evil.test"),
            ("dns:*.b.test", "denied by rule \"secret\""),
            ("dns:*.c.b.test", "sec*.b.test"),
            ("dns:*.a.test", "`dns` is listed by \"web\" (line 1)"),
            ("ip:10.0.0.1", "ok"),
            ("uri:https://x/", "ok"),
            ("", "ok"),
            ("dns:a.test.", "?"),
            ("dns:a..test", "?"),
            ("dns:*.*.b.test", "?"),
            ("dns:x*.b.test", "?"),
            ("dns:*", "?"),
            ("dns:bücher.test", "?"),
            ("dns:a\0.test", "?"),
            ("dns:10.0.0.1", "?"),
            ("dns:-a.test", "?"),
            ("dns:a_b.test", "?"),
            ("dns:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b.test", "ok"),
            ("dns:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b.test", "?"),
        ],
    ) + check(
        "[[allow]]\ndns = [\"*.b.test\"]\nwildcards = true\n[[allow]]\ndns = [\"c.test\", \"*.c.test\"]\n[[allow]]\ndns = [\"w*.d.test\"]\nwildcards = true",
        &[
            ("dns:*.b.test", "ok"),
            ("dns:*.x.b.test", "ok"),
            ("dns:x.b.test", "ok"),
            ("dns:*.bb.test", "no allow rule covers it"),
            ("dns:c.test", "ok"),
            ("dns:*.c.test", "no allow rule covers it"),
            ("dns:*.test", "no allow rule covers it"),
            ("dns:*.d.test", "no allow rule covers it"),
            ("dns:w.d.test", "ok"),
        ],
    ) + check(
        "[[deny]]\nname = \"stars\"\nwildcards = true\n[[allow]]\ndns = \"*\"\nwildcards = true",
        &[
            ("dns:*.b.test", "denied by rule \"stars\" (line 1): wildcards"),
            ("dns:b.test", "ok"),
            ("dns:localhost", "ok"),
        ],
    ) + check(
        "[[deny]]\ndns = [\"web-*.a.test\", \"db.b.test\"]",
        &[
            ("dns:*.a.test", "denied"),
            ("dns:web-1.a.test", "denied"),
            ("dns:web.a.test", "ok"),
            ("dns:*.web-1.a.test", "denied"),
            ("dns:*.b.test", "denied"),
            ("dns:*.db.b.test", "ok"),
            ("dns:*.c.b.test", "ok"),
            ("dns:*.test", "ok"),
        ],
    )
}

fn address_rows() -> usize {
    check(
        "[[allow]]\nname = \"nets\"\nip = [\"10.1.0.0/16\", \"192.0.2.7\", \"fd00:1::/32\"]\n[[deny]]\nname = \"gateways\"\nip = [\"10.1.0.1\", \"10.1.128.0/17\"]",
        &[
            ("ip:10.1.0.0", "ok"),
            ("ip:10.1.0.1", "denied by rule \"gateways\" (line 4): 10.1.0.1/32"),
            ("ip:10.1.127.255", "ok"),
            ("ip:10.1.128.0", "10.1.128.0/17"),
            ("ip:10.1.255.255", "denied"),
            ("ip:10.0.255.255", "no allow rule covers it"),
            ("ip:10.2.0.0", "no allow rule covers it"),
            ("ip:192.0.2.7", "ok"),
            ("ip:192.0.2.6", "no allow rule covers it"),
            ("ip:192.0.2.8", "no allow rule covers it"),
            ("ip:fd00:1::", "ok"),
            ("ip:fd00:1:ffff:ffff:ffff:ffff:ffff:ffff", "ok"),
            ("ip:fd00:2::", "no allow rule covers it"),
            ("ip:fd00::ffff", "no allow rule covers it"),
            ("ip:::1", "no allow rule covers it"),
            ("ip:::ffff:10.1.0.0", "?"),
            ("ip:10.1.0", "?"),
            ("ip:010.1.0.0", "?"),
            ("ip:FD00:1::", "?"),
            ("dns:a.test", "ok"),
            // A common name that is an address is one.
            ("subject:CN=10.1.0.1", "denied by rule \"gateways\""),
            ("subject:CN=10.9.0.1", "no allow rule covers it"),
        ],
    ) + check(
        "[[allow]]\nname = \"none\"\nip = []\nuri = []",
        &[
            ("ip:10.0.0.1", "`ip` is listed by \"none\""),
            ("uri:urn:a:b", "`uri` is listed by \"none\""),
            ("dns:a.test email:a@a.test", "ok"),
        ],
    )
}

fn uri_rows() -> usize {
    check(
        "[[allow]]\nuri = [\"spiffe://prod.test/ns/*\", \"https://*.a.test/app\", \"urn:example:*\"]\n[[deny]]\nname = \"admin\"\nuri = [\"spiffe://prod.test/ns/kube-system/*\", \"spiffe://*/admin\"]",
        &[
            ("uri:spiffe://prod.test/ns/web/sa/x", "ok"),
            ("uri:spiffe://prod.test/ns/", "ok"),
            ("uri:spiffe://prod.test/ns", "no allow rule covers it"),
            ("uri:spiffe://prod.test", "no allow rule covers it"),
            ("uri:spiffe://prod.test/ns/kube-system/sa/x", "denied by rule \"admin\""),
            ("uri:spiffe://prod.test/ns/kube-system", "ok"),
            ("uri:spiffe://prod.test.evil/ns/web", "no allow rule covers it"),
            ("uri:spiffe://evil/prod.test/ns/web", "no allow rule covers it"),
            ("uri:spiffe://prod.test:1/ns/web", "no allow rule covers it"),
            ("uri:spiffe://other/admin", "denied"),
            ("uri:https://prod.test/ns/web", "no allow rule covers it"),
            ("uri:https://x.a.test/app", "ok"),
            ("uri:https://x.y.a.test/app", "ok"),
            ("uri:https://a.test/app", "no allow rule covers it"),
            ("uri:https://x.a.test/app/more", "no allow rule covers it"),
            // The star of a host ends where the host does.
            ("uri:https://evil/.a.test/app", "no allow rule covers it"),
            ("uri:https://evil#.a.test/app", "no allow rule covers it"),
            ("uri:https://evil?.a.test/app", "no allow rule covers it"),
            ("uri:urn:example:x", "ok"),
            ("uri:urn:examples:x", "no allow rule covers it"),
            ("uri:urn://example:1/x", "no allow rule covers it"),
            ("uri:https://x@y.a.test/app", "?"),
            ("uri:https://X.a.test/app", "?"),
            ("uri:HTTPS://x.a.test/app", "?"),
            ("uri:spiffe://prod.test/ns/../admin", "?"),
            ("uri:spiffe://prod.test/ns/./x", "?"),
            ("uri:spiffe://prod.test/ns/%2e%2e/x", "?"),
            ("uri:spiffe://prod.test/ns/%2E/x", "?"),
            ("uri:spiffe://prod.test/ns/a%2Fb", "?"),
            ("uri:spiffe://prod.test/ns/a%2", "?"),
            ("uri:spiffe://prod.test/ns/a%20b", "ok"),
            ("uri:spiffe://prod.test/ns/a%c3%bc", "?"),
            ("uri:spiffe:", "?"),
            ("uri:spiffe:///x", "?"),
            ("uri:prod.test/ns", "?"),
            ("uri:https://[::1]/x", "no allow rule covers it"),
            ("uri:https://[::0001]/x", "?"),
            ("uri:https://x.a.test:port/app", "?"),
        ],
    ) + check("[[allow]]\nuri = [\"*\"]", &[("uri:https://a.test/x", "ok"), ("uri:urn:x:y", "ok")])
}

fn other_name_rows() -> usize {
    check(
        "[[allow]]\nemail = [\"@a.test\", \"ops@b.test\", \"*-bot@*.c.test\"]\n[[deny]]\nemail = [\"Root@a.test\"]",
        &[
            ("email:me@a.test", "ok"),
            ("email:me@A.test", "ok"),
            ("email:me@x.a.test", "no allow rule covers it"),
            ("email:root@a.test", "denied"),
            ("email:ROOT@a.test", "denied"),
            ("email:ops@b.test", "ok"),
            ("email:OPS@b.test", "no allow rule covers it"),
            ("email:dev@b.test", "no allow rule covers it"),
            ("email:ci-bot@x.c.test", "ok"),
            ("email:ci-bot@c.test", "no allow rule covers it"),
            ("email:ci@x.c.test", "no allow rule covers it"),
            ("email:me@evil@a.test", "?"),
            ("email:@a.test", "?"),
            ("email:me@", "?"),
            ("email:me@*.a.test", "?"),
            ("email:.me@a.test", "?"),
            ("email:\"me\"@a.test", "?"),
            ("email:m\0e@a.test", "?"),
            ("subject:emailAddress=root@a.test", "denied"),
            ("subject:emailAddress=me@evil.test", "no allow rule covers it"),
        ],
    ) + check(
        "[[allow]]\ndevices = [\"SN-*\"]\nprincipals = [\"host *\", \"*.a.test\"]\nsubject = [\"CN=*\", \"O=Example*\", \"OU=Web\", \"1.2.3.4=x\"]\n[[deny]]\nsubject = [\"OU=admin*\"]\nprincipals = [\"root\"]",
        &[
            ("device:SN-1", "ok"),
            ("device:XN-1", "no allow rule covers it"),
            ("device:sn-1", "no allow rule covers it"),
            ("subject:CN=host_a", "ok"),
            ("subject:CN=alice", "principal alice: no allow rule covers it"),
            ("subject:CN=Root", "denied"),
            ("subject:CN=x.a.test", "ok"),
            ("subject:O=Example", "ok"),
            ("subject:CN=host_a subject:O=Example_Ltd", "ok"),
            ("subject:CN=host_a subject:O=Evil", "subject attribute O=Evil"),
            ("subject:CN=host_a subject:OU=Web", "ok"),
            ("subject:CN=host_a subject:OU=Admins", "denied"),
            ("subject:CN=host_a subject:L=Web", "L=Web"),
            ("subject:CN=host_a subject:1.2.3.4=x", "ok"),
        ],
    )
}

fn key_and_usage_rows() -> usize {
    check(
        "[[allow]]\nkeys = [\"ec-p256\", \"rsa:3072..4096\", \"ed25519\"]\n[[deny]]\nkeys = [\"rsa:4096\"]",
        &[
            ("key:ec-p256", "ok"),
            ("key:ec-p384", "key ec-p384: no allow rule covers it"),
            ("key:ec-p521", "no allow rule covers it"),
            ("key:ed25519", "ok"),
            ("key:rsa:3071", "key rsa:3071: no allow rule covers it"),
            ("key:rsa:3072", "ok"),
            ("key:rsa:4095", "ok"),
            ("key:rsa:4096", "denied"),
            ("key:rsa:4097", "no allow rule covers it"),
            ("key:dsa", "?"),
            ("key:rsa", "?"),
            ("", "ok"),
        ],
    ) + check(
        "[[allow]]\nkeys = [\"rsa\"]\n[[deny]]\nkeys = [\"rsa:..2048\", \"rsa:8192..\"]",
        &[
            ("key:rsa:2048", "denied"),
            ("key:rsa:2049", "ok"),
            ("key:rsa:8191", "ok"),
            ("key:rsa:8192", "denied"),
            ("key:ec-p256", "no allow rule covers it"),
        ],
    ) + check(
        "[[allow]]\nlifetime = [\"5m..24h\", \"7d..7d\"]\nbackdate = \"..1m\"\n[[deny]]\nlifetime = \"23h59m..23h59m59s\"",
        &[
            ("lifetime:5m", "ok"),
            ("lifetime:4m59s", "lifetime 4m59s: no allow rule covers it"),
            ("lifetime:24h", "ok"),
            ("lifetime:24h1s", "lifetime 1d1s"),
            ("lifetime:7d", "ok"),
            ("lifetime:6d", "no allow rule covers it"),
            ("lifetime:23h59m", "denied"),
            ("lifetime:23h58m59s", "ok"),
            ("backdate:0s", "ok"),
            ("backdate:1m", "ok"),
            ("backdate:61s", "backdating 1m1s"),
            ("lifetime:1w", "?"),
        ],
    ) + check(
        "[[allow]]\neku = [\"serverAuth\", \"1.3.6.1.5.5.7.3.17\"]\nkey_usage = [\"digitalSignature\"]\n[[deny]]\neku = [\"codeSigning\"]",
        &[
            ("eku:serverAuth", "ok"),
            ("eku:1.3.6.1.5.5.7.3.1", "ok"),
            ("eku:ipsecIKE", "ok"),
            ("eku:serverAuth eku:clientAuth", "extended key usage clientAuth"),
            ("eku:codeSigning", "denied"),
            ("eku:any", "extended key usage any"),
            ("eku:1.2.3.4", "1.2.3.4"),
            ("ku:digitalSignature", "ok"),
            ("ku:digitalSignature ku:keyCertSign", "key usage keyCertSign"),
            ("ku:any", "key usage any"),
            ("eku:none ku:none", "ok"),
            ("eku:sslServer", "?"),
        ],
    ) + check(
        "[[allow]]\nextensions = [\"subjectAltName\", \"1.2.3\"]\nsignatures = [\"ecdsa-sha256\"]\nissuers = [\"CN=Team *\"]\n[[deny]]\nextensions = [\"nameConstraints\"]",
        &[
            ("extension:subjectAltName", "ok"),
            ("extension:1.2.3", "ok"),
            ("extension:1.2.3.4", "extension 1.2.3.4"),
            ("extension:noRevAvail", "extension noRevAvail"),
            ("extension:nameConstraints", "denied"),
            ("signature:ecdsa-sha256", "ok"),
            ("signature:ecdsa-sha384", "signature algorithm ecdsa-sha384"),
            ("issuer:CN=Team_CA", "ok"),
            ("issuer:CN=Other_CA", "issuer CN=Other CA"),
        ],
    )
}

fn ca_rows() -> usize {
    check(
        "[[allow]]\ndns = \"*\"",
        &[
            ("ca", "none has `ca`"),
            ("ca @requester=ceremony", "no allow rule covers it"),
            ("dns:a.test", "ok"),
        ],
    ) + check(
        "[[allow]]\nca = true\nwhen.requester = \"ceremony\"",
        &[
            ("ca @requester=ceremony", "ok"),
            ("ca @requester=acme", "for others"),
            ("ca @requester=own", "for others"),
            ("ca", "for others"),
        ],
    ) + check(
        "[[allow]]\nca = true",
        &[
            ("ca @requester=ceremony", "ok"),
            ("ca", "only the operator makes CA certificates"),
            ("ca @requester=auto-renewal", "only the operator"),
        ],
    )
}

fn condition_rows() -> usize {
    check(
        "[[allow]]\nname = \"web\"\nwhen.provisioner = [\"web\", \"edge\"]\ndns = \"*.web.test\"\n\
         [[allow]]\nname = \"alice\"\nwhen.account = \"alice\"\nwhen.provisioner = \"web\"\ndns = \"alice.test\"\n\
         [[allow]]\nname = \"key\"\nwhen.eab_key = \"k1\"\ndns = \"*.k1.test\"\n\
         [[deny]]\nname = \"short only\"\nunless.profile = [\"short\", \"brief\"]\nlifetime = \"25h..\"\n\
         [[deny]]\nname = \"prod\"\nwhen.authority = \"prod\"\nunless.requester = \"own\"\ndns = \"ca.web.test\"",
        &[
            ("dns:a.web.test @provisioner=web", "ok"),
            ("dns:a.web.test @provisioner=edge", "ok"),
            ("dns:a.web.test @provisioner=Web", "no allow rule covers it"),
            ("dns:a.web.test @provisioner=web,edge", "no allow rule covers it"),
            ("dns:a.web.test @provisioner=*", "no allow rule covers it"),
            ("dns:a.web.test @provisioner=we", "no allow rule covers it"),
            ("dns:a.web.test @provisioner=db", "\"web\" (line 1, for others)"),
            ("dns:a.web.test", "for others"),
            ("dns:alice.test @provisioner=web @account=alice", "ok"),
            ("dns:alice.test @provisioner=edge @account=alice", "no allow rule covers it"),
            (
                "dns:alice.test @provisioner=web @account=bob",
                "\"web\" (line 1), \"alice\" (line 5, for others)",
            ),
            ("dns:alice.test @provisioner=web", "no allow rule covers it"),
            ("dns:a.web.test @provisioner=web @account=alice", "ok"),
            ("dns:x.k1.test @eab=k1", "ok"),
            ("dns:x.k1.test @eab=k2", "no allow rule covers it"),
            ("dns:x.k1.test dns:a.web.test @eab=k1", "DNS name a.web.test"),
            ("dns:x.k1.test dns:a.web.test @eab=k1 @provisioner=web", "ok"),
            ("lifetime:25h", "denied by rule \"short only\""),
            ("lifetime:25h @profile=long", "denied by rule \"short only\""),
            ("lifetime:25h @profile=short", "ok"),
            ("lifetime:25h @profile=brief", "ok"),
            ("lifetime:24h", "ok"),
            ("dns:ca.web.test @provisioner=web", "ok"),
            ("dns:ca.web.test @provisioner=web @authority=prod", "denied by rule \"prod\""),
            ("dns:ca.web.test @provisioner=web @authority=prod @requester=own", "ok"),
            ("dns:ca.web.test @provisioner=web @authority=dev", "ok"),
            ("@requester=nobody", "?"),
        ],
    )
}

#[test]
fn at_least_two_hundred_rows() {
    let rows = [
        dns_rows(),
        address_rows(),
        uri_rows(),
        other_name_rows(),
        key_and_usage_rows(),
        ca_rows(),
        condition_rows(),
    ];
    let all: usize = rows.iter().sum();
    assert!(all >= 200, "{all} rows: {rows:?}");
}

#[test]
fn documents_that_are_refused() {
    let rows = [
        ("", "has no rule"),
        ("name = \"x\"", "has no rule"),
        ("[[allow]]\n", "lists nothing"),
        ("[[deny]]\nwhen.provisioner = \"x\"", "lists nothing"),
        (
            "[[allow]]\nwhen.provisioner = \"x\"\nwhen.colour = \"red\"\ndns = \"a.test\"",
            "line 3: allow[0].when.colour: unknown key",
        ),
        ("[[alow]]\ndns = \"a.test\"", "alow: unknown key"),
        ("allow = 1", "is no list of rules"),
        ("allow = [1]", "is no rule"),
        ("[[allow]]\ndns = 1", "is no list"),
        ("[[allow]]\ndns = [1]", "is no text"),
        ("[[allow]]\ndns = \"a.test.\"", "ends in a dot"),
        ("[[allow]]\ndns = \"10.0.0.1\"", "belongs in `ip`"),
        ("[[allow]]\ndns = \"bücher.test\"", "xn--"),
        ("[[allow]]\ndns = \"a b.test\"", "dns"),
        ("[[allow]]\ndns = \"\"", "empty"),
        ("[[allow]]\nip = \"10.0.0.1/8\"", "bits set beyond"),
        ("[[allow]]\nip = \"::ffff:10.0.0.0/104\"", "IPv4"),
        ("[[allow]]\nuri = \"//x\"", "uri"),
        ("[[allow]]\nuri = \"https://user@x/\"", "user information"),
        ("[[allow]]\nemail = \"a.test\"", "no @"),
        ("[[allow]]\nsubject = \"Example\"", "has no ="),
        ("[[allow]]\nsubject = \"XX=Example\"", "is no attribute"),
        ("[[allow]]\nkeys = \"rsa:big\"", "no size in bits"),
        ("[[allow]]\nkeys = \"ec-p256:256\"", "only rsa has sizes"),
        ("[[allow]]\nkeys = \"rsa:4096..2048\"", "no size in bits"),
        ("[[allow]]\nlifetime = \"24h\"", "is no span"),
        ("[[allow]]\nlifetime = \"..\"", "has no end"),
        ("[[allow]]\nlifetime = \"2h..1h\"", "ends before it begins"),
        ("[[allow]]\nlifetime = \"..24\"", "is no duration"),
        ("[[allow]]\nlifetime = \"..99999999999999999999d\"", "is no duration"),
        ("[[allow]]\neku = \"sslServer\"", "is not known"),
        ("[[allow]]\nkey_usage = \"1.2.3\"", "is not known"),
        ("[[allow]]\nwildcards = true", "names in `dns` may be wildcards"),
        ("[[allow]]\ndns = \"a.test\"\nwildcards = 1", "is no flag"),
        ("[[deny]]\nca = true", "deny[0].ca: unknown key"),
        ("[[deny]]\ndns = []", "denies nothing"),
        ("[[allow]]\ndns = \"a.test\"\nwhen.account = []", "names nobody"),
        ("[[allow]]\ndns = \"a.test\"\nwhen.account = \"*\"", "conditions do not know"),
        ("[[allow]]\ndns = \"a.test\"\nwhen = {}", "is empty"),
        ("[[allow]]\ndns = \"a.test\"\nwhen = 1", "is no table"),
        ("[[allow]]\ndns = \"a.test\"\nwhen.requester = \"me\"", "is no requester"),
        ("[[allow]]\ndns = \"a.test\"\nname = \"\"", "1 to 80 characters"),
        ("[[allow]\ndns", "TOML syntax"),
    ];
    for (text, want) in rows {
        let mistakes = document::parse(text, "test").expect_err(text);
        let all = mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(all.contains(want), "{text:?}: {all}");
    }
    let many = "[[allow]]\ndns = \"a.test\"\n".repeat(MOST_RULES + 1);
    assert!(document::parse(&many, "test").unwrap_err()[0].message.contains("at most 256"));
    let long = |entries| format!("[[allow]]\ndns = [{}]\n", "\"a.test\",".repeat(entries));
    assert!(document::parse(&long(MOST_ENTRIES), "test").is_ok());
    assert!(document::parse(&long(MOST_ENTRIES + 1), "test").is_err());
    assert!(document::parse(&long(MOST_ENTRIES).repeat(5), "test").is_err(), "4096 in all");
}

#[test]
fn several_mistakes_are_found_at_once() {
    let text = "[[allow]]\ndns = \"-\"\nip = \"x\"\n[[deny]]\nkeyz = \"x\"";
    let mistakes = document::parse(text, "test").unwrap_err();
    assert_eq!(mistakes.iter().map(|mistake| mistake.line).collect::<Vec<_>>(), [2, 3, 5]);
}

#[test]
fn what_is_not_understood_is_refused() {
    let policy = policy("[[allow]]\ndns = \"*\"");
    let error = NotUnderstood { field: "subjectAltName", why: "odd".into() };
    let verdict = policy.judge(&Err(error), &Context::new(T0, Who::Acme));
    assert!(verdict.to_string().contains("not understood: subjectAltName: odd"), "{verdict}");
}

#[test]
fn both_must_allow_and_a_policy_that_is_tried_changes_nothing() {
    let wide = || Some(Arc::new(policy("[[allow]]\ndns = \"*.test\"")));
    let tight = || Some(Arc::new(policy("name = \"tight\"\n[[allow]]\ndns = \"a.test\"")));
    let facts = |words: &str| Ok(read(words).unwrap().0);
    let context = Context::new(T0, Who::Acme);
    // Of the authority and of the provisioner: in force, tried; what is decided and who differs.
    let rows = [
        ((None, None), (None, None), "b.test", true, 0),
        ((wide(), None), (None, None), "b.test", true, 0),
        ((wide(), None), (tight(), None), "b.test", false, 0),
        ((tight(), None), (wide(), None), "b.test", false, 0),
        ((tight(), None), (wide(), None), "a.test", true, 0),
        ((wide(), tight()), (None, None), "b.test", true, 1),
        ((wide(), tight()), (None, None), "a.test", true, 0),
        ((None, tight()), (None, None), "b.test", true, 1),
        ((tight(), wide()), (None, None), "b.test", false, 1),
        ((wide(), tight()), (wide(), tight()), "b.test", true, 2),
        ((tight(), None), (None, tight()), "b.test", false, 1),
        ((wide(), None), (None, None), "b.evil", false, 0),
    ];
    for (at, (authority, provisioner, name, allowed, differing)) in rows.into_iter().enumerate() {
        let pair = |(enforced, audit)| Pair { enforced, audit };
        let (authority, provisioner) = (pair(authority), pair(provisioner));
        let policies = Policies { authority: Some(&authority), provisioner: Some(&provisioner) };
        let words = format!("dns:{name}");
        let judged = policies.judge(&facts(&words), &context);
        assert_eq!((judged.verdict.allowed(), judged.differing.len()), (allowed, differing), "row {at}");
    }
}

#[test]
fn the_conditions_that_a_verdict_depends_on() {
    for (text, want) in [
        ("[[allow]]\ndns = \"*\"\n", &[][..]),
        (
            "[[allow]]\ndns = \"*\"\nwhen.profile = \"a\"\nunless.authority = \"b\"\n",
            &["authority", "profile"],
        ),
        (
            "[[deny]]\ndns = \"*\"\nunless.eab_key = \"a\"\nwhen.requester = \"own\"\n",
            &["eab_key", "requester"],
        ),
        (
            "[[deny]]\ndns = \"*\"\nunless.account = \"a\"\nwhen.provisioner = \"p\"\n",
            &["provisioner", "account"],
        ),
    ] {
        assert_eq!(document::parse(text, "x").unwrap().conditions(), want, "{text}");
    }
}
