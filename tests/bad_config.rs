//! Every broken configuration, rule and template is refused by the binary with its own sentence and exit
//! code 2, and not by chance for another reason.

use std::path::Path;
use std::process::Command;

const GOOD: &str = r#"database = "/nonexistent/privacyd.db"
own_addresses = ["privacy@example.com"]

[company]
name = "Example"

[[maildir]]
name = "box"
path = "/nonexistent/Maildir"

[directory]
path = "/nonexistent/replies"
"#;

/// Writes `config` (and `files` beside it), checks it, and gives what was said, without the folder.
fn refusal(config: &str, files: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for (name, text) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let file = root.join("c.toml");
    std::fs::write(&file, config.replace("ROOT", &root.display().to_string())).unwrap();
    let output = check(&file);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{config}\n{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said.trim_end().replace(&format!("{}/", root.display()), "").replace("privacyd: ", "")
}

fn check(file: &Path) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_privacyd"))
        .args(["check", "--offline", "--config"])
        .arg(file)
        .output()
        .unwrap()
}

#[test]
fn run_refuses_what_check_refuses_and_a_database_that_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display().to_string();
    let run = |text: &str| {
        let file = folder.path().join("c.toml");
        std::fs::write(&file, text.replace("/nonexistent", &root)).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_privacyd"))
            .args(["run", "--once", "--config"])
            .arg(&file)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) =
        run(&GOOD.replace("[directory]", "[folders]\ntypes = { nonsense = \"X\" }\n[directory]"));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("folders.types.nonsense"), "{said}");
    assert_eq!(run(GOOD).0, Some(0));
    let _daemon = privacyd::store::Sole::claim(&folder.path().join("privacyd.db")).unwrap();
    let (code, said) = run(GOOD);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("another privacyd already works on the database"), "{said}");
}

#[test]
fn what_watches_is_checked_too() {
    let smtp = "[smtp]\nhost = \"127.0.0.1\"\ntls = \"none\"\n";
    let with = |section: &str| {
        GOOD.replace("[directory]\npath = \"/nonexistent/replies\"\n", &format!("{smtp}{section}"))
    };
    for (config, said) in [
        (
            format!("{GOOD}[canary]\n"),
            "c.toml:13: canary: without [smtp] no mail goes out that could come back; leave it out",
        ),
        (with("[canary]\nevery = \"1m\"\n"), "c.toml:15: canary.every: must be between \"10m\" and \"7d\""),
        (
            with("[canary]\nevery = \"20m\"\nwithin = \"20m\"\n"),
            "c.toml:16: canary.within: must be at least \"1m\", and less than canary.every",
        ),
        (
            with("[metrics]\nlisten = \"192.0.2.1:9464\"\n"),
            "c.toml:15: metrics.listen: is not this machine itself; take \"127.0.0.1:9464\"",
        ),
    ] {
        assert_eq!(refusal(&config, &[]), said);
    }
}

#[test]
fn a_database_needs_its_folder() {
    let config = GOOD.replace("/nonexistent/privacyd.db", "ROOT/gone/privacyd.db");
    assert_eq!(
        refusal(&config, &[]),
        "c.toml:1: database: there is no folder gone; make it, or correct the path"
    );
    let config = GOOD.replace("/nonexistent/privacyd.db", "/usr");
    assert_eq!(refusal(&config, &[]), "c.toml:1: database: /usr is a folder; name a file in it");
}

fn broken(from: &str, to: &str, expected: &str) {
    assert!(GOOD.contains(from));
    assert_eq!(refusal(&GOOD.replace(from, to), &[]), expected);
}

#[test]
fn the_good_one_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(&file, GOOD.replace("/nonexistent", &folder.path().display().to_string())).unwrap();
    let output = check(&file);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_sample_is_sound_but_for_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(&file, privacyd::operator::SAMPLE_CONFIG).unwrap();
    let output = check(&file);
    let said = String::from_utf8(output.stderr).unwrap();
    let is_named = |part: &str| assert!(said.contains(part), "{part:?} is missing: {said}");
    is_named("c.toml:");
    is_named("imap.password: There are no systemd credentials here, so no imap-password");
    is_named("{ file = \"…\" }, { env = \"…\" }");
}

#[test]
fn keys_and_values() {
    broken(
        "database =",
        "databse =",
        "c.toml:1: unknown field `databse`, expected one of `database`, `poll_interval`, `own_addresses`, `language`, `rules`, `templates`, `company`, `log`, `limits`, `proof`, `clock`, `admin`, `canary`, `metrics`, `retention`, `authentication`, `folders`, `unsubscribe`, `source`, `erasure`, `copy`, `correction`, `disclosure`, `imap`, `maildir`, `smtp`, `directory`",
    );
    broken(
        "[\"privacy@example.com\"]",
        "[]",
        "c.toml:2: own_addresses: name at least one address of ours, such as \"privacy@example.com\"",
    );
    broken(
        "[\"privacy@example.com\"]",
        "[\"privacy\"]",
        "c.toml:2: own_addresses: entry 1, \"privacy\", is not a plain mail address such as \"privacy@example.com\"",
    );
    broken(
        "[company]",
        "poll_interval = \"soon\"\n[company]",
        "c.toml:4: poll_interval: \"soon\" is not a duration like \"30s\", \"5m\" or \"14d\"",
    );
    broken(
        "[company]",
        "poll_interval = \"10ms\"\n[company]",
        "c.toml:4: poll_interval: below a second a mailbox is never at rest; take \"30s\"",
    );
    broken(
        "name = \"Example\"",
        "name = \"\"",
        "c.toml:5: company.name: write the name that signs the replies, on one line",
    );
    broken(
        "name = \"box\"",
        "name = \"my box\"",
        "c.toml:8: maildir.name: use letters, digits, '-', '_' and '.', as in \"privacy\"",
    );
    broken(
        "[directory]",
        "[folders]\nheld = \"../x*\"\n[directory]",
        "c.toml:12: folders.held: a folder name is 1 to 100 printable ASCII characters other than \" \\ * % & and does not begin with '.'",
    );
    broken(
        "[directory]",
        "[folders.types]\nnonsense = \"X\"\n[directory]",
        "c.toml:12: folders.types.nonsense: there is no request type of this name; `privacyd check` lists them",
    );
    broken(
        "[company]",
        "language = \"xx\"\n[company]",
        "c.toml:4: language: there is no rules/languages/xx.toml; take \"en\" or add the file",
    );
    broken(
        "[directory]",
        "[limits]\nread_limit = \"1 B\"\n[directory]",
        "c.toml:12: limits.read_limit: must be between 4 KB and 16 MB",
    );
}

#[test]
fn a_folder_and_its_prefix_have_room_for_a_hundred_characters() {
    let with = |prefix: usize, keys: &str| {
        let section = format!("[folders]\nprefix = \"{}/\"\n{keys}\n[directory]", "x".repeat(prefix - 1));
        GOOD.replace("[directory]", &section)
    };
    let too_long = "has more than 100 characters; shorten one of the two";
    for (config, expected) in [
        (
            with(96, "held = \"Today\""),
            format!("c.toml:13: folders.held: with folders.prefix before it \"Today\" {too_long}"),
        ),
        (
            with(90, "types = { opt_out = \"Opt-out now\" }"),
            format!(
                "c.toml:13: folders.types.opt_out: with folders.prefix before it \"Opt-out now\" {too_long}"
            ),
        ),
        // "Unreadable" is the longest of the defaults, and of the types' own "Cancel-account".
        (
            with(91, ""),
            format!("c.toml:11: folders.unreadable: with folders.prefix before it \"Unreadable\" {too_long}"),
        ),
        (
            with(88, ""),
            format!(
                "c.toml:12: folders.prefix: of rules/cancel_account.toml, with folders.prefix before it \"Cancel-account\" {too_long}"
            ),
        ),
    ] {
        assert_eq!(refusal(&config, &[]), expected);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    let sound = with(80, "held = \"12345678901234567890\"");
    std::fs::write(&file, sound.replace("/nonexistent", &folder.path().display().to_string())).unwrap();
    assert!(check(&file).status.success());
}

#[test]
fn folders_and_proof() {
    broken(
        "[directory]",
        "[folders]\nheld = \"inbox\"\n[directory]",
        "c.toml:12: folders.held: mail would be filed where it is taken from; name another folder",
    );
    broken(
        "[directory]",
        "[retention]\nkeep_requests = \"2 months\"\n[directory]",
        "c.toml:12: retention.keep_requests: must be at least \"90d\"",
    );
    broken(
        "[directory]",
        "[retention]\nkeep_requests = \"ages\"\n[directory]",
        "c.toml:12: keep_requests: \"ages\" is not a time like \"30d\" or \"24 months\"",
    );
    broken(
        "[directory]",
        "[retention]\nkeep_messages = \"-30d\"\n[directory]",
        "c.toml:12: retention.keep_messages: must be at least \"7d\"",
    );
    broken(
        "[directory]",
        "[proof]\nvalid_for = \"3d\"\n[directory]",
        "c.toml:12: proof.valid_for: must be between \"7d\" and \"90d\"",
    );
    broken(
        "[directory]",
        "[proof]\ndata_points = [\"postcode\"]\n[directory]",
        "c.toml:11: proof.data_points_needed: must be between 1 and 1, the number of data_points",
    );
}

#[test]
fn whom_to_believe() {
    broken(
        "[directory]",
        "[authentication]\nauthserv_ids = [\"mx.example.com\", \"mx; dkim=pass\"]\n[directory]",
        "c.toml:12: authentication.authserv_ids: write the name as it stands in Authentication-Results before the first ';', as in \"mx.example.com\"",
    );
    broken(
        "[directory]",
        "[authentication]\nauthserv_ids = [\"mx\"]\nreceived_by = [\"mx (Postfix)\"]\n[directory]",
        "c.toml:13: authentication.received_by: write a host name or an address as it stands behind \"by\" in Received, as in \"mx.example.com\"",
    );
    broken(
        "[directory]",
        "[authentication]\nreceived_by = [\"mx.example.com\"]\n[directory]",
        "c.toml:12: authentication.received_by: says nothing without authserv_ids; add them or leave it out",
    );
    broken(
        "[directory]",
        "[authentication]\nauthserv_id = \"mx.example.com\"\n[directory]",
        "c.toml:12: unknown field `authserv_id`, expected one of `authserv_ids`, `received_by`, `verify_dkim`, `resolver`",
    );
    broken(
        "[directory]",
        "[authentication]\nverify_dkim = true\nresolver = \"localhost\"\n[directory]",
        "c.toml:13: resolver: \"localhost\" is not an address like \"127.0.0.1\" or \"127.0.0.1:5353\"",
    );
    broken(
        "[directory]",
        "[authentication]\nresolver = \"127.0.0.1:5353\"\n[directory]",
        "c.toml:12: authentication.resolver: is not asked anything unless verify_dkim is true; set that or leave it out",
    );
}

#[test]
fn keys_of_unsubscribe_tokens() {
    let with = |keys: &str| GOOD.replace("[directory]", &format!("[unsubscribe]\n{keys}\n[directory]"));
    let good = "0123456789abcdef";
    let case = |keys: &str, expected: &str| {
        let files = [("good", good), ("short", "0123456789abcde\n0123456789abcdef"), ("empty", "\n")];
        assert_eq!(refusal(&with(keys), &files), expected);
    };
    case(
        "keys = [{ file = \"ROOT/good\" }, { file = \"ROOT/short\" }]",
        "c.toml:12: unsubscribe.keys, entry 2: the key is shorter than 16 bytes; `openssl rand -hex 32` makes a good one",
    );
    let forms = "An entry says where the key is: { file = \"…\" }, { env = \"…\" } or { credential = \"…\" }";
    case(
        "keys = [{ file = \"ROOT/empty\" }]",
        &format!("c.toml:12: unsubscribe.keys, entry 1: The secret file empty is empty. {forms}"),
    );
    case(
        "keys = [{ env = \"PRIVACYD_NO_SUCH\" }]",
        &format!(
            "c.toml:12: unsubscribe.keys, entry 1: The environment variable PRIVACYD_NO_SUCH, which should hold a secret, is not set. {forms}"
        ),
    );
    case(
        "keys = [\"secret\"]",
        "c.toml:12: keys: no secret belongs into this file; write where it is: { file = \"…\" }, { env = \"…\" } or { credential = \"…\" }",
    );
    case("key = []", "c.toml:12: unknown field `key`, expected `keys` or `reply`");
    case("reply = \"no\"", "c.toml:12: reply: invalid type: string \"no\", expected a boolean");
    let long = with("keys = [{ file = \"ROOT/good\" }]").replace("privacy@", &format!("{}@", "x".repeat(63)));
    assert_eq!(
        refusal(&long, &[("good", good)]),
        "c.toml:2: own_addresses: the first one bears the unsubscribe tokens and is too long to take \"+u\"; put a shorter one first"
    );
}

#[test]
fn systems() {
    let case = |keys: &str, expected: &str| {
        let config = GOOD.replace("[directory]", &format!("[[source]]\n{keys}\n[directory]"));
        assert_eq!(refusal(&config, &[("empty", "\n"), ("secret", "0123456789abcdef")]), expected);
    };
    let one_of = "c.toml:11: source \"a\": give it one of local = true, a command and a url";
    case("name = \"a\"", one_of);
    case("name = \"a\"\nlocal = true\ncommand = [\"/bin/true\"]", one_of);
    case(
        "name = \"a\"\ncommand = [\"true\"]",
        "c.toml:11: source \"a\": command: name the program with its whole path",
    );
    case(
        "name = \"a\"\ncommand = [\"/nowhere/at/all\"]",
        "c.toml:13: source \"a\": command: /nowhere/at/all is no file that can be executed",
    );
    // It is there, and nobody may execute it.
    case(
        "name = \"a\"\ncommand = [\"ROOT/secret\"]",
        "c.toml:13: source \"a\": command: secret is no file that can be executed",
    );
    case(
        "name = \"a\"\nurl = \"http://crm.example.com/\"",
        "c.toml:11: source \"a\": url: must be https://; plain http:// only to 127.0.0.1 or [::1]",
    );
    case(
        "name = \"a\"\nurl = \"https://crm.example.com/\"",
        "c.toml:11: source \"a\": secret: name where the secret is that signs the orders, such as { file = \"…\" }",
    );
    case(
        "name = \"a\"\nurl = \"https://crm.example.com/\"\nsecret = { file = \"ROOT/empty\" }",
        "c.toml:14: source \"a\": secret: The secret file empty is empty. The key says where the secret is: { file = \"…\" }, { env = \"…\" } or { credential = \"…\" }",
    );
    case(
        "name = \"a\"\nlocal = true\nverbs = []",
        "c.toml:11: source \"a\": verbs: name at least one, or leave the key out for all",
    );
    case(
        "name = \"a\"\nlocal = true\n[[source]]\nname = \"a\"\nlocal = true",
        "c.toml:15: source.name: there are two sources \"a\"",
    );
}

#[test]
fn ways_in_and_out() {
    broken(
        "[directory]\npath = \"/nonexistent/replies\"\n",
        "",
        "c.toml:1: there is no way out for replies: add an [smtp] section (or [directory], to try things out)",
    );
    broken(
        "[[maildir]]\nname = \"box\"\npath = \"/nonexistent/Maildir\"\n",
        "",
        "c.toml:1: there is no mailbox to read: add an [[imap]] or a [[maildir]] section",
    );
    broken(
        "[directory]",
        "[smtp]\nhost = \"localhost\"\n[directory]",
        "c.toml:13: directory: there is an [smtp] section too; keep one of the two",
    );
    broken(
        "[directory]\npath = \"/nonexistent/replies\"",
        "[smtp]\nhost = \"smtp.example.com\"\ntls = \"none\"",
        "c.toml:13: smtp.tls: plaintext goes to this machine only, not to smtp.example.com; use \"implicit\" or \"starttls\"",
    );
    broken(
        "[directory]",
        "[[imap]]\nname = \"box\"\nhost = \"imap.example.com\"\nusername = \"x\"\npassword.env = \"X\"\n[directory]",
        "c.toml:8: maildir.name: two mailboxes are called \"box\"; give each its own name",
    );
    broken(
        "[directory]",
        "[[imap]]\nname = \"far\"\nhost = \"imap.example.com\"\ntls = \"none\"\nusername = \"x\"\npassword.env = \"X\"\n[directory]",
        "c.toml:14: imap.tls: plaintext goes to this machine only, not to imap.example.com; use \"implicit\"",
    );
    broken(
        "[directory]",
        "[[imap]]\nname = \"far\"\nhost = \"imap.example.com\"\nusername = \"x\"\npassword.env = \"PRIVACYD_NO_SUCH\"\n[directory]",
        "c.toml:15: imap.password: The environment variable PRIVACYD_NO_SUCH, which should hold a secret, is not set. The key says where the secret is: { file = \"…\" }, { env = \"…\" } or { credential = \"…\" }",
    );
    broken(
        "[directory]",
        "[[imap]]\nname = \"far\"\nhost = \"imap.example.com\"\nusername = \"x\"\npassword.env = \"X\"\npatience = \"500ms\"\n[directory]",
        "c.toml:16: imap.patience: below a second no server can answer; take \"10m\"",
    );
    broken(
        "[directory]\npath = \"/nonexistent/replies\"",
        "[smtp]\nhost = \"smtp.example.com\"\npatience = \"0s\"",
        "c.toml:13: smtp.patience: below a second no server can answer; take \"10m\"",
    );
}

#[test]
fn rules() {
    let config = GOOD.replace("[company]", "rules = \"ROOT/rules\"\n[company]");
    let row = "action = \"open\"\nfolder = \"X\"\nproof = 1\norder = 50\nthreshold = 0.6\n[title]\nen = \"x\"\n[phrases.en]\nlikely = ['some words']\n";
    let case = |from: &str, to: &str, expected: &str| {
        assert!(row.contains(from));
        assert_eq!(refusal(&config, &[("rules/question.toml", &row.replace(from, to))]), expected);
    };
    case(
        "some words",
        "some (words",
        "rules/question.toml:9: phrases.en.likely, entry 1: is not a pattern: unclosed group",
    );
    case(
        "some words",
        "(some)?",
        "rules/question.toml:9: phrases.en.likely, entry 1: matches an empty text and so every mail; ask for at least a word",
    );
    case(
        "phrases.en",
        "phrases.xx",
        "rules/question.toml:8: phrases.xx: there is no rules/languages/xx.toml; add one or correct the code",
    );
    case(
        "\"open\"",
        "\"erase\"",
        "rules/question.toml:1: action: unknown variant `erase`, expected one of `suppress_marketing`, `suppress_ads`, `answer`, `open`, `disclose`",
    );
    case(
        "\"open\"",
        "\"suppress_marketing\"",
        "rules/question.toml:3: proof: an opt-out may not ask for proof (11 CCR 7060(b)); set it to 0",
    );
    case(
        "0.6",
        "0.2",
        "rules/question.toml:5: threshold: must be above 0.3, the weight of a hint, and at most 1",
    );
    case(
        "some words",
        "some <words>",
        "rules/question.toml:9: phrases.en.likely, entry 1: there is no class of words <words> in this language",
    );
    case(
        "proof = 1",
        "proof = 1\nover = [\"gift\"]",
        "rules/question.toml:4: over: there is no type \"gift\"; take it out or correct the name",
    );
    assert_eq!(
        refusal(&config, &[("rules/concepts/en.toml", "erase = ['erase*']\nereas = ['wipe*']\n")]),
        "rules/concepts/en.toml:2: ereas: nothing was learned of this concept, so it would say nothing; correct the name, or take it out"
    );
    // A type of the operator's own needs its templates.
    assert_eq!(
        refusal(&config, &[("rules/gift.toml", row)]),
        "templates/gift/en: is missing: every request type needs subject.txt and body.txt in the fallback language or in English"
    );
}

#[test]
fn clocks() {
    let with = |keys: &str| GOOD.replace("[directory]", &format!("[clock]\n{keys}\n[directory]"));
    broken(
        "[directory]",
        "[clock]\nlaws = [\"gdpr\", \"gpdr\"]\n[directory]",
        "c.toml:12: clock.laws: there is no law \"gpdr\"; there are bulk_senders, can_spam, ccpa, coppa, gdpr, shine_the_light, uk_gdpr, unknown, us_states",
    );
    broken(
        "[directory]",
        "[clock]\nlaws = [\"gdpr\"]\ntime_zone = \"Europe/Bonn\"\n[directory]",
        "c.toml:13: clock.time_zone: there is no time zone \"Europe/Bonn\"; take an IANA name such as \"Europe/Berlin\"",
    );
    broken(
        "[directory]",
        "[clock]\nlaw = [\"gdpr\"]\n[directory]",
        "c.toml:12: unknown field `law`, expected one of `laws`, `holidays`, `time_zone`",
    );
    broken(
        "[directory]",
        "[clock]\nholidays = \"/nonexistent/holidays\"\n[directory]",
        "c.toml:12: clock.holidays: /nonexistent/holidays cannot be read: No such file or directory (os error 2)",
    );
    assert_eq!(
        refusal(&with("holidays = \"ROOT/holidays\""), &[("holidays", "# ours\n2026-12-25\n26.12.2026\n")]),
        "holidays:3: clock.holidays: write one date a line, as in 2026-12-25; what follows a '#' is a comment"
    );
    broken(
        "[directory]",
        "[admin]\nnotify = \"Privacy@example.com\"\n[directory]",
        "c.toml:12: admin.notify: is an address of ours, whose mail from ourselves nobody reads; name a person's",
    );
    broken(
        "[directory]",
        "[admin]\nnotify = \"dpo@example.net\"\ndigest_at = \"8 o'clock\"\n[directory]",
        "c.toml:13: digest_at: \"8 o'clock\" is not a time of day like \"08:00\" or \"17:30\"",
    );
    broken(
        "[directory]",
        "[admin]\ndigest_at = \"08:00\"\n[directory]",
        "c.toml:12: admin.digest_at: nobody is named who gets the digest; set admin.notify or leave it out",
    );
}

#[test]
fn disclosures() {
    let party =
        "[[disclosure.year.third_party]]\nname = \"Example Mailings\"\naddress = \"1 Example Street\"\n";
    let year = "[[disclosure.year]]\nyear = 2025\ncategories = [\"names\"]\n";
    let case = |keys: String, expected: &str| {
        assert_eq!(refusal(&GOOD.replace("[directory]", &format!("{keys}[directory]")), &[]), expected);
    };
    case(year.replace("2025", "25"), "c.toml:12: disclosure.year.year: write a calendar year, such as 2025");
    case(
        format!("{year}{party}{year}{party}"),
        "c.toml:18: disclosure.year.year: the year 2025 is there twice; write all of it into one table",
    );
    case(
        year.to_owned(),
        "c.toml:13: disclosure.year.categories: name categories and third parties, or neither where there were none",
    );
    case(
        format!("{year}{}", party.replace("1 Example Street", "")),
        "c.toml:14: disclosure.year.third_party: write name, address and business on one line each",
    );
    case(
        format!("{year}{}", party.replace("address", "adress")),
        "c.toml:16: unknown field `adress`, expected one of `name`, `address`, `business`",
    );
}

#[test]
fn corrections() {
    let source = "[[source]]\nname = \"Contacts\"\nlocal = true\n";
    let case = |keys: &str, expected: &str| {
        assert_eq!(refusal(&GOOD.replace("[directory]", &format!("{keys}[directory]")), &[]), expected);
    };
    let fields = |fields: &str| format!("[correction]\nfields = [{fields}]\n{source}");
    case(
        &fields("\"name\", \"na:me\""),
        "c.toml:12: correction.fields: \"na:me\" is no name of a field: use letters, digits, '_', '-' and blanks",
    );
    case(
        &format!("{}[proof]\ndata_points = [\"postcode\", \"phone\"]\n", fields("\"phone\"")),
        "c.toml:12: correction.fields: \"phone\" is one of proof.data_points: who changed it could then prove a claim by it",
    );
    case(
        &fields("\"legal_hold\""),
        "c.toml:12: correction.fields: \"legal_hold\" is erasure.hold_column, or bears its name, and not for the person to say",
    );
    case(
        &fields("\"IBAN\""),
        "c.toml:12: correction.fields: \"IBAN\" is a field that never leaves by mail (copy.withhold); nor may it come by mail",
    );
    case(
        &fields("\"name\"").replace("local = true", "local = true\nverbs = [\"erase\"]"),
        "c.toml:12: correction.fields: \"name\" cannot be corrected by any [[source]]; add one that does \"correct\"",
    );
    case(
        &format!("[correction]\nfields = [\"name\"]\nwords = {{ phone = [\"telephone\"] }}\n{source}"),
        "c.toml:13: correction.words.phone: is not one of correction.fields",
    );
    case(
        &format!(
            "[correction]\nfields = [\"last_name\", \"name\"]\nwords = {{ name = [\"Last name\"] }}\n{source}"
        ),
        "c.toml:12: correction.fields: \"last name\" is the name of \"last_name\" and of \"name\"; people must be able to tell them apart",
    );
}

#[test]
fn laws() {
    let config = GOOD.replace("[company]", "rules = \"ROOT/rules\"\n[company]");
    let good = "[[x.clock]]\nduty = \"answer\"\ntypes = [\"access\"]\nafter = \"1 month\"\nsource = \"x\"\n\
                [[unknown.clock]]\nduty = \"answer\"\nafter = \"30 days\"\nsource = \"x\"\n";
    let case = |from: &str, to: &str, expected: &str| {
        assert!(good.contains(from));
        assert_eq!(refusal(&config, &[("rules/laws.toml", &good.replace(from, to))]), expected);
    };
    case(
        "1 month",
        "soon",
        "rules/laws.toml:4: after: \"soon\" is not like \"30 days\", \"10 business days\" or \"1 month\"",
    );
    case(
        "\"access\"",
        "\"acess\"",
        "rules/laws.toml:3: x.clock.types: there is no request type \"acess\"; correct the name",
    );
    case(
        "after = \"1 month\"",
        "until = \"1 month\"",
        "rules/laws.toml:4: unknown field `until`, expected one of `duty`, `types`, `after`, `next_working_day`, `extension`, `proof`, `source`",
    );
    case(
        "[unknown.clock]",
        "[other.clock]",
        "rules/laws.toml:1: unknown: needs a [[unknown.clock]] with duty = \"answer\" and no types: it holds where no other law does",
    );
}

#[test]
fn templates() {
    let config = GOOD.replace("[company]", "templates = \"ROOT/t\"\n[company]");
    let case = |text: &str, expected: &str| {
        assert_eq!(refusal(&config, &[("t/opt_out/en/body.txt", text)]), expected);
    };
    case(
        "Hello {{ nam }}",
        "t/opt_out/en/body.txt:1: does not render: undefined value: `nam` is undefined (in opt_out/en/body.txt:1)",
    );
    case(
        "Hello\n{% if %}",
        "t/opt_out/en/body.txt:2: is not a template: syntax error: unexpected end of block (in opt_out/en/body.txt:2)",
    );
    case("  ", "t/opt_out/en/body.txt:1: is empty");
}

#[test]
fn a_template_that_is_missing_has_no_line() {
    let config = GOOD.replace("[company]", "rules = \"ROOT/r\"\ntemplates = \"ROOT/t\"\n[company]");
    let rule = "action = \"open\"\nfolder = \"Gifts\"\nproof = 1\norder = 90\nthreshold = 0.6\n[title]\nen = \"a gift\"\n\
                [phrases.en]\ncertain = ['my gift']\n";
    let gift = ("r/gift.toml", rule);
    let every = "every request type needs subject.txt and body.txt in the fallback language or in English";
    let hello = ("t/hello/en/subject.txt", "Hello");
    let said = refusal(&config, &[gift, hello]);
    assert_eq!(said, format!("t/gift/en: is missing: {every}"));
    let said = refusal(&config, &[gift, ("t/gift/en/subject.txt", "Your gift")]);
    assert_eq!(said, "t/gift/en/body.txt: is missing beside its other half");
    let said = refusal(&config, &[gift, ("t/gift/subject.txt", "Your gift")]);
    assert_eq!(said, "t/gift/subject.txt: templates are called <type>/<language>/subject.txt and body.txt");
}

#[test]
fn a_table_whose_header_is_a_comment_is_named() {
    let sample = privacyd::operator::SAMPLE_CONFIG;
    let line_of = |text: &str, line: &str| 1 + text.lines().position(|it| it == line).unwrap();
    for (header, key) in [("[smtp]", "duplicate key"), ("[company]", "unknown field `name`")] {
        let config = sample.replacen(&format!("\n{header}\n"), &format!("\n#{header}\n"), 1);
        let said = refusal(&config, &[]);
        let line = line_of(&config, &format!("#{header}"));
        let remedy = format!("; if it belongs to {header}, take off the # before that in line {line}");
        assert!(said.contains(key) && said.ends_with(&remedy), "{said}");
    }
    // A header in between ends what could be meant.
    let config = format!("{GOOD}# [smtp]\n[log]\nhost = \"x\"\n");
    assert!(refusal(&config, &[]).starts_with("c.toml:15: unknown field `host`, expected"));
    assert!(!refusal(&config, &[]).contains("if it belongs"));
}

#[test]
fn all_passwords_that_are_missing_are_told_and_those_that_everybody_may_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    let root = folder.path().display().to_string();
    let imap = "[[imap]]\nname = \"a\"\nhost = \"localhost\"\nusername = \"x\"\npassword = { file = \"ROOT/a\" }\n\
                [smtp]\nhost = \"localhost\"\nusername = \"x\"\npassword = { file = \"ROOT/b\" }\n";
    let config = GOOD.replace("[directory]\npath = \"/nonexistent/replies\"\n", imap);
    let config = config.replace("/nonexistent", &root).replace("ROOT", &root);
    std::fs::write(&file, &config).unwrap();
    let output = check(&file);
    let said = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((output.status.code(), lines.len()), (Some(2), 2), "{said}");
    assert!(
        lines[0].contains("imap.password: Cannot read") && lines[1].contains("smtp.password: Cannot"),
        "{said}"
    );
    for (name, mode) in [("a", 0o644), ("b", 0o640)] {
        std::fs::write(folder.path().join(name), "secret\n").unwrap();
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(folder.path().join(name), mode).unwrap();
    }
    let output = check(&file);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let warning =
        format!("privacyd: everybody on this machine may read the secret in {root}/a: chmod 600 {root}/a\n");
    assert_eq!(said, warning);
}

#[test]
fn a_secret_in_the_file_is_never_said() {
    let smtp = |password: &str| {
        let smtp = format!("[smtp]\nhost = \"localhost\"\nusername = \"x\"\n{password}\n");
        GOOD.replace("[directory]\npath = \"/nonexistent/replies\"\n", &smtp)
    };
    let expected = "c.toml:14: password: no secret belongs into this file; write where it is: { file = \"…\" }, { env = \"…\" } or { credential = \"…\" }";
    for password in [
        "password = \"hunter2\"",
        "password = 7356782",
        "password = { file = 7356782 }",
        "password = { word = \"hunter2\" }",
        "password = {}",
    ] {
        assert_eq!(refusal(&smtp(password), &[]), expected, "{password}");
    }
    for password in [
        "password = hunter2",
        "password = \"hunter2",
        "password = [\"hunter2\"]",
        "password = [\n\"a=hunter2\"]",
    ] {
        let said = refusal(&smtp(password), &[]);
        assert!(said.starts_with("c.toml:1") && !said.contains("hunter2"), "{password}: {said}");
    }
    assert_eq!(
        refusal(&smtp("password = { file = \"a\", env = \"b\" }"), &[]),
        "c.toml:14: password: a secret has one place: { file = \"…\" }, { env = \"…\" } or { credential = \"…\" }"
    );
    assert_eq!(
        refusal(&smtp("password = { file = \"ROOT/nowhere\" }"), &[]),
        "c.toml:14: smtp.password: Cannot read the secret file nowhere: No such file or directory (os error 2). The key says where the secret is: { file = \"…\" }, { env = \"…\" } or { credential = \"…\" }"
    );
}

#[test]
fn a_wrong_value_is_told_with_the_right_form() {
    broken(
        "[company]",
        "poll_interval = 5\n[company]",
        "c.toml:4: poll_interval: invalid type: integer `5`, expected a duration like \"30s\", \"5m\" or \"14d\", in quotation marks",
    );
    let imap = |port: &str| {
        format!(
            "[[imap]]\nname = \"far\"\nhost = \"imap.example.com\"\nport = {port}\nusername = \"x\"\npassword.env = \"X\"\n[directory]"
        )
    };
    let form = "expected a number from 1 to 65535, without quotation marks";
    for (port, what) in [
        ("\"x\"", "invalid type: string \"x\""),
        ("0", "invalid value: integer `0`"),
        ("65536", "invalid value: integer `65536`"),
    ] {
        broken("[directory]", &imap(port), &format!("c.toml:14: port: {what}, {form}"));
    }
    broken(
        "[\"privacy@example.com\"]",
        "[\n  \"privacy@example.com\",\n  \"privacy\",\n]",
        "c.toml:2: own_addresses: entry 2, \"privacy\", is not a plain mail address such as \"privacy@example.com\"",
    );
    broken(
        "[company]",
        "rules = \"/nonexistent/rules\"\n[company]",
        "c.toml:4: rules: there is no folder /nonexistent/rules; make it, correct the path, or leave the key out for the built-in ones",
    );
    broken(
        "[directory]",
        "[limits]\nreplies_per_day = \"ten\"\n[directory]",
        "c.toml:12: replies_per_day: invalid type: string \"ten\", expected a number from 0 to 4294967295",
    );
    broken(
        "database = \"/nonexistent/privacyd.db\"",
        "database = 5",
        "c.toml:1: database: invalid type: integer `5`, expected a path in quotation marks",
    );
}

#[test]
fn what_is_made_where_it_is_missing_needs_its_folder() {
    let here = GOOD.replace("/nonexistent/", "ROOT/");
    let gone = |from: &str| here.replace(&format!("ROOT/{from}"), &format!("ROOT/gone/{from}"));
    assert_eq!(
        refusal(&gone("Maildir"), &[]),
        "c.toml:9: maildir.path: there is no folder gone; make it, or correct the path"
    );
    assert_eq!(
        refusal(&gone("replies"), &[]),
        "c.toml:12: directory.path: there is no folder gone; make it, or correct the path"
    );
}

#[test]
fn the_folder_for_sent_mail() {
    let case = |sent: &str, expected: &str| {
        let imap = format!(
            "[[imap]]\nname = \"far\"\nhost = \"imap.example.com\"\nusername = \"x\"\npassword.env = \"PATH\"\nsent = {sent:?}\n[directory]"
        );
        broken("[directory]", &imap, expected);
    };
    case(
        "Sent*",
        "c.toml:16: imap.sent: a folder name is 1 to 100 printable ASCII characters other than \" \\ * % and does not begin with '.'",
    );
    // Nothing but the database is wrong with this one.
    case(
        "INBOX.&AMk-l&AOk-ments envoy&AOk-s",
        "c.toml:1: database: there is no folder /nonexistent; make it, or correct the path",
    );
}

#[test]
fn the_folder_for_junk() {
    let case = |junk: &str, expected: &str| {
        let imap = format!(
            "[[imap]]\nname = \"far\"\nhost = \"imap.example.com\"\nusername = \"x\"\npassword.env = \"PATH\"\njunk = {junk:?}\n[directory]"
        );
        broken("[directory]", &imap, expected);
    };
    let taken = "c.toml:16: imap.junk: is a folder that mail is read from or filed in; name the one for junk";
    case("inbox", taken);
    case("Held", taken);
    case(
        "Junk*",
        "c.toml:16: imap.junk: a folder name is 1 to 100 printable ASCII characters other than \" \\ * % and does not begin with '.'",
    );
    // Nothing but the database is wrong with this one.
    case(
        "INBOX.Ind&AOk-sirables",
        "c.toml:1: database: there is no folder /nonexistent; make it, or correct the path",
    );
}
