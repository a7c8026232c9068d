//! STL-10's binary archive: images of 96×96 and labels in files of their own, plane by plane and
//! column by column (spec/fixmatch.md 2.2). The unlabeled images take 2.8 GB and are never in memory
//! at once; labeled ones are where their labels come after them, 221 MB.

use super::{Batch, Each, Opened, damaged, from_columns};
use crate::archive::{self, Member};
use crate::error::StageError;
use crate::image::Shape;

/// Every image.
const SHAPE: Shape = Shape {
    height: 96,
    width: 96,
    channels: 3,
};
/// Bytes of an image.
const IMAGE: usize = 96 * 96 * 3;
/// Images that are handed on at once.
const CHUNK: usize = 512;
/// Most bytes of images that wait for their labels; the test images take 221 million.
const WAITING: u64 = 300_000_000;
/// Most bytes of a file of labels, or of the folds, which take 50 thousand.
const SMALL: u64 = 1_000_000;
/// Classes are 1 to 10 in the files.
const CLASSES: std::ops::RangeInclusive<u8> = 1..=10;
/// The label of images that have none.
const UNLABELED: i64 = 0;

/// A part while it is read.
struct Part {
    name: &'static str,
    /// Images whose labels have not come yet.
    images: Option<Vec<u8>>,
    /// Labels whose images have not come yet.
    labels: Option<Vec<i64>>,
}

/// What a member of the archive is.
#[derive(Clone, Copy)]
enum Role {
    /// Images of the part of that number, and whether it has labels.
    Images(usize, bool),
    Labels(usize),
    Folds,
}

/// The reader `stl10`.
pub fn read(opened: &Opened, each: Each) -> Result<(), StageError> {
    let path = opened.only_archive()?;
    let (mut names, mut roles, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    for (name, files) in opened.parts() {
        let number = parts.len();
        for (n, file) in files.iter().enumerate() {
            names.push(file.as_str());
            roles.push(match n {
                0 => Role::Images(number, files.len() > 1),
                _ => Role::Labels(number),
            });
        }
        parts.push(Part {
            name,
            images: None,
            labels: None,
        });
    }
    for file in opened.source.files.get("folds").into_iter().flatten() {
        names.push(file);
        roles.push(Role::Folds);
    }
    archive::stream(path, &names, opened.unpacked(), |mut member| {
        let name = names[member.number];
        let broken = |what: String| damaged(path, Some(name), what);
        match roles[member.number] {
            Role::Folds => {
                let text = member.whole(SMALL)?;
                let plain = |b: &u8| b.is_ascii_digit() || b.is_ascii_whitespace();
                if !text.iter().all(plain) {
                    return Err(broken("it holds other things than numbers".into()));
                }
                opened.write_extra("folds", &text)
            }
            Role::Labels(part) => {
                parts[part].labels = Some(classes(&member.whole(SMALL)?).map_err(broken)?);
                parts[part].hand_on(each)
            }
            Role::Images(part, true) => {
                images_in(&member).map_err(broken)?;
                parts[part].images = Some(member.whole(WAITING)?);
                parts[part].hand_on(each)
            }
            Role::Images(part, false) => {
                let mut left = images_in(&member).map_err(broken)?;
                let mut planes = vec![0; CHUNK * IMAGE];
                while left > 0 {
                    let count = left.min(CHUNK as u64) as usize;
                    let planes = &mut planes[..count * IMAGE];
                    member.fill(planes)?;
                    each(batch(parts[part].name, planes, vec![UNLABELED; count]))?;
                    left -= count as u64;
                }
                Ok(())
            }
        }
    })
}

impl Part {
    /// Hands images and labels on once both are there.
    fn hand_on(&mut self, each: Each) -> Result<(), StageError> {
        let (Some(images), Some(labels)) = (&self.images, &self.labels) else {
            return Ok(());
        };
        if images.len() != labels.len() * IMAGE {
            let message = format!(
                "the archive has {} images and {} labels of `{}`",
                images.len() / IMAGE,
                labels.len(),
                self.name
            );
            return Err(StageError::failed(message).help("the archive is damaged; get it again"));
        }
        for (planes, labels) in images.chunks(CHUNK * IMAGE).zip(labels.chunks(CHUNK)) {
            each(batch(self.name, planes, labels.to_vec()))?;
        }
        self.images = None;
        Ok(())
    }
}

/// How many images a member has.
fn images_in(member: &Member) -> Result<u64, String> {
    let size = member.size;
    if size == 0 || !size.is_multiple_of(IMAGE as u64) {
        return Err(format!("its {size} bytes are no multiple of {IMAGE}"));
    }
    Ok(size / IMAGE as u64)
}

/// The classes in a file of labels.
pub fn classes(file: &[u8]) -> Result<Vec<i64>, String> {
    match file.iter().position(|y| !CLASSES.contains(y)) {
        Some(n) => Err(format!("image {n} has label {}; expected 1 to 10", file[n])),
        None => Ok(file.iter().map(|y| i64::from(*y) - 1).collect()),
    }
}

fn batch(part: &str, planes: &[u8], labels: Vec<i64>) -> Batch {
    let mut images = vec![0; planes.len()];
    for (out, image) in images
        .chunks_exact_mut(IMAGE)
        .zip(planes.chunks_exact(IMAGE))
    {
        from_columns(SHAPE, image, out);
    }
    Batch {
        part: part.to_owned(),
        shape: SHAPE,
        images,
        labels,
    }
}

#[cfg(test)]
mod tests {
    use tar::EntryType;

    use super::super::testing::{opened, read_all};
    use super::*;
    use crate::archive::tests::pack;

    /// Images in the file's order of values: value v of image i is (i · 7 + v) mod 251.
    fn planes(count: usize) -> Vec<u8> {
        (0..count)
            .flat_map(|i| (0..IMAGE).map(move |v| ((i * 7 + v) % 251) as u8))
            .collect()
    }

    fn read_archive(members: &[(&str, &[u8])]) -> Result<(Vec<Batch>, Vec<u8>), StageError> {
        let names: Vec<String> = members
            .iter()
            .map(|(name, _)| format!("stl10_binary/{name}"))
            .collect();
        let members: Vec<_> = names
            .iter()
            .zip(members)
            .map(|(name, (_, content))| (name.as_str(), EntryType::Regular, *content))
            .collect();
        let bytes = pack(&members);
        let (_folder, opened) = opened("stl10", None, &[("stl10_binary.tar.gz", &bytes)]);
        let batches = read_all(read, &opened)?;
        Ok((batches, crate::fs::read(&opened.extras["folds"])?))
    }

    /// As the official archive has them: images before their labels.
    fn whole<'a>(train: &'a [u8], labels: &'a [u8]) -> [(&'a str, &'a [u8]); 6] {
        const FOUR: &[u8] = &[0; 4 * IMAGE];
        [
            ("test_X.bin", &FOUR[..IMAGE]),
            ("test_y.bin", &[10]),
            ("train_X.bin", train),
            ("train_y.bin", labels),
            ("unlabeled_X.bin", FOUR),
            ("fold_indices.txt", b"1 0 \n0 1\n"),
        ]
    }

    #[test]
    fn images_are_turned_and_unlabeled_ones_get_label_0() {
        let train = planes(2);
        let mut members = whole(&train, &[1, 4]);
        for _ in 0..2 {
            let (batches, folds) = read_archive(&members).unwrap();
            assert_eq!(folds, b"1 0 \n0 1\n");
            let part = |name| batches.iter().find(|b| b.part == name).unwrap();
            assert_eq!(part("train").labels, [0, 3]);
            assert_eq!(part("test").labels, [9]);
            assert_eq!(part("unlabeled").labels, [0; 4]);
            for (n, row, column, channel) in [(0, 1, 0, 0), (1, 5, 90, 2)] {
                let value = train[n * IMAGE + channel * 9216 + column * 96 + row];
                let place = n * IMAGE + (row * 96 + column) * 3 + channel;
                assert_eq!(part("train").images[place], value);
            }
            // Labels may come first, too.
            members.reverse();
        }
    }

    #[test]
    fn counts_and_labels_that_do_not_fit_are_refused() {
        let train = planes(2);
        let error = |train: &[u8], labels: &[u8]| {
            read_archive(&whole(train, labels)).unwrap_err().to_string()
        };
        assert!(error(&train, &[1]).contains("2 images and 1 labels of `train`"));
        assert!(error(&train, &[1, 11]).contains("train_y.bin: image 1 has label 11"));
        assert!(
            error(&train[1..], &[1, 2]).contains("train_X.bin: its 55295 bytes are no multiple")
        );
        let mut members = whole(&train, &[1, 2]);
        members[5].1 = b"import os";
        let message = read_archive(&members).unwrap_err().to_string();
        assert!(
            message.contains("fold_indices.txt: it holds other things"),
            "{message}"
        );
        let message = read_archive(&members[..4]).unwrap_err().to_string();
        assert!(
            message.contains("lacks stl10_binary/unlabeled_X.bin"),
            "{message}"
        );
    }
}
