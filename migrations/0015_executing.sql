-- What will be and what is being carried out is looked for together, by other indexes.

DROP INDEX requests_approved;
