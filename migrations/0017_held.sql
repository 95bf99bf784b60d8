-- A mail that a person must read may open requests as well, and be read by nobody because of them: whether one that is held
-- stands for it is known when it comes.

ALTER TABLE messages ADD COLUMN to_read INTEGER NOT NULL DEFAULT 0 CHECK (to_read IN (0, 1));
UPDATE messages SET to_read = 1 WHERE disposition IN ('review', 'unreadable')
    AND NOT EXISTS (SELECT 1 FROM requests own WHERE own.message_id = messages.id);
DROP INDEX messages_to_read;
CREATE INDEX messages_to_read ON messages (id) WHERE to_read = 1 AND read_at IS NULL AND purged_at IS NULL;
