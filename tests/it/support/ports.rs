//! Free TCP+UDP ports, never the same one twice within a run.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the kernel's ephemeral range, so that no outgoing connection takes one between our look
/// and the server's bind.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that is free on both loopbacks, for TCP and UDP.
pub fn free() -> u16 {
    // Runs side by side on one machine start at different places.
    let start = (std::process::id() % 97) as u16 * 200;
    for _ in 0..COUNT {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let v4 = (Ipv4Addr::LOCALHOST, port);
        let v6 = (Ipv6Addr::LOCALHOST, port);
        if TcpListener::bind(v4).is_ok() && TcpListener::bind(v6).is_ok() && UdpSocket::bind(v4).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}
