-- How far the folders that mail is filed in have been looked through for mail that a person put there.
CREATE TABLE folder_marks (
    mailbox  TEXT    NOT NULL,
    folder   TEXT    NOT NULL,
    validity INTEGER NOT NULL, -- UIDVALIDITY (RFC 3501 section 2.3.1.1); 0 while there is no such folder
    uid_next INTEGER NOT NULL, -- the first UID that was not looked at
    PRIMARY KEY (mailbox, folder)
) STRICT, WITHOUT ROWID;
