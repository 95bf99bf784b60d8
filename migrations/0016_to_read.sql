-- Mails that a person must read and that have no request of their own: none but a person can say that they are settled.

ALTER TABLE messages ADD COLUMN read_at INTEGER; -- when a person has said that they have read it
CREATE INDEX messages_to_read ON messages (id) WHERE disposition IN ('review', 'unreadable') AND read_at IS NULL AND purged_at IS NULL;
