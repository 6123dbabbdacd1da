use clap::Parser;

use super::super::{Cli, Command, run};
use super::What;
use super::acme::plan;
use crate::bench::flow::Proof;
use crate::client::key::KeyKind;
use crate::client::transport::Version;
use crate::entropy::SeededEntropy;

const ACME: [&str; 7] = ["mayfly", "bench", "acme", "--directory", "https://a.test/dir", "--root", "f"];

fn acme(more: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from([&ACME[..], more].concat())
}

#[test]
fn limits_of_the_arguments() {
    let good: &[&[&str]] = &[
        &[],
        &["--clients", "10000", "--rate", "0.5", "--duration", "1h", "--warmup", "0s"],
        &["--http1", "--names", "100", "--cert-key", "rsa2048", "--account-key", "ed25519"],
        &["--http2", "--fresh-connections", "--challenge", "dns-01", "--http-port", "0"],
        &["--challenge", "none", "--reuse-authorizations", "--json", "--quiet", "--pid", "1"],
    ];
    for more in good {
        assert!(acme(more).is_ok(), "{more:?}: {}", acme(more).unwrap_err());
    }
    let bad: &[(&[&str], &str)] = &[
        (&["--clients", "0"], "1..=10000"),
        (&["--clients", "10001"], "1..=10000"),
        (&["--rate", "0"], "0.01 to 100000"),
        (&["--rate", "NaN"], "0.01 to 100000"),
        (&["--rate", "inf"], "0.01 to 100000"),
        (&["--duration", "0s"], "more than 0s"),
        (&["--duration", "61m"], "at most 1h"),
        (&["--warmup", "2h"], "at most 1h"),
        (&["--duration", "10"], "10"),
        (&["--http1", "--http2"], "cannot be used with"),
        (&["--names", "0"], "1..=100"),
        (&["--names", "101"], "1..=100"),
        (&["--cert-key", "rsa"], "p256, p384, ed25519, rsa2048"),
        (&["--challenge", "tls-alpn-01"], "http-01, dns-01, none"),
        (&["--domain", "*.a.test"], "without a wildcard"),
        (&["--domain", "a b"], "domain"),
        (&["--http-port", "65536"], "65536"),
    ];
    for (more, part) in bad {
        let error = acme(more).unwrap_err().to_string();
        assert!(error.contains(part), "{more:?}: {error}");
    }
    for (line, part) in [
        (&["mayfly", "bench", "acme", "--root", "f"][..], "--directory"),
        (&["mayfly", "bench", "acme", "--directory", "http://a.test/", "--root", "f"], "https URL"),
        (&["mayfly", "bench", "acme", "--directory", "https://a.test/"], "--root"),
        (&["mayfly", "bench", "store"], "--dir"),
        (&["mayfly", "bench", "store", "--dir", "d", "--engine", "x"], "fjall, memory, sled"),
        (&["mayfly", "bench", "crypto", "--each", "0s"], "more than 0s"),
    ] {
        let error = Cli::try_parse_from(line).unwrap_err().to_string();
        assert!(error.contains(part), "{line:?}: {error}");
    }
}

#[test]
fn arguments_become_a_plan() {
    let parsed = |more: &[&str]| {
        let Command::Bench(bench) = acme(more).unwrap().command else { panic!("not bench") };
        let What::Acme(args) = bench.what else { panic!("not acme") };
        plan(&args, vec![1], &SeededEntropy::new(1))
    };
    let plain = parsed(&[]);
    assert_eq!((plain.clients, plain.names, plain.rate, plain.version), (8, 1, None, Version::Http1));
    assert_eq!(plain.proof, Proof::By(crate::acme::challenge::ChallengeKind::Http01));
    assert_eq!((plain.http_port, plain.dns_port, plain.run.len()), (5002, 5053, 8));
    let other = parsed(&["--http2", "--challenge", "none", "--cert-key", "p384", "--rate", "2.5"]);
    assert_eq!((other.version, other.proof), (Version::Http2, Proof::Pretended));
    assert_eq!((other.certificate_key, other.rate), (KeyKind::P384, Some(2.5)));
}

#[test]
fn a_store_is_filled_only_in_a_directory_of_its_own() {
    let home = tempfile::tempdir().unwrap();
    let fill = |dir: &str| {
        let dir = home.path().join(dir);
        let line = ["mayfly", "bench", "store", "--engine", "fjall", "--duration", "20ms", "--json", "--dir"];
        let cli =
            Cli::try_parse_from(line.into_iter().map(Into::into).chain([dir.into_os_string()])).unwrap();
        let mut out = Vec::new();
        run(cli, &mut out).map(|()| serde_json::from_slice::<serde_json::Value>(&out).unwrap())
    };
    for _ in 0..2 {
        assert!(fill("own").unwrap()["transactions"].as_u64().unwrap() > 0);
    }
    std::fs::create_dir(home.path().join("other")).unwrap();
    std::fs::write(home.path().join("other/mayfly.toml"), "").unwrap();
    assert!(fill("other").unwrap_err().report().contains("is not empty"));
}
