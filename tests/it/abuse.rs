//! One client that never stops asking: what it takes on the disk and in memory, and what the others
//! notice of it. And a server that is killed at the worst moments: nobody has to begin anew.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::acme::{Client, authorizations, challenge, csr, identifiers};
use crate::support::process::until;
use crate::support::server::{Server, section};
use crate::support::web::Web;

/// The abuser comes from another network than the others.
const ABUSER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const OPEN: usize = 200;
/// Between the others' issuances.
const PACE: Duration = Duration::from_millis(30);

fn limited_server(open: usize) -> Server {
    Server::start_with(|config| {
        let limits = section(config, "limits");
        // Only those who are to be served whatever happens are exempt: nobody.
        limits.remove("exempt");
        limits.insert("open_orders".into(), i64::try_from(open).unwrap().into());
    })
}

/// Bytes of all files below.
fn disk(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?, entry.path())))
        .map(|(meta, path)| if meta.is_dir() { disk(&path) } else { meta.blocks() * 512 })
        .sum()
}

/// Resident bytes of a process.
fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

/// What came of the calls.
#[derive(Default)]
struct Told {
    opened: AtomicUsize,
    limited: AtomicUsize,
    busy: AtomicUsize,
}

/// `calls` newOrder requests of one account over so many connections, as fast as they go.
fn abuse(client: &Client, calls: usize, connections: usize, told: &Told) {
    let url = client.endpoint("newOrder");
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..connections {
            let (mut client, next, url) = (client.again(), &next, &url);
            scope.spawn(move || {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= calls {
                        return;
                    }
                    let payload =
                        json!({"identifiers": identifiers(&[&format!("n{n}.abuse.test")])}).to_string();
                    // A network that asks for too much gets no nonce either.
                    let Ok(jws) = client.jws(url, &payload) else {
                        told.limited.fetch_add(1, Ordering::Relaxed);
                        continue;
                    };
                    let reply = client.send(url, &jws.body()).unwrap();
                    let count = match reply.status {
                        201 => &told.opened,
                        429 => &told.limited,
                        503 => &told.busy,
                        _ => panic!("{reply:?}"),
                    };
                    if reply.status == 429 {
                        let wait: u64 = reply.header("retry-after").expect("Retry-After").parse().unwrap();
                        assert!(wait >= 1, "{reply:?}");
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
}

/// Whole issuances of other accounts until the flag is up; how long each took.
fn others(server: &Server, web: &Web, name: &str, stop: &AtomicBool) -> Vec<Duration> {
    let mut client = Client::registered(server);
    let mut took = Vec::new();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if n % 1_000 == 999 {
            // At a steady pace for minutes, one account would meet a limit of its own.
            client = Client::registered(server);
        }
        thread::sleep(PACE);
        let begun = Instant::now();
        client.issue(web, &[&format!("{name}{n}.others.test")]).expect("the others are served");
        took.push(begun.elapsed());
    }
    took
}

fn quantile(took: &[Duration], of: f64) -> Duration {
    let mut sorted = took.to_vec();
    sorted.sort();
    sorted.get((sorted.len() as f64 * of) as usize).or(sorted.last()).copied().unwrap_or_default()
}

struct Figures {
    told: Told,
    before: Vec<Duration>,
    meanwhile: Vec<Duration>,
    disk: u64,
    memory: (u64, u64),
    took: Duration,
}

/// The others alone for a while, then the abuser beside them.
fn measure(server: &Server, web: &Web, calls: usize, alone: Duration) -> Figures {
    let with_others = |name: &str, work: &mut dyn FnMut()| {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let served = scope.spawn(|| others(server, web, name, &stop));
            work();
            stop.store(true, Ordering::Relaxed);
            served.join().unwrap()
        })
    };
    let before = with_others("b", &mut || thread::sleep(alone));
    let mut client = Client::new(server);
    client.https.come_from(ABUSER);
    client.register().unwrap();
    let (told, at_first, begun) = (Told::default(), memory(server.pid()), Instant::now());
    let stored = disk(&server.dir().join("db"));
    let meanwhile = with_others("m", &mut || abuse(&client, calls, 8, &told));
    Figures {
        told,
        before,
        meanwhile,
        disk: disk(&server.dir().join("db")).saturating_sub(stored),
        memory: (at_first, memory(server.pid())),
        took: begun.elapsed(),
    }
}

#[test]
fn one_account_cannot_fill_the_disk_nor_stop_the_others() {
    let server = limited_server(OPEN);
    let web = Web::start(server.http_port);
    let figures = measure(&server, &web, 3_000, Duration::from_secs(2));
    let told = &figures.told;
    assert_eq!(told.opened.load(Ordering::Relaxed), OPEN);
    assert_eq!(
        told.opened.load(Ordering::Relaxed)
            + told.limited.load(Ordering::Relaxed)
            + told.busy.load(Ordering::Relaxed),
        3_000
    );
    assert!(!figures.meanwhile.is_empty(), "the others are served meanwhile");
}

/// The measured run: `cargo test --release --test it -- --ignored --nocapture abuse` with `MAYFLY_BIN` set to
/// the release build, on a machine with nothing else to do. `MAYFLY_TEST_CALLS` changes the number of calls.
#[test]
#[ignore = "a million calls; run it in release, on a quiet machine"]
fn a_million_new_orders() {
    let calls = std::env::var("MAYFLY_TEST_CALLS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let server = limited_server(3_000);
    let web = Web::start(server.http_port);
    let figures = measure(&server, &web, calls, Duration::from_secs(20));
    let Figures { told, before, meanwhile, disk, memory, took } = &figures;
    let count = |of: &AtomicUsize| of.load(Ordering::Relaxed);
    println!(
        "{calls} newOrder calls of one account in {took:.1?}, {:.0}/s",
        calls as f64 / took.as_secs_f64()
    );
    println!("  opened {}, 429 {}, 503 {}", count(&told.opened), count(&told.limited), count(&told.busy));
    println!("  the store grew by {} KiB (the others' certificates among it)", disk / 1024);
    println!("  the process: {} MiB before, {} MiB after", memory.0 >> 20, memory.1 >> 20);
    for (when, took) in [("alone", before), ("meanwhile", meanwhile)] {
        println!(
            "  others {when}: {} issuances, p50 {:.1?}, p99 {:.1?}, slowest {:.1?}",
            took.len(),
            quantile(took, 0.5),
            quantile(took, 0.99),
            quantile(took, 1.0),
        );
    }
    // What an account may open in the time the run takes, at the default rate, and its certificates' share.
    assert!(count(&told.opened) <= 3_000 + 2, "{}", count(&told.opened));
    assert!(*disk < 256 << 20, "{disk}");
    assert!(memory.1 < memory.0 + (128 << 20), "{memory:?}");
    assert!(quantile(meanwhile, 0.99) < Duration::from_secs(10));
}

/// kill -9 while a challenge is validated: the next start goes on by itself, and the client that comes back
/// finishes the order it has.
#[test]
fn a_kill_in_the_midst_of_a_validation_costs_no_order() {
    let mut server = Server::start();
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    let order = client.order(&["cut.test"]).unwrap();
    let url = authorizations(&order).remove(0);
    let authorization = client.fetch(&url).unwrap().json();
    let challenge = challenge(&authorization, "http-01");
    let token = challenge["token"].as_str().unwrap();
    web.set(token, &format!("{token}.{}", client.key.thumbprint()));
    web.silence(true);
    let reply = client.post(challenge["url"].as_str().unwrap(), "{}").unwrap();
    assert_eq!(reply.json()["status"], "processing", "{reply:?}");
    server.kill();
    web.silence(false);
    server.serve();
    // Nobody asks, and yet it is done.
    until("the validation taken up", Duration::from_secs(30), || {
        server.log().contains("validations=1").then_some(())
    });
    client.https.disconnect();
    let settled = client.settle(&url, &["pending", "processing"]).unwrap();
    assert_eq!(settled["status"], "valid", "{settled}");
    let (_, request) = csr(&["cut.test"]);
    let done = client.finalize(&order, &request).unwrap();
    assert_eq!((done.status(), done.url.as_str()), ("valid", order.url.as_str()));
    server.stop();
}
