//! What the RFCs promise, row by row, against the server as a process.
//!
//! One row is a section, a title, what is sent, and what must come back. Rows stand in one file per
//! subject; a new subject is a new file with a `GROUPS` table, named in [`ALL`]. The sections are those
//! of the table that `mayfly acme conformance` prints: what it calls supported has rows here, and
//! nothing else has.
//!
//! `MAYFLY_CONFORMANCE=TEXT` runs only the rows whose name has TEXT in it.

mod accounts;
mod authorizations;
mod binding;
mod certificates;
mod csrs;
mod devices;
mod http;
mod identifiers;
mod jose;
mod key_change;
mod limits;
mod orders;
mod proofs;
mod renewal;
mod resources;
mod series;
mod world;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use serde_json::Value;

use crate::support::https::Reply;
use crate::support::process::output;
use crate::support::server::binary;
use world::World;

/// Every table.
const ALL: &[&[Group]] = &[
    jose::GROUPS,
    http::GROUPS,
    accounts::GROUPS,
    key_change::GROUPS,
    identifiers::GROUPS,
    orders::GROUPS,
    csrs::GROUPS,
    authorizations::GROUPS,
    certificates::GROUPS,
    resources::GROUPS,
    binding::GROUPS,
    renewal::GROUPS,
    proofs::GROUPS,
    series::GROUPS,
    devices::GROUPS,
    limits::GROUPS,
];

/// Rows of one section.
pub struct Group {
    /// As the table of the server has it: `RFC 8555 §6.2`.
    pub section: &'static str,
    pub cases: &'static [Case],
}

/// One row. Its name is the section's and its title, and no two are the same.
#[derive(Clone, Copy)]
pub struct Case {
    pub title: &'static str,
    pub send: fn(&mut World) -> Reply,
    pub want: Want,
}

pub const fn case(title: &'static str, send: fn(&mut World) -> Reply, want: Want) -> Case {
    Case { title, send, want }
}

/// What must come back.
#[derive(Clone, Copy)]
pub struct Want {
    status: u16,
    /// The type of the problem document, without its URN.
    problem: Option<&'static str>,
    checks: &'static [Check],
}

/// An answer of this status that is no problem document.
pub const fn ok(status: u16) -> Want {
    Want { status, problem: None, checks: &[] }
}

/// A refusal.
pub const fn refused(status: u16, problem: &'static str) -> Want {
    Want { status, problem: Some(problem), checks: &[] }
}

impl Want {
    /// And this.
    pub const fn and(self, checks: &'static [Check]) -> Self {
        Self { checks, ..self }
    }
}

/// One thing to look at. Fields are JSON pointers.
#[derive(Clone, Copy)]
pub enum Check {
    /// The header has this value.
    Header(&'static str, &'static str),
    /// The header is there.
    HasHeader(&'static str),
    /// The header is not there.
    NoHeader(&'static str),
    /// There is a `Link` of this relation.
    Link(&'static str),
    /// The field is this string.
    Is(&'static str, &'static str),
    /// The field is there and not null.
    Has(&'static str),
    /// The field is not there.
    Lacks(&'static str),
    /// The field is a text (or has an element) with this in it.
    Contains(&'static str, &'static str),
    /// The field is a list of this length.
    Length(&'static str, usize),
    /// The field is true.
    True(&'static str),
    /// The body is empty.
    Empty,
    /// Anything else; says what is wrong.
    That(fn(&Reply) -> Result<(), String>),
}

fn fails(check: &Check, reply: &Reply) -> Option<String> {
    let document = || serde_json::from_slice::<Value>(&reply.body).unwrap_or_default();
    let at = |pointer: &str| document().pointer(pointer).cloned().unwrap_or_default();
    match *check {
        Check::Header(name, want) => (reply.header(name) != Some(want))
            .then(|| format!("{name}: {:?}, not {want}", reply.header(name))),
        Check::HasHeader(name) => reply.header(name).is_none().then(|| format!("no {name}")),
        Check::NoHeader(name) => reply.header(name).map(|value| format!("{name}: {value}")),
        Check::Link(rel) => reply.link(rel).is_none().then(|| format!("no link {rel}")),
        Check::Is(pointer, want) => {
            (at(pointer) != want).then(|| format!("{pointer} is {}, not {want}", at(pointer)))
        }
        Check::Has(pointer) => at(pointer).is_null().then(|| format!("no {pointer}")),
        Check::Lacks(pointer) => document().pointer(pointer).map(|value| format!("{pointer} is {value}")),
        Check::Contains(pointer, part) => {
            let found = match at(pointer) {
                Value::String(text) => text.contains(part),
                Value::Array(list) => list.iter().any(|one| one == part),
                _ => false,
            };
            (!found).then(|| format!("{pointer} is {}, without {part}", at(pointer)))
        }
        Check::Length(pointer, want) => {
            let found = at(pointer).as_array().map(Vec::len);
            (found != Some(want)).then(|| format!("{pointer} has {found:?}, not {want}"))
        }
        Check::True(pointer) => (at(pointer) != true).then(|| format!("{pointer} is {}", at(pointer))),
        Check::Empty => (!reply.body.is_empty()).then(|| "a body".to_owned()),
        Check::That(look) => look(reply).err(),
    }
}

const URN: &str = "urn:ietf:params:acme:error:";

/// What is wrong with a reply, if anything; what holds for every reply is looked at every time.
fn verdict(want: &Want, reply: &Reply) -> Vec<String> {
    let mut wrong = Vec::new();
    if reply.status != want.status {
        wrong.push(format!("status {}, not {}", reply.status, want.status));
    }
    if reply.header("x-request-id").is_none() {
        wrong.push("no request id".to_owned());
    }
    let is_problem = reply.header("content-type") == Some("application/problem+json");
    if is_problem != (reply.status >= 400) {
        wrong.push("a problem document belongs to a refusal and to nothing else".to_owned());
    }
    if is_problem && !reply.body.is_empty() {
        let document: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let kind = document["type"].as_str().and_then(|kind| kind.strip_prefix(URN));
        if kind.is_none() || want.problem.is_some_and(|want| kind != Some(want)) {
            wrong.push(format!("type {:?}, not {:?}", document["type"], want.problem));
        }
        if document["status"] != reply.status {
            wrong.push(format!("the document says status {}", document["status"]));
        }
        if document["detail"].as_str().is_none_or(str::is_empty) {
            wrong.push("no detail".to_owned());
        }
        if reply.header("cache-control") != Some("no-store") {
            wrong.push("a problem that may be cached".to_owned());
        }
    }
    wrong.extend(want.checks.iter().filter_map(|check| fails(check, reply)));
    if !wrong.is_empty() {
        wrong.push(format!("{} {}", reply.status, reply.text()));
    }
    wrong
}

fn panicked(error: &(dyn std::any::Any + Send)) -> String {
    let text = error.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| error.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

fn rows() -> impl Iterator<Item = (&'static str, &'static Case)> {
    ALL.iter().copied().flatten().flat_map(|group| group.cases.iter().map(move |case| (group.section, case)))
}

fn name(section: &str, case: &Case) -> String {
    format!("{section}: {}", case.title)
}

#[test]
fn every_row_holds() {
    let only = std::env::var("MAYFLY_CONFORMANCE").unwrap_or_default();
    let mut world = World::new();
    let (mut run, mut broken) = (0, Vec::new());
    for (section, case) in rows().filter(|(section, case)| name(section, case).contains(&only)) {
        let wrong = match catch_unwind(AssertUnwindSafe(|| (case.send)(&mut world))) {
            Ok(reply) => verdict(&case.want, &reply),
            Err(error) => vec![panicked(&*error)],
        };
        run += 1;
        if !wrong.is_empty() {
            // A connection that was left in the middle of something is of no use to the next row.
            world.reconnect();
            broken.push(format!("{}\n    {}", name(section, case), wrong.join("\n    ")));
        }
    }
    println!("{} of {run} rows hold", run - broken.len());
    assert!(broken.is_empty(), "{} of {run} rows do not hold:\n{}", broken.len(), broken.join("\n"));
    assert!(run > 0, "no row is called {only}");
}

#[test]
fn rows_are_many_and_each_has_its_own_name() {
    let names: Vec<String> = rows().map(|(section, case)| name(section, case)).collect();
    let distinct: BTreeSet<&String> = names.iter().collect();
    let doubled: Vec<_> =
        names.iter().filter(|name| names.iter().filter(|other| other == name).count() > 1).collect();
    assert!(doubled.is_empty(), "rows of one name: {doubled:?}");
    assert!(distinct.len() >= 250, "{}", distinct.len());
}

/// What the server says of itself and what is tested are the same.
#[test]
fn what_is_called_supported_is_tested_and_nothing_else() {
    let said = output(Command::new(binary()).args(["acme", "conformance", "--json"]));
    let said: Value = serde_json::from_str(&said).unwrap();
    let offered = |feature: &Value| feature["state"] != "not offered";
    let sections = |list: Vec<&Value>| -> BTreeSet<String> {
        list.into_iter()
            .map(|f| format!("{} §{}", f["document"].as_str().unwrap(), f["section"].as_str().unwrap()))
            .collect()
    };
    let features = said["features"].as_array().unwrap();
    let supported = sections(features.iter().filter(|feature| offered(feature)).collect());
    let tested: BTreeSet<String> = rows().map(|(section, _)| section.to_owned()).collect();
    let untested: Vec<_> = supported.difference(&tested).collect();
    let unsaid: Vec<_> = tested.difference(&supported).collect();
    assert!(untested.is_empty(), "supported, and no row: {untested:?}");
    assert!(unsaid.is_empty(), "rows, and not said to be supported: {unsaid:?}");
}

/// A judge that lets everything pass would prove nothing.
#[test]
fn the_judge_sees_what_is_wrong() {
    let problem = |status: u16, body: &str| {
        Reply::made(
            status,
            &[
                ("content-type", "application/problem+json"),
                ("cache-control", "no-store"),
                ("x-request-id", "1"),
            ],
            body,
        )
    };
    let good = r#"{"type":"urn:ietf:params:acme:error:malformed","detail":"d","status":400}"#;
    let want = refused(400, "malformed");
    assert!(verdict(&want, &problem(400, good)).is_empty());
    for (status, body) in [
        (401, good),
        (400, r#"{"type":"malformed","detail":"d","status":400}"#),
        (400, r#"{"type":"urn:ietf:params:acme:error:badCSR","detail":"d","status":400}"#),
        (400, r#"{"type":"urn:ietf:params:acme:error:malformed","status":400}"#),
        (400, r#"{"type":"urn:ietf:params:acme:error:malformed","detail":"d"}"#),
    ] {
        assert!(!verdict(&want, &problem(status, body)).is_empty(), "{status} {body}");
    }
    let plain = Reply::made(
        200,
        &[("x-request-id", "1"), ("link", "<u>;rel=\"up\"")],
        r#"{"a":"b","l":["x"],"t":true}"#,
    );
    let rows: &[(Check, bool)] = &[
        (Check::Is("/a", "b"), true),
        (Check::Is("/a", "c"), false),
        (Check::Has("/a"), true),
        (Check::Has("/z"), false),
        (Check::Lacks("/z"), true),
        (Check::Lacks("/a"), false),
        (Check::Contains("/l", "x"), true),
        (Check::Contains("/l", "y"), false),
        (Check::Length("/l", 1), true),
        (Check::Length("/l", 2), false),
        (Check::True("/t"), true),
        (Check::True("/a"), false),
        (Check::Link("up"), true),
        (Check::Link("index"), false),
        (Check::HasHeader("link"), true),
        (Check::NoHeader("link"), false),
        (Check::Empty, false),
    ];
    for (row, (check, want)) in rows.iter().enumerate() {
        assert_eq!(fails(check, &plain).is_none(), *want, "row {row}");
    }
}
