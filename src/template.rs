//! A parameter as written, with its references found once, to be filled in for every job.

use std::cell::Cell;
use std::collections::BTreeSet;

use rematch_spec::input::{INPUT, TEMPLATE};
use rematch_spec::named::Named;
use rematch_spec::shell::Quotes;
use serde_json::{Value, json};

use crate::axis::{Axes, Point};
use crate::error::{Error, Result};
use crate::reference::{Piece, Reference, pieces};
use crate::source::Place;
use crate::yaml::{Node, Yaml};

/// How deep variables may refer to variables.
const MAX_DEPTH: usize = 32;
/// How many values and bytes of text may come in through variables.
const MAX_GROWTH: usize = 4 << 20;

/// A value with holes.
#[derive(Clone, Debug)]
pub enum Template {
    /// No holes.
    Plain(Value),
    /// A text with references, or a reference alone, which may become any value.
    Text(Vec<Hole>, Place),
    /// A list.
    List(Vec<Template>),
    /// A map.
    Map(Vec<(String, Template)>),
}

/// A piece of a text.
#[derive(Clone, Debug)]
pub enum Hole {
    /// Literal text.
    Text(String),
    /// A value of the axis with that number.
    Axis(usize, Vec<String>),
    /// The same as a word of a shell's text, with where in that it stands.
    Word(usize, Vec<String>, Quotes),
    /// An output of another stage.
    Output(Target),
}

/// What a reference to an output names.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// An output of the stage with that name, or all of them over its remaining axes.
    Stage {
        /// The stage.
        stage: String,
        /// Its output.
        output: String,
        /// Whether all are meant.
        all: bool,
    },
    /// A part of a named split.
    Named {
        /// The split.
        split: Named,
        /// The part.
        output: String,
    },
}

/// How much came in through variables.
#[derive(Default)]
pub struct Growth(Cell<usize>);

impl Growth {
    /// Counts what a variable brings in, and refuses variables that multiply one another.
    fn add(&self, size: usize, place: &Place) -> Result<()> {
        self.0.set(self.0.get().saturating_add(size));
        if self.0.get() > MAX_GROWTH {
            let error = Error::usage("variables that refer to one another grow without end");
            return Err(error.at(place));
        }
        Ok(())
    }
}

/// What a pipeline defines, for finding the names in references.
pub struct Scope<'a> {
    /// Variables.
    pub vars: &'a [(String, Node)],
    /// Axes.
    pub axes: &'a Axes,
    /// What came in through variables so far.
    pub growth: Growth,
}

impl Template {
    /// Finds the references in a value. Stage names are checked later, when all stages are known.
    pub fn new(node: &Node, scope: &Scope) -> Result<Self> {
        Self::at_depth(node, scope, 0)
    }

    /// The same for the parameters of a stage, one of which, where it is a text, is a shell's.
    pub fn with_shell(node: &Node, scope: &Scope, shell: Option<&str>) -> Result<Self> {
        let Yaml::Map(members) = &node.value else {
            return Self::new(node, scope);
        };
        let members = members.iter().map(|(key, node)| {
            let member = match &node.value {
                Yaml::Text(text) if shell == Some(&*key.name) => {
                    Self::text(text, &node.place, scope, 0, Some(Quotes::None))?
                }
                _ => Self::new(node, scope)?,
            };
            Ok((key.name.clone(), member))
        });
        Ok(Self::Map(members.collect::<Result<_>>()?))
    }

    fn at_depth(node: &Node, scope: &Scope, depth: usize) -> Result<Self> {
        if depth > 0 {
            let text = if let Yaml::Text(text) = &node.value {
                text.len()
            } else {
                0
            };
            scope.growth.add(1 + text, &node.place)?;
        }
        Ok(match &node.value {
            Yaml::Plain(value) => Self::Plain(value.clone()),
            Yaml::List(items) => Self::List(
                items
                    .iter()
                    .map(|item| Self::at_depth(item, scope, depth))
                    .collect::<Result<_>>()?,
            ),
            Yaml::Map(members) => Self::Map(
                members
                    .iter()
                    .map(|(key, node)| Ok((key.name.clone(), Self::at_depth(node, scope, depth)?)))
                    .collect::<Result<_>>()?,
            ),
            Yaml::Text(text) => Self::text(text, &node.place, scope, depth, None)?,
        })
    }

    /// `shell` says where in a shell's text the start of this stands, if it is one.
    fn text(
        text: &str,
        place: &Place,
        scope: &Scope,
        depth: usize,
        mut shell: Option<Quotes>,
    ) -> Result<Self> {
        let pieces = pieces(text).map_err(|e| e.at(&place.within("${")))?;
        if let [Piece::Text(text)] = &pieces[..] {
            return Ok(Self::Plain(Value::from(text.as_str())));
        }
        let whole = pieces.len() == 1;
        let mut holes = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) | Piece::Reference(Reference::Child(text)) => {
                    shell = shell.map(|quotes| quotes.after(&text));
                    holes.push(Hole::Text(text));
                }
                Piece::Reference(Reference::Axis { name, path }) => {
                    let axis = scope
                        .axes
                        .find(&name)
                        .map_err(|e| e.at(&place.within(&name)))?;
                    // A reference that is all there is stands for a shell's text, not for a word in it.
                    holes.push(match shell {
                        Some(quotes) if !whole => Hole::Word(axis, path, quotes),
                        _ => Hole::Axis(axis, path),
                    });
                }
                Piece::Reference(Reference::Output { stage, output, all }) => {
                    holes.push(Hole::Output(Target::Stage { stage, output, all }));
                }
                Piece::Reference(Reference::Named { split, output }) => {
                    holes.push(Hole::Output(Target::Named { split, output }));
                }
                Piece::Reference(Reference::Var { name, path }) => {
                    if depth >= MAX_DEPTH {
                        return Err(
                            Error::usage(format!("variable `{name}` refers to itself")).at(place)
                        );
                    }
                    let Some((_, node)) = scope.vars.iter().find(|(known, _)| *known == name)
                    else {
                        return Err(Error::usage(format!("there is no variable `{name}`"))
                            .at(&place.within(&name))
                            .suggest(&name, scope.vars.iter().map(|(known, _)| known.as_str())));
                    };
                    let mut node = node;
                    for step in &path {
                        node = node.get(step).ok_or_else(|| {
                            Error::usage(format!("variable `{name}` has no `{step}`"))
                                .at(&place.within(step))
                        })?;
                    }
                    if let (true, Some(_), Yaml::Text(text)) = (whole, shell, &node.value) {
                        return Self::text(text, &node.place, scope, depth + 1, shell);
                    }
                    match Self::at_depth(node, scope, depth + 1)? {
                        value if whole => return Ok(value),
                        Self::Plain(value) => {
                            let text = as_text(&value, place)?;
                            holes.push(Hole::Text(match shell {
                                Some(quotes) => quotes.write(&text),
                                None => text,
                            }));
                        }
                        Self::Text(inner, _) => {
                            holes.extend(inner.into_iter().map(|hole| match (hole, shell) {
                                (Hole::Text(text), Some(quotes)) => Hole::Text(quotes.write(&text)),
                                (Hole::Axis(axis, path), Some(quotes)) => {
                                    Hole::Word(axis, path, quotes)
                                }
                                (hole, _) => hole,
                            }));
                        }
                        _ => {
                            let message = format!(
                                "`{name}` is {}; a text can hold only one value",
                                node.describe()
                            );
                            return Err(Error::usage(message).at(&place.within(&name)));
                        }
                    }
                }
            }
        }
        // Only literal pieces are left where `${in.x}` or variables were all there was.
        if holes.iter().all(|hole| matches!(hole, Hole::Text(_))) {
            let text: String = holes
                .iter()
                .map(|hole| {
                    if let Hole::Text(text) = hole {
                        text.as_str()
                    } else {
                        ""
                    }
                })
                .collect();
            return Ok(Self::Plain(Value::from(text)));
        }
        Ok(Self::Text(holes, place.clone()))
    }

    /// Visits every reference.
    pub fn each_hole<'a>(&'a self, visit: &mut impl FnMut(&'a Hole, &'a Place)) {
        match self {
            Self::Plain(_) => {}
            Self::Text(holes, place) => holes.iter().for_each(|hole| visit(hole, place)),
            Self::List(items) => items.iter().for_each(|item| item.each_hole(visit)),
            Self::Map(members) => members
                .iter()
                .for_each(|(_, member)| member.each_hole(visit)),
        }
    }

    /// The axes mentioned.
    pub fn axes(&self) -> BTreeSet<usize> {
        let mut axes = BTreeSet::new();
        self.each_hole(&mut |hole, _| {
            if let Hole::Axis(axis, _) | Hole::Word(axis, ..) = hole {
                axes.insert(*axis);
            }
        });
        axes
    }

    /// The value at a point. `resolve` turns a reference to an output into JSON: an input, or a
    /// collection of inputs.
    pub fn fill(
        &self,
        axes: &Axes,
        point: &Point,
        resolve: &mut dyn FnMut(&Target, &Place) -> Result<Value>,
    ) -> Result<Value> {
        Ok(match self {
            Self::Plain(value) => value.clone(),
            Self::List(items) => {
                let items: Result<Vec<Value>> = items
                    .iter()
                    .map(|item| item.fill(axes, point, resolve))
                    .collect();
                Value::Array(items?)
            }
            Self::Map(members) => {
                let mut map = serde_json::Map::new();
                for (name, member) in members {
                    map.insert(name.clone(), member.fill(axes, point, resolve)?);
                }
                Value::Object(map)
            }
            Self::Text(holes, place) => match &holes[..] {
                [Hole::Axis(axis, path)] => {
                    axes.value(*axis, point, path).map_err(|e| e.at(place))?
                }
                [Hole::Output(target)] => resolve(target, place)?,
                _ => fill_text(holes, place, axes, point, resolve)?,
            },
        })
    }
}

fn fill_text(
    holes: &[Hole],
    place: &Place,
    axes: &Axes,
    point: &Point,
    resolve: &mut dyn FnMut(&Target, &Place) -> Result<Value>,
) -> Result<Value> {
    let mut parts: Vec<Value> = Vec::new();
    let mut text = String::new();
    for hole in holes {
        match hole {
            Hole::Text(literal) => text.push_str(literal),
            Hole::Axis(axis, path) => {
                let value = axes.value(*axis, point, path).map_err(|e| e.at(place))?;
                text.push_str(&as_text(&value, place)?);
            }
            Hole::Word(axis, path, quotes) => {
                let value = axes.value(*axis, point, path).map_err(|e| e.at(place))?;
                text.push_str(&quotes.write(&as_text(&value, place)?));
            }
            Hole::Output(target) => {
                if !text.is_empty() {
                    parts.push(Value::from(std::mem::take(&mut text)));
                }
                match resolve(target, place)? {
                    // A collection in a text is its members' paths, separated by spaces.
                    Value::Array(members) => {
                        for (n, member) in members.into_iter().enumerate() {
                            if n > 0 {
                                parts.push(Value::from(" "));
                            }
                            parts.push(member.get("file").cloned().unwrap_or(member));
                        }
                    }
                    input => parts.push(input),
                }
            }
        }
    }
    if parts.is_empty() {
        return Ok(Value::from(text));
    }
    if !text.is_empty() {
        parts.push(Value::from(text));
    }
    Ok(json!({ TEMPLATE: parts }))
}

/// A scalar inside a longer text.
fn as_text(value: &Value, place: &Place) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => {
            Err(Error::usage("a text can hold only one value here, not a list or a map").at(place))
        }
    }
}

/// The JSON that stands for the n-th reference of a job.
pub fn input(n: usize) -> Value {
    json!({ INPUT: n })
}
