//! Rate limits, at a server whose limits are small.

use serde_json::json;

use super::world::{World, reply};
use super::{Case, Check::*, Group, case, ok, refused};
use crate::support::acme::*;
use crate::support::https::Reply;

pub const GROUPS: &[Group] = &[Group { section: "RFC 8555 §6.6", cases: LIMITS }];

/// The answer to the order of that number, of somebody new.
fn order(w: &mut World, number: usize) -> Reply {
    let mut client = Client::registered(w.strict());
    for n in 1..number {
        client.order(&[&format!("n{n}.test")]).unwrap();
    }
    let url = client.endpoint("newOrder");
    reply(client.post(&url, &json!({"identifiers": identifiers(&["last.test"])}).to_string()))
}

fn change(w: &mut World, number: usize) -> Reply {
    let mut client = Client::registered(w.strict());
    let url = client.kid.clone().unwrap();
    let payload = |n: usize| json!({"contact": [format!("mailto:n{n}@a.test")]}).to_string();
    for n in 1..number {
        client.post(&url, &payload(n)).unwrap();
    }
    reply(client.post(&url, &payload(number)))
}

fn retry_after(reply: &Reply) -> Result<(), String> {
    match reply.header("retry-after").map(str::parse::<u64>) {
        Some(Ok(1..=3600)) => Ok(()),
        other => Err(format!("retry-after: {other:?}")),
    }
}

const LIMITS: &[Case] = &[
    case("as many orders as are allowed", |w| order(w, 2), ok(201)),
    case(
        "one more",
        |w| order(w, 3),
        refused(429, "rateLimited").and(&[That(retry_after), HasHeader("replay-nonce")]),
    ),
    case("as many changes as are allowed", |w| change(w, 1), ok(200)),
    case("one change more", |w| change(w, 2), refused(429, "rateLimited").and(&[That(retry_after)])),
    case(
        "reading goes on",
        |w| {
            let mut client = Client::registered(w.strict());
            let orders: Vec<Order> =
                (0..2).map(|n| client.order(&[&format!("n{n}.test")]).unwrap()).collect();
            assert!(client.order(&["last.test"]).is_err());
            reply(client.fetch(&orders[1].url))
        },
        ok(200).and(&[Is("/status", "pending")]),
    ),
];
