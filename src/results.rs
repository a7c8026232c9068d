//! Where results appear: `out/<pipeline>/<stage>/<point>/<output>`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use rematch_cache::artifact::Artifact;
use rematch_cache::place::Placement;
use rematch_cache::store::Store;
use rematch_spec::kind::Output;

use crate::error::{Error, Result};
use crate::plan::Job;

/// The results folder of one pipeline.
#[derive(Clone, Debug)]
pub struct Results {
    out: PathBuf,
    root: PathBuf,
}

impl Results {
    /// In `out`, for the pipeline of that name.
    pub fn new(out: &Path, pipeline: &str) -> Self {
        let out = std::path::absolute(out).unwrap_or_else(|_| out.to_owned());
        Self {
            root: out.join(pipeline),
            out,
        }
    }

    /// The folder of all results, absolute.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// The pipeline's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a job.
    pub fn folder(&self, job: &Job) -> PathBuf {
        let stage = self.root.join(escape(&job.stage));
        if job.point.is_empty() {
            return stage;
        }
        let point: Vec<String> = job
            .point
            .iter()
            .map(|(axis, label)| format!("{axis}={}", escape(label)))
            .collect();
        stage.join(shorten(&point.join(",")))
    }

    /// Where an output of a job appears.
    pub fn path(&self, job: &Job, output: &Output) -> PathBuf {
        self.folder(job).join(&output.path)
    }

    /// Puts a job's outputs in place. `before` are those that an earlier run placed; anything else that lies there is
    /// kept beside them.
    pub fn place(
        &self,
        store: &Store,
        job: &Job,
        outputs: &BTreeMap<String, Artifact>,
        before: &BTreeMap<String, Artifact>,
    ) -> Result<Vec<(String, Placement)>> {
        let mut placed = Vec::new();
        for output in &job.declaration.outputs {
            if let Some(artifact) = outputs.get(&output.name) {
                let path = self.path(job, output);
                let path = path.strip_prefix(&self.out).unwrap_or(&path);
                let was = before.get(&output.name);
                let placement = store.materialise(artifact, &self.out, path, was)?;
                placed.push((output.name.clone(), placement));
            }
        }
        Ok(placed)
    }

    /// Shows the live outputs of a running job by links into its work folder. Returns what was moved aside for them.
    pub fn show_live(
        &self,
        store: &Store,
        job: &Job,
        before: &BTreeMap<String, Artifact>,
        work: &dyn Fn(&str) -> PathBuf,
    ) -> Result<Vec<PathBuf>> {
        let mut aside = Vec::new();
        for output in job.declaration.outputs.iter().filter(|output| output.live) {
            let path = self.path(job, output);
            aside.extend(store.keep_aside(&path, before.get(&output.name))?);
            let folder = path.parent().unwrap_or(&path);
            std::fs::create_dir_all(folder).map_err(|e| fail("create the folder", folder, &e))?;
            // The result of an earlier key is in the store, and this one will replace it; or a link to a work folder.
            if path.is_dir() && !path.is_symlink() {
                std::fs::remove_dir_all(&path).map_err(|e| fail("remove", &path, &e))?;
            } else {
                let _ = std::fs::remove_file(&path);
            }
            std::os::unix::fs::symlink(work(&output.name), &path)
                .map_err(|e| fail("create the link", &path, &e))?;
        }
        Ok(aside)
    }
}

fn fail(action: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::system(format!("cannot {action} {}: {error}", path.display()))
        .help("choose another results folder with --out")
}

/// A label as part of a file name: anything that could surprise a shell or a file system becomes
/// `%` and its hexadecimal code.
fn escape(label: &str) -> String {
    let mut name = String::new();
    for byte in label.bytes() {
        if byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte) {
            name.push(byte as char);
        } else {
            let _ = write!(name, "%{byte:02X}");
        }
    }
    if name.starts_with('.') {
        name.replace_range(0..1, "%2E");
    }
    name
}

/// File systems take names of 255 bytes.
fn shorten(name: &str) -> String {
    if name.len() <= 200 {
        return name.to_owned();
    }
    let digest = rematch_cache::digest::Digest::of_bytes(name.as_bytes()).to_string();
    format!("{}~{}", &name[..180], &digest[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_leave_their_folder() {
        assert_eq!(escape("../x y"), "%2E.%2Fx%20y");
        assert_eq!(escape("cifar10.3@40-1"), "cifar10.3@40-1");
        assert_eq!(shorten(&"x".repeat(300)).len(), 197);
    }
}
