use std::time::Duration;

use proptest::prelude::*;

use super::settings::*;
use super::*;
use crate::acme::challenge::ChallengeKind;
use crate::authority::key_source::{KeySource, PasswordSource};
use crate::provisioner::profile::usages::Usages;
use crate::provisioner::profile::{KeyType, KeyTypes, LeafRules, Profiles, Rules};

const MINIMAL: &str = r#"
[server]
address = "127.0.0.1:9443"
dns_names = ["ca.test", "10.0.0.1"]

[[provisioner]]
type = "acme"
name = "acme"
"#;

fn good(text: &str) -> Settings {
    parse(text, Path::new("/etc/mayfly")).settings.unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn errors(text: &str) -> Vec<Problem> {
    parse(text, Path::new("/etc/mayfly")).settings.expect_err(text)
}

#[test]
fn the_least_file_has_the_documented_defaults() {
    let settings = good(MINIMAL);
    assert_eq!(settings.server.base_url, "https://ca.test:9443");
    assert_eq!(settings.server.max_body, 65_536);
    assert_eq!(settings.store.engine, Engine::Fjall);
    assert_eq!(settings.store.path, Path::new("/etc/mayfly/db"));
    assert_eq!(
        settings.authorities[0].key,
        KeySource::File("/etc/mayfly/secrets/intermediate_ca_key".into())
    );
    assert!(settings.authorities[0].password.is_none() && !settings.server.allow_core_dumps);
    assert_eq!(settings.authorities[0].root, Path::new("/etc/mayfly/certs/root_ca.crt"));
    assert_eq!((settings.validation.http_port, settings.validation.tls_alpn_port), (80, 443));
    assert_eq!(settings.validation.timeout, Duration::from_secs(10));
    assert_eq!(settings.validation.attempts, 4);
    assert_eq!(settings.limits, crate::limits::Rules::default());
    assert_eq!(settings.network_connections, Some(512));
    assert_eq!(settings.store.account_retention, Duration::from_secs(90 * 86_400));
    assert_eq!(settings.log, Log { level: LogLevel::Info, json: false });
    let [Provisioner::Acme(acme)] = settings.provisioners.as_slice() else { panic!() };
    assert_eq!(acme.challenges, [ChallengeKind::Http01, ChallengeKind::Dns01, ChallengeKind::TlsAlpn01]);
    assert_eq!(acme.lifetimes.default, Duration::from_secs(86_400));
    assert_eq!(acme.lifetimes.max, Duration::from_secs(86_400));
    assert_eq!(acme.lifetimes.min, Duration::from_secs(300));
    assert_eq!(acme.order_ttl, Duration::from_secs(7200));
    assert_eq!(acme.authorization_ttl, Duration::from_secs(28_800));
    assert!(acme.wildcards && acme.max_names == 100);
}

#[test]
fn external_account_binding_and_the_admin_socket() {
    use crate::provisioner::eab::EabMode;
    let acme = |text: &str| {
        let Provisioner::Acme(acme) = good(text).provisioners.remove(0);
        (acme.eab, acme.eab_trusts_names)
    };
    assert_eq!(acme(MINIMAL), (EabMode::Off, false));
    for (name, mode) in EabMode::TABLE {
        assert_eq!(acme(&minimal_with("provisioner", &format!("eab = \"{name}\""))), (*mode, false));
    }
    let trusting = "eab = \"optional\"\neab_trusts_names = true";
    assert_eq!(acme(&minimal_with("provisioner", trusting)), (EabMode::Optional, true));

    let socket = |text: &str| good(text).admin.socket;
    assert_eq!(socket(MINIMAL), Path::new("/etc/mayfly/admin.sock"));
    // Beside the store, where this CA may write.
    assert_eq!(socket(&minimal_with("store", "path = \"/srv/ca/db\"")), Path::new("/srv/ca/admin.sock"));
    assert_eq!(socket(&minimal_with("admin", "socket = \"run/a\"")), Path::new("/etc/mayfly/run/a"));
    assert_eq!(socket(&minimal_with("admin", "socket = \"/run/a\"")), Path::new("/run/a"));
}

#[test]
fn traces_go_where_the_endpoint_says() {
    assert_eq!(good(MINIMAL).traces, None);
    let with = |lines: &str| format!("{MINIMAL}[traces]\n{lines}\n");
    let traces = |lines: &str| good(&with(lines)).traces.unwrap();
    for (endpoint, url) in [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
        ("https://o.test/tenant/7", "https://o.test/tenant/7/v1/traces"),
        ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
    ] {
        let found = traces(&format!("otlp_endpoint = \"{endpoint}\""));
        assert_eq!((found.url.as_str(), found.sample), (url, 1_000_000));
    }
    let on = "otlp_endpoint = \"http://127.0.0.1:4318\"\n";
    for (sample, want) in [("0", 0), ("1", 1_000_000), ("0.25", 250_000), ("0.000001", 1), ("1e-2", 10_000)] {
        assert_eq!(traces(&format!("{on}sample = {sample}")).sample, want);
    }
    let files = traces(&format!("{on}ca = \"ca.crt\"\nheaders_file = \"/run/headers\""));
    assert_eq!(files.ca.as_deref(), Some(Path::new("/etc/mayfly/ca.crt")));
    assert_eq!(files.headers_file.as_deref(), Some(Path::new("/run/headers")));

    // No secret goes to another machine in clear, and no other span unnoticed.
    let elsewhere = "otlp_endpoint = \"http://otel.test:4318\"\n";
    let found = errors(&with(&format!("{elsewhere}headers_file = \"h\"")));
    assert!(found[0].key == "traces.headers_file" && found[0].message.contains("https"), "{found:#?}");
    let notes = |lines: &str| parse(&with(lines), Path::new("/etc/mayfly")).notes;
    assert!(notes(elsewhere)[0].message.contains("in clear"));
    assert!(notes(on).is_empty());
    assert!(notes("sample = 0.1")[0].message.contains("no traces are exported"));
    assert!(notes(&format!("{on}trust = [\"0.0.0.0/0\"]"))[0].message.contains("everybody"));
    // What stands where a URL belongs may be a password.
    let found = errors(&with("otlp_endpoint = \"http://u:hush@h:1\""));
    assert!(!found[0].to_string().contains("hush"), "{found:#?}");
}

#[test]
fn automatic_renewal_is_offered_within_bounds_or_not_at_all() {
    let [Provisioner::Acme(none)] = good(MINIMAL).provisioners.try_into().unwrap();
    assert_eq!(none.auto_renewal, None);
    let with = |lines: &str| format!("{MINIMAL}[provisioner.auto_renewal]\n{lines}\n");
    let rows = [
        ("min_lifetime = \"1h\"\nmax_duration = \"90d\"", (3600, 90 * 86_400, false)),
        ("min_lifetime = \"1m\"\nmax_duration = \"1m\"\nallow_certificate_get = true", (60, 60, true)),
        // Two thirds of it come on top, and make the 24 hours that max_ttl allows.
        ("min_lifetime = \"14h24m\"\nmax_duration = \"3650d\"", (51_840, 3650 * 86_400, false)),
    ];
    for (lines, (least, most, get)) in rows {
        let [Provisioner::Acme(acme)] = good(&with(lines)).provisioners.try_into().unwrap();
        let want = crate::acme::star::Offer {
            min_lifetime: Duration::from_secs(least),
            max_duration: Duration::from_secs(most),
            allow_certificate_get: get,
        };
        assert_eq!(acme.auto_renewal, Some(want), "{lines}");
    }
    let (least, most) = ("min_lifetime = \"1h\"", "max_duration = \"90d\"");
    let path = |key: &str| format!("provisioner[0].auto_renewal.{key}");
    let rows = [
        (least.to_owned(), path("max_duration"), "is required"),
        (most.to_owned(), path("min_lifetime"), "is required"),
        (format!("min_lifetime = \"59s\"\n{most}"), path("min_lifetime"), "give 1m to 398d"),
        (format!("min_lifetime = \"0s\"\n{most}"), path("min_lifetime"), "zero does not"),
        (format!("min_lifetime = 3600\n{most}"), path("min_lifetime"), "no unit"),
        (format!("min_lifetime = \"15h\"\n{most}"), path("min_lifetime"), "longer than max_ttl, 1d"),
        (format!("{least}\nmax_duration = \"0s\""), path("max_duration"), "zero does not"),
        (format!("{least}\nmax_duration = \"3651d\""), path("max_duration"), "give 1m to 3650d"),
        (format!("{least}\nmax_duration = \"59m\""), path("min_lifetime"), "longer than max_duration"),
        (
            format!("{least}\n{most}\nallow_certificate_get = 1"),
            path("allow_certificate_get"),
            "true or false",
        ),
        (format!("{least}\n{most}\nmin_lifetimes = \"1h\""), path("min_lifetimes"), "`min_lifetime`"),
    ];
    for (lines, key, words) in rows {
        let found = errors(&with(&lines));
        assert_eq!(found.len(), 1, "{lines}: {found:#?}");
        assert_eq!(found[0].key, key, "{lines}");
        assert!(found[0].message.contains(words) && found[0].line.is_some(), "{lines}: {}", found[0]);
    }
    // A section of its own it is not.
    let found = errors(&format!("{MINIMAL}[auto_renewal]\n{least}\n{most}\n"));
    assert!(found[0].message.contains("unknown section"), "{found:#?}");
    let found = errors(&format!("{MINIMAL}[\"provisioner.auto_renewal\"]\n{least}\n{most}\n"));
    assert!(found[0].message.contains("unknown section"), "{found:#?}");
}

#[test]
fn base_urls() {
    let rows = [
        ("https://ca.test", Ok("https://ca.test")),
        ("https://CA.test:443", Ok("https://ca.test")),
        ("https://ca.test:8443", Ok("https://ca.test:8443")),
        ("https://10.0.0.1", Ok("https://10.0.0.1")),
        ("https://[fd00::1]:8443", Ok("https://[fd00::1]:8443")),
        ("https://[fd00::1]", Ok("https://[fd00::1]")),
        ("http://ca.test", Err("https://")),
        ("https://ca.test/", Err("slash")),
        ("https://ca.test/acme", Err("more than a host")),
        ("https://ca.test?x", Err("more than a host")),
        ("https://me@ca.test", Err("more than a host")),
        ("https://ca.test:0", Err("port")),
        ("https://ca.test:", Err("port")),
        ("https://ca.test:+1", Err("port")),
        ("https://ca.test:70000", Err("port")),
        ("https://fd00::1", Err("brackets")),
        ("https://", Err("host")),
        ("https://*.ca.test", Err("wildcard")),
    ];
    for (url, want) in rows {
        let text = MINIMAL.replace("[server]", &format!("[server]\nbase_url = {url:?}"));
        match want {
            Ok(want) => assert_eq!(good(&text).server.base_url, want, "{url}"),
            Err(want) => {
                let found = errors(&text);
                assert_eq!(found.len(), 1, "{url}: {found:?}");
                assert_eq!((found[0].line, found[0].key.as_str()), (Some(3), "server.base_url"));
                assert!(found[0].message.contains(want), "{url}: {}", found[0].message);
            }
        }
    }
}

const SHORT: &str = "[provisioner.profiles.short]";

/// One bad line in an otherwise good file: section, line, key reported, words of the message.
const BAD_LINES: &[(&str, &str, &str, &str)] = &[
    ("[server]", "adress = \"x\"", "server.adress", "did you mean `address`?"),
    ("[server]", "http_port = 80", "server.http_port", "belongs in [validation]"),
    ("[server]", "colour = 1", "server.colour", "[server] has address"),
    ("[server]", "max_body = 65536", "server.max_body", "has no unit; write a size"),
    ("[server]", "max_body = \"65536\"", "server.max_body", "has no unit"),
    ("[server]", "max_body = \"64KB\"", "server.max_body", "\"KB\" is not a unit"),
    ("[server]", "max_body = \"0B\"", "server.max_body", "zero does not switch a limit off"),
    ("[server]", "max_body = \"1GiB\"", "server.max_body", "give 4KiB to 16MiB"),
    ("[server]", "max_body = true", "server.max_body", "is a boolean"),
    ("[server]", "max_connections = 0", "server.max_connections", "zero does not switch"),
    ("[server]", "max_connections = -1", "server.max_connections", "out of range"),
    ("[server]", "max_connections = \"9\"", "server.max_connections", "whole number without quotes"),
    ("[server]", "request_timeout = 30", "server.request_timeout", "write a duration such as \"30s\""),
    ("[server]", "request_timeout = \"0s\"", "server.request_timeout", "zero does not switch"),
    ("[server]", "drain_timeout = \"2d\"", "server.drain_timeout", "give 1s to 1h"),
    ("[store]", "engine = \"postgres\"", "store.engine", "write one of \"fjall\""),
    ("[store]", "engine = \"fjal\"", "store.engine", "did you mean \"fjall\"?"),
    ("[store]", "path = \"\"", "store.path", "is empty"),
    ("[store]", "path = 3", "store.path", "is an integer"),
    ("[store]", "retention = \"0h\"", "store.retention", "zero does not"),
    ("[authority]", "password_file = \"\"", "authority.password_file", "is empty"),
    ("[authority]", "password_env = \"A-B\"", "authority.password_env", "letters, digits"),
    ("[authority]", "password_env = \"1A\"", "authority.password_env", "letters, digits"),
    ("[authority]", "password_credential = \"../x\"", "authority.password_credential", "LoadCredential="),
    ("[authority]", "key = \"pkcs11:token=t;object=o\"", "authority.key", "module-path"),
    ("[authority]", "key = \"vault:x\"", "authority.key", "is no keystore"),
    ("[server]", "allow_core_dumps = 1", "server.allow_core_dumps", "true or false"),
    ("[authority]", "alternate_chains = \"x.pem\"", "authority.alternate_chains", "write a list"),
    ("[authority]", "alternate_chains = [\"\"]", "authority.alternate_chains[0]", "is empty"),
    ("[authority]", "alternate_chains = [\"a\", \"a\"]", "authority.alternate_chains[1]", "twice"),
    (
        "[authority]",
        "alternate_chains = [\"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\"]",
        "authority.alternate_chains",
        "at most 8",
    ),
    ("[authority]", "passwordfile = \"x\"", "authority.passwordfile", "`password_file`"),
    ("[validation]", "http_port = 0", "validation.http_port", "give 1 to 65535"),
    ("[validation]", "tls_alpn_port = 65536", "validation.tls_alpn_port", "out of range"),
    ("[validation]", "resolvers = [\"dns.test\"]", "validation.resolvers[0]", "is not IP:PORT"),
    ("[validation]", "resolvers = [\"10.0.0.1:0\"]", "validation.resolvers[0]", "port 0"),
    ("[validation]", "resolvers = \"10.0.0.1:53\"", "validation.resolvers", "write a list"),
    ("[validation]", "allow = [\"10.0.0.1/8\"]", "validation.allow[0]", "write \"10.0.0.0/8\""),
    ("[validation]", "deny = [\"::/129\"]", "validation.deny[0]", "is not a network"),
    ("[validation]", "timeout = \"0s\"", "validation.timeout", "zero does not"),
    ("[validation]", "attempts = 0", "validation.attempts", "give 1 to 20"),
    ("[server]", "request_timeout = \"2m\"", "server.request_timeout", "give 1s to 1m"),
    ("[server]", "max_headers = 0", "server.max_headers", "zero does not"),
    ("[server]", "max_url = \"1MiB\"", "server.max_url", "give 256B to 16KiB"),
    ("[store]", "account_retention = \"0s\"", "store.account_retention", "zero does not"),
    ("[limits]", "account_orders = 300", "limits.account_orders", "is an integer"),
    (
        "[limits]",
        "account_orders = \"0 per 3h\"",
        "limits.account_orders",
        "zero does not switch a limit off",
    ),
    (
        "[limits]",
        "account_orders = \"300 per 0s\"",
        "limits.account_orders",
        "zero does not switch a limit off",
    ),
    (
        "[limits]",
        "network_requests = \"300/h\"",
        "limits.network_requests",
        "write \"300 per 3h\", or \"off\"",
    ),
    ("[limits]", "open_orders = 0", "limits.open_orders", "zero does not"),
    ("[limits]", "open_orders = \"none\"", "limits.open_orders", "or \"off\""),
    ("[limits]", "network_connections = 0", "limits.network_connections", "zero does not"),
    ("[limits]", "ipv4_prefix = 33", "limits.ipv4_prefix", "give 8 to 32"),
    ("[limits]", "exempt = [\"10.0.0.1/8\"]", "limits.exempt[0]", "write \"10.0.0.0/8\""),
    ("[limits]", "account_order = \"off\"", "limits.account_order", "did you mean `account_orders`?"),
    ("[log]", "level = \"warning\"", "log.level", "did you mean \"warn\"?"),
    ("[traces]", "otlp_endpoint = \"127.0.0.1:4318\"", "traces.otlp_endpoint", "write http"),
    ("[traces]", "otlp_endpoint = \"grpc://127.0.0.1:4317\"", "traces.otlp_endpoint", "no collector's URL"),
    ("[traces]", "otlp_endpoint = \"http://h:1/v1/traces\"", "traces.otlp_endpoint", "leave that out"),
    ("[traces]", "otlp_endpoint = \"http://u:hush@h:1\"", "traces.otlp_endpoint", "no collector's URL"),
    ("[traces]", "otlp_endpoint = 4318", "traces.otlp_endpoint", "a string"),
    ("[traces]", "sample = 1.5", "traces.sample", "give 0 to 1"),
    ("[traces]", "sample = -0.1", "traces.sample", "give 0 to 1"),
    ("[traces]", "sample = nan", "traces.sample", "give 0 to 1"),
    ("[traces]", "sample = \"10%\"", "traces.sample", "a number from 0 to 1"),
    ("[traces]", "queue = 0", "traces.queue", "zero does not"),
    ("[traces]", "batch = 10001", "traces.batch", "give 1 to 10000"),
    ("[traces]", "interval = \"0s\"", "traces.interval", "zero does not"),
    ("[traces]", "timeout = 10", "traces.timeout", "no unit"),
    ("[traces]", "trust = [\"10.0.0.1/8\"]", "traces.trust[0]", "write \"10.0.0.0/8\""),
    ("[traces]", "headers = \"x\"", "traces.headers", "did you mean `headers_file`?"),
    ("[log]", "format = \"xml\"", "log.format", "write one of \"text\", \"json\""),
    ("[[provisioner]]", "pre_authorization = 1", "provisioner[0].pre_authorization", "true or false"),
    (
        "[[provisioner]]",
        "subdomain_authorizations = \"yes\"",
        "provisioner[0].subdomain_authorizations",
        "true or false",
    ),
    ("[[provisioner]]", "default_ttl = \"0s\"", "provisioner[0].default_ttl", "zero does not"),
    (
        "[[provisioner]]",
        "default_ttl = \"2d\"",
        "provisioner[0].default_ttl",
        "longer than max_ttl, 1d (its default)",
    ),
    ("[[provisioner]]", "max_ttl = \"399d\"", "provisioner[0].max_ttl", "give 1m to 398d"),
    ("[[provisioner]]", "max_ttl = \"1h\"", "provisioner[0].default_ttl", "raise max_ttl"),
    ("[[provisioner]]", "min_ttl = \"25h\"", "provisioner[0].min_ttl", "longer than default_ttl"),
    ("[[provisioner]]", "challenges = []", "provisioner[0].challenges", "is empty"),
    ("[[provisioner]]", "challenges = [\"http01\"]", "provisioner[0].challenges[0]", "\"http-01\""),
    ("[[provisioner]]", "challenges = [\"dns-01\", \"dns-01\"]", "provisioner[0].challenges[1]", "twice"),
    ("[[provisioner]]", "wildcards = \"no\"", "provisioner[0].wildcards", "true or false"),
    ("[[provisioner]]", "max_names = 0", "provisioner[0].max_names", "zero does not"),
    ("[[provisioner]]", "allow_names = []", "provisioner[0].allow_names", "leave it out"),
    ("[[provisioner]]", "allow_names = [\"a_b\"]", "provisioner[0].allow_names[0]", "character"),
    ("[[provisioner]]", "order_ttl = \"0s\"", "provisioner[0].order_ttl", "zero does not"),
    ("[[provisioner]]", "authorization_ttl = 8", "provisioner[0].authorization_ttl", "no unit"),
    ("[[provisioner]]", "eab = \"on\"", "provisioner[0].eab", "\"required\""),
    ("[[provisioner]]", "eab = true", "provisioner[0].eab", "is a boolean"),
    ("[[provisioner]]", "eab_trusts_names = true", "provisioner[0].eab_trusts_names", "nobody can be bound"),
    ("[[provisioner]]", "eab_trusts_names = \"yes\"", "provisioner[0].eab_trusts_names", "true or false"),
    ("[admin]", "socket = \"\"", "admin.socket", "is empty"),
    ("[admin]", "sockets = \"x\"", "admin.sockets", "did you mean `socket`?"),
    (
        "[admin]",
        "socket = \"/a-very-long-path/a-very-long-path/a-very-long-path/a-very-long-path/a-very-long-path/a-very-long-path/a.sock\"",
        "admin.socket",
        "the system takes 96",
    ),
    ("[admin]", "socket = \"..\"", "admin.socket", "is not the path of a file"),
    // By whichever mistake: never everybody with a certificate from that CA.
    (
        "[admin]",
        "address = \"127.0.0.1:9444\"\nclient_ca = \"ca.pem\"",
        "admin.clients",
        "list whom you mean",
    ),
    (
        "[admin]",
        "clients = []\naddress = \"127.0.0.1:9444\"\nclient_ca = \"ca.pem\"",
        "admin.clients",
        "may not be empty",
    ),
    ("[admin]", "address = \"127.0.0.1:9444\"", "admin.clients", "is required"),
    (
        "[admin]",
        "address = \"127.0.0.1:9444\"\nclients = [\"a.test\"]",
        "admin.client_ca",
        "clients has a.test",
    ),
    ("[admin]", "clients = [\"*.test\"]\naddress = \"127.0.0.1:9444\"", "admin.clients[0]", "wildcard"),
    (
        "[admin]",
        "clients = [\"sha256:ab\"]\naddress = \"127.0.0.1:9444\"",
        "admin.clients[0]",
        "64 hex digits",
    ),
    ("[admin]", "address = \"9444\"\nclients = [\"a.test\"]", "admin.address", "is not IP:PORT"),
    ("[admin]", "clients = [\"a.test\"]", "admin.clients", "without an `address`"),
    ("[admin]", "client_ca = \"ca.pem\"", "admin.client_ca", "without an `address`"),
    ("[admin]", "dashboard_on_loopback = \"yes\"", "admin.dashboard_on_loopback", "true or false"),
    ("[[provisioner]]", "auto_renewal = true", "provisioner[0].auto_renewal", "write a section"),
    ("[[provisioner]]", "website = \"ftp://x\"", "provisioner[0].website", "not an http"),
    ("[[provisioner]]", "reuse_certificates = \"0s\"", "provisioner[0].reuse_certificates", "zero does not"),
    ("[[provisioner]]", "reuse_certificates = true", "provisioner[0].reuse_certificates", "with a unit"),
    ("[[provisioner]]", "fresh_keys = \"yes\"", "provisioner[0].fresh_keys", "true or false"),
    ("[[provisioner]]", "issue_budget = \"0 per 24h\"", "provisioner[0].issue_budget", "zero does not"),
    ("[[provisioner]]", "issue_budget = 12", "provisioner[0].issue_budget", "string"),
    ("[[provisioner]]", "reuse_certificates = \"8d\"", "provisioner[0].reuse_certificates", "give 1m to 7d"),
    ("[[provisioner]]", "renewal_explanation = \"x\"", "provisioner[0].renewal_explanation", "not an http"),
    ("[[provisioner]]", "default_profile = \"x\"", "provisioner[0].default_profile", "not one of"),
    ("[[provisioner]]", "default_profile = 1", "provisioner[0].default_profile", "string"),
    ("[[provisioner]]", "profiles = {}", "provisioner[0].profiles", "is empty"),
    ("[[provisioner]]", "profiles = [\"a\"]", "provisioner[0].profiles", "a section for each"),
    ("[[provisioner]]", "profiles = { a = 1 }", "provisioner[0].profiles.a", "write a section"),
    (
        "[[provisioner]]",
        "profiles = { \"a b\" = {} }",
        "provisioner[0].profiles.a b",
        "no name for a profile",
    ),
    ("[[provisioner]]", "profiles = { a = { ttl = 1 } }", "provisioner[0].profiles.a.ttl", "unknown key"),
    (SHORT, "max_tll = \"1h\"", "provisioner[0].profiles.short.max_tll", "`max_ttl`"),
    (SHORT, "wildcards = true", "provisioner[0].profiles.short.wildcards", "belongs in [provisioner]"),
    (SHORT, "default_ttl = \"0s\"", "provisioner[0].profiles.short.default_ttl", "zero does not"),
    (SHORT, "max_ttl = \"399d\"", "provisioner[0].profiles.short.max_ttl", "give 1m to 398d"),
    (SHORT, "default_ttl = \"2d\"", "provisioner[0].profiles.short.default_ttl", "longer than max_ttl"),
    (SHORT, "key_types = []", "provisioner[0].profiles.short.key_types", "is empty"),
    (SHORT, "key_types = [\"p256\"]", "provisioner[0].profiles.short.key_types[0]", "\"ec-p256\""),
    (SHORT, "key_types = [\"rsa\", \"rsa\"]", "provisioner[0].profiles.short.key_types[1]", "twice"),
    (SHORT, "usages = []", "provisioner[0].profiles.short.usages", "there must be one"),
    (SHORT, "usages = [\"codeSign\"]", "provisioner[0].profiles.short.usages[0]", "not known"),
    (SHORT, "usages = \"serverAuth\"", "provisioner[0].profiles.short.usages", "write a list"),
    (SHORT, "usages = [\"2.5.29.37.0\"]", "provisioner[0].profiles.short.usages[0]", "every usage"),
    (
        SHORT,
        "usages = [\"serverAuth\", \"1.3.6.1.5.5.7.3.1\"]",
        "provisioner[0].profiles.short.usages",
        "twice",
    ),
    (SHORT, "usages = [\"timeStamping\", \"serverAuth\"]", "provisioner[0].profiles.short.usages", "alone"),
    (SHORT, "key_usage = [\"keyCertSign\"]", "provisioner[0].profiles.short.key_usage[0]", "never a leaf's"),
    (SHORT, "key_usage = [\"keyEncipherment\"]", "provisioner[0].profiles.short.key_usage", "ec-p256 keys"),
    (SHORT, "min_rsa_bits = 1024", "provisioner[0].profiles.short.min_rsa_bits", "2048 to 8192"),
    (
        SHORT,
        "min_rsa_bits = 3072\nkey_types = [\"ec-p256\"]",
        "provisioner[0].profiles.short.min_rsa_bits",
        "is for RSA keys",
    ),
    (SHORT, "sans = [\"uri\"]", "provisioner[0].profiles.short.sans", "nothing could be ordered"),
    (SHORT, "uris = [\"spiffe://td\"]", "provisioner[0].profiles.short.uris[0]", "has a path"),
    (SHORT, "uris = [\"spiffe://td/{{ nmae }}\"]", "provisioner[0].profiles.short.uris[0]", "undefined"),
    (SHORT, "uris = [\"spiffe://td/{{ name\"]", "provisioner[0].profiles.short.uris[0]", "syntax error"),
    (
        SHORT,
        "uris = [\"spiffe://td/a\", \"https://a.test/\"]",
        "provisioner[0].profiles.short.uris",
        "no other URI",
    ),
    (
        SHORT,
        "uris = [\"spiffe://td/a\"]\nsans = [\"dns\"]",
        "provisioner[0].profiles.short.uris",
        "sans has only: dns",
    ),
    (SHORT, "emails = [\"{{ name }}\"]", "provisioner[0].profiles.short.emails[0]", "has an @"),
    (SHORT, "subject = { country = \"Germany\" }", "provisioner[0].profiles.short.subject.country", "1 to 2"),
    (SHORT, "subject = { cn = \"x\" }", "provisioner[0].profiles.short.subject.cn", "unknown key"),
    (
        SHORT,
        "subject = { common_name = \"www.bank.test\" }",
        "provisioner[0].profiles.short.subject.common_name",
        "none of the certificate's names",
    ),
    (
        SHORT,
        "extensions = [{ oid = \"2.5.29.19\", hex = \"3000\" }]",
        "provisioner[0].profiles.short.extensions[0].oid",
        "decides about itself",
    ),
    (
        SHORT,
        "extensions = [{ oid = \"1.2.x\", hex = \"0500\" }]",
        "provisioner[0].profiles.short.extensions[0].oid",
        "dotted decimal",
    ),
    (
        SHORT,
        "extensions = [{ oid = \"1.2.3\", hex = \"05\" }]",
        "provisioner[0].profiles.short.extensions[0].hex",
        "one value in DER",
    ),
    (
        SHORT,
        "extensions = [{ oid = \"1.2.3\", hex = \"0500\", utf8 = \"a\" }]",
        "provisioner[0].profiles.short.extensions[0]",
        "exactly one of",
    ),
    (
        SHORT,
        "extensions = [{ oid = \"1.2.3\", hex = \"0500\" }, { oid = \"1.2.3\", hex = \"0500\" }]",
        "provisioner[0].profiles.short.extensions[1].oid",
        "twice",
    ),
    (SHORT, "extensions = {}", "provisioner[0].profiles.short.extensions", "two brackets"),
    (SHORT, "backdate = \"2d\"", "provisioner[0].profiles.short.backdate", "out of range"),
    (SHORT, "no_rev_avail_below = \"0s\"", "provisioner[0].profiles.short.no_rev_avail_below", "zero"),
    (
        SHORT,
        "no_rev_avail_below = \"never\"",
        "provisioner[0].profiles.short.no_rev_avail_below",
        "write a duration",
    ),
    (SHORT, "description = \"\"", "provisioner[0].profiles.short.description", "is empty"),
    (SHORT, "description = \"a\\tb\"", "provisioner[0].profiles.short.description", "control characters"),
    ("[[provisioner]]", "terms_of_service = \"https://\"", "provisioner[0].terms_of_service", "not an http"),
];

#[test]
fn restraints_are_the_provisioners_or_the_profiles() {
    use crate::limits::gcra::Quota;
    let text = format!(
        "{MINIMAL}fresh_keys = true\nissue_budget = \"12 per 24h\"\n\
         [provisioner.profiles.as]\n[provisioner.profiles.loose]\nfresh_keys = false\nissue_budget = \"off\"\n\
         [provisioner.profiles.tight]\nissue_budget = \"1 per 1h\"\n"
    );
    let settings = good(&text);
    let [Provisioner::Acme(acme)] = settings.provisioners.as_slice() else { panic!() };
    let hours = |count, hours: u64| Quota::new(count, Duration::from_secs(hours * 3600));
    for (profile, fresh, shared, own) in [
        (None, true, hours(12, 24), None),
        (Some("as"), true, hours(12, 24), None),
        (Some("loose"), false, None, None),
        (Some("tight"), true, None, hours(1, 1)),
    ] {
        let got = acme.restraints(profile);
        assert_eq!(
            (got.fresh_keys, got.issue_budget, got.profile_budget),
            (fresh, shared, own),
            "{profile:?}"
        );
    }
    let plain = good(MINIMAL);
    let [Provisioner::Acme(plain)] = plain.provisioners.as_slice() else { panic!() };
    assert_eq!(plain.restraints, Default::default());
    // What an authority's profile demands never loosens what the provisioner does.
    let text = format!(
        "{MINIMAL}fresh_keys = true\nissue_budget = \"2 per 24h\"\n[authority.profiles.off]\n\
         fresh_keys = false\nissue_budget = \"off\"\n[authority.profiles.own]\nissue_budget = \"12 per 1h\"\n"
    );
    let settings = good(&text);
    let [Provisioner::Acme(acme)] = settings.provisioners.as_slice() else { panic!() };
    for (profile, own) in [("off", None), ("own", hours(12, 1))] {
        let got = acme.restraints(Some(profile));
        assert_eq!((got.fresh_keys, got.issue_budget, got.profile_budget), (true, hours(2, 24), own));
    }
}

#[test]
fn profiles() {
    let text = format!(
        "{MINIMAL}max_ttl = \"3d\"\ndefault_profile = \"server\"\nreuse_certificates = \"10m\"\n\
         renewal_explanation = \"https://wiki.test/\"\n\
         [provisioner.profiles.server]\ndescription = \"https://wiki.test/server\"\n\
         [provisioner.profiles.job]\ndefault_ttl = \"1h\"\nmax_ttl = \"2h\"\n\
         key_types = [\"ec-p256\", \"ed25519\"]\nusages = [\"clientAuth\"]\n"
    );
    let settings = good(&text);
    let [Provisioner::Acme(acme)] = settings.provisioners.as_slice() else { panic!() };
    assert_eq!(acme.reuse_certificates, Some(Duration::from_secs(600)));
    assert_eq!(acme.renewal_explanation.as_deref(), Some("https://wiki.test/"));
    assert_eq!(acme.profiles.default.as_deref(), Some("server"));
    let server = &acme.profiles.offered["server"];
    assert_eq!(server.description, "https://wiki.test/server");
    assert_eq!(server.rules, Rules { lifetimes: acme.lifetimes, leaf: LeafRules::usual() });
    let job = &acme.profiles.offered["job"];
    assert_eq!(job.description, "1h, at most 2h; clientAuth; ec-p256, ed25519");
    let hours = |n: u64| Duration::from_secs(n * 3600);
    assert_eq!((job.rules.lifetimes.default, job.rules.lifetimes.max), (hours(1), hours(2)));
    assert_eq!(&job.rules.leaf.usages, Usages::client_only());
    assert_eq!(KeyTypes::of(&[KeyType::EcP256, KeyType::Ed25519]), Some(job.rules.leaf.key_types));
    // Without any of it: as ever.
    let [Provisioner::Acme(plain)] = &good(MINIMAL).provisioners[..] else { panic!() };
    assert_eq!((&plain.profiles, plain.reuse_certificates), (&Profiles::default(), None));
}

#[test]
fn what_a_profile_puts_into_certificates() {
    let text = format!(
        "{MINIMAL}[provisioner.profiles.all]\nusages = [\"clientAuth\", \"1.3.6.1.4.1.311.20.2.2\"]\n\
         key_types = [\"rsa\"]\nmin_rsa_bits = 3072\nkey_usage = [\"digitalSignature\"]\n\
         sans = [\"dns\", \"uri\", \"email\"]\nuris = [\"spiffe://td/{{{{ eab.label }}}}\"]\n\
         emails = [\"{{{{ eab.label }}}}\"]\nbackdate = \"5m\"\nno_rev_avail_below = \"off\"\n\
         subject = {{ common_name = \"{{{{ name }}}}\", country = \"DE\" }}\n\
         [[provisioner.profiles.all.extensions]]\noid = \"1.3.6.1.4.1.32473.1\"\ncritical = true\n\
         base64 = \"BQA=\"\n"
    );
    let settings = good(&text);
    let [Provisioner::Acme(acme)] = settings.provisioners.as_slice() else { panic!() };
    let leaf = &acme.profiles.offered["all"].rules.leaf;
    assert_eq!((leaf.min_rsa_bits, leaf.sans.names().as_str()), (3072, "dns, uri, email"));
    assert_eq!((leaf.backdate, leaf.no_rev_avail_below), (Duration::from_secs(300), None));
    assert_eq!(leaf.key_usage.map(|usage| usage.byte()), Some(0x80));
    assert_eq!(leaf.usages.names(), "clientAuth, 1.3.6.1.4.1.311.20.2.2");
    let templates = &leaf.templates;
    assert_eq!((templates.subject.len(), templates.uris.len(), templates.emails.len()), (2, 1, 1));
    let [extension] = templates.extensions.as_slice() else { panic!() };
    assert!(extension.critical && extension.oid.to_string() == "1.3.6.1.4.1.32473.1");
}

#[test]
fn every_rule_names_its_line_and_key() {
    for (section, line, key, words) in BAD_LINES {
        let text = if MINIMAL.contains(section) {
            MINIMAL.replace(section, &format!("{section}\n{line}"))
        } else {
            format!("{MINIMAL}{section}\n{line}\n")
        };
        let found = errors(&text);
        assert_eq!(found.len(), 1, "{line}: {found:#?}");
        assert_eq!(found[0].key, *key, "{line}: {}", found[0]);
        assert!(found[0].message.contains(words), "{line}: {}", found[0]);
        if !key.ends_with("default_ttl") || line.starts_with("default_ttl") {
            let at = text.lines().position(|l| Some(l) == line.lines().next()).unwrap() + 1;
            assert_eq!(found[0].line, Some(at), "{line}");
        }
    }
}

#[test]
fn proofs_ahead_and_of_subdomains() {
    let of = |lines: &str| {
        let text = MINIMAL.replace("[[provisioner]]", &format!("[[provisioner]]\n{lines}"));
        let Provisioner::Acme(terms) = good(&text).provisioners.remove(0);
        terms
    };
    let usual = of("");
    assert!(usual.offers_pre_authorization() && !usual.subdomains);
    assert!(of("subdomain_authorizations = true").subdomains);
    assert!(!of("pre_authorization = false").offers_pre_authorization());
    // Not asked for, and of no use: simply not offered.
    assert!(!of("authorization_ttl = \"0s\"").offers_pre_authorization());
    let rows = [
        ("authorization_ttl = \"0s\"\npre_authorization = true", "authorization_ttl is zero"),
        ("challenges = [\"http-01\"]\nwildcards = false\nsubdomain_authorizations = true", "add \"dns-01\""),
    ];
    for (lines, words) in rows {
        let found = errors(&MINIMAL.replace("[[provisioner]]", &format!("[[provisioner]]\n{lines}")));
        assert!(found.len() == 1 && found[0].message.contains(words), "{found:#?}");
    }
}

#[test]
fn whole_files() {
    let rows: &[(&str, &[&str])] = &[
        ("", &["provisioner: there is none", "server.address: is required", "server.dns_names: is required"]),
        ("address = \"x\"", &["it belongs in [server]"]),
        (
            "[\"provisioner.profiles.NAME\"]\nmax_ttl = \"1h\"",
            &["provisioner.profiles.NAME: unknown section"],
        ),
        ("[sever]\n[server]", &["did you mean [server]?"]),
        ("server = 3", &["server: is an integer; write a section [server]"]),
        ("[provisioner]\nname = \"a\"", &["two brackets"]),
        ("[[provisioner]]", &["provisioner[0].type: is required", "provisioner[0].name: is required"]),
        ("[[provisioner]]\ntype = \"jwk\"", &["line 2: provisioner[0].type: \"jwk\" is not known"]),
        ("[[provisioner]]\nname = \"A b\"", &["line 2: provisioner[0].name: \"A b\" cannot stand in a URL"]),
        ("[server]\ndns_names = []", &["line 2: server.dns_names: is empty"]),
        ("[server]\ndns_names = [\"*.a.test\"]", &["not by a wildcard"]),
        (
            "[server]\ndns_names = [\n \"a.test\",\n \"A.test\"]",
            &["line 4: server.dns_names[1]: a.test is there twice"],
        ),
        ("[server]\naddress = \"localhost:1\"", &["line 2: server.address: \"localhost:1\" is not IP:PORT"]),
        ("a = \nb = = 2\n", &["line 1: TOML syntax, column", "line 2: TOML syntax, column"]),
        ("[server]\naddress = \"a\"\naddress = \"b\"", &["line 3: TOML syntax, column 1: duplicate key"]),
    ];
    for (text, wants) in rows {
        let found: Vec<_> = errors(text).iter().map(ToString::to_string).collect();
        for want in *wants {
            assert!(found.iter().any(|f| f.contains(want)), "{text:?}: {want:?} not in {found:#?}");
        }
    }
}

#[test]
fn hostile_files_are_answered_soon() {
    let many = |line: &dyn Fn(usize) -> String, n: usize| (0..n).map(line).collect::<String>();
    let files = [
        format!("a = {}", "[".repeat(500_000)),
        format!("a = {}", "{a=".repeat(300_000)),
        format!("a{} = 1", ".a".repeat(300_000)),
        many(&|_| "= =\n".into(), 200_000),
        format!("[server]\n{}", many(&|n| format!("k{n} = 1\n"), 80_000)),
        many(&|n| format!("[[provisioner]]\nname = \"p{n}\"\n"), 25_000),
        format!("[server]\ndns_names = [{}]", many(&|n| format!("\"h{n}\","), 100_000)),
    ];
    for text in files {
        assert!(!errors(&text).is_empty());
    }
}

#[test]
fn errors_are_all_reported_in_the_order_of_lines() {
    let mut text = String::from(MINIMAL.trim_start());
    text = text.replace("name = \"acme\"", "name = \"acme\"\nmax_ttl = 5\nwebsite = 1");
    text.push_str(
        "[[provisioner]]\ntype = \"acme\"\nname = \"acme\"\n[validation]\nport = 1\nhttp_port = 0\n",
    );
    let found: Vec<_> = errors(&text).into_iter().map(|p| (p.line.unwrap(), p.key)).collect();
    let want = [
        (8, "provisioner[0].max_ttl"),
        (9, "provisioner[0].website"),
        (12, "provisioner[1].name"),
        (14, "validation.port"),
        (15, "validation.http_port"),
    ];
    assert_eq!(found, want.map(|(line, key)| (line, key.to_owned())));
}

#[test]
fn limits_are_set_and_switched_off_by_name() {
    use crate::limits::Limit;
    let text = format!(
        "{MINIMAL}[limits]\naccount_orders = \"5 per 1m\"\nnetwork_orders = \"off\"\nopen_orders = \"off\"\n\
         network_connections = \"off\"\nipv6_prefix = 48\nexempt = [\"10.0.0.0/8\", \"::1\"]\n"
    );
    let settings = good(&text);
    let rules = settings.limits;
    let quota = rules.quota(Limit::AccountOrders).unwrap();
    assert_eq!((quota.count(), quota.per()), (5, Duration::from_secs(60)));
    assert_eq!(rules.quota(Limit::NetworkOrders), None);
    assert_eq!((rules.open_orders, settings.network_connections), (None, None));
    assert_eq!((rules.ipv6_prefix, rules.exempt.len()), (48, 2));
    assert!(rules.quota(Limit::AccountRequests).is_some(), "the others stay on");
}

#[test]
fn notes_do_not_keep_from_running() {
    let text = format!(
        "{MINIMAL}challenges = [\"http-01\"]\n[validation]\nallow = [\"0.0.0.0/0\"]\n[store]\nengine = \"memory\"\n"
    );
    let report = parse(&text, Path::new("."));
    assert!(report.settings.is_ok());
    let keys: Vec<_> = report.notes.iter().map(|n| n.key.as_str()).collect();
    assert_eq!(keys, ["provisioner[0].challenges", "validation.allow", "store.engine"]);
}

#[cfg(not(feature = "sled"))]
#[test]
fn an_engine_not_built_in_is_an_error() {
    let found = errors(&format!("{MINIMAL}[store]\nengine = \"sled\"\n"));
    assert!(found[0].message.contains("--features sled"), "{}", found[0]);
}

#[test]
fn the_keys_place_and_its_password() {
    let key = "pkcs11:token=t;object=o?module-path=/m.so";
    let text = format!("{MINIMAL}[authority]\nkey = \"{key}\"\npassword_env = \"PIN\"\n");
    let settings = good(&text);
    assert_eq!(settings.authorities[0].key.to_string(), key);
    assert_eq!(settings.authorities[0].password, Some(PasswordSource::Env("PIN".into())));
    let rows = [
        text.replace("m.so\"", "m.so&pin-source=/pin\""),
        format!("{text}password_credential = \"pin\"\n"),
        text.replace(key, "awskms:key-id=k;region=eu-west-1"),
    ];
    for text in rows {
        let found = errors(&text);
        assert_eq!(found.len(), 1, "{text}: {found:#?}");
        assert!(found[0].key.starts_with("authority.password_"), "{}", found[0]);
    }
}

#[test]
fn files_that_do_not_exist() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mayfly.toml");
    let missing = load(&path).unwrap_err();
    assert!(missing[0].message.contains("mayfly init"), "{}", missing[0]);

    std::fs::write(&path, format!("{MINIMAL}[authority]\nkey = \"k\"\npassword_file = \"p\"\n")).unwrap();
    let keys: Vec<_> = load(&path).unwrap_err().into_iter().map(|p| (p.line, p.key)).collect();
    let key = |line, name: &str| (Some(line), format!("authority.{name}"));
    assert_eq!(keys, [key(9, "root"), key(9, "certificate"), key(10, "key"), key(11, "password_file")]);

    std::fs::create_dir(dir.path().join("certs")).unwrap();
    for name in ["k", "p", "certs/root_ca.crt", "certs/intermediate_ca.crt", "db"] {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    let found = load(&path).unwrap_err();
    assert_eq!((found.len(), found[0].key.as_str()), (1, "store.path"));
    std::fs::remove_file(dir.path().join("db")).unwrap();
    assert_eq!(load(&path).unwrap().authorities[0].key, KeySource::File(dir.path().join("k")));

    std::fs::write(&path, b"# fine\n\xff").unwrap();
    assert_eq!(load(&path).unwrap_err()[0].line, Some(2));
    assert!(load(dir.path()).unwrap_err()[0].message.contains("not a file"));
}

/// No limit of these settings is switched off.
fn limits_hold(settings: &Settings) -> bool {
    let Settings { server, store, validation, provisioners, .. } = settings;
    let lives = |lifetimes: &crate::acme::order::Lifetimes| {
        !lifetimes.min.is_zero()
            && lifetimes.min <= lifetimes.default
            && lifetimes.default <= lifetimes.max
            && lifetimes.max <= LONGEST_TTL
    };
    let provisioner = |Provisioner::Acme(p): &Provisioner| {
        lives(&p.lifetimes)
            && p.profiles.offered.values().all(|profile| lives(&profile.rules.lifetimes))
            && p.profiles.default.as_ref().is_none_or(|name| p.profiles.offered.contains_key(name))
            && p.reuse_certificates.is_none_or(|window| !window.is_zero())
            && p.max_names > 0
            && !p.order_ttl.is_zero()
            && !p.challenges.is_empty()
            && is_provisioner_name(&p.name)
            && p.auto_renewal
                .is_none_or(|offer| !offer.min_lifetime.is_zero() && offer.min_lifetime <= offer.max_duration)
    };
    server.max_body > 0
        && server.max_connections > 0
        && server.max_requests > 0
        && server.address.port() > 0
        && !server.dns_names.is_empty()
        && server.base_url.starts_with("https://")
        && ![server.request_timeout, server.drain_timeout, store.retention, validation.timeout]
            .contains(&Duration::ZERO)
        && validation.attempts > 0
        && validation.http_port > 0
        && validation.tls_alpn_port > 0
        && settings.limits.open_orders != Some(0)
        && settings.network_connections != Some(0)
        && server.max_url > 0
        && server.max_headers > 0
        && server.max_head > 0
        && !store.account_retention.is_zero()
        && !provisioners.is_empty()
        && provisioners.iter().all(provisioner)
}

/// Values of every type, many of them zero or close to right.
fn value() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "\"0s\"",
        "\"0B\"",
        "0",
        "-0",
        "0.0",
        "\"0h0m0s\"",
        "\"24h\"",
        "\"1h30m\"",
        "\"64KiB\"",
        "\"1GiB\"",
        "true",
        "[]",
        "{}",
        "\"\"",
        "\"ca.test\"",
        "[\"ca.test\"]",
        "\"10.0.0.1:1\"",
        "\"10.0.0.1:0\"",
        "[\"10.0.0.0/8\"]",
        "\"https://a.test\"",
        "\"json\"",
        "\"acme\"",
        "[\"dns-01\"]",
        "1",
        "80",
        "1979-05-27",
        "0xff",
        "99999999999999999999",
        "nan",
        "[[1]]",
        "\"memory\"",
        "{ a = 1 }",
    ]);
    prop_oneof![8 => words.prop_map(str::to_owned), 1 => ".*", 1 => "\"[a-z0-9.:/]{0,12}\""]
}

/// A file built from known sections and keys, with a few that are not.
fn document() -> impl Strategy<Value = String> {
    let sections = || prop::sample::select((0..file::SECTIONS.len()).collect::<Vec<_>>());
    let line = (any::<prop::sample::Index>(), value(), 0..20_u8);
    let section = (sections(), prop::collection::vec(line, 0..6)).prop_map(|(at, lines)| {
        let (name, keys) = file::SECTIONS[at];
        let mut out = if name == "provisioner" { "[[provisioner]]\n".into() } else { format!("[{name}]\n") };
        for (key, value, odd) in lines {
            let key = keys[key.index(keys.len())];
            let key = if odd == 0 { format!("{key}x") } else { key.to_owned() };
            out.push_str(&format!("{key} = {value}\n"));
        }
        out
    });
    prop::collection::vec(section, 0..4).prop_map(|sections| sections.concat())
}

/// The least file with one more line in a section.
fn minimal_with(section: &str, line: &str) -> String {
    let header = if section == "provisioner" { "[[provisioner]]".into() } else { format!("[{section}]") };
    match MINIMAL.contains(&header) {
        true => MINIMAL.replace(&header, &format!("{header}\n{line}")),
        false => format!("{MINIMAL}{header}\n{line}\n"),
    }
}

#[test]
fn nothing_like_zero_switches_a_limit_off() {
    let zeros = ["0", "-0", "0.0", "false", "[]", "{}", "\"\"", "\"0\"", "\"0s\"", "\"0h0m\"", "\"0B\""];
    let mut accepted = Vec::new();
    for (section, keys) in file::SECTIONS {
        for (key, zero) in keys.iter().flat_map(|key| zeros.map(|zero| (key, zero))) {
            let line = format!("{key} = {zero}");
            if let Ok(settings) = parse(&minimal_with(section, &line), Path::new(".")).settings {
                assert!(limits_hold(&settings), "{line}");
                accepted.push(line);
            }
        }
    }
    // File names and words apart, only these mean something: no more of what the defaults have, and
    // "never".
    let files = [
        "name",
        "path",
        "root",
        "certificate",
        "key",
        "password_file",
        "socket",
        "description",
        "policy",
        "policy_audit",
        "ca",
        "headers_file",
        "service_name",
    ];
    accepted.retain(|line| !files.iter().any(|file| line.starts_with(&format!("{file} = "))));
    let want = [
        "allow_core_dumps = false",
        // Names of files.
        "password_credential = \"0\"",
        "password_credential = \"0s\"",
        "password_credential = \"0h0m\"",
        "password_credential = \"0B\"",
        "alternate_chains = []",
        "other_issuers = []",
        "resolvers = []",
        "allow = []",
        "deny = []",
        "deny_names = []",
        "wildcards = false",
        "authorization_ttl = \"0s\"",
        "authorization_ttl = \"0h0m\"",
        "pre_authorization = false",
        "subdomain_authorizations = false",
        "validation = {}",
        "caa = false",
        "eab_trusts_names = false",
        "fresh_keys = false",
        "offer_profiles = []",
        "uris = []",
        "emails = []",
        "subject = {}",
        "extensions = []",
        "backdate = \"0s\"",
        "backdate = \"0h0m\"",
        "fresh_keys = false",
        "exempt = []",
        "dashboard_on_loopback = false",
        "allow = []",
        "vault_aliases = false",
        // Nothing is recorded then, or nobody else decides what is.
        "sample = 0",
        "sample = -0",
        "sample = 0.0",
        "trust = []",
    ];
    assert_eq!(accepted, want);
}

proptest! {
    #[test]
    fn any_text_is_answered(text in "(?s).*") {
        let _ = parse(&text, Path::new("."));
    }

    #[test]
    fn any_document_is_answered_and_no_limit_is_off(text in document(), minimal in any::<bool>()) {
        let text = if minimal { format!("{MINIMAL}{text}") } else { text };
        let report = parse(&text, Path::new("."));
        if let Ok(settings) = &report.settings {
            prop_assert!(limits_hold(settings), "{text}");
        }
        if let Err(problems) = &report.settings {
            prop_assert!(!problems.is_empty());
            let lines = text.lines().count().max(1) + 1;
            prop_assert!(problems.iter().all(|p| p.line.is_none_or(|l| (1..=lines).contains(&l))));
        }
    }

    #[test]
    fn one_changed_value_never_switches_a_limit_off(
        at in any::<prop::sample::Index>(), key in any::<prop::sample::Index>(), value in value()
    ) {
        let (name, keys) = file::SECTIONS[at.index(file::SECTIONS.len())];
        let line = format!("{} = {value}", keys[key.index(keys.len())]);
        let text = minimal_with(name, &line);
        if let Ok(settings) = parse(&text, Path::new(".")).settings {
            prop_assert!(limits_hold(&settings), "{line}");
        }
    }
}

/// The annotated samples, which users copy.
const SAMPLES: &[(&str, &str)] = &[
    ("dev.toml", include_str!("../../config/dev.toml")),
    ("team.toml", include_str!("../../config/team.toml")),
    ("company.toml", include_str!("../../config/company.toml")),
];

#[test]
fn every_sample_parses_without_a_note() {
    for (name, text) in SAMPLES {
        let report = parse(text, Path::new("/etc/mayfly"));
        assert!(report.settings.is_ok(), "{name}: {:#?}", report.settings);
        assert!(report.notes.is_empty(), "{name}: {:#?}", report.notes);
    }
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        // Policies have a folder of their own, and their own test.
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut listed: Vec<_> = SAMPLES.iter().map(|(name, _)| (*name).to_owned()).collect();
    listed.sort();
    assert_eq!(files, listed, "every file in config/ is in SAMPLES");
}

/// A line of a sample that is commented out is one that a reader will uncomment.
#[test]
fn the_commented_out_settings_of_samples_are_right_too() {
    for (name, text) in SAMPLES {
        let is_setting = |line: &str| {
            line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
        };
        for (at, line) in text.lines().enumerate().filter(|(_, line)| is_setting(line)) {
            let on = text.lines().enumerate().map(|(i, l)| if i == at { &l[1..] } else { l });
            let report = parse(&on.collect::<Vec<_>>().join("\n"), Path::new("/etc/mayfly"));
            assert!(report.settings.is_ok(), "{name}: {line}: {:#?}", report.settings);
        }
    }
}
