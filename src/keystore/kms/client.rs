//! Requests to a KMS: signed, within a time, and again where that may help.

use std::sync::{Mutex, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, StatusCode};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::KmsError;
use super::credentials::{self, Credentials};
use super::roles::{self, Endpoint, Role, Said};
use super::sigv4::{self, Scope};
use crate::authority::key_source::KmsUri;
use crate::entropy::{Entropy, SystemEntropy};
use crate::outbound::{self, Roots, reason};
use crate::time::{Clock, SystemClock};

/// For one attempt.
const ATTEMPT: Duration = Duration::from_secs(3);
/// For all attempts of one request: a client of ours waits meanwhile.
const ALL: Duration = Duration::from_secs(8);
/// Before the second attempt; doubled before each further one.
const PAUSE: Duration = Duration::from_millis(100);
/// An answer has a signature or a public key.
const LARGEST_ANSWER: usize = 64 * 1024;

/// One key's way to its service.
pub(super) struct Client {
    http: outbound::Client,
    uri: KmsUri,
    host: String,
}

/// Its own: signers are called from threads of others, and one of those may be at a start.
fn runtime() -> Result<&'static Runtime, KmsError> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let started = RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("kms").enable_all().build().map_err(|error| error.to_string())
    });
    started.as_ref().map_err(|error| KmsError::System(error.clone()))
}

impl Client {
    pub(super) fn new(uri: &KmsUri) -> Result<Self, KmsError> {
        let https = uri.base().starts_with("https://");
        let http = outbound::client(Roots::System, https, ATTEMPT).map_err(KmsError::System)?;
        let base = uri.base();
        let host = base.split_once("://").map_or("", |(_, host)| host).to_owned();
        Ok(Self { http, uri: uri.clone(), host })
    }

    /// Asks for one action; blocks for [`ALL`] at most.
    pub(super) fn call(&self, action: &'static str, ask: &Value) -> Result<Value, KmsError> {
        let began = Instant::now();
        let mut pause = PAUSE;
        loop {
            let error = match self.once(action, ask) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !error.may_pass() || began.elapsed() + pause + ATTEMPT > ALL {
                return Err(error);
            }
            tracing::debug!(action, %error, "asking the KMS again");
            std::thread::sleep(jittered(pause, &SystemEntropy::default()));
            pause *= 2;
        }
    }

    fn once(&self, action: &'static str, ask: &Value) -> Result<Value, KmsError> {
        let request = self.request(action, ask)?;
        let (status, body) =
            self.send(request)?.map_err(|reason| KmsError::Unreachable { base: self.uri.base(), reason })?;
        understand(status, &body)
    }

    /// One exchange, within [`ATTEMPT`]; inside, why there was none.
    fn send(&self, request: Request<Full<Bytes>>) -> Result<Result<(StatusCode, Bytes), String>, KmsError> {
        let (http, (tell, told)) = (self.http.clone(), std::sync::mpsc::channel());
        let exchange = async move {
            let answer = http.request(request).await.map_err(|error| reason(&error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await;
            Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
        };
        runtime()?.spawn(async move {
            let late = Err(format!("no answer within {} s", ATTEMPT.as_secs()));
            let _ = tell.send(tokio::time::timeout(ATTEMPT, exchange).await.unwrap_or(late));
        });
        told.recv().map_err(|_| KmsError::System("the KMS's thread ended".to_owned()))
    }

    /// From the environment, the shared file, or the container's role.
    fn credentials(&self) -> Result<Credentials, KmsError> {
        static ROLE: Mutex<Role> = Mutex::new(Role::new());
        static ASKING: Mutex<()> = Mutex::new(());
        let role = || ROLE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = Credentials::read()? {
            return Ok(found);
        }
        let endpoint = roles::endpoint(credentials::variable)?.ok_or_else(credentials::none)?;
        if let Some(answer) = role().answer(Instant::now()) {
            return answer;
        }
        // One asks. The others go on with what is known, or wait for its answer.
        let _asking = match ASKING.try_lock() {
            Ok(asking) => asking,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                if let Some(known) = role().usable(Instant::now()) {
                    return Ok(known);
                }
                ASKING.lock().unwrap_or_else(PoisonError::into_inner)
            }
        };
        if let Some(answer) = role().answer(Instant::now()) {
            return answer;
        }
        let said = self.ask(&endpoint);
        role().learn(Instant::now(), SystemClock.now(), said)
    }

    /// Asks a container's endpoint.
    fn ask(&self, endpoint: &Endpoint) -> Said {
        let request = Request::get(endpoint.url.as_str());
        let request = match &endpoint.authorization()? {
            Some(token) => request.header("authorization", token.as_str()),
            None => request,
        };
        let request = request.body(Full::default()).map_err(|error| KmsError::System(error.to_string()))?;
        let sent = self.send(request)?;
        let (status, body) =
            sent.map_err(|reason| KmsError::Unreachable { base: endpoint.shown.clone(), reason })?;
        roles::understand(status.as_u16(), &body)
    }

    fn request(&self, action: &str, ask: &Value) -> Result<Request<Full<Bytes>>, KmsError> {
        let credentials = self.credentials()?;
        let date = sigv4::date(SystemClock.now());
        let target = format!("TrentService.{action}");
        let body = ask.to_string();
        let mut headers = vec![
            ("content-type", "application/x-amz-json-1.1"),
            ("host", self.host.as_str()),
            ("x-amz-date", date.as_str()),
            ("x-amz-target", target.as_str()),
        ];
        headers.extend(credentials.token.as_ref().map(|token| ("x-amz-security-token", token.as_str())));
        let scope = Scope { region: &self.uri.region, service: "kms" };
        let signed = sigv4::Request { method: "POST", headers: headers.clone(), body: body.as_bytes() };
        let authorization = sigv4::authorization(signed, &scope, &credentials, &date);
        headers.push(("authorization", &authorization));
        let request = headers
            .into_iter()
            .fold(Request::post(format!("{}/", self.uri.base())), |request, (name, value)| {
                request.header(name, value)
            });
        request.body(Full::from(body)).map_err(|error| KmsError::System(error.to_string()))
    }
}

/// Between half of a pause and all of it: those whom a KMS has refused together do not come back together.
fn jittered(pause: Duration, entropy: &dyn Entropy) -> Duration {
    let part = f64::from(u32::from_be_bytes(entropy.bytes())) / f64::from(u32::MAX);
    pause.mul_f64(0.5 + part / 2.0)
}

/// An answer's JSON, or the error that it names: `__type` is a name, perhaps behind a namespace.
fn understand(status: StatusCode, body: &[u8]) -> Result<Value, KmsError> {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    if status.is_success() && json.is_object() {
        return Ok(json);
    }
    let text = |names: [&str; 2]| names.iter().find_map(|name| json[*name].as_str()).unwrap_or_default();
    // Not ours, so not to be trusted in a log line.
    let kind = text(["__type", "code"]).rsplit('#').next().unwrap_or_default();
    let kind: String = kind.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').take(64).collect();
    let message: String =
        text(["message", "Message"]).chars().filter(|c| !c.is_control()).take(300).collect();
    Err(KmsError::Refused { status: status.as_u16(), kind, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        assert!(understand(StatusCode::OK, b"{\"KeyId\":\"x\"}").is_ok());
        let rows: [(u16, &str, &str, bool); 7] = [
            (400, r#"{"__type":"NotFoundException","message":"Key\n x"}"#, "NotFoundException: Key x", false),
            (400, r#"{"__type":"com.amazonaws.kms#ThrottlingException"}"#, "ThrottlingException", true),
            (400, r#"{"__type":"KMSInvalidStateException"}"#, "KMSInvalidState", false),
            (403, r#"{"__type":"AccessDeniedException","Message":"no"}"#, "AccessDenied", false),
            (500, r#"{"__type":"KMSInternalException"}"#, "KMSInternal", true),
            (503, "<html>", "503", true),
            (200, "<html>", "200", false),
        ];
        for (status, body, want, again) in rows {
            let error = understand(StatusCode::from_u16(status).unwrap(), body.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(want), "{error}");
            assert_eq!(error.may_pass(), again, "{error}");
        }
    }

    /// Whoever answers in the KMS's place writes neither lines nor colours into our log.
    #[test]
    fn names_of_errors_are_bounded_and_plain() {
        let long = "A".repeat(5000);
        for kind in ["x\\n2026 INFO all is well", "\\u001b[31mX", "\\u202eevil", "<b>", &long] {
            let body = format!("{{\"__type\":\"{kind}\",\"message\":\"{long}\"}}");
            let said = understand(StatusCode::BAD_REQUEST, body.as_bytes()).unwrap_err().to_string();
            let plain = said.chars().all(|c| c.is_ascii_alphanumeric() || " ():.".contains(c));
            assert!(plain && said.len() < 500, "{said}");
        }
    }

    #[test]
    fn pauses_differ() {
        let entropy = crate::entropy::SeededEntropy::new(7);
        let pauses: Vec<_> = (0..100).map(|_| jittered(PAUSE, &entropy)).collect();
        assert!(pauses.iter().all(|pause| (PAUSE / 2..=PAUSE).contains(pause)));
        let distinct: std::collections::BTreeSet<_> = pauses.iter().collect();
        assert!(distinct.len() > 90, "{distinct:?}");
    }
}
