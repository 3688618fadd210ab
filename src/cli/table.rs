//! Tables the way kubectl prints them: upper-case headers, two spaces apart, no lines.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};

/// Renders rows under headers; without headers if there are none.
pub fn render(headers: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if !headers.is_empty() {
        table.set_header(headers.to_vec());
    }
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(1)));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::super::tone::{Tone, plain};

    #[test]
    fn columns_are_two_spaces_apart_and_lines_end_without_blanks() {
        let text = super::render(&["NAME", "VNI"], [vec!["red".into(), "100".into()], vec!["b".into(), "2".into()]]);
        assert_eq!(text, "NAME  VNI\nred   100\nb     2\n");
        assert_eq!(super::render(&[], [vec!["red".into(), "100".into()]]), "red  100\n");
    }

    #[test]
    fn marks_of_colors_have_no_width() {
        let rows = ["up", "down"].map(|word| vec![Tone::of(word == "up").mark(word), "x".into()]);
        assert_eq!(plain(&super::render(&["S", "N"], rows)), "S     N\nup    x\ndown  x\n");
    }
}
