-- Which database this is, and how often it has moved on; and when each mailbox was last seen to bear its mark.
CREATE TABLE ledger (
    only  INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    id    TEXT    NOT NULL, -- random
    epoch INTEGER NOT NULL
) STRICT;
INSERT INTO ledger (only, id, epoch) VALUES (1, lower(hex(randomblob(4))), 0);

CREATE TABLE ledger_marks (
    mailbox   TEXT    NOT NULL PRIMARY KEY,
    marked_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
