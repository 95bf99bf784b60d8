//! The example systems in `examples/`, each on real data: a CSV file, and a table in a private PostgreSQL.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{Need, Scenario};

pub const SCENARIOS: &[Scenario] =
    &[("csv", &[Need::Python], csv), ("postgresql", &[Need::Postgresql], postgresql)];

/// Where PostgreSQL's programs are, the newest version's.
fn programs() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    versions.retain(|bin| bin.join("initdb").exists());
    versions.sort();
    versions.pop()
}

pub fn missing_postgresql() -> Option<&'static str> {
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
    match () {
        () if programs().is_none() || !has("psql") => Some("no PostgreSQL"),
        () if !has("jq") => Some("no jq"),
        () if !Path::new("/proc/self")
            .metadata()
            .is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0) =>
        {
            Some("not root: PostgreSQL runs as its own user")
        }
        () => None,
    }
}

pub fn missing_python() -> Option<&'static str> {
    Command::new("python3").arg("--version").output().is_err().then_some("no python3")
}

/// What the example says to an order about this address.
fn order(example: &str, argument: &str, verb: &str, address: &str, attempt: u32) -> Value {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(example);
    // Everybody has a request of their own.
    let reference = format!("PR-{}", address.len());
    let mut order = json!({
        "version": 1, "verb": verb, "reference": reference, "attempt": attempt, "type": "deletion",
        "subject": { "address": address },
    });
    if verb == "correct" {
        order["changes"] = json!([
            { "field": "name", "old": null, "new": "Anna, \"the other\" 'one'" },
            { "field": "email", "old": null, "new": "somebody@example.net" },
        ]);
    }
    let mut child =
        Command::new(program).arg(argument).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(order.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{verb}");
    // As privacyd reads it.
    privacyd::source::Report::parse(&output.stdout).unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn csv() -> super::Outcome {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("customers.csv");
    let rows = "name,email,restricted\nJane,Jane@example.org,\n\"Ann, the other\",ann@example.org,\n";
    std::fs::write(&file, rows)?;
    let again = |verb: &str, address: &str, attempt: u32| {
        order("csv-source", file.to_str().unwrap(), verb, address, attempt)
    };
    let order = |verb: &str, address: &str| again(verb, address, 1);
    assert_eq!(
        order("collect", "jane@example.org"),
        json!({ "outcome": "done", "data": { "customers": [{ "name": "Jane", "email": "Jane@example.org", "restricted": "" }] } })
    );
    // The same order is reported as it was; a new one of the same request finds nothing left.
    for _ in 0..2 {
        assert_eq!(order("erase", "jane@example.org"), json!({ "outcome": "done" }));
    }
    assert_eq!(again("erase", "jane@example.org", 2), json!({ "outcome": "nothing" }));
    let left = std::fs::read_to_string(&file)?.replace("\r\n", "\n");
    assert_eq!(left, "name,email,restricted\n\"Ann, the other\",ann@example.org,\n");
    assert_eq!(order("correct", "jane@example.org"), json!({ "outcome": "nothing" }));
    for _ in 0..2 {
        assert_eq!(order("correct", "ann@example.org"), json!({ "outcome": "done" }));
        let left = std::fs::read_to_string(&file)?.replace("\r\n", "\n");
        assert_eq!(left, "name,email,restricted\n\"Anna, \"\"the other\"\" 'one'\",ann@example.org,\n");
    }
    assert_eq!(order("restrict", "ann@example.org"), json!({ "outcome": "done" }));
    assert_eq!(order("restrict", "nobody@example.org"), json!({ "outcome": "nothing" }));
    assert!(std::fs::read_to_string(&file)?.contains("ann@example.org,yes"));
    assert_eq!(order("dance", "ann@example.org")["outcome"], "failed");
    assert!(!std::fs::read_to_string(folder.path().join("customers.csv.orders"))?.contains('@'));
    Ok(())
}

/// A cluster of the test's own, reachable by a socket in its folder alone; stopped at the end.
struct Cluster {
    folder: tempfile::TempDir,
    programs: PathBuf,
}

impl Cluster {
    fn start() -> Self {
        let cluster = Self { folder: tempfile::tempdir().unwrap(), programs: programs().unwrap() };
        let root = cluster.folder.path().display().to_string();
        assert!(Command::new("chown").args(["postgres", &root]).status().unwrap().success());
        cluster.run("initdb", &["-D", &format!("{root}/data"), "-A", "trust", "-N"]);
        let options = format!("-k {root} -c listen_addresses=''");
        let (data, log) = (format!("{root}/data"), format!("{root}/log"));
        cluster.run("pg_ctl", &["-D", &data, "-o", &options, "-l", &log, "-w", "start"]);
        cluster
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let done = Command::new("runuser")
            .args(["-u", "postgres", "--"])
            .arg(self.programs.join(program))
            .args(arguments)
            .current_dir("/")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(done.unwrap().success(), "{program} {arguments:?}");
    }

    fn connection(&self) -> String {
        format!("host={} user=postgres dbname=postgres", self.folder.path().display())
    }

    fn sql(&self, text: &str) -> String {
        let output = Command::new("psql")
            .args(["-X", "-q", "-A", "-t", "-d", &self.connection(), "-c", text])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let data = self.folder.path().join("data").display().to_string();
        self.run("pg_ctl", &["-D", &data, "-m", "fast", "stop"]);
    }
}

fn postgresql() -> super::Outcome {
    let cluster = Cluster::start();
    cluster.sql(
        "CREATE TABLE customers (id int PRIMARY KEY, email text, name text, phone text, password_hash text, restricted boolean);
         CREATE TABLE privacyd_orders (reference text, verb text, attempt int, report json NOT NULL, PRIMARY KEY (reference, verb, attempt));
         CREATE TABLE orders (id int, customer_id int, item text);
         INSERT INTO customers VALUES (1, 'Jane@example.org', 'Jane', '1', 'x', NULL), (2, 'o''hara@example.org', 'O', '2', 'x', NULL), (3, 'ann@example.org', 'Ann', '3', 'x', NULL);
         INSERT INTO orders VALUES (7, 1, 'boots')",
    );
    let connection = cluster.connection();
    let again = |verb: &str, address: &str, attempt: u32| {
        order("postgresql-source", &connection, verb, address, attempt)
    };
    let order = |verb: &str, address: &str| again(verb, address, 1);
    let copy = order("collect", "jane@example.org");
    assert_eq!(
        copy["data"]["customer"],
        json!([{ "id": 1, "email": "Jane@example.org", "name": "Jane", "phone": "1", "restricted": null }])
    );
    assert_eq!(copy["data"]["orders"][0]["item"], "boots");
    // The same order is reported as it was; a new one of the same request finds nothing left.
    for _ in 0..2 {
        assert_eq!(order("erase", "jane@example.org")["kept"][0]["what"], "invoices, without your name");
    }
    assert_eq!(again("erase", "jane@example.org", 2), json!({ "outcome": "nothing" }));
    // Quoted by psql, whatever is in it.
    assert_eq!(order("erase", "o'hara@example.org"), json!({ "outcome": "done" }));
    assert_eq!(order("erase", "x' OR 'a'='a@example.org"), json!({ "outcome": "nothing" }));
    assert_eq!(cluster.sql("SELECT string_agg(email, ',') FROM customers"), "ann@example.org");
    assert_eq!(order("correct", "jane@example.org"), json!({ "outcome": "nothing" }));
    for _ in 0..2 {
        assert_eq!(order("correct", "ann@example.org"), json!({ "outcome": "done" }));
    }
    let row = cluster.sql("SELECT concat_ws('|', email, name, phone) FROM customers WHERE id = 3");
    assert_eq!(row, "ann@example.org|Anna, \"the other\" 'one'|3");
    assert_eq!(order("restrict", "ann@example.org"), json!({ "outcome": "done" }));
    assert_eq!(cluster.sql("SELECT count(*) FROM customers WHERE restricted"), "1");
    assert_eq!(order("dance", "ann@example.org")["outcome"], "failed");
    Ok(())
}
