//! Parameters of `command`.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::input::{Input, Part, Template};
use crate::kind::{Invalid, Output, Program, Stage};

/// Runs any program with declared inputs, outputs and environment. It starts in an empty work folder
/// and sees no variable but the stated ones (and PATH, HOME, TMPDIR, LANG, CUDA_VISIBLE_DEVICES).
///
/// In `run` and `env`, references to other stages' outputs become paths, `${in.NAME}` is the path of
/// an input named under `inputs`, and `${out.NAME}` is where the output of that name belongs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program and its arguments, as a list; or one text for `sh -e -c`, which ends at the first
    /// program that fails. In that, whatever comes through a reference is one word, and never taken
    /// for shell text.
    pub run: Run,
    /// Files and folders that the program reads beside those that `run` refers to.
    #[serde(default)]
    pub inputs: BTreeMap<String, Input>,
    /// The files or folders that it must make: name to a relative path.
    pub outputs: BTreeMap<String, String>,
    /// Environment variables.
    #[serde(default)]
    pub env: BTreeMap<String, Template>,
    /// Names of environment variables to pass on as they are; their values are not part of the key.
    #[serde(default)]
    pub pass_env: Vec<String>,
}

/// What to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Run {
    /// Program and arguments; no shell is involved.
    Arguments(Vec<Template>),
    /// A text for `sh -e -c`.
    Shell(Template),
}

/// A piece of the texts in `run` and `env`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// As it stands.
    Text(&'a str),
    /// `${in.NAME}`.
    In(&'a str),
    /// `${out.NAME}`.
    Out(&'a str),
}

/// Takes a text apart at `${in.NAME}` and `${out.NAME}`; any other `${…}` belongs to the shell.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    let (mut rest, mut from) = (text, 0);
    while let Some(start) = rest[from..].find("${").map(|n| n + from) {
        let inner = &rest[start + 2..];
        let hole = inner.find('}').and_then(|end| {
            let name = &inner[..end];
            let piece = name
                .strip_prefix("in.")
                .map(Piece::In)
                .or_else(|| name.strip_prefix("out.").map(Piece::Out));
            piece.map(|piece| (piece, start + 2 + end + 1))
        });
        let Some((piece, end)) = hole else {
            from = start + 2;
            continue;
        };
        if start > 0 {
            found.push(Piece::Text(&rest[..start]));
        }
        found.push(piece);
        (rest, from) = (&rest[end..], 0);
    }
    if !rest.is_empty() {
        found.push(Piece::Text(rest));
    }
    found
}

impl Command {
    /// Refuses names that nothing declares, and what no program can be given.
    fn check_names(&self, path: &str, template: &Template) -> Result<(), Invalid> {
        for part in &template.0 {
            let Part::Text(text) = part else { continue };
            if text.contains('\0') {
                return Err(Invalid::at(
                    path,
                    "no program takes a text with a NUL in it",
                ));
            }
            for piece in pieces(text) {
                let (hole, name, known) = match piece {
                    Piece::Text(_) => continue,
                    Piece::In(name) => ("in", name, self.inputs.contains_key(name)),
                    Piece::Out(name) => ("out", name, self.outputs.contains_key(name)),
                };
                if !known {
                    let message =
                        format!("`${{{hole}.{name}}}`: there is no `{name}` under `{hole}puts`");
                    return Err(Invalid::at(path, message));
                }
            }
        }
        Ok(())
    }
}

impl Stage for Command {
    const NAME: &'static str = "command";
    // 1: first
    const VERSION: u32 = 1;
    const PROGRAM: Program = Program::Own;
    const SHELL: Option<&'static str> = Some("run");

    fn outputs(&self) -> Vec<Output> {
        self.outputs
            .iter()
            .map(|(name, path)| Output::new(name, path))
            .collect()
    }

    fn check(&self) -> Result<(), Invalid> {
        if matches!(&self.run, Run::Arguments(list) if list.is_empty()) {
            return Err(Invalid::at("run", "`run` names no program"));
        }
        if self.outputs.is_empty() {
            return Err(Invalid::at(
                "outputs",
                "a command needs at least one output; its result is what it leaves there",
            ));
        }
        for (name, path) in &self.outputs {
            let plain = !path.is_empty()
                && Path::new(path)
                    .components()
                    .all(|c| matches!(c, Component::Normal(_)));
            if !plain {
                let message =
                    format!("expected a relative path without `.` and `..`, found `{path}`");
                return Err(Invalid::at(format!("outputs.{name}"), message));
            }
            let mut others = self.outputs.iter().filter(|(other, _)| *other != name);
            if let Some((other, _)) = others.find(|(_, of)| Path::new(path).starts_with(of)) {
                let message = format!("`{path}` lies in the output `{other}`");
                return Err(Invalid::at(format!("outputs.{name}"), message));
            }
        }
        match &self.run {
            Run::Shell(text) => self.check_names("run", text)?,
            Run::Arguments(list) => {
                for (n, text) in list.iter().enumerate() {
                    self.check_names(&format!("run[{n}]"), text)?;
                }
            }
        }
        for (name, text) in &self.env {
            self.check_names(&format!("env.{name}"), text)?;
        }
        let listed = self.pass_env.iter().enumerate();
        let passed = listed.map(|(n, name)| (name, format!("pass_env[{n}]")));
        let stated = self.env.keys().map(|name| (name, format!("env.{name}")));
        for (name, path) in stated.chain(passed) {
            if !is_variable(name) {
                let message = format!(
                    "`{name}` cannot name an environment variable; use letters, digits and `_`"
                );
                return Err(Invalid::at(path, message));
            }
        }
        Ok(())
    }
}

/// Whether a shell could set and read a variable of that name.
fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_come_apart_at_inputs_and_outputs_only() {
        use Piece::{In, Out, Text};
        assert_eq!(
            pieces("cat ${in.a} ${HOME} > ${out.b}"),
            [Text("cat "), In("a"), Text(" ${HOME} > "), Out("b")]
        );
        assert_eq!(pieces("${x} ${in.a"), [Text("${x} ${in.a")]);
        assert_eq!(pieces(""), []);
    }

    fn problem(params: serde_json::Value) -> (String, String) {
        let command: Command = serde_json::from_value(params).unwrap();
        let invalid = command.check().unwrap_err();
        (invalid.path, invalid.message)
    }

    #[test]
    fn paths_that_lead_elsewhere_and_unknown_names_are_refused() {
        for path in ["", "/etc/x", "../x", "a/../b", "."] {
            let (at, message) = problem(json!({"run": "true", "outputs": {"a": path}}));
            assert_eq!(at, "outputs.a");
            assert!(message.starts_with("expected a relative path"), "{message}");
        }
        assert_eq!(
            problem(json!({"run": "true", "outputs": {"a": "d", "b": "d/x"}})).1,
            "`d/x` lies in the output `a`"
        );
        let (at, message) =
            problem(json!({"run": ["cp", "${in.x}", "${out.a}"], "outputs": {"a": "d"}}));
        assert_eq!(
            (at.as_str(), message.as_str()),
            ("run[1]", "`${in.x}`: there is no `x` under `inputs`")
        );
    }

    #[test]
    fn what_no_environment_can_hold_is_refused() {
        for name in ["", "a b", "A=B", "1A", "A\0", "É", "$(id)"] {
            let (at, message) =
                problem(json!({"run": "true", "outputs": {"a": "d"}, "env": {name: "x"}}));
            assert!(
                at.starts_with("env.") && message.contains("cannot name"),
                "{message}"
            );
            let (at, _) =
                problem(json!({"run": "true", "outputs": {"a": "d"}, "pass_env": ["HOME", name]}));
            assert_eq!(at, "pass_env[1]");
        }
        let (at, message) = problem(json!({"run": ["a", "b\0c"], "outputs": {"a": "d"}}));
        assert_eq!((at.as_str(), message.contains("NUL")), ("run[1]", true));
    }
}
