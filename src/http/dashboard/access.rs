//! Who is this machine: on the main listener the dashboard is open without a certificate, so it is for requests
//! that come from here, by nobody in between, to a name that is this CA's.

use std::net::IpAddr;

use hyper::header::{self, HeaderMap};
use hyper::http::request;

/// A proxy puts one of these to what it passes on, as a rule. One that does not, or a forwarder of connections, is
/// not told from this machine, but by the name that its users ask for.
const FORWARDED: [&str; 7] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-real-ip",
    "via",
];

/// Whether a request may see the dashboard; the error says why not.
pub(super) fn admits(peer: IpAddr, head: &request::Parts) -> Result<(), &'static str> {
    if !peer.to_canonical().is_loopback() {
        return Err(
            "The dashboard is shown to this machine only. Over the network it is on [admin] address.",
        );
    }
    if FORWARDED.iter().any(|name| head.headers.contains_key(*name)) {
        return Err("A proxy has passed this on: whoever is behind it may be anywhere.");
    }
    let host = head.uri.host().map(ToOwned::to_owned).or_else(|| host_field(&head.headers));
    // A page from elsewhere whose name was made to lead here (DNS rebinding) comes by that name.
    match host {
        Some(host) if is_here(&host) => Ok(()),
        Some(_) | None => Err("The address does not begin with localhost, 127.0.0.1 or [::1]."),
    }
}

/// The host of a `Host` field, without its port.
fn host_field(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::HOST)?.to_str().ok()?;
    text.parse::<hyper::http::uri::Authority>().ok().map(|authority| authority.host().to_owned())
}

fn is_here(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback(),
        Err(_) => bare.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    #[test]
    fn this_machine_by_a_name_for_itself_and_nobody_in_between() {
        let rows: [(&str, &str, Option<&str>, bool); 20] = [
            ("127.0.0.1", "localhost:9443", None, true),
            ("127.0.0.1", "LOCALHOST", None, true),
            ("::1", "[::1]:9443", None, true),
            ("::ffff:127.0.0.1", "127.0.0.1:9443", None, true),
            ("127.8.9.1", "127.0.0.1", None, true),
            ("127.0.0.1", "ca.test:9443", None, false),
            ("127.0.0.1", "10.0.0.1:9443", None, false),
            ("10.0.0.1", "ca.test", None, false),
            ("192.0.2.1", "localhost", None, false),
            ("::", "localhost", None, false),
            ("127.0.0.1", "evil.test", None, false),
            ("127.0.0.1", "localhost.evil.test", None, false),
            ("127.0.0.1", "127.0.0.1.evil.test", None, false),
            ("127.0.0.1", "0.0.0.0", None, false),
            ("127.0.0.1", "[::]", None, false),
            ("127.0.0.1", "", None, false),
            ("127.0.0.1", "localhost", Some("x-forwarded-for"), false),
            ("127.0.0.1", "localhost", Some("Forwarded"), false),
            ("127.0.0.1", "localhost", Some("via"), false),
            ("127.0.0.1", "localhost", Some("accept"), true),
        ];
        for (peer, host, field, want) in rows {
            let mut request = Request::builder().uri("/dashboard").header("host", host);
            if let Some(field) = field {
                request = request.header(field, "x");
            }
            let (head, ()) = request.body(()).unwrap().into_parts();
            let got = admits(peer.parse().unwrap(), &head);
            assert_eq!(got.is_ok(), want, "{peer} {host} {field:?}: {got:?}");
        }
        // HTTP/2 says it in its target.
        let of = |uri: &str| Request::builder().uri(uri).body(()).unwrap().into_parts().0;
        let here = "127.0.0.1".parse().unwrap();
        assert!(admits(here, &of("https://localhost:9443/dashboard")).is_ok());
        assert!(admits(here, &of("https://evil.test:9443/dashboard")).is_err());
    }
}
