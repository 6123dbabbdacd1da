//! Keys in AWS KMS, or in what speaks its protocol. The public half is read once, at the start; each
//! signature is a request with the digest of what is to be signed.

mod client;
mod credentials;
mod roles;
mod sigv4;

use std::fmt;

use aws_lc_rs::digest::{SHA256, SHA384, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use client::Client;

use crate::authority::key_source::KmsUri;
use crate::authority::sign::check_signature;
use crate::authority::signer::{Cost, SignError, SignatureAlgorithm, Signer};
use crate::x509::spki::{PublicKey, Spki, bits};

/// Why a KMS does not do what it is asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KmsError {
    /// No usable credentials.
    #[error("the AWS credentials cannot be used: {0}")]
    Credentials(String),
    /// No answer.
    #[error("{base} cannot be reached: {reason}")]
    Unreachable {
        /// Where.
        base: String,
        /// Why.
        reason: String,
    },
    /// An answer that is an error.
    #[error("the KMS refuses: {kind}{}{message} (status {status})", if message.is_empty() { "" } else { ": " })]
    Refused {
        /// HTTP status.
        status: u16,
        /// The error's name.
        kind: String,
        /// Its explanation.
        message: String,
    },
    /// An answer without what was asked for.
    #[error("the KMS's answer cannot be used: {0}")]
    Answer(String),
    /// Not a key that this CA signs with.
    #[error("the KMS's key cannot be used: {0}")]
    Key(String),
    /// On this machine.
    #[error("{0}")]
    System(String),
}

impl KmsError {
    /// Whether it may be gone at the next attempt.
    fn may_pass(&self) -> bool {
        const PASSING: [&str; 6] = [
            "ThrottlingException",
            "Throttling",
            "LimitExceededException",
            "DependencyTimeoutException",
            "KMSInternalException",
            "KeyUnavailableException",
        ];
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, kind, .. } => *status >= 500 || PASSING.contains(&kind.as_str()),
            Self::Credentials(_) | Self::Answer(_) | Self::Key(_) | Self::System(_) => false,
        }
    }
}

/// A private key of a KMS.
pub struct KmsKey {
    client: Client,
    key_id: String,
    spki: Spki,
    algorithm: SignatureAlgorithm,
}

impl fmt::Debug for KmsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KmsKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl KmsKey {
    /// Reads the public half and has the key sign once.
    pub fn open(uri: &KmsUri) -> Result<Self, KmsError> {
        let client = Client::new(uri)?;
        let answer = client.call("GetPublicKey", &json!({ "KeyId": uri.key_id }))?;
        if answer["KeyUsage"] != "SIGN_VERIFY" {
            return Err(KmsError::Key(format!("its use is {}, not SIGN_VERIFY", answer["KeyUsage"])));
        }
        let der = bytes(&answer, "PublicKey")?;
        let spki = Spki::parse(&der).map_err(|error| KmsError::Key(error.to_string()))?;
        let algorithm = algorithm(spki.key())?;
        let key = Self { client, key_id: uri.key_id.clone(), spki, algorithm };
        const TEXT: &[u8] = b"mayfly: do the halves of this key belong together?";
        let signature = key.signature(TEXT)?;
        check_signature(&key, TEXT, &signature).map_err(|error| KmsError::Key(error.0))?;
        Ok(key)
    }

    fn signature(&self, tbs: &[u8]) -> Result<Vec<u8>, KmsError> {
        let (name, digest) = match self.algorithm {
            SignatureAlgorithm::EcdsaP256Sha256 => ("ECDSA_SHA_256", digest(&SHA256, tbs)),
            SignatureAlgorithm::EcdsaP384Sha384 => ("ECDSA_SHA_384", digest(&SHA384, tbs)),
            SignatureAlgorithm::RsaPkcs1Sha256 => ("RSASSA_PKCS1_V1_5_SHA_256", digest(&SHA256, tbs)),
            SignatureAlgorithm::Ed25519 | SignatureAlgorithm::MlDsa(_) => {
                return Err(unsupported(self.spki.key()));
            }
        };
        let ask = json!({
            "KeyId": self.key_id,
            "Message": STANDARD.encode(digest.as_ref()),
            "MessageType": "DIGEST",
            "SigningAlgorithm": name,
        });
        bytes(&self.client.call("Sign", &ask)?, "Signature")
    }
}

impl Signer for KmsKey {
    fn public_key(&self) -> &Spki {
        &self.spki
    }
    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
    fn cost(&self) -> Cost {
        Cost::Slow
    }
    fn sign(&self, tbs: &[u8]) -> Result<Vec<u8>, SignError> {
        self.signature(tbs).map_err(|error| SignError(error.to_string()))
    }
}

/// With what is sealed by a KMS, so that its log and its policies can tell.
fn context() -> Value {
    json!({ "mayfly": "sealed-key" })
}

/// Has the KMS encrypt a data key.
pub fn wrap(uri: &KmsUri, data: &[u8]) -> Result<Vec<u8>, KmsError> {
    let ask = json!({
        "KeyId": uri.key_id,
        "Plaintext": STANDARD.encode(data),
        "EncryptionContext": context(),
    });
    bytes(&Client::new(uri)?.call("Encrypt", &ask)?, "CiphertextBlob")
}

/// Has the KMS decrypt a data key, by that key and no other.
pub fn unwrap(uri: &KmsUri, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, KmsError> {
    let ask = json!({
        "KeyId": uri.key_id,
        "CiphertextBlob": STANDARD.encode(wrapped),
        "EncryptionContext": context(),
    });
    bytes(&Client::new(uri)?.call("Decrypt", &ask)?, "Plaintext").map(Zeroizing::new)
}

fn algorithm(key: &PublicKey) -> Result<SignatureAlgorithm, KmsError> {
    match key {
        PublicKey::EcP256(_) => Ok(SignatureAlgorithm::EcdsaP256Sha256),
        PublicKey::EcP384(_) => Ok(SignatureAlgorithm::EcdsaP384Sha384),
        PublicKey::Rsa { n, .. } if (2048..=4096).contains(&bits(n)) => {
            Ok(SignatureAlgorithm::RsaPkcs1Sha256)
        }
        PublicKey::EcP521(_) | PublicKey::Ed25519(_) | PublicKey::Rsa { .. } | PublicKey::MlDsa(..) => {
            Err(unsupported(key))
        }
    }
}

fn unsupported(key: &PublicKey) -> KmsError {
    KmsError::Key(format!("it is {}; use P-256, P-384 or RSA of 2048 to 4096 bits", key.label()))
}

fn bytes(answer: &Value, name: &str) -> Result<Vec<u8>, KmsError> {
    let text = answer[name].as_str().ok_or_else(|| KmsError::Answer(format!("it has no {name}")))?;
    STANDARD.decode(text).map_err(|_| KmsError::Answer(format!("its {name} is not base64")))
}
