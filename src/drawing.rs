//! A graph as text, Graphviz, Mermaid or SVG.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use petgraph::graph::NodeIndex;

use crate::error::Result;
use crate::plan::{From, Plan};

/// Boxes and what they read from one another.
pub struct Drawing {
    /// The boxes, each after those that it reads from.
    pub nodes: Vec<Node>,
}

/// A box.
pub struct Node {
    /// Its first line.
    pub title: String,
    /// Its second line.
    pub subtitle: String,
    /// What it reads: the number of a box, and the outputs.
    pub reads: BTreeMap<usize, BTreeSet<String>>,
}

impl Drawing {
    /// One box per stage.
    pub fn of_stages(plan: &Plan, wanted: &BTreeSet<NodeIndex>) -> Result<Self> {
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let mut nodes: Vec<Node> = Vec::new();
        let mut counts: Vec<usize> = Vec::new();
        for index in wanted {
            let job = plan.job(*index)?;
            let number = *numbers.entry(job.stage.clone()).or_insert_with(|| {
                nodes.push(Node {
                    title: job.stage.clone(),
                    subtitle: job.declaration.kind.name.into(),
                    reads: BTreeMap::new(),
                });
                counts.push(0);
                nodes.len() - 1
            });
            counts[number] += 1;
            for input in &job.inputs {
                if let From::Job(other, output) = &input.from
                    && let Some(other) = numbers.get(plan.stage(*other))
                {
                    nodes[number]
                        .reads
                        .entry(*other)
                        .or_default()
                        .insert(output.clone());
                }
            }
        }
        for (node, count) in nodes.iter_mut().zip(counts) {
            if count > 1 {
                node.subtitle += &format!(" × {count}");
            }
        }
        Ok(Self { nodes })
    }

    /// One box per job.
    pub fn of_jobs(plan: &Plan, wanted: &BTreeSet<NodeIndex>) -> Result<Self> {
        let numbers: HashMap<NodeIndex, usize> = wanted
            .iter()
            .enumerate()
            .map(|(n, job)| (*job, n))
            .collect();
        let nodes = wanted.iter().map(|index| {
            let job = plan.job(*index)?;
            let mut reads: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
            for input in &job.inputs {
                if let From::Job(other, output) = &input.from {
                    reads
                        .entry(numbers[other])
                        .or_default()
                        .insert(output.clone());
                }
            }
            Ok(Node {
                title: job.name,
                subtitle: job.declaration.kind.name.into(),
                reads,
            })
        });
        Ok(Self {
            nodes: nodes.collect::<Result<_>>()?,
        })
    }

    /// A line per box, and what it reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let width = self
            .nodes
            .iter()
            .map(|node| node.title.chars().count())
            .max()
            .unwrap_or(0);
        for node in &self.nodes {
            let reads: Vec<String> = node
                .reads
                .iter()
                .map(|(other, outputs)| {
                    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
                    format!("{}.{}", self.nodes[*other].title, outputs.join("+"))
                })
                .collect();
            let arrow = if reads.is_empty() {
                String::new()
            } else {
                format!("  ← {}", reads.join(", "))
            };
            let _ = writeln!(text, "{:width$}  {}{arrow}", node.title, node.subtitle);
        }
        text
    }

    /// Graphviz.
    pub fn dot(&self) -> String {
        let mut text = "digraph rematch {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n".to_owned();
        let quote = |label: &str| label.replace('\\', "\\\\").replace('"', "\\\"");
        for (n, node) in self.nodes.iter().enumerate() {
            let _ = writeln!(
                text,
                "  n{n} [label=\"{}\\n{}\"];",
                quote(&node.title),
                quote(&node.subtitle)
            );
        }
        for (n, node) in self.nodes.iter().enumerate() {
            for (other, outputs) in &node.reads {
                let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
                let _ = writeln!(
                    text,
                    "  n{other} -> n{n} [label=\"{}\"];",
                    quote(&outputs.join(", "))
                );
            }
        }
        text + "}\n"
    }

    /// Mermaid.
    pub fn mermaid(&self) -> String {
        let mut text = "flowchart LR\n".to_owned();
        // A page shows labels as HTML.
        let quote = |label: &str| {
            [
                ('#', "#35;"),
                ('&', "#amp;"),
                ('<', "#lt;"),
                ('>', "#gt;"),
                ('"', "#quot;"),
                ('|', "#124;"),
            ]
            .iter()
            .fold(label.to_owned(), |text, (c, code)| text.replace(*c, code))
        };
        for (n, node) in self.nodes.iter().enumerate() {
            let _ = writeln!(
                text,
                "  n{n}[\"{}<br/><small>{}</small>\"]",
                quote(&node.title),
                quote(&node.subtitle)
            );
        }
        for (n, node) in self.nodes.iter().enumerate() {
            for (other, outputs) in &node.reads {
                let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
                let _ = writeln!(text, "  n{other} -->|{}| n{n}", quote(&outputs.join(", ")));
            }
        }
        text
    }

    /// A picture: boxes in columns by how far they are from the start, lines between them.
    pub fn svg(&self) -> String {
        const BOX: f64 = 44.0;
        const ROW: f64 = 64.0;
        const GAP: f64 = 70.0;
        const LETTER: f64 = 7.2; // about the width of a character at 13 px
        let mut columns: Vec<Vec<usize>> = Vec::new();
        let mut depth = vec![0usize; self.nodes.len()];
        for (n, node) in self.nodes.iter().enumerate() {
            depth[n] = node
                .reads
                .keys()
                .map(|other| depth[*other] + 1)
                .max()
                .unwrap_or(0);
            columns.resize_with(columns.len().max(depth[n] + 1), Vec::new);
            columns[depth[n]].push(n);
        }
        let mut row = vec![0.0f64; self.nodes.len()];
        for column in &mut columns {
            // Each box near the middle of what it reads, so that few lines cross.
            let wish = |n: usize, row: &[f64]| {
                let reads = &self.nodes[n].reads;
                if reads.is_empty() {
                    f64::MAX
                } else {
                    reads.keys().map(|other| row[*other]).sum::<f64>() / reads.len() as f64
                }
            };
            column.sort_by(|a, b| wish(*a, &row).total_cmp(&wish(*b, &row)));
            for (place, n) in column.iter().enumerate() {
                row[*n] = place as f64;
            }
        }
        let tallest = columns.iter().map(Vec::len).max().unwrap_or(0) as f64;
        let (mut x, mut left, mut wide) = (
            16.0,
            vec![0.0; self.nodes.len()],
            vec![0.0; self.nodes.len()],
        );
        for column in &columns {
            let letters = column.iter().map(|n| {
                let node = &self.nodes[*n];
                node.title
                    .chars()
                    .count()
                    .max(node.subtitle.chars().count())
            });
            let width = letters.max().unwrap_or(0) as f64 * LETTER + 24.0;
            for n in column {
                (left[*n], wide[*n]) = (x, width);
                row[*n] += (tallest - column.len() as f64) / 2.0;
            }
            x += width + GAP;
        }
        let (width, height) = (x - GAP + 16.0, tallest * ROW + 12.0);
        let top = |n: usize| 16.0 + row[n] * ROW;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        );
        for (n, node) in self.nodes.iter().enumerate() {
            for other in node.reads.keys() {
                let (x1, y1) = (left[*other] + wide[*other], top(*other) + BOX / 2.0);
                let (x2, y2) = (left[n], top(n) + BOX / 2.0);
                let bend = GAP / 2.0;
                let _ = writeln!(
                    svg,
                    "<path d=\"M{x1:.1} {y1:.1}C{:.1} {y1:.1} {:.1} {y2:.1} {x2:.1} {y2:.1}\" fill=\"none\" stroke=\"#8a94a6\" stroke-width=\"1.5\"/>",
                    x1 + bend,
                    x2 - bend
                );
            }
        }
        for (n, node) in self.nodes.iter().enumerate() {
            let (x, y, middle) = (left[n], top(n), left[n] + wide[n] / 2.0);
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BOX}\" rx=\"8\" fill=\"#eef3fb\" stroke=\"#3b6fb6\"/>\n<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"13\" font-weight=\"600\" fill=\"#1b2a41\">{}</text>\n<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"11\" fill=\"#566\">{}</text>",
                wide[n],
                y + 19.0,
                escape(&node.title),
                y + 35.0,
                escape(&node.subtitle)
            );
        }
        svg + "</svg>\n"
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawing() -> Drawing {
        let node = |title: &str, reads: &[usize]| Node {
            title: title.into(),
            subtitle: "kind".into(),
            reads: reads
                .iter()
                .map(|n| (*n, ["out<1>\"".to_owned()].into()))
                .collect(),
        };
        Drawing {
            nodes: vec![node("a", &[]), node("b & c", &[0]), node("d", &[0, 1])],
        }
    }

    #[test]
    fn every_format_has_every_box_and_escapes_names() {
        let drawing = drawing();
        assert!(
            drawing
                .text()
                .contains("d      kind  ← a.out<1>\", b & c.out<1>\""),
            "{}",
            drawing.text()
        );
        assert!(drawing.dot().contains("n0 -> n2 [label=\"out<1>\\\"\"]"));
        assert!(drawing.mermaid().contains("-->|out#lt;1#gt;#quot;| n2"));
        let svg = drawing.svg();
        assert!(svg.contains("b &amp; c") && svg.matches("<path").count() == 3);
    }
}
