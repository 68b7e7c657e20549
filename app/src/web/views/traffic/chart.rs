//! Where everything stands in the chart: whole numbers only, so that nothing and next to nothing are drawn like the rest.
//!
//! Heights are pixels, widths are percent, so that the letters have the same size on a phone and on a desktop.

use chrono::{DateTime, Datelike as _, Utc};

use super::amounts::{Hundredths, Unit, WHOLE, in_unit, number, part_of, size};
use super::times::{Series, Slot, Step, Timeline};

/// The top of the bars.
const TOP: u64 = 10;
/// The axis.
const AXIS: u64 = 250;
/// The most that a bar can have.
const BAR_HEIGHT: Hundredths = Hundredths((AXIS - TOP) * 100);
/// The most of the height of the part below that the line takes.
const LINE_HEIGHT: Hundredths = Hundredths(4_600);
/// Width of a step in the part below, which is stretched to the width of the chart.
const LINE_STEP: u64 = 10;
/// From this many bars on there is no room between their parts.
const DENSE: usize = 40;

/// A part of a bar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its class.
    pub class: &'static str,
    /// Its upper edge.
    pub y: Hundredths,
    /// Its height.
    pub height: Hundredths,
}

/// A bar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// What it says to who points at it.
    pub title: String,
    /// Where the place of the bar begins.
    pub place_x: Hundredths,
    /// Where the bar itself does.
    pub x: Hundredths,
    /// Its parts that can be seen, from the axis upwards.
    pub parts: Vec<Part>,
    /// The time is not over.
    pub is_now: bool,
    /// Where the mark stands that says that counts are missing.
    pub gap: Option<(Hundredths, Hundredths)>,
}

/// A line across, with a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GridLine {
    /// Its height.
    pub y: Hundredths,
    /// Where the number stands.
    pub text_y: Hundredths,
    /// The number.
    pub label: String,
}

/// A date below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// Its place.
    pub x: Hundredths,
    /// The date.
    pub label: String,
}

/// The chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chart {
    /// Width of the place of a bar.
    pub place_width: Hundredths,
    /// Width of a bar.
    pub width: Hundredths,
    /// Whether the bars are too narrow for lines between their parts.
    pub is_dense: bool,
    /// The bars.
    pub bars: Vec<Bar>,
    /// Lines for what was sent.
    pub grid: Vec<GridLine>,
    /// Width of the part below, in its own measure.
    pub line_width: u64,
    /// Corners of the line for what was received.
    pub line: String,
    /// The same with the axis, for the area.
    pub area: String,
    /// The line for what was received.
    pub received_grid: Option<GridLine>,
    /// The dates.
    pub ticks: Vec<Tick>,
    /// The whole in words.
    pub description: String,
}

impl Chart {
    /// Of a time.
    #[must_use]
    pub fn of(timeline: &Timeline) -> Self {
        let places = u64::try_from(timeline.starts.len()).unwrap_or(u64::MAX).max(1);
        let most_sent = timeline.slots.iter().map(Slot::sent).max().unwrap_or_default();
        let most_received = timeline.slots.iter().map(|slot| slot.received).max().unwrap_or_default();
        let (step, lines) = steps(most_sent);
        let top = step.saturating_mul(lines);
        let (line, area) = line(&timeline.slots, most_received);
        Self {
            place_width: part_of(WHOLE, 1, places),
            width: part_of(WHOLE, 74, places.saturating_mul(100)),
            is_dense: timeline.starts.len() > DENSE,
            bars: timeline.slots.iter().map(|slot| bar(slot, places, top)).collect(),
            grid: grid(step, lines),
            line_width: places.saturating_mul(LINE_STEP),
            line,
            area,
            received_grid: received_grid(most_received),
            ticks: ticks(timeline.step, &timeline.starts),
            description: description(timeline),
        }
    }
}

/// The distance of the lines, and how many there are up to the top: no more than five, at round numbers.
fn steps(most: u64) -> (u64, u64) {
    if most == 0 {
        return (0, 0);
    }
    let step = round_numbers().find(|step| *step >= most.div_ceil(5)).unwrap_or(most);
    (step, most.div_ceil(step))
}

/// 1, 2, 5, 10, 20, 50, …
fn round_numbers() -> impl Iterator<Item = u64> {
    (0..19).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power)))
}

fn height(bytes: u64, top: u64) -> Hundredths {
    part_of(BAR_HEIGHT, bytes, top).min(BAR_HEIGHT)
}

fn above_axis(height: Hundredths) -> Hundredths {
    Hundredths((AXIS * 100).saturating_sub(height.0))
}

fn grid(step: u64, lines: u64) -> Vec<GridLine> {
    let top = step.saturating_mul(lines);
    let unit = Unit::of(top);
    let line = |at: u64| {
        let y = above_axis(height(step.saturating_mul(at), top));
        let told = in_unit(step.saturating_mul(at), unit);
        let label = if at == lines { format!("{told} {unit}") } else { told };
        GridLine { y, text_y: Hundredths(y.0 + 400), label }
    };
    (1..=lines).map(line).collect()
}

fn bar(slot: &Slot, places: u64, top: u64) -> Bar {
    let place_x = part_of(WHOLE, slot.place, places);
    let mut parts = Vec::new();
    let mut below = 0_u64;
    for (series, bytes) in Series::ALL.into_iter().zip(slot.sent_by_series) {
        let from = height(below, top);
        below = below.saturating_add(bytes);
        let to = height(below, top);
        if to > from {
            parts.push(Part { class: series.class(), y: above_axis(to), height: Hundredths(to.0 - from.0) });
        }
    }
    let top_of_bar = above_axis(height(below, top));
    let middle = part_of(WHOLE, slot.place.saturating_mul(2).saturating_add(1), places.saturating_mul(2));
    let mark = Hundredths(top_of_bar.0.saturating_sub(900).max(400));
    Bar {
        title: title(slot),
        place_x,
        x: Hundredths(place_x.0 + part_of(WHOLE, 13, places.saturating_mul(100)).0),
        parts,
        is_now: slot.is_now,
        gap: slot.has_gap.then_some((middle, mark)),
    }
}

fn title(slot: &Slot) -> String {
    let parts = Series::ALL.into_iter().zip(slot.sent_by_series);
    let parts: Vec<_> =
        parts.map(|(series, bytes)| format!("{} {}", series.name().to_lowercase(), size(bytes))).collect();
    let requests = number(slot.requests);
    let missing = if slot.has_gap { "; counts are missing" } else { "" };
    format!(
        "{}: sent {} ({}), received {}, {requests} requests{missing}",
        slot.label,
        size(slot.sent()),
        parts.join(", "),
        size(slot.received)
    )
}

/// The line for what was received, and the area between it and the axis.
fn line(slots: &[Slot], most: u64) -> (String, String) {
    let (Some(first), Some(last)) = (slots.first(), slots.last()) else { return (String::new(), String::new()) };
    let depth = |slot: &Slot| part_of(LINE_HEIGHT, slot.received, most);
    // To the edges of the first and the last place, so that a single one can be seen.
    let (left, right) = (first.place * LINE_STEP, (last.place + 1) * LINE_STEP);
    let mut corners = vec![format!("{left},{}", depth(first))];
    corners.extend(slots.iter().map(|slot| format!("{},{}", slot.place * LINE_STEP + LINE_STEP / 2, depth(slot))));
    corners.push(format!("{right},{}", depth(last)));
    let line = corners.join(" ");
    let area = format!("{left},0 {line} {right},0");
    (line, area)
}

/// The highest round number that was received, and where it is.
fn received_grid(most: u64) -> Option<GridLine> {
    const AXIS_OF_LINE: u64 = 256;
    let round = round_numbers().take_while(|round| *round <= most).last()?;
    let y = Hundredths(AXIS_OF_LINE * 100 + part_of(LINE_HEIGHT, round, most).0);
    Some(GridLine { y, text_y: Hundredths(y.0 + 400), label: size(round) })
}

fn ticks(step: Step, starts: &[DateTime<Utc>]) -> Vec<Tick> {
    let every = match (step, starts.len()) {
        (Step::Hour, _) => 6,
        (Step::Day, ..=10) => 1,
        (Step::Day, days) => days.div_ceil(35) * 7,
        (Step::Month, months) => months.div_ceil(5),
    };
    let places = u64::try_from(starts.len()).unwrap_or(u64::MAX);
    let shown: Vec<_> = (0..).zip(starts).step_by(every).collect();
    let mut year = None;
    let tick = |(place, start): (u64, &DateTime<Utc>)| {
        let is_new_year = year.replace(start.year()) != Some(start.year());
        // There is no room for the year of every month on a phone.
        let label = match step {
            Step::Month if !is_new_year => start.format("%b").to_string(),
            _ => step.label(*start),
        };
        Tick { x: part_of(WHOLE, place * 2 + 1, places.saturating_mul(2)), label }
    };
    shown.into_iter().map(tick).collect()
}

fn description(timeline: &Timeline) -> String {
    let step = timeline.step.name();
    let sent: Vec<u64> = timeline.slots.iter().map(Slot::sent).collect();
    let received: Vec<u64> = timeline.slots.iter().map(|slot| slot.received).collect();
    let range = |values: &[u64]| match (values.iter().min(), values.iter().max()) {
        (Some(least), Some(most)) if least == most => size(*most),
        (Some(least), Some(most)) => format!("{} to {}", size(*least), size(*most)),
        _ => size(0),
    };
    let most = timeline.slots.iter().max_by_key(|slot| slot.sent()).map(|slot| slot.label.as_str()).unwrap_or_default();
    format!(
        "Stacked bars, one for each {step}: pictures, thumbnails, pages and other, {}, most in {most}. Below the axis, on a \
         scale of its own, a line for what was received: {}. The table below the chart has every number.",
        range(&sent),
        range(&received)
    )
}

#[cfg(test)]
mod tests {
    use super::super::times::tests::{nothing, with};
    use super::*;
    use crate::domain::traffic::TrafficKind;

    fn labels(grid: &[GridLine]) -> Vec<&str> {
        grid.iter().map(|line| line.label.as_str()).collect()
    }

    #[test]
    fn lines_stand_at_round_numbers() {
        for (most, wanted) in [
            (0, vec![]),
            (1, vec!["1 B"]),
            (3, vec!["1", "2", "3 B"]),
            (69_400_000_000, vec!["20", "40", "60", "80 GB"]),
            (1_700_000_000, vec!["0.5", "1", "1.5", "2 GB"]),
        ] {
            let (step, lines) = steps(most);
            assert_eq!(labels(&grid(step, lines)), wanted, "{most}");
            assert!(step.saturating_mul(lines) >= most && lines <= 5);
        }
    }

    #[test]
    fn bars_stand_on_each_other_and_reach_as_high_as_their_sum() {
        let passed = [
            ("2026-11-22T00:00:00Z", TrafficKind::Picture, 50),
            ("2026-11-22T00:00:00Z", TrafficKind::Thumbnail, 20),
            ("2026-11-22T00:00:00Z", TrafficKind::Api, 10),
            ("2026-11-24T00:00:00Z", TrafficKind::Page, 1),
        ];
        let chart = Chart::of(&Timeline::of(&with(nothing(7), &passed)));
        assert_eq!(chart.bars.len(), 7);
        let bar = &chart.bars[4];
        assert_eq!(bar.parts.iter().map(|part| part.class).collect::<Vec<_>>(), ["k1", "k2", "k4"]);
        assert_eq!(bar.parts.iter().map(|part| part.height.0).sum::<u64>(), BAR_HEIGHT.0);
        assert_eq!(bar.parts[2].y.to_string(), "10.00");
        for pair in bar.parts.windows(2) {
            assert_eq!(pair[1].y.0 + pair[1].height.0, pair[0].y.0);
        }
        assert!(chart.bars[5].parts.is_empty());
        assert!(
            bar.title
                .starts_with("22 Nov: sent 80 B (pictures 50 B, thumbnails 20 B, pages 0 B, other 10 B), received")
        );
        assert_eq!(chart.ticks.len(), 7);
        let right = |bar: &Bar| bar.x.0 + chart.width.0;
        assert!(chart.bars.iter().all(|bar| bar.x > bar.place_x && right(bar) <= WHOLE.0), "{chart:?}");
    }

    #[test]
    fn nothing_and_next_to_nothing_are_drawn() {
        for days in [1, 2, 30, 92, 93, 366] {
            for bytes in [None, Some(0), Some(1), Some(u64::MAX)] {
                let passed = bytes.map(|bytes| ("2026-11-24T00:00:00Z", TrafficKind::Picture, bytes));
                let chart = Chart::of(&Timeline::of(&with(nothing(days), passed.as_slice())));
                assert!(!format!("{chart:?}").contains("NaN"));
                assert!((1..=92).contains(&chart.bars.len()), "{days}");
                for part in chart.bars.iter().flat_map(|bar| &bar.parts) {
                    assert!(part.y.0 >= TOP * 100 && part.y.0 + part.height.0 <= AXIS * 100, "{part:?}");
                }
            }
        }
        let mut unknown = nothing(30);
        unknown.first = None;
        let chart = Chart::of(&Timeline::of(&unknown));
        assert!(chart.bars.is_empty() && chart.line.is_empty() && chart.received_grid.is_none());
    }

    #[test]
    fn months_name_their_year_when_it_changes() {
        let ticks = Chart::of(&Timeline::of(&nothing(365))).ticks;
        let labels: Vec<_> = ticks.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(labels, ["Nov 2025", "Feb 2026", "May", "Aug", "Nov"]);
    }

    #[test]
    fn the_line_of_a_single_day_can_be_seen() {
        let mut report = with(nothing(30), &[("2026-11-24T00:00:00Z", TrafficKind::Upload, 1_000)]);
        report.first = report.periods.keys().next().copied();
        let chart = Chart::of(&Timeline::of(&report));
        assert_eq!(chart.line, "290,46.00 295,46.00 300,46.00");
        assert_eq!(
            chart.received_grid.map(|line| (line.label, line.y.to_string())),
            Some(("100 B".to_owned(), "302.00".to_owned()))
        );
    }
}
