//! Where results appear: `out/<pipeline>/<stage>/<point>/<output>`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use rematch_cache::entry::Entry;
use rematch_cache::store::Store;
use rematch_spec::kind::Output;

use crate::error::{Error, Result};
use crate::plan::Job;

/// The results folder of one pipeline.
#[derive(Clone, Debug)]
pub struct Results {
    root: PathBuf,
}

impl Results {
    /// In `out`, for the pipeline of that name.
    pub fn new(out: &Path, pipeline: &str) -> Self {
        let out = std::path::absolute(out).unwrap_or_else(|_| out.to_owned());
        Self {
            root: out.join(pipeline),
        }
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

    /// Puts a job's outputs in place.
    pub fn place(&self, store: &Store, job: &Job, entry: &Entry) -> Result<()> {
        for output in &job.declaration.outputs {
            if let Some(artifact) = entry.outputs.get(&output.name) {
                let path = self.path(job, output);
                if path.is_symlink() {
                    remove_link(&path)?;
                }
                store.materialise(artifact, &path)?;
            }
        }
        Ok(())
    }

    /// Shows the live outputs of a running job by links into its work folder.
    pub fn show_live(&self, job: &Job, outputs: &dyn Fn(&str) -> PathBuf) -> Result<()> {
        for output in job.declaration.outputs.iter().filter(|output| output.live) {
            let path = self.path(job, output);
            let work = outputs(&output.name);
            if path.is_symlink() {
                remove_link(&path)?;
            } else if path.exists() {
                // The result of an earlier key: it is in the store, and this one will replace it.
                let old = if path.is_dir() {
                    std::fs::remove_dir_all(&path)
                } else {
                    std::fs::remove_file(&path)
                };
                old.map_err(|e| fail("remove the old result", &path, &e))?;
            }
            let folder = self.folder(job);
            std::fs::create_dir_all(&folder).map_err(|e| fail("create the folder", &folder, &e))?;
            std::os::unix::fs::symlink(&work, &path)
                .map_err(|e| fail("create the link", &path, &e))?;
        }
        Ok(())
    }
}

fn remove_link(path: &Path) -> Result<()> {
    std::fs::remove_file(path).map_err(|e| fail("remove the link", path, &e))
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
