use std::collections::HashSet;

use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType::{A, AAAA, TXT};

use super::*;
use crate::entropy::{SeededEntropy, SystemEntropy};

const PATIENCE: Duration = Duration::from_millis(300);

fn name() -> Name {
    Name::from_ascii("a.test.").unwrap()
}

fn asker(server: &UdpSocket) -> impl Future<Output = [Option<DnsResponse>; 2]> + use<> {
    let addr = server.local_addr().unwrap();
    async move { exchange(addr, &name(), [AAAA, A], true, PATIENCE, &SystemEntropy::default()).await }
}

/// A server that is handed both questions, with where they came from.
async fn served(
    reply: impl FnOnce(&UdpSocket, SocketAddr, [Message; 2]) + Send + 'static,
) -> [Option<u16>; 2] {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let asker = asker(&server);
    let served = tokio::task::spawn_blocking(move || {
        let mut buffer = [0; 512];
        let mut from = None;
        let questions = [(); 2].map(|()| {
            let (length, addr) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(*from.get_or_insert(addr), addr, "one socket for both");
            Message::from_vec(&buffer[..length]).unwrap()
        });
        reply(&server, from.unwrap(), questions);
    });
    let heard = asker.await.map(|response| response.map(|response| response.response_code.into()));
    served.await.unwrap();
    heard
}

/// An answer without records, whose code tells it from others.
fn answer(to: &Message, code: ResponseCode) -> Message {
    let mut message = Message::response(to.metadata.id, OpCode::Query);
    message.metadata.response_code = code;
    message.queries.clone_from(&to.queries);
    message
}

#[tokio::test]
async fn answers_in_any_order_find_their_questions() {
    let heard = served(|server, from, [v6, v4]| {
        assert_eq!((v6.queries[0].query_type(), v4.queries[0].query_type()), (AAAA, A));
        assert!(v6.metadata.recursion_desired && v6.edns.is_some());
        for (question, code) in [(&v4, ResponseCode::NXDomain), (&v6, ResponseCode::Refused)] {
            server.send_to(&answer(question, code).to_vec().unwrap(), from).unwrap();
        }
    })
    .await;
    assert_eq!(heard, [Some(5), Some(3)]);
}

#[tokio::test]
async fn forgeries_are_passed_over() {
    let heard = served(|server, from, [v6, v4]| {
        let bad = |change: &dyn Fn(&mut Message)| {
            let mut message = answer(&v6, ResponseCode::NoError);
            change(&mut message);
            message.to_vec().unwrap()
        };
        let other = |name: &str, kind| Query::query(Name::from_ascii(name).unwrap(), kind);
        let forgeries = [
            bad(&|m| m.metadata.id ^= 1),
            bad(&|m| m.queries[0] = other("b.test.", AAAA)),
            bad(&|m| m.queries[0] = other("a.test.", TXT)),
            bad(&|m| m.queries.clear()),
            bad(&|m| m.queries.push(other("a.test.", AAAA))),
            // The question itself, sent back.
            v6.to_vec().unwrap(),
            // The other question's ID, unless both are the same by chance.
            bad(&|m| m.metadata.id = v4.metadata.id ^ u16::from(v4.metadata.id == m.metadata.id)),
            b"junk".to_vec(),
            Vec::new(),
        ];
        for forgery in &forgeries {
            server.send_to(forgery, from).unwrap();
        }
        // The right answer, from elsewhere.
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        stranger.send_to(&bad(&|_| ()), from).unwrap();
        for question in [&v6, &v4] {
            server.send_to(&answer(question, ResponseCode::NXDomain).to_vec().unwrap(), from).unwrap();
            // Whatever comes second is too late.
            server.send_to(&answer(question, ResponseCode::Refused).to_vec().unwrap(), from).unwrap();
        }
    })
    .await;
    assert_eq!(heard, [Some(3), Some(3)]);
}

#[tokio::test]
async fn silence_ends_with_the_patience_and_keeps_what_was_heard() {
    let begun = tokio::time::Instant::now();
    let heard = served(|server, from, [_, v4]| {
        server.send_to(&answer(&v4, ResponseCode::NXDomain).to_vec().unwrap(), from).unwrap();
    })
    .await;
    assert_eq!(heard, [None, Some(3)]);
    assert!(begun.elapsed() >= PATIENCE && begun.elapsed() < 3 * PATIENCE, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_closed_port_is_known_at_once() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let asker = asker(&server);
    drop(server);
    let begun = tokio::time::Instant::now();
    assert!(asker.await.iter().all(Option::is_none));
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}

#[test]
fn ports_are_spread_over_the_whole_range() {
    let server = "127.0.0.1:53".parse().unwrap();
    let entropy = SeededEntropy::new(1);
    let ports: HashSet<u16> =
        (0..200).map(|_| open(server, &entropy).unwrap().local_addr().unwrap().port()).collect();
    assert!(ports.len() > 190, "{}", ports.len());
    assert!(ports.iter().any(|port| *port < 16_000) && ports.iter().any(|port| *port > 61_000));
    assert!(ports.iter().all(|port| *port >= LOWEST_PORT));
}
