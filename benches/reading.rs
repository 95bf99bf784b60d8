//! How fast mail is read, from bytes to an understanding, in one thread: the ordinary mail of the corpus and the
//! mail of the demo, over and over. Beside it the library's parsing alone. Reports, asserts nothing.
//!
//! `scripts/bench reading [ROUNDS]`

use std::path::Path;
use std::time::{Duration, Instant};

use privacyd::message::Message;
use privacyd::request::Table;
use privacyd::understand::Reader;

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|word| word.parse().ok());
    let rounds: usize = numbers.next_back().unwrap_or(30).max(1);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = ["privacy@example.com".parse().expect("an address")];
    let begun = Instant::now();
    let reader = Reader::new(&Table::load(None).expect("rules"), &own).expect("rules");
    println!("rules compiled in {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
    for folder in ["tests/corpus/ordinary", "demo"] {
        let mails = mails(&root.join(folder));
        let bytes: usize = mails.iter().map(Vec::len).sum();
        println!("{folder}: {} mails, {} bytes each on average", mails.len(), bytes / mails.len().max(1));
        report("parsing alone", &mails, rounds, |mail| {
            std::hint::black_box(Message::parse(mail).is_some());
        });
        report("read", &mails, rounds, |mail| {
            std::hint::black_box(reader.read(mail));
        });
    }
    println!("peak memory {:.1} MB", peak_memory() as f64 / 1000.0);
}

/// Peak resident memory of this process, in kB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Each mail's best time of all rounds is its time: what else runs on the machine only adds.
fn report(what: &str, mails: &[Vec<u8>], rounds: usize, read: impl Fn(&[u8])) {
    let mut best = vec![Duration::MAX; mails.len()];
    for _ in 0..rounds {
        for (mail, best) in mails.iter().zip(&mut best) {
            let begun = Instant::now();
            read(mail);
            *best = begun.elapsed().min(*best);
        }
    }
    best.sort();
    let all: Duration = best.iter().sum();
    let micros = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e6);
    println!(
        "  {what:16} {:8.0} mails/s, median {:6.1} µs, longest {:6.1} µs",
        mails.len() as f64 / all.as_secs_f64(),
        micros(best.get(best.len() / 2)),
        micros(best.last())
    );
}

fn mails(folder: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder of mails")
        .map(|entry| entry.expect("the folder of mails").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a mail")).collect()
}
