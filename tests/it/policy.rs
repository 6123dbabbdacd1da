//! `mayfly policy` with the real binary: another's policy taken over, and tried on what a running CA has done.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::acme::{Client, csr};
use crate::support::process::{Finished, run};
use crate::support::server::{Server, binary, provisioner};
use crate::support::web::Web;

const LIMIT: Duration = Duration::from_secs(60);

fn policy(dir: &Path, args: &[&str]) -> Finished {
    let mut command = Command::new(binary());
    command.arg("policy").args(args).current_dir(dir);
    run(&mut command, &dir.join("out"), LIMIT)
}

#[test]
fn imported_checked_and_tried() {
    let home = tempfile::tempdir().unwrap();
    let sample = |name: &str| format!("{}/testdata/policies/{name}", env!("CARGO_MANIFEST_DIR"));
    for (name, from) in [("cert-manager-web.yaml", "cert-manager"), ("vault-web.json", "vault-role")] {
        let out = format!("{from}.toml");
        let imported = policy(home.path(), &["import", "--from", from, "--out", &out, &sample(name)]);
        assert!(imported.status.success(), "{}", imported.output);
        assert!(imported.output.contains("wider: "), "{}", imported.output);
        assert!(policy(home.path(), &["check", &out]).status.success());
        // Nothing is written over, and by its looks it is the same.
        let again = policy(home.path(), &["import", "--out", &out, &sample(name)]);
        assert!(!again.status.success() && again.output.contains("exists"), "{}", again.output);
        let shown = policy(home.path(), &["import", &sample(name)]);
        let written = fs::read_to_string(home.path().join(&out)).unwrap();
        assert!(shown.output.starts_with(&written), "{}", shown.output);
        fs::write(home.path().join("request.toml"), "dns = [\"a.web.example.internal\"]\n").unwrap();
        let judged = policy(home.path(), &["test", &out, "request.toml"]);
        assert!(judged.output.starts_with("allowed"), "{}", judged.output);
    }
    fs::write(home.path().join("bad.yaml"), "kind: Pod\n").unwrap();
    let refused = policy(home.path(), &["import", "bad.yaml"]);
    let says = |text: &str| assert!(refused.output.contains(text), "{}", refused.output);
    says("bad.yaml:1: kind");
    says("next: mend the lines above, then run: mayfly policy import bad.yaml");
    fs::write(home.path().join("bad.toml"), "[[allow]]\ndsn = \"x\"\n").unwrap();
    let refused = policy(home.path(), &["check", "bad.toml"]);
    assert!(refused.output.contains("then run: mayfly policy check bad.toml"), "{}", refused.output);
}

#[test]
fn what_another_policy_would_have_said() {
    let mut server = Server::init_only(|table| {
        provisioner(table).insert("policy".into(), "now.toml".into());
    });
    // Of the key nothing is known before the end, so such an order is refused by the gate.
    fs::write(server.dir().join("now.toml"), "[[deny]]\nname = \"no curves\"\nkeys = [\"ec-p384\"]\n")
        .unwrap();
    server.serve();
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    for names in [&["a.test"][..], &["b.test"], &["b.test", "x.b.test"]] {
        client.issue(&web, names).unwrap();
    }
    let order = client.order(&["c.test"]).unwrap();
    client.authorize(&web, &order).unwrap();
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let refused = client.finalize(&order, &crate::support::acme::csr_for(&["c.test"], &pair));
    assert!(refused.is_err(), "refused by the policy");
    let order = client.order(&["d.test"]).unwrap();
    client.authorize(&web, &order).unwrap();
    client.finalize(&order, &csr(&["d.test"]).1).unwrap();

    let next = server.dir().join("next.toml");
    let config = server.config();
    let asked = |text: &str, args: &[&str]| {
        fs::write(&next, text).unwrap();
        let fixed = ["what-if", next.to_str().unwrap(), "--config", config.to_str().unwrap()];
        let finished = policy(&server.scratch("cli"), &[&fixed[..], args].concat());
        assert!(finished.status.success(), "{}", finished.output);
        finished.output
    };
    let names = "[[allow]]\nname = \"a alone\"\ndns = [\"a.test\", \"*.b.test\", \"c.test\"]\n";
    let told = asked(names, &["--provisioner", "acme"]);
    for part in [
        "would be refused: ",
        " for b.test,x.b.test (provisioner acme, account ",
        "  policy \"next\": DNS name b.test: no allow rule covers it; `dns` is listed by \"a alone\" (line 1)\n",
        "  policy \"next\": DNS name d.test: ",
        "would be allowed: refused ",
        " for c.test (provisioner acme, account ",
        "  was: policy \"now\": key ec-p384: denied by rule \"no curves\" (line 1)",
        "  4 issued: 1 still allowed, 3 would be refused\n",
        "    3 by DNS name: no allow rule\n",
        "  1 refused: 0 still refused, 1 would be allowed\n",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(told.matches("would be refused: ").count(), 3, "{told}");
    let short = asked(names, &["--provisioner", "acme", "--limit", "1"]);
    assert!(
        short.contains("and 3 more; --limit N prints them") && short.matches("\nwould be").count() == 0,
        "{short}"
    );

    let lines = asked(names, &["--provisioner", "acme", "--json"]);
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3 + 1 + 1);
    let allowed = lines.iter().find(|line| line["verdict"] == "would be allowed").unwrap();
    assert_eq!((&allowed["names"][0], &allowed["serial"]), (&"c.test".into(), &serde_json::Value::Null));
    assert_eq!((&lines[4]["issued"]["differs"], &lines[4]["refused"]["differs"]), (&3.into(), &1.into()));

    // Without a provisioner this server's own certificate and the CA's are judged too.
    let all = asked("[[deny]]\ndns = \"c.test\"\n[[allow]]\nca = true\nsubject = \"*=*\"\n", &[]);
    assert!(all.contains("  7 issued: 7 still allowed, 0 would be refused\n"), "{all}");
    assert!(all.contains("  1 refused: 1 still refused, 0 would be allowed\n"), "{all}");
    // The authority is known by the issuer.
    let of = asked("[[deny]]\ndns = \"*\"\nunless.authority = \"default\"\n", &["--authority", "default"]);
    assert!(of.contains("  5 issued: 5 still allowed"), "{of}");
    let none = asked(names, &["--authority", "other"]);
    assert!(none.contains("  0 issued: 0 still allowed"), "{none}");
    // Nothing is that new.
    let later = asked(names, &["--since", "2999-01-01T00:00:00Z"]);
    assert!(later.contains("  0 issued: ") && later.contains("  0 refused: "), "{later}");
}
