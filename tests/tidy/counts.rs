//! The numbers of the page on migration: the lines of each program there, and those that one more message takes. The programs are the examples of
//! `benches/peers`, which compiles them.

use std::fs;

use crate::source::root;

const LIBRARIES: [&str; 4] = ["green", "kameo", "ractor", "actix"];

/// What each library's program has for its message `Double`, and would not have without it.
const DOUBLE: [&[&str]; 4] = [
    &["        fn Double(&mut self) {\n            self.0 *= 2;\n        }\n"],
    &["    #[message]\n    fn double(&mut self) {\n        self.0 *= 2;\n    }\n"],
    &["    Double,\n", "            Msg::Double => *sum *= 2,\n"],
    &["#[derive(Message)]\n#[rtype(result = \"()\")]\nstruct Double;\n\
       impl Handler<Double> for Counter {\n    type Result = ();\n    fn handle(&mut self, _: Double, _: &mut Context<Self>) {\n        \
       self.0 *= 2;\n    }\n}\n"],
];

fn page() -> String {
    fs::read_to_string(root().join("src/actor/MIGRATING.md")).unwrap()
}

/// The programs of the page.
fn programs(page: &str) -> Vec<&str> {
    page.split("```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap().1).collect()
}

/// Those that are not blank.
fn lines(program: &str) -> usize {
    program.lines().filter(|line| !line.trim().is_empty()).count()
}

/// The rest of the library's row: its lines, and what one more message takes.
fn row<'a>(page: &'a str, library: &str) -> (usize, &'a str) {
    let (_, page) = page.split_once("# One counter, four times").expect("that part");
    let columns = page.lines().find_map(|line| line.strip_prefix(&format!("| {library} | "))?.split_once(" | "));
    let (lines, message) = columns.expect("a row");
    (lines.parse().unwrap(), message.trim_end_matches(" |"))
}

/// The program without the parts of one message: so they are all that it takes. `None`: it has something else of that message, or not all of them.
fn without(program: &str, parts: &[&str]) -> Option<String> {
    let rest = parts.iter().try_fold(program.to_owned(), |rest, part| {
        let (before, after) = rest.split_once(part)?;
        Some([before, after].concat())
    })?;
    let is_used = rest.split("fn main").next()?.to_lowercase().contains("double");
    (!is_used).then_some(rest)
}

#[test]
fn the_page_on_migration_counts_the_lines_of_its_programs() {
    let page = page();
    let counted: Vec<_> = programs(&page).into_iter().map(lines).collect();
    let says = LIBRARIES.map(|library| row(&page, library).0);
    assert_eq!(says[..], counted[..]);
    assert!(counted[0] <= 30 && counted[1..].iter().all(|other| counted[0] < *other), "{counted:?}");
}

#[test]
fn the_page_on_migration_counts_what_one_more_message_takes() {
    let page = page();
    for ((library, program), parts) in LIBRARIES.into_iter().zip(programs(&page)).zip(DOUBLE) {
        let rest = without(program, parts).unwrap_or_else(|| panic!("{library} has {parts:?}, and no more of it"));
        let takes = lines(program) - lines(&rest);
        let places = if parts.len() > 1 { ", in two places" } else { "" };
        assert_eq!(row(&page, library).1, format!("{takes}{places}"), "{library}");
        assert!(library != "green" || takes <= 4, "{takes}");
    }
    assert_eq!(without("a\nfn Double()\nb\n", &["fn Double()\n"]), Some("a\nb\n".to_owned()));
    assert!(without("a\nfn Double()\nDouble\n", &["fn Double()\n"]).is_none());
    assert!(without("a\n", &["fn Double()\n"]).is_none());
}

#[test]
fn the_programs_of_the_page_on_migration_are_those_that_are_compiled() {
    let page = page();
    for (library, program) in LIBRARIES.into_iter().zip(programs(&page)) {
        let file = fs::read_to_string(root().join(format!("benches/peers/examples/counter_{library}.rs"))).unwrap();
        let (head, file) = file.split_once("\n\n").unwrap();
        assert!(head.starts_with("//! ") && !head.contains('\n'), "{library}: {head}");
        assert_eq!(file, program, "{library}");
    }
}
