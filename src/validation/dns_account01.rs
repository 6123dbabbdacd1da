//! dns-account-01 (draft-ietf-acme-dns-account-label-02): dns-01 at a name of the account's own, so
//! that several accounts can prove the same name side by side.

use tokio::time::Instant;

use super::dial::dns_stop;
use super::dns01::judge;
use super::{Ask, Stop, Validator, sha256};
use crate::acme::identifier::DnsName;

/// How many bytes of the digest the label has.
const LABEL_BYTES: usize = 10;

impl Validator {
    /// Checks that `name` has the challenge's TXT record; for a wildcard, `name` is its base.
    pub(super) async fn dns_account01(
        &self,
        name: &DnsName,
        ask: &Ask,
        deadline: Instant,
    ) -> Result<(), Stop> {
        let owner = owner(name, &ask.account_url);
        let texts = self.door.lookups().texts(&owner, deadline).await;
        judge(&texts.map_err(|trouble| dns_stop(&owner, "TXT", trouble))?, &owner, ask)
    }
}

/// `_LABEL._acme-challenge.NAME`
fn owner(name: &DnsName, account_url: &str) -> String {
    format!("_{}._acme-challenge.{name}", base32(&sha256(account_url)[..LABEL_BYTES]))
}

/// RFC 4648 §6 in lower case. Whole groups of five bytes only, which need no padding.
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let group = |five: &[u8]| {
        let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        (0..8).rev().map(move |at| char::from(ALPHABET[(bits >> (at * 5) & 31) as usize])).collect::<Vec<_>>()
    };
    bytes.chunks_exact(5).flat_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fake_dns::{Answer, FakeDns, NX_DOMAIN, SERV_FAIL, txt};
    use super::super::fakes::{ACCOUNT_URL, KEY_AUTH, ask, failed, rules};
    use super::super::{FailureKind, Outcome};
    use super::*;
    use crate::acme::challenge::ChallengeKind::DnsAccount01;
    use crate::jose::base64url;

    #[test]
    fn base32_of_rfc_4648() {
        assert_eq!(base32(b"fooba"), "mzxw6ytb");
        assert_eq!(base32(b""), "");
        assert_eq!(base32(&[0xff; 10]), "7777777777777777");
    }

    #[test]
    fn the_label_of_the_draft() {
        // draft-ietf-acme-dns-account-label-02 §3.1
        let name = DnsName::parse("www.example.org").unwrap();
        let owner = owner(&name, "https://example.com/acme/acct/ExampleAccount");
        assert_eq!(owner, "_ujmmovf2vn55tgye._acme-challenge.www.example.org");
    }

    /// A zone with the right value at the name of `account_url`.
    async fn zone(account_url: &'static str, right: bool) -> FakeDns {
        let at = owner(&DnsName::parse("a.test").unwrap(), account_url);
        FakeDns::start(move |name, _, _| {
            let value = if right { base64url(&sha256(KEY_AUTH)) } else { "other".to_owned() };
            if name == at { Answer::Records(vec![(name.to_owned(), txt(&[&value]))]) } else { NX_DOMAIN }
        })
        .await
    }

    #[tokio::test]
    async fn the_record_at_the_account_s_own_name_proves() {
        let dns = zone(ACCOUNT_URL, true).await;
        let validator = Validator::new(rules(dns.addr, 9)).unwrap();
        for name in ["a.test", "*.a.test"] {
            assert_eq!(validator.validate(&ask(DnsAccount01, name)).await, Outcome::Proved, "{name}");
        }
        assert_eq!(dns.asked().len(), 2, "and nowhere else is asked");
        failed(validator.validate(&ask(DnsAccount01, "b.test")).await, FailureKind::Dns);
    }

    #[tokio::test]
    async fn another_account_s_name_and_another_value_do_not() {
        let dns = zone("https://ca.test/acme/acme/account/B", true).await;
        let validator = Validator::new(rules(dns.addr, 9)).unwrap();
        failed(validator.validate(&ask(DnsAccount01, "a.test")).await, FailureKind::Dns);
        let dns = zone(ACCOUNT_URL, false).await;
        let validator = Validator::new(rules(dns.addr, 9)).unwrap();
        failed(validator.validate(&ask(DnsAccount01, "a.test")).await, FailureKind::Unauthorized);
        failed(validator.validate(&ask(DnsAccount01, "127.0.0.1")).await, FailureKind::Unauthorized);
        let dns = FakeDns::start(|_, _, _| SERV_FAIL).await;
        let validator = Validator::new(rules(dns.addr, 9)).unwrap();
        let outcome = validator.validate(&ask(DnsAccount01, "a.test")).await;
        assert!(matches!(outcome, Outcome::Inconclusive(_)), "{outcome:?}");
    }
}
