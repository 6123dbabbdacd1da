//! Files replaced together, and put back if what they were for does not come about.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::CliError;
use crate::client::admin::AdminError;

/// Files that were replaced; put back when dropped without [`Replaced::keep`].
#[derive(Debug, Default)]
pub(super) struct Replaced(Vec<Former>);

/// A file as it was.
#[derive(Debug)]
struct Former {
    path: PathBuf,
    /// Where its old text is; `None` if there was no such file.
    copy: Option<PathBuf>,
}

impl Replaced {
    /// Gives a file this text, durably and in one step. Owner and mode stay; what it was is beside it,
    /// with `.before` behind its name.
    pub(super) fn put(&mut self, path: &Path, text: &str) -> Result<(), CliError> {
        // Through links: the file itself is replaced, not what leads to it.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let failed = |source| CliError::File { path: path.clone(), source };
        match fs::read(&path) {
            Ok(now) if now == text.as_bytes() => return Ok(()),
            Ok(now) => {
                let copy = with_suffix(&path, ".before");
                write(&copy, &now, &path).map_err(failed)?;
                self.0.push(Former { path: path.clone(), copy: Some(copy) });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.0.push(Former { path: path.clone(), copy: None });
            }
            Err(error) => return Err(failed(error)),
        }
        write(&path, text.as_bytes(), &path).map_err(failed)
    }

    /// The same where a run that was cut short may have been: `before` is what is put back, also if the file
    /// has this text already.
    pub(super) fn put_over(&mut self, path: &Path, before: &str, text: &str) -> Result<(), CliError> {
        if fs::read(path).is_ok_and(|now| now == text.as_bytes()) && before != text {
            let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            let copy = with_suffix(&path, ".before");
            write(&copy, before.as_bytes(), &path)
                .map_err(|source| CliError::File { path: copy.clone(), source })?;
            self.0.push(Former { path, copy: Some(copy) });
            return Ok(());
        }
        self.put(path, text)
    }

    /// Ends as the CA's answer says: whatever it took up stays, and whatever it certainly did not take up is
    /// put back. Where nobody knows, the files stay, since it may run on them; the error says so.
    pub(super) fn settled<T>(self, outcome: Result<T, CliError>) -> Result<(T, Vec<PathBuf>), CliError> {
        match outcome {
            Ok(done) => Ok((done, self.keep()?)),
            Err(CliError::Admin { error, .. }) if is_open(&error) => {
                Err(CliError::Outcome { error, before: self.keep()? })
            }
            Err(error) => Err(error),
        }
    }

    /// Leaves the files as they are now; where the old ones are.
    pub(super) fn keep(mut self) -> Result<Vec<PathBuf>, CliError> {
        Ok(std::mem::take(&mut self.0).into_iter().filter_map(|former| former.copy).collect())
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        for Former { path, copy } in self.0.drain(..).rev() {
            let back = match &copy {
                Some(copy) => fs::rename(copy, &path),
                None => fs::remove_file(&path),
            };
            if let Err(error) = back {
                let was = copy.map_or_else(String::new, |copy| format!("; it is in {}", copy.display()));
                let _ = writeln!(io::stderr(), "cannot put {} back: {error}{was}", path.display());
            }
        }
    }
}

/// Keeps other commands that change this configuration file away, as long as what is returned is held.
pub(super) fn alone(file: &Path) -> Result<File, CliError> {
    // The directory, since the file itself is replaced; the process's end lets go of it, whatever ends it.
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |source| CliError::File { path: dir.to_owned(), source };
    let held = File::open(dir).map_err(failed)?;
    match held.try_lock() {
        Ok(()) => Ok(held),
        Err(TryLockError::WouldBlock) => Err(CliError::Changing(file.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Whether the CA may have done what it was asked for, although this came back.
fn is_open(error: &AdminError) -> bool {
    match error {
        AdminError::NotRunning(_)
        | AdminError::Forbidden(_)
        | AdminError::Connect { .. }
        | AdminError::Remote { .. } => false,
        AdminError::Exchange(_) => true,
        // Too busy: it was not acted on.
        AdminError::Refused(problem) => problem.status >= 500 && problem.status != 503,
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

/// Writes a file durably and in one step, with the owner and mode of `like` if that is there.
fn write(path: &Path, bytes: &[u8], like: &Path) -> io::Result<()> {
    let beside = with_suffix(path, ".new");
    let like = fs::metadata(like).ok();
    let mode = like.as_ref().map_or(0o600, |like| like.permissions().mode() & 0o777);
    let written = (|| {
        // What an earlier attempt left.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        if let Some(like) = &like {
            let own = file.metadata()?;
            if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
                fchown(&file, Some(like.uid()), Some(like.gid()))?;
            }
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_together_or_not_at_all() {
        let home = tempfile::tempdir().unwrap();
        let (one, two) = (home.path().join("one"), home.path().join("two"));
        let read = |path: &Path| fs::read_to_string(path).ok();
        fs::write(&one, "old").unwrap();
        fs::set_permissions(&one, fs::Permissions::from_mode(0o640)).unwrap();
        let replace = || {
            let mut replaced = Replaced::default();
            replaced.put(&one, "new").unwrap();
            replaced.put(&two, "fresh").unwrap();
            assert_eq!((read(&one).as_deref(), read(&two).as_deref()), (Some("new"), Some("fresh")));
            replaced
        };
        drop(replace());
        assert_eq!((read(&one).as_deref(), read(&two)), (Some("old"), None));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "nothing else is left");

        let copies = replace().keep().unwrap();
        assert_eq!(copies, [fs::canonicalize(home.path()).unwrap().join("one.before")]);
        assert_eq!((read(&one).as_deref(), read(&copies[0]).as_deref()), (Some("new"), Some("old")));
        for path in [&one, &copies[0]] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o640);
        }
        // The same text is no change.
        let mut replaced = Replaced::default();
        replaced.put(&one, "new").unwrap();
        assert!(replaced.keep().unwrap().is_empty());
    }

    #[test]
    fn what_a_run_that_was_cut_short_has_written_is_put_back_too() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("mayfly.toml");
        for written in ["old", "new"] {
            fs::write(&path, written).unwrap();
            let mut replaced = Replaced::default();
            replaced.put_over(&path, "old", "new").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "new");
            drop(replaced);
            assert_eq!(fs::read_to_string(&path).unwrap(), "old", "{written}");
        }
    }

    #[test]
    fn one_command_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("mayfly.toml");
        let held = alone(&file).unwrap();
        assert!(matches!(alone(&file), Err(CliError::Changing(_))));
        drop(held);
        alone(&file).unwrap();
    }

    #[test]
    fn files_stay_where_the_outcome_is_not_known() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("mayfly.toml");
        let refused = |status| {
            let (kind, title, detail) = ("about:blank".into(), String::new(), "no".into());
            AdminError::Refused(crate::wire::admin::Problem { kind, title, status, detail })
        };
        let socket = home.path().join("admin.sock");
        for (error, want) in [
            (refused(400), "old"),
            (refused(503), "old"),
            (refused(500), "new"),
            // It took too long, and goes on.
            (refused(504), "new"),
            (AdminError::NotRunning(socket.clone()), "old"),
            (AdminError::Forbidden(socket.clone()), "old"),
            (AdminError::Connect { path: socket, error: io::Error::other("broken") }, "old"),
            (AdminError::Exchange("it took too long".into()), "new"),
        ] {
            fs::write(&path, "old").unwrap();
            let mut replaced = Replaced::default();
            replaced.put(&path, "new").unwrap();
            let row = error.to_string();
            let settled = replaced.settled::<()>(Err(CliError::Admin { file: None, error })).unwrap_err();
            assert_eq!(fs::read_to_string(&path).unwrap(), want, "{row}");
            assert_eq!(matches!(settled, CliError::Outcome { .. }), want == "new", "{row}");
        }
    }
}
