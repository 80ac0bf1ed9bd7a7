//! The figures as a person reads them: a line a figure, a column a pool, and how they compare.

use std::fmt::Write;

use crate::figures::{Figures, times_better};

/// A pool and what was measured of it.
#[derive(Debug, Clone)]
pub struct Column {
    /// The pool.
    pub name: String,
    /// Its figures.
    pub figures: Figures,
    /// Why the measurement ended early.
    pub ended: Option<String>,
}

/// The table; with two columns there is a third for how many times better the first is.
pub fn table(columns: &[Column]) -> String {
    let mut rows = vec![header(columns)];
    let names = columns.iter().flat_map(|column| &column.figures.0);
    let mut seen = Vec::new();
    for figure in names {
        if seen.contains(&figure.name.as_str()) {
            continue;
        }
        seen.push(figure.name.as_str());
        let mut row = vec![name_and_unit(&figure.name, figure.unit)];
        row.extend(columns.iter().map(|column| {
            column.figures.value(&figure.name).map_or_else(|| "-".to_owned(), number)
        }));
        if columns.len() == 2 {
            row.push(ratio(columns, &figure.name));
        }
        rows.push(row);
    }
    let mut text = aligned(&rows);
    for column in columns {
        if let Some(ended) = &column.ended {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{} ended early: {ended}", column.name);
        }
    }
    text
}

fn header(columns: &[Column]) -> Vec<String> {
    let mut header = vec![String::new()];
    header.extend(columns.iter().map(|column| column.name.clone()));
    if columns.len() == 2 {
        header.push("times better".to_owned());
    }
    header
}

fn name_and_unit(name: &str, unit: &str) -> String {
    if unit.is_empty() { name.to_owned() } else { format!("{name} ({unit})") }
}

fn ratio(columns: &[Column], name: &str) -> String {
    let mut figures =
        columns.iter().map(|column| column.figures.0.iter().find(|figure| figure.name == name));
    let ratio = match (figures.next().flatten(), figures.next().flatten()) {
        (Some(ours), Some(theirs)) => times_better(ours, theirs),
        _ => None,
    };
    ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
}

/// Three digits that say something.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size == 0.0 || size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.01 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            let _ = match column {
                0 => write!(text, "{cell:width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Better;

    fn column(name: &str, value: f64) -> Column {
        let mut figures = Figures::default();
        figures.put("ack, p99", "ms", value, Better::Lower);
        Column { name: name.to_owned(), figures, ended: None }
    }

    #[test]
    fn two_pools_stand_side_by_side_with_their_ratio() {
        let text = table(&[column("adit", 2.0), column("sri", 9.0)]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        let row: Vec<_> = lines[1].split_whitespace().collect();
        assert_eq!(row, ["ack,", "p99", "(ms)", "2.00", "9.00", "4.50"]);
    }

    #[test]
    fn a_figure_that_one_pool_does_not_have_is_a_dash() {
        let mut second = column("sri", 1.0);
        second.figures.0.clear();
        second.ended = Some("the pool ended".to_owned());
        let text = table(&[column("adit", 2.0), second]);
        assert!(text.contains(" -") && text.contains("sri ended early: the pool ended"), "{text}");
    }

    #[test]
    fn numbers_have_about_three_digits() {
        let written = [0.0, 0.001, 0.5, 12.34, 123.4, 12_345.6].map(number);
        assert_eq!(written, ["0", "0.0010", "0.50", "12.3", "123", "12346"]);
    }
}
