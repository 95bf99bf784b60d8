-- The chain of the event log: one row for each event that there ever was, also of those that are purged.
-- Whoever writes an event writes its row here too, and whoever commits fills in the hashes before.
CREATE TABLE event_links (
    event_id  INTEGER PRIMARY KEY,
    content   BLOB,    -- SHA-256 of the event's canonical encoding
    hash      BLOB,    -- SHA-256 of the hash before, the id and the content's hash
    purged_at INTEGER, -- when the event itself was purged
    unsealed  INTEGER REFERENCES unsealed_events (id) DEFERRABLE INITIALLY DEFERRED, -- 1 until the hashes are there
    CHECK (unsealed IS NOT NULL OR coalesce(length(content) = 32 AND length(hash) = 32, 0))
) STRICT;
CREATE INDEX event_links_unsealed ON event_links (unsealed) WHERE unsealed IS NOT NULL;
CREATE INDEX event_links_hash ON event_links (hash);

-- Empty for ever: no transaction can commit a link that refers to it.
CREATE TABLE unsealed_events (
    id INTEGER PRIMARY KEY CHECK (0)
) STRICT;

-- Events that are older than the chain are linked when the database is opened.
INSERT INTO meta (name, value) SELECT 'unlinked_events', x'01' WHERE EXISTS (SELECT 1 FROM request_events);

-- Ledger rows of which nothing is left but what a mail is known by.
ALTER TABLE messages ADD COLUMN purged_at INTEGER;

-- What a purge looks for.
ALTER TABLE outbox ADD COLUMN purged_at INTEGER; -- when its bytes were purged
CREATE INDEX messages_kept ON messages (recorded_at) WHERE purged_at IS NULL;
CREATE INDEX requests_closed ON requests (closed_at) WHERE closed_at IS NOT NULL;
CREATE INDEX outbox_ended ON outbox (updated_at) WHERE state IN ('sent', 'bounced', 'unknown');
CREATE INDEX outbox_texts ON outbox (updated_at) WHERE purged_at IS NULL AND state IN ('sent', 'bounced', 'unknown');
-- Without these every request that goes costs a look at all of them.
CREATE INDEX suppressions_request ON suppressions (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX tombstones_request ON tombstones (request_id) WHERE request_id IS NOT NULL;
