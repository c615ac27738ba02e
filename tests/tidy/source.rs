//! Source files as the rules see them: text, code without comments and literals, tokens, and which lines are tests.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// A rule broken at a place.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// A text file of the repository, or a fixture that pretends to be one.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Relative to the repository, with `/` between the parts.
    pub(crate) path: String,
    pub(crate) text: String,
    /// `text` with comments and the insides of literals blanked out, byte for byte and line for line.
    pub(crate) code: String,
}

/// A word, a `::`, or any other single character that is no white space. Lines count from 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    pub(crate) line: usize,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned(), code: without_comments_and_literals(text) }
    }

    pub(crate) fn finding(&self, line: usize, what: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, what: what.into() }
    }

    pub(crate) fn tokens(&self) -> Vec<Token<'_>> {
        let mut tokens = Vec::new();
        for (index, line) in self.code.lines().enumerate() {
            let mut rest = line.trim_start();
            while let Some(first) = rest.chars().next() {
                let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                let len = if word > 0 {
                    word
                } else if rest.starts_with("::") {
                    2
                } else {
                    first.len_utf8()
                };
                tokens.push(Token { text: &rest[..len], line: index + 1 });
                rest = rest[len..].trim_start();
            }
        }
        tokens
    }

    /// Is the whole file a test? In `src` those are the files `tests….rs` and what is in a folder `tests`.
    pub(crate) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || (part.starts_with("tests") && part.ends_with(".rs")))
    }

    /// For each line, index 0 unused: does it belong to an item under `#[cfg(test)]`, or to a test file?
    pub(crate) fn test_lines(&self) -> Vec<bool> {
        let mut marked = vec![self.is_test(); self.text.lines().count() + 1];
        let tokens = self.tokens();
        let mut at = 0;
        while at + 1 < tokens.len() {
            if tokens[at].text != "#" || tokens[at + 1].text != "[" {
                at += 1;
                continue;
            }
            let close = matching(&tokens, at + 1);
            let words: Vec<&str> = tokens[at + 1..close].iter().map(|token| token.text).collect();
            let asks_for_test = words.get(1) == Some(&"cfg")
                && words.contains(&"test")
                && !words.windows(3).any(|window| window == ["not", "(", "test"]);
            if asks_for_test {
                let end = item_end(&tokens, close + 1);
                marked[tokens[at].line..=tokens[end].line].fill(true);
            }
            at = close + 1;
        }
        marked
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The index of the bracket that closes the one at `open` (or the last token, in a file that is cut short).
pub(crate) fn matching(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len() - 1
}

/// The index of the last token of the item that begins at `at`: its `;`, or the brace that closes its body.
pub(crate) fn item_end(tokens: &[Token<'_>], mut at: usize) -> usize {
    while at < tokens.len() {
        match tokens[at].text {
            ";" => return at,
            "{" => return matching(tokens, at),
            "(" | "[" => at = matching(tokens, at) + 1,
            _ => at += 1,
        }
    }
    tokens.len() - 1
}

fn without_comments_and_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = blank_until(bytes, at);
        if end == at {
            code.push(bytes[at]);
            at += 1;
        } else {
            code.extend(bytes[at..end].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
            at = end;
        }
    }
    String::from_utf8(code).expect("whole comments and literals are blanked, so no character is cut")
}

/// Where the comment or literal ends that begins at `at`; `at` when none does.
fn blank_until(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let find = |needle: &[u8]| rest.windows(needle.len()).position(|window| window == needle);
    match rest {
        [b'/', b'/', ..] => at + find(b"\n").unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment_end(bytes, at),
        [b'"', ..] => string_end(bytes, at + 1),
        [b'r', b'"' | b'#', ..] if !is_inside_word(bytes, at) => {
            let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
            if rest.get(1 + hashes) != Some(&b'"') {
                return at; // a raw identifier
            }
            let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
            let from = 2 + hashes;
            let len = rest[from..].windows(close.len()).position(|window| window == close);
            at + len.map_or(rest.len(), |len| from + len + close.len())
        }
        [b'\'', b'\\', _, ..] => (at + 3..bytes.len()).find(|i| bytes[*i] == b'\'').map_or(bytes.len(), |i| i + 1),
        [b'\'', tail @ ..] => {
            // A character, which may have several bytes; a quote that is not closed after one begins a lifetime.
            let one = 1 + tail.iter().skip(1).take_while(|byte| **byte & 0xC0 == 0x80).count();
            if tail.get(one) == Some(&b'\'') { at + 1 + one + 1 } else { at }
        }
        _ => at,
    }
}

/// Does the `r` at `at` end a longer word, so that it opens no raw string? (`br` and `cr` open one.)
fn is_inside_word(bytes: &[u8], at: usize) -> bool {
    let word_at = |i: usize| bytes.get(i).is_some_and(|byte| is_word(*byte as char));
    let before = at.wrapping_sub(1);
    word_at(before) && (!matches!(bytes[before], b'b' | b'c') || word_at(before.wrapping_sub(1)))
}

fn block_comment_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The text files of the repository that git has; of a package that was unpacked, all of its files.
pub(crate) fn text_files() -> Vec<Source> {
    static FILES: LazyLock<Vec<Source>> = LazyLock::new(|| {
        let paths = if root().join(".git").exists() { files_of_git(&root()) } else { files_below(&root(), "") };
        let text = |path: String| Some(Source::new(&path, &fs::read_to_string(root().join(&path)).ok()?));
        paths.into_iter().filter_map(text).collect()
    });
    FILES.clone()
}

/// The Rust files under `src`.
pub(crate) fn crate_files() -> Vec<Source> {
    let sources = text_files().into_iter().filter(|file| file.path.starts_with("src/") && file.path.ends_with(".rs"));
    let sources: Vec<Source> = sources.collect();
    assert!(sources.iter().any(|file| file.path == "src/lib.rs"), "looked in the wrong place");
    sources
}

/// Git in `dir`, also where a hook of git's runs this.
fn git(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.args(arguments).current_dir(dir);
    ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"].iter().for_each(|name| _ = command.env_remove(name));
    command
}

/// What git has in `dir`, relative to it: neither what it ignores nor what nobody has added.
fn files_of_git(dir: &Path) -> Vec<String> {
    let output = git(dir, &["ls-files", "-z"]).output().expect("git is there");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let paths = String::from_utf8(output.stdout).expect("paths are UTF-8");
    let paths = paths.split_terminator('\0').filter(|path| !dir.join(path).is_symlink());
    paths.map(str::to_owned).collect()
}

/// All files in `dir` but build output, each with `prefix` before its path.
fn files_below(dir: &Path, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let relative = format!("{prefix}{name}");
        match () {
            () if path.is_symlink() || name.starts_with("target") => {}
            () if path.is_dir() => found.extend(files_below(&path, &format!("{relative}/"))),
            () => found.push(relative),
        }
    }
    found
}

#[test]
fn a_file_that_git_does_not_have_is_not_looked_at() {
    let dir = std::env::temp_dir().join(format!("green-tidy-{}", std::process::id()));
    fs::create_dir_all(dir.join("src")).unwrap();
    for path in ["Cargo.toml", "src/lib.rs", "scratch.rs"] {
        fs::write(dir.join(path), "").unwrap();
    }
    for arguments in [&["init", "--quiet"][..], &["add", "Cargo.toml", "src"]] {
        assert!(git(&dir, arguments).status().unwrap().success());
    }
    let (has, below) = (files_of_git(&dir), files_below(&dir.join("src"), "src/"));
    fs::remove_dir_all(&dir).unwrap();
    assert_eq!(has, ["Cargo.toml", "src/lib.rs"]);
    assert_eq!(below, ["src/lib.rs"]);
}

#[test]
fn comments_and_literals_are_no_code() {
    let text = concat!(
        "a /* b /* c */ d */ e // f\n",
        "\"g \\\" h\" i r#\"j \" k\"# l b\"m\" br\"n\" r#type\n",
        "'o' '\\'' 'p fn q<'r>() '\u{e9}' s\n",
    );
    let source = Source::new("src/x.rs", text);
    let words: Vec<&str> = source.tokens().iter().map(|t| t.text).filter(|t| t.chars().all(is_word)).collect();
    assert_eq!(words, ["a", "e", "i", "l", "b", "b", "r", "type", "p", "fn", "q", "r", "s"]);
    assert_eq!(source.code.lines().count(), 3);
}

#[test]
fn the_lines_of_tests_are_known() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n#[cfg(not(test))]\nfn c() {}\n";
    let marked = Source::new("src/x/y.rs", text).test_lines();
    assert_eq!(marked, [false, false, true, true, true, true, false, false]);
    assert!(Source::new("src/x/tests.rs", "fn a() {}").test_lines()[1]);
    assert!(!Source::new("src/x/test.rs", "fn a() {}").test_lines()[1]);
}
