-- The outbox: what has changed, one row for each post or thread, written in the transaction that changes it. Replicas ask
-- what was committed since they last asked, to know which pages are still current, and to tell those who watch.
-- Replicas remove what is older than an hour.
create table change (
    id             bigint generated always as identity primary key,
    -- Which transaction: its snapshot tells whether somebody who looked before has seen this row.
    xid            xid8 not null default pg_current_xact_id(),
    changed_at     timestamptz not null,
    what           text not null,
    board_id       smallint,   -- null: what every page shows
    board_version  bigint,
    thread_no      integer,
    thread_version bigint,
    post_no        integer
);
create index change_xid on change (xid);
-- Whoever comes back asks for what came after the version that it has seen.
create index change_of_board on change (board_id, board_version);
create index change_of_thread on change (thread_no, thread_version);

-- Rows come and go at one end, and a statistic of an empty table would be wrong a minute later.
alter table change set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
                        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 10000);

-- Whoever changes a version without saying what has changed is noticed all the same: the release before this one, which
-- runs beside it during an update, and a person at a prompt. Publishing sets `published_at` with every version.
alter table thread_state add column published_at timestamptz;
alter table board_state add column published_at timestamptz;
alter table site_state add column published_at timestamptz;

create function note_unpublished_thread() returns trigger language plpgsql as $$
begin
    insert into change (changed_at, what, board_id, thread_no, thread_version)
        values (new.changed_at, 'unknown', new.board_id, new.thread_no, new.version);
    return null;
end
$$;
create function note_unpublished_board() returns trigger language plpgsql as $$
begin
    insert into change (changed_at, what, board_id, board_version)
        values (new.changed_at, 'unknown', new.board_id, new.version);
    return null;
end
$$;
create function note_unpublished_site() returns trigger language plpgsql as $$
begin
    insert into change (changed_at, what) values (new.changed_at, 'unknown');
    return null;
end
$$;
create function note_deleted_thread() returns trigger language plpgsql as $$
begin
    insert into change (changed_at, what, board_id, thread_no)
        values (clock_timestamp(), 'thread deleted', old.board_id, old.thread_no);
    return null;
end
$$;

create trigger unpublished after update on thread_state for each row
    when (new.published_at is not distinct from old.published_at
          and (new.version, new.changed_at) is distinct from (old.version, old.changed_at))
    execute function note_unpublished_thread();
create trigger unpublished after update on board_state for each row
    when (new.published_at is not distinct from old.published_at
          and (new.version, new.changed_at) is distinct from (old.version, old.changed_at))
    execute function note_unpublished_board();
create trigger unpublished after update on site_state for each row
    when (new.published_at is not distinct from old.published_at
          and (new.version, new.changed_at) is distinct from (old.version, old.changed_at))
    execute function note_unpublished_site();
-- A thread is deleted together with everything that hangs on it, and by whatever statement.
create trigger deleted after delete on thread_state for each row execute function note_deleted_thread();
