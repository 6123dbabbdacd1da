//! Many at once: one order is signed once, however many ask.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use serde_json::json;

use crate::support::acme::{Client, Order, b64, csr};
use crate::support::server::Server;
use crate::support::web::Web;

const RACERS: usize = 64;

/// An order ready to be finalized, and its account.
fn ready(server: &Server, web: &Web, name: &str) -> (Client, Order) {
    let mut client = Client::registered(server);
    let order = client.order(&[name]).unwrap();
    client.authorize(web, &order).unwrap();
    (client, order)
}

/// Finalizes the order with all requests at the same moment; gives each racer's certificate URL and
/// text, as it sees them in the end.
fn race(client: &Client, order: &Order, requests: &[Vec<u8>]) -> BTreeSet<(String, String)> {
    let start = Barrier::new(requests.len());
    thread::scope(|scope| {
        let racers: Vec<_> = requests
            .iter()
            .map(|request| {
                let (mut racer, start) = (client.again(), &start);
                scope.spawn(move || {
                    let url = order.object["finalize"].as_str().unwrap();
                    // Signed and connected before the start, so that only the finalize is raced.
                    let body = racer.jws(url, &json!({"csr": b64(request)}).to_string()).unwrap().body();
                    start.wait();
                    let reply = racer.send(url, &body).unwrap();
                    // A racer with another request may be told that the order is no longer ready.
                    let lost = reply.status == 403
                        && reply.json()["type"].as_str().unwrap().ends_with(":orderNotReady");
                    assert!(reply.status == 200 || lost, "{reply:?}");
                    let settled = racer.settle(&order.url, &["processing"]).unwrap();
                    assert_eq!(settled["status"], "valid", "{settled}");
                    let certificate = settled["certificate"].as_str().unwrap().to_owned();
                    if reply.status == 200 && reply.json()["status"] == "valid" {
                        assert_eq!(reply.json()["certificate"], *certificate);
                    }
                    let pem = racer.fetch(&certificate).unwrap().text();
                    (lost, certificate, pem)
                })
            })
            .collect();
        let seen: Vec<_> = racers.into_iter().map(|racer| racer.join().unwrap()).collect();
        if requests.windows(2).all(|pair| pair[0] == pair[1]) {
            assert!(seen.iter().all(|(lost, ..)| !lost), "the same request again is answered with the order");
        }
        seen.into_iter().map(|(_, url, pem)| (url, pem)).collect()
    })
}

#[test]
fn racing_finalizes_of_one_request_see_one_certificate() {
    let server = Server::start();
    let web = Web::start(server.http_port);
    let (client, order) = ready(&server, &web, "race.test");
    let (_, request) = csr(&["race.test"]);
    let seen = race(&client, &order, &vec![request; RACERS]);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(server.issued_orders().len(), 1);
}

#[test]
fn racing_finalizes_of_different_requests_see_one_certificate() {
    let server = Server::start();
    let web = Web::start(server.http_port);
    let (client, order) = ready(&server, &web, "race.test");
    let requests: Vec<_> = (0..RACERS).map(|_| csr(&["race.test"]).1).collect();
    let seen = race(&client, &order, &requests);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(server.issued_orders().len(), 1);
}

#[test]
fn racing_registrations_of_one_key_make_one_account() {
    let server = Server::start();
    let client = Client::new(&server);
    let start = Barrier::new(RACERS);
    let accounts: BTreeSet<String> = thread::scope(|scope| {
        let racers: Vec<_> = (0..RACERS)
            .map(|_| {
                let (mut racer, start) = (client.again(), &start);
                scope.spawn(move || {
                    start.wait();
                    racer.register().unwrap();
                    racer.kid.unwrap()
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    assert_eq!(accounts.len(), 1, "{accounts:?}");
}
