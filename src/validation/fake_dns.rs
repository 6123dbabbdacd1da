//! A small DNS server for tests: UDP and TCP on one port of 127.0.0.1, answering as a function
//! says, and keeping a list of what it was asked.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CAA, CNAME, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

/// What to answer.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Records, each with its owner.
    Records(Vec<(String, RData)>),
    /// An answer without records.
    Code(ResponseCode),
    /// No answer at all.
    Silence,
    /// Over UDP an empty answer with the TC bit, over TCP this one.
    Truncated(Vec<(String, RData)>),
}

/// NXDOMAIN.
pub(crate) const NX_DOMAIN: Answer = Answer::Code(ResponseCode::NXDomain);
/// NOERROR without records.
pub(crate) const NO_DATA: Answer = Answer::Code(ResponseCode::NoError);
/// SERVFAIL.
pub(crate) const SERV_FAIL: Answer = Answer::Code(ResponseCode::ServFail);

/// One query as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Lower case, with the final dot.
    pub(crate) name: String,
    pub(crate) kind: RecordType,
    pub(crate) tcp: bool,
}

type Zone = dyn Fn(&str, RecordType, usize) -> Answer + Send + Sync;

/// A running server; it ends with the value.
pub(crate) struct FakeDns {
    pub(crate) addr: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    _tasks: JoinSet<()>,
}

impl FakeDns {
    /// Answers by `zone(name without final dot, type, how often this was asked before)`.
    pub(crate) async fn start(
        zone: impl Fn(&str, RecordType, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            // The port may be taken in TCP: another try then.
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let addr = udp.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let zone: Arc<Zone> = Arc::new(zone);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(udp, asked.clone(), zone.clone()));
        tasks.spawn(serve_tcp(tcp, asked.clone(), zone));
        Self { addr, asked, _tasks: tasks }
    }

    /// A server that has the same addresses for every name.
    pub(crate) async fn of(addresses: &'static [&'static str]) -> Self {
        Self::start(move |name, kind, _| addresses_of(name, kind, addresses)).await
    }

    /// All queries so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How often `name` was asked for records of `kind`.
    pub(crate) fn count(&self, name: &str, kind: RecordType) -> usize {
        self.asked().iter().filter(|q| q.name == format!("{name}.") && q.kind == kind).count()
    }
}

/// Those of `addresses` that are of the family asked for.
pub(crate) fn addresses_of(name: &str, kind: RecordType, addresses: &[&str]) -> Answer {
    let records: Vec<_> = addresses
        .iter()
        .map(|text| rdata(text))
        .filter(|data| data.record_type() == kind)
        .map(|data| (name.to_owned(), data))
        .collect();
    if records.is_empty() { NO_DATA } else { Answer::Records(records) }
}

/// An A or AAAA record's data.
pub(crate) fn rdata(address: &str) -> RData {
    match address.parse().unwrap() {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}

/// A CNAME record's data.
pub(crate) fn alias(target: &str) -> RData {
    RData::CNAME(CNAME(Name::from_ascii(format!("{target}.")).unwrap()))
}

/// A TXT record's data, of several strings.
pub(crate) fn txt(strings: &[&str]) -> RData {
    RData::TXT(TXT::new(strings.iter().map(|s| (*s).to_owned()).collect()))
}

/// A CAA record's data.
pub(crate) fn caa(flags: u8, tag: &str, value: &str) -> RData {
    let mut data = CAA::new_issue(flags & 0x80 != 0, None, Vec::new());
    data.reserved_flags = flags & 0x7f;
    data.tag = tag.to_owned();
    data.value = value.as_bytes().to_vec();
    RData::CAA(data)
}

async fn serve_udp(socket: UdpSocket, asked: Arc<Mutex<Vec<Asked>>>, zone: Arc<Zone>) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        if let Some(reply) = reply(&buffer[..length], false, &asked, &zone) {
            let _ = socket.send_to(&reply, from).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, asked: Arc<Mutex<Vec<Asked>>>, zone: Arc<Zone>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let (asked, zone) = (asked.clone(), zone.clone());
        tokio::spawn(async move {
            while let Ok(length) = stream.read_u16().await {
                let mut query = vec![0; length.into()];
                if stream.read_exact(&mut query).await.is_err() {
                    break;
                }
                if let Some(reply) = reply(&query, true, &asked, &zone) {
                    let length = u16::try_from(reply.len()).unwrap();
                    let _ = stream.write_all(&[&length.to_be_bytes()[..], &reply].concat()).await;
                }
            }
        });
    }
}

fn reply(query: &[u8], tcp: bool, asked: &Mutex<Vec<Asked>>, zone: &Arc<Zone>) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    let question = query.queries.first()?.clone();
    let name = question.name().to_lowercase().to_ascii();
    let kind = question.query_type();
    let answer = {
        let mut asked = asked.lock().unwrap();
        let before = asked.iter().filter(|q| q.name == name && q.kind == kind).count();
        asked.push(Asked { name: name.clone(), kind, tcp });
        zone(name.trim_end_matches('.'), kind, before)
    };
    let mut message = Message::response(query.metadata.id, query.metadata.op_code);
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    message.add_query(question);
    let records = match answer {
        Answer::Silence => return None,
        Answer::Code(code) => {
            message.metadata.response_code = code;
            Vec::new()
        }
        Answer::Truncated(_) if !tcp => {
            message.metadata.truncation = true;
            Vec::new()
        }
        Answer::Records(records) | Answer::Truncated(records) => records,
    };
    for (owner, data) in records {
        let owner = Name::from_ascii(format!("{owner}.")).unwrap();
        message.add_answer(Record::from_rdata(owner, 300, data));
    }
    message.to_vec().ok()
}
