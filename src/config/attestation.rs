//! The rules of `[provisioner.attestation]`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::check::one_of;
use super::file::{Field, Section, shorten};
use super::problem::Findings;
use crate::acme::challenge::ChallengeKind;
use crate::acme::identifier::PermanentId;
use crate::attestation::{DeviceRule, Format, Policy, parse_roots};

/// The largest file of roots that is read, bytes.
const LARGEST_FILE: u64 = 1024 * 1024;

const MOST_ROOTS: usize = 64;

/// What devices are attested for; `None` if none are. Without `base`, files are not looked at and
/// there are no roots.
pub(super) fn policy(
    provisioner: &Section<'_>,
    challenges: &[ChallengeKind],
    base: Option<&Path>,
    findings: &mut Findings,
) -> Option<Policy> {
    let offered = challenges.contains(&ChallengeKind::DeviceAttest01);
    let Some(section) = provisioner.inner("attestation", "provisioner.attestation", findings) else {
        if offered {
            let message = "device-attest-01 needs [provisioner.attestation] with formats and roots: no \
                           vendor is trusted by default";
            findings.error(provisioner.line, &provisioner.path_of("challenges"), message);
        }
        return None;
    };
    if !offered {
        let message =
            "is of no use without \"device-attest-01\" in challenges; add it or remove this section";
        findings.error(section.line, &section.path, message);
    }
    let formats = formats(&section, findings);
    let roots = roots(&section, base, findings);
    Some(Policy { formats, roots, devices: devices(&section, findings) })
}

/// The items of a list that is required and not empty.
fn items<'a>(
    section: &Section<'a>,
    key: &'static str,
    example: &str,
    findings: &mut Findings,
) -> Vec<Field<'a>> {
    let Some(field) = section.require(key, example, findings) else { return Vec::new() };
    let before = findings.errors.len();
    let items = field.array(findings);
    if items.is_empty() && findings.errors.len() == before {
        field.error(findings, format!("is empty; write for example `{key} = {example}`"));
    }
    items
}

fn formats(section: &Section<'_>, findings: &mut Findings) -> Vec<Format> {
    let table: Vec<_> = Format::TABLE.iter().map(|(format, name)| (*name, *format)).collect();
    let mut formats = Vec::new();
    for item in items(section, "formats", "[\"tpm\"]", findings) {
        let Some(format) = one_of(&item, &table, findings) else { continue };
        if formats.contains(&format) {
            item.error(findings, format!("{} is there twice; remove one", format.name()));
        } else {
            formats.push(format);
        }
    }
    formats
}

fn roots(section: &Section<'_>, base: Option<&Path>, findings: &mut Findings) -> Vec<Vec<u8>> {
    let mut roots = Vec::new();
    let files = items(section, "roots", "[\"attestation_roots.pem\"]", findings);
    let line = section.get("roots").map(|field| field.line);
    for item in files {
        let (Some(name), Some(base)) = (item.non_empty(findings), base) else { continue };
        match read(&base.join(name)) {
            Ok(found) => roots.extend(found),
            Err(why) => item.error(findings, format!("{:?} {why}", shorten(name))),
        }
    }
    if roots.len() > MOST_ROOTS {
        let message = format!("there are {} certificates; give at most {MOST_ROOTS}", roots.len());
        findings.error(line, &section.path_of("roots"), message);
    }
    roots
}

fn read(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let mut text = Vec::new();
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    // One byte more than allowed tells a file that is too large.
    let read = file.take(LARGEST_FILE + 1).read_to_end(&mut text);
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > LARGEST_FILE {
        return Err("is larger than 1MiB".to_owned());
    }
    parse_roots(&text).map_err(|error| format!("{error}; give PEM certificates of the vendors you trust"))
}

fn devices(section: &Section<'_>, findings: &mut Findings) -> Vec<DeviceRule> {
    let Some(field) = section.get("allow_devices") else { return Vec::new() };
    let before = findings.errors.len();
    let items = field.array(findings);
    if items.is_empty() && findings.errors.len() == before {
        field.error(findings, "is empty; leave it out to allow any device, or list the devices allowed");
    }
    let mut rules = Vec::new();
    for item in items {
        let Some(text) = item.string(findings) else { continue };
        match rule(text) {
            Ok(rule) => rules.push(rule),
            Err(why) => item.error(findings, format!("{:?}: {why}", shorten(text))),
        }
    }
    rules
}

/// `TEXT*` is every identifier that begins so; a star elsewhere would be taken for more than it is.
fn rule(text: &str) -> Result<DeviceRule, String> {
    let (head, prefix) = match text.strip_suffix('*') {
        Some(head) => (head, true),
        None => (text, false),
    };
    if head.contains('*') {
        return Err("a star may stand at the end only".to_owned());
    }
    if prefix && head.is_empty() {
        return Err("allows any device; leave allow_devices out".to_owned());
    }
    if !prefix {
        PermanentId::parse(head).map_err(|error| error.to_string())?;
    }
    let head = head.to_owned();
    Ok(if prefix { DeviceRule::Prefix(head) } else { DeviceRule::Exact(head) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attestation::samples;
    use crate::config::settings::Provisioner;

    const FILE: &str = r#"
[server]
address = "127.0.0.1:9443"
dns_names = ["ca.test"]

[[provisioner]]
type = "acme"
name = "devices"
challenges = ["device-attest-01"]
wildcards = false

[provisioner.attestation]
formats = ["tpm", "apple", "android-key"]
roots = ["roots.pem"]
allow_devices = ["C02*", "ABC/1.2.3"]
"#;

    #[test]
    fn a_good_section() {
        let folder = tempfile::tempdir().unwrap();
        let root = samples::Authority::new("Root");
        std::fs::write(folder.path().join("roots.pem"), crate::x509::pem::certificate(&root.der)).unwrap();
        let lines = crate::config::file::Lines::of(FILE);
        let source = crate::config::file::Source { text: FILE, lines: &lines };
        let mut findings = Findings::default();
        let document = crate::config::file::parse(source, &mut findings).unwrap();
        let table = document.get_ref();
        let all = crate::config::provisioner::all(
            source,
            table.get("provisioner"),
            (&[], &[]),
            Some(folder.path()),
            &mut findings,
        );
        assert!(findings.errors.is_empty(), "{:?}", findings.errors);
        let [Provisioner::Acme(terms)] = all.as_slice() else { panic!() };
        let policy = terms.attestation.as_ref().unwrap();
        assert_eq!(policy.formats, [Format::Tpm, Format::Apple, Format::AndroidKey]);
        assert_eq!(policy.roots, [root.der]);
        for (device, want) in
            [("C02XG0", true), ("ABC/1.2.3", true), ("ABC", false), ("c02XG0", false), ("XC02", false)]
        {
            assert_eq!(policy.allows(device), want, "{device}");
        }
        std::fs::write(folder.path().join("roots.pem"), "nothing").unwrap();
        let _ = crate::config::provisioner::all(
            source,
            table.get("provisioner"),
            (&[], &[]),
            Some(folder.path()),
            &mut findings,
        );
        assert!(findings.errors[0].message.contains("no certificate in PEM"), "{:?}", findings.errors);
        std::fs::remove_file(folder.path().join("roots.pem")).unwrap();
        let _ = crate::config::provisioner::all(
            source,
            table.get("provisioner"),
            (&[], &[]),
            Some(folder.path()),
            &mut findings,
        );
        assert!(findings.errors[1].message.contains("cannot be read"), "{:?}", findings.errors);
    }

    #[test]
    fn bad_sections() {
        let without = FILE.split("[provisioner.attestation]").next().unwrap();
        let rows = [
            (without.to_owned(), "no vendor is trusted by default"),
            (FILE.replace("challenges = [\"device-attest-01\"]", ""), "is of no use without"),
            (FILE.replace("\"tpm\", ", "\"packed\", "), "write one of \"tpm\""),
            (FILE.replace("\"tpm\", ", "\"apple\", "), "apple is there twice"),
            (FILE.replace("formats = [\"tpm\", \"apple\", \"android-key\"]", "formats = []"), "is empty"),
            (FILE.replace("roots = [\"roots.pem\"]", ""), "roots: is required"),
            (FILE.replace("roots = [\"roots.pem\"]", "roots = []"), "roots: is empty"),
            (FILE.replace("roots = [\"roots.pem\"]", "roots = [\"\"]"), "is empty or has control"),
            (FILE.replace("\"C02*\"", "\"*\""), "leave allow_devices out"),
            (FILE.replace("\"C02*\"", "\"C*2\""), "a star may stand at the end only"),
            (FILE.replace("\"C02*\"", "\"\""), "is empty"),
            (FILE.replace("ABC/1.2.3", "ABC/one"), "object identifier"),
            (FILE.replace("allow_devices = [\"C02*\", \"ABC/1.2.3\"]", "allow_devices = []"), "is empty"),
            (FILE.replace("roots =", "root = 1\nroots ="), "did you mean `roots`?"),
            (FILE.replace("[provisioner.attestation]", "[attestation]"), "unknown section"),
            (FILE.replace("[provisioner.attestation]", "[\"provisioner.attestation\"]"), "unknown section"),
        ];
        for (text, want) in rows {
            let problems = crate::config::parse(&text, Path::new("/nowhere")).settings.expect_err(want);
            let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
            assert!(all.iter().any(|problem| problem.contains(want)), "{want}: {all:?}");
        }
    }
}
