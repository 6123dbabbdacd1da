//! Revocation by those who may.

use super::{assert_refused, assert_unauthorized, refused};
use crate::support::acme::*;
use crate::support::server::{self, Server};
use crate::support::web::Web;

#[test]
fn certificates_are_revoked_by_those_who_may() {
    let server = Server::start_with(|config| {
        server::provisioner(config).insert("authorization_ttl".into(), "8h".into());
    });
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    let mut stranger = Client::registered(&server);

    let issued = client.issue(&web, &["revoke.test"]).unwrap();
    assert_unauthorized(stranger.revoke(&issued.pem, None));
    assert_refused(client.revoke(&issued.pem, Some(7)), 400, "badRevocationReason");
    assert_eq!(client.revoke(&issued.pem, Some(1)).unwrap().status, 200);
    assert_refused(client.revoke(&issued.pem, None), 400, "alreadyRevoked");

    let issued = client.issue(&web, &["revoke.test"]).unwrap();
    let mut holder = bearer(&server, issued.key.clone());
    assert_eq!(holder.revoke(&issued.pem, None).unwrap().status, 200);
    assert_refused(holder.revoke(&issued.pem, None), 400, "alreadyRevoked");

    // An account that has shown control of all names may revoke what another got.
    let issued = client.issue(&web, &["revoke.test", "both.test"]).unwrap();
    let order = stranger.order(&["revoke.test"]).unwrap();
    stranger.authorize(&web, &order).unwrap();
    assert_unauthorized(stranger.revoke(&issued.pem, None));
    let order = stranger.order(&["both.test"]).unwrap();
    stranger.authorize(&web, &order).unwrap();
    assert_eq!(stranger.revoke(&issued.pem, None).unwrap().status, 200);

    // A bare key that is not the certificate's may not, and what this CA never issued cannot be.
    let issued = client.issue(&web, &["revoke.test"]).unwrap();
    assert_unauthorized(bearer(&server, Key::generate()).revoke(&issued.pem, None));
    let foreign = rcgen::generate_simple_self_signed(vec!["revoke.test".to_owned()]).unwrap().cert;
    let foreign =
        pem_rfc7468::encode_string("CERTIFICATE", pem_rfc7468::LineEnding::LF, foreign.der()).unwrap();
    let (status, _) = refused(client.revoke(&foreign, None));
    assert!(matches!(status, 400 | 401 | 403 | 404), "{status}");
}
