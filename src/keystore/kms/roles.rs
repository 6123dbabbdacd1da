//! Credentials of a container's role, by the endpoint that ECS tasks and EKS pods (Pod Identity) are told
//! of in their environment.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use zeroize::Zeroizing;

use super::KmsError;
use super::credentials::Credentials;
use crate::keystore::password::Password;

/// How long they are used before they are asked for again: new ones are there five minutes before the old
/// ones end.
pub(super) const AGE: Duration = Duration::from_secs(60);

/// Where ECS has it.
const ECS: &str = "http://169.254.170.2";

/// Hosts that are asked without TLS: this machine's, and those of ECS and EKS.
const PLAIN: [&str; 6] =
    ["localhost", "127.0.0.1", "[::1]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];

/// An endpoint, and what it is to be shown.
pub(super) struct Endpoint {
    pub url: String,
    pub authorization: Option<Zeroizing<String>>,
}

fn bad(reason: impl Into<String>) -> KmsError {
    KmsError::Credentials(reason.into())
}

/// The one that the environment names, if any.
pub(super) fn endpoint(
    variable: impl Fn(&str) -> Option<Zeroizing<String>>,
) -> Result<Option<Endpoint>, KmsError> {
    let relative = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    let url = match (relative, variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
        (Some(path), _) => format!("{ECS}{}", path.as_str()),
        (None, Some(url)) => url.to_string(),
        (None, None) => return Ok(None),
    };
    let parsed = url::Url::parse(&url).map_err(|error| bad(format!("the container's endpoint: {error}")))?;
    let believed = match parsed.scheme() {
        "https" => true,
        "http" => parsed.host_str().is_some_and(|host| PLAIN.contains(&host)),
        _ => false,
    };
    if !believed {
        return Err(bad("AWS_CONTAINER_CREDENTIALS_FULL_URI: http:// is for this machine, ECS and EKS only"));
    }
    let file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    let authorization = match (file, variable("AWS_CONTAINER_AUTHORIZATION_TOKEN")) {
        // Kubernetes projects it readable for the pod's group; it is renewed in its place.
        (Some(path), _) => Some(Password::token(Path::new(path.as_str())).map_err(|e| bad(e.to_string()))?),
        (None, token) => token,
    };
    Ok(Some(Endpoint { url, authorization }))
}

/// What it answers.
pub(super) fn understand(status: u16, body: &[u8]) -> Result<Credentials, KmsError> {
    if status != 200 {
        return Err(bad(format!("the container's endpoint answers {status}")));
    }
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    match (json["AccessKeyId"].as_str(), json["SecretAccessKey"].as_str()) {
        (Some(id), Some(secret)) => Credentials::new(id, secret, json["Token"].as_str()),
        (None, _) | (_, None) => Err(bad("the container's endpoint answers without an access key")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let read = |rows: &[(&str, &str)]| {
            endpoint(|name| {
                rows.iter().find(|(n, _)| *n == name).map(|(_, value)| Zeroizing::new((*value).to_owned()))
            })
        };
        const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
        assert!(read(&[]).unwrap().is_none());
        let ecs = read(&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x")]).unwrap().unwrap();
        assert!(ecs.url == "http://169.254.170.2/v2/x" && ecs.authorization.is_none());
        let given = [(FULL, "http://169.254.170.23/v1"), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "t")];
        assert_eq!(read(&given).unwrap().unwrap().authorization.unwrap().as_str(), "t");
        for (url, good) in [
            ("https://creds.test/x", true),
            ("http://[::1]:8080/x", true),
            ("http://creds.test/x", false),
            ("http://localhost@creds.test/x", false),
            ("ftp://localhost/x", false),
            ("x", false),
        ] {
            assert_eq!(read(&[(FULL, url)]).is_ok(), good, "{url}");
        }
    }

    #[test]
    fn answers() {
        let good =
            br#"{"AccessKeyId":"A","SecretAccessKey":"S","Token":"T","Expiration":"2030-01-01T00:00:00Z"}"#;
        let read = understand(200, good).unwrap();
        assert_eq!((read.id.as_str(), read.token.unwrap().as_str()), ("A", "T"));
        for (status, body) in
            [(403, &good[..]), (200, b"{}"), (200, b"<html>"), (200, br#"{"AccessKeyId":"A"}"#)]
        {
            assert!(understand(status, body).is_err());
        }
    }
}
