//! What is made of other systems' policies: the samples word by word, and what each field comes to.

use std::path::{Path, PathBuf};

use super::super::describe::Description;
use super::super::{Context, Facts, Policy, Who};
use super::*;
use crate::time::Timestamp;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/policies")
}

/// The samples, with the policy that belongs to each.
fn samples() -> Vec<(PathBuf, String)> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "yaml" || e == "json"));
    files.sort();
    let made = |file: PathBuf| {
        let text = std::fs::read_to_string(&file).unwrap();
        let stem = file.file_stem().unwrap().to_str().unwrap();
        let imported = import(&text, None, stem).unwrap_or_else(|m| panic!("{}: {m:#?}", file.display()));
        (file.with_extension("toml"), imported.policy)
    };
    files.into_iter().map(made).collect()
}

#[test]
fn the_samples_make_what_is_beside_them() {
    let samples = samples();
    assert!(samples.len() >= 4);
    for (file, policy) in samples {
        let want = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(policy, want, "{}", file.display());
    }
}

/// Run by hand, once the difference was read.
#[test]
#[ignore = "writes files"]
fn write_imported_policies() {
    for (file, policy) in samples() {
        std::fs::write(file, policy).unwrap();
    }
}

fn policy(original: &str) -> (Policy, Vec<Note>) {
    let imported = import(original, None, "test").unwrap_or_else(|m| panic!("{original}: {m:#?}"));
    (document::parse(&imported.policy, "test").unwrap(), imported.notes)
}

fn allows(policy: &Policy, request: &str) -> bool {
    let description: Description = toml::from_str(request).unwrap();
    let facts: Facts = description.facts().unwrap();
    policy.judge(&Ok(facts), &Context::new(Timestamp::EPOCH, Who::Acme)).allowed()
}

#[test]
fn what_roles_come_to() {
    let rows: &[(&str, &[(&str, bool)])] = &[
        // Only this machine, unless it is said otherwise.
        (
            r#"{"key_type": "ec"}"#,
            &[
                (r#"dns = ["localhost"]"#, true),
                (r#"dns = ["a.localhost"]"#, false),
                (r#"dns = ["a.test"]"#, false),
                (r#"email = ["a@localhost"]"#, true),
                (r#"ip = ["10.0.0.1"]"#, true),
                (r#"uri = ["spiffe://a.test/x"]"#, false),
                (r#"devices = ["x"]"#, false),
                (r#"key = "ec-p256""#, true),
                (r#"key = "rsa:2048""#, false),
                (r#"lifetime = "9000d""#, true),
                (r#"eku = ["serverAuth", "clientAuth"]"#, true),
                (r#"eku = ["codeSigning"]"#, false),
                (r#"key_usage = ["digitalSignature", "keyAgreement"]"#, true),
                (r#"key_usage = ["keyCertSign"]"#, false),
                (r#"subject = ["O=X"]"#, false),
                ("ca = true", false),
            ],
        ),
        (
            r#"{"allow_localhost": "false", "allowed_domains": "a.test, b.test", "allow_bare_domains": 1}"#,
            &[
                (r#"dns = ["localhost"]"#, false),
                (r#"dns = ["a.test", "b.test"]"#, true),
                (r#"dns = ["x.a.test"]"#, false),
                (r#"dns = ["*.a.test"]"#, false),
                (r#"email = ["a@a.test"]"#, true),
                (r#"email = ["a@x.a.test"]"#, false),
                (r#"subject = ["CN=a.test"]"#, true),
                (r#"subject = ["CN=x.test"]"#, false),
                (r#"subject = ["CN=me"]"#, false),
                (r#"key = "rsa:2048""#, true),
            ],
        ),
        (
            r#"{"allowed_domains": ["a.test"], "allow_subdomains": true, "allow_wildcard_certificates": false}"#,
            &[
                (r#"dns = ["x.y.a.test"]"#, true),
                (r#"dns = ["a.test"]"#, false),
                (r#"dns = ["*.a.test"]"#, false),
                (r#"dns = ["xa.test"]"#, false),
                (r#"email = ["a@x.a.test"]"#, true),
            ],
        ),
        (
            r#"{"allowed_domains": ["*-db.a.test"], "allow_glob_domains": true, "allow_ip_sans": false}"#,
            &[
                (r#"dns = ["x.y-db.a.test"]"#, true),
                (r#"dns = ["db.a.test"]"#, false),
                (r#"email = ["a@x-db.a.test"]"#, true),
                (r#"email = ["x-db.a.test@b.test"]"#, false),
                (r#"ip = ["10.0.0.1"]"#, false),
            ],
        ),
        (
            r#"{"allowed_domains": ["@*.a.test", "*.b.test"], "allow_glob_domains": true}"#,
            &[(r#"email = ["x@y.a.test"]"#, false), (r#"email = ["x@y.b.test"]"#, true)],
        ),
        (
            r#"{"allowed_uri_sans": "spiffe://*", "allowed_ip_sans_cidr": "10.0.0.0/8", "key_bits": 4096}"#,
            &[
                (r#"uri = ["spiffe://a.test/x/y"]"#, true),
                (r#"uri = ["spiffe://a.test"]"#, true),
                (r#"uri = ["https://a.test/"]"#, false),
                (r#"ip = ["10.9.9.9"]"#, true),
                (r#"ip = ["11.0.0.1"]"#, false),
                (r#"key = "rsa:3072""#, false),
                (r#"key = "rsa:4096""#, true),
            ],
        ),
        (
            r#"{"organization": ["Example"], "allowed_user_ids": ["dev-*"], "max_ttl": "72h", "key_type": "any",
             "key_usage": [], "server_flag": false, "client_flag": false, "ext_key_usage": "ExtKeyUsageCodeSigning"}"#,
            &[
                (r#"subject = ["O=Example", "UID=dev-1"]"#, true),
                (r#"subject = ["UID=x"]"#, false),
                (r#"lifetime = "72h""#, true),
                (r#"lifetime = "73h""#, false),
                (r#"key = "ed25519""#, true),
                (r#"key = "ml-dsa-65""#, false),
                (r#"eku = ["codeSigning"]"#, true),
                (r#"eku = ["serverAuth"]"#, false),
                (r#"key_usage = ["any"]"#, true),
                (r#"key_usage = ["digitalSignature"]"#, false),
            ],
        ),
    ];
    for (role, requests) in rows {
        let (policy, _) = policy(role);
        for (request, want) in *requests {
            assert_eq!(allows(&policy, request), *want, "{role}: {request}");
        }
    }
}

fn request_policy(spec: &str) -> String {
    format!(
        "apiVersion: policy.cert-manager.io/v1alpha1\nkind: CertificateRequestPolicy\nmetadata: {{name: x}}\nspec: {spec}\n"
    )
}

#[test]
fn what_certificate_request_policies_come_to() {
    let rows: &[(&str, &[(&str, bool)])] = &[
        // What is not listed must be absent.
        (
            "{selector: {issuerRef: {}}}",
            &[
                ("", true),
                (r#"dns = ["a.test"]"#, false),
                (r#"ip = ["10.0.0.1"]"#, false),
                (r#"subject = ["CN=me"]"#, false),
                (r#"subject = ["O=X"]"#, false),
                (r#"key = "ml-dsa-87""#, true),
                (r#"lifetime = "9000d""#, true),
                (r#"eku = ["serverAuth"]"#, true),
            ],
        ),
        (
            "{allowed: {dnsNames: {values: ['*.a.test', '']}, commonName: {value: 'x.a.test'}}}",
            &[
                (r#"dns = ["b.x.a.test", "*.a.test"]"#, true),
                (r#"dns = ["a.test"]"#, false),
                (r#"subject = ["CN=x.a.test"]"#, true),
                (r#"subject = ["CN=y.a.test"]"#, false),
            ],
        ),
        (
            "{allowed: {dnsNames: {values: []}, emailAddresses: {values: ['*']}, uris: {values: ['*']}}}",
            &[
                (r#"dns = ["a.test"]"#, false),
                (r#"email = ["a@b.test"]"#, true),
                (r#"uri = ["urn:a:b"]"#, true),
            ],
        ),
        (
            "{allowed: {usages: [server auth, digital signature]}, constraints: {minDuration: 90s, maxDuration: 1.5h}}",
            &[
                (r#"eku = ["serverAuth"]"#, true),
                (r#"eku = ["clientAuth"]"#, false),
                (r#"key_usage = ["digitalSignature"]"#, true),
                (r#"key_usage = ["keyEncipherment"]"#, false),
                (r#"lifetime = "90m""#, true),
                (r#"lifetime = "91m""#, false),
                (r#"lifetime = "89s""#, false),
            ],
        ),
        (
            "{allowed: {usages: ['*']}, constraints: {privateKey: {minSize: 384}}}",
            &[
                (r#"eku = ["clientAuth", "any"]"#, true),
                (r#"key = "ec-p384""#, true),
                (r#"key = "ec-p256""#, false),
                (r#"key = "rsa:2048""#, true),
                (r#"key = "ed25519""#, false),
            ],
        ),
        (
            "{constraints: {privateKey: {algorithm: ECDSA, maxSize: 256}}}",
            &[(r#"key = "ec-p256""#, true), (r#"key = "ec-p384""#, false), (r#"key = "rsa:2048""#, false)],
        ),
        (
            "{allowed: {emailAddresses: {values: ['@a.test', 'x@b.test']}, subject: {otherAttributes: [{oid: '*', values: ['*']}, {oid: O, values: ['*']}]}}}",
            &[
                (r#"email = ["x@b.test"]"#, true),
                (r#"email = ["x@a.test"]"#, false),
                (r#"subject = ["OU=x"]"#, false),
                (r#"subject = ["O=x"]"#, false),
            ],
        ),
        (
            "{allowed: {subject: {serialNumber: {value: 'dev-*'}, otherAttributes: [{oid: 0.9.2342.19200300.100.1.1, values: [me]}]}}}",
            &[(r#"subject = ["serialNumber=dev-1", "UID=me"]"#, true), (r#"subject = ["UID=you"]"#, false)],
        ),
    ];
    for (spec, requests) in rows {
        let (policy, _) = policy(&request_policy(spec));
        for (request, want) in *requests {
            assert_eq!(allows(&policy, request), *want, "{spec}: {request}");
        }
    }
}

#[test]
fn nothing_is_dropped_silently() {
    let spec = |text: &str| request_policy(text);
    let rows = [
        (r#"{"colour": 1}"#.to_owned(), Bearing::Wider, "colour"),
        (r#"{"require_cn": true}"#.to_owned(), Bearing::Wider, "require_cn"),
        (r#"{}"#.to_owned(), Bearing::Wider, "require_cn"),
        (r#"{"cn_validations": "disabled"}"#.to_owned(), Bearing::Narrower, "cn_validations"),
        (r#"{"enforce_hostnames": false}"#.to_owned(), Bearing::Narrower, "enforce_hostnames"),
        (
            r#"{"allowed_domains": "{{x}}.a", "allowed_domains_template": true}"#.to_owned(),
            Bearing::Narrower,
            "allowed_domains",
        ),
        (
            r#"{"allowed_domains": "a_b.test", "allow_bare_domains": true}"#.to_owned(),
            Bearing::Narrower,
            "allowed_domains",
        ),
        (r#"{"allowed_other_sans": "*"}"#.to_owned(), Bearing::Narrower, "allowed_other_sans"),
        (r#"{"allowed_uri_sans": "spiffe://*.a.test/x"}"#.to_owned(), Bearing::Narrower, "allowed_uri_sans"),
        (r#"{"ttl": "24h"}"#.to_owned(), Bearing::Elsewhere, "ttl"),
        (r#"{"not_before_duration": 30}"#.to_owned(), Bearing::Elsewhere, "not_before_duration"),
        (r#"{"not_after": "2030-01-01T00:00:00Z"}"#.to_owned(), Bearing::Wider, "not_after"),
        (r#"{"policy_identifiers": ["1.2.3"]}"#.to_owned(), Bearing::Elsewhere, "policy_identifiers"),
        (r#"{"no_store": true}"#.to_owned(), Bearing::Nothing, "no_store"),
        (spec("{plugins: {rego: {values: {a: b}}}}"), Bearing::Wider, "spec.plugins.rego"),
        (spec("{allowed: {dnsNames: {required: true}}}"), Bearing::Wider, "spec.allowed.dnsNames.required"),
        (
            spec("{allowed: {uris: {validations: [{rule: 'x'}]}}}"),
            Bearing::Wider,
            "spec.allowed.uris.validations",
        ),
        (spec("{allowed: {isCA: true}}"), Bearing::Narrower, "spec.allowed.isCA"),
        (spec("{allowed: {colour: red}}"), Bearing::Wider, "spec.allowed.colour"),
        (spec("{allowed: {ipAddresses: {values: ['*.1']}}}"), Bearing::Narrower, "spec.allowed.ipAddresses"),
        (spec("{allowed: {usages: [flying]}}"), Bearing::Narrower, "spec.allowed.usages"),
        // None may be asked for there.
        (spec("{allowed: {}}"), Bearing::Wider, "spec.allowed.usages"),
        (
            spec("{allowed: {emailAddresses: {values: ['@a.test']}}}"),
            Bearing::Nothing,
            "spec.allowed.emailAddresses",
        ),
        (
            spec("{allowed: {emailAddresses: {values: ['a*b*c*d*e*f']}}}"),
            Bearing::Narrower,
            "spec.allowed.emailAddresses",
        ),
        (
            spec("{allowed: {subject: {otherAttributes: [{oid: O, values: ['*']}]}}}"),
            Bearing::Narrower,
            "spec.allowed.subject.otherAttributes",
        ),
        (
            r#"{"allowed_domains": "@*.a.test", "allow_glob_domains": true}"#.to_owned(),
            Bearing::Nothing,
            "allowed_domains",
        ),
        (
            spec("{selector: {namespace: {matchNames: [a]}}}"),
            Bearing::Elsewhere,
            "spec.selector.namespace.matchNames",
        ),
    ];
    for (original, bearing, field) in rows {
        let (_, notes) = policy(&original);
        let found = notes.iter().any(|note| note.bearing == bearing && note.field == field);
        assert!(found, "{original}: {notes:#?}");
    }
}

#[test]
fn mistakes_name_their_line_and_field() {
    let rows = [
        ("[1]", None, 1, ""),
        ("", None, 1, ""),
        ("a: &x 1", None, 1, ""),
        (r#"{"ttl": "soon"}"#, None, 1, "ttl"),
        (r#"{"allow_subdomains": "maybe"}"#, None, 1, "allow_subdomains"),
        (r#"{"allowed_domains": {"a": 1}}"#, None, 1, "allowed_domains"),
        (r#"{"key_type": "dsa"}"#, None, 1, "key_type"),
        ("kind: Pod\napiVersion: v1\nspec: {}\n", None, 1, "kind"),
        ("kind: CertificateRequestPolicy\napiVersion: v1\nspec: {}\n", None, 2, "apiVersion"),
        ("kind: CertificateRequestPolicy\napiVersion: policy.cert-manager.io/v1alpha1\n", None, 1, "spec"),
        (
            "kind: CertificateRequestPolicy\napiVersion: policy.cert-manager.io/v1alpha1\nspec:\n  allowed:\n    dnsNames: x\n",
            None,
            5,
            "spec.allowed.dnsNames",
        ),
        (r#"{"key_type": "ec"}"#, Some(Source::CertManager), 1, "kind"),
    ];
    for (text, source, line, key) in rows {
        let mistakes = import(text, source, "x").unwrap_err();
        assert!(mistakes.iter().any(|m| (m.line, m.key.as_str()) == (line, key)), "{text}: {mistakes:#?}");
    }
    let many: Vec<String> = (0..1100).map(|n| format!("\"a{n}.test\"")).collect();
    let role = format!(r#"{{"allow_bare_domains": true, "allowed_domains": [{}]}}"#, many.join(","));
    let mistakes = import(&role, None, "x").unwrap_err();
    assert!(mistakes.iter().any(|m| m.message.contains("at most 1024")), "{mistakes:#?}");
}

/// An entry for each star, each as long as the glob, were a gigabyte for a text of some 50 KiB.
#[test]
fn many_stars_make_no_long_lists() {
    let glob = "*a".repeat(25_000);
    let role = format!(r#"{{"allowed_domains": ["{glob}"], "allow_glob_domains": true}}"#);
    for original in
        [role, request_policy(&format!("{{allowed: {{emailAddresses: {{values: ['{glob}']}}}}}}"))]
    {
        assert!(original.len() < LARGEST);
        let (_, notes) = policy(&original);
        assert!(notes.iter().any(|note| note.text.contains("more than four stars")), "{notes:#?}");
    }
}
