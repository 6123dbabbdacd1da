//! Log lines on standard error, as text or one JSON object each.
//!
//! Libraries speak up from warnings on only: at debug level some of them print requests whole.

use std::io::IsTerminal;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("mayfly") || *metadata.level() <= Level::WARN
}

/// Starts logging; a second start changes nothing.
pub fn start(json: bool, level: Level) {
    let wanted = filter_fn(is_ours).and(tracing::level_filters::LevelFilter::from_level(level));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if json {
        lines.json().flatten_event(true).with_current_span(false).boxed()
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).boxed()
    };
    // Fails only if logging was started before.
    let _ = tracing_subscriber::registry().with(lines.with_filter(wanted)).try_init();
}
