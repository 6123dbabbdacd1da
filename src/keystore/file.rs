//! Keys in PKCS#8 PEM files, plain or encrypted; see [`FileKey`].

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    self as sig, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, PqdsaKeyPair, RsaKeyPair,
    UnparsedPublicKey,
};
use pkcs8::der::Decode;
use pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};
use zeroize::Zeroizing;

use super::password::Password;
use super::pbes2::{self, DecryptError};
use crate::authority::signer::{Cost, SignError, SignatureAlgorithm, Signer};
use crate::entropy::{Entropy, SystemEntropy};
use crate::x509::hex;
use crate::x509::ml_dsa::ParameterSet;
use crate::x509::spki::{PublicKey, Spki};

const PLAIN: &str = "PRIVATE KEY";
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// The largest key file read; RSA-4096 encrypted takes 3.5 kB.
const LARGEST_FILE: u64 = 64 * 1024;

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// What went wrong with a key or password file.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The file could not be written; nothing is left of it.
    #[error("{} could not be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Others than the owner may read or write the file.
    #[error("{} is open to others (mode {mode:04o}); run: chmod 600 {}", path.display(), shell_word(path))]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not PKCS#8 PEM, or not intact.
    #[error("{} is not a private key in PKCS#8 PEM: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The key is encrypted and no password was given.
    #[error("{} is encrypted: give its password with authority.password_file, password_env or password_credential, or with --password-file", path.display())]
    NeedsPassword {
        /// The file.
        path: PathBuf,
    },
    /// The password does not open the key (or the file is damaged: the two look the same).
    #[error("the password does not open {}, or the file is damaged", path.display())]
    WrongPassword {
        /// The file.
        path: PathBuf,
    },
    /// Encrypted in a way that we do not read.
    #[error(
        "{} is encrypted with {what}, which is not supported; write it anew: openssl pkcs8 -topk8 \
         -v2 aes-256-cbc -v2prf hmacWithSHA256 -iter 600000 -in {} -out NEW", path.display(), shell_word(path)
    )]
    UnsupportedEncryption {
        /// The file.
        path: PathBuf,
        /// The scheme.
        what: String,
    },
    /// Not a kind of key that this CA signs with.
    #[error("{} holds {what}; this CA signs with P-256, P-384, Ed25519, ML-DSA or RSA of 2048 to 4096 bits", path.display())]
    UnsupportedKind {
        /// The file.
        path: PathBuf,
        /// What it holds.
        what: String,
    },
    /// The password file has no usable password.
    #[error("the password file {} cannot be used: {reason}", path.display())]
    BadPasswordFile {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A password that is in no file is not there, or is none.
    #[error("{place} cannot be used: it {reason}")]
    BadPassword {
        /// What it should be in.
        place: String,
        /// Why not.
        reason: String,
    },
    /// The cryptographic library refused; no fault of the file.
    #[error("the cryptographic library failed: {0}")]
    Crypto(String),
}

/// Kinds of keys that we generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA of 2048 bits.
    Rsa2048,
    /// RSA of 3072 bits.
    Rsa3072,
    /// RSA of 4096 bits.
    Rsa4096,
    /// ML-DSA (FIPS 204).
    MlDsa(ParameterSet),
}

impl KeyKind {
    /// What the command line calls them.
    pub const TABLE: [(&str, Self); 9] = [
        ("p256", Self::P256),
        ("p384", Self::P384),
        ("ed25519", Self::Ed25519),
        ("rsa2048", Self::Rsa2048),
        ("rsa3072", Self::Rsa3072),
        ("rsa4096", Self::Rsa4096),
        ("ml-dsa-44", Self::MlDsa(ParameterSet::MlDsa44)),
        ("ml-dsa-65", Self::MlDsa(ParameterSet::MlDsa65)),
        ("ml-dsa-87", Self::MlDsa(ParameterSet::MlDsa87)),
    ];

    /// Reads a name; what names there are, if it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let found = Self::TABLE.iter().find(|(name, _)| *name == text).map(|(_, kind)| *kind);
        found.ok_or_else(|| {
            let names: Vec<_> = Self::TABLE.iter().map(|(name, _)| *name).collect();
            format!("give one of {}", names.join(", "))
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
}

impl Curve {
    fn algorithm(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &sig::ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::P384 => &sig::ECDSA_P384_SHA384_ASN1_SIGNING,
        }
    }
}

enum Pair {
    Ec(Curve, EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
    MlDsa(ParameterSet, Box<PqdsaKeyPair>),
}

/// A private key from a file, held in memory.
///
/// The key's randomness is the cryptographic library's own; salts come from [`Entropy`].
pub struct FileKey {
    pair: Pair,
    spki: Spki,
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileKey").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

impl FileKey {
    /// Generates a key and writes it to a file that must not exist yet, mode 0600, encrypted if a
    /// password is given. The file and its directory entry are on disk when this returns.
    pub fn generate(
        path: &Path,
        kind: KeyKind,
        password: Option<&Password>,
        entropy: &dyn Entropy,
    ) -> Result<Self, KeyFileError> {
        let (pair, plain) = new_pair(kind)?;
        let pem = match password {
            None => encode(PLAIN, &plain),
            Some(password) => {
                let der = pbes2::encrypt(&plain, password, entropy).map_err(KeyFileError::Crypto)?;
                encode(ENCRYPTED, &der)
            }
        }?;
        write_secret(path, pem.as_bytes())?;
        Ok(Self::from_pair(pair))
    }

    /// From a PrivateKeyInfo that was in the file.
    pub(super) fn of_pkcs8(path: &Path, der: &[u8]) -> Result<Self, KeyFileError> {
        let path = path.to_owned();
        parse(der).map_err(|error| match error {
            ParseError::Malformed(reason) => KeyFileError::Malformed { path, reason },
            ParseError::Unsupported(what) => KeyFileError::UnsupportedKind { path, what },
        })
    }

    /// Loads a key; the password is used only if the file is encrypted. Fails if others than the
    /// owner may read the file, or if the key's halves do not belong together.
    pub fn load(path: &Path, password: Option<&Password>) -> Result<Self, KeyFileError> {
        let (plain, encrypted) = read(path, password)?;
        Self::of_pkcs8(path, &plain).map_err(|error| match error {
            // A wrong password whose padding happened to fit leaves noise.
            KeyFileError::Malformed { path, .. } if encrypted => KeyFileError::WrongPassword { path },
            other => other,
        })
    }

    fn from_pair(pair: Pair) -> Self {
        let key = match &pair {
            Pair::Ec(Curve::P256, pair) => PublicKey::EcP256(pair.public_key().as_ref().to_vec()),
            Pair::Ec(Curve::P384, pair) => PublicKey::EcP384(pair.public_key().as_ref().to_vec()),
            Pair::Ed25519(pair) => PublicKey::Ed25519(pair.public_key().as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let [n, e] = rsa_numbers(pair.public_key().as_ref(), false).unwrap_or_default();
                PublicKey::Rsa { n, e }
            }
            Pair::MlDsa(set, pair) => PublicKey::MlDsa(*set, pair.public_key().as_ref().to_vec()),
        };
        Self { pair, spki: Spki::from_key(key) }
    }

    /// Signs and verifies, so that a damaged key is found now and not by a client.
    fn halves_match(&self) -> bool {
        let message = b"mayfly: do the halves of this key belong together?";
        let Ok(signature) = self.sign(message) else { return false };
        let algorithm: &dyn sig::VerificationAlgorithm = match &self.pair {
            Pair::Ec(Curve::P256, _) => &sig::ECDSA_P256_SHA256_ASN1,
            Pair::Ec(Curve::P384, _) => &sig::ECDSA_P384_SHA384_ASN1,
            Pair::Ed25519(_) => &sig::ED25519,
            Pair::Rsa(_) => &sig::RSA_PKCS1_2048_8192_SHA256,
            Pair::MlDsa(set, _) => set.verification(),
        };
        let public = match &self.pair {
            Pair::Ec(_, pair) => pair.public_key().as_ref(),
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
            Pair::Rsa(pair) => pair.public_key().as_ref(),
            Pair::MlDsa(_, pair) => pair.public_key().as_ref(),
        };
        UnparsedPublicKey::new(algorithm, public).verify(message, &signature).is_ok()
    }
}

impl Signer for FileKey {
    fn public_key(&self) -> &Spki {
        &self.spki
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match &self.pair {
            Pair::Ec(Curve::P256, _) => SignatureAlgorithm::EcdsaP256Sha256,
            Pair::Ec(Curve::P384, _) => SignatureAlgorithm::EcdsaP384Sha384,
            Pair::Ed25519(_) => SignatureAlgorithm::Ed25519,
            Pair::Rsa(_) => SignatureAlgorithm::RsaPkcs1Sha256,
            Pair::MlDsa(set, _) => SignatureAlgorithm::MlDsa(*set),
        }
    }

    fn cost(&self) -> Cost {
        match &self.pair {
            Pair::Rsa(_) => Cost::Slow,
            Pair::Ec(..) | Pair::Ed25519(_) | Pair::MlDsa(..) => Cost::Quick,
        }
    }

    fn sign(&self, tbs: &[u8]) -> Result<Vec<u8>, SignError> {
        let failed = |_| SignError("the cryptographic library refused".to_owned());
        // The generator argument is for ring's sake: AWS-LC draws the nonce itself.
        let rng = SystemRandom::new();
        match &self.pair {
            Pair::Ec(_, pair) => pair.sign(&rng, tbs).map(|s| s.as_ref().to_vec()).map_err(failed),
            Pair::Ed25519(pair) => pair.try_sign(tbs).map(|s| s.as_ref().to_vec()).map_err(failed),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&sig::RSA_PKCS1_SHA256, &rng, tbs, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Pair::MlDsa(_, pair) => {
                let mut signature = vec![0; pair.algorithm().signature_len()];
                let length = pair.sign(tbs, &mut signature).map_err(failed)?;
                signature.truncate(length);
                Ok(signature)
            }
        }
    }
}

/// The PrivateKeyInfo in a key file, decrypted if it is encrypted.
pub(super) fn read_plain(
    path: &Path,
    password: Option<&Password>,
) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    read(path, password).map(|(plain, _)| plain)
}

/// As [`read_plain`], and whether it was encrypted.
fn read(path: &Path, password: Option<&Password>) -> Result<(Zeroizing<Vec<u8>>, bool), KeyFileError> {
    let text = read_secret(path, Audience::Owner)?;
    let malformed = |reason: String| KeyFileError::Malformed { path: path.to_owned(), reason };
    let (label, der) = pem_rfc7468::decode_vec(&text).map_err(|error| malformed(error.to_string()))?;
    let der = Zeroizing::new(der);
    match label {
        PLAIN => Ok((der, false)),
        ENCRYPTED => Ok((decrypt(path, &der, password)?, true)),
        "EC PRIVATE KEY" | "RSA PRIVATE KEY" | "DSA PRIVATE KEY" => Err(malformed(format!(
            "it is a {label}, an older form; convert it: openssl pkcs8 -topk8 -nocrypt -in {} -out NEW",
            shell_word(path)
        ))),
        other => Err(malformed(format!("it is a {other}"))),
    }
}

fn decrypt(path: &Path, der: &[u8], password: Option<&Password>) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let path = path.to_owned();
    let Some(password) = password else { return Err(KeyFileError::NeedsPassword { path }) };
    pbes2::decrypt(der, password).map_err(|error| match error {
        DecryptError::WrongPassword => KeyFileError::WrongPassword { path },
        DecryptError::Malformed(reason) => KeyFileError::Malformed { path, reason },
        DecryptError::Unsupported(what) => KeyFileError::UnsupportedEncryption { path, what },
    })
}

/// A new key and its PKCS#8.
fn new_pair(kind: KeyKind) -> Result<(Pair, Zeroizing<Vec<u8>>), KeyFileError> {
    let crypto = |_| KeyFileError::Crypto("no key could be generated".to_owned());
    let ec = |curve: Curve| {
        let pair = EcdsaKeyPair::generate(curve.algorithm()).map_err(crypto)?;
        let plain = Zeroizing::new(pair.to_pkcs8v1().map_err(crypto)?.as_ref().to_vec());
        Ok((Pair::Ec(curve, pair), plain))
    };
    let rsa = |size| {
        let pair = RsaKeyPair::generate(size).map_err(crypto)?;
        let plain = Zeroizing::new(AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(crypto)?.as_ref().to_vec());
        Ok((Pair::Rsa(pair), plain))
    };
    match kind {
        KeyKind::P256 => ec(Curve::P256),
        KeyKind::P384 => ec(Curve::P384),
        KeyKind::Ed25519 => {
            let pair = Ed25519KeyPair::generate().map_err(crypto)?;
            let plain = Zeroizing::new(pair.to_pkcs8v1().map_err(crypto)?.as_ref().to_vec());
            Ok((Pair::Ed25519(pair), plain))
        }
        KeyKind::Rsa2048 => rsa(KeySize::Rsa2048),
        KeyKind::Rsa3072 => rsa(KeySize::Rsa3072),
        KeyKind::Rsa4096 => rsa(KeySize::Rsa4096),
        KeyKind::MlDsa(set) => {
            let pair = PqdsaKeyPair::generate(set.signing()).map_err(crypto)?;
            // As the seed (RFC 9881 §6).
            let plain = Zeroizing::new(pair.to_pkcs8v1().map_err(crypto)?.as_ref().to_vec());
            Ok((Pair::MlDsa(set, Box::new(pair)), plain))
        }
    }
}

enum ParseError {
    Malformed(String),
    Unsupported(String),
}

/// Parses a PrivateKeyInfo.
fn parse(der: &[u8]) -> Result<FileKey, ParseError> {
    let malformed = |reason: &dyn fmt::Display| ParseError::Malformed(reason.to_string());
    let info = PrivateKeyInfoRef::from_der(der).map_err(|error| malformed(&error))?;
    let pair = match info.algorithm.oid {
        EC_PUBLIC_KEY => {
            let curve = info.algorithm.parameters_oid().map_err(|error| malformed(&error))?;
            let kind = match curve {
                P256 => Curve::P256,
                P384 => Curve::P384,
                other => return Err(ParseError::Unsupported(format!("a key on curve {other}"))),
            };
            let pair = EcdsaKeyPair::from_pkcs8(kind.algorithm(), der).map_err(|e| malformed(&e))?;
            Pair::Ec(kind, pair)
        }
        ED25519 => Pair::Ed25519(Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|e| malformed(&e))?),
        RSA => {
            let bits = rsa_bits(info.private_key.as_bytes());
            if bits.is_some_and(|bits| !(2048..=4096).contains(&bits)) {
                return Err(ParseError::Unsupported(format!("RSA of {} bits", bits.unwrap_or_default())));
            }
            Pair::Rsa(rsa::KeyPair::from_pkcs8(der).map_err(|e| malformed(&e))?)
        }
        other => match ParameterSet::of_oid(other.as_bytes()) {
            // A seed, an expanded key, or both, which then belong together (RFC 9881 §6).
            Some(set) => Pair::MlDsa(
                set,
                Box::new(PqdsaKeyPair::from_pkcs8(set.signing(), der).map_err(|e| malformed(&e))?),
            ),
            None => return Err(ParseError::Unsupported(format!("a key of algorithm {other}"))),
        },
    };
    let key = FileKey::from_pair(pair);
    match key.halves_match() {
        true => Ok(key),
        false => Err(ParseError::Malformed("its private and public halves do not match".to_owned())),
    }
}

/// Modulus and exponent of an RSAPublicKey, or of an RSAPrivateKey, which has a version in front
/// (RFC 8017 §A.1); without leading zeros.
fn rsa_numbers(der: &[u8], private: bool) -> Option<[Vec<u8>; 2]> {
    use pkcs8::der::asn1::{AnyRef, UintRef};
    use pkcs8::der::{Reader, SliceReader};
    let body = AnyRef::from_der(der).ok()?;
    let mut reader = SliceReader::new(body.value()).ok()?;
    if private {
        let _version: u8 = reader.decode().ok()?;
    }
    let n: UintRef<'_> = reader.decode().ok()?;
    let e: UintRef<'_> = reader.decode().ok()?;
    Some([n.as_bytes().to_vec(), e.as_bytes().to_vec()])
}

/// The modulus' length of an RSAPrivateKey: read before the library parses, which refuses small
/// keys without saying why.
fn rsa_bits(der: &[u8]) -> Option<usize> {
    let [n, _] = rsa_numbers(der, true)?;
    Some(n.len() * 8 - n.first()?.leading_zeros() as usize)
}

fn encode(label: &str, der: &[u8]) -> Result<Zeroizing<String>, KeyFileError> {
    pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, der)
        .map(Zeroizing::new)
        .map_err(|error| KeyFileError::Crypto(error.to_string()))
}

/// Who a secret's file may be open to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// The file's owner.
    Owner,
    /// The owner, and a reader whom an ACL adds, as systemd does for services that run as another
    /// user: the group's bits show the ACL's mask then, and mean no group.
    Service,
}

impl Audience {
    fn forbidden(self) -> u32 {
        match self {
            Self::Owner => 0o077,
            Self::Service => 0o037,
        }
    }
}

/// Reads a small file that only its audience may read.
pub(super) fn read_secret(path: &Path, audience: Audience) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let failed = |source| KeyFileError::Read { path: path.to_owned(), source };
    let (file, meta) = open_small(path).map_err(failed)?;
    if meta.mode() & audience.forbidden() != 0 {
        return Err(KeyFileError::TooOpen { path: path.to_owned(), mode: meta.mode() & 0o7777 });
    }
    read_whole(file, &meta).map_err(failed)
}

/// A secret that is neither key nor password, such as the headers for a collector: a small file that only
/// its owner may read.
pub fn secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    read_secret(path, Audience::Owner)
}

/// Reads a small file of any mode, whose content is somebody else's to guard.
pub(super) fn read_small(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let (file, meta) = open_small(path)?;
    read_whole(file, &meta)
}

/// What is said of a file is of the open one, so that it is the one that is read.
fn open_small(path: &Path) -> io::Result<(File, Metadata)> {
    // A FIFO would wait for somebody to write.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    if meta.len() > LARGEST_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 64 KiB"));
    }
    Ok((file, meta))
}

fn read_whole(file: File, meta: &Metadata) -> io::Result<Zeroizing<Vec<u8>>> {
    // Sized beforehand, so that growing leaves no copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0) + 1));
    file.take(LARGEST_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file that must not exist yet, mode 0600, whole or not at all: beside its place first, so that
/// whoever is killed on the way leaves no half of it under its name. Removes what it began if it fails.
pub(super) fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), KeyFileError> {
    let failed = |source| KeyFileError::Write { path: path.to_owned(), source };
    let Some(name) = path.file_name() else {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it names no file")));
    };
    let entropy: &dyn Entropy = &SystemEntropy::default();
    let random: [u8; 8] = entropy.bytes();
    let mut beside = OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}", hex::encode(&random)));
    let beside = path.with_file_name(beside);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(failed)?;
    let placed = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| place(&beside, path));
    if let Err(source) = placed {
        let _ = std::fs::remove_file(&beside);
        return Err(failed(source));
    }
    sync_parent(path).map_err(|source| {
        let _ = std::fs::remove_file(path);
        failed(source)
    })
}

/// Gives a file its name, which must not be taken.
fn place(beside: &Path, path: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, beside, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        // A file system, such as NFS, that cannot.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            std::fs::hard_link(beside, path)?;
            std::fs::remove_file(beside)
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes a new directory entry durable.
fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// A path as a shell reads it.
pub(crate) fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
