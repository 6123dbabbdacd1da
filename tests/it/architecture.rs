//! The walls between the rooms: who may `use crate::…` whom, as lib.rs states it.
//!
//! Test modules are exempt (files named `tests.rs` and everything after `#[cfg(test)] mod`).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The floor that every room stands on.
const FLOOR: &[&str] = &["id", "time", "entropy"];
const FORMATS: &[&str] = &["x509", "jose"];
/// `attestation` is a part of the core that knows nothing of the others.
const CORE: &[&str] =
    &["acme", "attestation", "authority", "provisioner", "policy", "audit", "limits", "fleet"];
const ADAPTERS: &[&str] = &["storage", "validation", "keystore", "notify"];

/// A room and what it may use besides itself.
struct Room {
    name: &'static str,
    may_use: &'static [&'static [&'static str]],
}

const ROOMS: &[Room] = &[
    Room {
        name: "cli",
        may_use: &[
            &["daemon", "bench", "client", "config", "http", "wire", "service", "telemetry"],
            ADAPTERS,
            CORE,
            FORMATS,
            FLOOR,
        ],
    },
    Room {
        name: "daemon",
        may_use: &[
            &["config", "http", "wire", "service", "telemetry", "outbound"],
            ADAPTERS,
            CORE,
            FORMATS,
            FLOOR,
        ],
    },
    Room { name: "bench", may_use: &[&["client", "wire"], ADAPTERS, CORE, FORMATS, FLOOR] },
    Room { name: "client", may_use: &[&["wire"], FORMATS, FLOOR] },
    Room {
        name: "config",
        may_use: &[&["acme", "authority", "provisioner", "policy", "attestation", "limits"], FLOOR],
    },
    Room { name: "http", may_use: &[&["wire", "service", "telemetry"], ADAPTERS, CORE, FORMATS, FLOOR] },
    Room { name: "wire", may_use: &[&["acme"], FORMATS, FLOOR] },
    Room { name: "service", may_use: &[&["telemetry"], ADAPTERS, CORE, FORMATS, FLOOR] },
    Room { name: "storage", may_use: &[&["telemetry"], CORE, FORMATS, FLOOR] },
    Room { name: "validation", may_use: &[CORE, FORMATS, FLOOR] },
    Room { name: "keystore", may_use: &[&["outbound"], CORE, FORMATS, FLOOR] },
    // Its credentials are read as passwords are.
    Room { name: "notify", may_use: &[&["keystore", "outbound"], CORE, FORMATS, FLOOR] },
    Room { name: "outbound", may_use: &[] },
    Room { name: "acme", may_use: &[CORE, FORMATS, FLOOR] },
    Room { name: "attestation", may_use: &[&["x509"], FLOOR] },
    Room { name: "authority", may_use: &[CORE, FORMATS, FLOOR] },
    Room { name: "provisioner", may_use: &[CORE, FORMATS, FLOOR] },
    Room { name: "policy", may_use: &[CORE, FORMATS, FLOOR] },
    Room { name: "audit", may_use: &[CORE, FORMATS, FLOOR] },
    // Knows no ACME: what is counted are keys and times.
    Room { name: "limits", may_use: &[FLOOR] },
    Room { name: "fleet", may_use: &[&["acme"], FORMATS, FLOOR] },
    Room { name: "x509", may_use: &[FORMATS, FLOOR] },
    Room { name: "jose", may_use: &[FORMATS, FLOOR] },
    Room { name: "telemetry", may_use: &[&["acme", "limits", "x509", "outbound"], FLOOR] },
    Room { name: "id", may_use: &[FLOOR] },
    Room { name: "time", may_use: &[] },
    Room { name: "entropy", may_use: &[] },
];

/// Rooms without sockets, files, an async runtime or an environment.
const PURE: &[&str] = &[
    "acme",
    "attestation",
    "authority",
    "provisioner",
    "policy",
    "audit",
    "limits",
    "fleet",
    "x509",
    "jose",
    "id",
];
const OUTSIDE: &[&str] =
    &["tokio::", "hyper::", "std::net::Tcp", "std::net::Udp", "std::fs", "std::env", "std::process"];

fn rust_files(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().unwrap() != "tests" {
                rust_files(&path, into);
            }
        } else if path.extension().is_some_and(|e| e == "rs") && path.file_name().unwrap() != "tests.rs" {
            into.push(path);
        }
    }
}

/// The room of a source file; none for main.rs and lib.rs, which are above all rooms.
fn room(path: &Path, src: &Path) -> Option<String> {
    let first = path.strip_prefix(src).unwrap().components().next()?;
    let name = first.as_os_str().to_str()?.trim_end_matches(".rs").to_owned();
    (name != "main" && name != "lib").then_some(name)
}

/// The code of a file: no comments, nothing from its test module on.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    text[..end].lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The rooms named in `crate::room` and `use crate::{room, …}`.
fn used(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            Some(list) => {
                let mut depth = 0;
                let mut name = String::new();
                // The names at the outermost level of the braces.
                for c in list.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => rooms.extend(first_segment(&std::mem::take(&mut name))),
                        _ if depth == 0 => name.push(c),
                        _ => {}
                    }
                }
                rooms.extend(first_segment(&name));
            }
            None => rooms.extend(first_segment(after)),
        }
    }
    rooms
}

fn first_segment(path: &str) -> Option<String> {
    let name: String = path.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    // Items at the crate's root, such as macros, are no rooms.
    ROOMS.iter().any(|room| room.name == name).then_some(name)
}

fn sources() -> Vec<(PathBuf, String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    files
        .into_iter()
        .filter_map(|path| {
            let room = room(&path, &src)?;
            let code = code(&fs::read_to_string(&path).unwrap());
            Some((path, room, code))
        })
        .collect()
}

#[test]
fn arrows_point_inwards() {
    let mut broken = Vec::new();
    for (path, name, code) in sources() {
        let Some(room) = ROOMS.iter().find(|room| room.name == name) else {
            broken.push(format!("{}: the room {name} is not on the map", path.display()));
            continue;
        };
        for other in used(&code) {
            if other != name && !room.may_use.iter().any(|group| group.contains(&other.as_str())) {
                broken.push(format!("{}: {name} → {other}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "arrows that lib.rs does not allow:\n{}", broken.join("\n"));
}

#[test]
fn the_core_is_pure() {
    let mut broken = Vec::new();
    for (path, name, code) in sources() {
        if PURE.contains(&name.as_str()) {
            for outside in OUTSIDE {
                if code.contains(outside) {
                    broken.push(format!("{}: {outside}", path.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "the core reaches outside:\n{}", broken.join("\n"));
}

#[test]
fn the_reader_of_arrows_sees_them() {
    let text = "use crate::{acme::{self, order}, time};\nuse crate::x509::der;\nlet a = crate::jose::b();\n// crate::http\n#[cfg(test)]\nmod tests { use crate::cli; }";
    let seen: Vec<_> = used(&code(text)).into_iter().collect();
    assert_eq!(seen, ["acme", "jose", "time", "x509"]);
}
