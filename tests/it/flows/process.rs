//! The process around it all.

use super::assert_refused;
use crate::support::acme::*;
use crate::support::server::Server;
use crate::support::web::Web;

#[test]
fn everything_is_there_after_a_restart() {
    let mut server = Server::start();
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    let issued = client.issue(&web, &["restart.test"]).unwrap();
    server.stop();
    server.serve();
    client.https.disconnect();
    assert_eq!(client.fetch(&issued.order.url).unwrap().json()["certificate"], issued.url);
    assert_eq!(client.fetch(&issued.url).unwrap().text(), issued.pem);
    assert_eq!(client.revoke(&issued.pem, None).unwrap().status, 200);
    server.stop();
    server.serve();
    client.https.disconnect();
    assert_refused(client.revoke(&issued.pem, None), 400, "alreadyRevoked");
    server.stop();
}
