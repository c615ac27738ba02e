//! The example `search` prints what grep prints, in order.

#![cfg(not(miri))]

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[path = "../../tests/help/mod.rs"]
mod help;

use help::example;

/// Runs the example in `dir`.
fn search(dir: &Path, args: &[&OsStr]) -> Output {
    let mut command = example("search");
    command.args(args).current_dir(dir).output().unwrap()
}

/// Runs grep in `dir` with the bytes of files and names left alone.
fn grep(dir: &Path, args: &[&OsStr]) -> Output {
    Command::new("grep").arg("-rnFI").arg("--").args(args).env("LC_ALL", "C").current_dir(dir).output().unwrap()
}

fn sorted_lines(output: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = output.split_inclusive(|byte| *byte == b'\n').collect();
    lines.sort_unstable();
    lines
}

/// The output without the summary, which is its last line.
fn split_summary(output: &[u8]) -> (&[u8], String) {
    let body = output.strip_suffix(b"\n").expect("the summary is a line");
    let at = body.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    (&output[..at], String::from_utf8(body[at..].to_vec()).unwrap())
}

/// Searches `dir/root` both ways and compares lines, count and exit status.
#[track_caller]
fn assert_same_as_grep(dir: &Path, pattern: &OsStr, root: &str) {
    let args = [pattern, OsStr::new(root)];
    let (ours, theirs) = (search(dir, &args), grep(dir, &args));
    let (found, summary) = split_summary(&ours.stdout);
    let (found, expected) = (sorted_lines(found), sorted_lines(&theirs.stdout));
    let differs = found.iter().zip(&expected).position(|(a, b)| a != b).unwrap_or(found.len().min(expected.len()));
    let show = |lines: &[&[u8]]| lines.get(differs).map(|line| String::from_utf8_lossy(line).into_owned());
    assert!(found == expected, "{pattern:?} in {root}: {:?} instead of {:?}", show(&found), show(&expected));
    assert_eq!(ours.status.code(), theirs.status.code(), "{pattern:?} in {root}");
    assert!(summary.contains(&format!(" files, {} matches, ", expected.len())), "{summary}");
}

/// An empty directory of this test's own.
fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("search-{name}"));
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap();
    }
    fs::create_dir_all(&dir).unwrap();
    dir
}

#[test]
fn it_finds_in_this_repository_what_grep_finds() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    for root in ["src", "tests/", "asm", "./src", "src/lib.rs"] {
        for pattern in ["fn", "unsafe ", "::", "no line of the whole repository says th\u{69}s, or ", "\"", "", "}"] {
            assert_same_as_grep(repository, OsStr::new(pattern), root);
        }
    }
}

#[test]
fn lines_of_any_bytes_and_any_ending_pass_through() {
    let dir = scratch("bytes");
    fs::create_dir_all(dir.join("tree/inner/empty")).unwrap();
    let files: [(&[u8], &[u8]); 8] = [
        (b"empty", b""),
        (b"no-final-newline", b"a match\nanother match"),
        (b"only-newlines", b"\n\n\n"),
        (b"crlf", b"match\r\nnothing\r\nmatch\r\n"),
        (b"latin-1", b"caf\xe9 match \xff\n"),
        (b"inner/two:colons: match", b"match: match\n"),
        (b"inner/long", &[b"x".repeat(1 << 20), b"match\n".to_vec()].concat()),
        (b".hidden", b"mmatch\nmatcmatch\n"),
    ];
    for (name, text) in files {
        fs::write(dir.join("tree").join(OsStr::from_bytes(name)), text).unwrap();
    }
    // Not every file system takes a name that is no UTF-8.
    let _ = fs::write(dir.join("tree").join(OsStr::from_bytes(b"inner/caf\xe9")), "match\n");
    symlink("crlf", dir.join("tree/link-to-a-file")).unwrap();
    symlink("inner", dir.join("tree/link-to-a-directory")).unwrap();
    symlink("tree", dir.join("link")).unwrap();
    for pattern in [b"match".as_slice(), b"", b"\r", b"\xe9 m", b"\xff", b"match\r", b"absent"] {
        for root in ["tree", "tree/inner", ".", "link", "tree/crlf", "tree/link-to-a-file"] {
            assert_same_as_grep(&dir, OsStr::from_bytes(pattern), root);
        }
    }
}

#[test]
fn a_binary_file_is_named_on_standard_error_and_skipped() {
    let dir = scratch("binary");
    fs::write(dir.join("binary"), b"match\n\0").unwrap();
    fs::write(dir.join("text"), b"match\n").unwrap();
    assert_same_as_grep(&dir, OsStr::new("match"), ".");
    let output = search(&dir, &[OsStr::new("match"), OsStr::new(".")]);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "search: ./binary: binary file skipped\n");
    fs::remove_file(dir.join("text")).unwrap();
    assert_same_as_grep(&dir, OsStr::new("match"), ".");
}

#[test]
fn an_unreadable_file_is_named_on_standard_error_and_the_others_are_searched() {
    let dir = scratch("unreadable");
    for name in ["a", "b", "c"] {
        fs::write(dir.join(name), b"match\n").unwrap();
    }
    fs::set_permissions(dir.join("b"), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(dir.join("b")).is_ok() {
        println!("nothing is unreadable for this user");
        return;
    }
    assert_same_as_grep(&dir, OsStr::new("match"), ".");
    let output = search(&dir, &[OsStr::new("match"), OsStr::new(".")]);
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("search: ./b: "));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_missing_directory_and_wrong_arguments_are_errors() {
    let dir = scratch("errors");
    let run = |args: &[&str]| search(&dir, &args.iter().map(OsStr::new).collect::<Vec<_>>());
    let missing = run(&["match", "absent"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8(missing.stderr).unwrap().starts_with("search: absent: "));
    for wrong in [&[][..], &["match"], &["match", ".", "."]] {
        let output = run(wrong);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
        assert!(String::from_utf8(output.stderr).unwrap().starts_with("usage: "));
    }
}

#[test]
fn output_is_sorted_in_a_tree_of_more_files_than_are_searched_at_a_time() {
    let dir = scratch("order");
    let mut expected = Vec::new();
    for outer in 0..30 {
        let inner = format!("tree/{outer:02}");
        fs::create_dir_all(dir.join(&inner)).unwrap();
        for file in 0..40 {
            let path = format!("{inner}/{file:02}");
            fs::write(dir.join(&path), "x\n".repeat(file * 20) + "match\n").unwrap();
            expected.push(format!("{path}:{}:match\n", file * 20 + 1));
        }
    }
    let output = search(&dir, &[OsStr::new("match"), OsStr::new("tree")]);
    let (found, summary) = split_summary(&output.stdout);
    assert_eq!(String::from_utf8(found.to_vec()).unwrap(), expected.concat());
    assert!(summary.starts_with("1200 files, 1200 matches, 1200 green threads, "), "{summary}");
    assert_same_as_grep(&dir, &OsString::from_vec(b"x".to_vec()), "tree");
}
