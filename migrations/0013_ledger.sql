-- Which database this is.
CREATE TABLE ledger (
    only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    id   TEXT    NOT NULL -- random
) STRICT;
INSERT INTO ledger (only, id) VALUES (1, lower(hex(randomblob(4))));

-- The mark of this database in each mailbox.
CREATE TABLE ledger_marks (
    mailbox      TEXT    NOT NULL PRIMARY KEY,
    epoch        INTEGER NOT NULL DEFAULT 0, -- its number; written here before it is written there
    is_stale     INTEGER NOT NULL DEFAULT 1, -- whether a copy was made since: the number is to grow
    contested_by TEXT,                       -- whose mark, or which later state of this one, was found there
    contested_in INTEGER                     -- the recovery in which the operator is to decide about it
) STRICT, WITHOUT ROWID;

-- What will be carried out, which is little.
CREATE INDEX requests_approved ON requests (kind, subject) WHERE status = 'approved';
