//! `mayfly acme conformance`

use std::io::Write;

use crate::acme::conformance::{State, TABLE};
use crate::cli::CliError;

const AFTER_HELP: &str = "\
One line for each section of a standard: `supported`, `deliberate divergence` (the note says why) or \
`not offered`. With --json, one object: `version`, `features` and `divergences`.

Example:
  mayfly acme conformance --json | jq -r '.divergences[].note'";

/// Arguments of `mayfly acme conformance`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Prints the table.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let divergences: Vec<_> = TABLE.iter().filter(|feature| feature.state == State::Diverges).collect();
    if args.json {
        let version = env!("CARGO_PKG_VERSION");
        let said = serde_json::json!({"version": version, "features": TABLE, "divergences": divergences});
        writeln!(out, "{said:#}")?;
        return Ok(());
    }
    let sections: Vec<String> =
        TABLE.iter().map(|feature| format!("{} §{}", feature.document, feature.section)).collect();
    let width = sections.iter().map(|section| section.chars().count()).max().unwrap_or_default();
    let line = |out: &mut dyn Write, section: &str, state: &str, text: &str| {
        writeln!(out, "{section:<width$}  {state:<21}  {text}")
    };
    for (section, feature) in sections.iter().zip(TABLE) {
        line(out, section, feature.state.name(), feature.feature)?;
    }
    writeln!(out, "\nDeliberate divergences:")?;
    for feature in divergences {
        writeln!(out, "  {} §{} ({}): {}", feature.document, feature.section, feature.feature, feature.note)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(json: bool) -> String {
        let mut out = Vec::new();
        run(&Args { json }, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn both_forms_say_all_of_it() {
        let (text, json) = (said(false), said(true));
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["features"].as_array().unwrap().len(), TABLE.len());
        for feature in TABLE {
            assert!(text.contains(feature.feature), "{}", feature.feature);
            assert!(feature.state != State::Diverges || text.contains(feature.note), "{}", feature.note);
        }
        let named = json["divergences"].as_array().unwrap();
        assert!(!named.is_empty() && named.iter().all(|one| one["state"] == "deliberate divergence"));
    }
}
