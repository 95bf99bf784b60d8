-- When each mailbox was last read wholly, and when its server last gave a whole answer. Written once a minute at
-- the most.
CREATE TABLE mailbox_cycles (
    mailbox  TEXT    NOT NULL PRIMARY KEY,
    first_good_at INTEGER, -- the end of the first pass that has read all of it
    good_at  INTEGER, -- the end of the last one
    alive_at INTEGER NOT NULL,
    unread   INTEGER NOT NULL DEFAULT 0 -- mails that were still to be read then
) STRICT, WITHOUT ROWID;

-- When a server has refused name or password of a mailbox, until it takes them: no restart tries again at once.
CREATE TABLE login_refusals (
    mailbox TEXT    NOT NULL PRIMARY KEY,
    at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Times in which nothing is answered or carried out, because the mailbox knows more than this database. One
-- without an end lasts.
CREATE TABLE recoveries (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    began_at INTEGER NOT NULL,
    why      TEXT    NOT NULL,
    ended_at INTEGER
) STRICT;
CREATE UNIQUE INDEX recoveries_open ON recoveries (ended_at IS NULL) WHERE ended_at IS NULL;
-- The one that lasts, if one does.
CREATE VIEW recovery AS SELECT began_at, why FROM recoveries WHERE ended_at IS NULL;

-- Looks through everything that lies in the mailboxes for mail that no row of the ledger accounts for.
CREATE TABLE reconciliations (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    at          INTEGER NOT NULL,
    seen        INTEGER NOT NULL, -- mails that were looked at
    unaccounted INTEGER NOT NULL, -- of these: without a row, until then
    junk        INTEGER NOT NULL  -- requests that were found among junk
) STRICT;

-- Replies of unknown fate, which are few.
CREATE INDEX outbox_unknown ON outbox (id) WHERE state = 'unknown';

-- How a mail of a Maildir is told without reading it.
CREATE INDEX messages_file ON messages (mailbox, mail_id) WHERE validity = 0;

-- Mails to ourselves, to see that they come back.
CREATE TABLE canaries (
    token      TEXT    NOT NULL PRIMARY KEY, -- random; in the subject
    sent_at    INTEGER NOT NULL,             -- when it was queued
    back_at    INTEGER,
    alarmed_at INTEGER                       -- when it was missed
) STRICT, WITHOUT ROWID;
