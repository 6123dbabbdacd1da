//! The issue-value of CAA records and of dns-persist-01 records (RFC 8659 §4.2). Pure, and exact:
//! what the grammar does not derive is no issue-value.

/// A parsed issue-value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IssueValue<'a> {
    /// The issuer's domain name in lower case; `None` where the value names nobody.
    pub(super) issuer: Option<String>,
    /// Tag in lower case, and value, in the order of the record.
    parameters: Vec<(String, &'a str)>,
}

/// A parameter that is there more than once: which one counts is anybody's guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Twice;

impl<'a> IssueValue<'a> {
    /// Parses `[issuer] [";" [tag "=" value *(";" tag "=" value)]]`; `None` for anything else.
    pub(super) fn parse(value: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let (head, rest) = match text.split_once(';') {
            Some((head, rest)) => (head, trim(rest)),
            None => (text, ""),
        };
        let issuer = match trim(head) {
            "" => None,
            name if name.split('.').all(is_label) => Some(name.to_ascii_lowercase()),
            _ => return None,
        };
        let parameters = match rest {
            "" => Vec::new(),
            rest => rest.split(';').map(parameter).collect::<Option<_>>()?,
        };
        Some(Self { issuer, parameters })
    }

    /// The value of the parameter `tag` (in lower case), if there is one.
    pub(super) fn parameter(&self, tag: &str) -> Result<Option<&'a str>, Twice> {
        let mut found = self.parameters.iter().filter(|(other, _)| other == tag).map(|(_, value)| *value);
        let first = found.next();
        if found.next().is_some() { Err(Twice) } else { Ok(first) }
    }
}

/// Without the WSP at both ends, which is spaces and tabs and nothing else.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// `(ALPHA / DIGIT) *(*("-") (ALPHA / DIGIT))`, the shape of labels and tags alike.
fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inside = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-';
    bytes.iter().all(inside)
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
}

fn parameter(text: &str) -> Option<(String, &str)> {
    let (tag, value) = trim(text).split_once('=')?;
    let (tag, value) = (trim(tag), trim(value));
    (is_label(tag) && value.bytes().all(|b| b.is_ascii_graphic())).then(|| (tag.to_ascii_lowercase(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_of_rfc_8659() {
        type Want<'a> = Option<(Option<&'a str>, &'a [(&'a str, &'a str)])>;
        let rows: &[(&str, Want<'_>)] = &[
            ("", Some((None, &[]))),
            (";", Some((None, &[]))),
            (" \t; \t", Some((None, &[]))),
            ("ca.example", Some((Some("ca.example"), &[]))),
            (" CA.Example\t", Some((Some("ca.example"), &[]))),
            ("ca.example;", Some((Some("ca.example"), &[]))),
            ("localhost", Some((Some("localhost"), &[]))),
            ("a--b.1", Some((Some("a--b.1"), &[]))),
            ("ca.example; account=230123", Some((Some("ca.example"), &[("account", "230123")]))),
            ("ca.example;a=1;b=2", Some((Some("ca.example"), &[("a", "1"), ("b", "2")]))),
            ("ca.example ; a = 1 ; b\t=\t2 ", Some((Some("ca.example"), &[("a", "1"), ("b", "2")]))),
            ("; a=1", Some((None, &[("a", "1")]))),
            ("ca.example; A-b=1", Some((Some("ca.example"), &[("a-b", "1")]))),
            ("ca.example; a=", Some((Some("ca.example"), &[("a", "")]))),
            ("ca.example; a=b=c:/,\"", Some((Some("ca.example"), &[("a", "b=c:/,\"")]))),
            ("ca.example; a=1; a=2", Some((Some("ca.example"), &[("a", "1"), ("a", "2")]))),
            ("ca.example.", None),
            (".example", None),
            ("ca..example", None),
            ("-ca.example", None),
            ("ca-.example", None),
            ("ca_1.example", None),
            ("*.example", None),
            ("ca.example b", None),
            ("bücher.example", None),
            ("ca.example; a=1;", None),
            ("ca.example;; a=1", None),
            ("ca.example; a", None),
            ("ca.example; =1", None),
            ("ca.example; -a=1", None),
            ("ca.example; a-=1", None),
            ("ca.example; a b=1", None),
            ("ca.example; a=1 2", None),
            ("ca.example; a=\u{7f}", None),
            ("ca.example; a=ü", None),
            ("ca.example\n", None),
            ("ca.example; a=1\r\n", None),
            ("ca.example a=1", None),
            ("a=1", None),
        ];
        for (text, want) in rows {
            let got = IssueValue::parse(text.as_bytes());
            let want = want.map(|(issuer, parameters)| IssueValue {
                issuer: issuer.map(str::to_owned),
                parameters: parameters.iter().map(|(tag, value)| ((*tag).to_owned(), *value)).collect(),
            });
            assert_eq!(got, want, "{text:?}");
        }
        assert_eq!(IssueValue::parse(b"ca.example\xff"), None);
        assert_eq!(IssueValue::parse(b"ca.example\0"), None);
    }

    #[test]
    fn a_parameter_counts_only_if_it_is_there_once() {
        let value = IssueValue::parse(b"ca.example; a=1; B=2; b=3").unwrap();
        assert_eq!(value.parameter("a"), Ok(Some("1")));
        assert_eq!(value.parameter("b"), Err(Twice));
        assert_eq!(value.parameter("c"), Ok(None));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_answered(value: Vec<u8>) {
            let _ = IssueValue::parse(&value);
        }

        /// What parses has no byte that the grammar does not know.
        #[test]
        fn near_misses(text in "[a-z.;= \t\\x00-\\x7f-]{0,24}") {
            if IssueValue::parse(text.as_bytes()).is_some() {
                proptest::prop_assert!(text.bytes().all(|b| b.is_ascii_graphic() || b == b' ' || b == b'\t'));
            }
        }
    }
}
