//! Plain queries by UDP: some for one name, by one socket of a random port.
//!
//! The DNS client has a socket for each query: five system calls more for the two that a validation begins
//! with, and a third more processor time. What is checked of an answer is what the client checks (RFC 5452 §4
//! to §9): from where it comes, its id, its question; whatever else comes is not looked at. There are networks
//! that let one answer through to a port and no other, so a query is not sent again from here: without an
//! answer soon, the client asks, from ports of its own.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::net::{self, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hickory_resolver::config::ResolverOpts;
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Query};
use hickory_resolver::proto::rr::{Name, RecordType};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::entropy::{Entropy, SystemEntropy};

/// How long an answer is waited for here at most; as long as the client waits before it asks once more.
const PATIENCE: Duration = Duration::from_millis(333);
/// Ports to try before the system is to choose one.
const PORTS: usize = 4;
/// The longest answer that is read; more than queries offer to take.
const LONGEST: usize = 4096;

/// A server, and how it is asked.
#[derive(Debug)]
pub(super) struct Plain {
    server: SocketAddr,
    options: DnsRequestOptions,
    /// No longer than the client may wait, so that enough is left for it.
    patience: Duration,
}

/// Queries under way, of one task.
pub(super) struct Asked {
    socket: UdpSocket,
    server: SocketAddr,
    patience: Duration,
    queries: Vec<DnsRequest>,
    /// As they come, each in its query's place; `None` inside is one that cannot be read.
    answers: Mutex<Vec<Option<Option<DnsResponse>>>>,
}

impl Plain {
    pub(super) fn new(server: SocketAddr, options: &ResolverOpts) -> Self {
        let mut request = DnsRequestOptions::default();
        request.recursion_desired = options.recursion_desired;
        request.use_edns = options.edns0;
        request.edns_payload_len = options.edns_payload_len;
        Self { server, options: request, patience: PATIENCE.min(options.timeout) }
    }

    /// Asks for records of these types; `None` if it cannot even begin.
    pub(super) fn ask(&self, name: &Name, kinds: &[RecordType]) -> Option<Asked> {
        let query =
            |kind: &RecordType| DnsRequest::from_query(Query::query(name.clone(), *kind), self.options);
        let queries: Vec<_> = kinds.iter().map(query).collect();
        let socket = self.socket()?;
        for query in &queries {
            let bytes = query.to_vec().ok()?;
            if socket.send_to(&bytes, self.server).ok()? != bytes.len() {
                return None;
            }
        }
        // The runtime would wait until it has seen that a new socket can send.
        let socket = UdpSocket::from_std(socket).ok()?;
        let answers = Mutex::new(vec![None; queries.len()]);
        Some(Asked { socket, server: self.server, patience: self.patience, queries, answers })
    }

    /// Of any port, the whole range of them (RFC 6056 §3.2).
    fn socket(&self) -> Option<net::UdpSocket> {
        let any: IpAddr = match self.server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let entropy: &dyn Entropy = &SystemEntropy::default();
        let ports = entropy.bytes::<{ 2 * PORTS }>();
        let ports = ports.chunks_exact(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
        let bound =
            ports.filter(|port| *port >= 1024).find_map(|port| net::UdpSocket::bind((any, port)).ok());
        let socket = bound.or_else(|| net::UdpSocket::bind((any, 0)).ok())?;
        socket.set_nonblocking(true).ok()?;
        Some(socket)
    }
}

impl Asked {
    /// The answer to the query in that place; `None` if there is none soon. For one task only, which may wait
    /// for several at once.
    pub(super) async fn answer(&self, place: usize) -> Option<DnsResponse> {
        timeout(self.patience, poll_fn(|cx| self.poll(cx, place))).await.ok().flatten()
    }

    fn poll(&self, cx: &mut Context<'_>, place: usize) -> Poll<Option<DnsResponse>> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(answer) = answers[place].take() {
                return Poll::Ready(answer);
            }
            let mut room = [const { MaybeUninit::uninit() }; LONGEST];
            let mut read = ReadBuf::uninit(&mut room);
            match self.socket.poll_recv_from(cx, &mut read) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(None),
                Poll::Ready(Ok(from)) => {
                    if let Some((of, answer)) = self.read(from, read.filled()) {
                        answers[of] = Some(answer);
                    }
                }
            }
        }
    }

    /// Which query this answers, and what it says.
    fn read(&self, from: SocketAddr, bytes: &[u8]) -> Option<(usize, Option<DnsResponse>)> {
        // Not the whole: an IPv6 address may come with a scope of its own.
        if (from.ip().to_canonical(), from.port()) != (self.server.ip().to_canonical(), self.server.port()) {
            return None;
        }
        let id = u16::from_be_bytes(*bytes.first_chunk()?);
        // Two queries may have the same, and then differ by their question.
        let mut asked = self.queries.iter().enumerate().filter(|(_, query)| query.id == id).peekable();
        let (first, _) = *asked.peek()?;
        let Ok(answer) = DnsResponse::from_buffer(bytes.to_vec()) else { return Some((first, None)) };
        let (of, _) = asked.find(|(_, query)| query.queries == answer.queries)?;
        Some((of, Some(answer)))
    }
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::op::Message;
    use hickory_resolver::proto::rr::Record;
    use tokio::time::Instant;

    use super::*;
    use crate::validation::fake_dns::rdata;

    const KINDS: [RecordType; 2] = [RecordType::AAAA, RecordType::A];

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    async fn socket() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").await.unwrap()
    }

    fn ask(server: &UdpSocket) -> Asked {
        let plain = Plain::new(server.local_addr().unwrap(), &ResolverOpts::default());
        plain.ask(&name("a.test."), &KINDS).unwrap()
    }

    async fn query(server: &UdpSocket) -> (Message, SocketAddr) {
        let mut buffer = [0; LONGEST];
        let (length, from) = server.recv_from(&mut buffer).await.unwrap();
        (Message::from_vec(&buffer[..length]).unwrap(), from)
    }

    /// An answer with one address.
    fn answer(id: u16, to: &Message, address: &str) -> Vec<u8> {
        let mut message = Message::response(id, to.metadata.op_code);
        message.queries.clone_from(&to.queries);
        message.add_answer(Record::from_rdata(to.queries[0].name.clone(), 1, rdata(address)));
        message.to_vec().unwrap()
    }

    fn said(answer: Option<DnsResponse>) -> String {
        answer.map_or_else(|| "nothing".to_owned(), |answer| answer.answers[0].data.to_string())
    }

    #[tokio::test]
    async fn each_answer_finds_its_query_also_where_two_have_one_id() {
        let server = socket().await;
        let mut asked = ask(&server);
        let id = asked.queries[0].id;
        asked.queries[1].metadata.id = id;
        let ((first, from), (second, _)) = (query(&server).await, query(&server).await);
        assert_eq!((first.queries[0].query_type, second.queries[0].query_type), (KINDS[0], KINDS[1]));
        server.send_to(&answer(id, &second, "10.0.0.1"), from).await.unwrap();
        server.send_to(&answer(id, &first, "fd00::1"), from).await.unwrap();
        assert_eq!(said(asked.answer(0).await), "fd00::1");
        assert_eq!(said(asked.answer(1).await), "10.0.0.1");
    }

    #[tokio::test]
    async fn what_is_no_answer_to_a_query_is_not_looked_at() {
        let (server, stranger) = (socket().await, socket().await);
        let asked = ask(&server);
        let ((_, from), (v4, _)) = (query(&server).await, query(&server).await);
        let id = v4.metadata.id;
        let mut other = v4.clone();
        other.queries[0].name = name("b.test.");
        let mut more = v4.clone();
        more.queries.push(other.queries[0].clone());
        let without = Message::response(id, v4.metadata.op_code);
        stranger.send_to(&answer(id, &v4, "10.6.6.1"), from).await.unwrap();
        for forged in [
            answer(!id, &v4, "10.6.6.2"),
            answer(id, &other, "10.6.6.3"),
            answer(id, &more, "10.6.6.4"),
            without.to_vec().unwrap(),
            vec![],
            vec![id.to_be_bytes()[0]],
        ] {
            server.send_to(&forged, from).await.unwrap();
        }
        server.send_to(&answer(id, &v4, "10.0.0.1"), from).await.unwrap();
        assert_eq!(said(asked.answer(1).await), "10.0.0.1");
    }

    #[tokio::test]
    async fn an_answer_that_cannot_be_read_is_not_waited_behind() {
        let server = socket().await;
        let asked = ask(&server);
        let (_, from) = query(&server).await;
        let (v4, _) = query(&server).await;
        // Cut off in its question; and a query where an answer should be.
        let cut = &answer(v4.metadata.id, &v4, "10.0.0.1")[..14];
        for wrong in [cut.to_vec(), v4.to_vec().unwrap()] {
            server.send_to(&wrong, from).await.unwrap();
            let begun = Instant::now();
            assert_eq!(said(asked.answer(1).await), "nothing");
            assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
        }
    }

    #[tokio::test]
    async fn a_silent_server_is_given_up() {
        let server = socket().await;
        let begun = Instant::now();
        let asked = ask(&server);
        assert_eq!(said(asked.answer(0).await), "nothing");
        assert!(begun.elapsed() >= PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_given_up_no_later_than_the_client_would() {
        let server = socket().await;
        let mut options = ResolverOpts::default();
        options.timeout = PATIENCE / 8;
        let begun = Instant::now();
        let asked = Plain::new(server.local_addr().unwrap(), &options).ask(&name("a.test."), &KINDS).unwrap();
        assert_eq!(said(asked.answer(0).await), "nothing");
        assert!((options.timeout..PATIENCE).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }
}
