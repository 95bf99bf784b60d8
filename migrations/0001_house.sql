-- Times are seconds since 1970-01-01 UTC. Addresses are normalised (lower case).
-- AUTOINCREMENT everywhere: an id that was once given must never mean another row.

-- Facts about this installation: the key of the pseudonyms in the log.
CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- How far each mailbox has been read. A bookmark, no identity: see messages.digest.
CREATE TABLE mailbox_cursors (
    mailbox  TEXT    NOT NULL PRIMARY KEY,
    validity INTEGER NOT NULL, -- UIDVALIDITY (RFC 3501 section 2.3.1.1)
    last_uid INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Mails whose bytes are about to be looked at. A row is gone once its mail was looked at alone or is
-- recorded, so what is found here was in hand when the process ended.
CREATE TABLE attempts (
    mailbox  TEXT    NOT NULL,
    validity INTEGER NOT NULL,
    mail_id  TEXT    NOT NULL,
    tries    INTEGER NOT NULL, -- looks that were begun and not seen to end
    PRIMARY KEY (mailbox, validity, mail_id)
) STRICT, WITHOUT ROWID;

-- The ledger: every mail that was ever seen, once.
CREATE TABLE messages (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    digest         BLOB    NOT NULL, -- SHA-256 of the bytes that were fetched
    size           INTEGER NOT NULL, -- bytes of the whole mail
    letter_digest  BLOB,             -- the same for two deliveries of one letter
    mailbox        TEXT    NOT NULL,
    validity       INTEGER NOT NULL,
    mail_id        TEXT    NOT NULL, -- where it was last seen: UID or file name
    rfc_message_id TEXT,
    sender         TEXT,
    proof          TEXT    NOT NULL CHECK (proof IN ('dmarc', 'dkim', 'none', 'conflict')), -- that the sender wrote it
    proof_why      TEXT    NOT NULL,
    received_at    INTEGER NOT NULL, -- by our server, not by the Date field
    recorded_at    INTEGER NOT NULL,
    disposition    TEXT    NOT NULL CHECK (disposition IN ('requests', 'automated', 'review', 'none', 'unreadable', 'duplicate')),
    kind           TEXT    NOT NULL, -- request types, or the kind of automatic mail
    why            TEXT    NOT NULL,
    unanswered     TEXT,             -- the bound because of which a reply was not written
    findings       TEXT    NOT NULL CHECK (json_valid(findings)),
    language       TEXT,
    wording        BLOB,             -- the same for two mails that a program writes from one form
    folder         TEXT    NOT NULL,
    glanced        INTEGER NOT NULL DEFAULT 0 CHECK (glanced IN (0, 1)), -- found outside the inbox and left there: nothing was decided
    filed          INTEGER NOT NULL DEFAULT 0 CHECK (filed IN (0, 1)),
    UNIQUE (digest, size)
) STRICT;
CREATE INDEX messages_letter ON messages (letter_digest) WHERE letter_digest IS NOT NULL;
CREATE INDEX messages_sender ON messages (sender, recorded_at) WHERE sender IS NOT NULL;
CREATE INDEX messages_unanswered ON messages (id) WHERE unanswered IS NOT NULL;
CREATE INDEX messages_unfiled ON messages (mailbox, validity) WHERE filed = 0;

-- Further places of mails that are recorded, still to be filed: the same bytes lay in the inbox twice.
CREATE TABLE copies (
    mailbox    TEXT    NOT NULL,
    validity   INTEGER NOT NULL,
    mail_id    TEXT    NOT NULL,
    message_id INTEGER NOT NULL REFERENCES messages (id),
    PRIMARY KEY (mailbox, validity, mail_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX copies_message ON copies (message_id);

CREATE TABLE requests (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    reference   TEXT    NOT NULL UNIQUE,
    message_id  INTEGER NOT NULL REFERENCES messages (id),
    kind        TEXT    NOT NULL,
    status      TEXT    NOT NULL CHECK (status IN ('awaiting_proof', 'approved', 'executing', 'held', 'completed', 'partly_completed', 'denied', 'withdrawn', 'expired')),
    flag        TEXT    NOT NULL DEFAULT '' CHECK (flag IN ('', 'suspected_fraud')),
    proof_needed INTEGER NOT NULL,           -- the step of the ladder that its type asks for, 0 to 3
    proof_given  INTEGER NOT NULL,           -- the step that was reached
    words        BLOB    NOT NULL,           -- a digest of the words it was asked for in
    by_hand      INTEGER NOT NULL DEFAULT 0 CHECK (by_hand IN (0, 1)), -- whether no system may do it by itself
    asked_at     INTEGER,                    -- when its sender was first asked for proof
    proof_until  INTEGER,                    -- while it awaits proof: when that ends
    remind_at    INTEGER,                    -- while it awaits proof: when the reminder is due, if still to be sent
    subject     TEXT,                -- whose request it is, where that is known
    language    TEXT    NOT NULL,
    confidence  REAL    NOT NULL,
    received_at INTEGER NOT NULL,
    proven_at   INTEGER,             -- when our server received the proof that was asked for
    due_on      TEXT    NOT NULL,    -- a date, 2026-12-23
    due_source  TEXT    NOT NULL,
    extended_at INTEGER,             -- when its due date was put off, which can be done once
    extended_why TEXT   CHECK (extended_why IN ('complexity', 'number_of_requests', 'verification', 'other')),
    closed_at   INTEGER
) STRICT;
CREATE INDEX requests_message ON requests (message_id);
CREATE INDEX requests_subject ON requests (subject);
CREATE INDEX requests_due ON requests (status, due_on);
CREATE INDEX requests_open ON requests (due_on, id) WHERE closed_at IS NULL;
CREATE INDEX requests_waiting ON requests (subject) WHERE status = 'awaiting_proof';
CREATE INDEX requests_reminder ON requests (remind_at) WHERE status = 'awaiting_proof' AND remind_at IS NOT NULL;
CREATE INDEX requests_expiry ON requests (proof_until) WHERE status = 'awaiting_proof';

-- Until when an open request is owed what, and how far the warnings of it have come. The answer's date is
-- that of its request.
CREATE TABLE deadlines (
    request_id INTEGER NOT NULL REFERENCES requests (id),
    duty       TEXT    NOT NULL CHECK (duty IN ('acknowledge', 'answer')),
    due_on     TEXT    NOT NULL,
    warned     INTEGER NOT NULL DEFAULT 0 CHECK (warned IN (0, 50, 80, 95, 100)), -- percent; 100 is overdue
    warn_at    INTEGER,                    -- when the next warning is due; none once nothing is owed
    PRIMARY KEY (request_id, duty)
) STRICT, WITHOUT ROWID;
CREATE INDEX deadlines_warn ON deadlines (warn_at) WHERE warn_at IS NOT NULL;

-- Letters with a one-time code. A code proves all the requests of one mail, and dies with the first use
-- of any code for them.
CREATE TABLE challenges (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id INTEGER NOT NULL REFERENCES requests (id),
    address    TEXT    NOT NULL,         -- to whom it was sent: only a mail from there can use it
    code_hash  BLOB    NOT NULL,
    sent_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX challenges_request ON challenges (request_id);

CREATE TABLE request_events (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id INTEGER REFERENCES requests (id), -- none where it is about the log itself: what was purged of it
    at         INTEGER NOT NULL,
    actor      TEXT    NOT NULL,
    event      TEXT    NOT NULL,
    reason     TEXT    NOT NULL
) STRICT;
CREATE INDEX request_events_request ON request_events (request_id);

CREATE TABLE contacts (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    address    TEXT    NOT NULL UNIQUE,
    fields     TEXT    NOT NULL CHECK (json_valid(fields)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- Who gets no more of what. An address needs no contact to be here.
CREATE TABLE suppressions (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    address    TEXT    NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('marketing', 'targeted_ads', 'restricted')),
    source     TEXT    NOT NULL,
    request_id INTEGER REFERENCES requests (id),
    created_at INTEGER NOT NULL,
    UNIQUE (address, kind)
) STRICT;

-- Replies, written in the transaction of what they confirm. The bytes and the Message-ID are fixed here.
CREATE TABLE outbox (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id      INTEGER REFERENCES messages (id), -- the mail that is answered; none in a notice to the operator
    reference       TEXT    NOT NULL,
    proven          INTEGER NOT NULL CHECK (proven IN (0, 1)), -- whether the mail's sender was authenticated
    recipient       TEXT    NOT NULL,
    template        TEXT    NOT NULL,
    language        TEXT    NOT NULL,
    rfc_message_id  TEXT    NOT NULL UNIQUE,
    in_thread       INTEGER NOT NULL, -- mails of ours in this thread, this one counted
    raw             BLOB    NOT NULL,
    kept            BLOB,             -- the same without its one-time code: what takes its place once it is sent
    state           TEXT    NOT NULL CHECK (state IN ('queued', 'transmitting', 'deferred', 'sent', 'bounced', 'unknown')),
    attempts        INTEGER NOT NULL DEFAULT 0,
    created_at      INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    outcome         TEXT    NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX outbox_due ON outbox (next_attempt_at) WHERE state IN ('queued', 'deferred');
CREATE INDEX outbox_transmitting ON outbox (id) WHERE state = 'transmitting';
CREATE INDEX outbox_recipient ON outbox (recipient, created_at);
CREATE INDEX outbox_unproven ON outbox (created_at, recipient) WHERE proven = 0;
CREATE INDEX outbox_message ON outbox (message_id);
CREATE INDEX outbox_reference ON outbox (reference);
