-- What a correction is to change, as the person has said it. There only where that is certain.
CREATE TABLE corrections (
    request_id INTEGER NOT NULL REFERENCES requests (id),
    field      TEXT    NOT NULL, -- as the company's systems call it
    old        TEXT,             -- what the person says that it is; NULL where they do not say it
    new        TEXT    NOT NULL,
    PRIMARY KEY (request_id, field)
) STRICT, WITHOUT ROWID;
