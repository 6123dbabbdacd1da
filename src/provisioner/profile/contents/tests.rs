use super::*;

fn identifiers(names: &[&str]) -> Vec<Identifier> {
    let parse = |name: &&str| match name.parse() {
        Ok(ip) => Identifier::from_ip(ip).unwrap(),
        Err(_) => Identifier::parse_dns(name).unwrap(),
    };
    names.iter().map(parse).collect()
}

fn facts<'a>(names: &'a [Identifier], label: Option<&'a str>) -> Facts<'a> {
    Facts {
        names,
        account: "acct".into(),
        authority: "prod",
        provisioner: "acme",
        profile: "job",
        eab: label.map(|label| ("kid".into(), label)),
        ordered: Timestamp::from_secs(1_793_318_400),
    }
}

fn text(text: &str) -> Template {
    Template::new(text, Place::Text).unwrap()
}

fn subject(attribute: Attribute, template: &str, label: &str) -> Result<Vec<(Attribute, String)>, FillError> {
    let names = identifiers(&["a.test", "*.b.test", "10.0.0.1"]);
    let templates = Templates { subject: vec![(attribute, text(template))], ..Templates::default() };
    templates.fill(&facts(&names, Some(label))).map(|contents| contents.subject)
}

/// What a label may be, in each part of a subject: what stands there is one value, or nothing does.
#[test]
fn parts_of_a_subject() {
    use Attribute::{CommonName, Country, Locality, Organization, SerialNumber};
    let sixty_four = "é".repeat(64);
    let rows: &[(Attribute, &str, bool)] = &[
        (Organization, "Example", true),
        (Organization, "Exämple, O=Other + CN=x / y", true),
        (Organization, "a\0b", false),
        (Organization, "a\nb", false),
        (Organization, "a\r", false),
        (Organization, "a\u{2028}b", false),
        (Organization, " a", false),
        (Organization, "a ", false),
        (Organization, &sixty_four, true),
        (Organization, &format!("{sixty_four}a"), false),
        (Locality, &format!("{sixty_four}a"), true),
        (Country, "DE", true),
        (Country, "de", false),
        (Country, "DEU", false),
        (Country, "D.", false),
        (Country, "ÄÖ", false),
        (SerialNumber, "A-17.3", true),
        (SerialNumber, "A*", false),
        (SerialNumber, "A_", false),
        (SerialNumber, "ä", false),
        (CommonName, "Team Seven", true),
        (CommonName, "a.test", true),
        (CommonName, "A.test", true),
        (CommonName, "*.b.test", true),
        (CommonName, "person@c.test", true),
        (CommonName, "c.test", false),
        (CommonName, "x.b.test", false),
        (CommonName, "*", false),
        (CommonName, "*.test", false),
        (CommonName, "a.test.", false),
        (CommonName, "a.test\0.evil.test", false),
    ];
    for (attribute, label, good) in rows {
        match subject(*attribute, "{{ eab.label }}", label) {
            Ok(found) => {
                assert_eq!((found.as_slice(), true), (&[(*attribute, (*label).to_owned())][..], *good))
            }
            Err(error) => assert!(!good, "{attribute:?} {label:?}: {error}"),
        }
    }
}

#[test]
fn what_is_empty_or_an_address_is_left_out() {
    assert_eq!(subject(Attribute::Organization, "{{ eab.label }}", ""), Ok(vec![]));
    assert_eq!(subject(Attribute::CommonName, "{{ ip[0] }}", ""), Ok(vec![]));
    assert_eq!(subject(Attribute::CommonName, "::1", ""), Ok(vec![]));
    let error = subject(Attribute::Organization, "{{ eab.lable }}", "x").unwrap_err();
    assert_eq!(error.field, "subject.organization");
    let names = identifiers(&["a.test"]);
    let templates = Templates {
        subject: vec![(Attribute::Organization, text("{{ eab.label }}"))],
        ..Templates::default()
    };
    // Nobody's label is nobody's organization.
    assert!(templates.fill(&facts(&names, None)).unwrap_err().why.contains("undefined"));
}

#[test]
fn every_variable() {
    let names = identifiers(&["b.test", "10.0.0.1", "*.a.test"]);
    let rows = [
        ("{{ name }}", "b.test"),
        ("{{ names | join(' ') }}", "b.test 10.0.0.1 *.a.test"),
        ("{{ dns | join(' ') }}", "b.test *.a.test"),
        ("{{ ip | join(' ') }}", "10.0.0.1"),
        ("{{ device | length }}", "0"),
        ("{{ account }}", "acct"),
        ("{{ provisioner }}/{{ profile }}", "acme/job"),
        ("{{ eab.kid }}/{{ eab.label }}", "kid/team"),
        ("{{ time }}", "2026-10-30T00:00:00Z"),
        ("{% if eab %}bound{% else %}free{% endif %}", "bound"),
    ];
    for (template, want) in rows {
        let extension = ExtensionTemplate {
            oid: "1.3.6.1.4.1.32473.1".parse().unwrap(),
            critical: false,
            form: Form::Utf8,
            value: text(template),
        };
        let templates = Templates { extensions: vec![extension], ..Templates::default() };
        let contents = templates.fill(&facts(&names, Some("team"))).unwrap();
        assert_eq!(contents.extensions()[0].value, tlv(0x0c, &[want.as_bytes()]), "{template}");
    }
}

#[test]
fn values_of_extensions() {
    let deep = |levels: usize| (0..levels).fold(vec![0x05, 0x00], |inner, _| tlv(0x30, &[&inner]));
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let rows: &[(Form, &str, Option<Vec<u8>>)] = &[
        (Form::Utf8, "é", Some(vec![0x0c, 2, 0xc3, 0xa9])),
        (Form::Utf8, "", Some(vec![0x0c, 0])),
        (Form::Utf8, "a\nb", None),
        (Form::Hex, "0500", Some(vec![5, 0])),
        (Form::Hex, "30030201ff", Some(vec![0x30, 3, 2, 1, 0xff])),
        (Form::Hex, "050", None),
        (Form::Hex, "05 00", None),
        (Form::Hex, "", None),
        (Form::Hex, "05000500", None),
        (Form::Hex, "0501", None),
        (Form::Hex, "3003020201", None),
        (Form::Hex, "300201", None),
        // A long form of a short length, and no end.
        (Form::Hex, "04810101", None),
        (Form::Hex, "30800000", None),
        (Form::Base64, "BQA=", Some(vec![5, 0])),
        (Form::Base64, "BQA", None),
        (Form::Hex, &hex(&deep(16)), Some(deep(16))),
        (Form::Hex, &hex(&deep(17)), None),
        (Form::Hex, &hex(&tlv(0x04, &[&[0; LONGEST_EXTENSION]])), None),
    ];
    for (form, text, want) in rows {
        assert_eq!(form.value(text).ok(), *want, "{form:?} {text}");
    }
}

#[test]
fn which_extensions_may_be_added() {
    for good in ["1.3.6.1.4.1.32473.1", "2.5.29.32", "1.3.6.1.5.5.7.1.24", "2.5.290.1", "1.3.6.1.5.5.7.1.10"]
    {
        assert!(may_add(&good.parse().unwrap()), "{good}");
    }
    let bad = [
        "2.5.29.14",
        "2.5.29.15",
        "2.5.29.17",
        "2.5.29.19",
        "2.5.29.30",
        "2.5.29.31",
        "2.5.29.35",
        "2.5.29.37",
        "2.5.29.56",
        "2.5.29.999",
        "1.3.6.1.5.5.7.1.1",
        "1.3.6.1.5.5.7.1.31",
        "1.3.6.1.4.1.11129.2.4.3",
        "2.16.840.1.113730.1.1",
    ];
    for bad in bad {
        assert!(!may_add(&bad.parse().unwrap()), "{bad}");
    }
}

#[test]
fn uris_and_mailboxes() {
    let names = identifiers(&["a.test"]);
    let fill = |uris: &[&str], emails: &[&str], label| {
        let of =
            |texts: &[&str], place| texts.iter().map(|text| Template::new(text, place).unwrap()).collect();
        let templates = Templates {
            uris: of(uris, Place::Uri),
            emails: of(emails, Place::Email),
            ..Templates::default()
        };
        templates.fill(&facts(&names, Some(label))).map(|contents| (contents.uris, contents.emails))
    };
    let path = "spiffe://td/team/{{ eab.label }}";
    assert_eq!(fill(&[path], &[], "web").unwrap().0, ["spiffe://td/team/web"]);
    for label in ["../root", "web/admin", "", "web?x", "web#x", "*", "a,b", "a b", "a\0", "a\n", "w%65b"] {
        assert!(fill(&[path], &[], label).is_err(), "{label:?}");
    }
    assert!(fill(&[path, "https://a.test/"], &[], "web").is_err());
    let mailbox = "{{ eab.label }}@corp.test";
    assert_eq!(fill(&[], &[mailbox], "jo.doe").unwrap().1, ["jo.doe@corp.test"]);
    for label in ["boss@evil.test,jo", "jo@evil.test", "", "jo doe", "jo\0", "jo\n", ".jo", "jo,boss", "<jo>"]
    {
        assert!(fill(&[], &[mailbox], label).is_err(), "{label:?}");
    }
}

proptest::proptest! {
    /// Whatever a label is, it fills the one value that it stands for.
    #[test]
    fn a_label_stays_in_its_place(label in "\\PC{0,80}|[ -~\\n\\r\\x00]{0,80}") {
        let names = identifiers(&["a.test"]);
        for (_, attribute, _, most) in Attribute::TABLE {
            if let Ok(found) = subject(*attribute, "{{ eab.label }}", &label) {
                for (_, text) in &found {
                    proptest::prop_assert_eq!(text, &label);
                    proptest::prop_assert!(text.chars().count() <= *most);
                    proptest::prop_assert!(!text.chars().any(char::is_control));
                }
            }
        }
        let uris = vec![Template::new("spiffe://td/x/{{ eab.label }}/y", Place::Uri).unwrap()];
        if let Ok(contents) = (Templates { uris, ..Templates::default() }).fill(&facts(&names, Some(&label))) {
            proptest::prop_assert_eq!(contents.uris()[0].split('/').count(), 6);
        }
    }
}
