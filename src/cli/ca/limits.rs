//! What a CA may do, as the command line says it: lifetime, path length, name constraints.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::acme::identifier::DnsName;
use crate::authority::constraints::{NameConstraints, Subtree};
use crate::config::units::parse_duration;

/// The longest life of a CA.
const LONGEST: Duration = Duration::from_secs(36_500 * 86_400);
const SHORTEST: Duration = Duration::from_secs(3600);

/// Name constraints (RFC 5280 §4.2.1.10) of a CA that is made.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(
    next_help_heading = "Name constraints (critical; excluded wins; a kind not permitted at all is free)"
)]
pub struct ConstraintArgs {
    /// DNS names that may be certified: this one and all below it
    #[arg(long, value_name = "NAME[,…]", value_delimiter = ',', value_parser = dns)]
    pub permit_dns: Vec<Subtree>,
    /// Networks whose addresses may be certified
    #[arg(long, value_name = "CIDR[,…]", value_delimiter = ',', value_parser = network)]
    pub permit_ip: Vec<Subtree>,
    /// Hosts of URIs; .NAME stands for every host below NAME
    #[arg(long, value_name = "HOST[,…]", value_delimiter = ',', value_parser = uri)]
    pub permit_uri: Vec<Subtree>,
    /// Mail addresses: one, all of a host, or with .NAME of all hosts below it
    #[arg(long, value_name = "ADDRESS[,…]", value_delimiter = ',', value_parser = email)]
    pub permit_email: Vec<Subtree>,
    /// DNS names that may not be certified
    #[arg(long, value_name = "NAME[,…]", value_delimiter = ',', value_parser = dns)]
    pub exclude_dns: Vec<Subtree>,
    /// Networks whose addresses may not; 0.0.0.0/0,::/0 are all
    #[arg(long, value_name = "CIDR[,…]", value_delimiter = ',', value_parser = network)]
    pub exclude_ip: Vec<Subtree>,
    /// Hosts of URIs that may not
    #[arg(long, value_name = "HOST[,…]", value_delimiter = ',', value_parser = uri)]
    pub exclude_uri: Vec<Subtree>,
    /// Mail addresses that may not
    #[arg(long, value_name = "ADDRESS[,…]", value_delimiter = ',', value_parser = email)]
    pub exclude_email: Vec<Subtree>,
}

impl ConstraintArgs {
    /// As they stand in the certificate.
    pub fn constraints(&self) -> NameConstraints {
        NameConstraints {
            permitted: [&self.permit_dns, &self.permit_ip, &self.permit_uri, &self.permit_email]
                .map(Vec::as_slice)
                .concat(),
            excluded: [&self.exclude_dns, &self.exclude_ip, &self.exclude_uri, &self.exclude_email]
                .map(Vec::as_slice)
                .concat(),
        }
    }
}

fn dns(text: &str) -> Result<Subtree, String> {
    if text.starts_with('.') {
        return Err("leave the leading dot out: a name stands for itself and all names below it".to_owned());
    }
    if text.starts_with("*.") {
        return Err("leave the `*.` out: a name stands for itself and all names below it".to_owned());
    }
    let name = DnsName::parse(text).map_err(|error| error.to_string())?;
    Ok(Subtree::Dns(name.as_str().to_owned()))
}

fn network(text: &str) -> Result<Subtree, String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(Subtree::Ip(ip.into()));
    }
    let net: IpNet =
        text.parse().map_err(|_| "give an address or a network such as 10.0.0.0/8".to_owned())?;
    match net == net.trunc() {
        true => Ok(Subtree::Ip(net)),
        false => Err(format!("has bits set behind its prefix: the network is {}", net.trunc())),
    }
}

/// A host, or `.NAME`.
fn host(text: &str) -> Result<String, String> {
    let (dot, name) = match text.strip_prefix('.') {
        Some(name) => (".", name),
        None => ("", text),
    };
    let name = DnsName::parse(name).map_err(|error| error.to_string())?;
    Ok(format!("{dot}{name}"))
}

fn uri(text: &str) -> Result<Subtree, String> {
    match text.contains("://") {
        true => Err("give the host alone: constraints of URIs are about hosts".to_owned()),
        false => host(text).map(Subtree::Uri),
    }
}

fn email(text: &str) -> Result<Subtree, String> {
    let Some((local, domain)) = text.rsplit_once('@') else { return host(text).map(Subtree::Email) };
    let plain = |b: u8| b.is_ascii_graphic() && !b"@,;<>\"()[]\\".contains(&b);
    if local.is_empty() || !local.bytes().all(plain) {
        return Err("the part before the @ is empty or has characters that are not accepted".to_owned());
    }
    let domain = DnsName::parse(domain).map_err(|error| error.to_string())?;
    Ok(Subtree::Email(format!("{local}@{domain}")))
}

/// A CA's lifetime.
pub fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = parse_duration(text).map_err(|error| format!("{error}; write it as 3650d or 12h"))?;
    match (SHORTEST..=LONGEST).contains(&lifetime) {
        true => Ok(lifetime),
        false => Err("give 1h to 36500d".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_command_line_takes() {
        type Parser = fn(&str) -> Result<Subtree, String>;
        let net = |text: &str| Subtree::Ip(text.parse().unwrap());
        let rows: &[(Parser, &str, Option<Subtree>)] = &[
            (dns, "Example.test", Some(Subtree::Dns("example.test".into()))),
            (dns, "", None),
            (dns, ".example.test", None),
            (dns, "*.example.test", None),
            (dns, "10.0.0.1", None),
            (network, "10.0.0.0/8", Some(net("10.0.0.0/8"))),
            (network, "10.0.0.1", Some(net("10.0.0.1/32"))),
            (network, "0.0.0.0/0", Some(net("0.0.0.0/0"))),
            (network, "::/0", Some(net("::/0"))),
            (network, "10.0.0.1/8", None),
            (network, "10.0.0.0/33", None),
            (network, "example.test", None),
            (uri, "spiffe.test", Some(Subtree::Uri("spiffe.test".into()))),
            (uri, ".Example.test", Some(Subtree::Uri(".example.test".into()))),
            (uri, "spiffe://example.test", None),
            (uri, "10.0.0.1", None),
            (email, "Root@Example.test", Some(Subtree::Email("Root@example.test".into()))),
            (email, "example.test", Some(Subtree::Email("example.test".into()))),
            (email, ".example.test", Some(Subtree::Email(".example.test".into()))),
            (email, "@example.test", None),
            (email, "a b@example.test", None),
        ];
        for (parse, text, want) in rows {
            assert_eq!(parse(text).ok(), *want, "{text}");
        }
        assert_eq!(lifetime("365d"), Ok(Duration::from_secs(365 * 86_400)));
        for text in ["", "365", "30m", "36501d", "1y"] {
            assert!(lifetime(text).is_err(), "{text}");
        }
    }
}
