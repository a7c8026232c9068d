//! The store from outside: what goes in comes out, once, whole, and unharmed by others.

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{check_store, files, key, publish_file, reserve};
use rematch_cache::sealed::Damage;
use rematch_cache::{
    Artifact, Claim, Digest, Error, How, Ledger, Lookup, Made, Meta, Record, Seen, Stat, Store,
    UserFile,
};

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    (folder, store)
}

fn write(path: &Path, content: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Replaces a read-only file.
/// Places an artifact of which nothing is known.
fn place(store: &Store, artifact: &Artifact, dest: &Path) -> How {
    let (folder, name) = (dest.parent().unwrap(), dest.file_name().unwrap());
    let placed = store.materialise(artifact, folder, Path::new(name), None);
    placed.unwrap().how
}

fn damage(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path)
        .unwrap()
        .permissions()
        .mode()
        & 0o777
}

/// A published folder with a program, and its artifact.
fn publish_folder(store: &Store) -> Artifact {
    let reservation = reserve(store, &key(1));
    let work = reservation.work().join("run");
    write(&work.join("events/a"), "one");
    write(&work.join("program"), "#!/bin/sh\n");
    std::fs::set_permissions(work.join("program"), PermissionsExt::from_mode(0o750)).unwrap();
    let entry = reservation
        .publish(
            &BTreeMap::from([("run".into(), work)]),
            None,
            Meta::default(),
        )
        .unwrap();
    entry.outputs["run"]
}

#[test]
fn what_is_published_is_found_again_also_after_reopening() {
    let (folder, store) = store();
    let reservation = reserve(&store, &key(1));
    let work = reservation.work().to_path_buf();
    write(&work.join("out"), "hello");
    write(&work.join("log"), "said");
    let meta = Meta {
        metrics: BTreeMap::from([("accuracy".into(), f64::NAN)]),
        ..Meta::default()
    };
    let entry = reservation
        .publish(
            &BTreeMap::from([("out".into(), work.join("out"))]),
            Some(&work.join("log")),
            meta,
        )
        .unwrap();
    assert_eq!(
        entry.outputs["out"],
        Artifact {
            digest: Digest::of_bytes(b"hello"),
            size: 5,
            folder: false
        }
    );
    assert!(!work.exists());
    drop(store);
    let store = Store::open(&folder.path().join("store")).unwrap();
    let found = store.get(&key(1).id()).unwrap().unwrap();
    assert_eq!((&found.outputs, found.log), (&entry.outputs, entry.log));
    assert!(found.metrics["accuracy"].is_nan());
    assert_eq!(
        store.read_object(&found.log.unwrap().digest).unwrap(),
        b"said"
    );
    assert_eq!(
        mode(&store.object_path(&entry.outputs["out"].digest)),
        0o444
    );
    assert!(store.get(&key(2).id()).unwrap().is_none());
    check_store(&store, true);
}

#[test]
fn equal_outputs_of_different_jobs_are_one_object() {
    let (_folder, store) = store();
    let a = publish_file(&store, &key(1), b"same");
    let object = store.object_path(&a.outputs["out"].digest);
    let before = std::fs::metadata(&object).unwrap().ino();
    let b = publish_file(&store, &key(2), b"same");
    assert_eq!(a.outputs, b.outputs);
    assert_eq!(std::fs::metadata(&object).unwrap().ino(), before);
    assert_eq!(files(&store.root().join("objects")).len(), 1);
}

#[test]
fn a_missing_output_is_named_and_the_work_stays() {
    let (_folder, store) = store();
    let reservation = reserve(&store, &key(1));
    let work = reservation.work().to_path_buf();
    write(&work.join("a"), "x");
    let outputs = BTreeMap::from([
        ("a".into(), work.join("a")),
        ("model".into(), work.join("m.safetensors")),
    ]);
    let error = reservation
        .publish(&outputs, None, Meta::default())
        .unwrap_err();
    assert!(
        matches!(&error, Error::MissingOutput { name, .. } if name == "model"),
        "{error}"
    );
    assert!(error.to_string().contains("m.safetensors"));
    assert_eq!(std::fs::read(work.join("a")).unwrap(), b"x");
    assert!(store.get(&key(1).id()).unwrap().is_none());
    assert!(files(&store.root().join("objects")).is_empty());
    // And the key is free again.
    reserve(&store, &key(1));
}

#[test]
fn a_link_as_output_is_refused() {
    let (_folder, store) = store();
    let reservation = reserve(&store, &key(1));
    let out = reservation.work().join("out");
    std::os::unix::fs::symlink("/etc/hostname", &out).unwrap();
    let error = reservation
        .publish(
            &BTreeMap::from([("out".into(), out)]),
            None,
            Meta::default(),
        )
        .unwrap_err();
    assert!(error.to_string().contains("symbolic link"), "{error}");
}

#[test]
fn an_output_with_a_second_name_is_copied_and_the_other_name_is_left_alone() {
    let (folder, store) = store();
    let mine = folder.path().join("mine");
    write(&mine, "data");
    let reservation = reserve(&store, &key(1));
    let out = reservation.work().join("out");
    std::fs::hard_link(&mine, &out).unwrap();
    let entry = reservation
        .publish(
            &BTreeMap::from([("out".into(), out)]),
            None,
            Meta::default(),
        )
        .unwrap();
    assert_ne!(mode(&mine), 0o444);
    std::fs::write(&mine, "edit").unwrap();
    assert_eq!(
        store.read_object(&entry.outputs["out"].digest).unwrap(),
        b"data"
    );
}

#[test]
fn an_output_inside_another_output_is_both() {
    let (_folder, store) = store();
    let reservation = reserve(&store, &key(1));
    let run = reservation.work().join("run");
    write(&run.join("model"), "weights");
    write(&run.join("twin"), "weights");
    let outputs = BTreeMap::from([("model".into(), run.join("model")), ("run".into(), run)]);
    let entry = reservation
        .publish(&outputs, None, Meta::default())
        .unwrap();
    assert!(
        store.has(&entry.outputs["run"]).unwrap() && store.has(&entry.outputs["model"]).unwrap()
    );
    assert_eq!(entry.outputs["run"].size, 14);
    check_store(&store, true);
}

#[test]
fn one_of_many_threads_makes_a_result_and_the_others_wait_for_it() {
    let (_folder, store) = store();
    let made = std::sync::atomic::AtomicU32::new(0);
    let start = std::sync::Barrier::new(6);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                start.wait();
                match store
                    .claim(&key(1), |holder| assert!(!holder.is_empty()))
                    .unwrap()
                {
                    Claim::Hit(entry) => assert_eq!(entry.outputs["out"].size, 3),
                    Claim::Busy => panic!("a waiting claim is never busy"),
                    Claim::Reserved(reservation) => {
                        made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        let out = reservation.work().join("out");
                        std::thread::sleep(std::time::Duration::from_millis(20));
                        write(&out, "one");
                        reservation
                            .publish(
                                &BTreeMap::from([("out".into(), out)]),
                                None,
                                Meta::default(),
                            )
                            .unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(made.into_inner(), 1);
    check_store(&store, true);
}

#[test]
fn a_held_key_is_busy_and_says_who_holds_it() {
    let (_folder, store) = store();
    let held = reserve(&store, &key(1));
    assert!(matches!(store.try_claim(&key(1)).unwrap(), Claim::Busy));
    assert!(matches!(store.try_reclaim(&key(1)).unwrap(), Claim::Busy));
    assert!(
        store
            .holder(&key(1).id())
            .contains(&std::process::id().to_string())
    );
    assert!(matches!(
        store.try_claim(&key(2)).unwrap(),
        Claim::Reserved(_)
    ));
    // Work survives giving up, until somebody wants it fresh.
    write(&held.work().join("checkpoint"), "7");
    drop(held);
    let again = reserve(&store, &key(1));
    assert_eq!(
        std::fs::read(again.work().join("checkpoint")).unwrap(),
        b"7"
    );
    again.fresh().unwrap();
    // The key alone, for whoever asks why the job ran.
    assert_eq!(
        files(again.work()),
        [again.work().join(".rematch-key.json")]
    );
}

#[test]
fn a_job_that_outlives_its_runner_keeps_the_key() {
    let (_folder, store) = store();
    let held = reserve(&store, &key(1));
    let inherited = held.inheritable().unwrap();
    let mut child = Command::new("cat")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(inherited);
    // As if the runner had died: its own handle goes, without any clean-up.
    let lock = store.root().join("locks").join(key(1).id().to_string());
    let aside = store.root().join("tmp/aside");
    std::fs::rename(&lock, &aside).unwrap();
    drop(held);
    std::fs::rename(&aside, &lock).unwrap();
    assert!(matches!(store.try_claim(&key(1)).unwrap(), Claim::Busy));
    drop(child.stdin.take());
    child.wait().unwrap();
    // Waiting, since a child that another test started meanwhile may have inherited it, too.
    assert!(matches!(
        store.claim(&key(1), |_| {}).unwrap(),
        Claim::Reserved(_)
    ));
}

#[test]
fn a_job_that_outlives_a_failed_run_keeps_the_key_until_it_ends() {
    let (_folder, store) = store();
    let held = reserve(&store, &key(1));
    let inherited = held.inheritable().unwrap();
    let mut child = Command::new("cat")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(inherited);
    // The runner gives up, for a full disk, say, and does not wait for its child.
    drop(held);
    assert!(matches!(store.try_claim(&key(1)).unwrap(), Claim::Busy));
    drop(child.stdin.take());
    child.wait().unwrap();
    let Claim::Reserved(again) = store.claim(&key(1), |_| {}).unwrap() else {
        panic!("the key is not free")
    };
    drop(again);
    assert!(files(&store.root().join("locks")).is_empty());
}

#[test]
fn a_result_made_again_replaces_the_old_one() {
    let (_folder, store) = store();
    publish_file(&store, &key(1), b"old");
    let Claim::Reserved(reservation) = store.try_reclaim(&key(1)).unwrap() else {
        panic!("not ours")
    };
    assert!(
        store.get(&key(1).id()).unwrap().is_some(),
        "the old result stays until then"
    );
    let out = reservation.work().join("out");
    write(&out, "new");
    reservation
        .publish(
            &BTreeMap::from([("out".into(), out)]),
            None,
            Meta::default(),
        )
        .unwrap();
    let entry = store.get(&key(1).id()).unwrap().unwrap();
    assert_eq!(entry.outputs["out"].digest, Digest::of_bytes(b"new"));
}

#[test]
fn damaged_entries_and_objects_count_as_absent_and_are_made_again() {
    let (_folder, store) = store();
    let entry = publish_file(&store, &key(1), b"bytes");
    let id = key(1).id();
    let object = store.object_path(&entry.outputs["out"].digest);

    damage(&store.entry_path(&id), |bytes| {
        bytes.truncate(bytes.len() / 2);
    });
    assert!(matches!(
        store.lookup(&id).unwrap(),
        Lookup::Damaged {
            why: Damage::NotSealed(_),
            ..
        }
    ));
    publish_file(&store, &key(1), b"bytes");

    damage(&store.entry_path(&id), |bytes| {
        let at = bytes.windows(4).position(|w| w == b"host").unwrap();
        bytes[at] ^= 1;
    });
    assert!(matches!(
        store.lookup(&id).unwrap(),
        Lookup::Damaged {
            why: Damage::Checksum,
            ..
        }
    ));
    publish_file(&store, &key(1), b"bytes");

    damage(&object, |bytes| bytes.truncate(2));
    assert!(
        matches!(store.lookup(&id).unwrap(), Lookup::Incomplete { output, .. } if output == "out")
    );
    publish_file(&store, &key(1), b"bytes");
    assert_eq!(std::fs::read(&object).unwrap(), b"bytes");

    std::fs::remove_file(&object).unwrap();
    assert!(store.get(&id).unwrap().is_none());
}

#[test]
fn a_damaged_manifest_or_a_lost_member_makes_a_folder_absent() {
    let (_folder, store) = store();
    let artifact = publish_folder(&store);
    assert!(store.has(&artifact).unwrap());
    let member = store.object_path(&Digest::of_bytes(b"one"));
    std::fs::rename(&member, member.with_extension("away")).unwrap();
    assert!(!store.has(&artifact).unwrap());
    std::fs::rename(member.with_extension("away"), &member).unwrap();
    let manifest = store.object_path(&artifact.digest);
    let size = std::fs::metadata(&manifest).unwrap().len() as usize;
    for at in (0..size).step_by(7) {
        damage(&manifest, |bytes| bytes[at] ^= 4);
        assert!(!store.has(&artifact).unwrap(), "flipped at {at}");
        damage(&manifest, |bytes| bytes[at] ^= 4);
    }
    damage(&manifest, |bytes| bytes[0] ^= 4);
    assert_eq!(publish_folder(&store), artifact);
    assert!(store.has(&artifact).unwrap());
}

#[test]
fn a_file_is_placed_once_and_left_alone_while_it_is_right() {
    let (folder, store) = store();
    let artifact = publish_file(&store, &key(1), b"result").outputs["out"];
    let dest = folder.path().join("out/a/b.txt");
    assert_ne!(place(&store, &artifact, &dest), How::Already);
    let before = std::fs::metadata(&dest).unwrap();
    assert_eq!(place(&store, &artifact, &dest), How::Already);
    assert_eq!(std::fs::metadata(&dest).unwrap().ino(), before.ino());
    assert!(store.is_right(&dest, &artifact).unwrap());
    // A link and an empty folder in its place are replaced.
    std::fs::remove_file(&dest).unwrap();
    std::os::unix::fs::symlink("nowhere", &dest).unwrap();
    assert_ne!(place(&store, &artifact, &dest), How::Already);
    std::fs::remove_file(&dest).unwrap();
    std::fs::create_dir(&dest).unwrap();
    assert_ne!(place(&store, &artifact, &dest), How::Already);
    assert_eq!(std::fs::read(&dest).unwrap(), b"result");
    assert_eq!(files(&folder.path().join("out")), [dest]);
}

#[test]
fn runners_that_place_at_once_end_with_a_right_place_and_leave_nothing_else() {
    let (folder, store) = store();
    let one = publish_file(&store, &key(2), b"one").outputs["out"];
    let two = publish_file(&store, &key(3), b"two").outputs["out"];
    let tree = publish_folder(&store);
    let out = folder.path().join("out");
    let root = store.root().to_path_buf();
    for round in 0..10 {
        // As another runner would: with a store of its own.
        let start = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for runner in 0..4 {
                let (root, out, start) = (&root, &out, &start);
                scope.spawn(move || {
                    let store = Store::open(root).unwrap();
                    start.wait();
                    for n in 0..6 {
                        let file = if (round + runner + n) % 2 == 0 {
                            one
                        } else {
                            two
                        };
                        place(&store, &file, &out.join("f"));
                        place(&store, &one, &out.join("same"));
                        place(&store, &tree, &out.join("tree"));
                        if n == runner {
                            let _ = std::fs::remove_dir_all(out.join("tree"));
                        }
                    }
                });
            }
        });
        for (artifact, name) in [(one, "f"), (one, "same"), (tree, "tree")] {
            place(&store, &artifact, &out.join(name));
            assert!(store.is_right(&out.join(name), &artifact).unwrap());
        }
        assert_eq!(std::fs::read_dir(&out).unwrap().count(), 3);
        assert_eq!(files(&root.join("tmp")), Vec::<PathBuf>::new());
        std::fs::remove_dir_all(&out).unwrap();
    }
}

#[test]
fn a_folder_is_placed_with_its_programs_and_exactly_its_files() {
    let (folder, store) = store();
    let artifact = publish_folder(&store);
    let dest = folder.path().join("out/run");
    assert_ne!(place(&store, &artifact, &dest), How::Already);
    assert_eq!(mode(&dest.join("program")), 0o755);
    assert_eq!(std::fs::read(dest.join("events/a")).unwrap(), b"one");
    assert_eq!(place(&store, &artifact, &dest), How::Already);
    for spoil in ["one more", "one less", "a live link"] {
        match spoil {
            "one more" => write(&dest.join("events/b"), "one"),
            "one less" => std::fs::remove_file(dest.join("events/a")).unwrap(),
            _ => {
                std::fs::remove_dir_all(&dest).unwrap();
                std::os::unix::fs::symlink(folder.path(), &dest).unwrap();
            }
        }
        assert!(!store.is_right(&dest, &artifact).unwrap(), "{spoil}");
        place(&store, &artifact, &dest);
        assert_eq!(files(&folder.path().join("out")).len(), 2, "{spoil}");
        assert!(folder.path().join("store/format").exists());
    }
}

#[test]
fn too_many_links_end_in_a_copy() {
    let (folder, store) = store();
    let artifact = publish_file(&store, &key(1), b"").outputs["out"];
    let object = store.object_path(&artifact.digest);
    // The limit is 65,000 on ext4 and 65,535 on btrfs; other file systems take more.
    let links = folder.path().join("links");
    std::fs::create_dir(&links).unwrap();
    if let Some(error) =
        (0..65_600).find_map(|n| std::fs::hard_link(&object, links.join(n.to_string())).err())
    {
        assert_eq!(error.kind(), std::io::ErrorKind::TooManyLinks);
        let dest = folder.path().join("dest");
        assert!(matches!(
            place(&store, &artifact, &dest),
            How::Copy | How::Reflink
        ));
        assert_eq!(place(&store, &artifact, &dest), How::Already);
    } else {
        println!("this file system takes more than 65,600 links to a file: nothing to see");
    }
}

#[test]
fn inputs_are_links_to_objects_and_read_only_trees() {
    let (folder, store) = store();
    let file = publish_file(&store, &key(2), b"input").outputs["out"];
    let tree = publish_folder(&store);
    let dest = folder.path().join("inputs");
    for _ in 0..2 {
        store.link_input(&file, &dest.join("f.tfrecord")).unwrap();
        store.link_input(&tree, &dest.join("run")).unwrap();
    }
    assert_eq!(
        std::fs::read_link(dest.join("f.tfrecord")).unwrap(),
        store.object_path(&file.digest)
    );
    assert_eq!(mode(&dest.join("run/events/a")), 0o444);
    assert!(
        std::fs::metadata(dest.join("run/program"))
            .unwrap()
            .permissions()
            .mode()
            & 0o100
            != 0
    );
    std::fs::remove_file(store.object_path(&file.digest)).unwrap();
    let error = store.link_input(&file, &dest.join("g")).unwrap_err();
    assert!(matches!(error, Error::MissingObject { .. }), "{error}");
    assert!(!dest.join("g").exists());
}

#[test]
fn files_and_folders_of_the_user_are_known_by_content() {
    let (folder, store) = store();
    let data = folder.path().join("data");
    write(&data.join("a/1"), "one");
    write(&data.join("2"), "two");
    let before = store.artifact_of(&data).unwrap();
    assert_eq!((before.size, before.folder), (6, true));
    let file = std::fs::File::options()
        .write(true)
        .open(data.join("2"))
        .unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    assert_eq!(store.artifact_of(&data).unwrap(), before);
    write(&data.join("2"), "2wo");
    assert_ne!(store.artifact_of(&data).unwrap().digest, before.digest);
    assert_eq!(
        store.artifact_of(&data.join("2")).unwrap().digest,
        Digest::of_bytes(b"2wo")
    );
    let error = store.artifact_of(&data.join("3")).unwrap_err();
    assert!(error.to_string().contains("data/3"), "{error}");
}

#[test]
fn a_key_is_known_by_its_id_whether_its_job_ended_or_not() {
    let (_folder, store) = store();
    assert_eq!(store.key(&key(1).id()).unwrap(), None);
    let Claim::Reserved(reservation) = store.try_claim(&key(1)).unwrap() else {
        panic!("it is free")
    };
    assert_eq!(store.key(&key(1).id()).unwrap(), Some(key(1)));
    drop(reservation);
    publish_file(&store, &key(2), b"x");
    assert_eq!(store.key(&key(2).id()).unwrap(), Some(key(2)));
}

#[test]
fn an_object_that_somebody_wrote_to_is_read_and_removed_if_it_is_not_what_it_was() {
    let (_folder, store) = store();
    let entry = publish_file(&store, &key(1), b"bytes");
    let object = store.object_path(&entry.outputs["out"].digest);
    // The same bytes again: mended.
    damage(&object, |_| {});
    assert!(store.get(&key(1).id()).unwrap().is_some());
    damage(&object, |bytes| bytes[0] ^= 1);
    assert!(store.get(&key(1).id()).unwrap().is_none());
    assert!(!object.exists());
}

#[test]
fn what_a_person_put_in_the_place_of_a_result_is_kept_beside_it() {
    let (folder, store) = store();
    let old = publish_file(&store, &key(1), b"old").outputs["out"];
    let new = publish_file(&store, &key(2), b"new").outputs["out"];
    let dest = folder.path().join("out/x");
    // An earlier result is in the store, whether or not it is known that it was placed here.
    for was in [Some(&old), None] {
        place(&store, &old, &dest);
        let placed = store.materialise(&new, folder.path(), Path::new("out/x"), was);
        assert_eq!(placed.unwrap().aside, None);
    }
    for (n, kept) in ["x.edited", "x.edited-2"].into_iter().enumerate() {
        std::fs::remove_file(&dest).unwrap();
        write(&dest, &format!("mine {n}"));
        let placed = store.materialise(&new, folder.path(), Path::new("out/x"), Some(&new));
        let kept = folder.path().join("out").join(kept);
        assert_eq!(placed.unwrap().aside.as_ref(), Some(&kept));
        assert_eq!(
            std::fs::read(&kept).unwrap(),
            format!("mine {n}").as_bytes()
        );
        assert_eq!(std::fs::read(&dest).unwrap(), b"new");
    }
}

#[test]
fn a_look_over_a_ledger_sees_what_is_gone_or_edited() {
    let (folder, store) = store();
    let out = folder.path().join("out");
    let user = folder.path().join("user");
    write(&user, "data");
    let file = publish_file(&store, &key(2), b"result").outputs["out"];
    let tree = publish_folder(&store);
    let made = |name: &str, artifact: &Artifact| {
        let placed = store
            .materialise(artifact, &out, Path::new(name), None)
            .unwrap();
        Made {
            name: name.into(),
            artifact: *artifact,
            files: placed.files,
            folders: placed.folders,
        }
    };
    let stat = Stat::of(&std::fs::metadata(&user).unwrap());
    let record = Record {
        files: vec![UserFile {
            path: user.clone(),
            stat: Some(stat),
        }],
        outputs: vec![made("file", &file), made("tree", &tree)],
        ..Record::new("job".into())
    };
    let ledger = Ledger {
        plan: None,
        out: out.clone(),
        records: vec![record],
    };
    let look = || store.look_over(&ledger, &out, |_| true)[0];
    let whole = Seen {
        files: true,
        objects: true,
        placed: true,
    };
    assert_eq!(look(), whole);
    write(&out.join("tree/events/more"), "");
    assert!(!look().placed);
    std::fs::remove_file(out.join("tree/events/more")).unwrap();
    store
        .materialise(&tree, &out, Path::new("tree"), None)
        .unwrap();
    write(&user, "other");
    assert!(!look().files);
    let member = store.object_path(&Digest::of_bytes(b"one"));
    damage(&member, |bytes| bytes[0] ^= 1);
    assert!(!look().objects);
}

#[test]
fn folders_that_are_no_store_and_stores_from_the_future_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("thesis/chapter1.tex"), "");
    let error = Store::open(&folder.path().join("thesis")).unwrap_err();
    assert!(matches!(error, Error::NotAStore { .. }), "{error}");
    assert_eq!(files(&folder.path().join("thesis")).len(), 1);
    write(&folder.path().join("newer/format"), "rematch store 7\n");
    let error = Store::open(&folder.path().join("newer")).unwrap_err();
    assert!(error.to_string().contains("update rematch"), "{error}");
    assert!(Store::open(&folder.path().join("thesis/chapter1.tex")).is_err());
    assert!(
        Store::open_existing(&folder.path().join("none"))
            .unwrap()
            .is_none()
    );
    assert!(!folder.path().join("none").exists());
}

#[test]
fn objects_that_lost_their_bytes_in_a_power_cut_are_found_at_the_next_open() {
    let (folder, store) = store();
    let good = publish_file(&store, &key(1), b"kept").outputs["out"];
    let bad = publish_file(&store, &key(2), b"lost").outputs["out"];
    drop(store);
    let path = folder.path().join("store");
    assert!(
        files(&path.join("unsynced")).is_empty(),
        "all is synced after a clean end"
    );
    // What such a cut leaves: a flag from before, of a machine that has restarted, and zeros.
    write(&path.join("unsynced/flag"), "somewhere some-boot-id\n");
    damage(
        &path
            .join("objects")
            .join(&bad.digest.to_hex()[..2])
            .join(&bad.digest.to_hex()[2..]),
        |bytes| bytes.fill(0),
    );
    let store = Store::open(&path).unwrap();
    assert!(store.get(&key(1).id()).unwrap().is_some() && store.has(&good).unwrap());
    assert!(store.get(&key(2).id()).unwrap().is_none());
    assert!(files(&path.join("unsynced")).is_empty());
    publish_file(&store, &key(2), b"lost");
    check_store(&store, true);
}

/// Runs one of the tests below in a mount namespace of its own, after `setup`; false where the
/// system does not let us.
fn in_namespace(test: &str, setup: &str, place: &Path) -> bool {
    let script = format!(
        "set -e; {setup}; touch \"$PLACE.entered\"; exec \"$PROGRAM\" --exact {test} --nocapture"
    );
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", &script])
        .env("PROGRAM", std::env::current_exe().unwrap())
        .env("PLACE", place)
        .env("IN_NAMESPACE", place)
        .output();
    let entered = place.with_extension("entered").exists();
    match output {
        Ok(output) if entered => {
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stdout)
            );
            true
        }
        other => {
            println!("skipped: no mount namespace here ({other:?})");
            false
        }
    }
}

#[test]
fn a_read_only_store_can_be_read() {
    if let Some(path) = std::env::var_os("IN_NAMESPACE") {
        let path = Path::new(&path);
        assert!(
            std::fs::write(path.join("x"), "").is_err(),
            "the mount is not read-only"
        );
        let store = Store::open(path).unwrap();
        let entry = store.get(&key(1).id()).unwrap().unwrap();
        assert_eq!(
            store.read_object(&entry.outputs["out"].digest).unwrap(),
            b"x"
        );
        assert!(matches!(store.try_claim(&key(1)).unwrap(), Claim::Hit(_)));
        let error = store.try_claim(&key(2)).unwrap_err().to_string();
        assert!(error.contains("read-only"), "{error}");
        store.keep_ledger("p", &Ledger::default()).unwrap();
        store.sync().unwrap();
        // Nobody can collect there, so nobody needs to be kept away.
        assert!(store.try_lease().unwrap().is_some());
        let error = store.lease_alone().unwrap_err().to_string();
        assert!(error.contains("read-only"), "{error}");
        assert!(store.check(false, &|_, _, _| {}).unwrap().is_sound());
        // Another file system: neither link nor reflink.
        let out = tempfile::tempdir().unwrap();
        assert_eq!(
            place(&store, &entry.outputs["out"], &out.path().join("f")),
            How::Copy
        );
        assert_eq!(
            place(&store, &entry.outputs["out"], &out.path().join("f")),
            How::Already
        );
        return;
    }
    let (folder, store) = store();
    publish_file(&store, &key(1), b"x");
    drop(store);
    let setup = "mount --bind \"$PLACE\" \"$PLACE\"; mount -o remount,bind,ro \"$PLACE\"";
    in_namespace(
        "a_read_only_store_can_be_read",
        setup,
        &folder.path().join("store"),
    );
}

#[test]
fn a_full_disk_costs_the_publication_and_nothing_else() {
    if let Some(path) = std::env::var_os("IN_NAMESPACE") {
        let path = Path::new(&path);
        let store = Store::open(&path.join("store")).unwrap();
        publish_file(&store, &key(1), b"first");
        let outside = tempfile::tempdir().unwrap();
        let big = outside.path().join("big");
        std::fs::write(&big, vec![7; 3 << 20]).unwrap();
        let reservation = reserve(&store, &key(2));
        let outputs = BTreeMap::from([("out".into(), big.clone())]);
        let error = reservation
            .publish(&outputs, None, Meta::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("free some space"), "{error}");
        assert_eq!(std::fs::metadata(&big).unwrap().len(), 3 << 20);
        assert!(store.get(&key(2).id()).unwrap().is_none());
        assert!(store.get(&key(1).id()).unwrap().is_some());
        // With room, the next claim finishes what was begun.
        let grown = Command::new("mount")
            .args(["-o", "remount,size=16m"])
            .arg(path)
            .status()
            .unwrap();
        assert!(grown.success());
        assert!(matches!(store.try_claim(&key(2)).unwrap(), Claim::Hit(_)));
        check_store(&store, true);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("small");
    std::fs::create_dir(&place).unwrap();
    in_namespace(
        "a_full_disk_costs_the_publication_and_nothing_else",
        "mount -t tmpfs -o size=2m tmpfs \"$PLACE\"",
        &place,
    );
}
