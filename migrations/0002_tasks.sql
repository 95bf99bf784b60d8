-- What a request has to do in each of the company's systems, run after its approval is committed.
CREATE TABLE tasks (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id      INTEGER NOT NULL REFERENCES requests (id),
    source          TEXT    NOT NULL, -- the name of the system in the configuration; the company's where there is none
    state           TEXT    NOT NULL CHECK (state IN ('waiting', 'by_hand', 'done', 'nothing', 'kept', 'failed')),
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER NOT NULL,
    asked_at        INTEGER,          -- when it was asked, while nobody knows what it has done
    outcome         TEXT    NOT NULL DEFAULT '' , -- what was kept and why, or why it failed or a person must do it
    data            BLOB,             -- what was collected for the person, until it is sent
    updated_at      INTEGER NOT NULL,
    UNIQUE (request_id, source)
) STRICT;
CREATE INDEX tasks_due ON tasks (next_attempt_at) WHERE state = 'waiting';

-- Addresses that were erased, so that nothing brings them back; nobody can read from it who they were.
CREATE TABLE tombstones (
    address_hmac BLOB    NOT NULL PRIMARY KEY, -- HMAC-SHA-256 with the installation's own key
    request_id   INTEGER REFERENCES requests (id),
    created_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
