//! Deleted stays deleted: whoever was erased comes back neither by an import nor by a backup.

use jiff::Timestamp;
use privacyd::operator::deletions::replay;
use privacyd::operator::export::{Shown, write};
use privacyd::operator::import_from;
use privacyd::sender::Address;
use sha2::{Digest, Sha256};

#[path = "support/corridor.rs"]
mod support;

use support::{House, letter};

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

/// Leaves somebody's tombstone.
async fn bury(house: &House, text: &str, at: Timestamp) {
    house.bury(&address(text), at).await;
}

async fn import(house: &House, csv: &str) -> privacyd::operator::Imported {
    import_from(&house.store, csv.as_bytes(), |_, _| {}).await.unwrap()
}

#[tokio::test]
async fn a_quotation_mark_that_is_never_closed_swallows_nobody_in_silence() {
    let house = House::new().await;
    let mut told = Vec::new();
    let csv =
        "email,name\na@example.org,\"A, \"\"B\"\"\"\nb@example.org,\"x\nc@example.org,y\nd@example.org,z\n";
    let done = import_from(&house.store, csv.as_bytes(), |line, fault| told.push((line, fault.to_owned())));
    let done = done.await.unwrap();
    assert_eq!((done.new, done.updated, done.bad), (1, 0, 1));
    let [(3, fault)] = told.as_slice() else { panic!("{told:?}") };
    assert!(fault.contains("opened and not closed"), "{fault}");
    let done = import(&house, "email,name\ne@example.org,Bob 5\" Smith\nf@example.org,Bea\n").await;
    assert_eq!((done.new, done.bad), (2, 0));
    // Also where a later one closes it, and where lines end as they once did on a Macintosh.
    for end in ["\n", "\r"] {
        let lines = [
            "email,name",
            "g@example.org,\"Gil",
            "h@example.org,Hal",
            "i@example.org,\"Ira\"",
            "j@example.org,Jo",
            "",
        ];
        let done = import(&house, &lines.join(end)).await;
        assert_eq!((done.new + done.updated, done.bad), (1, 1), "{end:?}");
    }
    // A field may have lines, and addresses in them.
    let done = import(
        &house,
        "email,name\nk@example.org,\"Kim\nStreet 1\"\nl@example.org,\"Lee\nalso lee@example.net, lee@example.com\"\n",
    )
    .await;
    assert_eq!((done.new, done.bad), (2, 0));
    assert_eq!(house.scalar("SELECT count(*) FROM contacts WHERE fields LIKE '%lee@example.com%'").await, 1);
}

#[tokio::test]
async fn an_erased_address_is_refused_by_every_import() {
    let house = House::new().await;
    let now = Timestamp::now();
    bury(&house, "Jane@Example.org", now).await;
    let done =
        import(&house, "email,name\nJANE@example.org,J\nann@example.org,A\nbad,B\njane@example.ORG,K\n")
            .await;
    assert_eq!((done.new, done.updated, done.erased, done.bad), (1, 0, 2, 1));
    assert_eq!(house.scalar("SELECT count(*) FROM contacts").await, 1);
    assert!(house.store.buried(&address("jane@EXAMPLE.org")).await.unwrap().is_some());
    assert!(house.store.buried(&address("ann@example.org")).await.unwrap().is_none());
    // Also for a database that is opened anew; and what is kept is no plain hash.
    let house = house.restarted().await;
    assert!(house.store.buried(&address("jane@example.org")).await.unwrap().is_some());
    let kept = house.store.tombstones(&[], 10).await.unwrap();
    assert_eq!(kept.len(), 1);
    assert_ne!(kept[0].0, Sha256::digest("jane@example.org").to_vec());
}

#[tokio::test]
async fn what_a_backup_brings_back_is_found_and_erased_again() {
    let house = House::new().await;
    let people: String = (0..12_000).map(|n| format!("user{n}@example.org,{n}\n")).collect();
    let csv = format!("email,number\n{people}");
    import(&house, &csv).await;
    let now = Timestamp::now();
    let gone = ["user0@example.org", "user4999@example.org", "user5000@example.org", "user11999@example.org"];
    for text in gone {
        house.store.suppress(&address(text), "marketing", now).await.unwrap();
        bury(&house, text, now).await;
    }
    let mut named = Vec::new();
    let found = replay(&house.store, true, |text| {
        named.push(text.to_owned());
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!((found, named.as_slice()), (4, gone.map(str::to_owned).as_slice()));
    assert_eq!(house.scalar("SELECT count(*) FROM contacts").await, 12_000);
    assert_eq!(replay(&house.store, false, |_| Ok(())).await.unwrap(), 4);
    assert_eq!(house.scalar("SELECT count(*) FROM contacts").await, 11_996);
    assert_eq!(house.suppressed([gone[0], gone[3]]).await, [true, true]);
    assert_eq!(replay(&house.store, false, |_| Ok(())).await.unwrap(), 0);
}

#[tokio::test]
async fn what_a_backup_brings_back_of_requests_and_replies_is_emptied_too() {
    let house = House::new().await;
    let received: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
    for (number, person) in [(1, "jane@example.org"), (2, "ann@example.org"), (3, "bob@example.org")] {
        house.deliver(received, number, letter(person, "Please delete all my personal data.")).await;
    }
    house.execute("UPDATE outbox SET state = 'sent', updated_at = created_at").await;
    house
        .execute("INSERT INTO corrections (request_id, field, new) SELECT id, 'name', 'Jan' FROM requests")
        .await;
    // None of them is a contact. Bob has asked after he was erased.
    let erased: Timestamp = "2026-12-01T10:00:00Z".parse().unwrap();
    bury(&house, "jane@example.org", erased).await;
    bury(&house, "bob@example.org", "2026-01-01T10:00:00Z".parse().unwrap()).await;
    assert_eq!(replay(&house.store, true, |_| Ok(())).await.unwrap(), 1);
    let left = |what: &str| -> &'static str {
        Box::leak(format!("SELECT count(*) FROM {what} AND address = 'jane@example.org'").into_boxed_str())
    };
    let letters = left("(SELECT recipient AS address, raw FROM outbox) WHERE length(raw) > 0");
    let changes = left(
        "(SELECT r.subject AS address FROM corrections c JOIN requests r ON r.id = c.request_id) WHERE true",
    );
    assert_eq!((house.scalar(letters).await, house.scalar(changes).await), (1, 1));
    assert_eq!(replay(&house.store, false, |_| Ok(())).await.unwrap(), 1);
    assert_eq!((house.scalar(letters).await, house.scalar(changes).await), (0, 0));
    assert_eq!(house.scalar("SELECT count(*) FROM outbox WHERE length(raw) > 0").await, 2);
    // The text of a reply may be all that is back.
    house.execute("UPDATE outbox SET raw = x'41' WHERE recipient = 'jane@example.org'").await;
    assert_eq!(replay(&house.store, false, |_| Ok(())).await.unwrap(), 1);
    assert_eq!(replay(&house.store, false, |_| Ok(())).await.unwrap(), 0);
}

#[tokio::test]
async fn tombstones_kept_outside_outlive_the_backup() {
    let house = House::new().await;
    import(&house, "email\njane@example.org\n").await;
    bury(&house, "jane@example.org", Timestamp::now()).await;
    let kept: Vec<([u8; 32], i64)> = house
        .store
        .tombstones(&[], 10)
        .await
        .unwrap()
        .into_iter()
        .map(|(mark, at)| (mark.try_into().unwrap(), at))
        .collect();
    // The backup is older than the erasure.
    house.execute("DELETE FROM tombstones").await;
    assert_eq!(replay(&house.store, false, |_| Ok(())).await.unwrap(), 0);
    assert_eq!(house.store.take_tombstones(&kept).await.unwrap(), 1);
    assert_eq!(house.store.take_tombstones(&kept).await.unwrap(), 0);
    assert_eq!(replay(&house.store, false, |_| Ok(())).await.unwrap(), 1);
}

#[tokio::test]
async fn the_list_is_exported_whole_and_in_the_form_that_is_asked_for() {
    let house = House::new().await;
    let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
    for (text, kind) in [
        ("Jane@example.org", "marketing"),
        ("jane@example.org", "targeted_ads"),
        ("ann@example.org", "marketing"),
    ] {
        house.store.suppress(&address(text), kind, now).await.unwrap();
    }
    let exported = async |kind: Option<&str>, shown: Shown| {
        let mut out = Vec::new();
        write(&house.store, kind, &shown, &mut out).await.unwrap();
        String::from_utf8(out).unwrap()
    };
    let since = "2026-11-23T12:00:00Z";
    assert_eq!(
        exported(None, Shown::Plain).await,
        format!(
            "address,kind,since\nann@example.org,marketing,{since}\njane@example.org,marketing,{since}\njane@example.org,targeted_ads,{since}\n"
        )
    );
    assert_eq!(
        exported(Some("targeted_ads"), Shown::Sha256).await,
        // echo -n jane@example.org | sha256sum
        format!(
            "sha256,kind,since\n{},targeted_ads,{since}\n",
            data_encoding::HEXLOWER.encode(&Sha256::digest("jane@example.org"))
        )
    );
    // More than a page, none twice.
    house
        .execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000) INSERT INTO suppressions (address, kind, source, created_at) SELECT 'u' || i || '@example.org', 'marketing', 'operator', 0 FROM n")
        .await;
    let all = exported(None, Shown::Plain).await;
    let lines: std::collections::HashSet<&str> = all.lines().collect();
    assert_eq!((all.lines().count(), lines.len()), (12_004, 12_004));
}
