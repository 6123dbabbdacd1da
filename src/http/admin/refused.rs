//! Requests for certificates that were refused.

use hyper::StatusCode;

use super::parameters::Parameters;
use super::problem::Failure;
use super::{App, Response, json};
use crate::acme::error::ErrorKind;
use crate::audit::refused::RefusedRequest;
use crate::service::inventory::PAGE;
use crate::service::refused::RefusedQuery;
use crate::wire::admin as wire;
use crate::x509::hex;

pub(super) async fn list(app: &App, query: Option<&str>) -> Result<Response, Failure> {
    let mut parameters = Parameters::parse(query)?;
    let asked = RefusedQuery {
        name: parameters.take("name", super::parameters::name)?,
        account: parameters.take("account", super::parameters::account)?,
        provisioner: parameters.take("provisioner", super::parameters::text)?,
        client: parameters.take("client", super::parameters::address)?,
        error: parameters.take("error", error)?,
        since: parameters.take("since", super::parameters::time)?,
    };
    let limit = parameters.take("limit", |text| super::parameters::limit(text, PAGE.1))?.unwrap_or(PAGE.0);
    let after = parameters.take("after", super::parameters::number)?;
    parameters.finish()?;
    let page = app.service.refused_requests(&asked, after, limit).await?;
    let refused = page.refused.into_iter().map(|(_, row)| refused(row)).collect();
    json(StatusCode::OK, &wire::RefusedRequests { refused, next: page.next.map(|next| next.to_string()) })
}

fn error(text: &str) -> Result<ErrorKind, &'static str> {
    let known = ErrorKind::ALL.iter().find(|kind| kind.name() == text);
    known.copied().ok_or("is no ACME error such as rejectedIdentifier")
}

fn refused(row: RefusedRequest) -> wire::RefusedRequest {
    wire::RefusedRequest {
        first: row.first.to_rfc3339(),
        last: row.last.to_rfc3339(),
        times: row.times,
        asked: row.asked.name().into(),
        provisioner: row.provisioner,
        authority: row.authority,
        issuer: hex::encode(&row.issuer),
        account: row.account.map(|account| account.to_string()),
        order: row.order.map(|order| order.to_string()),
        names: row.names,
        others: row.others,
        profile: row.profile,
        key_sha256: row.key.map(|key| key.to_string()),
        replaces: row.replaces.map(|serial| serial.to_string()),
        error: row.error.name().into(),
        detail: row.detail,
        client_address: row.client.as_ref().map(|client| client.address.to_string()),
        user_agent: row.client.map(|client| client.user_agent),
    }
}
