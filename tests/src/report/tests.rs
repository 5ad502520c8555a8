use super::*;

fn sample() -> Report {
    let mut report = Report::new("a net grows", "From 16 to 8,192 <supernodes>.");
    let sizes = (4..14).map(|bits| f64::from(1_u32 << bits));
    report.plots.push(
        Plot::new("Messages of a sweep", Axis::log("supernodes"), Axis::log("query messages"))
            .with(Series::line("measured", sizes.clone().map(|n| [n, 1.8 * n.sqrt().round()])))
            .with(Series::dashed(
                "2 sqrt(N) + 1 % of N",
                sizes.clone().map(|n| [n, (2.0 * n.sqrt() + n / 100.0).round()]),
            ))
            .with(Series::line("flooding", sizes.map(|n| [n, n])))
            .noted("One question that every supernode must be asked."),
    );
    let minutes = (0..60).map(|minute| [f64::from(minute), f64::from(20 + minute * minute % 37)]);
    report.plots.push(
        Plot::new("Supernodes over time", Axis::linear("minutes"), Axis::linear("supernodes"))
            .with(Series::steps("supernodes", minutes))
            .with(Series::dots("asked for", [[0.0, 18.0], [30.0, 44.0], [59.0, 30.0]])),
    );
    let mut table = Table::new("Systems", &["system"], &["recall", "messages"]).noted("at rest");
    table.push(["Near|mesh", "1.0", "219"]);
    report.tables.push(table);
    report.facts.push(Fact::new("seed", 7, "the command line"));
    report.expectations.push(Expectation::at_most("messages of a sweep", 256.0, 219.4));
    report.expectations.push(Expectation::at_least("recall", 1.0, 0.75));
    report
}

#[test]
fn a_page_is_complete_in_itself() {
    let html = sample().to_html();
    assert_eq!(html.matches("<svg").count(), 2);
    assert!(!html.contains("src=") && !html.contains("href="), "nothing is fetched");
    assert!(html.contains("From 16 to 8,192 &lt;supernodes&gt;."), "text is escaped");
    assert!(html.contains("1 of 2 held") && html.contains("NOT held"));
    assert!(html.contains("prefers-color-scheme"));
}

#[test]
fn json_gives_the_same_report_back() {
    let report = sample();
    let again: Report = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(again, report);
    assert!(!again.held());
}

#[test]
fn a_report_is_written_with_its_plots_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let written = sample().write(folder.path()).unwrap();
    let names: Vec<_> = written.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    assert_eq!(names, ["report.html", "report.json", "messages-of-a-sweep.svg", "supernodes-over-time.svg"]);
    assert!(written.iter().all(|path| path.metadata().unwrap().len() > 500));
}

#[test]
fn every_series_is_in_the_drawing_and_what_a_log_axis_cannot_show_is_left_out() {
    let plot = Plot::new("p", Axis::log("x"), Axis::log("y"))
        .with(Series::line("alice", [[1.0, 1.0], [10.0, 100.0], [0.0, 5.0], [5.0, f64::NAN]]));
    let svg = plot.to_svg();
    assert!(svg.contains("alice"));
    assert_eq!(svg.matches("<circle").count(), 2, "{svg}");
    let empty = Plot::new("nothing", Axis::linear("x"), Axis::log("y")).to_svg();
    assert!(empty.contains("<svg"));
}

#[test]
fn colours_of_the_drawing_are_those_that_the_style_renames() {
    let svg = sample().plots[0].to_svg_file();
    for colour in ["#2A6FDB", "#D1495B", "#1F2328", "#D8DDE3"] {
        assert!(svg.contains(&format!("=\"{colour}\"")), "{colour} is in the drawing");
        assert!(svg.contains(&format!("[stroke=\"{colour}\"]")), "{colour} is renamed");
    }
}

#[test]
fn a_table_is_markdown_too() {
    let report = sample();
    let expected = "| system | recall | messages |\n| --- | ---: | ---: |\n| Near\\|mesh | 1.0 | 219 |\n";
    assert_eq!(report.tables[0].to_markdown(), expected);
}

#[test]
fn figures_are_short() {
    let figures = [1234567.0, 219.4, 42.0, 12.34, 1.234, 0.0004, 0.99987, 0.5, -1500.0, f64::NAN];
    assert_eq!(
        figures.map(figure),
        ["1,234,567", "219", "42", "12.3", "1.23", "4.0e-4", "0.9999", "0.5", "-1,500", "-"]
    );
}

#[test]
fn a_distribution_ends_at_one() {
    let series = Series::distribution("latency", (0..5000).map(f64::from).collect());
    assert!(series.points.len() <= 1002);
    assert_eq!(series.points.last(), Some(&[4999.0, 1.0]));
}

#[test]
#[ignore = "writes a sample page to /tmp/models, to look at"]
fn a_sample_to_look_at() {
    sample().write(Path::new("/tmp/models/sample")).unwrap();
}
