-- Whose pictures are in a bucket: this id stands here and in the bucket, in an object of its own. So a database that the
-- pictures do not belong to is told from the one that they belong to, and a dump or a standby is the same installation.
create table installation (
    only_row boolean primary key default true check (only_row),
    id       uuid not null default gen_random_uuid()
);
insert into installation default values;
