-- Equal passwords get different hashes: a copy of the database does not show which posts one person wrote.
--
-- Null for posts without a password and for those that were written before there were salts, whose hashes stay as they
-- are. While the release before runs beside this one, it does not know the salt: it writes posts without one, which this
-- release can delete, and answers "wrong password" for posts that have one. No hash could satisfy both, because the
-- release before compares with the unsalted hash and nothing else.
alter table post add column password_salt bytea;
