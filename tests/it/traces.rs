//! Traces, as a collector receives them.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::support::acme::Client;
use crate::support::otlp::{Collector, Span, attributes};
use crate::support::process::until;
use crate::support::server::{Server, section};
use crate::support::web::Web;

fn traced(endpoint: &str, more: &[(&str, toml::Value)]) -> Server {
    Server::start_with(|config| {
        let traces = section(config, "traces");
        traces.insert("otlp_endpoint".into(), endpoint.into());
        traces.insert("interval".into(), "100ms".into());
        for (key, value) in more {
            traces.insert((*key).to_owned(), value.clone());
        }
    })
}

fn named<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {:#?}", spans.iter().map(|span| &span.name).collect::<Vec<_>>());
    found[0]
}

fn below<'s>(spans: &'s [Span], above: &Span) -> BTreeMap<&'s str, &'s Span> {
    let parts = spans.iter().filter(|span| span.parent_span_id == above.span_id);
    parts
        .inspect(|part| {
            assert_eq!(part.trace_id, above.trace_id);
            assert!(part.start_time_unix_nano >= above.start_time_unix_nano, "{part:?} {above:?}");
            assert!(part.start_time_unix_nano <= part.end_time_unix_nano, "{part:?}");
        })
        .map(|part| (part.name.as_str(), part))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A stage's span, and what is told of it.
fn told<'s>(parts: &BTreeMap<&'s str, &'s Span>, name: &str) -> BTreeMap<&'s str, String> {
    attributes(&parts.get(name).unwrap_or_else(|| panic!("{name}: {:?}", parts.keys())).attributes)
}

#[test]
fn an_issuance_is_a_span_for_each_request_and_stage() {
    let collector = Collector::start();
    let headers = tempfile::NamedTempFile::new().unwrap();
    fs::write(headers.path(), "authorization: Bearer hush-hush-collector\n").unwrap();
    fs::set_permissions(headers.path(), Permissions::from_mode(0o600)).unwrap();
    let file = headers.path().to_str().unwrap();
    let more = [("headers_file", file.into()), ("service_name", "test-ca".into())];
    let mut server = traced(&collector.endpoint(), &more);
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    let order = client.order(&["traced.test"]).unwrap();
    client.authorize(&web, &order).unwrap();
    let finalized = client.finalize(&order, &crate::support::acme::csr(&["traced.test"]).1).unwrap();
    let refused = client.order(&["not a name"]).unwrap_err().problem();
    assert_eq!(refused.1, "malformed");
    let stranger = [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")];
    client.https.send("GET", "/acme/acme/directory", &stranger, None).unwrap();
    let page = server.https().get("/metrics").unwrap().text();
    assert!(page.contains("mayfly_trace_spans_dropped_total{reason=\"queue\"} 0"), "{page}");
    server.stop();

    let spans = collector.spans();
    let export = &collector.exports()[0];
    assert!(export.head.starts_with("POST /v1/traces HTTP/1.1"), "{}", export.head);
    assert!(export.head.contains("Bearer hush-hush-collector"), "{}", export.head);
    assert!(!server.log().contains("hush-hush-collector"));
    let resource = export.request.resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(attributes(&resource.attributes)["service.name"], "test-ca");

    // Every span is in a trace that has one beginning, here.
    let ids: BTreeMap<_, _> = spans.iter().map(|span| (&span.span_id, span)).collect();
    assert_eq!(ids.len(), spans.len(), "ids are distinct");
    for span in &spans {
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
        match ids.get(&span.parent_span_id) {
            Some(parent) => assert_eq!(parent.trace_id, span.trace_id),
            None => assert!(
                span.parent_span_id.is_empty() && (span.kind == 2 || span.name == "sweep"),
                "{span:?}"
            ),
        }
    }

    let finalize = named(&spans, "POST /acme/{provisioner}/order/{order}/finalize");
    let said = attributes(&finalize.attributes);
    let order_id = order.url.rsplit('/').next().unwrap();
    let account = client.kid.as_ref().unwrap().rsplit('/').next().unwrap();
    for (key, want) in [
        ("mayfly.order", order_id),
        ("mayfly.account", account),
        ("mayfly.provisioner", "acme"),
        ("http.request.method", "POST"),
        ("http.route", "/acme/{provisioner}/order/{order}/finalize"),
        ("http.response.status_code", "200"),
        ("client.address", "127.0.0.1"),
    ] {
        assert_eq!(said[key], want, "{key}");
    }
    assert!(finalized.certificate().is_some());
    let parts = below(&spans, finalize);
    let stages = ["verify", "policy", "sign", "commit"].map(|stage| parts[stage].start_time_unix_nano);
    assert!(stages.is_sorted(), "{stages:?}");
    // The log's line of it names the request and the trace.
    let log = server.log();
    let line = log.lines().find(|line| line.contains("certificate issued")).unwrap();
    let ids = format!(" request={} trace={}", said["mayfly.request"], hex(&finalize.trace_id));
    assert!(line.ends_with(&ids), "{line}\n{ids}");

    // A validation is a part of the request that asked for it, and goes on behind its reply.
    let challenge = spans.iter().find(|span| {
        span.name == "POST /acme/{provisioner}/chall/{order}/{index}/{kind}"
            && below(&spans, span).contains_key("validation")
    });
    let parts = below(&spans, challenge.unwrap());
    assert_eq!(told(&parts, "validation")["mayfly.identifier"], "traced.test");
    let attempts = below(&spans, parts["validation"]);
    let attempt = told(&attempts, "validate");
    assert_eq!((attempt["mayfly.challenge"].as_str(), attempt["mayfly.attempt"].as_str()), ("http-01", "1"));
    assert_eq!((attempt["mayfly.outcome"].as_str(), attempts["validate"].kind), ("proved", 3));
    assert!(attempts.contains_key("commit"), "{:?}", attempts.keys());

    let new_orders = spans.iter().filter(|span| span.name.ends_with("/new-order"));
    let refused =
        new_orders.map(|span| attributes(&span.attributes)).find(|said| said.contains_key("error.type"));
    assert_eq!(refused.unwrap()["error.type"], "malformed");

    // What a stranger claims to be a part of is a link, no more.
    let directories = spans.iter().filter(|span| span.name == "GET /acme/{provisioner}/directory");
    let linked: Vec<_> = directories.filter(|span| !span.links.is_empty()).collect();
    assert_eq!(linked.len(), 1);
    assert!(
        linked[0].parent_span_id.is_empty() && hex(&linked[0].trace_id) != "0af7651916cd43dd8448eb211c80319c"
    );
    assert_eq!(hex(&linked[0].links[0].trace_id), "0af7651916cd43dd8448eb211c80319c");
    // Probes and scrapes would be most of what is recorded.
    assert!(!spans.iter().any(|span| span.name.contains("metrics") || span.name.contains("readyz")));
}

#[test]
fn who_is_trusted_decides_and_nobody_else() {
    let collector = Collector::start();
    let trust = vec!["127.0.0.2/32"];
    let mut server = traced(&collector.endpoint(), &[("sample", 0.into()), ("trust", trust.into())]);
    let mut https = server.https();
    let mut ask = |from: [u8; 4], flags: &str| {
        https.come_from(Ipv4Addr::from(from));
        let parent = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        let reply = https.send("GET", "/acme/acme/directory", &[("traceparent", &parent)], None).unwrap();
        assert_eq!(reply.status, 200);
    };
    ask([127, 0, 0, 1], "01");
    ask([127, 0, 0, 2], "00");
    ask([127, 0, 0, 2], "01");
    server.stop();
    let spans = collector.spans();
    let seen: Vec<_> =
        spans.iter().map(|span| attributes(&span.attributes)["client.address"].clone()).collect();
    assert_eq!(seen, ["127.0.0.2"], "{spans:#?}");
    assert_eq!(hex(&spans[0].trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&spans[0].parent_span_id), "b7ad6b7169203331");
}

/// A collector that takes connections and never answers keeps nobody waiting, neither requests nor the stop.
#[test]
fn a_collector_that_hangs_costs_spans_and_nothing_else() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let more = [("queue", 8.into()), ("batch", 4.into()), ("timeout", "60s".into())];
    let mut server = traced(&endpoint, &more);
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    client.issue(&web, &["still.test"]).unwrap();
    let dropped = until("spans that find no place", Duration::from_secs(20), || {
        let page = server.https().get("/metrics").ok()?.text();
        let line = page
            .lines()
            .find(|line| line.starts_with("mayfly_trace_spans_dropped_total{reason=\"queue\"}"))?;
        line.split(' ').nth(1)?.parse::<f64>().ok().filter(|dropped| *dropped > 0.0)
    });
    assert!(dropped >= 1.0);
    let begun = Instant::now();
    server.stop();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert!(server.log().contains("the last spans were not delivered"), "{}", server.log());
}

/// One that is away is told of once, and sent to again when it is there.
#[test]
fn a_collector_that_comes_back_is_sent_what_waited() {
    let port = crate::support::ports::free();
    let mut server = traced(&format!("http://127.0.0.1:{port}"), &[]);
    server.https().get("/acme/acme/directory").unwrap();
    until("word of the collector", Duration::from_secs(20), || {
        server.log().contains("the collector takes no spans").then_some(())
    });
    let collector = Collector::at(port);
    until("the spans", Duration::from_secs(20), || {
        collector.spans().iter().any(|span| span.name.ends_with("/directory")).then_some(())
    });
    server.stop();
    assert_eq!(server.log().matches("the collector takes no spans").count(), 1, "{}", server.log());
    assert!(server.log().contains("the collector takes spans again"), "{}", server.log());
}
