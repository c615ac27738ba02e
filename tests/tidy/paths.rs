//! The paths that a source file mentions: by `crate::`, `super::` and `self::`, by its own modules, and by names that it has from a
//! `use`.

use crate::source::{Source, Token};

/// A path in the code, or one leaf of a `use`, seen from the crate's root.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mention {
    pub(crate) line: usize,
    pub(crate) path: Vec<String>,
    /// The name under which a `use` makes it known.
    pub(crate) name: Option<String>,
    /// It stands behind `pub … use`.
    pub(crate) reexport: bool,
    /// It begins with `$crate`, so it is resolved where a macro is used.
    pub(crate) from_macro: bool,
}

/// The path of the module that a file holds: `src/a/mod.rs` is `a`, `src/a/b.rs` is `a::b`.
pub(crate) fn module_of(path: &str) -> Vec<String> {
    let inner = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
    let mut module: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
        module.pop();
    }
    module
}

/// What a file mentions of this crate, by `crate::` and `super::`, and by `self::` in a `use`.
pub(crate) fn mentions(source: &Source) -> Vec<Mention> {
    let tokens = source.tokens();
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut module = module_of(&source.path);
    let mut inline_modules = Vec::new(); // the brace depth at which each one opened
    let (mut depth, mut at, mut found) = (0, 0, Vec::new());
    let children = children(&tokens);
    while at < tokens.len() {
        let keyword = text(at);
        let is_path = matches!(keyword, "crate" | "super") && text(at + 1) == "::";
        if keyword == "use" || is_path {
            let before = at.wrapping_sub(1);
            let reexport = keyword == "use" && matches!(text(before), "pub" | ")");
            let from_macro = is_path && text(before) == "$";
            let line = tokens[at].line;
            let mut parser = Parser {
                tokens: &tokens,
                at: at + usize::from(keyword == "use"),
                module: &module,
                children: &children,
                leaves: vec![],
            };
            parser.tree(None);
            at = parser.at;
            let leaves =
                parser.leaves.into_iter().filter(|(path, _)| path.first().is_none_or(|first| first != OUTSIDE));
            found.extend(leaves.map(|(path, name)| {
                let name = (keyword == "use").then_some(name);
                Mention { line, path, name, reexport, from_macro }
            }));
            continue;
        }
        match keyword {
            "mod" if text(at + 2) == "{" => {
                inline_modules.push(depth);
                module.push(text(at + 1).to_owned());
            }
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                if inline_modules.last() == Some(&depth) {
                    inline_modules.pop();
                    module.pop();
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// The modules that a file declares as files of their own.
fn children<'a>(tokens: &[Token<'a>]) -> Vec<&'a str> {
    let declared = tokens.windows(3).filter(|window| window[0].text == "mod" && window[2].text == ";");
    declared.map(|window| window[1].text).collect()
}

/// What a file mentions by a name that it has from a `use` or from a `mod`: the paths in its code.
pub(crate) fn mentions_by_name(source: &Source, by_use: &[Mention]) -> Vec<Mention> {
    let tokens = source.tokens();
    let module = module_of(&source.path);
    let children = children(&tokens);
    let (mut found, mut in_use) = (Vec::new(), false);
    for at in 0..tokens.len().saturating_sub(2) {
        let (before, word) = (tokens[at.saturating_sub(1)].text, tokens[at].text);
        in_use = if in_use { word != ";" } else { word == "use" && tokens[at + 1].text != "<" };
        if in_use || tokens[at + 1].text != "::" || matches!(before, "::" | "." | "$") {
            continue;
        }
        let child = children.contains(&word).then(|| [&module[..], &[word.to_owned()]].concat());
        let used = || by_use.iter().find(|mention| mention.name.as_deref() == Some(word));
        let Some(mut path) = child.or_else(|| used().map(|used| used.path.clone())) else { continue };
        path.push(tokens[at + 2].text.to_owned());
        found.push(Mention { line: tokens[at].line, path, name: None, reexport: false, from_macro: false });
    }
    found
}

/// Stands for the first part of a path that `crate`, `self` or `super` does not begin. No module has a keyword's name.
const OUTSIDE: &str = "extern";

/// Reads a path or the tree of a `use`.
struct Parser<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    module: &'a [String],
    children: &'a [&'a str],
    /// Each path, with its name here.
    leaves: Vec<(Vec<String>, String)>,
}

impl Parser<'_> {
    fn text(&self) -> &str {
        self.tokens.get(self.at).map_or("", |token| token.text)
    }

    fn skip(&mut self, text: &str) -> bool {
        let found = self.text() == text;
        self.at += usize::from(found);
        found
    }

    /// One path with what branches off its end. `prefix` is the part before it, none at the start.
    fn tree(&mut self, prefix: Option<Vec<String>>) {
        self.skip("::");
        if self.skip("{") {
            while !self.skip("}") && self.at < self.tokens.len() {
                self.tree(prefix.clone());
                self.skip(",");
            }
            return;
        }
        let segment = self.text().to_owned();
        let is_segment = segment == "*" || segment.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        self.at += 1;
        let path = match (segment.as_str(), prefix) {
            ("crate", _) => vec![],
            ("self", None) => self.module.to_vec(),
            ("super", None) => self.module[..self.module.len().saturating_sub(1)].to_vec(),
            ("super", Some(path)) => path[..path.len().saturating_sub(1)].to_vec(),
            ("self", Some(path)) => path,
            (_, Some(path)) if !is_segment => path,
            (name, Some(path)) => [path, vec![name.to_owned()]].concat(),
            (name, None) if self.children.contains(&name) => [self.module, &[name.to_owned()]].concat(),
            (_, None) => vec![OUTSIDE.to_owned()],
        };
        if is_segment && self.text() == "::" {
            return self.tree(Some(path));
        }
        let mut name = if segment == "self" { path.last().cloned().unwrap_or_default() } else { segment };
        if self.skip("as") {
            name = self.text().to_owned();
            self.at += 1;
        }
        self.leaves.push((path, name));
    }
}
