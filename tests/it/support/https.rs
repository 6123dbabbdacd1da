//! A blocking HTTP/1.1 client over TLS: just enough, and nothing shared with the server's stack
//! above TLS, so that the two cannot agree on a mistake.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// One that no server has sent, for those who judge replies.
    pub fn made(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { status, headers, body: body.as_bytes().to_vec() }
    }

    /// The first value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// All values of a header.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The target of the `Link` with this relation.
    pub fn link(&self, rel: &str) -> Option<&str> {
        let wanted = format!("rel=\"{rel}\"");
        self.all("link")
            .flat_map(|value| value.split(','))
            .find(|link| link.contains(&wanted))
            .and_then(|link| link.split('<').nth(1)?.split('>').next())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }
}

/// A client of one server: one kept-alive connection, opened when needed.
pub struct Https {
    config: Arc<ClientConfig>,
    port: u16,
    /// The loopback address it comes from: another network to the server.
    from: Ipv4Addr,
    stream: Option<BufReader<StreamOwned<ClientConnection, TcpStream>>>,
}

impl Https {
    /// For `https://localhost:port`, trusting the roots in the file.
    pub fn new(port: u16, trust: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(trust).unwrap() {
            roots.add(root.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { config: Arc::new(config), port, from: Ipv4Addr::LOCALHOST, stream: None }
    }

    /// Another client of the same server, with a connection of its own.
    pub fn another(&self) -> Self {
        Self { config: self.config.clone(), port: self.port, from: self.from, stream: None }
    }

    /// Comes from another address of 127.0.0.0/8 from now on.
    pub fn come_from(&mut self, from: Ipv4Addr) {
        self.from = from;
        self.stream = None;
    }

    /// One request; nothing is tried twice, so that an error leaves it open whether it arrived.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> io::Result<Reply> {
        let path = path.strip_prefix(&format!("https://localhost:{}", self.port)).unwrap_or(path);
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost:{}\r\n", self.port);
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = body {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend(body.unwrap_or_default());

        // Taken out, so that a connection that failed is not used again.
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        stream.get_mut().write_all(&bytes)?;
        stream.get_mut().flush()?;
        let reply = read_reply(&mut stream, method)?;
        if !reply.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close")) {
            self.stream = Some(stream);
        }
        Ok(reply)
    }

    /// A GET without headers.
    pub fn get(&mut self, path: &str) -> io::Result<Reply> {
        self.send("GET", path, &[], None)
    }

    /// Sends these bytes as they are, over a connection of their own.
    pub fn raw(&mut self, request: &[u8]) -> io::Result<Reply> {
        let mut stream = self.connect()?;
        stream.get_mut().write_all(request)?;
        stream.get_mut().flush()?;
        let method = request.split(|byte| *byte == b' ').next().unwrap_or_default();
        read_reply(&mut stream, &String::from_utf8_lossy(method))
    }

    /// The certificate of the server, as a new connection shows it.
    pub fn peer_certificate(&mut self) -> Option<Vec<u8>> {
        self.get("/livez").ok()?;
        Some(self.stream.as_ref()?.get_ref().conn.peer_certificates()?.first()?.to_vec())
    }

    /// The key exchange of the open connection.
    pub fn key_exchange(&self) -> Option<rustls::NamedGroup> {
        Some(self.stream.as_ref()?.get_ref().conn.negotiated_key_exchange_group()?.name())
    }

    /// Gives up the connection, as one must after the server has restarted.
    pub fn disconnect(&mut self) {
        self.stream = None;
    }

    fn connect(&self) -> io::Result<BufReader<StreamOwned<ClientConnection, TcpStream>>> {
        let tcp = match self.from {
            Ipv4Addr::LOCALHOST => TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?,
            from => connect_from(from, self.port)?,
        };
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(Duration::from_secs(30)))?;
        tcp.set_write_timeout(Some(Duration::from_secs(30)))?;
        let name = "localhost".try_into().unwrap();
        let tls = ClientConnection::new(self.config.clone(), name).map_err(io::Error::other)?;
        Ok(BufReader::new(StreamOwned::new(tls, tcp)))
    }
}

/// The standard library cannot choose where a connection comes from.
fn connect_from(from: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?.into_std()
    })?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn read_reply(stream: &mut impl BufRead, method: &str) -> io::Result<Reply> {
    let status = read_line(stream)?
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| io::Error::other("no status line"))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut reply = Reply { status, headers, body: Vec::new() };
    if method != "HEAD" && status != 204 {
        reply.body = read_body(stream, &reply)?;
    }
    Ok(reply)
}

fn read_body(stream: &mut impl BufRead, reply: &Reply) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if reply.header("transfer-encoding").is_some() {
        loop {
            let size = usize::from_str_radix(&read_line(stream)?, 16).map_err(io::Error::other)?;
            let mut chunk = vec![0; size];
            stream.read_exact(&mut chunk)?;
            body.extend(chunk);
            read_line(stream)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    let length = reply.header("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
    body.resize(length, 0);
    stream.read_exact(&mut body)?;
    Ok(body)
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    // A head without end would fill the memory.
    if stream.take(64 * 1024).read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}
