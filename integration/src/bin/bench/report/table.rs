//! A table in Markdown.

/// Numbers stand right, names left.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// Instead of a value that there is none of.
const NONE: &str = "–";

impl Table {
    pub(crate) fn new(head: Vec<String>) -> Self {
        Self { head, rows: Vec::new() }
    }

    /// A row, unless nothing was measured for it.
    pub(crate) fn row(&mut self, name: &str, cells: impl IntoIterator<Item = Option<String>>) {
        let cells: Vec<Option<String>> = cells.into_iter().collect();
        if cells.iter().all(Option::is_none) {
            return;
        }
        let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| NONE.to_owned()));
        self.rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
    }

    /// Nothing for a table without rows.
    pub(crate) fn if_any(self) -> Option<Self> {
        (!self.rows.is_empty()).then_some(self)
    }

    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let under = format!("|---|{}\n", "--:|".repeat(self.head.len().saturating_sub(1)));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        line(&self.head) + &under + &rows
    }
}

/// `None` unless both are there.
pub(crate) fn ratio(one: Option<f64>, other: Option<f64>) -> Option<String> {
    Some(format!("{:.2}", one? / other?))
}
