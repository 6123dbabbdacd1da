//! Globs: `*` stands for any run of characters, be it empty, and every other character for itself.

/// A text in which `*` is a glob's star.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Glob(String);

impl Glob {
    /// Every text is a glob; stars in a row are one.
    pub fn new(text: &str) -> Self {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            if c != '*' || !out.ends_with('*') {
                out.push(c);
            }
        }
        Self(out)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one star, which every text matches.
    pub fn is_any(&self) -> bool {
        self.0 == "*"
    }

    /// Whether the whole of `text` matches. A star in `text` is a character like any other.
    pub fn matches(&self, text: &str) -> bool {
        let (glob, text) = (self.0.as_bytes(), text.as_bytes());
        let (mut g, mut t) = (0, 0);
        // Behind the last star, and what of the text it has taken so far.
        let mut retry = None;
        while t < text.len() {
            match glob.get(g) {
                Some(b'*') => {
                    retry = Some((g + 1, t));
                    g += 1;
                }
                Some(c) if *c == text[t] => (g, t) = (g + 1, t + 1),
                Some(_) | None => {
                    let Some((after, taken)) = retry else { return false };
                    retry = Some((after, taken + 1));
                    (g, t) = (after, taken + 1);
                }
            }
        }
        glob[g..].iter().all(|c| *c == b'*')
    }

    /// Whether some name of the form `LABEL.base` matches, for any label without a dot: what a wildcard
    /// name stands for.
    pub fn matches_below(&self, base: &str) -> bool {
        // The usual rule, and cheap: long lists of them are held against many names.
        if !self.0.contains('*') {
            let rest = self.0.split_once('.').filter(|(label, _)| (1..=63).contains(&label.len()));
            return rest.is_some_and(|(_, rest)| rest == base);
        }
        let (glob, base) = (self.0.as_bytes(), format!(".{base}"));
        // All places in the glob that a label, character by character, can lead to; at least one.
        let mut places = vec![false; glob.len() + 1];
        places[0] = true;
        close(glob, &mut places);
        let mut labelled = vec![false; glob.len() + 1];
        for _ in 0..63.min(glob.len() + 1) {
            places = step(glob, &places, |c| c != b'.');
            for (all, now) in labelled.iter_mut().zip(&places) {
                *all |= now;
            }
        }
        for byte in base.bytes() {
            labelled = step(glob, &labelled, |c| c == byte);
            if !labelled.contains(&true) {
                return false;
            }
        }
        labelled[glob.len()]
    }
}

/// The places after one more character, of those that `takes` says it may be.
fn step(glob: &[u8], from: &[bool], takes: impl Fn(u8) -> bool) -> Vec<bool> {
    let mut next = vec![false; from.len()];
    for (at, c) in glob.iter().enumerate().filter(|(at, _)| from[*at]) {
        match c {
            b'*' => next[at] = true,
            c if takes(*c) => next[at + 1] = true,
            _ => {}
        }
    }
    close(glob, &mut next);
    next
}

/// A star may take nothing.
fn close(glob: &[u8], places: &mut [bool]) {
    for (at, c) in glob.iter().enumerate() {
        if *c == b'*' && places[at] {
            places[at + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_texts_match() {
        let rows = [
            ("a.test", "a.test", true),
            ("a.test", "b.a.test", false),
            ("*.a.test", "b.a.test", true),
            ("*.a.test", "c.b.a.test", true),
            ("*.a.test", "a.test", false),
            ("*.a.test", "*.a.test", true),
            ("*.a.test", "evila.test", false),
            ("*-web.a.test", "x-web.a.test", true),
            ("*-web.a.test", "x-web.a.test.evil", false),
            ("web*.a.test", "web.a.test", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "axbxbc", true),
            ("a*b*c", "axbxb", false),
            ("**a", "a", true),
        ];
        for (glob, text, want) in rows {
            assert_eq!(Glob::new(glob).matches(text), want, "{glob} {text}");
        }
    }

    #[test]
    fn wildcards_stand_for_one_label() {
        let rows = [
            ("db.a.test", "a.test", true),
            ("x.db.a.test", "a.test", false),
            ("a.test", "a.test", false),
            ("web-*.a.test", "a.test", true),
            ("*.b.a.test", "a.test", false),
            ("*.a.test", "a.test", true),
            ("*", "a.test", true),
            ("d*.test", "a.test", true),
            ("*.test", "b.test", true),
            (".a.test", "a.test", false),
            ("other.test", "a.test", false),
        ];
        for (glob, base, want) in rows {
            assert_eq!(Glob::new(glob).matches_below(base), want, "{glob} *.{base}");
        }
    }

    /// The plainest reading there is.
    fn naive(glob: &[u8], text: &[u8]) -> bool {
        match (glob, text) {
            ([], []) => true,
            ([b'*', rest @ ..], _) if naive(rest, text) => true,
            ([b'*', ..], [_, more @ ..]) => naive(glob, more),
            ([g, rest @ ..], [t, more @ ..]) => g == t && naive(rest, more),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn as_the_plainest_reading(glob in "[ab.*]{0,8}", text in "[ab.*]{0,10}") {
            prop_assert_eq!(Glob::new(&glob).matches(&text), naive(glob.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn what_matches_below_is_found(glob in "[ab.*]{0,6}", base in "[ab]{1,2}(\\.[ab]{1,2})?") {
            let labels: Vec<String> = ["a", "b", "aa", "ab", "ba", "bb", "aaa", "aba", "bab", "abab", "baba", "bbb"]
                .map(|label| format!("{label}.{base}"))
                .into();
            if labels.iter().any(|name| Glob::new(&glob).matches(name)) {
                prop_assert!(Glob::new(&glob).matches_below(&base));
            }
        }
    }
}
