//! What is told with a certificate: itself whatever else there is, and what it was renewed from.

use super::*;
use crate::acme::order::{Finish, Lifetimes};
use crate::service::stand::{HOUR, Stand};
use crate::service::tests::sweep::{account, issue, order, prove};

const LONG: Duration = Duration::from_secs(90 * 86_400);

async fn indexed() -> Stand {
    let stand = Stand::new().await;
    while stand.service.build_index().await.unwrap() {}
    stand
}

async fn certify(stand: &Stand, names: &[&str]) -> Serial {
    let account = account(stand).await;
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let order = order(stand, &account, &names).await;
    prove(stand, &account, &order).await;
    match issue(stand, &account, &order, &names).await.order.finish {
        Finish::Issued { serial, .. } => serial,
        other => panic!("{other:?}"),
    }
}

fn serials(story: &Story) -> Vec<Serial> {
    story.series.iter().map(|one| one.serial).collect()
}

#[tokio::test]
async fn whatever_else_its_name_is_in_a_certificate_is_in_its_own_series() {
    let stand = indexed().await;
    for n in 0..=LOOKED {
        certify(&stand, &["a.test", &format!("n{n}.test")]).await;
    }
    stand.clock.advance(2 * HOUR);
    let own = certify(&stand, &["a.test"]).await;
    stand.clock.advance(2 * HOUR);
    let next = certify(&stand, &["a.test"]).await;
    let story = stand.service.story(own).await.unwrap();
    assert_eq!((serials(&story), story.cut), (vec![own, next], true));
}

#[tokio::test]
async fn what_is_too_long_ago_to_be_looked_for_is_not_denied() {
    let stand = indexed().await;
    let first = certify(&stand, &["a.test"]).await;
    let story = stand.service.story(first).await.unwrap();
    assert_eq!((serials(&story), story.cut), (vec![first], false), "there is no other");
    stand.clock.advance(6 * 24 * HOUR);
    let second = certify(&stand, &["a.test"]).await;
    let story = stand.service.story(second).await.unwrap();
    assert_eq!((serials(&story), story.cut), (vec![second], true));
}

#[tokio::test]
async fn what_it_was_renewed_from_is_told_however_long_it_lives() {
    let stand = indexed().await;
    stand.reload(|terms| terms.lifetimes = Lifetimes { default: LONG, min: HOUR, max: LONG });
    let first = certify(&stand, &["a.test"]).await;
    stand.clock.advance(LONG * 2 / 3);
    let second = certify(&stand, &["a.test"]).await;
    let story = stand.service.story(second).await.unwrap();
    assert_eq!((serials(&story), story.cut), (vec![first, second], false));
}
