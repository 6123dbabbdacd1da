//! The usual case of a lookup at a fraction of the DNS client's work: all questions at once over
//! one socket, and their answers. Whatever goes another way (silence, an error, a cut answer) is
//! left to the caller, who has the DNS client for it, with its retries and TCP.
//!
//! Against forged answers (RFC 5452 §9): every exchange has a random port, every question a random
//! ID, the socket is connected and so hears nobody but the server, and an answer must repeat the
//! question. What does not fit is passed over, not taken for an end.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use hickory_resolver::proto::op::{
    DEFAULT_MAX_PAYLOAD_LEN, DnsResponse, Edns, Message, MessageType, OpCode, Query,
};
use hickory_resolver::proto::rr::{DNSClass, Name, RecordType};
use tokio::net::UdpSocket as AsyncSocket;
use tokio::time::timeout;

use crate::entropy::Entropy;

/// How many ports are tried before the choice is left to the system.
const PORTS: usize = 10;
/// The lowest port to ask from (RFC 6056 §3.2).
const LOWEST_PORT: u16 = 1024;

/// The answers of `server` that came within `patience`, in the order of `kinds`.
pub(super) async fn exchange<const N: usize>(
    server: SocketAddr,
    name: &Name,
    kinds: [RecordType; N],
    edns: bool,
    patience: Duration,
    entropy: &dyn Entropy,
) -> [Option<DnsResponse>; N] {
    let mut heard = [const { None }; N];
    // Why there is no answer does not matter: the DNS client will meet the same trouble and say so.
    let _ = timeout(patience, talk(server, name, kinds, edns, entropy, &mut heard)).await;
    heard
}

async fn talk<const N: usize>(
    server: SocketAddr,
    name: &Name,
    kinds: [RecordType; N],
    edns: bool,
    entropy: &dyn Entropy,
    heard: &mut [Option<DnsResponse>; N],
) -> io::Result<()> {
    let socket = open(server, entropy)?;
    let ids = [(); N].map(|()| u16::from_be_bytes(entropy.bytes()));
    for (id, kind) in ids.into_iter().zip(kinds) {
        // Before the runtime knows the socket: a fresh one has room for these, so there is no
        // readiness to wait for.
        socket.send(&question(id, name, kind, edns)?)?;
    }
    let socket = AsyncSocket::from_std(socket)?;
    let mut buffer = [0; DEFAULT_MAX_PAYLOAD_LEN as usize];
    while heard.iter().any(Option::is_none) {
        let length = socket.recv(&mut buffer).await?;
        let Ok(response) = DnsResponse::from_buffer(buffer[..length].to_vec()) else { continue };
        let fits = |n: &usize| response.id == ids[*n] && repeats(&response, name, kinds[*n]);
        if let Some(n) = (0..N).find(fits) {
            heard[n].get_or_insert(response);
        }
    }
    Ok(())
}

fn question(id: u16, name: &Name, kind: RecordType, edns: bool) -> io::Result<Vec<u8>> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name.clone(), kind));
    if edns {
        message.edns.get_or_insert_with(Edns::new).set_max_payload(DEFAULT_MAX_PAYLOAD_LEN);
    }
    message.to_vec().map_err(io::Error::other)
}

fn repeats(response: &Message, name: &Name, kind: RecordType) -> bool {
    let [question] = response.queries.as_slice() else { return false };
    question.query_type() == kind && question.query_class() == DNSClass::IN && question.name() == name
}

/// A connected socket on a random port.
fn open(server: SocketAddr, entropy: &dyn Entropy) -> io::Result<UdpSocket> {
    let bound = |port| match server {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)),
    };
    let ports = std::iter::repeat_with(|| u16::from_be_bytes(entropy.bytes()));
    let socket = ports
        .take(PORTS)
        .filter(|port| *port >= LOWEST_PORT)
        .find_map(|port| bound(port).ok())
        .map_or_else(|| bound(0), Ok)?;
    socket.set_nonblocking(true)?;
    socket.connect(server)?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
