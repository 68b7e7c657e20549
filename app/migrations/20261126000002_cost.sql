-- What keeps the cost of a page the same while tables grow.

-- ANALYZE looks at whole blocks of a table, in which quotes of one post are neighbours, as are posts of one thread, and
-- takes each value for far more frequent than it is: a post to be quoted five to eleven times, for instance. Negative
-- numbers are shares of the rows, so these stay right.
alter table quote alter column to_no set (n_distinct = -0.7);
alter table post alter column thread_no set (n_distinct = -0.02);
analyze quote (to_no), post (thread_no);

-- By default a table is vacuumed once a fifth of it is new, which is rarer and more to do the larger it is. Until then
-- the newest rows, which are those that are read, are not marked as visible to all, and a look into an index needs one
-- into the table besides. A fixed number of new rows is always the same work.
alter table post set (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 20000);
alter table quote set (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 20000);
alter table attachment set (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 20000);

-- The newest pictures that are not covered, for the home page, however many covered ones are newer. Comes last, because
-- nobody can post from here to the end: about a second for a million pictures.
create index attachment_newest on attachment (post_no desc, position) where not spoiler and blob_id is not null;
