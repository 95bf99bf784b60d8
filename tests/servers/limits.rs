//! What is too much, too large, too full or too late: the binary goes on in bounded memory, loses nothing,
//! does nothing twice, and says in its log what is the matter.
//!
//! With PRIVACYD_LIMITS set (scripts/limits) there is more of it, and PRIVACYD_FOLDER says how many mails lie in one folder.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::{Duration, Instant};

use crate::dovecot::{Dovecot, Options};
use crate::faults::{House, UNHURRIED, assert_no_canary, different, filed, mail, wait};
use crate::house::text;
use crate::{Need, Outcome, Scenario};

pub const SCENARIOS: &[Scenario] = &[
    (
        "f20_huge_and_many_mails_stay_out_of_memory",
        &[Need::Dovecot, Need::Openssl],
        f20_huge_and_many_mails_stay_out_of_memory,
    ),
    (
        "a_folder_of_very_many_mails_stays_out_of_memory",
        &[Need::Dovecot, Need::Openssl],
        a_folder_of_very_many_mails_stays_out_of_memory,
    ),
    ("f37_a_full_disk_loses_nothing", &[Need::Mount], f37_a_full_disk_loses_nothing),
    ("a_clock_that_jumps_repeats_nothing", &[Need::Faketime], a_clock_that_jumps_repeats_nothing),
];

/// Why no file system can be mounted here, if so.
pub fn missing_mount() -> Option<&'static str> {
    static MISSING: LazyLock<bool> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        Disk::mount(folder.path(), "64k").is_none()
    });
    MISSING.then_some("no file system can be mounted")
}

/// Why no clock can be put forward here, if so.
pub fn missing_faketime() -> Option<&'static str> {
    let works = Command::new("faketime")
        .args(["-f", "+1d", "true"])
        .output()
        .is_ok_and(|output| output.status.success());
    (!works).then_some("faketime is not installed")
}

/// A small file system, unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, size: &str) -> Option<Self> {
        let options = format!("size={size},mode=0700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(at)
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// An installation with a Maildir, its database in a folder of its own.
struct Local {
    folder: tempfile::TempDir,
    delivered: usize,
}

impl Local {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["disk", "Maildir", "Maildir/new", "Maildir/cur", "Maildir/tmp"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        let config = format!(
            "database = {:?}\nown_addresses = [\"privacy@example.com\"]\n[company]\nname = \"Example\"\n\
             [log]\nlevel = \"trace\"\n\
             [limits]\nunproven_replies_per_domain = 100000\nunproven_replies_in_all = 100000\n\
             [[maildir]]\nname = \"box\"\npath = {:?}\n[directory]\npath = {:?}\n",
            path("disk/privacyd.db"),
            path("Maildir"),
            path("replies"),
        );
        std::fs::write(path("privacyd.toml"), config).unwrap();
        Self { folder, delivered: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn deliver(&mut self, count: usize) {
        for _ in 0..count {
            self.delivered += 1;
            let number = self.delivered;
            let file = self.path("Maildir/new").join(format!("{number:06}.M.host"));
            std::fs::write(file, mail(&format!("user{number}"))).unwrap();
        }
    }

    /// Runs a command by a clock that is wrong by so much.
    fn privacyd(&self, clock: &str, words: &[&str]) -> Output {
        let binary = env!("CARGO_BIN_EXE_privacyd");
        let mut command = match clock {
            "" => Command::new(binary),
            offset => {
                let mut command = Command::new("faketime");
                command.args(["-f", offset, binary]);
                command
            }
        };
        command.arg("--config").arg(self.path("privacyd.toml")).args(words).output().unwrap()
    }

    /// Runs it once, which ends well or not; gives its log.
    fn run(&self, clock: &str, ends_well: bool) -> String {
        let output = self.privacyd(clock, &["run", "--once"]);
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.success(), ends_well, "{log}");
        assert_no_canary(&log);
        log
    }

    fn list(&self, words: &[&str]) -> Vec<serde_json::Value> {
        let words: Vec<&str> = words.iter().copied().chain(["--json", "--limit", "100000"]).collect();
        let output = self.privacyd("", &words);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Every mail recorded once, acted on once and answered once, and the log of events whole.
    fn assert_all_done(&self) {
        let requests = self.list(&["requests", "list", "--all"]);
        assert!(requests.iter().all(|row| text(row, "status") == "completed"));
        let replies = self.list(&["outbox", "list"]);
        assert!(replies.iter().all(|row| text(row, "state") == "sent"));
        let recipients: BTreeSet<String> = replies.iter().map(|row| text(row, "recipient")).collect();
        let files = |folder: &str| std::fs::read_dir(self.path(folder)).unwrap().count();
        let counts = [
            self.list(&["messages", "list"]).len(),
            requests.len(),
            replies.len(),
            recipients.len(),
            files("replies"),
            files("Maildir/.Opt-out/cur") + files("Maildir/.Opt-out/new"),
        ];
        assert_eq!(counts, [self.delivered; 6]);
        assert_eq!(files("Maildir/new") + files("Maildir/cur"), 0);
        let verified = self.privacyd("", &["audit", "verify"]);
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    }
}

/// A pass over a full disk has ended by then, or waits for room.
const PATIENCE: Duration = Duration::from_secs(60);

fn f37_a_full_disk_loses_nothing() -> Outcome {
    let mut house = Local::new();
    let disk = Disk::mount(&house.path("disk"), "16m").ok_or("the disk cannot be mounted")?;
    house.deliver(20);
    house.run("", true);
    house.assert_all_done();
    // Filled with a file that is somebody else's, so that there is room to begin and none to end.
    let filler = house.path("disk/filler");
    let mut blocks = std::fs::File::options().append(true).create(true).open(&filler)?;
    while std::io::Write::write_all(&mut blocks, &[0; 4096]).is_ok() {}
    let full = blocks.metadata()?.len();
    house.deliver(200);
    for room in [400_000, 100_000, 0] {
        blocks.set_len(full - room)?;
        let (ended, ends) = mpsc::channel();
        let log = std::thread::scope(|scope| {
            let run = scope.spawn(|| {
                let output = house.privacyd("", &["run", "--once"]);
                let _ = ended.send(());
                output
            });
            // A reply may have gone out whose outcome does not fit any more. That is insisted on until it does.
            let is_insisting = ends.recv_timeout(PATIENCE).is_err();
            if is_insisting {
                blocks.set_len(full - 4_000_000).unwrap();
            }
            let output = run.join().unwrap();
            let log = String::from_utf8(output.stderr).unwrap();
            let waited = is_insisting && log.contains("outcomes cannot be recorded yet");
            assert!(waited || !output.status.success(), "{log}");
            log
        });
        assert_no_canary(&log);
        assert!(log.contains("full"), "the log does not say what is the matter: {log}");
        while std::io::Write::write_all(&mut blocks, &[0; 4096]).is_ok() {}
    }
    drop(blocks);
    disk.remount("ro");
    let log = house.run("", false);
    assert!(log.to_lowercase().contains("read-only") || log.contains("readonly"), "{log}");
    disk.remount("rw");
    std::fs::remove_file(filler)?;
    house.run("", true);
    house.run("", true);
    house.assert_all_done();
    Ok(())
}

fn a_clock_that_jumps_repeats_nothing() -> Outcome {
    let mut house = Local::new();
    for clock in ["", "+400d", "-400d", "+3h", "-1h", ""] {
        house.deliver(5);
        house.run(clock, true);
    }
    house.run("", true);
    house.assert_all_done();
    Ok(())
}

fn f20_huge_and_many_mails_stay_out_of_memory() -> Outcome {
    let small = if std::env::var_os("PRIVACYD_LIMITS").is_some() { 10_000 } else { 200 };
    let dovecot = Dovecot::start(&Options::default())?;
    let mut house = House::new();
    house.boxes.push(("full".into(), dovecot.plain_port));
    house.configure(UNHURRIED, &house.boxes);
    let deliver_long = |user: &str, length: u64| {
        let before: BTreeSet<PathBuf> = filed(&dovecot, "full", "INBOX").into_iter().collect();
        dovecot.deliver("full", &mail(user));
        let path = filed(&dovecot, "full", "INBOX").into_iter().find(|path| !before.contains(path)).unwrap();
        std::fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap();
    };
    // Holes, which cost no disk.
    deliver_long("two-gigabytes", (2 << 30) + 1);
    deliver_long("as-large-as-is-read", 49_000_000);
    let mut parts =
        b"From: parts@example.org\nTo: privacy@example.com\nContent-Type: multipart/mixed; boundary=x\n\n"
            .to_vec();
    parts.extend("--x\n\nPlease unsubscribe me.\n".repeat(50_000).into_bytes());
    dovecot.deliver("full", &parts);
    for number in 0..small {
        dovecot.deliver("full", &mail(&format!("user{number}")));
    }

    let begun = Instant::now();
    let running = house.start();
    wait(UNHURRIED, "the mailbox is not empty", || {
        std::thread::sleep(Duration::from_millis(100));
        filed(&dovecot, "full", "INBOX").is_empty()
    });
    let (took, memory) = (begun.elapsed(), running.peak_memory());
    running.end();
    let log = house.log();
    assert_no_canary(&log);
    // Of what is long a megabyte is read, which says enough in these.
    assert_eq!(different(&filed(&dovecot, "full", "Opt-out")), small + 2);
    let ledger = house.list(&["messages", "list"]);
    assert_eq!(ledger.len(), small + 3);
    let mut held = String::new();
    for row in ledger.iter().filter(|row| text(row, "folder") == "Held") {
        writeln!(held, "{} bytes: {}", row.get("size").unwrap(), text(row, "why"))?;
    }
    assert_eq!(held.lines().count(), 1, "{held}");
    assert!(held.contains("larger than max_message_size"), "{held}");
    println!(
        "{small} mails, one of 2 GiB, one of 49 MB and one of 50,000 parts in {took:?}: {} MB of memory at the most\n{held}",
        memory / 1_000_000
    );
    // MemoryMax= of the unit.
    assert!(memory < 256 << 20, "{memory} bytes of memory");
    Ok(())
}

/// Mail that asks for nothing lies in a folder in great numbers, and the same comes to the inbox.
fn a_folder_of_very_many_mails_stays_out_of_memory() -> Outcome {
    let many: usize = match std::env::var("PRIVACYD_FOLDER") {
        Ok(number) => number.parse()?,
        Err(_) => 20_000,
    };
    let dovecot = Dovecot::start(&Options::default())?;
    let mut house = House::new();
    house.boxes.push(("many".into(), dovecot.plain_port));
    house.configure(UNHURRIED, &house.boxes);
    for number in 0..many {
        let mail = format!(
            "From: user{number}@example.org\nTo: privacy@example.com\nSubject: Thanks\nMessage-ID: <{number}@example.org>\n\nThank you.\n"
        );
        dovecot.deliver("many", mail.as_bytes());
    }
    let begun = Instant::now();
    let running = house.start();
    let limit = UNHURRIED + Duration::from_millis(20) * u32::try_from(many)?;
    // A process that keeps what it has read would show by then.
    let mut early = 0;
    wait(limit, "the mailbox is not empty", || {
        std::thread::sleep(Duration::from_millis(500));
        let left = filed(&dovecot, "many", "INBOX").len();
        if early == 0 && left < many - many / 5 {
            early = running.peak_memory();
        }
        left == 0
    });
    let (took, memory) = (begun.elapsed(), running.peak_memory());
    running.end();
    println!(
        "{many} mails in one folder in {took:?}: {} MB of memory at the most, {} MB after the first fifth",
        memory / 1_000_000,
        early / 1_000_000
    );
    let root = dovecot.maildir("many");
    let folders = std::fs::read_dir(root)?.filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        name.strip_prefix('.').map(str::to_owned)
    });
    let files: Vec<PathBuf> = folders.flat_map(|folder| filed(&dovecot, "many", &folder)).collect();
    assert_eq!((files.len(), different(&files)), (many, many), "none lost, none twice");
    assert_eq!(house.list(&["messages", "list"]).len(), many);
    assert!(early > 0 && memory < early + (32 << 20), "{early} bytes early, {memory} in the end");
    assert!(memory < 256 << 20, "{memory} bytes of memory");
    Ok(())
}
