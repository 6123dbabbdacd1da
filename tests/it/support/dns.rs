//! A DNS server over UDP and TCP for everything under `.test`.
//!
//! | name | A | AAAA |
//! |---|---|---|
//! | `*.v6.test` | none | ::1 |
//! | `*.dual.test` | 127.0.0.1 | ::1 |
//! | `*.none.test` | NXDOMAIN | NXDOMAIN |
//! | any other under `.test` | 127.0.0.1 | none |
//!
//! TXT records are files, one per value: `DIR/<name>/<value>`; client hook scripts add and remove
//! them with `mkdir`, `touch` and `rm` (see `hook.sh`), and there is nothing to get wrong. A file
//! that is not empty holds the value itself, for values that cannot be a file's name. CAA records
//! are lines `FLAGS TAG VALUE` of `DIR/.caa/<name>`.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CAA, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::acme::{b64, sha256};
use super::ports;

/// How often the listening threads look whether they should stop.
const TICK: Duration = Duration::from_millis(100);

/// The running server; its threads stop on drop.
pub struct Dns {
    pub port: u16,
    dir: Arc<tempfile::TempDir>,
    stop: Arc<AtomicBool>,
}

impl Dns {
    /// Starts serving on a free port of 127.0.0.1.
    pub fn start() -> Self {
        Self::start_on(ports::free())
    }

    /// Starts serving on that port of 127.0.0.1.
    pub fn start_on(port: u16) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let stop = Arc::new(AtomicBool::new(false));

        let udp = UdpSocket::bind(address).unwrap();
        udp.set_read_timeout(Some(TICK)).unwrap();
        thread::spawn({
            let (dir, stop) = (dir.clone(), stop.clone());
            move || serve_udp(&udp, dir.path(), &stop)
        });

        let tcp = TcpListener::bind(address).unwrap();
        tcp.set_nonblocking(true).unwrap();
        thread::spawn({
            let (dir, stop) = (dir.clone(), stop.clone());
            move || serve_tcp(&tcp, &dir, &stop)
        });
        Self { port, dir, stop }
    }

    /// Where the TXT records are; the hook script's `TXT_DIR`.
    pub fn txt_dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// Sets one TXT value (a name may have several).
    pub fn add_txt(&self, name: &str, value: &str) {
        let dir = self.dir.path().join(name.to_ascii_lowercase());
        fs::create_dir_all(&dir).unwrap();
        match value.contains('/') {
            true => fs::write(dir.join(b64(sha256(value))), value).unwrap(),
            false => fs::write(dir.join(value), "").unwrap(),
        }
    }

    /// Sets the CAA records of a name, each `FLAGS TAG VALUE`.
    pub fn set_caa(&self, name: &str, records: &[&str]) {
        let dir = self.dir.path().join(".caa");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(name), records.join("\n")).unwrap();
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn serve_udp(socket: &UdpSocket, dir: &Path, stop: &AtomicBool) {
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((n, peer)) = socket.recv_from(&mut buffer)
            && let Some(reply) = answer(&buffer[..n], dir)
        {
            let _ = socket.send_to(&reply, peer);
        }
    }
}

fn serve_tcp(listener: &TcpListener, dir: &Arc<tempfile::TempDir>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                let dir = dir.clone();
                thread::spawn(move || serve_stream(stream, dir.path()));
            }
            Err(_) => thread::sleep(TICK),
        }
    }
}

/// Length-prefixed messages until the peer is done (RFC 1035 section 4.2.2).
fn serve_stream(mut stream: TcpStream, dir: &Path) -> Option<()> {
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length).ok()?;
        let mut message = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut message).ok()?;
        let reply = answer(&message, dir)?;
        let mut framed = u16::try_from(reply.len()).ok()?.to_be_bytes().to_vec();
        framed.extend(reply);
        stream.write_all(&framed).ok()?;
    }
}

/// The reply to one query; none for what is no query.
fn answer(query: &[u8], dir: &Path) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    let question = query.queries.first()?.clone();
    let name = question.name.to_ascii().trim_end_matches('.').to_ascii_lowercase();

    let mut reply = Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
    reply.metadata.authoritative = true;
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;

    match records(&name, question.query_type, dir) {
        None => {
            reply.metadata.response_code = ResponseCode::NXDomain;
            reply.add_authority(soa());
        }
        Some(found) => {
            if found.is_empty() {
                reply.add_authority(soa());
            }
            for data in found {
                reply.add_answer(Record::from_rdata(question.name.clone(), 0, data));
            }
        }
    }
    reply.add_query(question);
    reply.to_vec().ok()
}

/// The records of a name, or none when there is no such name.
fn records(name: &str, kind: RecordType, dir: &Path) -> Option<Vec<RData>> {
    if name != "test" && !name.ends_with(".test") || name.ends_with("none.test") {
        return None;
    }
    let v6_only = name.ends_with("v6.test");
    let dual = name.ends_with("dual.test");
    Some(match kind {
        RecordType::A if !v6_only => vec![RData::A(A(Ipv4Addr::LOCALHOST))],
        RecordType::AAAA if v6_only || dual => vec![RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))],
        RecordType::TXT => fs::read_dir(dir.join(name))
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap())
            .map(|entry| match fs::read_to_string(entry.path()).unwrap_or_default() {
                empty if empty.is_empty() => entry.file_name().into_string().unwrap(),
                value => value,
            })
            .map(|value| RData::TXT(TXT::new(vec![value])))
            .collect(),
        RecordType::CAA => {
            fs::read_to_string(dir.join(".caa").join(name)).unwrap_or_default().lines().map(caa).collect()
        }
        RecordType::SOA if name == "test" => vec![soa().data],
        _ => Vec::new(),
    })
}

/// One record from its line.
fn caa(line: &str) -> RData {
    let mut parts = line.splitn(3, ' ');
    let mut next = || parts.next().unwrap_or_default();
    let flags: u8 = next().parse().unwrap();
    let mut data = CAA::new_issue(flags & 0x80 != 0, None, Vec::new());
    data.tag = next().to_owned();
    data.value = next().as_bytes().to_vec();
    RData::CAA(data)
}

/// Negative answers carry it, with a zero TTL so that nothing is remembered between tests.
fn soa() -> Record {
    let zone = Name::from_ascii("test.").unwrap();
    Record::from_rdata(zone.clone(), 0, RData::SOA(SOA::new(zone.clone(), zone, 1, 60, 60, 60, 0)))
}
