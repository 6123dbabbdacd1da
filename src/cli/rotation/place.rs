//! Where a rotation takes place: the running CA, its file, and the configuration in force.

use std::fs;
use std::path::{Path, PathBuf};

use hyper::Method;

use super::{RotationError, Which};
use crate::audit::configuration::RotationStep;
use crate::cli::CliError;
use crate::cli::ca::site;
use crate::cli::replace::{self, Replaced};
use crate::cli::running::Target;
use crate::config;
use crate::config::edit::{self, Change};
use crate::config::settings::{Authority, Settings};
use crate::service::configuration::text_digest;
use crate::wire::admin as wire;

/// A step's surroundings.
pub(super) struct Place {
    target: Target,
    /// The mayfly.toml.
    pub(super) file: PathBuf,
    /// Where its relative paths start.
    pub(super) base: PathBuf,
    /// The text in force.
    pub(super) in_force: String,
    /// What it says.
    pub(super) settings: Settings,
    /// The authority that is meant.
    pub(super) authority: Authority,
}

/// A step: which, of which issuer, and whether it is forced.
type Step = (RotationStep, Option<String>, bool);

impl Place {
    pub(super) fn find(which: &Which) -> Result<Self, CliError> {
        let target = which.target.clone();
        let file = target.file()?;
        // As the CA has it, which follows no link to find where relative paths start.
        let file = std::path::absolute(&file).map_err(|source| CliError::File { path: file, source })?;
        let base = file.parent().unwrap_or(Path::new("/")).to_owned();
        let found = in_force(&target)?;
        let settings = config::parse(&found.text, &base).settings;
        let settings = settings.map_err(|problems| CliError::Config { file: file.clone(), problems })?;
        let authority = chosen(&settings, which.authority.as_deref())?.clone();
        Ok(Self { target, file, base, in_force: found.text, settings, authority })
    }

    /// The same for a step that changes something, with nobody else at it.
    pub(super) fn take_place(which: &Which) -> Result<(Self, fs::File), CliError> {
        let alone = replace::alone(&which.target.file()?)?;
        Ok((Self::find(which)?, alone))
    }

    /// The authority's name.
    pub(super) fn name(&self) -> &str {
        self.authority.name.as_str()
    }

    /// The text of the file now.
    pub(super) fn text(&self) -> Result<String, CliError> {
        let failed = |source| CliError::File { path: self.file.clone(), source };
        fs::read_to_string(&self.file).map_err(failed)
    }

    /// The text in force, changed.
    pub(super) fn changed(&self, change: &Change) -> Result<String, CliError> {
        Ok(edit::edit(&self.in_force, self.name(), change).map_err(RotationError::from)?)
    }

    /// Whether the file is the text in force, or what `change` makes of it; anything else is refused.
    pub(super) fn check_file(&self, change: &Change) -> Result<(), CliError> {
        let text = self.text()?;
        if text == self.in_force || text == self.changed(change)? {
            return Ok(());
        }
        Err(RotationError::Differs(self.file.clone()).into())
    }

    /// Makes the file what `change` makes of the text in force, and puts it into force; if that does not come
    /// about, the file is as it was.
    pub(super) fn take(
        &self,
        change: &Change,
        (step, issuer, force): Step,
    ) -> Result<wire::AppliedConfiguration, CliError> {
        self.check_file(change)?;
        let text = self.changed(change)?;
        let rotation = wire::RotationStep {
            step: step.name().to_owned(),
            authority: self.name().to_owned(),
            issuer,
            force,
        };
        // Nothing is written that a restart would put into force although it is refused now.
        let checked: Result<wire::Rotations, _> =
            self.target.call(Method::POST, "/v1/rotations", Some(&rotation));
        let mut replaced = Replaced::default();
        if let Err(refusal) = checked {
            let applied = self.done(&text).ok_or(refusal)?;
            replaced.put_over(&self.file, &self.in_force, &text)?;
            replaced.keep()?;
            return Ok(applied);
        }
        replaced.put_over(&self.file, &self.in_force, &text)?;
        let ask = wire::ApplyConfiguration {
            rollback_to: None,
            rotation: Some(rotation),
            text_sha256: Some(text_digest(&text)),
        };
        let outcome = self.target.call(Method::POST, "/v1/configurations", Some(&ask));
        let outcome = outcome.or_else(|refusal| self.done(&text).ok_or(refusal));
        replaced.settled(outcome).map(|(applied, _)| applied)
    }

    /// How this text came into force, if it is: of a command that was cut short, the CA may have carried out
    /// what it had been sent only after this one began.
    fn done(&self, text: &str) -> Option<wire::AppliedConfiguration> {
        let found = in_force(&self.target).ok().filter(|found| found.text == text)?;
        Some(wire::AppliedConfiguration { version: found.summary.version, restart: Vec::new() })
    }

    /// Whether what was in force when this began still is.
    pub(super) fn is_in_force(&self) -> Result<bool, CliError> {
        Ok(in_force(&self.target)?.text == self.in_force)
    }

    /// Where the rotation stands.
    pub(super) fn standing(&self) -> Result<wire::Rotation, CliError> {
        let all: wire::Rotations = self.target.call(Method::GET, "/v1/rotations", None::<&()>)?;
        let own = all.rotations.into_iter().find(|one| one.authority == self.name());
        own.ok_or_else(|| RotationError::NoAuthority(self.name().to_owned()).into())
    }

    /// Some of an issuer's certificates that are alive, at most so many.
    pub(super) fn sample(&self, issuer: &str, most: usize) -> Result<Vec<wire::Certificate>, CliError> {
        let path = format!("/v1/certificates?issuer={issuer}&state=valid&limit={most}");
        let mut page: wire::Certificates = self.target.call(Method::GET, &path, None::<&()>)?;
        // As in the count, without this server's own.
        page.certificates.retain(|one| one.door != "own");
        Ok(page.certificates)
    }

    /// A file as the configuration is to name it: from its own directory on, if it lies there.
    pub(super) fn named(&self, path: &Path) -> String {
        path.strip_prefix(&self.base).unwrap_or(path).display().to_string()
    }

    /// The roots' file of the authority: what is in it.
    pub(super) fn roots(&self) -> Result<Vec<Vec<u8>>, CliError> {
        site::certificates(&self.authority.root)
    }

    /// Writes a roots' file of these, unless there is one.
    pub(super) fn roots_file(&self, roots: &[Vec<u8>]) -> Result<PathBuf, CliError> {
        let certs = self.base.join("certs");
        let known = (2..).map(|n| certs.join(format!("roots_{n}.crt"))).take_while(|path| path.exists());
        for path in std::iter::once(certs.join("root_ca.crt")).chain(known) {
            if path.is_file() && site::certificates(&path).is_ok_and(|there| there == roots) {
                return Ok(path);
            }
        }
        let free = (2..).map(|n| certs.join(format!("roots_{n}.crt"))).find(|path| !path.exists());
        let path = free.unwrap_or_else(|| certs.join("roots.crt"));
        site::install(&path, &site::chain_pem(roots), false)?;
        self.give(&path)?;
        Ok(path)
    }

    /// Gives a file that was made to the user that the CA's configuration belongs to.
    pub(super) fn give(&self, path: &Path) -> Result<(), CliError> {
        use std::os::unix::fs::{MetadataExt, lchown};
        let failed = |source| CliError::File { path: path.to_owned(), source };
        // Whose the directory is may have put a link in its place: that is all that is given then.
        let own = fs::symlink_metadata(path).map_err(failed)?;
        let like = fs::metadata(&self.file).map_err(failed)?;
        if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
            lchown(path, Some(like.uid()), Some(like.gid())).map_err(failed)?;
        }
        Ok(())
    }
}

fn in_force(target: &Target) -> Result<wire::Configuration, CliError> {
    target.call(Method::GET, "/v1/configurations/current", None::<&()>)
}

/// The one that is named, or the only one.
pub(super) fn chosen<'s>(settings: &'s Settings, name: Option<&str>) -> Result<&'s Authority, RotationError> {
    let all = &settings.authorities;
    match name {
        Some(name) => all
            .iter()
            .find(|one| one.name.as_str() == name)
            .ok_or_else(|| RotationError::NoAuthority(name.to_owned())),
        None => match all.as_slice() {
            [one] => Ok(one),
            _ => {
                let names: Vec<_> = all.iter().map(|one| one.name.as_str()).collect();
                Err(RotationError::Which(names.join(", ")))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::os::unix::net::UnixListener;
    use std::thread::JoinHandle;

    use serde_json::{Value, json};

    use super::*;
    use crate::config::edit::Next;

    /// A CA that gives these answers, one after another, each on a connection of its own; what it was asked.
    fn scripted(socket: &Path, answers: Vec<(u16, Value)>) -> JoinHandle<Vec<String>> {
        let listener = UnixListener::bind(socket).unwrap();
        std::thread::spawn(move || {
            let answer = |(status, value): (u16, Value)| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let lines = std::iter::repeat_with(|| {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    line.to_ascii_lowercase()
                });
                let head: Vec<String> = lines.take_while(|line| line != "\r\n").collect();
                let length = head.iter().find_map(|line| line.strip_prefix("content-length:"));
                let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
                reader.read_exact(&mut body).unwrap();
                let text = value.to_string();
                let length = text.len();
                write!(
                    stream,
                    "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}"
                )
                .unwrap();
                head[0].trim_end_matches(" http/1.1\r\n").to_owned()
            };
            answers.into_iter().map(answer).collect()
        })
    }

    const TEXT: &str = "[server]\naddress = \"[::1]:1\"\ndns_names = [\"ca.test\"]\n[admin]\nsocket = \
                        \"admin.sock\"\n[authority]\ncertificate = \"1.crt\"\nkey = \"1.key\"\n\
                        [[provisioner]]\ntype = \"acme\"\nname = \"x\"\n";

    /// The version in force, with this text.
    fn version(text: &str) -> Value {
        json!({"version": 7, "at": "", "how": "start", "sha256": "", "text": text, "files": []})
    }

    fn which(file: &Path) -> Which {
        let config = Some(file.to_owned());
        let target =
            Target { config, dir: None, url: None, client_cert: None, client_key: None, trust: None };
        Which { authority: None, target }
    }

    /// A start that was cut short comes into force while it is undone: then it is not undone.
    #[test]
    fn what_came_about_meanwhile_is_not_undone() {
        let after = format!("{TEXT}# more\n");
        for (now, undone) in [(TEXT, true), (&after, false)] {
            let home = tempfile::tempdir().unwrap();
            let file = home.path().join("mayfly.toml");
            let marker = home.path().join("certs/issuer_2.pending");
            fs::create_dir(home.path().join("certs")).unwrap();
            fs::write(&file, &after).unwrap();
            fs::write(&marker, format!("options\n{}\n", text_digest(&after))).unwrap();
            let answers = vec![(200, version(TEXT)), (200, version(now))];
            let ca = scripted(&home.path().join("admin.sock"), answers);
            let place = Place::find(&which(&file)).unwrap();
            let outcome = super::super::generation::undo(&place);
            assert_eq!(ca.join().unwrap().len(), 2);
            assert_eq!((outcome.is_ok(), marker.exists()), (undone, !undone));
            assert_eq!(fs::read_to_string(&file).unwrap(), now);
        }
    }

    /// The CA carries out what a command that was cut short had sent it while the same command runs again.
    #[test]
    fn what_came_about_meanwhile_is_not_taken_back() {
        let next = Next {
            certificate: "2.crt".into(),
            key: "2.key".into(),
            password: None,
            alternate_chains: Vec::new(),
        };
        let change = Change::Start(next, None);
        let after = edit::edit(TEXT, "default", &change).unwrap();
        let refusal =
            json!({"type": "about:blank", "title": "", "status": 400, "detail": "there is a next issuer"});
        let (get, check) = ("get /v1/configurations/current", "post /v1/rotations");
        let apply = "post /v1/configurations";
        let checked = (200, json!({"rotations": []}));
        for (answers, asked, came) in [
            (
                vec![checked.clone(), (400, refusal.clone()), (200, version(&after))],
                vec![check, apply, get],
                true,
            ),
            (vec![(400, refusal.clone()), (200, version(&after))], vec![check, get], true),
            (vec![checked, (400, refusal.clone()), (200, version(TEXT))], vec![check, apply, get], false),
            (vec![(400, refusal.clone()), (200, version(TEXT))], vec![check, get], false),
        ] {
            for written in [TEXT, &after] {
                let home = tempfile::tempdir().unwrap();
                let file = home.path().join("mayfly.toml");
                fs::write(&file, written).unwrap();
                let answers = [vec![(200, version(TEXT))], answers.clone()].concat();
                let ca = scripted(&home.path().join("admin.sock"), answers);
                let place = Place::find(&which(&file)).unwrap();
                let taken = place.take(&change, (RotationStep::Start, None, false));
                assert_eq!(ca.join().unwrap()[1..], asked[..]);
                let now = fs::read_to_string(&file).unwrap();
                if came {
                    assert_eq!(taken.unwrap().version, 7);
                    assert_eq!(now, after);
                } else {
                    assert!(taken.unwrap_err().to_string().contains("there is a next issuer"));
                    assert!(now == TEXT || asked.len() == 2 && now == written, "{now}");
                }
            }
        }
    }

    #[test]
    fn of_several_authorities_one_is_named() {
        let server = "[server]\naddress = \"[::1]:1\"\ndns_names = [\"ca.test\"]\n";
        let authority = |name: &str| {
            format!("[[authority]]\nname = \"{name}\"\ncertificate = \"{name}.crt\"\nkey = \"{name}.key\"\n")
        };
        let provisioner = "[[provisioner]]\ntype = \"acme\"\nname = \"x\"\n";
        let parsed = |text: &str| config::parse(text, Path::new("/ca")).settings.unwrap();
        let one = parsed(&format!("{server}{provisioner}"));
        let text = format!("{server}{}{}{provisioner}authority = \"a\"\n", authority("a"), authority("b"));
        let two = parsed(&text);
        let name = |settings: &Settings, asked| {
            let found = chosen(settings, asked).map(|one| one.name.as_str().to_owned());
            found.map_err(|error| error.to_string())
        };
        assert_eq!(name(&one, None).unwrap(), "default");
        assert_eq!(name(&two, Some("b")).unwrap(), "b");
        assert!(name(&two, None).unwrap_err().contains("there are a, b"));
        assert!(name(&one, Some("c")).unwrap_err().contains("no authority c"));
    }
}
