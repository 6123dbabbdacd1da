use super::sampling::{Caller, Context, Ratio, Remote, decide};
use super::*;

const HEADER: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn traceparents() {
    let remote = Remote::parse(HEADER).unwrap();
    assert_eq!((remote.trace[0], remote.span[7], remote.sampled), (0x0a, 0x31, true));
    let text = String::from_utf8(HEADER.to_vec()).unwrap();
    let rows = [
        (text.replace("-01", "-00"), Some(false)),
        (text.replace("-01", "-03"), Some(true)),
        // A later version may have more.
        (text.replace("00-0a", "01-0a") + "-more", Some(true)),
        (text.clone() + "-more", None),
        (text.replace("00-0a", "ff-0a"), None),
        (text.to_uppercase(), None),
        (text.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)), None),
        (text.replace("b7ad6b7169203331", &"0".repeat(16)), None),
        (text.replace("b7ad", "b7a"), None),
        (text.replace("b7ad", "b7a\u{e9}"), None),
        (format!(" {text}"), None),
        (String::new(), None),
        ("00".to_owned(), None),
    ];
    for (header, want) in rows {
        assert_eq!(Remote::parse(header.as_bytes()).map(|remote| remote.sampled), want, "{header}");
    }
}

#[test]
fn strangers_neither_force_a_trace_nor_join_one() {
    let remote = Remote::parse(HEADER);
    let unsampled = remote.map(|remote| Remote { sampled: false, ..remote });
    let random: [u8; 24] = std::array::from_fn(|n| n as u8 + 1);
    let own = decide(Ratio::new(1.0), random, Caller::default()).unwrap();
    assert_eq!((own.span, own.trace[0], own.parent), ([1, 2, 3, 4, 5, 6, 7, 8], 9, None));
    // (share, what is sent, whether they are trusted; what becomes of it)
    let joined =
        Context { trace: remote.unwrap().trace, parent: Some(remote.unwrap().span), remote: true, ..own };
    let linked = Context { link: Some((remote.unwrap().trace, remote.unwrap().span)), ..own };
    let rows = [
        (1.0, None, false, Some(own)),
        (0.0, None, false, None),
        (0.0, remote, false, None),
        (1.0, remote, false, Some(linked)),
        (1.0, unsampled, false, Some(linked)),
        (0.0, remote, true, Some(joined)),
        (1.0, remote, true, Some(joined)),
        (1.0, unsampled, true, None),
        (0.0, None, true, None),
        (1.0, None, true, Some(own)),
    ];
    for (share, remote, trusted, want) in rows {
        let got = decide(Ratio::new(share), random, Caller { remote, trusted });
        assert_eq!(got, want, "{share} {remote:?} {trusted}");
    }
}

#[test]
fn a_ratio_takes_its_share() {
    let entropy = crate::entropy::SeededEntropy::new(3);
    let entropy: &dyn Entropy = &entropy;
    for share in [0.0, 0.01, 0.5, 1.0] {
        let ratio = Ratio::new(share);
        let taken = (0..4000).filter(|_| decide(ratio, entropy.bytes(), Caller::default()).is_some()).count();
        let off = taken as f64 / 4000.0 - share;
        assert!(off.abs() < 0.03 && (share.fract() > 0.0 || off == 0.0), "{share}: {taken}");
    }
}

#[tokio::test]
async fn work_goes_along_into_tasks_and_threads() {
    let request = || current(|work| work.request().map(str::to_owned)).flatten();
    let work = Work { request: Some("r-1".into()), span: None };
    assert_eq!(request(), None);
    work.within(async {
        assert_eq!(request().as_deref(), Some("r-1"));
        let task = tokio::spawn(async move { request() });
        assert_eq!(task.await.unwrap(), None, "a task is its own");
        assert_eq!(tokio::spawn(carried(async move { request() })).await.unwrap().as_deref(), Some("r-1"));
        let thread = tokio::task::spawn_blocking(carried_over(request));
        assert_eq!(thread.await.unwrap().as_deref(), Some("r-1"));
    })
    .await;
    assert_eq!(request(), None);
}

#[test]
fn what_a_span_tells_is_bounded() {
    let context = decide(Ratio::new(1.0), [7; 24], Caller::default()).unwrap();
    let open = Open::new("test", Kind::Internal, context, None);
    let names: Vec<&'static str> = (0..100).map(|n| &*format!("key{n}").leak()).collect();
    for name in &names {
        open.note(name, Value::Text(bounded("\u{e9}".repeat(1000))));
    }
    open.note(names[0], Value::Number(1));
    let finished = open.finish();
    assert_eq!(finished.told.notes.len(), MOST_NOTES);
    assert_eq!(finished.told.notes[0], ("key0", Value::Number(1)));
    assert_eq!(finished.told.notes[1], ("key1", Value::Text("\u{e9}".repeat(LONGEST / 2))));
    assert!(finished.began <= finished.ended);
}

#[test]
fn without_an_exporter_a_span_is_nothing() {
    // No test of the library starts one: a process has one at most.
    assert!(Span::of_request(None, || unreachable!("nobody reads it")).0.is_none());
    assert!(Span::of_background("sweep").0.is_none());
    assert!(Span::part("sign", Kind::Internal).0.is_none());
}
