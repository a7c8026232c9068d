//! Large files and the child that they are left to. A file of its own, since a process has one such program.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rematch_cache::{Digest, mapped};

#[test]
fn a_child_is_believed_where_it_says_a_digest_and_the_file_is_read_where_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let script = format!("#!/bin/sh\n. {}\n", path("next").display());
    fs::write(path("program"), script).unwrap();
    fs::set_permissions(path("program"), fs::Permissions::from_mode(0o755)).unwrap();
    let file = |name: &str, size: u64| {
        fs::File::create(path(name)).unwrap().set_len(size).unwrap();
        Digest::of_file(&path(name)).unwrap()
    };
    let small = file("small", (64 << 20) - 1);
    let large = file("large", 64 << 20);
    let hashed = |name: &str| Digest::of_file(&path(name)).unwrap();

    mapped::leave_large_files_to(path("program"), "digest");
    let other = Digest::of_bytes(b"what the child says");
    fs::write(
        path("next"),
        format!("[ $1 = digest ] && [ $(wc -c) = 67108864 ] && echo {other}"),
    )
    .unwrap();
    assert_eq!(hashed("large"), other);
    assert_eq!(hashed("small"), small, "small files are not left to it");
    for odd in [
        "kill -BUS $$".to_owned(),
        "exit 1".into(),
        format!("echo {other}; exit 1"),
        format!("echo {other}; kill -KILL $$"),
        String::new(),
        "echo 12".into(),
        format!("printf {other}"),
        format!("echo {other}; echo {other}"),
        "printf '\\377\\n'".into(),
    ] {
        fs::write(path("next"), &odd).unwrap();
        assert_eq!(hashed("large"), large, "{odd}");
    }
    fs::remove_file(path("program")).unwrap();
    assert_eq!(hashed("large"), large, "no program");
}
