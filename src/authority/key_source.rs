//! Where an issuer's private key is, as a configuration names it: a file, or a key that never leaves
//! its keystore. Values only; [`crate::keystore::open`] opens them.
//!
//! | text | keystore |
//! |---|---|
//! | a path | PKCS#8 PEM, plain, encrypted, or sealed by one of the two below |
//! | `pkcs11:token=…;object=…?module-path=…` | a token behind a PKCS#11 module (RFC 7512) |
//! | `awskms:key-id=…;region=…` | AWS KMS, or what speaks its protocol |

use std::fmt;
use std::path::{Path, PathBuf};

/// A private key's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file with PKCS#8 PEM, perhaps encrypted, or with a sealed key.
    File(PathBuf),
    /// A key in a token.
    Pkcs11(Pkcs11Uri),
    /// A key of a key management service.
    AwsKms(KmsUri),
}

/// Where the password of a key file, or the PIN of a token, is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordSource {
    /// The first line of a file that only its owner may read.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// A credential of systemd's (`LoadCredential=`), by its name in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// A `pkcs11:` URI (RFC 7512), of the attributes that name one private key of one token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pkcs11Uri {
    /// The module to load; absolute.
    pub module_path: PathBuf,
    /// CK_TOKEN_INFO.label.
    pub token: Option<String>,
    /// CK_TOKEN_INFO.manufacturerID.
    pub manufacturer: Option<String>,
    /// CK_TOKEN_INFO.model.
    pub model: Option<String>,
    /// CK_TOKEN_INFO.serialNumber.
    pub serial: Option<String>,
    /// CKA_LABEL of the key.
    pub object: Option<String>,
    /// CKA_ID of the key.
    pub id: Option<Vec<u8>>,
    /// A file with the PIN.
    pub pin_source: Option<PathBuf>,
}

/// An `awskms:` URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsUri {
    /// A key's id, its ARN, or `alias/NAME`.
    pub key_id: String,
    /// Such as `eu-central-1`; of an ARN, the ARN's.
    pub region: String,
    /// `https://HOST[:PORT]` of another service than AWS's; `http://` on this machine only.
    pub endpoint: Option<String>,
}

/// Why a text names no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeySourceError(String);

fn wrong<T>(message: impl Into<String>) -> Result<T, KeySourceError> {
    Err(KeySourceError(message.into()))
}

impl KeySource {
    /// Parses a path, relative to `base`, or a URI.
    pub fn parse(text: &str, base: &Path) -> Result<Self, KeySourceError> {
        let scheme = text.split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
        let like_scheme = |scheme: &str| {
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        };
        match scheme {
            Some((scheme, rest)) if scheme == "pkcs11" => Pkcs11Uri::parse(rest, base).map(Self::Pkcs11),
            Some((scheme, rest)) if scheme == "awskms" => KmsUri::parse(rest).map(Self::AwsKms),
            Some((scheme, _)) if like_scheme(&scheme) => wrong(format!(
                "{scheme}: is no keystore; write a path, pkcs11:token=…;object=…?module-path=… or \
                 awskms:key-id=…;region=… (and ./{scheme}:… for a file of such a name)"
            )),
            Some(_) | None => Ok(Self::File(base.join(text))),
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Pkcs11(uri) => uri.fmt(f),
            Self::AwsKms(uri) => uri.fmt(f),
        }
    }
}

/// `NAME=VALUE` parts of a URI, decoded, in order; each name once.
fn attributes(text: &str, separator: char) -> Result<Vec<(&str, Vec<u8>)>, KeySourceError> {
    let mut found: Vec<(&str, Vec<u8>)> = Vec::new();
    for part in text.split(separator).filter(|part| !part.is_empty()) {
        let Some((name, value)) = part.split_once('=') else {
            return wrong(format!("{part:?} is not NAME=VALUE"));
        };
        if found.iter().any(|(other, _)| *other == name) {
            return wrong(format!("{name} is there twice"));
        }
        let Some(value) = decode(value) else {
            return wrong(format!("{name}: % must be followed by two hexadecimal digits"));
        };
        if value.is_empty() {
            return wrong(format!("{name} is empty; give a value or leave it out"));
        }
        found.push((name, value));
    }
    Ok(found)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => digit(bytes.next()?)? << 4 | digit(bytes.next()?)?,
            other => other,
        });
    }
    Some(out)
}

fn text_of(name: &str, value: Vec<u8>) -> Result<String, KeySourceError> {
    match String::from_utf8(value) {
        Ok(text) if !text.chars().any(char::is_control) => Ok(text),
        Ok(_) | Err(_) => wrong(format!("{name} must be UTF-8 text without control characters")),
    }
}

/// Percent-encodes all that has a meaning in either URI.
fn encode(bytes: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/:".contains(&byte);
    bytes.iter().fold(String::new(), |mut text, byte| {
        if plain(*byte) {
            text.push(char::from(*byte))
        } else {
            text.push_str(&format!("%{byte:02X}"))
        }
        text
    })
}

impl Pkcs11Uri {
    fn parse(rest: &str, base: &Path) -> Result<Self, KeySourceError> {
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self::default();
        for (name, value) in attributes(path, ';')? {
            match name {
                "token" => uri.token = Some(text_of(name, value)?),
                "manufacturer" => uri.manufacturer = Some(text_of(name, value)?),
                "model" => uri.model = Some(text_of(name, value)?),
                "serial" => uri.serial = Some(text_of(name, value)?),
                "object" => uri.object = Some(text_of(name, value)?),
                "id" => uri.id = Some(value),
                "type" if value == b"private" => {}
                "type" => return wrong("type: only `type=private` names a key that signs"),
                other => {
                    return wrong(format!(
                        "{other} is not used here; a key is named by token, serial, manufacturer, model, \
                         object and id"
                    ));
                }
            }
        }
        for (name, value) in attributes(query, '&')? {
            match name {
                "module-path" => uri.module_path = text_of(name, value)?.into(),
                "pin-source" => uri.pin_source = Some(pin_source(&text_of(name, value)?, base)?),
                // A configuration is read by more than the CA: backups, tickets, a git repository.
                "pin-value" => {
                    return wrong(
                        "pin-value would put the PIN into the configuration; write it to a file of mode \
                         0600 and name that with pin-source=/PATH or `password_file`",
                    );
                }
                "module-name" => {
                    return wrong("module-name differs from system to system; give module-path=/PATH.so");
                }
                other => return wrong(format!("{other} is not known; there are module-path and pin-source")),
            }
        }
        if !uri.module_path.is_absolute() {
            return wrong("needs ?module-path= with the absolute path of the PKCS#11 module, a .so file");
        }
        if uri.token.is_none() && uri.serial.is_none() {
            return wrong("needs token= (the token's label) or serial=");
        }
        if uri.object.is_none() && uri.id.is_none() {
            return wrong("needs object= (the key's label) or id=");
        }
        Ok(uri)
    }
}

/// A `file:` URI or a path (RFC 7512 §2.4).
fn pin_source(text: &str, base: &Path) -> Result<PathBuf, KeySourceError> {
    if text.starts_with('|') {
        return wrong("pin-source: commands are not run; name a file");
    }
    let path = text.strip_prefix("file:").unwrap_or(text);
    Ok(base.join(path.strip_prefix("//").unwrap_or(path)))
}

impl fmt::Display for Pkcs11Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<String>| value.as_ref().map(|text| text.as_bytes().to_vec());
        let path = [
            ("token", text(&self.token)),
            ("manufacturer", text(&self.manufacturer)),
            ("model", text(&self.model)),
            ("serial", text(&self.serial)),
            ("object", text(&self.object)),
        ];
        let path =
            path.iter().filter_map(|(name, value)| Some(format!("{name}={}", encode(value.as_ref()?))));
        // Every byte of an id is encoded: it is binary (RFC 7512 §2.3).
        let id = self
            .id
            .iter()
            .map(|id| format!("id={}", id.iter().map(|byte| format!("%{byte:02X}")).collect::<String>()));
        let path: Vec<_> = path.chain(id).collect();
        let module = encode(self.module_path.as_os_str().as_encoded_bytes());
        write!(f, "pkcs11:{}?module-path={module}", path.join(";"))?;
        match &self.pin_source {
            Some(path) => write!(f, "&pin-source={}", encode(path.as_os_str().as_encoded_bytes())),
            None => Ok(()),
        }
    }
}

impl KmsUri {
    fn parse(rest: &str) -> Result<Self, KeySourceError> {
        let (mut key_id, mut region, mut endpoint) = (None, None, None);
        for (name, value) in attributes(rest, ';')? {
            let value = text_of(name, value)?;
            match name {
                "key-id" => key_id = Some(value),
                "region" => region = Some(value),
                "endpoint" => endpoint = Some(self::endpoint(&value)?),
                other => {
                    return wrong(format!("{other} is not known; there are key-id, region and endpoint"));
                }
            }
        }
        let Some(key_id) = key_id else {
            return wrong("needs key-id=, a key's id, its ARN, or alias/NAME");
        };
        // arn:PARTITION:kms:REGION:ACCOUNT:key/ID
        let of_arn = match key_id.strip_prefix("arn:") {
            None => None,
            Some(rest) => match rest.split(':').collect::<Vec<_>>()[..] {
                [_, "kms", region, _, _] if !region.is_empty() => Some(region.to_owned()),
                _ => return wrong("key-id is no ARN of a key, arn:aws:kms:REGION:ACCOUNT:key/ID"),
            },
        };
        let region = match (region, of_arn) {
            (Some(given), Some(of_arn)) if given != of_arn => {
                return wrong(format!("region={given}, but the ARN's is {of_arn}"));
            }
            (Some(region), _) | (None, Some(region)) => region,
            (None, None) => return wrong("needs region=, such as region=eu-central-1"),
        };
        // It becomes a part of the host's name.
        if !region.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
            return wrong("region: write letters a-z, digits and hyphens, such as eu-central-1");
        }
        Ok(Self { key_id, region, endpoint })
    }

    /// Where requests go, `SCHEME://HOST[:PORT]`.
    pub fn base(&self) -> String {
        let domain = if self.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        self.endpoint.clone().unwrap_or_else(|| format!("https://kms.{}.{domain}", self.region))
    }
}

/// What a service answers is not signed: without TLS only this machine's own is believed.
fn endpoint(text: &str) -> Result<String, KeySourceError> {
    let (secure, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return wrong("endpoint must begin with https:// (or http:// on this machine)"),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
        return wrong("endpoint: write SCHEME://HOST[:PORT] and nothing after it");
    }
    let host = authority.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
    let host = host.map_or(authority, |(host, _)| host);
    if !secure && !["localhost", "127.0.0.1", "[::1]"].contains(&host) {
        return wrong(
            "endpoint: http:// is for this machine only (localhost, 127.0.0.1, [::1]); use https://",
        );
    }
    Ok(text.strip_suffix('/').unwrap_or(text).to_owned())
}

impl fmt::Display for KmsUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "awskms:key-id={};region={}", encode(self.key_id.as_bytes()), self.region)?;
        match &self.endpoint {
            Some(endpoint) => write!(f, ";endpoint={}", encode(endpoint.as_bytes())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = "module-path=/usr/lib/softhsm/libsofthsm2.so";

    fn parse(text: &str) -> Result<KeySource, KeySourceError> {
        KeySource::parse(text, Path::new("/etc/mayfly"))
    }

    #[test]
    fn files() {
        for (text, path) in [
            ("secrets/key", "/etc/mayfly/secrets/key"),
            ("/a/key", "/a/key"),
            ("./tpm:x", "/etc/mayfly/./tpm:x"),
            ("secrets/a:b", "/etc/mayfly/secrets/a:b"),
        ] {
            assert_eq!(parse(text), Ok(KeySource::File(path.into())), "{text}");
        }
    }

    #[test]
    fn tokens() {
        let KeySource::Pkcs11(uri) = parse(&format!(
            "PKCS11:token=Team%20CA;object=a%3Bb;id=%01%ff;type=private?{MODULE}&pin-source=file:secrets/pin"
        ))
        .unwrap() else {
            panic!("not a token")
        };
        assert_eq!(uri.token.as_deref(), Some("Team CA"));
        assert_eq!(uri.object.as_deref(), Some("a;b"));
        assert_eq!(uri.id.as_deref(), Some(&[1, 255][..]));
        assert_eq!(uri.pin_source.as_deref(), Some(Path::new("/etc/mayfly/secrets/pin")));
        let again = parse(&uri.to_string());
        assert_eq!(again, Ok(KeySource::Pkcs11(uri)));
    }

    #[test]
    fn kms() {
        let arn = "awskms:key-id=arn:aws:kms:eu-west-1:111122223333:key/12ab";
        let KeySource::AwsKms(uri) = parse(arn).unwrap() else { panic!("not a KMS") };
        assert_eq!(
            (uri.region.as_str(), uri.base()),
            ("eu-west-1", "https://kms.eu-west-1.amazonaws.com".into())
        );
        let local = "awskms:key-id=alias/ca;region=cn-north-1;endpoint=http://127.0.0.1:5000/";
        let KeySource::AwsKms(uri) = parse(local).unwrap() else { panic!("not a KMS") };
        assert_eq!(uri.base(), "http://127.0.0.1:5000");
        assert_eq!(parse(&uri.to_string()), Ok(KeySource::AwsKms(uri.clone())));
        let china = KmsUri { endpoint: None, ..uri };
        assert_eq!(china.base(), "https://kms.cn-north-1.amazonaws.com.cn");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let pkcs11 = |path: &str, query: &str| format!("pkcs11:{path}?{query}");
        let rows = [
            ("tpm2:handle=1".to_owned(), "tpm2: is no keystore"),
            ("file:/key".to_owned(), "file: is no keystore"),
            (pkcs11("token=t;object=o", ""), "module-path"),
            (pkcs11("token=t;object=o", "module-path=x.so"), "absolute"),
            (pkcs11("token=t;object=o", "module-name=x"), "module-path"),
            (pkcs11("object=o", MODULE), "token="),
            (pkcs11("token=t", MODULE), "object="),
            (pkcs11("token=t;object=o;type=cert", MODULE), "type=private"),
            (pkcs11("token=t;token=u;object=o", MODULE), "twice"),
            (pkcs11("token=t;object=o;slot=1", MODULE), "slot is not used"),
            (pkcs11("token=t;object", MODULE), "NAME=VALUE"),
            (pkcs11("token=t;object=%4", MODULE), "hexadecimal"),
            (pkcs11("token=t;object=%ff", MODULE), "UTF-8"),
            (pkcs11("token=t;object=", MODULE), "empty"),
            (pkcs11("token=t;object=o", &format!("{MODULE}&pin-value=1234")), "would put the PIN"),
            (pkcs11("token=t;object=o", &format!("{MODULE}&pin-source=|cat")), "commands are not run"),
            ("awskms:region=eu-west-1".to_owned(), "key-id="),
            ("awskms:key-id=x".to_owned(), "region="),
            ("awskms:key-id=x;region=EU/1".to_owned(), "a-z"),
            ("awskms:key-id=arn:aws:s3:::x;region=eu-west-1".to_owned(), "no ARN"),
            ("awskms:key-id=arn:aws:kms:eu-west-1:1:key/a;region=eu-west-2".to_owned(), "ARN's is"),
            ("awskms:key-id=x;region=a;endpoint=kms.test".to_owned(), "https://"),
            ("awskms:key-id=x;region=a;endpoint=http://kms.test".to_owned(), "this machine only"),
            ("awskms:key-id=x;region=a;endpoint=http://localhost@kms.test".to_owned(), "nothing after"),
            ("awskms:key-id=x;region=a;endpoint=https://kms.test/path".to_owned(), "nothing after"),
            ("awskms:key-id=x;region=a;profile=p".to_owned(), "profile is not known"),
        ];
        for (text, want) in rows {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
            assert!(!error.contains("1234"), "{text}: {error}");
        }
    }
}
