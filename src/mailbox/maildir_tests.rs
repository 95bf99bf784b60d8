//! In a folder of its own.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

struct House {
    maildir: Maildir,
    root: tempfile::TempDir,
}

fn house() -> House {
    let root = tempfile::tempdir().unwrap();
    let settings = MaildirConfig { name: "test".into(), path: root.path().join("Maildir") };
    House { maildir: Maildir::new(settings, Bounds { window_mails: 2, ..Bounds::new(10, 100) }), root }
}

impl House {
    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("Maildir").join(name)
    }

    fn put(&self, name: &str, mail: &str) {
        fs::write(self.path(name), mail).unwrap();
    }

    /// The mails of one pass as "name body".
    async fn pass(&mut self) -> Vec<String> {
        self.maildir.look().await.unwrap();
        let mut found = Vec::new();
        loop {
            let window = self.maildir.next_window().await.unwrap();
            if window.mails.is_empty() {
                return found;
            }
            assert!(window.mails.len() <= 2);
            found.extend(
                window.mails.iter().map(|mail| format!("{} {:?} of {}", mail.id, mail.body, mail.size)),
            );
        }
    }

    async fn file(&mut self, name: &str, folder: &str) -> Result<()> {
        self.maildir.file(&[(MailId::File(name.into()), folder.into())]).await
    }
}

#[tokio::test]
async fn mails_are_read_in_order_and_cut() {
    let mut house = house();
    assert_eq!(house.maildir.probe().await.unwrap(), "not there yet, will be made");
    assert_eq!(house.pass().await, Vec::<String>::new());
    assert_eq!(fs::metadata(house.path("new")).unwrap().permissions().mode() & 0o777, 0o700);
    house.put("new/3.c", "hello");
    house.put("cur/1.a:2,S", "0123456789");
    house.put("cur/2.b:2,", "0123456789x");
    house.put("new/4.d", &"x".repeat(101));
    house.put("new/.hidden", "x");
    house.put("tmp/0.z", "x");
    fs::create_dir(house.path("new/5.folder")).unwrap();
    symlink("/etc/passwd", house.path("new/6.link")).unwrap();
    std::process::Command::new("mkfifo").arg(house.path("new/7.pipe")).status().unwrap();
    let expected = [
        "1.a Whole(10 bytes) of 10",
        "2.b Head(10 bytes) of 11",
        "3.c Whole(5 bytes) of 5",
        "4.d TooLarge(10 bytes) of 101",
    ];
    assert_eq!(house.pass().await, expected);
    assert_eq!(house.pass().await, expected, "until it is filed");

    house.maildir.look().await.unwrap();
    let window = house.maildir.next_window().await.unwrap();
    assert!(window.mails.iter().all(|mail| (Timestamp::now() - mail.received).as_secs() < 60));
    // In the middle of the pass: a flag changes, a mail goes to cur, one goes away.
    fs::rename(house.path("new/3.c"), house.path("cur/3.c:2,RS")).unwrap();
    fs::remove_file(house.path("new/4.d")).unwrap();
    let window = house.maildir.next_window().await.unwrap();
    assert_eq!(window.mails.iter().map(|mail| mail.id.to_string()).collect::<Vec<_>>(), ["3.c"]);
}

#[tokio::test]
async fn filing_keeps_names_and_flags_and_loses_nothing() {
    let mut house = house();
    house.pass().await;
    house.put("new/1.a", "one");
    house.put("cur/2.b:2,S", "two");
    house.pass().await;
    fs::rename(house.path("cur/2.b:2,S"), house.path("cur/2.b:2,FS")).unwrap();
    house.file("1.a", "Privacy/Deletion").await.unwrap();
    house.file("2.b", "Held").await.unwrap();
    assert_eq!(fs::read_to_string(house.path(".Privacy.Deletion/new/1.a")).unwrap(), "one");
    assert_eq!(fs::read_to_string(house.path(".Held/cur/2.b:2,FS")).unwrap(), "two");
    assert!(house.path(".Held/maildirfolder").exists() && house.path(".Held/tmp").exists());
    assert_eq!(house.pass().await, Vec::<String>::new());

    // Filed already, and never there.
    house.file("1.a", "Privacy/Deletion").await.unwrap();
    house.file("9.z", "Held").await.unwrap();
    // Another mail of the same name is not overwritten.
    house.put("new/1.a", "other");
    house.file("1.a", "Privacy/Deletion").await.unwrap();
    assert_eq!(fs::read_to_string(house.path(".Privacy.Deletion/new/1.a")).unwrap(), "one");
    assert_eq!(fs::read_to_string(house.path(".Privacy.Deletion/new/1.a.1")).unwrap(), "other");
    assert!(!house.path("new/1.a").exists());

    for (name, folder) in [("../1.a", "Held"), ("1.a", "../x"), ("1.a", ""), ("1.a", "a\"b")] {
        assert!(house.file(name, folder).await.is_err(), "{name} {folder}");
    }
    house.maildir.file(&[(MailId::Uid(1), "Held".into())]).await.unwrap_err();
}

#[tokio::test]
async fn a_filed_mail_that_cannot_be_read_is_passed_by() {
    let house = house();
    let sound = house.root.path().join("2.b");
    fs::write(&sound, "hello").unwrap();
    let file = |name: &str, path: PathBuf| super::super::File { name: name.to_owned(), path };
    // "Not a directory": an error that root gets as well.
    let mut files = vec![file("2.b", sound.clone()), file("1.a", sound.join("1.a"))];
    let mails = house.maildir.read(&mut files).await.unwrap();
    assert_eq!((mails.len(), mails[0].id.clone(), files.len()), (1, MailId::File("2.b".into()), 0));
}

#[test]
fn an_unreadable_mail_holds_up_nobody_and_is_missing_the_third_time() {
    let root = tempfile::tempdir().unwrap();
    let sound = root.path().join("2.b");
    fs::write(&sound, "hello").unwrap();
    // "Not a directory": an error that root gets as well.
    let unsound = sound.join("1.a");
    let mut failures = HashMap::new();
    for attempt in 1..=4 {
        let mut pass = Pass {
            waiting: BTreeMap::from([("1.a".to_owned(), unsound.clone()), ("2.b".to_owned(), sound.clone())]),
            ..Pass::default()
        };
        let mails = read_window(root.path(), &Bounds::new(10, 100), &mut pass, &mut failures).unwrap();
        let found: Vec<String> = mails.iter().map(|mail| format!("{} {:?}", mail.id, mail.body)).collect();
        let missing = (attempt >= 3).then_some("1.a Missing");
        assert_eq!(found, missing.into_iter().chain(["2.b Whole(5 bytes)"]).collect::<Vec<_>>());
    }
}

/// More mails than are listed at once come in order, each once, whatever is filed, moved or delivered meanwhile.
#[tokio::test]
async fn a_folder_is_listed_in_steps() {
    let mut house = house();
    house.maildir.listed = 3;
    house.pass().await;
    for number in 10..20 {
        let place = if number % 2 == 0 { format!("new/{number}.a") } else { format!("cur/{number}.a:2,S") };
        house.put(&place, "x");
    }
    house.maildir.look().await.unwrap();
    let (mut found, mut left) = (Vec::new(), Vec::new());
    loop {
        left.push(house.maildir.waiting());
        let window = house.maildir.next_window().await.unwrap();
        if window.mails.is_empty() {
            break;
        }
        for mail in &window.mails {
            // Filed two windows later, as it may be, or not at all.
            found.push(mail.id.to_string());
        }
        if let Some(name) = found.len().checked_sub(4).and_then(|at| found.get(at)).cloned() {
            house.file(&name, "Held").await.unwrap();
        }
        if found.len() == 4 {
            // Another program shows it, one takes it away, and one comes that is older than what was read.
            fs::rename(house.path("new/14.a"), house.path("cur/14.a:2,")).unwrap();
            fs::remove_file(house.path("cur/15.a:2,S")).unwrap();
            house.put("new/09.a", "x");
        }
    }
    let expected: Vec<String> =
        (10..20).filter(|number| *number != 15).map(|number| format!("{number}.a")).collect();
    assert_eq!(found, expected);
    assert_eq!(left, [10, 8, 6, 3, 1, 0]);
    assert!(house.pass().await.first().unwrap().starts_with("09.a "));
}
