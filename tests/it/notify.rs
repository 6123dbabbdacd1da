//! `[[notify]]`: a real Alertmanager and a webhook hear of who is late, once, over a crash, and of the end.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use aws_lc_rs::hmac;
use serde_json::Value;

use crate::support::acme::Client;
use crate::support::ports;
use crate::support::process::{Finished, Running, run, until};
use crate::support::server::{Server, binary, provisioner};
use crate::support::web::Web;

/// An identity that lives a minute is late at the end of that minute.
const LIMIT: Duration = Duration::from_secs(90);
const TOKEN: &str = "token-of-the-test";
const SECRET: &str = "secret-of-the-test";

/// A webhook that answers with a status, and keeps what came with 200.
struct Hook {
    status: AtomicU16,
    got: Mutex<Vec<Value>>,
}

impl Hook {
    fn start(listener: TcpListener) -> Arc<Self> {
        let hook = Arc::new(Self { status: AtomicU16::new(503), got: Mutex::default() });
        let it = hook.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let it = it.clone();
                thread::spawn(move || while it.answer(&stream).is_some() {});
            }
        });
        hook
    }

    /// One request; `None` when the connection ends.
    fn answer(&self, mut stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line == "\r\n" {
                break;
            }
            let (name, value) = line.trim_end().split_once(':').unwrap_or((line.trim_end(), ""));
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        reader.read_exact(&mut body).ok()?;
        let status = self.status.load(Ordering::SeqCst);
        if status == 0 {
            // Taken, and never answered.
            thread::sleep(LIMIT);
        }
        if status == 200 {
            self.take(&headers, &body);
        }
        write!(stream, "HTTP/1.1 {status} Test\r\nContent-Length: 0\r\n\r\n").ok()
    }

    fn take(&self, headers: &BTreeMap<String, String>, body: &[u8]) {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = hmac::sign(&key, body);
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(headers["x-mayfly-signature-256"], format!("sha256={hex}"));
        assert_eq!(headers["authorization"], format!("Bearer {TOKEN}"));
        let value: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(headers["idempotency-key"], value["id"]);
        // As the README has it: behind a crash an event may come again, under the same id.
        let mut got = self.got.lock().unwrap();
        if got.iter().all(|known| known["id"] != value["id"]) {
            got.push(value);
        }
    }

    /// What came of an event of a trouble: names and keys.
    fn heard(&self, event: &str, trouble: &str) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let got = self.got.lock().unwrap();
        let mut of: Vec<_> = got
            .iter()
            .filter(|one| one["event"] == event && (trouble.is_empty() || one["trouble"] == trouble))
            .map(|one| (text(&one["identities"][0]["names"][0]), text(&one["key"])))
            .collect();
        of.sort();
        of
    }
}

/// GET of JSON over plain HTTP; `None` while nobody is there.
fn get(port: u16, path: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    serde_json::from_str(reply.split_once("\r\n\r\n")?.1).ok()
}

/// The alerts that are going on at an Alertmanager: which, and of what name.
fn going(port: u16) -> Option<Vec<(String, String)>> {
    let alerts = get(port, "/api/v2/alerts?active=true")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let shown = |alert: &Value| (text(&alert["labels"]["alertname"]), text(&alert["annotations"]["names"]));
    let mut all: Vec<_> = alerts.as_array()?.iter().map(shown).collect();
    all.sort();
    Some(all)
}

fn notify(server: &Server, args: &[&str]) -> Finished {
    let mut command = Command::new(binary());
    command.arg("notify").args(args).arg("--config").arg(server.config());
    run(&mut command, &server.scratch("cli").join("out"), LIMIT)
}

fn configure(server: &Server, change: impl FnOnce(&mut toml::Table)) {
    let mut table: toml::Table = fs::read_to_string(server.config()).unwrap().parse().unwrap();
    change(&mut table);
    fs::write(server.config(), toml::to_string(&table).unwrap()).unwrap();
}

fn receivers(server: &Server, hook: u16, alertmanager: u16) {
    for (name, text) in [("token", TOKEN), ("secret", SECRET)] {
        let path = server.dir().join("secrets").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
    let text = format!(
        "[[notify]]\nname = \"hook\"\ntype = \"webhook\"\nurl = \"http://127.0.0.1:{hook}/mayfly\"\n\
         token_file = \"secrets/token\"\nsecret_file = \"secrets/secret\"\ntimeout = \"2s\"\n\
         [[notify]]\nname = \"alertmanager\"\ntype = \"alertmanager\"\n\
         url = \"http://127.0.0.1:{alertmanager}\"\nrepeat = \"10s\"\n"
    );
    let parsed: toml::Table = text.parse().unwrap();
    configure(server, |config| {
        config.insert("notify".into(), parsed["notify"].clone());
        let acme = provisioner(config);
        acme.insert("min_ttl".into(), "1m".into());
        acme.insert("default_ttl".into(), "1m".into());
    });
}

#[test]
fn a_webhook_and_alertmanager_hear_of_who_is_late_and_of_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (hook_port, port) = (listener.local_addr().unwrap().port(), ports::free());
    let hook = Hook::start(listener);
    let mut server = Server::init_only(|_| {});
    receivers(&server, hook_port, port);
    server.serve();
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    let names = ["a.test", "b.test"];
    for name in names {
        client.issue(&web, &[name]).unwrap();
    }

    let home = server.scratch("alertmanager");
    fs::write(home.join("alertmanager.yml"), "route: { receiver: none }\nreceivers: [ { name: none } ]\n")
        .unwrap();
    let _alertmanager = Running::start(
        Command::new("prometheus-alertmanager")
            .args(["--config.file=alertmanager.yml", "--storage.path=alerts", "--cluster.listen-address="])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(&home),
        &home.join("alertmanager.log"),
    );
    until("Alertmanager", LIMIT, || going(port));

    let tested = notify(&server, &["test"]);
    assert!(!tested.status.success(), "{}", tested.output);
    for words in ["hook", "503 Service Unavailable", "acknowledged", "1 of 2 receivers did not acknowledge"] {
        assert!(tested.output.contains(words), "{words}: {}", tested.output);
    }
    hook.status.store(200, Ordering::SeqCst);
    let tested = notify(&server, &["test"]);
    assert!(tested.status.success(), "{}", tested.output);
    assert_eq!(hook.heard("test", "").len(), 1);
    let test = ("MayflyNotificationTest".to_owned(), String::new());
    until("the test at Alertmanager", LIMIT, || going(port)?.contains(&test).then_some(()));

    // Both are late; the webhook is told of each once, the process killed in between.
    let late: Vec<_> =
        names.iter().map(|name| ("MayflyIdentityOverdue".to_owned(), (*name).to_owned())).collect();
    until("those who are late at Alertmanager", LIMIT, || {
        let going = going(port)?;
        late.iter().all(|one| going.contains(one)).then_some(())
    });
    until("the same at the webhook", LIMIT, || (hook.heard("firing", "overdue").len() >= 2).then_some(()));
    server.kill();
    configure(&server, |config| {
        provisioner(config).insert("default_ttl".into(), "24h".into());
    });
    server.serve();
    let status =
        || -> Option<Value> { serde_json::from_str(&notify(&server, &["status", "--json"]).output).ok() };
    until("alerts told again to Alertmanager", LIMIT, || {
        let status = status()?;
        (status["receivers"][1]["delivered_at"].is_string() && status["receivers"][0]["alerts"] == 2)
            .then_some(())
    });
    let fired: Vec<_> = hook.heard("firing", "overdue");
    assert_eq!(fired.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);

    // Each renews, for longer.
    let mut client = Client::registered(&server);
    for name in names {
        client.issue(&web, &[name]).unwrap();
    }
    until("the end at Alertmanager", LIMIT, || {
        let of_ours = |going: &[(String, String)]| going.iter().any(|(_, of)| names.contains(&of.as_str()));
        (!of_ours(&going(port)?)).then_some(())
    });
    until("the end at the webhook", LIMIT, || (status()?["receivers"][0]["alerts"] == 0).then_some(()));
    until("nothing waits", LIMIT, || (status()?["receivers"][0]["pending"] == 0).then_some(()));
    assert_eq!(hook.heard("resolved", "overdue"), fired, "one end for each");
    assert_eq!(hook.heard("firing", "expired"), hook.heard("resolved", "expired"));
    let page = server.https().get("/metrics").unwrap().text();
    for kind in ["receiver=\"hook\",type=\"webhook\"", "receiver=\"alertmanager\",type=\"alertmanager\""] {
        let row = format!("mayfly_notifications_total{{{kind},result=\"delivered\"}} ");
        let count = page.lines().find_map(|line| line.strip_prefix(&row)).expect(&row);
        assert!(count.parse::<u64>().unwrap() >= 2, "{row}{count}");
    }
    assert!(!server.log().contains(TOKEN) && !server.log().contains(SECRET));

    // One that hangs holds up nobody, and not the end of the process.
    hook.status.store(0, Ordering::SeqCst);
    let testing = thread::spawn({
        let config = server.config();
        move || drop(Command::new(binary()).args(["notify", "test", "--config"]).arg(config).output())
    });
    client.issue(&web, &["c.test"]).unwrap();
    testing.join().unwrap();
    server.stop();
}
