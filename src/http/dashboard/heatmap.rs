//! When certificates expire, as a map of hours and what is in them.

use std::time::Duration;

use maud::{Markup, html};

use super::text::{count, number};
use crate::service::fleet::Watch;
use crate::time::Timestamp;

/// How the map is cut: certificates of a day or two by ten minutes, those that live longer by the hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    /// A column for each of 48 hours, of six cells.
    Hours,
    /// A column for each of 30 days, of 24 cells.
    Days,
}

impl Scale {
    fn columns(self) -> usize {
        match self {
            Self::Hours => 48,
            Self::Days => 30,
        }
    }

    fn rows(self) -> usize {
        match self {
            Self::Hours => 6,
            Self::Days => 24,
        }
    }

    /// Minutes of a cell.
    fn minutes(self) -> u32 {
        match self {
            Self::Hours => 10,
            Self::Days => 60,
        }
    }

    fn column(self) -> Duration {
        Duration::from_secs(60 * u64::from(self.minutes()) * self.rows() as u64)
    }

    /// The beginning of the first column.
    fn first(self, now: Timestamp) -> Timestamp {
        let column = self.column().as_secs();
        Timestamp::from_secs(now.as_secs() / column * column)
    }
}

/// Expiries to come.
pub(super) struct Heatmap {
    scale: Scale,
    first: Timestamp,
    cells: Vec<u64>,
    later: u64,
}

impl Heatmap {
    /// Of the fleet at `now`.
    pub(super) fn of(fleet: &Watch, now: Timestamp) -> Self {
        let cut = |scale: Scale| {
            let first = scale.first(now);
            let (cells, later) = fleet.expiries(first, scale.minutes(), scale.columns() * scale.rows());
            Self { scale, first, cells, later }
        };
        let hours = cut(Scale::Hours);
        let seen: u64 = hours.cells.iter().sum();
        // By days only if most of the fleet lives beyond two of them.
        if hours.later > seen { cut(Scale::Days) } else { hours }
    }

    /// Columns that are shown: those of a life or so, and all in which something expires.
    fn columns(&self) -> usize {
        let least = match self.scale {
            Scale::Hours => 26,
            Scale::Days => 14,
        };
        let full = |column: &usize| self.column(*column).iter().any(|cell| *cell > 0);
        let last = (0..self.scale.columns()).rev().find(full);
        last.map_or(least, |last| (last + 2).clamp(least, self.scale.columns()))
    }

    fn all(&self) -> u64 {
        self.cells.iter().sum()
    }

    fn column(&self, column: usize) -> &[u64] {
        let rows = self.scale.rows();
        self.cells.get(column * rows..(column + 1) * rows).unwrap_or_default()
    }

    fn at(&self, column: usize) -> Timestamp {
        self.first + self.scale.column() * u32::try_from(column).unwrap_or_default()
    }

    fn label(&self, column: usize) -> String {
        let at = self.at(column).to_utc();
        let month = at.month().to_string();
        let day = format!("{} {}", at.day(), month.get(..3).unwrap_or_default());
        match self.scale {
            Scale::Hours if at.hour() == 0 => day,
            Scale::Hours => format!("{:02}:00", at.hour()),
            Scale::Days => day,
        }
    }

    fn is_labelled(&self, column: usize) -> bool {
        match self.scale {
            Scale::Hours => self.at(column).to_utc().hour().is_multiple_of(6),
            Scale::Days => column.is_multiple_of(5),
        }
    }

    /// The map, and the same as a table.
    pub(super) fn render(&self) -> Markup {
        let (columns, rows) = (self.columns(), self.scale.rows());
        let (tall, gap) = (16, 3);
        // As wide as there is room for, whatever their number.
        let (across, step) = (1200 / columns, tall + gap);
        let (width, height) = (columns * across - gap, rows * step - gap + 22);
        let most = self.cells.iter().copied().max().unwrap_or_default();
        let unit = match self.scale {
            Scale::Hours => "ten minutes",
            Scale::Days => "an hour",
        };
        html! {
            div.scroll tabindex="0" role="region" aria-label="Map of expiries" {
                svg.heat viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) role="img" aria-label=(self.summary()) {
                    @for column in 0..columns {
                        @for (row, value) in self.column(column).iter().enumerate() {
                            rect class={ "h" (level(*value, most)) } x=(column * across) y=(row * step)
                                width=(across - gap) height=(tall) rx="3" {
                                title { (self.cell_title(column, row, *value)) }
                            }
                        }
                        @if self.is_labelled(column) {
                            text x=(column * across) y=(rows * step + 13) { (self.label(column)) }
                        }
                    }
                }
            }
            div.legend {
                span { "fewer" }
                svg.heat width="102" height="16" aria-hidden="true" {
                    @for level in 0..6 { rect class={ "h" (level) } x=(level * 17) y="1" width="14" height="14" rx="3" {} }
                }
                span { "more expire in " (unit) }
                @if self.later > 0 { span.later { (count(self.later, "certificate expires", "certificates expire")) " later" } }
            }
            details.astable {
                summary { "The same as a table" }
                (self.table())
            }
        }
    }

    fn table(&self) -> Markup {
        let word = match self.scale {
            Scale::Hours => "Hour",
            Scale::Days => "Day",
        };
        html! {
            table.narrow {
                caption.quiet { "Certificates that expire, by " (word.to_lowercase()) }
                thead { tr { th scope="col" { (word) } th.n scope="col" { "Expire" } } }
                tbody {
                    @for column in 0..self.scale.columns() {
                        @let sum: u64 = self.column(column).iter().sum();
                        @if sum > 0 {
                            tr { th scope="row" { (self.at(column).to_rfc3339()) } td.n { (number(sum)) } }
                        }
                    }
                }
            }
        }
    }

    fn cell_title(&self, column: usize, row: usize, value: u64) -> String {
        let minutes = u64::from(self.scale.minutes()) * 60 * row as u64;
        let at = self.at(column) + Duration::from_secs(minutes);
        let utc = at.to_utc();
        format!(
            "{} {:02}:{:02}: {}",
            self.day(at),
            utc.hour(),
            utc.minute(),
            count(value, "expires", "expire")
        )
    }

    fn day(&self, at: Timestamp) -> String {
        let utc = at.to_utc();
        let month = utc.month().to_string();
        format!("{} {}", utc.day(), month.get(..3).unwrap_or_default())
    }

    fn summary(&self) -> String {
        let peak = (0..self.scale.columns()).max_by_key(|column| self.column(*column).iter().sum::<u64>());
        let range = match self.scale {
            Scale::Hours => "48 hours",
            Scale::Days => "30 days",
        };
        let mut text =
            format!("{} within {range}", count(self.all(), "certificate expires", "certificates expire"));
        if let Some(peak) = peak.filter(|_| self.all() > 0) {
            let sum: u64 = self.column(peak).iter().sum();
            text.push_str(&format!(", most of them from {}: {}", self.at(peak).to_rfc3339(), number(sum)));
        }
        text
    }
}

/// 0 is none, 1 to 5 by share of the fullest cell.
fn level(value: u64, most: u64) -> u64 {
    if value == 0 { 0 } else { (value * 5).div_ceil(most.max(1)).clamp(1, 5) }
}

#[cfg(test)]
mod tests {
    use super::level;

    #[test]
    fn something_is_never_shown_as_nothing() {
        let rows = [(0, 0, 0), (0, 9, 0), (1, 1_000_000, 1), (1, 1, 5), (5, 10, 3), (10, 10, 5)];
        for (value, most, want) in rows {
            assert_eq!(level(value, most), want, "{value} of {most}");
        }
    }
}
