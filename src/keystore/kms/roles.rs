//! Credentials of a container's role, by the endpoint that ECS tasks and EKS pods (Pod Identity) are told
//! of in their environment.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use zeroize::Zeroizing;

use super::KmsError;
use super::credentials::Credentials;
use crate::keystore::password::Password;
use crate::time::Timestamp;

/// How long they are used before they are asked for again: new ones are there five minutes before the old
/// ones end.
const AGE: Duration = Duration::from_secs(60);

/// Known ones serve until so long before they end, where no new ones are to be had.
const MARGIN: Duration = Duration::from_secs(60);

/// How long an endpoint that failed is not asked again, and how long where known credentials serve meanwhile.
const PAUSE: Duration = Duration::from_secs(1);
const LONG_PAUSE: Duration = Duration::from_secs(10);

/// Where ECS has it.
const ECS: &str = "http://169.254.170.2";

/// Hosts that are asked without TLS: this machine's, and those of ECS and EKS.
const PLAIN: [&str; 6] =
    ["localhost", "127.0.0.1", "[::1]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];

/// An endpoint.
pub(super) struct Endpoint {
    /// Not to be shown: that of ECS has a path that nobody else is to know.
    pub url: Zeroizing<String>,
    /// Its scheme and host.
    pub shown: String,
    token: Token,
}

/// What it is to be shown.
enum Token {
    None,
    Text(Zeroizing<String>),
    /// Of a file that is renewed in its place.
    File(PathBuf),
}

impl Endpoint {
    /// The Authorization header.
    pub(super) fn authorization(&self) -> Result<Option<Zeroizing<String>>, KmsError> {
        match &self.token {
            Token::None => Ok(None),
            Token::Text(text) => Ok(Some(text.clone())),
            // Kubernetes projects it readable for the pod's group.
            Token::File(path) => Password::token(path).map(Some).map_err(|error| bad(error.to_string())),
        }
    }
}

/// What an endpoint has said: credentials, with the time that they end at if it says so.
pub(super) type Said = Result<(Credentials, Option<Timestamp>), KmsError>;

struct Known {
    asked: Instant,
    until: Instant,
    credentials: Credentials,
}

/// What is known of the role.
pub(super) struct Role {
    known: Option<Known>,
    failed: Option<(Instant, KmsError)>,
}

impl Role {
    pub(super) const fn new() -> Self {
        Self { known: None, failed: None }
    }

    /// What there is without asking; nothing if it is time to ask.
    pub(super) fn answer(&self, now: Instant) -> Option<Result<Credentials, KmsError>> {
        if let Some(known) = self.known.as_ref().filter(|known| now.duration_since(known.asked) < AGE) {
            return Some(Ok(known.credentials.clone()));
        }
        let (at, error) = self.failed.as_ref()?;
        match self.usable(now) {
            Some(known) => (now.duration_since(*at) < LONG_PAUSE).then_some(Ok(known)),
            None => (now.duration_since(*at) < PAUSE).then(|| Err(error.clone())),
        }
    }

    /// Known credentials that do not end soon.
    pub(super) fn usable(&self, now: Instant) -> Option<Credentials> {
        let known = self.known.as_ref().filter(|known| now < known.until)?;
        Some(known.credentials.clone())
    }

    /// Takes what was said, `now` and at `time`; what there is then.
    pub(super) fn learn(
        &mut self,
        now: Instant,
        time: Timestamp,
        said: Said,
    ) -> Result<Credentials, KmsError> {
        match said {
            Ok((credentials, end)) => {
                let left = end.map_or(AGE, |end| end.since(time).saturating_sub(MARGIN));
                let until = now.checked_add(left).unwrap_or(now);
                self.known = Some(Known { asked: now, until, credentials: credentials.clone() });
                self.failed = None;
                Ok(credentials)
            }
            Err(error) => {
                self.failed = Some((now, error.clone()));
                let known = self.usable(now).ok_or_else(|| error.clone())?;
                tracing::warn!(%error, "no new credentials of the container's role; the known ones serve until they end");
                Ok(known)
            }
        }
    }
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
        (Some(path), _) => Zeroizing::new(format!("{ECS}{}", path.as_str())),
        (None, Some(url)) => url,
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
    let token = match (file, variable("AWS_CONTAINER_AUTHORIZATION_TOKEN")) {
        (Some(path), _) => Token::File(Path::new(path.as_str()).to_owned()),
        (None, Some(token)) => Token::Text(token),
        (None, None) => Token::None,
    };
    Ok(Some(Endpoint { shown: parsed.origin().ascii_serialization(), url, token }))
}

/// What it answers.
pub(super) fn understand(status: u16, body: &[u8]) -> Said {
    if status != 200 {
        return Err(bad(format!("the container's endpoint answers {status}")));
    }
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    match (json["AccessKeyId"].as_str(), json["SecretAccessKey"].as_str()) {
        (Some(id), Some(secret)) => {
            let end = json["Expiration"].as_str().and_then(Timestamp::parse_rfc3339);
            Ok((Credentials::new(id, secret, json["Token"].as_str())?, end))
        }
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
        assert!(ecs.url.as_str() == "http://169.254.170.2/v2/x" && ecs.authorization().unwrap().is_none());
        assert_eq!(ecs.shown, "http://169.254.170.2", "not its path, which is a secret");
        let given = [(FULL, "http://169.254.170.23/v1"), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "t")];
        assert_eq!(read(&given).unwrap().unwrap().authorization().unwrap().unwrap().as_str(), "t");
        // It is looked for when it is needed, and not before.
        let given =
            [(FULL, "http://[::1]:1/v1"), ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/no/such/file")];
        let endpoint = read(&given).unwrap().unwrap();
        assert!(endpoint.authorization().unwrap_err().to_string().contains("/no/such/file"));
        assert_eq!(endpoint.shown, "http://[::1]:1");
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
        let (read, end) = understand(200, good).unwrap();
        assert_eq!(end, Timestamp::parse_rfc3339("2030-01-01T00:00:00Z"));
        assert_eq!((read.id.as_str(), read.token.unwrap().as_str()), ("A", "T"));
        for (status, body) in
            [(403, &good[..]), (200, b"{}"), (200, b"<html>"), (200, br#"{"AccessKeyId":"A"}"#)]
        {
            assert!(understand(status, body).is_err());
        }
    }

    #[test]
    fn known_credentials_serve_until_they_end_and_failures_are_shared() {
        let (began, secs) = (Instant::now(), Duration::from_secs);
        let at = |seconds: u64| (began + secs(seconds), Timestamp::from_secs(1_000_000 + seconds));
        let of = |id: &str| Credentials::new(id, "S", None).unwrap();
        let failure = || Err(bad("the container's endpoint answers 500"));
        let ids =
            |said: Option<Result<Credentials, KmsError>>| said.map(|said| said.map(|c| c.id.clone()).ok());
        let mut role = Role::new();
        let ask = |role: &Role, seconds| ids(role.answer(at(seconds).0));

        // Nothing is known: whoever comes within a second has the same failure.
        assert_eq!(ask(&role, 0), None);
        assert!(role.learn(at(0).0, at(0).1, failure()).is_err());
        assert_eq!((ask(&role, 0), ask(&role, 1)), (Some(None), None));
        // An hour of them, asked for anew after a minute.
        let end = Some(at(3600).1);
        assert!(role.learn(at(2).0, at(2).1, Ok((of("A"), end))).is_ok());
        let first = || Some(Some("A".to_owned()));
        assert_eq!((ask(&role, 61), ask(&role, 62)), (first(), None));
        // No new ones: they serve meanwhile, until shortly before they end.
        assert_eq!(role.learn(at(62).0, at(62).1, failure()).unwrap().id, "A");
        assert_eq!((ask(&role, 71), ask(&role, 72)), (first(), None));
        assert!(role.learn(at(3539).0, at(3539).1, failure()).is_ok());
        assert_eq!(ask(&role, 3539), first());
        assert!(role.learn(at(3540).0, at(3540).1, failure()).is_err());
        assert_eq!((ask(&role, 3540), ask(&role, 3541)), (Some(None), None));
        // Of those that do not say when they end no more than a minute is known.
        assert!(role.learn(at(4000).0, at(4000).1, Ok((of("B"), None))).is_ok());
        assert!(role.learn(at(4060).0, at(4060).1, failure()).is_err());
    }
}
