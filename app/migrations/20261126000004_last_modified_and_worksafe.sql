-- What clients are told of a thread and of a board.

-- Clients compare `last_modified`, in whole seconds, to find out whether a thread has changed; two changes within a second
-- must not share a number. The database itself makes it rise, because two releases side by side change threads during an
-- update, and because every change that is added later must do it too: whatever raises the version raises this.
--
-- No row is written here, or every reader would wait for that: a thread that has not changed since has 0, and is told by
-- the time of its last change.
alter table thread_state add column last_modified bigint not null default 0;

create function raise_last_modified() returns trigger language plpgsql as $$
begin
    new.last_modified := greatest(
        old.last_modified + 1,
        floor(extract(epoch from old.changed_at)) + 1,
        floor(extract(epoch from clock_timestamp()))
    );
    return new;
end
$$;

create trigger raise_last_modified before update on thread_state
    for each row when (new.version is distinct from old.version) execute function raise_last_modified();

-- Whether a board can be looked at at work. Boards that were made before are, until their configuration says otherwise.
alter table board add column worksafe boolean not null default true;
