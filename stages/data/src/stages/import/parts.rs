//! Which images a dataset has, where they lie, and which class each is of.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Component, Path, PathBuf};

use rematch_spec::import::{Import, Layout, Names};
use rematch_spec::input::{Input, Inputs};

use crate::child::Child;
use crate::error::StageError;
use crate::folder::{self, Listing};
use crate::fs;
use crate::origin::{self, Origin, Place, Zip};

/// Names that a message lists.
const NAMED: usize = 5;
/// Most classes that a list may number: one label of a million would mean as many.
const CLASSES: i64 = 100_000;
/// The parts of a dataset.
pub(super) const PARTS: [&str; 3] = ["train", "unlabeled", "test"];

/// A record file of a dataset.
pub(super) struct Part {
    pub name: &'static str,
    pub origin: Origin,
    pub images: Vec<Item>,
}

/// An image of a part.
pub(super) struct Item {
    /// Below the part's folder, in its archive, or its name in its shard.
    pub path: PathBuf,
    /// 0 in the unlabeled part.
    pub label: i64,
    pub place: Place,
}

/// Finds all images, and the names of the classes in the order of their labels.
pub(super) fn find(child: &Child, params: &Import) -> Result<(Vec<Part>, Vec<String>), StageError> {
    let wanted = params.classes.as_ref().map(class_list).transpose()?;
    let (mut parts, classes) = match (&params.lists, params.layout) {
        (Some(_), _) => listed(params)?,
        (None, Layout::Shards) => sharded(child, params, wanted.as_ref())?,
        (None, Layout::Folders) => in_folders(child, params, wanted.as_ref())?,
    };
    if let Some(only) = &params.only {
        keep(child, &mut parts, only)?;
    }
    check_counts(child, &parts, &classes)?;
    Ok((parts, classes))
}

/// Parts that are folders of image files.
fn in_folders(
    child: &Child,
    params: &Import,
    wanted: Option<&BTreeSet<String>>,
) -> Result<(Vec<Part>, Vec<String>), StageError> {
    let mut parts = Vec::new();
    let mut classes = Vec::new();
    for (name, folder) in folders(params)? {
        let listing = folder::list(&folder, &params.ignore, || child.check())?;
        tell(child, &folder, &listing, &params.ignore);
        let labeled = name != "unlabeled";
        let mut found = Vec::with_capacity(listing.images.len());
        for path in listing.images {
            let class = if labeled {
                class(&folder, &path, params.names)?
            } else {
                String::new()
            };
            if !labeled || wanted.is_none_or(|wanted| wanted.contains(&class)) {
                found.push((path, class));
            }
        }
        if name == "train" {
            let unique: BTreeSet<&String> = found.iter().map(|(_, class)| class).collect();
            classes = unique.into_iter().cloned().collect();
            check_wanted(wanted, &classes, &folder)?;
        }
        let mut images = Vec::with_capacity(found.len());
        for (path, class) in found {
            let label = match classes.binary_search(&class) {
                Ok(label) => label as i64,
                Err(_) if !labeled => 0,
                Err(_) => return Err(untrained(&folder.join(&path), &class)),
            };
            images.push(Item {
                path,
                label,
                place: Place::Path,
            });
        }
        let origin = Origin::Folder(folder);
        parts.push(Part {
            name,
            origin,
            images,
        });
    }
    Ok((parts, classes))
}

fn class(folder: &Path, path: &Path, names: Names) -> Result<String, StageError> {
    folder::class(path, names).map_err(|what| {
        let message = format!("{}: {what}", folder.join(path).display());
        StageError::failed(message).help(
            "images lie in folders named after their classes, or `names` says where else the class stands",
        )
    })
}

fn untrained(path: &Path, class: &str) -> StageError {
    let message = format!(
        "{} is of the class `{class}`, which no training image is of",
        path.display()
    );
    StageError::failed(message)
        .help("the classes of the test images must be among those of the training images")
}

/// Refuses a class list that names what is not there.
fn check_wanted(
    wanted: Option<&BTreeSet<String>>,
    classes: &[String],
    folder: &Path,
) -> Result<(), StageError> {
    let missing = wanted.into_iter().flatten();
    let missing: Vec<String> = missing
        .filter(|class| classes.binary_search(class).is_err())
        .cloned()
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} has no images of these listed classes: {}",
        folder.display(),
        names(missing.into_iter())
    );
    Err(StageError::failed(message).help("check that `classes` is of this dataset"))
}

/// The folders that there are, by part.
fn folders(params: &Import) -> Result<Vec<(&'static str, PathBuf)>, StageError> {
    let mut found = Vec::new();
    if let Some(folder) = &params.folder {
        let folder = folder.path();
        for name in PARTS {
            let inner = folder.join(name);
            if std::fs::symlink_metadata(&inner).is_ok() {
                found.push((name, inner));
            }
        }
        if !found.iter().any(|(name, _)| *name == "train") {
            let message = format!("{} has no folder `train`", folder.display());
            return Err(StageError::failed(message).help(
                "give a folder with train/<class>/… and test/<class>/… in it, or name the folders as `train` and `test`",
            ));
        }
    } else {
        let given = [&params.train, &params.unlabeled, &params.test];
        for (name, folder) in PARTS.into_iter().zip(given) {
            if let Some(folder) = folder {
                found.push((name, folder.path().to_owned()));
            }
        }
    }
    for (name, folder) in &found {
        let data = std::fs::metadata(folder).map_err(fs::at("look at", folder))?;
        if !data.is_dir() {
            let message = format!("{} is no folder", folder.display());
            return Err(
                StageError::failed(message).help(format!("`{name}` takes a folder of image files"))
            );
        }
    }
    Ok(found)
}

/// Parts that lists name, in a folder or in archives.
fn listed(params: &Import) -> Result<(Vec<Part>, Vec<String>), StageError> {
    let Some(lists) = &params.lists else {
        return Err(StageError::usage("there are no `lists`"));
    };
    let given = [
        Some(&lists.train),
        lists.unlabeled.as_ref(),
        lists.test.as_ref(),
    ];
    let mut names: BTreeMap<i64, String> = BTreeMap::new();
    let mut parts = Vec::new();
    for (part, files) in PARTS.into_iter().zip(given) {
        let Some(files) = files else { continue };
        let origin = match (&params.folder, &params.archives) {
            (Some(folder), _) => Origin::Folder(folder.path().to_owned()),
            (None, archives) => {
                let archives = archives.iter().flat_map(|archives| &archives.0);
                let zips = archives.map(|archive| Zip::open(archive.path()));
                Origin::Zips(zips.collect::<Result<_, _>>()?)
            }
        };
        let mut images = Vec::new();
        for file in &files.0 {
            let file = file.path();
            let text = fs::read_to_string(file)?;
            for (n, line) in text.lines().enumerate() {
                if line.trim().is_empty() {
                    continue;
                }
                let wrong = |what: &str| {
                    let message = format!("{}: line {}: {what}", file.display(), n + 1);
                    StageError::failed(message)
                        .help("each line of a list is the path of an image and its label from 0")
                };
                let (path, label) = parse(line).map_err(|what| wrong(&what))?;
                let place = place(&origin, &path).map_err(|what| wrong(&what))?;
                // As in <domain>/<class>/<file>.
                let folder = path.parent().and_then(Path::file_name);
                let class = folder.map_or_else(
                    || label.to_string(),
                    |folder| folder.to_string_lossy().into_owned(),
                );
                let known = names.entry(label).or_insert_with(|| class.clone());
                if *known != class && part != "unlabeled" {
                    return Err(wrong(&format!(
                        "label {label} is both `{known}` and `{class}`"
                    )));
                }
                let label = if part == "unlabeled" { 0 } else { label };
                images.push(Item { path, label, place });
            }
        }
        parts.push(Part {
            name: part,
            origin,
            images,
        });
    }
    Ok((parts, by_label(&names)))
}

/// A path and a label, apart.
fn parse(line: &str) -> Result<(PathBuf, i64), String> {
    let (path, label) = line
        .trim_end()
        .rsplit_once([' ', '\t', ','])
        .ok_or("it has no label")?;
    let label = label
        .parse()
        .map_err(|_| format!("`{label}` is no label"))?;
    if !(0..CLASSES).contains(&label) {
        return Err(format!("label {label}; expected 0 to {}", CLASSES - 1));
    }
    let path = PathBuf::from(path.trim_end());
    let inside = path
        .components()
        .all(|step| matches!(step, Component::Normal(_)));
    if !inside || path.as_os_str().is_empty() {
        return Err(format!("`{}` leads elsewhere", path.display()));
    }
    Ok((path, label))
}

/// Where a listed image lies.
fn place(origin: &Origin, path: &Path) -> Result<Place, String> {
    let Origin::Zips(zips) = origin else {
        return Ok(Place::Path);
    };
    let name = path.to_string_lossy();
    let mut found = zips.iter().enumerate();
    let found = found.find_map(|(n, zip)| Some(Place::Member(n as u32, zip.find(&name)?)));
    found.ok_or_else(|| {
        let archives: Vec<String> = zips
            .iter()
            .map(|z| z.path().display().to_string())
            .collect();
        format!("`{name}` is not in {}", archives.join(", "))
    })
}

/// Names by label, from 0 without gaps.
fn by_label(names: &BTreeMap<i64, String>) -> Vec<String> {
    let last = names.keys().next_back().map_or(-1, |label| *label);
    let name = |label| names.get(&label).cloned().unwrap_or(label.to_string());
    (0..=last).map(name).collect()
}

/// Parts that are TFRecord shards.
fn sharded(
    child: &Child,
    params: &Import,
    wanted: Option<&BTreeSet<String>>,
) -> Result<(Vec<Part>, Vec<String>), StageError> {
    let mut files: Vec<(&'static str, Vec<PathBuf>)> = Vec::new();
    if let Some(folder) = &params.folder {
        let all = fs::list(folder.path())?;
        for (name, start) in [("train", "train"), ("test", "validation")] {
            let named = |path: &PathBuf| {
                let name = path.file_name().unwrap_or_default();
                name.to_string_lossy().starts_with(start) && path.is_file()
            };
            files.push((
                name,
                all.iter().filter(|path| named(path)).cloned().collect(),
            ));
        }
    } else {
        for (name, folder) in folders(params)? {
            let all = fs::list(&folder)?;
            files.push((
                name,
                all.into_iter().filter(|path| path.is_file()).collect(),
            ));
        }
    }
    child.note("listing the shards' images");
    let mut names: BTreeMap<i64, String> = BTreeMap::new();
    let mut classes = Vec::new();
    let mut parts = Vec::new();
    for (part, paths) in files {
        let (origin, found) = origin::shards(&paths, || child.check())?;
        let mut images = Vec::with_capacity(found.len());
        for image in found {
            if image.label >= CLASSES {
                let message = format!("{} has label {}", image.name.display(), image.label + 1);
                return Err(StageError::failed(message));
            }
            let class = image.synset.unwrap_or_else(|| image.label.to_string());
            if wanted.is_none_or(|wanted| wanted.contains(&class)) {
                names.entry(image.label).or_insert_with(|| class.clone());
                images.push((image.name, image.label, class, image.place));
            }
        }
        if part == "train" && wanted.is_some() {
            classes = names.values().cloned().collect();
            classes.sort_unstable();
            check_wanted(
                wanted,
                &classes,
                paths.first().map_or(Path::new("."), |p| p),
            )?;
        }
        let items = images.into_iter().map(|(path, label, class, place)| {
            let label = match (part, wanted) {
                ("unlabeled", _) => 0,
                (_, Some(_)) => classes
                    .binary_search(&class)
                    .map_err(|_| untrained(&path, &class))? as i64,
                (_, None) => label,
            };
            Ok(Item { path, label, place })
        });
        parts.push(Part {
            name: part,
            origin,
            images: items.collect::<Result<_, StageError>>()?,
        });
    }
    if wanted.is_none() {
        classes = by_label(&names);
    }
    Ok((parts, classes))
}

/// The classes that lists name.
fn class_list(files: &Inputs) -> Result<BTreeSet<String>, StageError> {
    let mut classes = BTreeSet::new();
    for file in &files.0 {
        for line in fs::read_to_string(file.path())?.lines() {
            let name = match line.split_once(',') {
                Some((_, rest)) => rest.split(',').next().unwrap_or_default(),
                None => line.split_whitespace().next().unwrap_or_default(),
            };
            if !name.trim().is_empty() && line.trim() != "filename,label" {
                classes.insert(name.trim().to_owned());
            }
        }
    }
    Ok(classes)
}

/// Keeps the training images that a list names.
fn keep(child: &Child, parts: &mut [Part], only: &Input) -> Result<(), StageError> {
    let text = fs::read_to_string(only.path())?;
    let first = |line: &str| {
        let word = line
            .split([',', ' ', '\t'])
            .next()
            .unwrap_or_default()
            .to_owned();
        let name = Path::new(&word).file_name()?.to_str()?.to_owned();
        Some(name)
    };
    let names: HashSet<String> = text.lines().filter_map(first).collect();
    for part in parts.iter_mut().filter(|part| part.name == "train") {
        part.images.retain(|image| {
            let name = image.path.file_name().unwrap_or_default();
            name.to_str().is_some_and(|name| names.contains(name))
        });
        if part.images.len() != names.len() {
            child.warning(format!(
                "{} names {} files; {} training images are called so",
                only.path().display(),
                names.len(),
                part.images.len()
            ));
        }
    }
    Ok(())
}

/// Says what was left out of a folder.
fn tell(child: &Child, folder: &Path, listing: &Listing, ignore: &[String]) {
    if let Some((count, example)) = &listing.others {
        child.warning(format!(
            "{}: {count} files are no PNG, JPEG, BMP or WebP images and are left out, such as {}",
            folder.display(),
            example.display()
        ));
    }
    if let Some((count, example)) = &listing.ignored {
        child.warning(format!(
            "{}: {count} folders are left out since `ignore` ({}) names them, such as {}",
            folder.display(),
            ignore.join(", "),
            example.display()
        ));
    }
    if !listing.empty.is_empty() {
        child.warning(format!(
            "{}: empty folders, which are no classes: {}",
            folder.display(),
            names(listing.empty.iter().map(|path| path.display().to_string()))
        ));
    }
}

/// The first few of some names.
fn names(all: impl ExactSizeIterator<Item = String>) -> String {
    let count = all.len();
    let mut list: Vec<String> = all.take(NAMED).collect();
    if count > NAMED {
        list.push(format!("{} more", count - NAMED));
    }
    list.join(", ")
}

/// Refuses a dataset without training images; warns of what may be a mistake.
fn check_counts(child: &Child, parts: &[Part], classes: &[String]) -> Result<(), StageError> {
    for part in parts {
        if part.images.is_empty() {
            let message = format!("there is no image of `{}`", part.name);
            if part.name == "train" {
                return Err(StageError::failed(message).help(
                    "expected PNG, JPEG, BMP or WebP files in folders named after their classes",
                ));
            }
            child.warning(message);
        } else if part.name == "test" {
            let tested: BTreeSet<i64> = part.images.iter().map(|image| image.label).collect();
            let untested = classes.iter().enumerate();
            let untested: Vec<String> = untested
                .filter(|(n, _)| !tested.contains(&(*n as i64)))
                .map(|(_, class)| class.clone())
                .collect();
            if !untested.is_empty() {
                child.warning(format!(
                    "no test image is of these classes: {}",
                    names(untested.into_iter())
                ));
            }
        }
    }
    if !parts.iter().any(|part| part.name == "test") {
        child.warning("there are no test images: their record file is empty");
    }
    Ok(())
}
