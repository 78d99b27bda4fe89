//! Bar charts as SVG, drawn by the plotters crate.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::error::CompareError;

/// A chart of one bar a mode, each of one or more parts.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    /// What stands after a number.
    pub(super) unit: &'a str,
    pub(super) bars: Vec<Bar>,
}

/// One bar.
pub(super) struct Bar {
    pub(super) label: String,
    /// Lengths with the colours they are drawn in, from the left.
    pub(super) parts: Vec<(Rgb, f64)>,
    /// What stands at the end of the bar.
    pub(super) caption: String,
}

/// Red, green and blue.
pub(super) type Rgb = (u8, u8, u8);

const WIDTH: u32 = 860;
const BAR_HEIGHT: u32 = 26;
const HEAD_HEIGHT: u32 = 34;
const AXIS_HEIGHT: u32 = 44;
const LABEL_WIDTH: u32 = 130;
const FONT: &str = "sans-serif";

/// Draws a chart.
pub(super) fn draw(chart: &Chart<'_>) -> Result<String, CompareError> {
    let mut text = String::new();
    let count = u32::try_from(chart.bars.len()).unwrap_or(1);
    let height = HEAD_HEIGHT + count * BAR_HEIGHT + AXIS_HEIGHT;
    let area = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
    let drawn = bars(chart, &area);
    drop(area);
    drawn.map_err(|error| CompareError::Chart {
        chart: chart.title.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(text)
}

type DrawError<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn bars<'a>(
    chart: &Chart<'_>,
    area: &DrawingArea<SVGBackend<'a>, Shift>,
) -> Result<(), DrawError<'a>> {
    area.fill(&WHITE)?;
    let total = |bar: &Bar| bar.parts.iter().map(|(_, length)| length).sum::<f64>();
    let longest = chart.bars.iter().map(total).fold(0.0, f64::max);
    // Room for the captions, and an axis even where every bar is empty.
    let end = if longest > 0.0 { longest * 1.18 } else { 1.0 };
    let count = i32::try_from(chart.bars.len()).unwrap_or(1).max(1);
    let mut plot = ChartBuilder::on(area)
        .caption(chart.title, (FONT, 15))
        .margin_right(10)
        .x_label_area_size(AXIS_HEIGHT)
        .y_label_area_size(LABEL_WIDTH)
        .build_cartesian_2d(0.0..end, 0.0..f64::from(count))?;
    plot.configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(0xe0, 0xe0, 0xe0))
        .x_labels(7)
        .x_label_formatter(&|value| number(*value))
        .x_desc(chart.unit)
        .label_style((FONT, 12))
        .draw()?;
    let style = |horizontal| {
        TextStyle::from((FONT, 12).into_font()).pos(Pos::new(horizontal, VPos::Center))
    };
    for (row, bar) in (0..count).zip(&chart.bars) {
        // The first mode is on top.
        let middle = f64::from(count - row) - 0.5;
        let mut start = 0.0;
        for ((red, green, blue), length) in &bar.parts {
            let corners = [(start, middle - 0.34), (start + length, middle + 0.34)];
            let fill = RGBColor(*red, *green, *blue).filled();
            plot.draw_series([Rectangle::new(corners, fill)])?;
            start += length;
        }
        let (left, y) = plot.backend_coord(&(0.0, middle));
        let (right, _) = plot.backend_coord(&(start, middle));
        area.draw(&Text::new(bar.label.clone(), (left - 8, y), style(HPos::Right)))?;
        area.draw(&Text::new(bar.caption.clone(), (right + 5, y), style(HPos::Left)))?;
    }
    area.present()
}

/// Writes a number with three digits that matter.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        // A count, or as good as one.
        whole if whole.fract() == 0.0 => grouped(&format!("{value:.0}")),
        small if small < 0.01 => format!("{value:.4}"),
        small if small < 1.0 => format!("{value:.3}"),
        small if small < 10.0 => format!("{value:.2}"),
        middle if middle < 1000.0 => format!("{value:.1}"),
        _ => grouped(&format!("{value:.0}")),
    }
}

/// Parts the digits of a number by threes.
fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_matter() {
        let shown = [0.0, 233.0, 0.001_24, 0.5, 2.345, 17.42, 65_123.0, 1_000_000.0].map(number);
        let expected = [
            "0",
            "233",
            "0.0012",
            "0.500",
            "2.35",
            "17.4",
            "65\u{202f}123",
            "1\u{202f}000\u{202f}000",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_chart_shows_its_bars_with_their_names() {
        let bar = |label: &str, length| Bar {
            label: label.to_owned(),
            parts: vec![((1, 2, 3), length)],
            caption: format!("{length} s"),
        };
        let bars = vec![bar("walk", 1.5), bar("content", 3.0), bar("none", 0.0)];
        let svg = draw(&Chart { title: "Wall <time>", unit: "seconds", bars }).expect("drawn");
        for text in ["walk", "content", "1.5 s", "seconds", "Wall &lt;time&gt;", "#010203"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        assert!(svg.trim_end().ends_with("</svg>"));
    }
}
