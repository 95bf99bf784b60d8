-- Lists of one type: of one status, of all, and of those that are open.
CREATE INDEX requests_kind ON requests (kind, status, due_on);
CREATE INDEX requests_kind_all ON requests (kind, due_on);
CREATE INDEX requests_kind_open ON requests (kind, due_on) WHERE closed_at IS NULL;
