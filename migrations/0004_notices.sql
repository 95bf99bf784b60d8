-- Notices to everybody the company knows, such as that its privacy policy has changed. The text is written when
-- it is sent: a recipient's row is small.
CREATE TABLE notices (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL UNIQUE,
    template   TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('sending', 'cancelled')),
    per_minute INTEGER NOT NULL CHECK (per_minute > 0),
    queued_to  INTEGER NOT NULL DEFAULT 0, -- the last row of the contacts that was looked at
    queueing   INTEGER NOT NULL DEFAULT 1 CHECK (queueing IN (0, 1)), -- whether there may be more behind it
    created_at INTEGER NOT NULL
) STRICT;

-- Each person once. Whoever is erased is gone from here as well.
CREATE TABLE notice_recipients (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    notice_id        INTEGER NOT NULL REFERENCES notices (id),
    contact_id       INTEGER NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
    state            TEXT    NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'transmitting', 'deferred', 'sent', 'bounced', 'unknown')),
    attempts         INTEGER NOT NULL DEFAULT 0,
    first_attempt_at INTEGER,
    next_attempt_at  INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    rfc_message_id   TEXT,             -- fixed when it is first tried
    outcome          TEXT    NOT NULL DEFAULT '',
    UNIQUE (notice_id, contact_id)
) STRICT;
CREATE INDEX notice_recipients_due ON notice_recipients (notice_id, next_attempt_at) WHERE state IN ('queued', 'deferred');
CREATE INDEX notice_recipients_transmitting ON notice_recipients (id) WHERE state = 'transmitting';
CREATE INDEX notice_recipients_contact ON notice_recipients (contact_id);
CREATE UNIQUE INDEX notice_recipients_message ON notice_recipients (rfc_message_id) WHERE rfc_message_id IS NOT NULL;

-- The list of all requests, the soonest due first.
CREATE INDEX requests_list ON requests (due_on);
