-- Traffic: what visitors send and receive. Counted in memory where it passes, and added here every few seconds.

-- Who counts: a replica of app, or the meter beside an nginx of web. Each hands in its sums in numbered batches, so that one
-- that comes twice, because nobody knew whether it had come, counts once.
create table traffic_source (
    tier text not null,
    replica text not null,
    -- Of the program: another one for each start, a later one sorts behind an earlier one.
    run uuid not null,
    batch bigint not null,
    counted_until timestamptz not null,
    -- It said that this was its last batch.
    ended boolean not null,
    primary key (tier, replica)
);

-- Hours are kept for two weeks, days for ever. Replicas have sums of their own: with them in this table it would grow by all boards
-- and kinds with every pod.
create table traffic (
    period text not null check (period in ('hour', 'day')),
    start timestamptz not null,
    tier text not null,
    kind text not null,
    -- 0: about no board.
    board_id smallint not null,
    requests bigint not null,
    bytes_in bigint not null,
    bytes_out bigint not null,
    -- Requests of web that it had to ask app for.
    fetched bigint not null,
    primary key (period, start, tier, kind, board_id)
);

create table traffic_of_replica (
    period text not null check (period in ('hour', 'day')),
    start timestamptz not null,
    tier text not null,
    replica text not null,
    requests bigint not null,
    bytes_in bigint not null,
    bytes_out bigint not null,
    primary key (period, start, tier, replica)
);

-- When somebody did not count.
create table traffic_gap (
    tier text not null,
    replica text not null,
    since timestamptz not null,
    until timestamptz not null,
    primary key (tier, replica, since)
);
create index on traffic_gap (until);

-- What is stored, measured when somebody wants to know and it has been a while: to add it up takes longer the more there is.
create table storage_measure (
    only_row boolean primary key default true check (only_row),
    measured_at timestamptz not null,
    seconds double precision not null,
    pictures bigint not null,
    -- In the one shared copy, thumbnails included.
    bytes bigint not null,
    -- What the attachments would take if each had its own copy.
    attached_bytes bigint not null
);
