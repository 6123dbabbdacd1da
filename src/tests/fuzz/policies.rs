//! The targets of policies: their documents, and those of other systems.

use super::targets::Target;
use crate::policy::import::import;
use crate::policy::{Context, Facts, Policy, Who, document};
use crate::time::Timestamp;

const RULES: &str = r#"name = "a"
[[allow]]
name = "web"
when.provisioner = ["acme"]
dns = ["*.a.test"]
wildcards = true
ip = "10.0.0.0/8"
uri = "spiffe://a.test/*"
email = "@a.test"
keys = ["ec-p256", "rsa:2048..4096"]
lifetime = "5m..24h"
[[deny]]
unless.profile = "x"
subject = "O=*"
eku = "any"
wildcards = true
"#;

pub(super) static POLICY: Target = Target {
    name: "policy",
    also: &["config/policies"],
    words: &[
        "[[allow]]\n",
        "[[deny]]\n",
        "dns = [\"*.a.test\"]\n",
        "wildcards = true\n",
        "when.provisioner = \"acme\"\n",
        "unless.",
        "= []\n",
        "= \"*\"\n",
        "= true\n",
        "lifetime = \"..24h\"\n",
        "keys = [\"rsa:2048..\"]\n",
        "ca = true\n",
        "\"::/0\"",
        "\"*=*\"",
        "*",
        "\"\"",
        "'''",
        "\n",
    ],
    run: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        match document::parse(text, "fuzz") {
            Err(mistakes) => {
                assert!(!mistakes.is_empty(), "refused, and nobody says why");
                assert!(mistakes.iter().all(|mistake| mistake.line > 0 && !mistake.message.is_empty()));
                false
            }
            Ok(policy) => {
                holds(&policy);
                true
            }
        }
    },
    seeds: || vec![("rules".to_owned(), RULES.as_bytes().to_vec())],
};

pub(super) static POLICY_IMPORT: Target = Target {
    name: "policy-import",
    also: &["testdata/policies"],
    words: &[
        "\"allowed_domains\":",
        "\"allow_glob_domains\":true",
        "\"key_type\":\"any\"",
        "\"max_ttl\":\"1h\"",
        "{{x}}",
        "*",
        "://",
        "@",
        "null",
        "[]",
        "{}",
        "&a ",
        "*a",
        "!!str ",
        "\n    values: [\"*\"]",
        "\n      validations: [{rule: x}]",
        "\nspec:\n  allowed:\n",
        "- ",
        "|\n ",
        "1e9h",
        "18446744073709551616",
    ],
    run: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        match import(text, None, "fuzz") {
            Err(mistakes) => {
                assert!(!mistakes.is_empty(), "refused, and nobody says why");
                false
            }
            Ok(imported) => {
                holds(&document::parse(&imported.policy, "fuzz").expect("what is made is a policy"));
                let one_line = |text: &str| !text.chars().any(char::is_control);
                assert!(imported.notes.iter().all(|note| one_line(&note.to_string())));
                true
            }
        }
    },
    seeds: || {
        let role = br#"{"allowed_domains": "a.test", "allow_subdomains": true}"#;
        vec![("role".to_owned(), role.to_vec())]
    },
};

/// Whatever its rules say: nobody but the operator gets a CA certificate, nothing is refused of what holds
/// nothing, and what cannot be read is refused.
fn holds(policy: &Policy) {
    let context = Context::new(Timestamp::EPOCH, Who::Acme);
    let ca = Facts { ca: Some(true), ..Facts::default() };
    assert!(!policy.judge(&Ok(ca), &context).allowed());
    assert!(policy.judge(&Ok(Facts::default()), &context).allowed());
    assert!(!policy.judge(&Facts::of_tbs(b"", Timestamp::EPOCH), &context).allowed());
    assert!(policy.len() > 0 && policy.conditions().len() <= 6);
}
