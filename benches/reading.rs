//! How fast mail is read, from bytes to an understanding, in one thread: the ordinary mail of the corpus and the
//! mail of the demo, over and over. Beside it the library's parsing alone, and the worst shapes that a mail can
//! have. Reports, asserts nothing.
//!
//! `scripts/bench reading [ROUNDS] [RULES]`

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use privacyd::message::Message;
use privacyd::request::Table;
use privacyd::understand::Reader;

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|word| word.parse().ok());
    let rounds: usize = numbers.next_back().unwrap_or(30).max(1);
    let rules = std::env::args().skip(1).map(PathBuf::from).find(|argument| argument.is_dir());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = ["privacy@example.com".parse().expect("an address")];
    let begun = Instant::now();
    let reader = Reader::new(&Table::load(rules.as_deref()).expect("rules"), &own);
    println!("rules read in {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
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
    let letters = letters(&root.join("tests/corpus"));
    println!("every mail of the corpus, {} of them: {:.0} ms", letters.len(), once(&reader, &letters));
    println!("memory {:.1} MB", memory("VmRSS:"));
    println!("worst shapes:");
    let mut shapes = shapes(&letters);
    shapes.sort_by_cached_key(|(_, mail)| std::cmp::Reverse(best(&reader, mail)));
    for (name, mail) in &shapes {
        println!("  {:6.1} ms  {name}, {} kB", best(&reader, mail).as_secs_f64() * 1e3, mail.len() / 1000);
    }
    println!("peak memory {:.1} MB", memory("VmHWM:"));
}

/// Resident memory of this process, now or at its peak, in MB.
fn memory(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1000.0
}

/// Reads each mail once, in ms.
fn once(reader: &Reader, mails: &[Vec<u8>]) -> f64 {
    let begun = Instant::now();
    for mail in mails {
        std::hint::black_box(reader.read(mail));
    }
    begun.elapsed().as_secs_f64() * 1e3
}

/// The best time of a few.
fn best(reader: &Reader, mail: &[u8]) -> Duration {
    let read = || {
        let begun = Instant::now();
        std::hint::black_box(reader.read(mail));
        begun.elapsed()
    };
    (0..4).map(|_| read()).min().unwrap_or_default()
}

/// The mails of every folder below `folder`.
fn letters(folder: &Path) -> Vec<Vec<u8>> {
    let mut found = mails(folder);
    for entry in std::fs::read_dir(folder).expect("the corpus").flatten() {
        if entry.path().is_dir() {
            found.extend(letters(&entry.path()));
        }
    }
    found
}

/// Mails made to take long.
fn shapes(letters: &[Vec<u8>]) -> Vec<(String, Vec<u8>)> {
    const SIZE: usize = 64 * 1024;
    let mail = |kind: &str, body: &str| {
        let head =
            "From: Jane <jane@example.org>\nTo: privacy@example.com\nSubject: Hello\nMIME-Version: 1.0\n";
        format!("{head}Content-Type: {kind}\n\n{body}").into_bytes()
    };
    let filled = |words: &str| mail("text/plain; charset=utf-8", &words.repeat(SIZE / words.len() + 1));
    let mut shapes: Vec<(String, Vec<u8>)> = [
        "delete my data ",
        "please do not delete my data if you asked me to ",
        "please delete my account. ",
        "Bitte löschen Sie meine Daten nicht, ",
        "veuillez supprimer mes données. je ne veux plus recevoir ",
        "eliminen mis datos, no quiero ",
        "unsubscribe ",
        "stop\n",
        "the the the ",
        "my my my my my my my my my ",
        "a ",
        "a\n",
        "x",
        "> ",
        ">\n",
        "on monday jane wrote ",
        "on monday jane wrote\n",
        "On Monday Jane wrote:\n> a\n",
        "from: jane\n",
        "PR-7F3K2M ",
        "jane@example.net ",
        "\u{301}",
        "\u{fdfa}",
        "İ",
        "\0",
    ]
    .into_iter()
    .map(|words| (format!("{words:?} over and over"), filled(words)))
    .collect();
    let text: String = letters.iter().map(|mail| String::from_utf8_lossy(mail)).collect();
    for (part, words) in text.as_bytes().chunks(SIZE).enumerate() {
        shapes.push((format!("corpus, part {part}"), filled(&String::from_utf8_lossy(words))));
    }
    // Letters without an end of a sentence in them.
    for file in std::fs::read_dir("tests/letters").expect("the letters").flatten() {
        let text = std::fs::read_to_string(file.path()).expect("letters");
        let words = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
        let mut sentence = words.collect::<Vec<_>>().join(" ");
        sentence.truncate(sentence.floor_char_boundary(SIZE));
        shapes.push((
            format!("{} as one sentence", file.file_name().display()),
            mail("text/plain; charset=utf-8", &sentence),
        ));
    }
    let deep = |open: &str, count: usize| mail("text/html", &format!("{}delete my data", open.repeat(count)));
    for open in
        ["<div>", "<blockquote>", "<table><tr><td>", "<b style='a:b'>", "<p", "<!--", "&amp", "<a b=\"&lt;"]
    {
        shapes.push((format!("{open:?} 200,000 times"), deep(open, 200_000)));
    }
    let parts = |kind: &str| format!("--a\nContent-Type: {kind}\n\ndelete my data\n").repeat(50_000);
    for kind in ["text/plain", "text/html", "multipart/mixed; boundary=a", "message/rfc822"] {
        shapes.push((format!("50,000 parts of {kind}"), mail("multipart/mixed; boundary=a", &parts(kind))));
    }
    let nested: String = (0..5000)
        .map(|n| format!("--b{n}\nContent-Type: multipart/mixed; boundary=b{}\n\n", n + 1))
        .collect();
    shapes.push(("5,000 parts in parts".to_owned(), mail("multipart/mixed; boundary=b0", &nested)));
    let wrapped = "Content-Type: message/rfc822\n\n".repeat(20_000);
    shapes.push(("20,000 mails in mails".to_owned(), mail("message/rfc822", &wrapped)));
    for field in [
        "X-A: b\n",
        "From: a@example.org\n",
        "Received: from a by b; c\n",
        "To: <a@example.org>, \n",
        "List-Id\n",
    ] {
        shapes.push((
            format!("{field:?} 50,000 times"),
            [field.repeat(50_000).as_bytes(), b"\n", b"delete my data"].concat(),
        ));
    }
    for field in ["References: ", "To: ", "From: ", "Subject: ", "Authentication-Results: ", "Content-Type: "]
    {
        for filling in ["<a@example.org> ", "(", "=?utf-8?q?a?= ", "a;b=c "] {
            let value = filling.repeat(1_000_000 / filling.len());
            shapes.push((
                format!("{field}{filling:?} over and over"),
                format!("{field}{value}\n\nstop").into_bytes(),
            ));
        }
    }
    shapes
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
