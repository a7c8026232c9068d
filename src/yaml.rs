//! YAML text to a tree in which every value knows its place.
//!
//! Scalars follow YAML 1.2's core schema (`no` is a text, `1e3` a number). Aliases are copied;
//! budgets on nodes, depth and copied bytes stop alias bombs. A name written twice in a map is an
//! error, and so is one that begins with `$`: such names mark inputs in what is made from the tree.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::source::{BYTE_ORDER_MARK, Place, Source};

/// No pipeline comes near.
const MAX_NODES: usize = 1_000_000;
/// What aliases may copy, in bytes of memory; an alias bomb copies more at once.
const MAX_COPIED: usize = 16 << 20;
/// About what a node takes, beside its text.
const NODE: usize = 128;
/// Deep enough for any parameters, shallow enough for any stack.
const MAX_DEPTH: usize = 64;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub value: Yaml,
}

/// The kinds of values.
#[derive(Clone, Debug)]
pub enum Yaml {
    /// Null, true, false or a number.
    Plain(Value),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order written.
    Map(Vec<(Key, Node)>),
}

/// A name in a map.
#[derive(Clone, Debug)]
pub struct Key {
    /// The name.
    pub name: String,
    /// Where it stands.
    pub place: Place,
}

impl Node {
    /// Reads one document.
    pub fn parse(source: &Arc<Source>) -> Result<Self> {
        let text = &source.text;
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        refuse_controls(text, source)?;
        Reader {
            source,
            parser: Parser::new_from_str(text),
            anchors: HashMap::new(),
            nodes: 0,
            copied: 0,
        }
        .document()
    }

    /// As JSON, without places.
    pub fn to_json(&self) -> Value {
        match &self.value {
            Yaml::Plain(value) => value.clone(),
            Yaml::Text(text) => Value::from(text.as_str()),
            Yaml::List(items) => items.iter().map(Self::to_json).collect(),
            Yaml::Map(members) => members
                .iter()
                .map(|(key, node)| (key.name.clone(), node.to_json()))
                .collect(),
        }
    }

    /// The member of that name.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.members()
            .iter()
            .find(|(key, _)| key.name == name)
            .map(|(_, node)| node)
    }

    /// The members of a map; none for anything else.
    pub fn members(&self) -> &[(Key, Self)] {
        match &self.value {
            Yaml::Map(members) => members,
            _ => &[],
        }
    }

    /// The items of a list; none for anything else.
    pub fn items(&self) -> &[Self] {
        match &self.value {
            Yaml::List(items) => items,
            _ => &[],
        }
    }

    /// What a message calls this value.
    pub fn describe(&self) -> &'static str {
        match &self.value {
            Yaml::Plain(Value::Null) => "nothing",
            Yaml::Plain(Value::Bool(_)) => "true or false",
            Yaml::Plain(_) => "a number",
            Yaml::Text(_) => "a text",
            Yaml::List(_) => "a list",
            Yaml::Map(_) => "a map",
        }
    }

    /// The place that a path such as `schedule.warmup` or `run[2]` leads to, as far as it leads.
    pub fn locate(&self, path: &str) -> &Place {
        let mut node = self;
        let mut place = &self.place;
        for step in path
            .split(['.', '['])
            .map(|s| s.trim_end_matches(']'))
            .filter(|s| !s.is_empty())
        {
            let next = match &node.value {
                Yaml::Map(members) => members
                    .iter()
                    .find(|(key, _)| key.name == step)
                    .map(|(key, node)| (&key.place, node)),
                Yaml::List(items) => step
                    .parse()
                    .ok()
                    .and_then(|i: usize| items.get(i))
                    .map(|node| (&node.place, node)),
                _ => None,
            };
            let Some((at, inner)) = next else { break };
            node = inner;
            // A scalar is what a message is about; for anything larger its name says more.
            place = if matches!(inner.value, Yaml::Plain(_) | Yaml::Text(_)) {
                &inner.place
            } else {
                at
            };
        }
        place
    }
}

/// Refuses what YAML calls not printable. The parser takes a NUL for the end of the file, and what
/// comes after it would be lost without a word.
fn refuse_controls(text: &str, source: &Arc<Source>) -> Result<()> {
    let wrong = |c: char| {
        matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\x7f'..='\u{84}' | '\u{86}'..='\u{9f}')
            || matches!(c, '\u{fffe}' | '\u{ffff}')
    };
    let Some(at) = text.find(wrong) else {
        return Ok(());
    };
    let code = text[at..].chars().next().map_or(0, u32::from);
    let line = text[..at].rfind('\n').map_or(0, |n| n + 1);
    let place = Place {
        source: Arc::clone(source),
        line: text[..at].matches('\n').count() + 1,
        column: text[line..at].chars().count() + 1,
        length: 1,
    };
    let error = Error::usage(format!(
        "a character that YAML does not allow, U+{code:04X}"
    ));
    Err(error.at(&place).help(format!(
        "remove it, or write it in a text in double quotes, as \"\\u{code:04X}\""
    )))
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: HashMap<usize, (Node, Size)>,
    nodes: usize,
    copied: usize,
}

/// How large a node is with all that is in it.
#[derive(Clone, Copy)]
struct Size {
    nodes: usize,
    bytes: usize,
    levels: usize,
}

impl Size {
    /// Of a node without others in it.
    fn leaf(text: &str) -> Self {
        Self {
            nodes: 1,
            bytes: NODE + text.len(),
            levels: 0,
        }
    }

    fn add(&mut self, inner: Self) {
        self.nodes += inner.nodes;
        self.bytes += inner.bytes;
        self.levels = self.levels.max(inner.levels + 1);
    }
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Node> {
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
                (Event::StreamEnd | Event::DocumentEnd, _) => {
                    let place = Place::start(self.source);
                    return Ok(Node {
                        place,
                        value: Yaml::Plain(Value::Null),
                    });
                }
                (event, span) => {
                    let (node, _) = self.node(event, span, 0)?;
                    loop {
                        match self.next()? {
                            (Event::StreamEnd, _) => return Ok(node),
                            (Event::DocumentStart(_), span) => {
                                let error = Error::usage(
                                    "a second document begins here; a pipeline file holds one",
                                );
                                return Err(error.at(&self.place(span, 3)));
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span)> {
        match self.parser.next() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let place = Place {
                    source: Arc::clone(self.source),
                    line: error.marker().line().max(1),
                    column: error.marker().col() + 1,
                    length: 1,
                };
                let line = self
                    .source
                    .text
                    .lines()
                    .nth(place.line - 1)
                    .unwrap_or_default();
                let result = Error::usage(format!("this is not YAML: {}", error.info())).at(&place);
                // `{train: ${a.b}}` ends the map at the reference's brace.
                Err(if line.contains("${") && line.contains('{') {
                    result.help(
                        "inside `{ }` and `[ ]` a reference needs quotes: \"${stage.output}\"",
                    )
                } else {
                    result
                })
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn place(&self, span: Span, length: usize) -> Place {
        let line = span.start.line().max(1);
        let length = if span.end.line() == span.start.line() {
            span.len().max(1)
        } else {
            length
        };
        Place {
            source: Arc::clone(self.source),
            line,
            column: span.start.col() + 1,
            length,
        }
    }

    /// Reads the node that begins with `event`, and measures it.
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<(Node, Size)> {
        let place = self.place(span, 1);
        let deep = || Error::usage(format!("nested deeper than {MAX_DEPTH} levels")).at(&place);
        if depth > MAX_DEPTH {
            return Err(deep());
        }
        let mut size = Size::leaf("");
        let (value, anchor) = match event {
            Event::Alias(anchor) => {
                let Some((_, size)) = self.anchors.get(&anchor) else {
                    return Err(
                        Error::usage("this alias refers to itself or to nothing").at(&place)
                    );
                };
                let size = *size;
                if depth + size.levels > MAX_DEPTH {
                    return Err(deep());
                }
                self.copy(size, &place)?;
                self.count(size.nodes, &place)?;
                return Ok((self.anchors[&anchor].0.clone(), size));
            }
            Event::Scalar(text, style, anchor, tag) => {
                let forced = tag.is_some_and(|tag| tag.suffix == "str");
                let plain = style == ScalarStyle::Plain && !forced;
                size = Size::leaf(&text);
                (
                    if plain {
                        scalar(&text)
                    } else {
                        Yaml::Text(text.into_owned())
                    },
                    anchor,
                )
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::SequenceEnd {
                        break;
                    }
                    let (node, inner) = self.node(event, span, depth + 1)?;
                    size.add(inner);
                    items.push(node);
                }
                (Yaml::List(items), anchor)
            }
            Event::MappingStart(anchor, _) => {
                let mut members: Vec<(Key, Node)> = Vec::new();
                let mut names: HashMap<String, usize> = HashMap::new();
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::MappingEnd {
                        break;
                    }
                    let place = self.place(span, 1);
                    let Event::Scalar(name, style, ..) = event else {
                        return Err(Error::usage("a name in a map must be a text").at(&place));
                    };
                    let name = name.into_owned();
                    refuse_name(&name, style).map_err(|e| e.at(&place))?;
                    if let Some(first) = names.insert(name.clone(), place.line) {
                        let message =
                            format!("`{name}` is there twice; line {first} has the first");
                        return Err(Error::usage(message).at(&place));
                    }
                    let (event, span) = self.next()?;
                    let (node, inner) = self.node(event, span, depth + 1)?;
                    size.add(inner);
                    size.bytes += name.len();
                    members.push((Key { name, place }, node));
                }
                (Yaml::Map(members), anchor)
            }
            _ => return Err(Error::usage("a value is missing here").at(&place)),
        };
        self.count(1, &place)?;
        let node = Node { place, value };
        if anchor != 0 {
            self.copy(size, &node.place)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok((node, size))
    }

    fn copy(&mut self, size: Size, place: &Place) -> Result<()> {
        self.copied += size.bytes;
        if self.copied > MAX_COPIED {
            let message = format!(
                "the file grows by more than {} MiB when its aliases are copied",
                MAX_COPIED >> 20
            );
            return Err(Error::usage(message).at(place));
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, place: &Place) -> Result<()> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            let message = format!("the file has more than {MAX_NODES} values");
            return Err(Error::usage(message).at(place));
        }
        Ok(())
    }
}

/// Refuses names that would mean something else than they say.
fn refuse_name(name: &str, style: ScalarStyle) -> Result<()> {
    if name == "<<" && style == ScalarStyle::Plain {
        let error = Error::usage("merge keys (`<<`) are not part of YAML 1.2");
        return Err(
            error.help("write the members out, or use a whole map as *alias or ${var.name}")
        );
    }
    if name.starts_with('$') {
        let error = Error::usage(format!("`{name}` cannot be a name: it begins with `$`"));
        return Err(error.help("references stand in values"));
    }
    Ok(())
}

/// Refuses a value that variables made deeper than a file can be: not everything that reads it could.
pub fn shallow(value: &Value) -> Result<()> {
    fn depth(value: &Value) -> usize {
        1 + match value {
            Value::Array(items) => items.iter().map(depth).max().unwrap_or(0),
            Value::Object(members) => members.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }
    if depth(value) <= MAX_DEPTH + 1 {
        return Ok(());
    }
    Err(Error::usage(format!(
        "a value is nested deeper than {MAX_DEPTH} levels"
    )))
}

/// An unquoted scalar, by YAML 1.2's core schema.
pub fn scalar(text: &str) -> Yaml {
    let plain = match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => match number(text) {
            Some(number) => number,
            None => return Yaml::Text(text.to_owned()),
        },
    };
    Yaml::Plain(plain)
}

fn number(text: &str) -> Option<Value> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok().map(Value::from);
    }
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        let text = text.strip_prefix('+').unwrap_or(text);
        return text
            .parse::<i64>()
            .map(Value::from)
            .or_else(|_| text.parse::<u64>().map(Value::from))
            .ok();
    }
    let plausible = digits
        .bytes()
        .all(|b| b.is_ascii_digit() || b".eE+-".contains(&b));
    let float: f64 = plausible.then(|| text.parse().ok())??;
    float.is_finite().then(|| Value::from(float))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Node> {
        Node::parse(&Arc::new(Source {
            path: "t.yaml".into(),
            text: text.into(),
        }))
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        let node = parse("[1, -2, 3e-2, 0.5, no, true, ~, '1', 0x10, 1.2.3, cifar10.3@40-1, 18446744073709551615]").unwrap();
        let expected = serde_json::json!([
            1,
            -2,
            0.03,
            0.5,
            "no",
            true,
            null,
            "1",
            16,
            "1.2.3",
            "cifar10.3@40-1",
            u64::MAX
        ]);
        assert_eq!(node.to_json(), expected);
    }

    #[test]
    fn places_count_from_one() {
        let node = parse("a: 1\nb:\n  c: [x, yy]\n").unwrap();
        let place = node.locate("b.c[1]");
        assert_eq!((place.line, place.column, place.length), (3, 10, 2));
        assert_eq!(node.locate("b.zzz").line, 2);
    }

    #[test]
    fn a_name_written_twice_is_refused() {
        let error = parse("a: 1\na: 2\n").unwrap_err();
        assert!(
            error.to_string().contains("`a` is there twice; line 1"),
            "{error}"
        );
    }

    #[test]
    fn an_alias_bomb_is_stopped() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..12 {
            let before = format!("*a{}, ", i - 1).repeat(10);
            text += &format!("a{i}: &a{i} [{}]\n", before.trim_end_matches(", "));
        }
        assert!(parse(&text).unwrap_err().to_string().contains("aliases"));
        // Few values, but long ones; many anchors, and no alias at all.
        let long = format!("[&a {}, {}]", "x".repeat(30_000), "*a, ".repeat(9000));
        assert!(parse(&long).unwrap_err().to_string().contains("aliases"));
        let open: Vec<String> = (0..60).map(|n| format!("&a{n} [")).collect();
        let (open, inner) = (open.concat(), "x, ".repeat(15_000));
        let anchors = format!("{open}{inner}{}", "]".repeat(60));
        assert!(parse(&anchors).unwrap_err().to_string().contains("aliases"));
    }

    #[test]
    fn aliases_do_not_nest_deeper_than_what_is_written() {
        let mut text = "a0: &a0 x\n".to_owned();
        for i in 1..10 {
            text += &format!(
                "a{i}: &a{i} {}*a{}{}\n",
                "[".repeat(9),
                i - 1,
                "]".repeat(9)
            );
        }
        assert!(
            parse(&text)
                .unwrap_err()
                .to_string()
                .contains("nested deeper")
        );
        assert!(parse(&text[..text.find("a6:").unwrap()]).is_ok());
    }

    #[test]
    fn what_the_parser_would_swallow_is_refused() {
        for (text, line, column) in [
            ("a: 1\nb: x\0y\n", 2, 5),
            ("a: 1\n\0\0b: 1", 2, 1),
            ("\u{1b}", 1, 1),
        ] {
            let error = parse(text).unwrap_err();
            let place = error.place().unwrap();
            assert_eq!((place.line, place.column), (line, column), "{error}");
        }
        let escaped = parse("a: \"\\u001B\\0\"").unwrap();
        assert_eq!(escaped.to_json(), serde_json::json!({"a": "\u{1b}\0"}));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        let node = parse("\u{feff}a: 1\nb: 2\n").unwrap();
        assert_eq!(node.to_json(), serde_json::json!({"a": 1, "b": 2}));
        assert_eq!(node.locate("a").column, 4);
        let error = parse("\u{feff}a: 1\na: 1\n").unwrap_err();
        assert!(error.to_string().ends_with("2 | a: 1\n    | ^"), "{error}");
    }

    #[test]
    fn names_that_mean_something_to_the_runner_or_to_older_yaml_are_refused() {
        for text in [
            "{$input: 1}",
            "a: {'$template': []}",
            "{'${axis.a}': 1}",
            "a: &a {b: 1}\nc: {<<: *a}",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("{'<<': 1, a$: 2}").is_ok());
    }

    #[test]
    fn deep_nesting_is_stopped() {
        assert!(parse(&"[".repeat(5000)).is_err());
        assert!(parse(&format!("{}{}", "[".repeat(100), "]".repeat(100))).is_err());
    }

    #[test]
    fn a_reference_in_braces_without_quotes_gets_advice() {
        let error = parse("a: {train: ${dataset.train}}\n").unwrap_err();
        assert!(error.to_string().contains("needs quotes"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,200}") {
            let _ = parse(&text);
        }
    }
}
