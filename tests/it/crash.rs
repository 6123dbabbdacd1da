//! kill -9 under load, again and again: what was acknowledged is there after every restart, and no
//! order ever shows two certificates.

use std::collections::BTreeSet;
use std::env;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::acme::{Client, Failure, Key, Order, b64, csr};
use crate::support::process::until;
use crate::support::server::Server;
use crate::support::web::Web;

/// The least that is asked for; the variable raises it.
const KILLS: usize = 50;
const KILLS_VARIABLE: &str = "MAYFLY_TEST_KILLS";
const CLIENTS: usize = 8;

/// What the server has acknowledged.
#[derive(Default)]
struct Ledger {
    accounts: Mutex<Vec<Account>>,
    orders: Mutex<Vec<Kept>>,
    /// Counts acknowledgements, so that a kill can wait for the load to be under way.
    acknowledged: AtomicUsize,
}

#[derive(Clone)]
struct Account {
    key: Key,
    url: String,
}

/// An acknowledged order, with all that has been learnt of it.
#[derive(Clone)]
struct Kept {
    account: Account,
    url: String,
    finalize: String,
    authorizations: BTreeSet<String>,
    /// The request of a finalize that was sent; its answer may have been lost.
    request: Option<Vec<u8>>,
    certificate: Option<String>,
    pem: Option<String>,
}

impl Ledger {
    fn count(&self) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    fn update(&self, index: usize, change: impl FnOnce(&mut Kept)) {
        change(&mut self.orders.lock().unwrap()[index]);
        self.count();
    }
}

fn client_of(server: &Server, account: &Account) -> Client {
    let mut client = Client::new(server);
    client.key = account.key.clone();
    client.kid = Some(account.url.clone());
    client
}

/// One client: an account, then orders until the connection breaks or the flag is up.
fn work(
    client: &mut Client,
    web: &Web,
    ledger: &Ledger,
    id: usize,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    client.register()?;
    let account = Account { key: client.key.clone(), url: client.kid.clone().unwrap() };
    ledger.accounts.lock().unwrap().push(account.clone());
    ledger.count();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("c{id}-{n}.crash.test");
        let order = client.order(&[&name])?;
        let index = {
            let mut orders = ledger.orders.lock().unwrap();
            orders.push(Kept {
                account: account.clone(),
                url: order.url.clone(),
                finalize: order.object["finalize"].as_str().unwrap().to_owned(),
                authorizations: order.object["authorizations"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|url| url.as_str().unwrap().to_owned())
                    .collect(),
                request: None,
                certificate: None,
                pem: None,
            });
            orders.len() - 1
        };
        ledger.count();
        client.authorize(web, &order)?;
        let (_, request) = csr(&[&name]);
        // Noted before it is sent: from here on the order may hold a certificate.
        ledger.orders.lock().unwrap()[index].request = Some(request.clone());
        let Order { object, .. } = client.finalize(&order, &request)?;
        let url = object["certificate"].as_str().unwrap().to_owned();
        ledger.update(index, |kept| kept.certificate = Some(url.clone()));
        let pem = client.fetch(&url)?.text();
        ledger.update(index, |kept| kept.pem = Some(pem));
    }
    Ok(())
}

/// Load until enough is acknowledged, then kill -9 in the midst of it.
fn load_and_kill(server: &mut Server, web: &Web, ledger: &Ledger, round: usize) {
    let stop = AtomicBool::new(false);
    let clients: Vec<Client> = (0..CLIENTS).map(|_| Client::new(server)).collect();
    thread::scope(|scope| {
        for (n, mut client) in clients.into_iter().enumerate() {
            let stop = &stop;
            scope.spawn(move || {
                let result = work(&mut client, web, ledger, round * CLIENTS + n, stop);
                // The connection may break, as it is meant to; the server must not say no.
                if let Err(failure @ (Failure::Problem(_) | Failure::Stuck(_))) = result {
                    panic!("under load: {failure:?}");
                }
            });
        }
        // A different moment each time: after a different number of acknowledgements.
        let enough = ledger.acknowledged.load(Ordering::Relaxed) + 1 + (round * 13) % 61;
        until("load", Duration::from_secs(60), || {
            (ledger.acknowledged.load(Ordering::Relaxed) >= enough).then_some(())
        });
        server.kill();
        stop.store(true, Ordering::Relaxed);
    });
}

/// Everything acknowledged is there and as it was.
fn audit(server: &Server, ledger: &Ledger) {
    let accounts = ledger.accounts.lock().unwrap().clone();
    let mut orders = ledger.orders.lock().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for account in &accounts {
                audit_account(server, account);
            }
        });
        let share = orders.len().div_ceil(4).max(1);
        for part in orders.chunks_mut(share) {
            scope.spawn(move || {
                let mut client: Option<Client> = None;
                for kept in part {
                    let same = client.as_ref().is_some_and(|c| c.kid.as_deref() == Some(&kept.account.url));
                    if !same {
                        client = Some(client_of(server, &kept.account));
                    }
                    audit_order(client.as_mut().unwrap(), kept);
                }
            });
        }
    });
}

fn audit_account(server: &Server, account: &Account) {
    let mut client = client_of(server, account);
    client.kid = None;
    let payload = json!({"onlyReturnExisting": true}).to_string();
    let reply = client.post(&client.endpoint("newAccount"), &payload).expect("the acknowledged account");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("location"), Some(account.url.as_str()));
    assert_eq!(reply.json()["status"], "valid");
}

fn audit_order(client: &mut Client, kept: &mut Kept) {
    let mut object = client.fetch(&kept.url).expect("the acknowledged order").json();
    let listed: BTreeSet<String> = object["authorizations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|url| url.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(listed, kept.authorizations);

    if let Some(request) = &kept.request {
        // The client that lost its answer asks again, with the same request.
        if object["status"] == "ready" {
            let payload = json!({"csr": b64(request)}).to_string();
            object = client.post(&kept.finalize, &payload).expect("the finalize again").json();
        }
        if object["status"] == "processing" {
            object = client.settle(&kept.url, &["processing"]).unwrap();
        }
        assert_eq!(object["status"], "valid", "{object}");
    }
    if let Some(shown) = object["certificate"].as_str() {
        let known = kept.certificate.get_or_insert_with(|| shown.to_owned());
        assert_eq!(known, shown, "the order shows another certificate");
        let pem = client.fetch(shown).expect("the acknowledged certificate").text();
        let known = kept.pem.get_or_insert_with(|| pem.clone());
        assert_eq!(*known, pem, "the certificate's URL shows another certificate");
    }
    assert!(kept.certificate.is_none() || object["status"] == "valid", "{object}");
}

#[test]
fn acknowledged_work_survives_kill_9() {
    let kills = env::var(KILLS_VARIABLE).ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS).max(KILLS);
    let mut server = Server::start();
    let web = Web::start(server.http_port);
    let ledger = Ledger::default();
    for round in 0..kills {
        load_and_kill(&mut server, &web, &ledger, round);
        server.serve();
        audit(&server, &ledger);
    }
    server.stop();
    // The log, kept over all restarts, tells of at most one certificate for each order.
    let told = server.issued_orders();
    assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), told.len(), "an order was issued twice");
    assert!(!told.is_empty(), "the log no longer says so");
    let orders = ledger.orders.lock().unwrap();
    let certificates = orders.iter().filter(|kept| kept.pem.is_some()).count();
    println!(
        "{kills} kills: {} accounts, {} orders, {certificates} certificates, all there",
        ledger.accounts.lock().unwrap().len(),
        orders.len(),
    );
    assert!(certificates >= kills, "too little load to mean anything");
}
