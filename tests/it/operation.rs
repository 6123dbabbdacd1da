//! What an operator meets: reloads, and too few open files.

use std::fs;
use std::net::TcpStream;

use crate::support::acme::{Client, csr};
use crate::support::server::{Server, section};
use crate::support::web::Web;

#[test]
fn a_reload_is_all_or_nothing_and_says_what_it_leaves() {
    let server = Server::start();
    let status = |name: &str| server.https().get(&format!("/acme/{name}/directory")).unwrap().status;
    assert_eq!((status("acme"), status("other")), (200, 404));
    let text = fs::read_to_string(server.config()).unwrap();
    let mut config: toml::Table = text.parse().unwrap();
    let mut other = config["provisioner"].as_array().unwrap()[0].clone();
    other.as_table_mut().unwrap().insert("name".into(), "other".into());
    config["provisioner"].as_array_mut().unwrap().push(other);
    section(&mut config, "log").insert("level".into(), "debug".into());
    let good = toml::to_string(&config).unwrap();
    fs::write(server.config(), format!("color = 1\n{good}")).unwrap();
    server.reload("nothing was changed");
    assert_eq!((status("acme"), status("other")), (200, 404));
    fs::write(server.config(), good).unwrap();
    server.reload("validation rules and receivers reloaded");
    assert_eq!((status("acme"), status("other")), (200, 200));
    assert!(server.log().contains("it takes effect at the next start section=\"[log]\""), "{}", server.log());
}

/// Connections that take every descriptor must not take the store's: it would fail for good.
#[test]
fn held_connections_leave_the_store_its_files() {
    let server = Server::start_with_files(320);
    let web = Web::start(server.http_port);
    for round in 0..3 {
        let held: Vec<TcpStream> =
            (0..260).filter_map(|_| TcpStream::connect(("127.0.0.1", server.port)).ok()).collect();
        assert!(held.len() > 200, "{} connections", held.len());
        // The server takes as many as it has room for; the others wait in the kernel's queue.
        std::thread::sleep(std::time::Duration::from_millis(500));
        drop(held);
        // A connection from before would have made room by now.
        let mut client = Client::registered(&server);
        let name = format!("held{round}.test");
        let order = client.order(&[&name]).unwrap();
        client.authorize(&web, &order).unwrap();
        client.finalize(&order, &csr(&[&name]).1).unwrap();
    }
    assert!(server.log().contains("the limit of open files is low"), "{}", server.log());
    assert!(!server.log().contains("the store has failed"));
    assert_eq!(server.https().get("/readyz").unwrap().status, 200);
}
