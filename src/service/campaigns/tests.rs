use std::sync::atomic::Ordering;

use super::super::fleet::FleetCursor;
use super::super::revoke::Asker;
use super::super::stand::{HOUR, Stand};
use super::super::tests::sweep::{account, issue, order, prove, terms_of};
use super::*;
use crate::acme::identifier::DnsName;
use crate::acme::renewal::{CertId, Renewal};
use crate::fleet::Followed;
use crate::service::renewal::Suggestion;
use crate::storage::Store;

const MINUTE: Duration = Duration::from_secs(60);

fn asked(selector: Selector) -> NewCampaign {
    NewCampaign {
        all: selector.is_all(),
        selector,
        start: None,
        over: 2 * HOUR,
        reason: "a drill".into(),
        explanation: Some("https://wiki.test/drill".into()),
        drill: true,
    }
}

fn below(suffix: &str) -> Selector {
    Selector { suffix: Some(DnsName::parse(suffix).unwrap()), ..Selector::default() }
}

async fn certify(stand: &Stand, name: &str) -> CertId {
    let (account, names) = (account(stand).await, vec![name.to_owned()]);
    let order = order(stand, &account, &names).await;
    prove(stand, &account, &order).await;
    issue(stand, &account, &order, &names).await;
    latest(stand, name).await
}

/// The latest certificate for a name.
async fn latest(stand: &Stand, name: &str) -> CertId {
    let mut found: Vec<(Timestamp, CertId)> = Vec::new();
    for (key, row) in stand.store.scan(Table::Certificates, &[], None, 1000).await.unwrap() {
        let record = CertificateRecord::decode(&row.value).unwrap();
        let content = record.content().unwrap();
        if content.identifiers.iter().any(|identifier| identifier.to_string() == name) {
            let serial = Serial::from_bytes(&key).unwrap();
            found.push((record.issued, CertId { issuer: record.issuer, serial }));
        }
    }
    found.into_iter().max_by_key(|(issued, _)| *issued).unwrap().1
}

async fn ask(stand: &Stand, id: CertId) -> Suggestion {
    stand.service.renewal_info(&terms_of(stand), id).await.unwrap()
}

/// The process starts anew and knows all again.
async fn restart(stand: &mut Stand) {
    stand.restart();
    stand.service.load_campaigns().await.unwrap();
    read(stand).await;
}

async fn read(stand: &Stand) {
    let mut cursor = FleetCursor::default();
    while stand.service.read_fleet(&mut cursor).await.unwrap() {}
    follow(stand).await;
}

async fn follow(stand: &Stand) {
    let mut cursor = EnrolCursor::default();
    while stand.service.follow_campaigns(&mut cursor).await.unwrap() {}
}

/// Whoever came between its start and its cancellation has come, though nobody had counted by then.
#[tokio::test]
async fn who_asked_before_a_cancellation_is_counted() {
    let mut stand = Stand::new().await;
    let old = certify(&stand, "a.web.test").await;
    restart(&mut stand).await;
    stand.clock.advance(MINUTE);
    stand.service.begin_campaign(asked(below("web.test")), None).await.unwrap();
    stand.clock.advance(MINUTE);
    ask(&stand, old).await;
    certify(&stand, "a.web.test").await;
    stand.service.cancel_campaign(1, None).await.unwrap();
    follow(&stand).await;
    let reaction = stand.service.reaction(1).unwrap();
    let Followed { members, asked, renewed, unasked, .. } = reaction;
    assert_eq!((members, asked, renewed, unasked), (1, 1, 1, 0));
}

#[tokio::test]
async fn windows_move_over_a_restart_and_back_when_it_is_cancelled() {
    let mut stand = Stand::new().await;
    let (inside, outside) = (certify(&stand, "a.web.test").await, certify(&stand, "a.db.test").await);
    stand.clock.advance(MINUTE);
    let usual = [ask(&stand, inside).await, ask(&stand, outside).await];
    let (number, campaign) = stand.service.begin_campaign(asked(below("web.test")), None).await.unwrap();
    let begun = Event::CampaignBegun { campaign: number, reason: "a drill".into(), drill: true };
    assert!(number == 1 && stand.events().await.contains(&begun));
    for _ in 0..2 {
        let moved = ask(&stand, inside).await;
        let Renewal { start, end, .. } = moved.renewal;
        assert!(start < usual[0].renewal.start && start >= campaign.start.whole_seconds());
        assert!(end <= campaign.start + 2 * HOUR + 6 * MINUTE);
        assert_eq!(moved.explanation.as_deref(), Some("https://wiki.test/drill"));
        assert_eq!(ask(&stand, outside).await, usual[1]);
        assert_eq!(stand.service.campaigns(), [(1, campaign.clone())]);
        restart(&mut stand).await;
    }
    // Who has come is not called again.
    stand.clock.advance(MINUTE);
    let renewed = certify(&stand, "a.web.test").await;
    let renewed_info = ask(&stand, renewed).await;
    assert!(
        renewed_info.renewal.start > stand.service.now() + 12 * HOUR && renewed_info.explanation.is_none()
    );

    let reads = stand.store.reads.load(Ordering::SeqCst);
    ask(&stand, inside).await;
    assert_eq!(stand.store.reads.load(Ordering::SeqCst), reads + 1, "one read, as ever");

    let cancelled = stand.service.cancel_campaign(1, None).await.unwrap();
    assert_eq!(cancelled.cancelled, Some(stand.service.now()));
    assert!(stand.events().await.contains(&Event::CampaignCancelled { campaign: 1 }));
    for _ in 0..2 {
        assert_eq!(ask(&stand, inside).await.renewal.start, usual[0].renewal.start);
        let again = stand.service.cancel_campaign(1, None).await;
        assert!(matches!(again, Err(Error::Refused(_))), "{again:?}");
        restart(&mut stand).await;
    }
    assert!(matches!(stand.service.cancel_campaign(2, None).await, Err(Error::NotFound)));
}

#[tokio::test]
async fn revocation_comes_first_and_a_called_certificate_is_not_given_again() {
    let stand = Stand::with(|terms| {
        terms.renewal_explanation = Some("https://wiki.test/revoked".into());
        terms.reuse_certificates = Some(3 * HOUR);
    })
    .await;
    let (holder, names) = (account(&stand).await, vec!["a.test".to_owned()]);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(names.clone()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let csr = params.serialize_request(&key).unwrap().der().to_vec();
    let (terms, by) = (terms_of(&stand), crate::limits::Source::default());
    let mut serials = Vec::new();
    for _ in 0..3 {
        let order = order(&stand, &holder, &names).await;
        prove(&stand, &holder, &order).await;
        let done = stand.service.finalize(&terms, holder.account.id, order.id, &csr, by).await;
        assert!(done.is_ok());
        serials.push(latest(&stand, "a.test").await);
        stand.clock.advance(MINUTE);
        if serials.len() == 2 {
            assert_eq!(serials[0], serials[1], "it was given again");
            let at_once = NewCampaign { over: Duration::from_secs(10), ..asked(Selector::default()) };
            stand.service.begin_campaign(at_once, None).await.unwrap();
            stand.clock.advance(MINUTE);
        }
    }
    assert_ne!(serials[1], serials[2], "who is called over gets another one");
    let called = ask(&stand, serials[0]).await;
    assert_eq!(called.explanation.as_deref(), Some("https://wiki.test/drill"));
    let row = stand.store.get(Table::Certificates, serials[0].serial.as_bytes()).await.unwrap().unwrap();
    let der = CertificateRecord::decode(&row.value).unwrap().der;
    stand.service.revoke(&terms, Asker::Account(holder.account.id), &der, None).await.unwrap();
    let revoked = ask(&stand, serials[0]).await;
    assert!(revoked.renewal.revoked && revoked.renewal.end <= stand.service.now());
    assert_eq!(revoked.explanation.as_deref(), Some("https://wiki.test/revoked"));
}

#[tokio::test]
async fn what_is_no_campaign_says_which_field_is_wrong() {
    let stand = Stand::new().await;
    let now = stand.service.now();
    let text = |text: &str| Some(text.to_owned());
    let with = |selector| asked(selector);
    let rows: [(NewCampaign, &str); 12] = [
        (NewCampaign { all: false, ..asked(Selector::default()) }, "selector: has no condition"),
        (NewCampaign { all: true, ..asked(below("test")) }, "selector: says `all`"),
        (with(Selector { authority: text("nope"), ..Selector::default() }), "selector.authority"),
        (with(Selector { provisioner: text("nope"), ..Selector::default() }), "selector.provisioner"),
        (
            with(Selector { key_type: text("dsa"), ..Selector::default() }),
            "selector.key_type: must be one of ec-",
        ),
        (NewCampaign { over: Duration::from_secs(9), ..asked(below("test")) }, "over: "),
        (NewCampaign { over: 31 * 24 * HOUR, ..asked(below("test")) }, "over: "),
        (NewCampaign { start: Some(now - MINUTE), ..asked(below("test")) }, "start: lies in the past"),
        (NewCampaign { start: Some(now + 31 * 24 * HOUR), ..asked(below("test")) }, "start: must be within"),
        (NewCampaign { reason: " ".into(), ..asked(below("test")) }, "reason: "),
        (NewCampaign { reason: "x".repeat(201), ..asked(below("test")) }, "reason: "),
        (NewCampaign { explanation: text("wiki"), ..asked(below("test")) }, "explanation_url: "),
    ];
    for (asked, words) in rows {
        match stand.service.begin_campaign(asked, None).await {
            Err(Error::Refused(refusal)) => assert!(refusal.detail.starts_with(words), "{}", refusal.detail),
            other => panic!("{words}: {other:?}"),
        }
    }
    assert!(stand.service.campaigns().is_empty());
}

#[tokio::test]
async fn only_so_many_are_in_force_and_only_so_many_are_kept() {
    let mut stand = Stand::new().await;
    let mut last = 0;
    while last < MOST_IN_FORCE as u64 {
        last = stand.service.begin_campaign(asked(below("a.test")), None).await.unwrap().0;
    }
    let one_more = stand.service.begin_campaign(asked(below("a.test")), None).await;
    assert!(matches!(one_more, Err(Error::Refused(_))));
    stand.service.cancel_campaign(3, None).await.unwrap();
    while last < MOST_KEPT as u64 + 20 {
        last = stand.service.begin_campaign(asked(below("a.test")), None).await.unwrap().0;
        stand.service.cancel_campaign(last, None).await.unwrap();
    }
    // Those in force stay, however old; the oldest others have gone.
    for _ in 0..2 {
        let kept = stand.service.campaigns();
        assert_eq!((kept.len(), stand.rows(Table::Campaigns).await), (MOST_KEPT, MOST_KEPT));
        assert_eq!((kept[0].0, kept[MOST_KEPT - 1].0), (last, 1));
        assert!(!kept.iter().any(|(number, _)| *number == 3));
        restart(&mut stand).await;
    }
}

/// Asks of a preview until its end.
async fn preview(stand: &Stand, asked: NewCampaign) -> Preview {
    let found = stand.service.preview_campaign(asked, None).await.unwrap();
    assert_eq!(found.next, None);
    found
}

#[tokio::test]
async fn what_it_would_come_to() {
    let stand = Stand::new().await;
    let all = asked(Selector::default());
    assert!(matches!(stand.service.preview_campaign(all.clone(), None).await, Err(Error::Busy(_))));
    read(&stand).await;
    for n in 0..30 {
        certify(&stand, &format!("h{n}.web.test")).await;
    }
    let other = certify(&stand, "a.db.test").await;
    stand.clock.advance(HOUR);
    certify(&stand, "h0.web.test").await;
    stand.clock.advance(MINUTE);
    let web = preview(&stand, asked(below("web.test"))).await;
    assert_eq!((web.certificates, web.superseded, web.due, web.incomplete), (30, 1, 0, true));
    assert_eq!(web.windows.iter().sum::<u64>(), 30);
    assert_eq!(web.longest_pause, 6 * HOUR);
    assert_eq!(preview(&stand, all).await.certificates, 31);
    let serial = Selector { serial: Some(other.serial), ..Selector::default() };
    assert_eq!(preview(&stand, asked(serial.clone())).await.certificates, 1);
    let both = Selector { key_type: Some("rsa".into()), ..serial };
    assert_eq!(preview(&stand, asked(both)).await.certificates, 0);
    // Late in their lives they come anyway.
    stand.clock.advance(18 * HOUR);
    let late = preview(&stand, asked(below("db.test"))).await;
    assert_eq!((late.certificates, late.due, late.windows.iter().sum::<u64>()), (1, 1, 0));
}

#[tokio::test]
async fn a_drill_tells_who_came_and_who_did_not_over_a_restart() {
    let mut stand = Stand::new().await;
    read(&stand).await;
    let names = ["comes.test", "asks.test", "silent.test", "retired.test"];
    let mut ids = Vec::new();
    for name in names {
        ids.push(certify(&stand, name).await);
    }
    stand.clock.advance(MINUTE);
    let (number, _) = stand.service.begin_campaign(asked(below("test")), None).await.unwrap();
    assert_eq!(stand.service.reaction(number), None);
    follow(&stand).await;
    stand.clock.advance(HOUR);
    for id in &ids[..2] {
        ask(&stand, *id).await;
    }
    certify(&stand, "comes.test").await;
    let retired = crate::acme::identifier::Identifier::parse_dns("retired.test").unwrap();
    stand.service.retire(vec![retired], None).await.unwrap();
    for known in [true, false] {
        let reaction = stand.service.reaction(number).unwrap();
        assert!(reaction.complete);
        assert_eq!((reaction.members, reaction.renewed, reaction.excused, reaction.missing()), (4, 1, 1, 2));
        let asked = if known { (2, 0) } else { (0, 1) };
        assert_eq!((reaction.asked, reaction.unasked), asked, "who asked is not known after a restart");
        let (silent, next) = stand.service.unanswered(number, None, 100).await.unwrap();
        assert_eq!(next, None);
        let mut told: Vec<_> = silent
            .iter()
            .map(|one| {
                let content = one.record.as_ref().unwrap().content().unwrap();
                (content.identifiers[0].to_string(), one.known.asked.is_some())
            })
            .collect();
        told.sort();
        assert_eq!(told, [("asks.test".to_owned(), known), ("silent.test".to_owned(), false)]);
        restart(&mut stand).await;
    }
    // One that is planned calls nobody yet; when it is over, nobody is waited for.
    let start = Some(stand.service.now() + HOUR);
    let planned =
        stand.service.begin_campaign(NewCampaign { start, ..asked(below("test")) }, None).await.unwrap().0;
    follow(&stand).await;
    assert_eq!(stand.service.reaction(planned), None);
    stand.clock.advance(2 * HOUR);
    follow(&stand).await;
    assert_eq!(stand.service.reaction(planned).unwrap().members, 4);
    stand.clock.advance(10 * 24 * HOUR);
    stand.service.fleet().advance(stand.service.now());
    follow(&stand).await;
    assert_eq!((stand.service.reaction(number), stand.service.reaction(planned)), (None, None));
}

/// Who comes within the second in which a campaign was begun has come, and who had come by then has not.
#[tokio::test]
async fn a_campaign_begins_with_a_whole_second() {
    let mut stand = Stand::new().await;
    read(&stand).await;
    for name in ["first.test", "second.test"] {
        certify(&stand, name).await;
    }
    stand.clock.advance(MINUTE + Duration::from_millis(200));
    certify(&stand, "first.test").await;
    stand.clock.advance(Duration::from_millis(200));
    let (number, campaign) = stand.service.begin_campaign(asked(below("test")), None).await.unwrap();
    assert_eq!(campaign.start.since(stand.service.now()), Duration::from_millis(600));
    stand.clock.advance(Duration::from_millis(700));
    certify(&stand, "second.test").await;
    for _ in 0..2 {
        follow(&stand).await;
        let reaction = stand.service.reaction(number).unwrap();
        assert_eq!((reaction.members, reaction.renewed), (2, 1));
        restart(&mut stand).await;
    }
}

/// Right after a restart clients ask before the inventory is read.
#[tokio::test]
async fn who_asks_while_the_inventory_is_read_is_known() {
    let mut stand = Stand::new().await;
    read(&stand).await;
    let (early, _late) = (certify(&stand, "early.test").await, certify(&stand, "late.test").await);
    stand.clock.advance(MINUTE);
    let (number, _) = stand.service.begin_campaign(asked(below("test")), None).await.unwrap();
    stand.restart();
    stand.service.load_campaigns().await.unwrap();
    ask(&stand, early).await;
    assert!(!stand.service.fleet().is_complete());
    read(&stand).await;
    let reaction = stand.service.reaction(number).unwrap();
    assert_eq!((reaction.members, reaction.asked, reaction.renewed), (2, 1, 0));
    assert_eq!(stand.service.fleet().summary().identities(), 2);
}
