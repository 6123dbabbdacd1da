//! Campaigns.

use std::time::Duration;

use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use super::parameters::{self, Parameters};
use super::problem::Failure;
use super::routes::Campaigns;
use super::{App, Response, json};
use crate::acme::renewal::begin;
use crate::audit::Actor;
use crate::fleet::campaign::{Campaign, Selector};
use crate::fleet::{Cause, Followed};
use crate::jose::{base64url, from_base64url};
use crate::provisioner::Requester;
use crate::service::Service;
use crate::service::campaigns::{NewCampaign, Silent};
use crate::time::Timestamp;
use crate::wire::admin as wire;
use crate::x509::hex;
use crate::x509::serial::Serial;

/// Identities in one page, unless asked otherwise, and at most.
const PAGE: (usize, usize) = (100, 500);

/// Answers a request to one of them.
pub(super) async fn answer<B>(
    app: &App,
    (which, by): (Campaigns, Option<&Actor>),
    head: &Parts,
    body: B,
) -> Result<Response, Failure>
where
    B: hyper::body::Body + Send + Unpin,
    B::Data: Send,
    B::Error: std::fmt::Display,
{
    match (which, &head.method) {
        (Campaigns::All, &Method::GET) => list(app),
        (Campaigns::All, &Method::POST) => create(app, by, super::read(&head.headers, body).await?).await,
        (Campaigns::All, _) => Err(Failure::Method("GET, POST")),
        (Campaigns::Preview, &Method::POST) => preview(app, super::read(&head.headers, body).await?).await,
        (Campaigns::One(number), &Method::GET) => show(app, number),
        (Campaigns::Cancellation(number), &Method::POST) => cancel(app, by, number).await,
        (Campaigns::Unanswered(number), &Method::GET) => unanswered(app, number, head.uri.query()).await,
        (Campaigns::Preview | Campaigns::Cancellation(_), _) => Err(Failure::Method("POST")),
        (Campaigns::One(_) | Campaigns::Unanswered(_), _) => Err(Failure::Method("GET")),
    }
}

fn field<T>(
    name: &str,
    value: Option<&String>,
    how: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Result<Option<T>, Failure> {
    value.map(|value| how(value)).transpose().map_err(|why| Failure::Malformed(format!("{name}: {why}")))
}

fn serial(text: &str) -> Result<Serial, &'static str> {
    Serial::parse(text).ok_or("is no serial of this CA's: 38 lower-case hexadecimal digits")
}

fn selector(asked: &wire::CampaignSelector) -> Result<Selector, Failure> {
    Ok(Selector {
        authority: field("selector.authority", asked.authority.as_ref(), parameters::text)?,
        issuer: field("selector.issuer", asked.issuer.as_ref(), parameters::issuer)?,
        account: field("selector.account", asked.account.as_ref(), parameters::account)?,
        provisioner: field("selector.provisioner", asked.provisioner.as_ref(), parameters::text)?,
        profile: field("selector.profile", asked.profile.as_ref(), parameters::text)?,
        suffix: field("selector.suffix", asked.suffix.as_ref(), parameters::suffix)?,
        name: field("selector.name", asked.name.as_ref(), parameters::name)?,
        key_type: field("selector.key_type", asked.key_type.as_ref(), parameters::text)?,
        serial: field("selector.serial", asked.serial.as_ref(), serial)?,
        issued_before: field("selector.issued_before", asked.issued_before.as_ref(), parameters::time)?,
    })
}

fn wanted(asked: &wire::NewCampaign) -> Result<NewCampaign, Failure> {
    Ok(NewCampaign {
        selector: selector(&asked.selector)?,
        all: asked.selector.all,
        start: field("start", asked.start.as_ref(), parameters::time)?,
        over: Duration::from_secs(asked.over),
        reason: asked.reason.clone(),
        explanation: asked.explanation_url.clone(),
        drill: asked.drill,
    })
}

async fn preview(app: &App, asked: wire::AskForPreview) -> Result<Response, Failure> {
    let after = field("after", asked.after.as_ref(), |text| {
        let key = from_base64url(text).filter(|key| crate::storage::limits::is_key(key));
        key.ok_or("is not a cursor; take `next` of the part before")
    })?;
    let found = app.service.preview_campaign(wanted(&asked.campaign)?, after.as_deref()).await?;
    let preview = wire::CampaignPreview {
        certificates: found.certificates,
        due: found.due,
        superseded: found.superseded,
        windows: found.windows.to_vec(),
        longest_pause: found.longest_pause.as_secs(),
        incomplete: found.incomplete,
        next: found.next.map(|key| base64url(&key)),
    };
    json(StatusCode::OK, &preview)
}

async fn create(app: &App, by: Option<&Actor>, asked: wire::NewCampaign) -> Result<Response, Failure> {
    let (number, campaign) = app.service.begin_campaign(wanted(&asked)?, by).await?;
    json(StatusCode::CREATED, &shown(number, &campaign, &app.service, false))
}

fn list(app: &App) -> Result<Response, Failure> {
    let campaigns = app.service.campaigns();
    let campaigns = campaigns.iter().map(|(number, campaign)| shown(*number, campaign, &app.service, false));
    json(StatusCode::OK, &wire::Campaigns { campaigns: campaigns.collect() })
}

fn show(app: &App, number: u64) -> Result<Response, Failure> {
    let campaign = app.service.campaign(number)?;
    json(StatusCode::OK, &shown(number, &campaign, &app.service, true))
}

async fn cancel(app: &App, by: Option<&Actor>, number: u64) -> Result<Response, Failure> {
    let campaign = app.service.cancel_campaign(number, by).await?;
    json(StatusCode::OK, &shown(number, &campaign, &app.service, false))
}

fn shown(number: u64, campaign: &Campaign, service: &Service, curve: bool) -> wire::Campaign {
    let now = service.now();
    let Selector {
        authority,
        issuer,
        account,
        provisioner,
        profile,
        suffix,
        name,
        key_type,
        serial,
        issued_before,
    } = &campaign.selector;
    wire::Campaign {
        id: number,
        standing: campaign.standing(now).name().into(),
        selector: wire::CampaignSelector {
            all: campaign.selector.is_all(),
            authority: authority.clone(),
            issuer: issuer.map(|issuer| hex::encode(&issuer)),
            account: account.map(|account| account.to_string()),
            provisioner: provisioner.clone(),
            profile: profile.clone(),
            suffix: suffix.as_ref().map(|suffix| suffix.as_str().to_owned()),
            name: name.as_ref().map(ToString::to_string),
            key_type: key_type.clone(),
            serial: serial.map(|serial| serial.to_string()),
            issued_before: issued_before.map(Timestamp::to_rfc3339),
        },
        created: campaign.created.to_rfc3339(),
        start: campaign.start.to_rfc3339(),
        over: campaign.over.as_secs(),
        until: campaign.until().to_rfc3339(),
        reason: campaign.reason.clone(),
        explanation_url: campaign.explanation.clone(),
        drill: campaign.drill,
        cancelled: campaign.cancelled.map(Timestamp::to_rfc3339),
        reaction: service.reaction(number).map(|followed| reaction(&followed, service, now, curve)),
    }
}

fn reaction(followed: &Followed, service: &Service, now: Timestamp, curve: bool) -> wire::Reaction {
    let (width, points) = followed.curve();
    let from = |place: usize| followed.created + Duration::from_secs(width * place as u64);
    let begun = points.iter().enumerate().filter(|(place, _)| from(*place) <= now);
    let point = |(place, point): (usize, &crate::fleet::Point)| wire::CurvePoint {
        from: from(place).to_rfc3339(),
        called: point.called,
        asked: point.asked,
        renewed: point.renewed,
    };
    wire::Reaction {
        complete: followed.complete,
        members: followed.members,
        called: begun.map(|(_, point)| u64::from(point.called)).sum(),
        asked: followed.asked,
        renewed: followed.renewed,
        renewed_unasked: followed.unasked,
        excused: followed.excused,
        missing: followed.missing(),
        asking_known_since: service.asking_known_since().to_rfc3339(),
        curve: if curve { points.iter().enumerate().map(point).collect() } else { Vec::new() },
    }
}

async fn unanswered(app: &App, number: u64, query: Option<&str>) -> Result<Response, Failure> {
    let mut parameters = Parameters::parse(query)?;
    let limit = parameters.take("limit", |text| parameters::limit(text, PAGE.1))?.unwrap_or(PAGE.0);
    let after = parameters.take("after", |text| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let place = if digits { text.parse::<u32>().ok() } else { None };
        place.ok_or("is not a cursor; take `next` of the page before")
    })?;
    parameters.finish()?;
    let campaign = app.service.campaign(number)?;
    let (page, next) = app.service.unanswered(number, after, limit).await?;
    let now = app.service.now();
    let identities = page.iter().map(|silent| unanswered_one(silent, &campaign, now)).collect();
    json(StatusCode::OK, &wire::UnansweredPage { identities, next: next.map(|place| place.to_string()) })
}

fn unanswered_one(
    Silent { known, record }: &Silent,
    campaign: &Campaign,
    now: Timestamp,
) -> wire::Unanswered {
    let identity = &known.identity;
    let content = record.as_ref().and_then(|record| record.content());
    let window = content.as_ref().map(|content| {
        let usual = begin(content.not_before, identity.not_after, &identity.serial);
        usual.min(campaign.call().begin(&identity.serial)).whole_seconds()
    });
    let failure = identity.last_failure.filter(|(at, _)| *at + Duration::from_secs(1) > campaign.start);
    let reaction = match (failure, known.asked) {
        (Some(_), _) => "failed",
        (None, _) if window.is_some_and(|window| window > now) => "not-yet",
        (None, Some(asked)) if asked >= campaign.created.whole_seconds() => "asked-and-stayed",
        (None, Some(_)) => "asked-before",
        (None, None) => "never-asked",
    };
    let (provisioner, account) = match record.as_ref().map(|record| &record.requester) {
        Some(
            Requester::Acme { provisioner, account, .. }
            | Requester::AutoRenewal { provisioner, account, .. },
        ) => (Some(provisioner.clone()), Some(account.to_string())),
        Some(Requester::Own | Requester::Ceremony) | None => (None, None),
    };
    let client = record.as_ref().and_then(|record| record.details.provenance.client.as_ref());
    let names = content.as_ref().map(|content| content.identifiers.iter().map(ToString::to_string));
    wire::Unanswered {
        id: identity.id.to_string(),
        state: identity.state.name().into(),
        names: names.map(Iterator::collect).unwrap_or_default(),
        serial: identity.serial.to_string(),
        not_after: identity.not_after.to_rfc3339(),
        window: window.map(Timestamp::to_rfc3339),
        reaction: reaction.into(),
        asked: known.asked.map(Timestamp::to_rfc3339),
        failure: failure.map(|(_, cause): (Timestamp, Cause)| cause.name().into()),
        provisioner,
        account,
        client_address: client.map(|client| client.address.to_string()),
        user_agent: client.map(|client| client.user_agent.clone()).filter(|agent| !agent.is_empty()),
    }
}
