//! The rules of `[[notify]]`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use url::{Host, Url};

use super::check::{DAY, HOUR, MINUTE, SECOND, one_of};
use super::file::{Field, Section, Source, shorten};
use super::problem::Findings;
use super::provisioner::is_provisioner_name;
use super::settings::{Notify, NotifyType};

/// Each has a connection and a task of its own.
const MOST: usize = 16;

/// A request that takes longer is longer than whoever tests it waits.
const TIMEOUT: (Duration, Duration) = (SECOND, Duration::from_secs(30));

pub(super) fn all<'a>(
    source: Source<'a>,
    value: Option<&'a Spanned<DeValue<'a>>>,
    base: &Path,
    findings: &mut Findings,
) -> Vec<Notify> {
    let Some(value) = value else { return Vec::new() };
    let line = Some(source.line(value.span().start));
    let Some(items) = value.get_ref().as_array() else {
        findings.error(line, "notify", "write [[notify]], with two brackets on each side");
        return Vec::new();
    };
    if items.len() > MOST {
        findings.error(line, "notify", format!("there are {}; give at most {MOST}", items.len()));
    }
    let mut all: Vec<Notify> = Vec::new();
    for (i, item) in items.iter().enumerate().take(MOST) {
        let section = Section::new(source, "notify", format!("notify[{i}]"), Some(item), findings);
        let Some(one) = one(&section, base, findings) else { continue };
        if all.iter().any(|other| other.name == one.name) {
            let line = section.get("name").map(|field| field.line);
            let message = format!("{:?} is taken by an earlier one; give another", one.name);
            findings.error(line, &section.path_of("name"), message);
        }
        all.push(one);
    }
    all
}

fn one(section: &Section<'_>, base: &Path, findings: &mut Findings) -> Option<Notify> {
    let kinds = [("webhook", NotifyType::Webhook), ("alertmanager", NotifyType::Alertmanager)];
    let kind = section.require("type", "\"webhook\"", findings);
    let kind = kind.and_then(|field| one_of(&field, &kinds, findings));
    let name = section.require("name", "\"on-call\"", findings);
    let name = name.and_then(|field| name_of(&field, findings));
    let url = section.require("url", "\"https://alerts.example.internal/hooks/mayfly\"", findings);
    let url = url.and_then(|field| url_of(&field, kind, findings));
    let mut file = |key| {
        let text = section.get(key)?.non_empty(findings)?;
        Some(base.join(text))
    };
    let (ca, token_file, secret_file): (Option<PathBuf>, _, _) =
        (file("ca"), file("token_file"), file("secret_file"));
    let timeout = section.duration("timeout", 10 * SECOND, TIMEOUT, findings);
    let send_resolved = section.get("send_resolved").and_then(|field| field.boolean(findings));
    let individual = section.integer("individual", 10, (1, 100), findings);
    let (kind, name, url) = (kind?, name?, url?);
    let repeat = match kind {
        NotifyType::Webhook => section.duration("repeat", DAY, (5 * MINUTE, 30 * DAY), findings),
        // It forgets an alert that it has not heard of for a while.
        NotifyType::Alertmanager => section.duration("repeat", MINUTE, (10 * SECOND, HOUR), findings),
    };
    if kind == NotifyType::Alertmanager && secret_file.is_some() {
        let line = section.get("secret_file").map(|field| field.line);
        let message =
            "has no use: Alertmanager looks at no signature; remove it, or write type = \"webhook\"";
        findings.error(line, &section.path_of("secret_file"), message);
    }
    unsafe_ways(section, &url, (&ca, &token_file), findings);
    Some(Notify {
        name,
        kind,
        url: url.to_string(),
        ca,
        token_file,
        secret_file,
        timeout,
        repeat,
        send_resolved: send_resolved.unwrap_or(true),
        individual: usize::try_from(individual).unwrap_or(usize::MAX),
    })
}

fn name_of(field: &Field<'_>, findings: &mut Findings) -> Option<String> {
    let text = field.string(findings)?;
    if is_provisioner_name(text) {
        return Some(text.to_owned());
    }
    let message = format!("{:?} is no name; give 1 to 64 of a-z, 0-9, hyphen, underscore", shorten(text));
    field.error(findings, message);
    None
}

/// An absolute URL that is a place and nothing else. What it holds is not repeated: it may be a secret.
fn url_of(field: &Field<'_>, kind: Option<NotifyType>, findings: &mut Findings) -> Option<Url> {
    let text = field.non_empty(findings)?;
    let example = "write such as \"https://alerts.example.internal/hooks/mayfly\"";
    let Ok(url) = Url::parse(text) else {
        field.error(findings, format!("is no URL; {example}"));
        return None;
    };
    let alertmanager = kind == Some(NotifyType::Alertmanager);
    let wrong = if !matches!(url.scheme(), "http" | "https") {
        "is neither http:// nor https://".to_owned()
    } else if !url.username().is_empty() || url.password().is_some() {
        "has a user or a password in it; put a token into a file and name that in token_file".to_owned()
    } else if url.fragment().is_some() {
        "has a fragment (#), which is sent to nobody; remove it".to_owned()
    } else if alertmanager && url.query().is_some() {
        "has a query; give Alertmanager's own URL, such as \"http://alertmanager.example.internal:9093\""
            .to_owned()
    } else if alertmanager && url.path().contains("/api/") {
        "has the path of the API; give what is in front of it, such as \"http://127.0.0.1:9093\"".to_owned()
    } else {
        return Some(url);
    };
    field.error(findings, wrong);
    None
}

/// What is worth knowing of a way in the clear.
fn unsafe_ways(
    section: &Section<'_>,
    url: &Url,
    (ca, token): (&Option<PathBuf>, &Option<PathBuf>),
    findings: &mut Findings,
) {
    if url.scheme() == "https" {
        return;
    }
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let line = |key| section.get(key).map(|field| field.line);
    if ca.is_some() {
        findings.error(
            line("ca"),
            &section.path_of("ca"),
            "has no use with http://; remove it, or write https://",
        );
    }
    if !here && token.is_some() {
        let message = "the token goes over the network in the clear, for everybody to read; write https://";
        findings.error(line("token_file"), &section.path_of("token_file"), message);
    } else if !here {
        let message = "names of certificates go over the network in the clear; https:// would hide them";
        findings.note(line("url"), &section.path_of("url"), message);
    }
}

/// Checks that the files that the settings name are there.
pub(super) fn files(root: &DeTable<'_>, source: Source<'_>, settings: &[Notify], findings: &mut Findings) {
    for (i, one) in settings.iter().enumerate() {
        let files = [("ca", &one.ca), ("token_file", &one.token_file), ("secret_file", &one.secret_file)];
        for (key, path) in files {
            let Some(path) = path else { continue };
            let problem = match std::fs::metadata(path) {
                Ok(meta) if !meta.is_file() => format!("{} is not a file", path.display()),
                Ok(meta) if key != "ca" && meta.permissions().mode() & 0o077 != 0 => {
                    format!("{} is open to other users; make it `chmod 600`", path.display())
                }
                Ok(_) => continue,
                Err(error) => format!("{}: {error}", path.display()),
            };
            let all: Option<&Spanned<DeValue<'_>>> = root.get("notify");
            let section = all.and_then(|all| all.get_ref().as_array()?.get(i));
            let value = section.and_then(|section| section.get_ref().get(key));
            let line = value.or(section).map(|value| source.line(value.span().start));
            findings.error(line, &format!("notify[{i}].{key}"), problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Report, parse};
    use super::*;

    const REST: &str = "[server]\naddress = \"127.0.0.1:9443\"\ndns_names = [\"ca.test\"]\n\
                        [[provisioner]]\ntype = \"acme\"\nname = \"acme\"\n";

    fn report(lines: &str) -> Report {
        parse(&format!("{REST}[[notify]]\n{lines}\n"), Path::new("/etc/mayfly"))
    }

    fn webhook(lines: &str) -> Report {
        report(&format!("name = \"a\"\ntype = \"webhook\"\nurl = \"https://hooks.test/x\"\n{lines}"))
    }

    #[test]
    fn defaults() {
        let [one] = webhook("").settings.unwrap().notify.try_into().unwrap();
        assert_eq!((one.timeout, one.repeat, one.individual), (10 * SECOND, DAY, 10));
        assert!(one.send_resolved && one.ca.is_none() && one.token_file.is_none());
        let given = "token_file = \"t\"\nsecret_file = \"/s\"\nrepeat = \"5m\"\nsend_resolved = false";
        let [one] = webhook(given).settings.unwrap().notify.try_into().unwrap();
        assert_eq!(one.token_file.as_deref(), Some(Path::new("/etc/mayfly/t")));
        assert_eq!(one.secret_file.as_deref(), Some(Path::new("/s")));
        assert!(!one.send_resolved && !format!("{one:?}").contains("hooks.test"));
        let alertmanager = "name = \"a\"\ntype = \"alertmanager\"\nurl = \"http://127.0.0.1:9093\"";
        let read = report(alertmanager);
        assert!(read.notes.is_empty());
        assert_eq!(read.settings.unwrap().notify[0].repeat, MINUTE);
    }

    #[test]
    fn mistakes() {
        let url = |text: &str| format!("name = \"a\"\ntype = \"webhook\"\nurl = \"{text}\"");
        let alertmanager = |rest: &str| format!("name = \"a\"\ntype = \"alertmanager\"\n{rest}");
        let rows: [(String, usize, &str); 15] = [
            ("type = \"webhook\"\nurl = \"https://a.test\"".into(), 7, "notify[0].name: is required"),
            ("name = \"a\"\nurl = \"https://a.test\"".into(), 7, "notify[0].type: is required"),
            ("name = \"a\"\ntype = \"webhook\"".into(), 7, "notify[0].url: is required"),
            ("name = \"A b\"\ntype = \"webhook\"\nurl = \"https://a.test\"".into(), 8, "is no name"),
            ("name = \"a\"\ntype = \"slack\"\nurl = \"https://a.test\"".into(), 9, "is not known"),
            (url("hooks/secret"), 10, "is no URL"),
            (url("ftp://a.test/secret"), 10, "is neither http:// nor https://"),
            (url("https://user:secret@a.test"), 10, "has a user or a password"),
            (url("https://a.test/secret#x"), 10, "has a fragment"),
            (alertmanager("url = \"http://127.0.0.1:9093/api/v2/alerts\""), 10, "has the path of the API"),
            (alertmanager("url = \"http://127.0.0.1:9093\"\nsecret_file = \"secret\""), 11, "has no use"),
            (alertmanager("url = \"http://127.0.0.1:9093\"\nrepeat = \"1d\""), 11, "out of range"),
            (url("http://a.test") + "\ntoken_file = \"x\"", 11, "in the clear"),
            (url("http://a.test") + "\nca = \"x\"", 11, "has no use with http://"),
            (url("https://a.test") + "\ntimeout = \"31s\"", 11, "out of range"),
        ];
        for (lines, line, words) in rows {
            let problems = report(&lines).settings.expect_err(&lines);
            let [problem] = problems.as_slice() else { panic!("{lines}: {problems:#?}") };
            let shown = problem.to_string();
            assert!(problem.line == Some(line) && shown.contains(words), "{lines}: {shown}");
            assert!(!shown.contains("secret@") && !shown.contains("/secret"), "{shown}");
        }
        let note = report(&url("http://a.test")).notes;
        assert!(note.len() == 1 && note[0].message.contains("in the clear"), "{note:#?}");
    }

    #[test]
    fn names_are_unique_and_receivers_few() {
        let one = |name: &str| {
            format!("[[notify]]\nname = \"{name}\"\ntype = \"webhook\"\nurl = \"https://a.test\"\n")
        };
        let twice = format!("{REST}{}{}", one("a"), one("a"));
        let problems = parse(&twice, Path::new(".")).settings.unwrap_err();
        assert!(problems[0].to_string().contains("is taken"), "{problems:#?}");
        let many: String = (0..=MOST).map(|n| one(&format!("n{n}"))).collect();
        let problems = parse(&format!("{REST}{many}"), Path::new(".")).settings.unwrap_err();
        assert!(problems[0].to_string().contains("give at most 16"), "{problems:#?}");
    }

    #[test]
    fn files_are_there_and_closed_to_others() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("mayfly.toml");
        let lines = "[[notify]]\nname = \"a\"\ntype = \"webhook\"\nurl = \"https://a.test\"\n\
                     token_file = \"token\"\nca = \"ca\"\n";
        std::fs::write(&path, format!("{REST}{lines}")).unwrap();
        std::fs::write(home.path().join("token"), "x").unwrap();
        for (mode, words) in [(0o644, "notify[0].token_file: "), (0o600, "notify[0].ca: ")] {
            let token = home.path().join("token");
            std::fs::set_permissions(token, std::fs::Permissions::from_mode(mode)).unwrap();
            let problems = super::super::check(&path).settings.unwrap_err();
            let told = |problem: &&super::super::Problem| problem.key.starts_with("notify");
            let told: Vec<String> = problems.iter().filter(told).map(ToString::to_string).collect();
            assert!(told[0].contains(words), "{told:#?}");
            assert_eq!(told.len(), if mode == 0o600 { 1 } else { 2 });
            assert!(
                problems
                    .iter()
                    .filter(|problem| problem.key.starts_with("notify"))
                    .all(|p| p.line > Some(10))
            );
        }
    }

    /// The sample's section is commented out whole; it is right all the same.
    #[test]
    fn the_sample() {
        let team = include_str!("../../config/team.toml");
        let (_, sample) = team.split_once("\n#[[notify]]\n").unwrap();
        let is_setting = |line: &&str| {
            line.strip_prefix("# ").is_some_and(|rest| {
                rest.contains(" = ") && rest.starts_with(|c: char| c.is_ascii_lowercase())
            })
        };
        let lines: Vec<&str> = sample.lines().filter(is_setting).map(|line| &line[2..]).collect();
        let read = report(&lines.join("\n"));
        let all = super::super::file::keys_of("notify");
        assert!(read.settings.is_ok(), "{:#?}", read.settings);
        assert_eq!(lines.len(), all.len(), "every key, once: {lines:#?}");
    }
}
