//! The invariants of the house, as far as they can be read off the source.

use std::path::Path;

use privacyd::request::Table;

/// Rooms that think: values in, values out.
const PURE: [&str; 34] = [
    "concept",
    "learned",
    "correction",
    "bounce",
    "patterns",
    "lists",
    "literals",
    "needles",
    "shelf",
    "lexicon",
    "tongue",
    "copy",
    "answer",
    "code",
    "ladder",
    "understand",
    "message",
    "html",
    "text",
    "screen",
    "sender",
    "evidence",
    "evidence/results",
    "evidence/zone",
    "token",
    "verify/rules",
    "classify",
    "language",
    "chain",
    "clock",
    "decide",
    "redact",
    "report",
    "request",
];

/// What a room that thinks has no business with.
const EFFECTS: [&str; 10] = [
    "crate::random",
    "tokio::",
    "sqlx",
    "Timestamp::now",
    "SystemTime::now",
    "Instant::now",
    "crate::store",
    "crate::mailbox",
    "crate::mailer",
    "std::net",
];

fn source(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(name)).unwrap()
}

#[test]
fn rooms_that_think_do_nothing_else() {
    for room in PURE {
        let text = source(&format!("{room}.rs"));
        for effect in EFFECTS {
            assert!(!text.contains(effect), "src/{room}.rs mentions {effect}");
        }
    }
}

#[test]
fn sql_lives_in_the_store() {
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            assert!(!code.into_iter().any(|line| line.contains("sqlx")), "{} knows SQL", path.display());
        }
    }
}

#[test]
fn events_are_written_in_one_place() {
    let statement = "INSERT INTO request_events";
    let mut found = Vec::new();
    for folder in ["src", "src/store"] {
        for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let count = std::fs::read_to_string(&path).unwrap().matches(statement).count();
                found.extend(std::iter::repeat_n(path, count));
            }
        }
    }
    assert_eq!(found.len(), 1, "an event without a link in the chain: {found:?}");
}

#[test]
fn every_type_has_its_template_and_its_corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for kind in Table::load(None).unwrap().types {
        for half in ["subject", "body"] {
            let file = root.join(format!("templates/{}/en/{half}.txt", kind.name));
            assert!(file.is_file(), "{} is missing", file.display());
        }
        let corpus = root.join("tests/corpus").join(&kind.name);
        assert!(corpus.is_dir(), "{} is missing", corpus.display());
    }
}

#[test]
fn the_map_names_every_room() {
    let map = source("lib.rs");
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let room = name.trim_end_matches(".rs");
        if !["main", "lib"].contains(&room) {
            assert!(map.contains(&format!("[`{room}`]")), "src/lib.rs does not explain {room}");
        }
    }
}

#[test]
fn the_catalogue_of_faults_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    let mut folders = vec![root.join("src"), root.join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let catalogue = std::fs::read_to_string(root.join("docs/faults.md")).unwrap();
    for number in 1..=40 {
        assert!(catalogue.contains(&format!("\n| F{number:02} ")), "F{number:02} is missing");
    }
    // Names of tests are the words in backticks with an underscore that are no keys.
    let keys = ["max_message_size", "read_limit"];
    let words = catalogue.split('`').skip(1).step_by(2);
    for test in words.filter(|word| word.contains('_') && !word.contains(['/', ' ']) && !keys.contains(word))
    {
        // Scenarios with real servers have their names in a list.
        let is_there =
            [format!("fn {test}("), format!("(\"{test}\", ")].iter().any(|it| sources.contains(it));
        assert!(is_there, "there is no test {test}");
    }
}
