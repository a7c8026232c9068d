//! `predict`: what a trained network says of images.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rematch_data::child::{Child, StageError};
use rematch_data::copies;
use rematch_data::image::Shape;
use rematch_data::image::file::Rules;
use rematch_data::image::intake::Intake;
use rematch_data::image_set::ImageSet;
use rematch_data::npy::Writer;
use rematch_data::{classes, folder, fs, json};
use rematch_spec::class::Names;
use rematch_spec::images::Channels;
use rematch_spec::input::Input;
use rematch_spec::job::Report;
use rematch_spec::predict::{Predict, Weights};
use serde_json::{Map, Value};
use tch::{Kind, Tensor};

use crate::checkpoint::{Kept, Tensors, model};
use crate::device::{self, Wish};
use crate::evaluate::Confusion;
use crate::feed::Images;
use crate::model::{Built, Model};
use crate::network::Compute;
use crate::scale::Scale;

/// Images in one pass.
const CHUNK: usize = 512;

/// The body of a `predict` job.
pub fn predict(child: &Child) -> Result<Report, StageError> {
    let spec: Predict = child.params()?;
    let path = Kept::of(spec.run.path()).find(spec.checkpoint)?;
    let model = model(&path)?;
    let device = device::choose(&Wish::for_device(spec.device), child, None)?;
    let built = model.build(0, Compute::on(device))?;
    if model.whitened != spec.zca.is_some() {
        let message = match model.whitened {
            true => "the network was trained on whitened images, and `zca` is missing",
            false => "the network was not trained on whitened images, and there is `zca`",
        };
        return Err(StageError::usage(message).help("give what the run's `train` was given"));
    }
    let zca = spec.zca.as_ref().map(Input::path);
    let scale = Scale::new(zca, model.normalize.as_ref(), shape(&model), device)?;
    let tensors = Tensors::of_model(&built);
    let (_, values) = tensors.read(&path, None)?;
    tensors.put(&values);
    let names = classes::read(spec.classes.as_ref().map(|c| c.path()))?;
    let mut output = Output::create(child, &model, &names)?;
    for source in sources(child, &spec, &model, &names)? {
        let mut at = 0;
        while at < source.len() {
            child.check()?;
            let count = CHUNK.min(source.len() - at);
            let (images, labels) = source.read(at, count)?;
            let p = classify(
                &built,
                &spec,
                &scale,
                &Images::new(&images, count, shape(&model)),
            )?;
            for (n, (label, row)) in labels
                .iter()
                .zip(p.chunks(model.shape.classes as usize))
                .enumerate()
            {
                output.add(&source.name(at + n), *label, row)?;
            }
            at += count;
            child.progress(at as u64, source.len() as u64, "images");
        }
    }
    output.finish(child)
}

/// Probabilities, N×K, row by row.
fn classify(
    built: &Built,
    spec: &Predict,
    scale: &Scale,
    images: &Images,
) -> Result<Vec<f32>, StageError> {
    let network = match spec.weights {
        Weights::Ema => &built.teacher,
        Weights::Student => &built.student,
    };
    let like = &network.variables()[0].tensor;
    tch::no_grad(|| {
        let x = images.on(like, scale)?;
        let p = built.method.logits(network, &x).softmax(-1, Kind::Float);
        let p: Tensor = p.to_device(tch::Device::Cpu).contiguous().view([-1]);
        Vec::<f32>::try_from(p).map_err(|e| StageError::failed(e.to_string()))
    })
}

fn shape(model: &Model) -> Shape {
    Shape {
        height: model.shape.height as usize,
        width: model.shape.width as usize,
        channels: model.shape.channels as usize,
    }
}

/// Images from one place.
enum Source {
    Set(ImageSet, String),
    Files {
        folder: PathBuf,
        files: Vec<(PathBuf, Option<i64>)>,
        intake: Intake,
        shape: Shape,
    },
}

fn sources(
    child: &Child,
    spec: &Predict,
    model: &Model,
    names: &Names,
) -> Result<Vec<Source>, StageError> {
    let shape = shape(model);
    let of = |path: &Path| {
        if !path.is_dir() || path.join(copies::RECIPE).is_file() {
            let set = ImageSet::read(&[path])?;
            if !set.is_empty() && set.shape() != shape {
                let message = format!(
                    "{} has images of {}, the network takes {shape}",
                    path.display(),
                    set.shape()
                );
                return Err(StageError::failed(message)
                    .help("take images of the dataset that it was trained on"));
            }
            let name = path.file_name().unwrap_or_default();
            return Ok(Source::Set(set, name.to_string_lossy().into_owned()));
        }
        if shape.height != shape.width {
            let message = format!("image files become squares, and the network takes {shape}");
            return Err(
                StageError::failed(message).help("import them, then give the TFRecord file")
            );
        }
        files(child, spec, path, shape, names)
    };
    spec.images.paths().into_iter().map(of).collect()
}

fn files(
    child: &Child,
    spec: &Predict,
    path: &Path,
    shape: Shape,
    names: &Names,
) -> Result<Source, StageError> {
    let listing = folder::list(path, &[], || child.check())?;
    if listing.images.is_empty() {
        let message = format!("{} holds no image", path.display());
        return Err(StageError::failed(message).help("PNG, JPEG, BMP and WebP files are read"));
    }
    let class = |file: &PathBuf| -> Result<Option<i64>, StageError> {
        if names.0.is_empty() {
            return Ok(None);
        }
        let at = || path.join(file);
        let name = folder::class(file, spec.names)
            .map_err(|what| StageError::failed(format!("{}: {what}", at().display())))?;
        let found = names.0.iter().find(|(_, n)| **n == name);
        let (label, _) = found.ok_or_else(|| {
            StageError::failed(format!("{}: no class is called `{name}`", at().display()))
                .help("`names` says where a file's class stands; leave `classes` out to predict without truth")
        })?;
        Ok(Some(*label))
    };
    let files = listing.images.iter();
    let files: Result<_, StageError> = files.map(|f| Ok((f.clone(), class(f)?))).collect();
    Ok(Source::Files {
        folder: path.to_owned(),
        files: files?,
        intake: Intake {
            rules: Rules {
                channels: Channels::try_from(shape.channels as u8).unwrap_or_default(),
                ..Rules::default()
            },
            square: Some((shape.width, spec.resize)),
        },
        shape,
    })
}

impl Source {
    fn len(&self) -> usize {
        match self {
            Self::Set(set, _) => set.len(),
            Self::Files { files, .. } => files.len(),
        }
    }

    fn name(&self, n: usize) -> String {
        match self {
            Self::Set(_, name) => format!("{name}:{n}"),
            Self::Files { files, .. } => files[n].0.to_string_lossy().into_owned(),
        }
    }

    fn read(&self, at: usize, count: usize) -> Result<(Vec<u8>, Vec<Option<i64>>), StageError> {
        match self {
            Self::Set(set, _) => {
                let indices: Vec<usize> = (at..at + count).collect();
                let labels = set.labels[at..at + count].iter().map(|l| Some(*l));
                Ok((set.gather(&indices)?, labels.collect()))
            }
            Self::Files {
                folder,
                files,
                intake,
                shape,
            } => {
                let files = &files[at..at + count];
                let mut images = Vec::with_capacity(count * shape.bytes());
                for (file, _) in files {
                    let path = folder.join(file);
                    let image = intake
                        .decode(&fs::read(&path)?)
                        .map_err(|e| StageError::failed(format!("{}: {e}", path.display())))?;
                    let pixels = image.pixels_of(*shape);
                    let pixels = pixels
                        .map_err(|e| StageError::failed(format!("{}: {e}", path.display())))?;
                    images.extend(pixels);
                }
                Ok((images, files.iter().map(|f| f.1).collect()))
            }
        }
    }
}

/// The files of the job.
struct Output<'a> {
    names: &'a Names,
    classes: usize,
    predictions: Writer,
    probabilities: Writer,
    table: String,
    counts: Vec<i64>,
    images: u64,
    top5: u64,
    /// Whether each image's class is known.
    known: bool,
}

impl<'a> Output<'a> {
    fn create(child: &Child, model: &Model, names: &'a Names) -> Result<Self, StageError> {
        let classes = model.shape.classes as usize;
        Ok(Self {
            names,
            classes,
            predictions: Writer::create(child.output("predictions")?, "<i8", &[])?,
            probabilities: Writer::create(
                child.output("probabilities")?,
                "<f4",
                &[classes as u64],
            )?,
            table: "image,label,prediction,class,probability\n".into(),
            counts: vec![0; classes * classes],
            images: 0,
            top5: 0,
            known: true,
        })
    }

    fn add(&mut self, name: &str, label: Option<i64>, p: &[f32]) -> Result<(), StageError> {
        let best = |a: &usize, b: &usize| p[*a].total_cmp(&p[*b]).then(b.cmp(a));
        let guess = (0..p.len()).max_by(best).unwrap_or(0);
        self.predictions.row(&(guess as i64).to_le_bytes())?;
        let bytes: Vec<u8> = p.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.probabilities.row(&bytes)?;
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        let label = label.filter(|l| (0..self.classes as i64).contains(l));
        let shown = label.map_or(String::new(), |l| l.to_string());
        let class = self.names.get(guess as i64).unwrap_or_default();
        let _ = writeln!(
            self.table,
            "{quoted},{shown},{guess},\"{}\",{:.6}",
            class.replace('"', "\"\""),
            p[guess]
        );
        match label {
            Some(label) => {
                self.counts[label as usize * self.classes + guess] += 1;
                let higher = p.iter().filter(|v| **v > p[label as usize]).count();
                self.top5 += u64::from(higher < 5);
            }
            None => self.known = false,
        }
        self.images += 1;
        Ok(())
    }

    fn finish(self, child: &Child) -> Result<Report, StageError> {
        self.predictions.finish()?;
        self.probabilities.finish()?;
        fs::write(child.output("table")?, self.table)?;
        let mut stats = Map::from_iter([("images".to_owned(), Value::from(self.images))]);
        let mut report = Report::default();
        if self.known && self.images > 0 {
            let confusion = Confusion::new(self.classes, self.counts);
            let mut all = vec![
                ("accuracy".to_owned(), confusion.accuracy()),
                (
                    "accuracy/top5".to_owned(),
                    100.0 * self.top5 as f64 / self.images as f64,
                ),
                ("accuracy/GM".to_owned(), confusion.geometric_mean()),
            ];
            all.extend(confusion.averages());
            report.metrics = all.iter().cloned().collect();
            stats.extend(all.into_iter().map(|(name, value)| (name, value.into())));
            let recalls = confusion.recalls().into_iter().zip(0..);
            let recalls = recalls.map(|(recall, k)| (self.names.show(k), Value::from(recall)));
            stats.insert("classes".into(), Value::Object(recalls.collect()));
            let rows: Vec<&[i64]> = confusion.rows().collect();
            stats.insert(
                "confusion".into(),
                Value::from_iter(rows.iter().map(|r| r.to_vec())),
            );
        }
        json::write(child.output("stats")?, &stats, 4)?;
        Ok(report)
    }
}
