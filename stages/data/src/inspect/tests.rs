//! What inspection finds in small sets.

use super::*;
use crate::fs;
use crate::records;

/// 2×2 colour images, each of one value, with those labels.
fn file(folder: &Path, name: &str, images: &[(u8, u8)]) -> std::path::PathBuf {
    let shape = Shape {
        height: 2,
        width: 2,
        channels: 3,
    };
    let pixels: Vec<u8> = images.iter().flat_map(|(value, _)| [*value; 12]).collect();
    let labels: Vec<u8> = images.iter().map(|(_, label)| *label).collect();
    let path = folder.join(name);
    fs::write(&path, records::encode(shape, &pixels, &labels)).unwrap();
    path
}

fn look(paths: &[std::path::PathBuf], options: &Sheet) -> Found {
    inspect(paths, &Names::default(), options, &|_, _| Ok(())).unwrap()
}

#[test]
fn counts_statistics_and_duplicates_are_right() {
    let folder = tempfile::tempdir().unwrap();
    let paths = [
        file(folder.path(), "a", &[(0, 0), (255, 1), (255, 1)]),
        file(folder.path(), "b", &[(255, 2), (0, 7)]),
    ];
    let found = look(&paths, &Sheet::default());
    let facts = &found.facts;
    assert_eq!((facts.records, facts.sizes), (5, 1));
    let classes: Vec<_> = facts.classes.iter().map(|c| (c.label, c.records)).collect();
    assert_eq!(classes, [(0, 1), (1, 2), (2, 1), (7, 1)]);
    // 0 twice, 255 three times: mean 3/5, variance 6/25.
    let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-15, "{found}");
    near(facts.pixels[0].mean[1], 0.6);
    near(facts.pixels[0].std[2], 0.24_f64.sqrt());
    let duplicates = Duplicates {
        images: 2,
        records: 3,
        conflicting: 2,
    };
    assert_eq!(facts.duplicates, duplicates);
    let report = report(facts);
    for line in [
        "5 records",
        "images of 2×2 colour",
        "mean 0.6000 0.6000 0.6000",
        "2 images occur more than once, in 3 further records; 2 of them with more than one label",
        "  1  2  ██████████████████████████████",
        "  7  1  ███████████████\n",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
    let sheet = png::decode(&found.sheet).unwrap();
    assert_eq!(sheet.shape.channels, 3);
}

#[test]
fn grey_and_colour_images_of_several_sizes_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let colour = file(folder.path(), "a", &[(9, 0)]);
    let grey = Shape {
        height: 40,
        width: 3,
        channels: 1,
    };
    let path = folder.path().join("b");
    fs::write(&path, records::encode(grey, &[51; 240], &[0, 1])).unwrap();
    let found = look(&[colour, path], &Sheet::default());
    assert_eq!(found.facts.sizes, 2);
    assert_eq!(found.facts.most_frequent_sizes[0].height, 40);
    assert_eq!(found.facts.pixels[0].mean, [0.2]);
    assert_eq!(found.facts.pixels[1].channels, 3);
    assert!(report(&found.facts).contains("images of 2 sizes: 40×3 grey (2) 2×2 colour (1)\n"));
}

#[test]
fn a_sheet_shows_the_first_images_or_the_seeds() {
    let folder = tempfile::tempdir().unwrap();
    let images: Vec<(u8, u8)> = (0..200).map(|n| (n, n % 4)).collect();
    let paths = [file(folder.path(), "a", &images)];
    let shown = |rows: u16, columns: u16, seed: u64| {
        let options = Sheet {
            rows,
            columns,
            seed,
            ..Sheet::default()
        };
        let mut samples = Samples::new(&options);
        scan::each(
            &paths,
            &|_, _| Ok(()),
            |_| Ok(()),
            |record| {
                samples.offer(record.position, record.label, record.file);
                Ok(())
            },
        )
        .unwrap();
        let rows = samples.rows(&Names::default(), &BTreeMap::new()).unwrap();
        let values = |row: &Row| row.images.iter().map(|i| i.data[0]).collect::<Vec<u8>>();
        rows.iter().map(values).collect::<Vec<_>>()
    };
    assert_eq!(shown(2, 3, 0), [[0, 4, 8], [1, 5, 9]]);
    let drawn = shown(4, 3, 5);
    assert_eq!(drawn, shown(4, 3, 5));
    assert_ne!(drawn, shown(4, 3, 6));
    // A smaller sheet shows a part of the larger one.
    assert_eq!(
        shown(2, 2, 5),
        [drawn[0][..2].to_vec(), drawn[1][..2].to_vec()]
    );
    assert!(drawn[3].iter().all(|value| value % 4 == 3));
}

#[test]
fn a_set_without_records_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty");
    fs::write(&path, b"").unwrap();
    let nothing = inspect(
        &[path],
        &Names::default(),
        &Sheet::default(),
        &|_, _| Ok(()),
    );
    let error = nothing.unwrap_err().to_string();
    assert!(error.ends_with("empty: there are no records"), "{error}");
}

#[test]
fn huge_labels_names_and_sheets_stay_small() {
    let folder = tempfile::tempdir().unwrap();
    let names = folder.path().join("names");
    let name = "an endless name, ".repeat(100);
    fs::write(&names, serde_json::json!({ "3": name }).to_string()).unwrap();
    let large = Shape {
        height: 3000,
        width: 2,
        channels: 3,
    };
    let path = folder.path().join("large");
    fs::write(
        &path,
        records::encode(large, &vec![7; 3 * large.bytes()], &[3, 3, 250]),
    )
    .unwrap();
    let options = Sheet {
        scale: 16,
        ..Sheet::default()
    };
    let names = crate::classes::read(Some(&names)).unwrap();
    let found = inspect(&[path], &names, &options, &|_, _| Ok(())).unwrap();
    let sheet = png::decode(&found.sheet).unwrap().shape;
    assert!(sheet.height < 1100 && sheet.width < 2000, "{sheet:?}");
}
