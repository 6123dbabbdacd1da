use super::super::draft::DraftError;
use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Under an issuer that is valid from T0 - 60 s for a year.
#[test]
fn of_a_leaf() {
    let (_, issuer) = intermediate(Arc::new(TestSigner::new(SignatureAlgorithm::EcdsaP256Sha256)), YEAR);
    let end = issuer.not_after();
    assert_eq!((issuer.not_before(), end), (T0 - MINUTE, T0 + YEAR));
    let noon = T0 + DAY * 10;
    let odd = |at: Timestamp| Timestamp::from_millis(at.as_millis() + 1);
    use DraftError::{IssuerNotValid, OutlivesIssuer, Passed};
    // Now, notBefore and notAfter as asked for, and what comes of it.
    let rows = [
        (noon, None, None, Ok((noon - MINUTE, noon + DAY))),
        (odd(noon), None, None, Ok((noon - MINUTE, noon + DAY))),
        // Never before the issuer begins, never after it ends.
        (T0, None, None, Ok((T0 - MINUTE, T0 + DAY))),
        (T0 - secs(30), None, None, Ok((T0 - MINUTE, T0 - secs(30) + DAY))),
        (T0 - MINUTE, None, None, Ok((T0 - MINUTE, T0 - MINUTE + DAY))),
        (end - HOUR, None, None, Ok((end - HOUR - MINUTE, end))),
        (end - secs(1), None, None, Ok((end - secs(61), end))),
        (end, None, None, Err(IssuerNotValid)),
        (odd(end), None, None, Err(IssuerNotValid)),
        (T0 - secs(61), None, None, Err(IssuerNotValid)),
        // A clock that jumps by a day.
        (T0 - DAY, None, None, Err(IssuerNotValid)),
        (end + DAY, None, None, Err(IssuerNotValid)),
        // Asked for, and given to the second.
        (noon, Some(noon), Some(noon + HOUR), Ok((noon, noon + HOUR))),
        (noon, Some(noon - MINUTE * 5), None, Ok((noon - MINUTE * 5, noon - MINUTE * 5 + DAY))),
        (noon, Some(noon + HOUR), None, Ok((noon + HOUR, noon + HOUR + DAY))),
        (noon, Some(odd(noon)), Some(odd(noon + HOUR)), Ok((noon, noon + HOUR))),
        (noon, None, Some(noon + HOUR), Ok((noon - MINUTE, noon + HOUR))),
        (noon, Some(T0 - HOUR), None, Err(Passed)),
        (T0, Some(T0 - HOUR), Some(T0 + HOUR), Ok((T0 - MINUTE, T0 + HOUR))),
        (end - HOUR, None, Some(end), Ok((end - HOUR - MINUTE, end))),
        (end - HOUR, None, Some(end + secs(1)), Err(OutlivesIssuer(end))),
        (end - HOUR, Some(end - HOUR), Some(odd(end)), Err(OutlivesIssuer(end))),
        (end - HOUR, Some(end - MINUTE), None, Ok((end - MINUTE, end))),
        (end - HOUR, Some(end), None, Err(Passed)),
        (end - HOUR, Some(end + HOUR), None, Err(Passed)),
        (noon, None, Some(noon), Err(Passed)),
        (noon, None, Some(noon - HOUR), Err(Passed)),
        (noon, Some(noon + HOUR), Some(noon + HOUR), Err(Passed)),
        (noon, Some(noon + HOUR), Some(noon + MINUTE), Err(Passed)),
    ];
    let key = p256();
    for (now, not_before, not_after, want) in rows {
        let ask = Ask { not_before, not_after, ..Ask::new(&["a.test"]) };
        let drafted = draft(ask.grant(&key, now), &issuer, [1; 16], now);
        let got = drafted.as_ref().map(|d| (d.not_before, d.not_after)).map_err(Clone::clone);
        assert_eq!(got, want, "{now} {not_before:?} {not_after:?}");
        if let Ok(drafted) = drafted {
            let linted = super::super::lint::lint(drafted, &issuer);
            assert!(linted.is_ok(), "{now} {not_before:?} {not_after:?}: {linted:?}");
        }
    }
}

/// RFC 5280 §4.1.2.5: UTCTime until 2049, GeneralizedTime from 2050.
#[test]
fn across_the_turn_of_2050() {
    let new_year = Timestamp::parse_rfc3339("2050-01-01T00:00:00Z").unwrap();
    let signer: Arc<dyn Signer> = Arc::new(TestSigner::new(SignatureAlgorithm::EcdsaP256Sha256));
    let made = root(signer.clone(), YEAR * 100, T0);
    assert_eq!(made.not_after, T0 + YEAR * 100);
    let issuer = of_realm(Issuer::new(made.der, &[], signer).unwrap());
    for now in [new_year - DAY - HOUR, new_year - HOUR, new_year, new_year + DAY] {
        let issued = issue(Ask::new(&["a.test"]).grant(&p256(), now), &issuer, now);
        let mut parsed = asn1::Node::parse(&issued.der);
        let tags = [0, 1].map(|index| parsed.at(&[0, 4, index]).tag);
        let want = [issued.not_before, issued.not_after].map(|at| if at < new_year { 0x17 } else { 0x18 });
        assert_eq!(tags, want, "{now}");
    }
}

#[test]
fn of_the_founding_certificates() {
    let signer: Arc<dyn Signer> = Arc::new(TestSigner::new(SignatureAlgorithm::EcdsaP384Sha384));
    let made = root(signer.clone(), YEAR * 10, T0);
    assert_eq!((made.not_before, made.not_after), (T0 - MINUTE, T0 + YEAR * 10));
    let above = Issuer::new(made.der, &[], signer.clone()).unwrap();
    // An intermediate that was to live longer than its root ends with it.
    let grant = ceremony::intermediate(CaSpec::issuing("Test CA").unwrap(), spki(&p256()), YEAR * 20);
    let issued = issue(grant, &above, T0 + YEAR);
    assert_eq!((issued.not_before, issued.not_after), (T0 + YEAR - MINUTE, T0 + YEAR * 10));
}
