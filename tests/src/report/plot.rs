//! Plots, drawn as SVG.
//!
//! Colours are fixed in the drawing and renamed by CSS: a rule on `[stroke="#2A6FDB"]` overrides the attribute. So the same drawing
//! is readable in light and in dark, on the page and as a file.

use plotters::{
    coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter},
    prelude::*,
};
use serde::{Deserialize, Serialize};

/// Of a plot, in pixels. It grows and shrinks with the page.
const SIZE: (u32, u32) = (760, 400);
/// Of which the legend takes so much.
const LEGEND: i32 = 190;
/// Room above the data, as a part of the axis.
const HEADROOM: f64 = 0.05;
/// Labels on an axis, about.
const LABELS: usize = 7;
/// Ink and grid in the drawing, and in dark.
const INK: RGBColor = RGBColor(0x1F, 0x23, 0x28);
const GRID: RGBColor = RGBColor(0xD8, 0xDD, 0xE3);
/// What the ink, the grid and each series become in light and in dark. Told apart also by those who see no red or green.
const COLOURS: [[&str; 2]; 10] = [
    ["#1F2328", "#E6E9ED"],
    ["#D8DDE3", "#3A424C"],
    ["#2A6FDB", "#7FB0FF"],
    ["#D1495B", "#FF94A3"],
    ["#1B8A5A", "#6FD6A0"],
    ["#B7791F", "#F0C060"],
    ["#7B4FC9", "#C6ABFF"],
    ["#0F8B8D", "#5FD4D6"],
    ["#8D5524", "#DDAA80"],
    ["#6B7280", "#B5BCC6"],
];
/// Ink and grid come before the series.
const FIRST_SERIES: usize = 2;

/// An axis.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axis {
    /// What it measures, with its unit.
    pub label: String,
    /// Whether equal distances are equal factors. Then numbers that are not above zero are left out.
    pub log: bool,
    /// What 0, 1, 2 and so on are called, where the axis does not measure.
    #[serde(default)]
    pub names: Vec<String>,
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Look {
    /// A line through all points, with a dot at each where they are few.
    #[default]
    Line,
    /// Dots alone: single observations.
    Dots,
    /// A dashed line: a law, a bound, what was expected.
    Dashed,
    /// Level until the next point: a count over time.
    Steps,
}

/// Some points that belong together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// What they are.
    pub name: String,
    /// How they are drawn.
    pub look: Look,
    /// Each `[x, y]`, in the order in which they are joined.
    pub points: Vec<[f64; 2]>,
}

/// A plot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// What must be known to read it.
    pub note: String,
    /// Across.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// At most eight are told apart by colour.
    pub series: Vec<Series>,
}

impl Axis {
    /// An axis with equal steps, from zero on if all numbers are positive.
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), ..Self::default() }
    }

    /// A logarithmic axis.
    pub fn log(label: impl Into<String>) -> Self {
        Self { label: label.into(), log: true, ..Self::default() }
    }

    /// An axis along which things stand that have names, at 0, 1, 2 and so on.
    pub fn named(names: &[&str]) -> Self {
        Self { names: names.iter().map(|name| (*name).to_owned()).collect(), ..Self::default() }
    }

    fn labels(&self) -> usize {
        if self.names.is_empty() { LABELS } else { self.names.len() }
    }

    fn tick(&self, number: f64) -> String {
        if self.names.is_empty() {
            return short(number);
        }
        let whole = number == number.round() && number >= 0.0;
        let name = whole.then(|| self.names.get(number as usize)).flatten();
        name.cloned().unwrap_or_default()
    }

    fn holds(&self, number: f64) -> bool {
        number.is_finite() && (!self.log || number > 0.0)
    }

    /// The range that shows all of `numbers`.
    fn range(&self, numbers: impl Iterator<Item = f64>) -> (f64, f64) {
        let numbers: Vec<f64> = numbers.filter(|number| self.holds(*number)).collect();
        let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
        let most = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if numbers.is_empty() {
            return (if self.log { 1.0 } else { 0.0 }, 10.0);
        }
        if self.log {
            let most = if most > least { most } else { least * 10.0 };
            let room = (most / least).powf(HEADROOM);
            return (least / room, most * room);
        }
        let least = least.min(0.0);
        let most = if most > least { most } else { least + 1.0 };
        (least, most + (most - least) * HEADROOM)
    }
}

impl Series {
    /// A line.
    pub fn line(name: impl Into<String>, points: impl IntoIterator<Item = [f64; 2]>) -> Self {
        Self { name: name.into(), look: Look::Line, points: points.into_iter().collect() }
    }

    /// A law or a bound.
    pub fn dashed(name: impl Into<String>, points: impl IntoIterator<Item = [f64; 2]>) -> Self {
        Self { look: Look::Dashed, ..Self::line(name, points) }
    }

    /// Single observations.
    pub fn dots(name: impl Into<String>, points: impl IntoIterator<Item = [f64; 2]>) -> Self {
        Self { look: Look::Dots, ..Self::line(name, points) }
    }

    /// A count over time.
    pub fn steps(name: impl Into<String>, points: impl IntoIterator<Item = [f64; 2]>) -> Self {
        Self { look: Look::Steps, ..Self::line(name, points) }
    }

    /// The distribution of `values`: for each of them, the part that is not above it. At most a thousand points.
    pub fn distribution(name: impl Into<String>, mut values: Vec<f64>) -> Self {
        values.retain(|value| value.is_finite());
        values.sort_unstable_by(f64::total_cmp);
        let step = values.len().div_ceil(1000).max(1);
        let part = |rank: usize| (rank + 1) as f64 / values.len() as f64;
        let last = values.len().saturating_sub(1);
        let ranks = (0..values.len()).filter(|rank| rank % step == 0 || *rank == last);
        Self::line(name, ranks.map(|rank| [values[rank], part(rank)]))
    }
}

impl Plot {
    /// A plot without series.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self { title: title.into(), x, y, ..Self::default() }
    }

    /// The same with a further series.
    pub fn with(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// The same with a note.
    pub fn noted(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Its title as a file's name, without an extension.
    pub fn file_name(&self) -> String {
        let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let name: String = self.title.chars().map(letter).collect();
        name.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
    }

    /// The drawing, to stand in a page that has [`colours`].
    pub(super) fn to_svg(&self) -> String {
        let mut svg = String::new();
        self.draw(&mut svg).expect("writing to a string does not fail");
        // It is as wide as its place allows.
        let fixed = format!(r#"width="{}" height="{}" "#, SIZE.0, SIZE.1);
        svg.replacen(&fixed, "", 1)
    }

    /// The drawing as a file of its own.
    pub fn to_svg_file(&self) -> String {
        let style = format!("<style>{}</style>\n<g", colours(""));
        let svg = self.to_svg();
        // Behind everything, the paper.
        let begin = svg.find('>').map_or(0, |at| at + 1);
        let paper = format!(r#"<rect class="paper" width="{}" height="{}"/>"#, SIZE.0, SIZE.1);
        let style = style.trim_end_matches("<g");
        format!("{}{style}{paper}{}", &svg[..begin], &svg[begin..])
    }

    fn draw(&self, svg: &mut String) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let (x, x_end) = self.x.range(points().map(|[x, _]| *x));
        let (y, y_end) = self.y.range(points().map(|[_, y]| *y));
        let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        let (chart, legend) = root.split_horizontally(SIZE.0 as i32 - LEGEND);
        match (self.x.log, self.y.log) {
            (false, false) => self.draw_chart(&chart, x..x_end, y..y_end)?,
            (true, false) => self.draw_chart(&chart, (x..x_end).log_scale(), y..y_end)?,
            (false, true) => self.draw_chart(&chart, x..x_end, (y..y_end).log_scale())?,
            (true, true) => self.draw_chart(&chart, (x..x_end).log_scale(), (y..y_end).log_scale())?,
        }
        self.draw_legend(&legend)?;
        root.present()
    }

    fn draw_chart<DB: DrawingBackend, X, Y>(
        &self,
        area: &DrawingArea<DB, plotters::coord::Shift>,
        x: X,
        y: Y,
    ) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>>
    where
        X: AsRangedCoord<Value = f64>,
        Y: AsRangedCoord<Value = f64>,
        X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
        Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let mut chart = ChartBuilder::on(area)
            .margin_top(12)
            .margin_right(14)
            .margin_left(6)
            .x_label_area_size(46)
            .y_label_area_size(66)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .x_labels(self.x.labels())
            .y_labels(self.y.labels())
            .max_light_lines(1)
            .axis_style(INK.stroke_width(1))
            .bold_line_style(GRID.stroke_width(1))
            .light_line_style(TRANSPARENT)
            .label_style(("sans-serif", 13).into_font().color(&INK))
            .axis_desc_style(("sans-serif", 14).into_font().color(&INK))
            .x_desc(&self.x.label)
            .y_desc(&self.y.label)
            .x_label_formatter(&|number| self.x.tick(*number))
            .y_label_formatter(&|number| self.y.tick(*number))
            .draw()?;
        for (number, series) in self.series.iter().enumerate() {
            let points = self.visible(series);
            let style = colour(number).stroke_width(2);
            match series.look {
                Look::Dots => {}
                Look::Dashed => {
                    chart.draw_series(DashedLineSeries::new(points.iter().copied(), 7, 4, style))?;
                }
                Look::Line | Look::Steps => {
                    chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
                }
            }
            let dotted = series.look == Look::Dots || series.look == Look::Line && points.len() <= 40;
            if dotted {
                let dot = |point| Circle::new(point, 3, colour(number).filled());
                chart.draw_series(points.into_iter().map(dot))?;
            }
        }
        Ok(())
    }

    /// The points of a series that its axes can show, steps drawn out.
    fn visible(&self, series: &Series) -> Vec<(f64, f64)> {
        let shown = series.points.iter().filter(|[x, y]| self.x.holds(*x) && self.y.holds(*y));
        let mut points: Vec<(f64, f64)> = Vec::new();
        for [x, y] in shown {
            if let (Look::Steps, Some((_, level))) = (series.look, points.last().copied()) {
                points.push((*x, level));
            }
            points.push((*x, *y));
        }
        points
    }

    fn draw_legend<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, plotters::coord::Shift>,
    ) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
        let text = ("sans-serif", 13).into_font().color(&INK);
        for (number, series) in self.series.iter().enumerate() {
            let y = 24 + 22 * number as i32;
            let style = colour(number).stroke_width(3);
            let ends = [(2, y), (22, y)];
            match series.look {
                Look::Dots => area.draw(&Circle::new((12, y), 4, colour(number).filled()))?,
                Look::Dashed => {
                    for from in [2, 13] {
                        area.draw(&PathElement::new([(from, y), (from + 8, y)], style))?;
                    }
                }
                Look::Line | Look::Steps => area.draw(&PathElement::new(ends, style))?,
            }
            area.draw(&Text::new(series.name.as_str(), (30, y - 6), text.clone()))?;
        }
        Ok(())
    }
}

/// The rules that give a drawing below `scope` its colours, in light and in dark.
pub(super) fn colours(scope: &str) -> String {
    let rules = |which: usize| -> String {
        let rule = |colour: &[&str; 2]| {
            let [name, becomes] = [colour[0], colour[which]];
            format!(
                "{scope} [stroke=\"{name}\"]{{stroke:{becomes}}}{scope} [fill=\"{name}\"]{{fill:{becomes}}}"
            )
        };
        COLOURS.iter().map(rule).collect()
    };
    let paper = |colour: &str| format!("{scope} .paper{{fill:{colour}}}");
    format!("{}@media (prefers-color-scheme: dark){{{}{}}}", paper("#FFFFFF"), paper("#14181D"), rules(1),)
}

fn colour(series: usize) -> RGBColor {
    let palette = &COLOURS[FIRST_SERIES..];
    let [text, _] = palette[series % palette.len()];
    let part = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap_or_default();
    RGBColor(part(1), part(3), part(5))
}

/// A number on an axis.
fn short(number: f64) -> String {
    let size = number.abs();
    let [value, unit] = match size {
        1e9.. => [number / 1e9, 9.0],
        1e6.. => [number / 1e6, 6.0],
        1e4.. => [number / 1e3, 3.0],
        _ => [number, 0.0],
    };
    let unit = match unit as u32 {
        9 => " G",
        6 => " M",
        3 => " k",
        _ => "",
    };
    let digits = if value.abs() >= 100.0 || value == value.round() { 0 } else { 4 };
    let text = format!("{value:.digits$}");
    let text = if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}
