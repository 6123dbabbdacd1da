//! Signatures of requests to AWS, version 4, held against AWS's own test suite. The AWS SDK's signer
//! brings a second implementation of HMAC and SHA-256, so this is our own.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;

use super::credentials::Credentials;
use crate::time::Timestamp;
use crate::x509::hex;

/// What is signed of a request to `/` without a query.
pub(super) struct Request<'a> {
    pub method: &'a str,
    /// Names in lower case, each once; `host` and `x-amz-date` among them.
    pub headers: Vec<(&'a str, &'a str)>,
    pub body: &'a [u8],
}

/// Whom the signature is for.
pub(super) struct Scope<'a> {
    pub region: &'a str,
    pub service: &'a str,
}

fn mac(key: &[u8], data: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data)
}

/// `YYYYMMDD'T'HHMMSS'Z'`, the form of `x-amz-date`.
pub(super) fn date(at: Timestamp) -> String {
    let utc = at.to_utc();
    let (date, time) = (utc.date(), utc.time());
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// The value of the Authorization header; `date` is that of `x-amz-date`.
pub(super) fn authorization(
    mut request: Request<'_>,
    scope: &Scope<'_>,
    credentials: &Credentials,
    date: &str,
) -> String {
    request.headers.sort_unstable();
    let headers: String =
        request.headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let body = hex::encode(digest(&SHA256, request.body).as_ref());
    let canonical = format!("{}\n/\n\n{headers}\n{names}\n{body}", request.method);
    let day = date.get(..8).unwrap_or_default();
    let place = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    let text = format!(
        "AWS4-HMAC-SHA256\n{date}\n{place}\n{}",
        hex::encode(digest(&SHA256, canonical.as_bytes()).as_ref())
    );
    let first = zeroize::Zeroizing::new([b"AWS4", credentials.secret.as_bytes()].concat());
    let key = [day, scope.region, scope.service, "aws4_request"]
        .iter()
        .fold(first, |key, part| zeroize::Zeroizing::new(mac(&key, part.as_bytes()).as_ref().to_vec()));
    let signature = hex::encode(mac(&key, text.as_bytes()).as_ref());
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{place}, SignedHeaders={names}, Signature={signature}",
        credentials.id
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "20150830T123600Z";
    const HOST: (&str, &str) = ("host", "example.amazonaws.com");
    const TOKEN: &str = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";

    /// post-vanilla, post-x-www-form-urlencoded and get-vanilla-with-session-token of the
    /// aws-signing-test-suite: those without a path and a query.
    #[test]
    fn the_official_vectors() {
        let form: Vec<(&str, &str)> = vec![
            ("content-type", "application/x-www-form-urlencoded"),
            HOST,
            ("content-length", "13"),
            ("x-amz-date", DATE),
            ("x-amz-content-sha256", "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e"),
        ];
        type Row<'a> = (&'a str, Vec<(&'a str, &'a str)>, &'a [u8], &'a str);
        let rows: [Row<'_>; 3] = [
            (
                "POST",
                vec![HOST, ("x-amz-date", DATE)],
                b"",
                "SignedHeaders=host;x-amz-date, \
                 Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "POST",
                form,
                b"Param1=value1",
                "SignedHeaders=content-length;content-type;host;x-amz-content-sha256;x-amz-date, \
                 Signature=d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
            ),
            (
                "GET",
                vec![("x-amz-security-token", TOKEN), HOST, ("x-amz-date", DATE)],
                b"",
                "SignedHeaders=host;x-amz-date;x-amz-security-token, \
                 Signature=07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
            ),
        ];
        let credentials =
            Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None).unwrap();
        let scope = Scope { region: "us-east-1", service: "service" };
        for (method, headers, body, want) in rows {
            let signed = authorization(Request { method, headers, body }, &scope, &credentials, DATE);
            let whole = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, {want}"
            );
            assert_eq!(signed, whole);
        }
    }

    #[test]
    fn dates() {
        assert_eq!(date(Timestamp::from_secs(1_440_938_160)), DATE);
    }
}
