//! `mayfly ca cross-sign`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use x509_parser::prelude::{FromDer, X509Certificate};

use super::limits::lifetime;
use super::site::{self, By, Key};
use super::{CaError, describe};
use crate::authority::ca::CaSpec;
use crate::authority::constraints::NameConstraints;
use crate::authority::issuer::subject_key_id;
use crate::authority::key_source::KeySource;
use crate::authority::subject::Subject;
use crate::cli::CliError;
use crate::cli::founding::Layout;
use crate::service::ceremony::{CeremonyError, sign_authority};
use crate::time::{Clock, SystemClock, Timestamp};
use crate::x509::spki::Spki;

const AFTER_HELP: &str = "\
Clients that trust only the root in DIR then also believe what the other CA issues, as long as the \
cross certificate is served in the chain. It has the other's subject, key, key identifier, path length \
and name constraints, and ends with either of the two. A root's own signature is checked as proof that \
its key is there; an intermediate's certificate is taken at your word.

Example, the new root signed by the old one:
  mayfly ca cross-sign --dir old-root --certificate new-root/certs/root_ca.crt --out cross.crt";

/// Arguments of `mayfly ca cross-sign`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The directory of the root that signs
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// The certificate of the CA to sign
    #[arg(long, value_name = "FILE")]
    pub certificate: PathBuf,
    /// Where to write the cross certificate, PEM; must not exist
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// How long it is valid [default: as long as both]
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    pub lifetime: Option<Duration>,
    /// How many CAs may follow below it [default: as the certificate says]
    #[arg(long, value_name = "N")]
    pub path_len: Option<u8>,
    /// The signing key, if it is in a keystore: a URI, pkcs11:… or awskms:…
    #[arg(long, value_name = "URI", value_parser = site::key_uri)]
    pub key: Option<KeySource>,
    /// The password of the signing key, or its token's PIN
    #[arg(long, value_name = "F")]
    pub password_file: Option<PathBuf>,
    /// Record it in this store and not in DIR/db
    #[arg(long, value_name = "DIR")]
    pub db: Option<PathBuf>,
}

/// What is to be certified once more.
pub(in crate::cli) struct Target {
    pub(in crate::cli) spec: CaSpec,
    pub(in crate::cli) key: Spki,
    pub(in crate::cli) not_after: Timestamp,
    root: bool,
}

/// What a certificate of a CA says, to be certified once more or after its pattern.
pub(in crate::cli) fn target(path: &Path, der: &[u8]) -> Result<Target, CliError> {
    let wrong = |why| CliError::from(CaError::Target { path: path.to_owned(), why });
    let Ok(([], parsed)) = X509Certificate::from_der(der) else {
        return Err(CaError::Content { path: path.to_owned(), want: "certificate" }.into());
    };
    let signs = parsed.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
    if !parsed.is_ca() || !signs {
        return Err(wrong("is no certificate of a CA (basicConstraints, keyUsage)"));
    }
    let root = parsed.subject().as_raw() == parsed.issuer().as_raw();
    if root && parsed.verify_signature(None).is_err() {
        return Err(wrong("its own signature does not verify"));
    }
    let key =
        Spki::parse(parsed.public_key().raw).map_err(|_| wrong("its key is not of a kind known here"))?;
    let key_id = subject_key_id(&parsed).ok_or_else(|| wrong("has no 20-byte subject key identifier"))?;
    let subject = Subject::parse(parsed.subject().as_raw())
        .map_err(|error| CaError::Subject { path: path.to_owned(), error })?;
    let path_len =
        parsed.basic_constraints().ok().flatten().and_then(|basic| basic.value.path_len_constraint);
    let path_len =
        path_len.map(u8::try_from).transpose().map_err(|_| wrong("its path length is over 255"))?;
    let constraints = parsed.extensions().iter().find(|e| e.oid.as_bytes() == [0x55, 0x1d, 30]);
    let constraints = constraints.map(|extension| NameConstraints::parse(extension.value)).transpose();
    let constraints = constraints.map_err(|_| wrong("its name constraints cannot be written again"))?;
    let spec =
        CaSpec { subject, path_len, constraints: constraints.unwrap_or_default(), key_id: Some(key_id) };
    let not_after = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    Ok(Target { spec, key, not_after: Timestamp::from_secs(not_after), root })
}

/// Signs another CA's key and name.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let layout = Layout { dir: args.dir.clone() };
    site::vacant(&args.out)?;
    let certificates = site::certificates(&args.certificate)?;
    let Target { mut spec, key, not_after, root } = target(&args.certificate, &certificates[0])?;
    spec.path_len = args.path_len.or(spec.path_len);
    let left = not_after.since(SystemClock.now());
    if left.is_zero() {
        let why = "has expired";
        return Err(CaError::Target { path: args.certificate.clone(), why }.into());
    }
    let lifetime = args.lifetime.map_or(left, |asked| asked.min(left));
    let signing = Key { uri: args.key.as_ref(), password_file: args.password_file.as_deref() };
    let issuer = site::open(&layout, By::Root, signing)?;
    if key == *issuer.signer().public_key() {
        let why = "is the signing root's own key: there is nothing to cross";
        return Err(CaError::Target { path: args.certificate.clone(), why }.into());
    }
    let db = args.db.clone().unwrap_or_else(|| layout.db());
    let der = site::record(&db, async |place| {
        Ok(sign_authority(place, &issuer, spec, key, lifetime).await.map_err(CeremonyError::Issue)?)
    })?;
    site::install(&args.out, &site::chain_pem(std::slice::from_ref(&der)), false)?;
    let text = describe::certificate(&der).unwrap_or_default();
    let how = match root {
        true => {
            "Serve it behind the intermediate: a file with the intermediate and then this certificate, named \
                 in\nalternate_chains of the mayfly.toml. `mayfly rotation start --new-root` does all of that at once."
        }
        false => "Name it in alternate_chains of the mayfly.toml: it stands in the intermediate's place.",
    };
    let who = describe::subject(issuer.der());
    write!(out, "Signed {} under {who}\n\n{text}\n{how}\n", args.out.display())?;
    Ok(())
}
