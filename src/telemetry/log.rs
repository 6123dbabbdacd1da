//! Log lines on standard error, as text or one JSON object each.
//!
//! Libraries speak up from warnings on only: at debug level some of them print requests whole. What is
//! done for a request carries its id, and the id of its trace if that is recorded, at the end of the line.

use std::fmt;
use std::io::IsTerminal;

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::fmt::format::{DefaultFields, Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use super::trace;
use crate::x509::hex;

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("mayfly") || *metadata.level() <= Level::WARN
}

/// Starts logging; a second start changes nothing.
pub fn start(json: bool, level: Level) {
    let wanted = filter_fn(is_ours).and(tracing::level_filters::LevelFilter::from_level(level));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if json {
        let format = Format::default().json().flatten_event(true).with_current_span(false);
        lines.fmt_fields(JsonFields::new()).event_format(OfRequest(format)).boxed()
    } else {
        let format = Format::default().with_target(false);
        let lines = lines.fmt_fields(OfRequest(DefaultFields::new())).event_format(format);
        lines.with_ansi(std::io::stderr().is_terminal()).boxed()
    };
    // Fails only if logging was started before.
    let _ = tracing_subscriber::registry().with(lines.with_filter(wanted)).try_init();
}

/// A format that says which request a line belongs to.
struct OfRequest<F>(F);

/// As text: behind the line's fields.
impl<'w> FormatFields<'w> for OfRequest<DefaultFields> {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        self.0.format_fields(writer.by_ref(), fields)?;
        let told = trace::current(|work| {
            if let Some(request) = work.request() {
                write!(writer, " request={request}")?;
            }
            work.trace().map_or(Ok(()), |trace| write!(writer, " trace={}", hex::encode(&trace)))
        });
        told.unwrap_or(Ok(()))
    }
}

/// As JSON: the last members of the object.
impl<S, N> FormatEvent<S, N> for OfRequest<Format<Json>>
where
    S: Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let told = trace::current(|work| {
            let request = work.request().map(|request| format!(",\"request\":\"{request}\""));
            let trace = work.trace().map(|trace| format!(",\"trace\":\"{}\"", hex::encode(&trace)));
            request.unwrap_or_default() + &trace.unwrap_or_default()
        });
        let Some(told) = told.filter(|told| !told.is_empty()) else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let object = line.trim_end().strip_suffix('}').ok_or(fmt::Error)?;
        writeln!(writer, "{object}{told}}}")
    }
}
