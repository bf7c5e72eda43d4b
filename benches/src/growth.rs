//! How cost grows: a measure at growing sizes, as a table of ratios and as a plot.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
/// Left, right, top, bottom.
const MARGIN: (f64, f64, f64, f64) = (64.0, 24.0, 36.0, 44.0);

/// One measure at growing sizes.
pub struct Growth {
    /// What is measured.
    pub name: &'static str,
    /// Of what there are more and more.
    pub of: &'static str,
    /// The measure's unit.
    pub unit: &'static str,
    /// Sizes with what was measured, in growing order.
    pub points: Vec<(f64, f64)>,
}

impl Growth {
    /// From one size to the next: how many times the cost, for how many times the size.
    pub fn steps(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.points.windows(2).filter_map(|two| match two {
            [(size, cost), (next_size, next_cost)] => Some((next_size / size, next_cost / cost)),
            _ => None,
        })
    }

    /// The most that a step cost beyond its size: 1 is linear, less is better.
    pub fn worst(&self) -> f64 {
        self.steps().map(|(size, cost)| cost / size).fold(0.0, f64::max)
    }

    /// The table in Markdown.
    pub fn table(&self) -> String {
        let Self { name, of, unit, .. } = self;
        let mut text =
            format!("| {of} | {name}, {unit} | {of} x | cost x | cost x / {of} x |\n|---|---|---|---|---|\n");
        let mut steps = self.steps();
        for (no, (size, cost)) in self.points.iter().enumerate() {
            let step = if no == 0 { None } else { steps.next() };
            let rest = step.map_or_else(
                || "| | |".to_owned(),
                |(size, cost)| format!("{size:.1} | {cost:.2} | {:.2} |", cost / size),
            );
            let _ = writeln!(text, "| {size} | {cost:.2} | {rest}");
        }
        text
    }

    /// The plot: both axes by powers of ten, so that what grows in proportion is a straight line of slope 1, which
    /// stands beside it in dashes.
    pub fn plot(&self) -> String {
        let (left, right, top, bottom) = MARGIN;
        let sizes = decades(self.points.iter().map(|(size, _)| *size));
        let costs = decades(self.points.iter().map(|(_, cost)| *cost));
        let x = |size: f64| left + (size.log10() - sizes.0) / (sizes.1 - sizes.0) * (WIDTH - left - right);
        let y = |cost: f64| {
            HEIGHT - bottom - (cost.log10() - costs.0) / (costs.1 - costs.0) * (HEIGHT - top - bottom)
        };
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" font-family=\"system-ui,sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
             <text x=\"{left}\" y=\"20\" font-size=\"14\">{}, {}, by {}</text>\n",
            self.name, self.unit, self.of
        );
        for power in whole(sizes) {
            let at = x(10_f64.powi(power));
            let _ = writeln!(
                svg,
                "<line x1=\"{at:.1}\" y1=\"{top}\" x2=\"{at:.1}\" y2=\"{0:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{at:.1}\" y=\"{1:.1}\" text-anchor=\"middle\">{2}</text>",
                HEIGHT - bottom,
                HEIGHT - bottom + 18.0,
                10_f64.powi(power)
            );
        }
        for power in whole(costs) {
            let at = y(10_f64.powi(power));
            let _ = writeln!(
                svg,
                "<line x1=\"{left}\" y1=\"{at:.1}\" x2=\"{0:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{1:.1}\" y=\"{2:.1}\" text-anchor=\"end\">{3}</text>",
                WIDTH - right,
                left - 6.0,
                at + 4.0,
                10_f64.powi(power)
            );
        }
        // In proportion to the last point.
        if let (Some((first, _)), Some((last, cost))) = (self.points.first(), self.points.last()) {
            let lowest = 10_f64.powf(costs.0);
            let from = (last * lowest / cost).max(*first);
            let _ = writeln!(
                svg,
                "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"#999\" stroke-dasharray=\"5 4\"/>",
                x(from),
                y(cost * from / last),
                x(*last),
                y(*cost)
            );
        }
        let places: Vec<String> =
            self.points.iter().map(|(size, cost)| format!("{:.1},{:.1}", x(*size), y(*cost))).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"#1b6ec2\" stroke-width=\"2\"/>",
            places.join(" ")
        );
        for (size, cost) in &self.points {
            let _ = writeln!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"#1b6ec2\"/>",
                x(*size),
                y(*cost)
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// The powers of ten around these values.
fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (least, most) = values
        .fold((f64::MAX, f64::MIN_POSITIVE), |(least, most), value| (least.min(value), most.max(value)));
    let (from, until) = (least.log10().floor(), most.log10().ceil());
    (from, if until > from { until } else { from + 1.0 })
}

fn whole((from, until): (f64, f64)) -> std::ops::RangeInclusive<i32> {
    from as i32..=until as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_with_the_square_is_worse_than_linear() {
        let growth =
            |points: &[(f64, f64)]| Growth { name: "time", of: "bids", unit: "ms", points: points.to_vec() };
        let linear = growth(&[(10.0, 2.0), (100.0, 20.0), (1_000.0, 150.0)]);
        assert!((linear.worst() - 1.0).abs() < 1e-9);
        assert!(growth(&[(10.0, 1.0), (100.0, 100.0)]).worst() > 9.0);
        let table = linear.table();
        assert!(table.contains("| 100 | 20.00 | 10.0 | 10.00 | 1.00 |"), "{table}");
        let plot = linear.plot();
        assert!(plot.starts_with("<svg xmlns=") && plot.ends_with("</svg>\n"), "{plot}");
        assert_eq!(plot.matches("<circle").count(), 3);
    }
}
