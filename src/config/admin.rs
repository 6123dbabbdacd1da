//! `[admin]`: where operators reach the running CA, and who they are.

use std::path::{Path, PathBuf};

use super::check::socket_address;
use super::file::{Field, Section, shorten};
use super::problem::Findings;
use super::settings::{Admin, AdminListener, Server, Store};
use crate::provisioner::operator::OperatorName;

/// Entries of `clients`: each is somebody who may do everything.
const MOST_CLIENTS: usize = 100;

/// Longest path of a Unix socket that the system takes (107 bytes), less what the server puts to it
/// while it makes the socket.
const LONGEST_SOCKET: usize = 96;

/// Beside the store by default: where this CA may write, and what a second one may not share.
fn socket(section: &Section<'_>, store: &Store, base: &Path, findings: &mut Findings) -> PathBuf {
    let home = store.path.parent().unwrap_or(base);
    let given = section.get("socket").and_then(|field| field.non_empty(findings).map(|text| (field, text)));
    let socket = match &given {
        Some((_, text)) => base.join(text),
        None => home.join("admin.sock"),
    };
    let length = socket.as_os_str().len();
    if length > LONGEST_SOCKET || socket.file_name().is_none() {
        let line = given.as_ref().map(|(field, _)| field.line).or(section.line);
        let message = format!(
            "the socket's path would be {length} bytes long, and the system takes {LONGEST_SOCKET}: write \
             `socket = \"/run/mayfly/admin.sock\"` or another short path in [admin]"
        );
        let message = if length > LONGEST_SOCKET { message } else { "is not the path of a file".to_owned() };
        findings.error(line, "admin.socket", message);
    }
    socket
}

/// `[admin]`
pub(super) fn check(
    section: &Section<'_>,
    (server, store): (&Server, &Store),
    base: &Path,
    findings: &mut Findings,
) -> Admin {
    let dashboard = section.get("dashboard_on_loopback");
    let shown = dashboard.as_ref().and_then(|field| field.boolean(findings)).unwrap_or(false);
    // Where others than this machine come at all, who is meant is worth a word.
    if let Some(field) = dashboard.filter(|_| shown && !server.address.ip().is_loopback()) {
        let message =
            "everybody on this machine, and nobody else, may look at the dashboard without a certificate";
        findings.note(Some(field.line), &field.path, message);
    }
    Admin {
        socket: socket(section, store, base, findings),
        listener: listener(section, server, base, findings),
        dashboard_on_loopback: shown,
    }
}

fn listener(
    section: &Section<'_>,
    server: &Server,
    base: &Path,
    findings: &mut Findings,
) -> Option<AdminListener> {
    let clients = section.get("clients");
    let client_ca = section.get("client_ca");
    let Some(field) = section.get("address") else {
        for field in [clients, client_ca].into_iter().flatten() {
            field.error(
                findings,
                "lets nobody in without an `address` to come to; give one, or leave this out",
            );
        }
        return None;
    };
    let address = socket_address(&field, findings)?;
    if address == server.address {
        field.error(findings, "is [server] address; the admin API has an address of its own");
    }
    let before = findings.errors.len();
    let listed = clients.as_ref().map(|clients| names(clients, findings)).unwrap_or_default();
    if listed.is_empty() {
        if findings.errors.len() == before {
            let place = clients.as_ref().unwrap_or(&field);
            let message = "admin.clients is required with `address`, and may not be empty: without it everybody \
                           with a certificate from `client_ca` would command this CA; list whom you mean, such as \
                           `clients = [\"alice@example.com\", \"sha256:…\"]`";
            findings.error(Some(place.line), "admin.clients", message);
        }
        return None;
    }
    let ca = client_ca.as_ref().and_then(|field| field.non_empty(findings)).map(|path| base.join(path));
    if let Some(name) = listed.iter().find(|name| !name.is_fingerprint())
        && client_ca.is_none()
    {
        let message = format!(
            "is required, since clients has {name}: a name counts only in a certificate from a CA that is named; \
             list certificates by \"sha256:…\" to do without"
        );
        findings.error(Some(field.line), "admin.client_ca", message);
    }
    Some(AdminListener { address, client_ca: ca, clients: listed })
}

fn names(field: &Field<'_>, findings: &mut Findings) -> Vec<OperatorName> {
    let items = field.array(findings);
    if items.len() > MOST_CLIENTS {
        field.error(findings, format!("has {} entries; give at most {MOST_CLIENTS}", items.len()));
    }
    let mut names = Vec::new();
    for item in items.into_iter().take(MOST_CLIENTS) {
        let Some(text) = item.string(findings) else { continue };
        match OperatorName::parse(text) {
            Ok(name) if names.contains(&name) => {
                item.error(findings, format!("{name} is there twice; remove one"))
            }
            Ok(name) => names.push(name),
            Err(why) => item.error(findings, format!("{:?}: {why}", shorten(text))),
        }
    }
    names
}
