//! Folders of image files: which files are images, in which order, and of which class.

use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rematch_spec::import::Names;

use crate::error::StageError;
use crate::fs;
use crate::image::file::{Format, SIGNATURE};

/// Entries that are listed between two looks at the order to stop.
const OFTEN: usize = 1000;

/// What a folder holds.
#[derive(Debug, Default)]
pub struct Listing {
    /// Image files, relative to the folder, in the order of their paths' bytes. That is the order in
    /// which Python sorts the paths as texts.
    pub images: Vec<PathBuf>,
    /// How many files are no images, and one of them.
    pub others: Option<(usize, PathBuf)>,
    /// How many folders were left out because of their names, and one of them.
    pub ignored: Option<(usize, PathBuf)>,
    /// Folders right below this one that hold nothing at all, sorted.
    pub empty: Vec<PathBuf>,
}

/// Lists the image files below `folder`, at any depth, without following links.
///
/// # Errors
/// Symbolic links; folders that cannot be read; whatever `check` says.
pub fn list(
    folder: &Path,
    ignore: &[String],
    check: impl Fn() -> Result<(), StageError>,
) -> Result<Listing, StageError> {
    let mut listing = Listing::default();
    let mut folders = vec![PathBuf::new()];
    let mut seen = 0;
    while let Some(inner) = folders.pop() {
        let path = folder.join(&inner);
        let mut entries = 0;
        for entry in std::fs::read_dir(&path).map_err(fs::at("list", &path))? {
            let entry = entry.map_err(fs::at("list", &path))?;
            seen += 1;
            if seen % OFTEN == 0 {
                check()?;
            }
            let name = entry.file_name();
            if name.as_bytes().starts_with(b".") {
                continue;
            }
            entries += 1;
            let relative = inner.join(&name);
            let kind = entry
                .file_type()
                .map_err(fs::at("look at", &entry.path()))?;
            if kind.is_symlink() {
                let message = format!(
                    "{} is a symbolic link; links are not followed",
                    entry.path().display()
                );
                return Err(StageError::failed(message)
                    .help("put the files themselves there, or remove the link"));
            }
            if kind.is_dir() {
                let name = name.to_string_lossy();
                if ignore.iter().any(|pattern| like(pattern, &name)) {
                    note(&mut listing.ignored, relative);
                } else {
                    folders.push(relative);
                }
            } else if kind.is_file() && is_image(&entry.path())? {
                listing.images.push(relative);
            } else {
                note(&mut listing.others, relative);
            }
        }
        if entries == 0 && inner.components().count() == 1 {
            listing.empty.push(inner);
        }
    }
    listing
        .images
        .sort_unstable_by(|a, b| bytes(a).cmp(bytes(b)));
    listing.empty.sort_unstable();
    Ok(listing)
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// Counts, and keeps the first by name so that messages are always the same.
fn note(place: &mut Option<(usize, PathBuf)>, path: PathBuf) {
    match place {
        None => *place = Some((1, path)),
        Some((count, first)) => {
            *count += 1;
            if bytes(&path) < bytes(first) {
                *first = path;
            }
        }
    }
}

/// By its name, or else by its first bytes.
fn is_image(path: &Path) -> Result<bool, StageError> {
    let name = path.file_name().unwrap_or_default();
    if Format::named(&name.to_string_lossy()) {
        return Ok(true);
    }
    let mut head = Vec::with_capacity(SIGNATURE);
    fs::open(path)?
        .take(SIGNATURE as u64)
        .read_to_end(&mut head)
        .map_err(fs::at("read", path))?;
    Ok(Format::of(&head).is_some())
}

/// Whether a name fits a pattern in which `*` stands for any characters.
fn like(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(start) else {
        return false;
    };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let end = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some(at) = name.find(piece) else {
            return false;
        };
        name = &name[at + piece.len()..];
    }
    name.ends_with(end)
}

/// The class of an image at a path below the folder of a part; an error says what is wrong with it.
pub fn class(path: &Path, names: Names) -> Result<String, String> {
    let text = |name: &std::ffi::OsStr| {
        let name = name
            .to_str()
            .ok_or("its name is not UTF-8; rename it".to_owned())?;
        if name.chars().any(char::is_control) {
            return Err("its name has control characters; rename it".to_owned());
        }
        Ok(name.to_owned())
    };
    let file = || text(path.file_name().unwrap_or_default());
    let class = match names {
        Names::Folder => {
            let mut steps = path.iter();
            match (steps.next(), steps.next()) {
                (Some(class), Some(_)) => text(class)?,
                _ => return Err("it lies in no class folder".into()),
            }
        }
        Names::Suffix => {
            let file = file()?;
            let (stem, _) = file.rsplit_once('.').unwrap_or((&file, ""));
            match stem.split_once('_') {
                Some((_, class)) => class.to_owned(),
                None => return Err("its name is not of the form <number>_<class>".into()),
            }
        }
        Names::LastSuffix => {
            let file = file()?;
            let last = file.rsplit('_').next().unwrap_or_default();
            let count = last.chars().count().saturating_sub(4);
            last.chars().take(count).collect()
        }
        Names::Renamed => {
            let parent = path.parent().and_then(Path::file_name);
            let parent = text(parent.ok_or("it lies in no class folder")?)?.replace('-', "");
            parent.rsplit('_').next().unwrap_or_default().to_owned()
        }
    };
    if class.is_empty() {
        return Err("the name of its class is empty".into());
    }
    Ok(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(folder: &Path, files: &[&str]) {
        for file in files {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "x").unwrap();
        }
    }

    fn names(images: &[PathBuf]) -> Vec<&str> {
        images.iter().map(|path| path.to_str().unwrap()).collect()
    }

    #[test]
    fn images_come_in_the_order_of_their_paths_as_texts() {
        let folder = tempfile::tempdir().unwrap();
        put(
            folder.path(),
            &[
                "a/b.png",
                "a-b/c.JPG",
                "a/A.WebP",
                "Z/é.jpeg",
                "Z/deep/er/1.bmp",
                "top.png",
            ],
        );
        let listing = list(folder.path(), &[], || Ok(())).unwrap();
        assert_eq!(
            names(&listing.images),
            [
                "Z/deep/er/1.bmp",
                "Z/é.jpeg",
                "a-b/c.JPG",
                "a/A.WebP",
                "a/b.png",
                "top.png"
            ]
        );
        assert_eq!(listing.others, None);
    }

    #[test]
    fn what_is_no_image_is_counted_and_what_is_hidden_is_not() {
        let folder = tempfile::tempdir().unwrap();
        put(
            folder.path(),
            &[
                "a/1.png",
                "a/notes.txt",
                "a/.DS_Store",
                ".git/x.png",
                "b.csv",
                "all/1.png",
                "ball/1.png",
            ],
        );
        // Its content says what it is.
        fs::write(
            &folder.path().join("a/noending"),
            crate::png::encode(
                crate::image::Shape {
                    height: 1,
                    width: 1,
                    channels: 1,
                },
                &[7],
            ),
        )
        .unwrap();
        fs::create_dir_all(&folder.path().join("hollow")).unwrap();
        let listing = list(folder.path(), &["all".into()], || Ok(())).unwrap();
        assert_eq!(
            names(&listing.images),
            ["a/1.png", "a/noending", "ball/1.png"]
        );
        assert_eq!(listing.others, Some((2, "a/notes.txt".into())));
        assert_eq!(listing.ignored, Some((1, "all".into())));
        assert_eq!(listing.empty, [PathBuf::from("hollow")]);
        let published = list(folder.path(), &["*all*".into()], || Ok(())).unwrap();
        assert_eq!(names(&published.images), ["a/1.png", "a/noending"]);
    }

    #[test]
    fn links_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), &["a/1.png"]);
        std::os::unix::fs::symlink("/etc", folder.path().join("b")).unwrap();
        let error = list(folder.path(), &[], || Ok(())).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("/b is a symbolic link; links are not followed")
        );
    }

    #[test]
    fn patterns_fit_whole_names() {
        for (pattern, name, fits) in [
            ("all", "all", true),
            ("all", "ball", false),
            ("*all*", "ball", true),
            ("*all*", "bal", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("*", "", true),
        ] {
            assert_eq!(like(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn classes_are_read_by_each_rule() {
        use Names::{Folder, LastSuffix, Renamed, Suffix};
        let of = |path: &str, names| class(Path::new(path), names);
        assert_eq!(of("cat/deep/1.png", Folder).as_deref(), Ok("cat"));
        assert_eq!(of("fire_truck/1.png", Folder).as_deref(), Ok("fire_truck"));
        assert!(of("1.png", Folder).is_err());
        assert_eq!(
            of("x/07_fire_truck.jpeg", Suffix).as_deref(),
            Ok("fire_truck")
        );
        assert!(of("07.png", Suffix).is_err() && of("07_.png", Suffix).is_err());
        assert_eq!(of("07_fire_truck.png", LastSuffix).as_deref(), Ok("truck"));
        assert_eq!(
            of("a/fire-truck/1.png", Renamed).as_deref(),
            Ok("firetruck")
        );
        assert_eq!(of("fire_truck/1.png", Renamed).as_deref(), Ok("truck"));
        assert!(
            of("a\u{1b}[1m/1.png", Folder)
                .unwrap_err()
                .contains("control")
        );
    }
}
