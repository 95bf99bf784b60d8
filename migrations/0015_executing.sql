-- What is being carried out is stopped by a denial as well.

DROP INDEX requests_approved;
CREATE INDEX requests_imminent ON requests (kind, subject) WHERE status IN ('approved', 'executing');
