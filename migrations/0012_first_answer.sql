-- How long a mailbox has been tried that was never read to its end.
ALTER TABLE mailbox_cycles ADD COLUMN first_alive_at INTEGER; -- the first answer of its server
