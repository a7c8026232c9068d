//! A table as lines of texts, and how these look in a terminal, in Markdown and in LaTeX.

use super::Table;
use super::cell::{Cell, MISSING};

/// Texts in rows and columns.
pub struct Grid {
    title: Option<String>,
    head: Vec<String>,
    /// How many of the first columns hold labels.
    labels: usize,
    lines: Vec<Vec<String>>,
    /// Numbers of the lines that begin a row of the table.
    starts: Vec<usize>,
    foot: Vec<String>,
}

impl Grid {
    /// Our numbers, and below them the published ones with the difference.
    pub fn of(table: &Table) -> Self {
        let digits = usize::from(table.params.digits);
        let count = table.common_count();
        let mut head: Vec<String> = table.row_axes.clone();
        if head.is_empty() {
            head.push(String::new());
        }
        let labels = head.len();
        let value = if table.params.error {
            format!("100 − {}", table.params.value)
        } else {
            table.params.value.clone()
        };
        let columns = table.columns.iter().map(|c| {
            if c.is_empty() {
                value.clone()
            } else {
                c.join(" / ")
            }
        });
        head.extend(columns);

        let (mut lines, mut starts) = (Vec::new(), Vec::new());
        for (row, names) in table.rows.iter().enumerate() {
            let cells: Vec<&Cell> = (0..table.columns.len())
                .map(|column| &table.cells[&(row, column)])
                .collect();
            let line = |label: Vec<String>, text: &dyn Fn(&Cell) -> String| {
                let mut line = label;
                line.resize(labels, String::new());
                line.extend(cells.iter().map(|cell| text(cell)));
                line
            };
            starts.push(lines.len());
            let first = if names.is_empty() {
                vec!["ours".to_owned()]
            } else {
                names.clone()
            };
            lines.push(line(first, &|cell| {
                let number = number(cell.mean(), cell.deviation(), digits);
                if count.is_none() && !cell.values.is_empty() {
                    format!("{number} (n={})", cell.values.len())
                } else {
                    number
                }
            }));
            if cells.iter().any(|cell| cell.published.is_some()) {
                lines.push(line(vec!["  published".into()], &|cell| {
                    number(
                        cell.published.map(|p| p.mean),
                        cell.published.and_then(|p| p.std),
                        digits,
                    )
                }));
                lines.push(line(vec!["  difference".into()], &|cell| match (
                    cell.difference(),
                    cell.difference_in_deviations(),
                ) {
                    (Some(by), Some(deviations)) => format!("{by:+.digits$} ({deviations:+.1} sd)"),
                    (Some(by), None) => format!("{by:+.digits$}"),
                    _ => MISSING.into(),
                }));
            }
        }

        let over = table.params.over.as_slice().join(", ");
        let mut foot = vec![match count {
            Some(n) => format!("mean ± standard deviation of {value} over {over}, n = {n}"),
            None => format!("mean ± standard deviation of {value} over {over}, n values each"),
        }];
        if !table.column_axes.is_empty() {
            foot.push(format!("columns: {}", table.column_axes.join(" / ")));
        }
        if table.cells.values().any(|cell| cell.published.is_some())
            && let Some(published) = &table.published
        {
            foot.push(format!(
                "published: {}; sd: published standard deviations",
                published.source
            ));
        }
        Self {
            title: table.params.title.clone(),
            head,
            labels,
            lines,
            starts,
            foot,
        }
    }

    /// Aligned for a terminal.
    pub fn text(&self) -> String {
        let widths: Vec<usize> = (0..self.head.len())
            .map(|column| {
                self.all()
                    .map(|line| line[column].chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let show = |line: &[String]| {
            let mut text = String::new();
            for (column, (part, width)) in line.iter().zip(&widths).enumerate() {
                let padding = " ".repeat(width - part.chars().count());
                let gap = if column > 0 { "  " } else { "" };
                let (before, after) = if column < self.labels {
                    ("", padding.as_str())
                } else {
                    (padding.as_str(), "")
                };
                text.extend([gap, before, part, after]);
            }
            format!("{}\n", text.trim_end())
        };
        let rule = format!(
            "{}\n",
            "─".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1))
        );
        let mut text = self
            .title
            .as_ref()
            .map(|title| format!("{title}\n\n"))
            .unwrap_or_default();
        text += &show(&self.head);
        text += &rule;
        for line in &self.lines {
            text += &show(line);
        }
        text += &rule;
        text.extend(self.foot.iter().map(|line| format!("{line}\n")));
        text
    }

    /// A Markdown table.
    pub fn markdown(&self) -> String {
        let show = |line: &Vec<String>| {
            let parts: Vec<String> = line
                .iter()
                .map(|part| part.trim().replace('|', "\\|"))
                .collect();
            format!("| {} |", parts.join(" | "))
        };
        let rule = |column| if column < self.labels { "---" } else { "---:" };
        let rule: Vec<String> = (0..self.head.len())
            .map(|column| rule(column).to_owned())
            .collect();
        let mut text: Vec<String> = Vec::new();
        if let Some(title) = &self.title {
            text.extend([format!("## {title}"), String::new()]);
        }
        text.extend([show(&self.head), show(&rule)]);
        text.extend(self.lines.iter().map(show));
        text.extend([String::new(), self.foot.join("; "), String::new()]);
        text.join("\n")
    }

    /// A LaTeX tabular with the lines of the package booktabs.
    pub fn latex(&self) -> String {
        let show = |line: &[String]| {
            let parts: Vec<String> = line.iter().map(|part| escaped(part)).collect();
            format!("{} \\\\", parts.join(" & "))
        };
        let columns = "l".repeat(self.labels) + &"r".repeat(self.head.len() - self.labels);
        let mut text: Vec<String> = self
            .title
            .iter()
            .chain(&self.foot)
            .map(|line| format!("% {line}"))
            .collect();
        text.extend([
            format!("\\begin{{tabular}}{{{columns}}}"),
            "\\toprule".into(),
            show(&self.head),
            "\\midrule".into(),
        ]);
        let spaced = self.starts.len() < self.lines.len();
        for (n, line) in self.lines.iter().enumerate() {
            if spaced && n > 0 && self.starts.contains(&n) {
                text.push("\\addlinespace".into());
            }
            text.push(show(line));
        }
        text.extend([
            "\\bottomrule".into(),
            "\\end{tabular}".into(),
            String::new(),
        ]);
        text.join("\n")
    }

    fn all(&self) -> impl Iterator<Item = &Vec<String>> {
        std::iter::once(&self.head).chain(&self.lines)
    }
}

fn number(mean: Option<f64>, deviation: Option<f64>, digits: usize) -> String {
    match (mean, deviation) {
        (Some(mean), Some(deviation)) => format!("{mean:.digits$} ± {deviation:.digits$}"),
        (Some(mean), None) => format!("{mean:.digits$}"),
        _ => MISSING.into(),
    }
}

fn escaped(text: &str) -> String {
    let indented = text.starts_with("  ");
    let mut out = String::from(if indented { "\\quad " } else { "" });
    for character in text.trim().chars() {
        match character {
            '±' => out.push_str("$\\pm$"),
            '−' => out.push_str("$-$"),
            '–' => out.push_str("--"),
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', character]),
            other => out.push(other),
        }
    }
    out
}
