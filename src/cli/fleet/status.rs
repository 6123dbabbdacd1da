//! `mayfly fleet status`

use std::fmt::Write as _;
use std::io::Write;

use hyper::Method;

use super::show::{self, row};
use crate::cli::CliError;
use crate::cli::running::{Target, json};
use crate::fleet::{Cause, State};
use crate::wire::admin::{Fleet, Identities};

/// Identities shown of those that are late.
const WORST: usize = 10;

/// Arguments of `mayfly fleet status`.
#[derive(Clone, Debug, clap::Args)]
pub struct Status {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which CA
    #[command(flatten)]
    pub target: Target,
}

/// Says how the fleet stands.
pub(super) fn run(args: &Status, out: &mut dyn Write) -> Result<(), CliError> {
    let fleet: Fleet = args.target.call(Method::GET, "/v1/fleet", None::<&()>)?;
    if args.json {
        return json(out, &fleet);
    }
    out.write_all(told(&fleet).as_bytes())?;
    let late = |state: State| -> Result<Identities, CliError> {
        let path = format!("/v1/fleet/identities?state={}&limit={WORST}", state.name());
        args.target.call(Method::GET, &path, None::<&()>)
    };
    let mut rows = late(State::Overdue)?.identities;
    if rows.len() < WORST {
        rows.extend(late(State::Expired)?.identities);
        rows.truncate(WORST);
    }
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", show::HEADER)?;
    for identity in &rows {
        out.write_all(row(identity, &fleet.now).as_bytes())?;
    }
    let count = |state: State| fleet.states.get(state.name()).copied().unwrap_or_default();
    if count(State::Overdue) + count(State::Expired) > rows.len() as u64 {
        writeln!(out, "All of them: mayfly fleet list --state overdue, --state expired")?;
    }
    Ok(())
}

fn told(fleet: &Fleet) -> String {
    let mut text = String::new();
    if !fleet.complete {
        text.push_str("The CA is still reading its inventory: there are more than these.\n\n");
    }
    let _ = writeln!(text, "identities {:>8}", fleet.identities);
    for state in State::ALL {
        let count = fleet.states.get(state.name()).copied().unwrap_or_default();
        let _ = writeln!(text, "{:<10} {count:>8}", state.name());
    }
    let failing = Cause::ALL.iter().filter_map(|cause| {
        let count = fleet.failing.get(cause.name()).copied().filter(|count| *count > 0)?;
        Some(format!("{} {count}", cause.name()))
    });
    let failing: Vec<String> = failing.collect();
    if !failing.is_empty() {
        let _ = writeln!(text, "\nFailing, by the cause of the latest attempt: {}", failing.join(", "));
    }
    text.push('\n');
    text.push_str(&horizon(fleet));
    text
}

/// The one number.
fn horizon(fleet: &Fleet) -> String {
    match &fleet.horizon {
        None => "No identity has a certificate that is to be renewed.\n".to_owned(),
        Some(horizon) => {
            let [first, twentieth, half] =
                [&horizon.first, &horizon.twentieth, &horizon.half].map(|at| super::span(at.seconds_left));
            format!(
                "If the CA died now, the first certificate expires in {first}, 5 % by {twentieth}, half by {half}.\n"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::admin::{Horizon, Moment};

    fn fleet() -> Fleet {
        let moment = |seconds_left| Moment { at: "2030-01-01T00:00:00Z".into(), seconds_left };
        Fleet {
            complete: true,
            now: "2030-01-01T00:00:00Z".into(),
            identities: 1204,
            states: State::ALL.iter().map(|state| (state.name().into(), 7)).collect(),
            failing: Cause::ALL.iter().map(|cause| (cause.name().into(), 0)).collect(),
            horizon: Some(Horizon { first: moment(25_920), twentieth: moment(32_580), half: moment(57_600) }),
        }
    }

    #[test]
    fn the_summary() {
        let mut fleet = fleet();
        let text = told(&fleet);
        let want = "If the CA died now, the first certificate expires in 7 h 12 m, 5 % by 9 h 03 m, half by 16 h 00 m.\n";
        assert!(text.ends_with(want), "{text}");
        assert!(text.contains("overdue           7\n") && !text.contains("Failing"), "{text}");
        *fleet.failing.get_mut("dns").unwrap() = 3;
        (fleet.complete, fleet.horizon) = (false, None);
        let text = told(&fleet);
        assert!(text.starts_with("The CA is still reading"), "{text}");
        assert!(text.contains("latest attempt: dns 3\n") && text.ends_with("to be renewed.\n"), "{text}");
    }
}
