//! The numbers of the page on migration: the lines of each program there.

use std::fs;

use crate::source::root;

/// The programs of the page: in each block of code, the lines that are not blank.
fn programs(page: &str) -> Vec<usize> {
    let blocks = page.split("```").skip(1).step_by(2);
    blocks.map(|block| block.lines().skip(1).filter(|line| !line.trim().is_empty()).count()).collect()
}

#[test]
fn the_page_on_migration_counts_the_lines_of_its_programs() {
    let page = fs::read_to_string(root().join("src/actor/MIGRATING.md")).unwrap();
    let counted = programs(&page);
    let says: Vec<usize> = ["green", "kameo", "ractor", "actix"]
        .iter()
        .map(|name| {
            let count = |line: &str| line.strip_prefix(&format!("| {name} | "))?.split(' ').next()?.parse().ok();
            page.lines().find_map(count).expect("a row")
        })
        .collect();
    assert_eq!(says, counted);
    assert!(counted[0] <= 30 && counted[1..].iter().all(|other| counted[0] < *other), "{counted:?}");
}
