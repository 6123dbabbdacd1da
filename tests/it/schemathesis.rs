//! The admin API against its own description: schemathesis reads it from the server and asks for what it
//! allows and for what it does not.

use std::fs;
use std::io::copy;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::support::process::run;
use crate::support::server::{Server, provisioner};

const LIMIT: Duration = Duration::from_secs(150);

/// Leads a port to the socket, which schemathesis cannot reach by itself.
fn lead_to(socket: PathBuf) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), UnixStream::connect(&socket));
            // Once the server has stopped.
            let Ok(server) = server else { return };
            thread::spawn(move || join(&client, &server));
        }
    });
    port
}

fn join(client: &TcpStream, server: &UnixStream) {
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = copy(&mut &*client, &mut &*server);
            let _ = server.shutdown(Shutdown::Write);
        });
        let _ = copy(&mut &*server, &mut &*client);
        let _ = client.shutdown(Shutdown::Both);
    });
}

/// What a description cannot say (that a provisioner of that name is there, that a name is one) is refused with
/// 400 all the same, so what is valid by the description alone need not be accepted. Nobody signs in: who can
/// open the socket may ask.
const NOT_CHECKED: &str = "positive_data_acceptance,ignored_auth";

#[test]
fn the_admin_api_is_as_it_describes_itself() {
    let server = Server::start_with(|config| {
        provisioner(config).insert("eab".into(), "optional".into());
    });
    let port = lead_to(server.dir().join("admin.sock"));
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/py/bin/schemathesis");
    assert!(program.exists(), "{} is missing: run tests/run", program.display());
    let url = format!("http://127.0.0.1:{port}");
    let home = server.scratch("schemathesis");
    let mut command = Command::new(program);
    command
        .args(["run", &format!("{url}/openapi.json"), "--url", &url, "--no-color", "--no-shrink"])
        .args(["--phases", "coverage,fuzzing", "--max-examples", "10", "--seed", "20261128"])
        .args(["--exclude-checks", NOT_CHECKED, "--continue-on-failure", "--suppress-health-check", "all"])
        .current_dir(&home);
    let done = run(&mut command, &home.join("out"), LIMIT);
    assert!(done.status.success(), "{}", done.output);
    // It did ask: a description that does not read has nothing to fail.
    assert!(done.output.contains("Tested: ") && !done.output.contains("Tested: 0"), "{}", done.output);
    assert!(!server.log().contains("fault of ours"), "{}", server.log());
    let left: Vec<_> = fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.is_empty());
}
