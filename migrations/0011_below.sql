-- What lies below the cursor of a look through an inbox is told by its numbers. The same tells a Maildir's files.
CREATE INDEX messages_place ON messages (mailbox, validity, mail_id);
DROP INDEX messages_file;

-- Mails that such a look has fetched and accounted for by their bytes: further copies of mails of the ledger, which have
-- no row of their own. No other look fetches them again.
CREATE TABLE accounted_copies (
    mailbox  TEXT    NOT NULL,
    validity INTEGER NOT NULL, -- UIDVALIDITY (RFC 3501 section 2.3.1.1)
    uid      INTEGER NOT NULL,
    PRIMARY KEY (mailbox, validity, uid)
) STRICT, WITHOUT ROWID;
