-- The first schema: boards, threads, posts, pictures.
--
-- What every post changes (versions, counters, bump times) stands in narrow tables of its own, so that
-- those updates stay heap-only (HOT) and never copy a wide row. Times come from the database's clock alone:
-- replicas need not agree about the time of day.

-- One row. Its version changes when what every page shows changes: the list of boards, or the face that replicas
-- give to pages (their build and those of their settings that can be seen).
create table site_state (
    only_row   boolean primary key default true check (only_row),
    version    bigint not null default 1,
    changed_at timestamptz not null default clock_timestamp(),
    face       text not null default ''
);
insert into site_state default values;

create table board (
    id          smallint generated always as identity primary key,
    slug        text not null constraint board_slug_key unique constraint board_slug_form check (slug ~ '^[a-z0-9]{1,16}$'),
    title       text not null,
    description text not null,
    position    smallint not null,
    locked      boolean not null
);

-- fillfactor leaves room on the page for the next version of the row.
create table board_state (
    board_id   smallint primary key references board,
    version    bigint not null default 1,
    changed_at timestamptz not null default clock_timestamp(),
    threads    bigint not null default 0,
    posts      bigint not null default 0,
    pictures   bigint not null default 0
) with (fillfactor = 50);

-- Post numbers are unique on the whole site and fit the int32 that clients read them into.
create sequence post_no as integer;

create table thread (
    no          integer primary key default nextval('post_no'),
    board_id    smallint not null references board,
    locked      boolean not null default false,
    archived_at timestamptz
);

-- The archive of a board, newest first.
create index thread_archive on thread (board_id, no desc) where archived_at is not null;

create table thread_state (
    thread_no  integer primary key references thread on delete cascade,
    board_id   smallint not null,
    version    bigint not null default 1,
    changed_at timestamptz not null default clock_timestamp(),
    replies    integer not null default 0,
    pictures   integer not null default 0
) with (fillfactor = 50);

-- The live threads of a board in the order of its pages. A thread that leaves this table is archived.
create table bump (
    thread_no integer primary key references thread on delete cascade,
    board_id  smallint not null,
    sticky    boolean not null default false,
    bumped_at timestamptz not null default clock_timestamp()
);
create index bump_order on bump (board_id, sticky desc, bumped_at desc, thread_no desc);

create table post (
    no            integer primary key default nextval('post_no'),
    thread_no     integer not null references thread on delete cascade,
    created_at    timestamptz not null default clock_timestamp(),
    name          text,
    subject       text,
    sage          boolean not null,
    comment       text not null,
    html          text not null,
    password_hash bytea,
    address_hash  bytea not null
);
create index post_thread on post (thread_no, no);

-- A stored picture: two objects in the blob store that carry its id. Rows are inserted only after both were put,
-- and are never changed. sha256 is that of the stored (stripped) bytes, so pictures that differ in nothing but
-- metadata are one picture.
create table blob (
    id               uuid primary key,
    sha256           bytea not null constraint blob_sha256_key unique,
    md5              bytea not null,
    kind             text not null,
    bytes            bigint not null,
    width            integer not null,
    height           integer not null,
    thumbnail_kind   text not null,
    thumbnail_bytes  bigint not null,
    thumbnail_width  integer not null,
    thumbnail_height integer not null,
    created_at       timestamptz not null default clock_timestamp()
);

-- Clients name files by digits alone ("tim"); 10⁶ files a second are told apart.
create sequence tim_counter as integer minvalue 0 maxvalue 999999 cycle;

create table attachment (
    post_no   integer not null references post on delete cascade,
    position  smallint not null,
    tim       bigint not null default floor(extract(epoch from clock_timestamp()))::bigint * 1000000 + nextval('tim_counter'),
    blob_id   uuid references blob,   -- null once the file was deleted
    file_name text not null,
    spoiler   boolean not null,
    primary key (post_no, position),
    constraint attachment_tim_key unique (tim)
);
create index attachment_blob on attachment (blob_id);

-- Which post quotes which, for back-links.
create table quote (
    from_no integer not null references post on delete cascade,
    to_no   integer not null references post on delete cascade,
    primary key (from_no, to_no)
);
create index quote_to on quote (to_no);

-- What was submitted, so that the same form sent twice is one post. Old rows are removed by `triptych gc`.
create table submission (
    digest     bytea primary key,
    post_no    integer references post on delete set null,   -- null once the post was deleted
    created_at timestamptz not null default clock_timestamp()
);
create index submission_post on submission (post_no);
create index submission_age on submission (created_at);
