//! Keys in files: what a running server gives away of them, which is nothing.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use super::support::process::output;
use super::support::server::{Server, binary, section};

const PASSWORD: &str = "zebra-Quartz-91-lingers-nowhere";

/// Encrypts the issuer's key and names the file with its password.
fn encrypt(server: &Server) -> Vec<u8> {
    let key = server.dir().join("secrets/intermediate_ca_key");
    let password = server.dir().join("secrets/password");
    private(&password, format!("{PASSWORD}\n"));
    let der = Command::new("openssl")
        .args(["pkcs8", "-topk8", "-nocrypt", "-outform", "DER", "-in"])
        .arg(&key)
        .output();
    let sealed = output(
        Command::new("openssl")
            .args(["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-iter", "1000", "-in"])
            .arg(&key)
            .arg("-passout")
            .arg(format!("file:{}", password.display())),
    );
    fs::write(&key, sealed).unwrap();
    der.unwrap().stdout
}

fn private(path: &Path, text: impl AsRef<[u8]>) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Whether any memory of a process that it may write to holds these bytes.
fn holds(pid: u32, needle: &[u8]) -> bool {
    let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut looked_at = 0;
    let mut found = false;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split_whitespace().next().unwrap().split_once('-').unwrap();
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        // In pieces that overlap: much of it is reserved only.
        let mut piece = vec![0; 1 << 20];
        for at in (from..to).step_by((1 << 20) - 128) {
            let length = usize::try_from((to - at).min(1 << 20)).unwrap();
            let Ok(read) = memory.read_at(&mut piece[..length], at) else { continue };
            looked_at += read;
            found |= piece[..read].windows(needle.len()).any(|window| window == needle);
        }
    }
    assert!(looked_at > 1 << 20, "only {looked_at} bytes of memory could be read");
    found
}

/// Neither the password nor the key as its file has it stays behind once the key is open; the test
/// finds what does stay, so that it can be believed.
#[test]
fn secrets_do_not_linger_in_memory() {
    let mut server = Server::init_only(|config| {
        section(config, "authority").insert("password_file".into(), "secrets/password".into());
        // So that an ordinary user's test may look into the memory of its own child.
        section(config, "server").insert("allow_core_dumps".into(), true.into());
    });
    let der = encrypt(&server);
    server.serve();
    assert!(holds(server.pid(), b"localhost"), "the server's own name is not found");
    assert!(!holds(server.pid(), PASSWORD.as_bytes()), "the password is in memory");
    // The middle of an unencrypted P-256 key: the private number.
    let private_number = &der[36..68];
    assert!(!holds(server.pid(), private_number), "the key is in memory as its file has it");
    assert!(!server.log().contains(PASSWORD));
    assert!(server.log().contains("allow_core_dumps"), "{}", server.log());
    server.stop();
}

/// The kernel gives the files of /proc/PID of a process without dumps to root, and keeps its memory from the others.
#[test]
fn no_core_dumps_unless_asked_for() {
    for allowed in [false, true] {
        let mut server = Server::init_only(|config| {
            section(config, "server").insert("allow_core_dumps".into(), allowed.into());
        });
        // Root's own processes look the same either way.
        let me = fs::metadata("/proc/self").unwrap().uid();
        let owner = if me == 0 { 65_534 } else { me };
        server.serve_as(owner);
        let pid = server.pid();
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        let shown = fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid();
        let none = core.split_whitespace().nth(4) == Some("0") && core.split_whitespace().nth(5) == Some("0");
        assert_eq!((shown == owner, none), (allowed, !allowed), "{core}; /proc/{pid}/environ is {shown}'s");
        server.stop();
    }
}

#[test]
fn passwords_from_the_environment_and_from_systemd() {
    let server = Server::init_only(|_| {});
    encrypt(&server);
    let text = fs::read_to_string(server.config()).unwrap();
    let credentials = server.scratch("credentials");
    private(&credentials.join("ca"), PASSWORD);
    let check = |key: &str, variables: &[(&str, &str)]| {
        fs::write(server.config(), text.replace("[authority]\n", &format!("[authority]\n{key}\n"))).unwrap();
        let mut command = Command::new(binary());
        command.arg("check-config").arg(server.config()).env_remove("CREDENTIALS_DIRECTORY");
        let out = command.envs(variables.iter().copied()).output().unwrap();
        let said = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
        assert!(!said.contains(PASSWORD), "{said}");
        (out.status.success(), said)
    };
    let env = "password_env = \"CA_PASSWORD\"";
    let credential = "password_credential = \"ca\"";
    let directory = credentials.to_str().unwrap();
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>);
    let rows: [Row<'_>; 7] = [
        (env, &[("CA_PASSWORD", PASSWORD)], None),
        (env, &[("CA_PASSWORD", "wrong")], Some("authority.key: the password does not open")),
        (env, &[("CA_PASSWORD", "")], Some("authority.password_env: the environment variable CA_PASSWORD")),
        (env, &[], Some("is not set")),
        (credential, &[("CREDENTIALS_DIRECTORY", directory)], None),
        (credential, &[], Some("LoadCredential=ca")),
        ("", &[], Some("password_env")),
    ];
    for (key, variables, want) in rows {
        let (good, said) = check(key, variables);
        assert_eq!(good, want.is_none(), "{key} {variables:?}: {said}");
        assert!(want.is_none_or(|want| said.contains(want)), "{key} {variables:?}: {said}");
    }
    fs::set_permissions(credentials.join("ca"), fs::Permissions::from_mode(0o644)).unwrap();
    let (good, said) = check(credential, &[("CREDENTIALS_DIRECTORY", directory)]);
    assert!(!good && said.contains("open to others"), "{said}");
}
