//! `mayfly policy import`

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;

use super::super::CliError;
use crate::config::Problem;
use crate::policy::LARGEST;
use crate::policy::import::{Imported, Source, import};

const AFTER_HELP: &str = "\
Reads a CertificateRequestPolicy of cert-manager's approver-policy (YAML or JSON), or a role of Vault's or \
OpenBao's PKI engine (JSON, as it is written or as `read -format=json` prints it). The policy goes to standard \
output or into --out, with every difference as a comment; the same report goes to standard error:

  wider      allows what the original did not
  narrower   refuses what the original allowed
  elsewhere  belongs into a profile or a provisioner
  no part    says nothing of what is in a certificate

Examples:
  mayfly policy import --from cert-manager web.yaml --out web.toml
  bao read -format=json pki/roles/web | mayfly policy import --from vault-role - > web.toml
  mayfly policy check web.toml";

/// Arguments of `mayfly policy import`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Import {
    /// What the file is [default: by its looks]
    #[arg(long, value_name = "WHAT", value_parser = source())]
    pub from: Option<Source>,
    /// Write the policy there; it must not exist
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The policy or the role; - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

fn source() -> impl TypedValueParser<Value = Source> {
    let names = PossibleValuesParser::new(Source::TABLE.iter().map(|(name, _)| *name));
    names.map(|given| {
        Source::TABLE.iter().find(|(name, _)| *name == given).map_or(Source::VaultRole, |row| row.1)
    })
}

pub(super) fn run(args: &Import, out: &mut dyn Write) -> Result<(), CliError> {
    let imported = read(&args.file).and_then(|text| {
        let stem = args.file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let name = stem.filter(|stem| stem != "-").unwrap_or_else(|| "imported".to_owned());
        import(&text, args.from, &name).map_err(|mistakes| mistakes.into_iter().map(Problem::from).collect())
    });
    let imported = imported.map_err(|problems| CliError::Policy {
        file: args.file.clone(),
        problems,
        again: "import",
    })?;
    match &args.out {
        None => out.write_all(imported.policy.as_bytes())?,
        Some(path) => {
            let failed = |source| CliError::File { path: path.clone(), source };
            let mut file = fs::File::create_new(path).map_err(failed)?;
            file.write_all(imported.policy.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        }
    }
    report(&imported, &mut io::stderr())
}

fn report(imported: &Imported, to: &mut dyn Write) -> Result<(), CliError> {
    for note in &imported.notes {
        writeln!(to, "{note}")?;
    }
    Ok(())
}

fn read(file: &Path) -> Result<String, Vec<Problem>> {
    let whole = |message: String| vec![Problem { line: None, key: String::new(), message }];
    let source: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(fs::File::open(file).map_err(|error| whole(error.to_string()))?)
    };
    let mut bytes = Vec::new();
    // One byte more than is taken, to tell.
    source.take(LARGEST as u64 + 1).read_to_end(&mut bytes).map_err(|error| whole(error.to_string()))?;
    String::from_utf8(bytes).map_err(|_| whole("is not UTF-8 text".to_owned()))
}
