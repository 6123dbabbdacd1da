//! `mayfly rotation status`

use std::fmt::Write as _;
use std::io::Write;

use hyper::Method;

use super::Which;
use super::place::Place;
use crate::cli::CliError;
use crate::cli::running::json;
use crate::wire::admin as wire;

/// Arguments of `mayfly rotation status`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which CA
    #[command(flatten)]
    pub which: Which,
}

/// Says where it stands.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let target = &args.which.target;
    let mut all: wire::Rotations = target.call(Method::GET, "/v1/rotations", None::<&()>)?;
    if let Some(name) = &args.which.authority {
        all.rotations.retain(|one| one.authority == *name);
        if all.rotations.is_empty() {
            return Err(super::RotationError::NoAuthority(name.clone()).into());
        }
    }
    if args.json {
        return json(out, &all);
    }
    let texts: Vec<_> = all.rotations.iter().map(described).collect();
    out.write_all(texts.join("\n").as_bytes())?;
    // Of the file, which a CA named by its socket alone does not have.
    let which =
        Which { authority: all.rotations.first().map(|one| one.authority.clone()), ..args.which.clone() };
    if let Ok(place) = Place::find(&which)
        && place.text()? != place.in_force
    {
        writeln!(
            out,
            "\n{} is not what is in force. If a step was cut short, the same command finishes it;\n`mayfly config \
             diff` shows the difference.",
            place.file.display()
        )?;
    }
    Ok(())
}

fn described(rotation: &wire::Rotation) -> String {
    let mut text = format!("authority  {}\nstage      {}\n", rotation.authority, meaning(rotation));
    for issuer in &rotation.issuers {
        let _ = write!(text, "\n  {:<8} {}\n           {}\n", issuer.role, issuer.key_id, issuer.subject);
        let live = match (issuer.live, &issuer.last_expiry) {
            (None, _) => "being counted".to_owned(),
            (Some(0), _) => "none".to_owned(),
            (Some(count), Some(last)) => format!("{count}, the last until {last}"),
            (Some(count), None) => count.to_string(),
        };
        let _ = writeln!(text, "           ends {}; live certificates: {live}", issuer.not_after);
        if let Some(since) = &issuer.published {
            let _ = writeln!(text, "           in the bundle since {since}");
        }
        if issuer.chains > 1 {
            let _ = writeln!(text, "           cross-signed: {} chains", issuer.chains);
        }
        if let Some(why) = &issuer.kept_because {
            let _ = writeln!(text, "           kept: {why}");
        }
    }
    let from = match rotation.next_from.as_deref() {
        Some(from) if rotation.stage == "overlap" => format!(", from {from} on"),
        Some(from) if matches!(rotation.stage.as_str(), "handing-over" | "draining") => {
            format!(", by {from} at the latest")
        }
        Some(_) | None => String::new(),
    };
    let _ = writeln!(text, "\nnext       mayfly rotation {}{from}", rotation.next_step);
    text
}

fn meaning(rotation: &wire::Rotation) -> String {
    let why = match rotation.stage.as_str() {
        "steady" => "one issuer, nothing under way",
        "overlap" => "the next issuer is in the bundle; clients are to fetch it",
        "ready" => "the next issuer may sign",
        "counting" => "another issuer signs; the former one's certificates are being counted",
        "handing-over" => "another issuer signs; clients are being called over",
        "draining" => "another issuer signs; clients were called over, and some have not come",
        "drained" => "a former issuer has no live certificate any more",
        _ => "",
    };
    format!("{}: {why}", rotation.stage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::rotation::Stage;

    #[test]
    fn every_stage_is_told_of() {
        for (stage, name) in Stage::TABLE {
            let rotation = wire::Rotation {
                authority: "default".into(),
                stage: stage.to_string(),
                next_step: "advance".into(),
                next_issuer: None,
                next_from: Some("2030-01-01T00:00:00Z".into()),
                switched: None,
                handover_until: None,
                issuers: vec![wire::RotationIssuer {
                    role: "former".into(),
                    key_id: "ab".repeat(20),
                    subject: "CN=One".into(),
                    not_after: "2031-01-01T00:00:00Z".into(),
                    chains: 2,
                    published: None,
                    live: None,
                    last_expiry: None,
                    kept_because: Some("they are being counted".into()),
                }],
            };
            let text = described(&rotation);
            assert!(text.contains(&format!("stage      {name}: ")) && !text.contains(": \n"), "{text}");
            assert!(text.contains("live certificates: being counted\n"), "{text}");
        }
    }
}
