//! A DNS server (RFC 1035) for the names under test: UDP and TCP on one port of 127.0.0.1.
//!
//! Every name at or under the domain has the address 127.0.0.1 (and, if wanted, ::1) and the TXT
//! records of its dns-01 challenge; every other type has no data. Other domains are refused.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use super::BenchError;
use super::answers::Answers;

/// Seconds that an answer may be kept: none, each run has its own.
const TTL: u32 = 0;
/// Bytes of a reply over UDP (RFC 1035 §4.2.1); what is longer comes over TCP.
const UDP_MAX: usize = 512;
const HEADER: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_TXT: u16 = 16;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;
const NOT_IMPLEMENTED: u8 = 4;
const REFUSED: u8 = 5;
/// How long a TCP client may stay silent.
const SILENCE: Duration = Duration::from_secs(10);

/// A query with one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    id: u16,
    /// Opcode and RD, as they are to be echoed.
    flags: u16,
    /// Lower case, without the final dot.
    pub name: String,
    /// QTYPE.
    pub kind: u16,
    class: u16,
    question: Vec<u8>,
}

impl Query {
    /// Parses a message; `None` if it is no query with one well-formed question, which gets no
    /// answer.
    pub fn parse(message: &[u8]) -> Option<Self> {
        let field = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
        let flags = field(2)?;
        let is_response = flags & 0x8000 != 0;
        if is_response || field(4)? != 1 {
            return None;
        }
        let mut at = HEADER;
        let mut name = String::new();
        loop {
            let length = usize::from(*message.get(at)?);
            at += 1;
            match length {
                0 => break,
                // No compression in a question: there is nothing before it to point to.
                1..=63 => {
                    let label = std::str::from_utf8(message.get(at..at + length)?).ok()?;
                    if !name.is_empty() {
                        name.push('.');
                    }
                    name.push_str(label);
                    at += length;
                }
                _ => return None,
            }
            if name.len() > 253 {
                return None;
            }
        }
        name.make_ascii_lowercase();
        let question = message.get(HEADER..at + 4)?.to_vec();
        Some(Self {
            id: field(0)?,
            flags: flags & 0x7900,
            name,
            kind: field(at)?,
            class: field(at + 2)?,
            question,
        })
    }

    /// The reply with these records, or with an empty answer and a response code.
    fn reply(&self, answer: Result<&[Vec<u8>], u8>, max: usize) -> Vec<u8> {
        let (records, code) = match answer {
            Ok(records) => (records, 0),
            Err(code) => (&[][..], code),
        };
        let size = HEADER + self.question.len() + records.iter().map(|r| HEADER + r.len()).sum::<usize>();
        let truncated = size > max;
        let records = if truncated { &[][..] } else { records };
        // A response, authoritative.
        let mut flags = 0x8400 | self.flags | u16::from(code);
        if truncated {
            flags |= 0x0200;
        }
        let count = u16::try_from(records.len()).unwrap_or(u16::MAX);
        let mut out = Vec::with_capacity(size);
        for field in [self.id, flags, 1, count, 0, 0] {
            out.extend(field.to_be_bytes());
        }
        out.extend(&self.question);
        for data in records {
            // The owner is the question's name, which stands right after the header.
            out.extend([0xc0, HEADER as u8]);
            out.extend(self.kind.to_be_bytes());
            out.extend(CLASS_IN.to_be_bytes());
            out.extend(TTL.to_be_bytes());
            out.extend(u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
            out.extend(data);
        }
        out
    }
}

/// TXT data: strings of at most 255 bytes, each behind its length.
fn txt_data(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(255)
        .flat_map(|part| {
            std::iter::once(u8::try_from(part.len()).unwrap_or(u8::MAX)).chain(part.iter().copied())
        })
        .collect()
}

/// What the server knows.
#[derive(Clone, Debug)]
pub struct Zone {
    /// The domain, lower case.
    pub domain: String,
    /// Whether the names have ::1 too.
    pub ipv6: bool,
    /// The dns-01 values.
    pub answers: Arc<Answers>,
}

impl Zone {
    /// The reply to a message, at most `max` bytes long; `None` if it gets none.
    pub fn answer(&self, message: &[u8], max: usize) -> Option<Vec<u8>> {
        let query = Query::parse(message)?;
        if query.flags & 0x7800 != 0 || query.class != CLASS_IN {
            return Some(query.reply(Err(NOT_IMPLEMENTED), max));
        }
        let head = query.name.strip_suffix(&self.domain);
        if !head.is_some_and(|head| head.is_empty() || head.ends_with('.')) {
            return Some(query.reply(Err(REFUSED), max));
        }
        let records = match query.kind {
            TYPE_A => vec![Ipv4Addr::LOCALHOST.octets().to_vec()],
            TYPE_AAAA if self.ipv6 => vec![Ipv6Addr::LOCALHOST.octets().to_vec()],
            TYPE_TXT => self.answers.txt(&query.name).iter().map(|text| txt_data(text)).collect(),
            _ => Vec::new(),
        };
        Some(query.reply(Ok(&records), max))
    }
}

/// Serves on `port` of 127.0.0.1 (0: any; the address tells which) until the tasks are aborted.
pub async fn start(port: u16, zone: Zone) -> Result<(SocketAddr, [JoinHandle<()>; 2]), BenchError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listen = |error| BenchError::Listen(address, error);
    let tcp = TcpListener::bind(address).await.map_err(listen)?;
    let address = tcp.local_addr().map_err(listen)?;
    let udp = UdpSocket::bind(address).await.map_err(listen)?;
    let zone = Arc::new(zone);
    Ok((address, [tokio::spawn(serve_udp(udp, zone.clone())), tokio::spawn(serve_tcp(tcp, zone))]))
}

async fn serve_udp(socket: UdpSocket, zone: Arc<Zone>) {
    let mut buffer = [0; 4096];
    loop {
        // An error here is an ICMP word about an earlier reply.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        if let Some(reply) = zone.answer(&buffer[..length], UDP_MAX) {
            let _ = socket.send_to(&reply, from).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, zone: Arc<Zone>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(connection(stream, zone.clone()))),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn connection(mut stream: TcpStream, zone: Arc<Zone>) {
    while let Ok(Ok(length)) = tokio::time::timeout(SILENCE, stream.read_u16()).await {
        let mut message = vec![0; length.into()];
        match tokio::time::timeout(SILENCE, stream.read_exact(&mut message)).await {
            Ok(Ok(_)) => {}
            _ => return,
        }
        let Some(reply) = zone.answer(&message, usize::from(u16::MAX)) else { return };
        let length = u16::try_from(reply.len()).unwrap_or(u16::MAX);
        if stream.write_all(&[&length.to_be_bytes()[..], &reply].concat()).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use hickory_proto::op::{Message, OpCode, Query as Question, ResponseCode};
    use hickory_proto::rr::{Name, RData, RecordType};
    use proptest::prelude::*;

    use super::*;
    use crate::acme::challenge::ChallengeKind;
    use crate::jose::jwk::Thumbprint;

    fn zone(ipv6: bool) -> Zone {
        Zone { domain: "bench.test".into(), ipv6, answers: Arc::new(Answers::default()) }
    }

    fn query(name: &str, kind: RecordType) -> Vec<u8> {
        let mut message = Message::query();
        message.metadata.id = 77;
        message.metadata.recursion_desired = true;
        message.add_query(Question::query(Name::from_str(name).unwrap(), kind));
        message.to_vec().unwrap()
    }

    fn ask(zone: &Zone, name: &str, kind: RecordType) -> Message {
        let query = query(name, kind);
        let reply = zone.answer(&query, UDP_MAX).unwrap();
        // The question comes back as it was written, in its own mixture of cases.
        assert_eq!(reply[HEADER..query.len()], query[HEADER..]);
        let reply = Message::from_vec(&reply).unwrap();
        assert_eq!(reply.metadata.id, 77);
        reply
    }

    #[test]
    fn another_implementation_reads_the_answers() {
        let zone_4 = zone(false);
        let rows = [
            ("a.bench.test.", RecordType::A, ResponseCode::NoError, 1),
            ("A.bEnCh.TEST.", RecordType::A, ResponseCode::NoError, 1),
            ("bench.test.", RecordType::A, ResponseCode::NoError, 1),
            ("a.bench.test.", RecordType::AAAA, ResponseCode::NoError, 0),
            ("a.bench.test.", RecordType::CAA, ResponseCode::NoError, 0),
            ("abench.test.", RecordType::A, ResponseCode::Refused, 0),
            ("example.org.", RecordType::A, ResponseCode::Refused, 0),
        ];
        for (name, kind, code, count) in rows {
            let reply = ask(&zone_4, name, kind);
            assert_eq!((reply.metadata.response_code, reply.answers.len()), (code, count), "{name} {kind}");
        }
        let reply = ask(&zone_4, "a.bench.test.", RecordType::A);
        let RData::A(address) = &reply.answers[0].data else { panic!("no A") };
        assert_eq!(address.0, Ipv4Addr::LOCALHOST);
        let reply = ask(&zone(true), "a.bench.test.", RecordType::AAAA);
        let RData::AAAA(address) = &reply.answers[0].data else { panic!("no AAAA") };
        assert_eq!(address.0, Ipv6Addr::LOCALHOST);
    }

    #[test]
    fn txt_of_a_challenge_and_truncation() {
        let zone = zone(false);
        let place = |token: &str| {
            zone.answers.place(ChallengeKind::Dns01, "a.bench.test", token, Thumbprint([1; 32])).unwrap();
        };
        place("t");
        let reply = ask(&zone, "_acme-challenge.a.bench.test.", RecordType::TXT);
        let RData::TXT(txt) = &reply.answers[0].data else { panic!("no TXT") };
        let wanted = zone.answers.txt("_acme-challenge.a.bench.test")[0].clone();
        assert_eq!(txt.txt_data.concat(), wanted.into_bytes());
        for index in 0..20 {
            place(&index.to_string());
        }
        let query = query("_acme-challenge.a.bench.test.", RecordType::TXT);
        let short = Message::from_vec(&zone.answer(&query, UDP_MAX).unwrap()).unwrap();
        assert!(short.metadata.truncation && short.answers.is_empty());
        let long = Message::from_vec(&zone.answer(&query, 65535).unwrap()).unwrap();
        assert_eq!((long.metadata.truncation, long.answers.len()), (false, 21));
    }

    #[test]
    fn long_texts_are_cut_into_strings() {
        let data = txt_data(&"x".repeat(300));
        assert_eq!((data.len(), data[0], data[256]), (302, 255, 45));
    }

    #[test]
    fn what_is_no_query_gets_no_answer() {
        let zone = zone(false);
        let good = query("a.bench.test.", RecordType::A);
        for length in 0..good.len() {
            assert_eq!(zone.answer(&good[..length], UDP_MAX), None, "{length}");
        }
        let with = |at: usize, byte: u8| {
            let mut message = good.clone();
            message[at] = byte;
            message
        };
        assert_eq!(zone.answer(&with(2, 0x80), UDP_MAX), None, "a response");
        assert_eq!(zone.answer(&with(5, 2), UDP_MAX), None, "two questions");
        assert_eq!(zone.answer(&with(HEADER, 0xc0), UDP_MAX), None, "a pointer");
        let mut update = Message::from_vec(&good).unwrap();
        update.metadata.op_code = OpCode::Notify;
        let reply = zone.answer(&update.to_vec().unwrap(), UDP_MAX).unwrap();
        assert_eq!(Message::from_vec(&reply).unwrap().metadata.response_code, ResponseCode::NotImp);
    }

    proptest! {
        #[test]
        fn never_panics(message: Vec<u8>) {
            let _ = zone(true).answer(&message, UDP_MAX);
        }

        #[test]
        fn never_panics_on_a_changed_query(at in 0usize..30, byte: u8) {
            let mut message = query("a.bench.test.", RecordType::A);
            message[at] = byte;
            let _ = zone(true).answer(&message, UDP_MAX);
        }
    }

    #[tokio::test]
    async fn both_transports() {
        let (address, tasks) = start(0, zone(false)).await.unwrap();
        let ask = query("a.bench.test.", RecordType::A);
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        udp.send_to(&ask, address).await.unwrap();
        let mut buffer = [0; 512];
        let length = udp.recv(&mut buffer).await.unwrap();
        let mut tcp = TcpStream::connect(address).await.unwrap();
        for _ in 0..2 {
            tcp.write_u16(u16::try_from(ask.len()).unwrap()).await.unwrap();
            tcp.write_all(&ask).await.unwrap();
            let mut reply = vec![0; tcp.read_u16().await.unwrap().into()];
            tcp.read_exact(&mut reply).await.unwrap();
            assert_eq!(reply, &buffer[..length]);
        }
        tasks.iter().for_each(JoinHandle::abort);
    }
}
