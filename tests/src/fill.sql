-- Fills an empty board with what years of use would leave behind. The setting `fill.archived` says how many posts the
-- archived threads have together, about. What is live on the first board does not depend on it.
--
-- Threads are of very different lengths, and posts of many threads stand side by side in the table, because people
-- write in many threads at once. About a third of the replies quote an earlier post of their thread, a fifth have a
-- picture, and a tenth of the pictures were posted before. All but twenty pictures are covered by a spoiler: the worst
-- that the list of the newest pictures can meet.

-- Not checking a reference that was made to be right halves the time. Triggers do not fire either.
set local session_replication_role = replica;
set local work_mem = '512MB';
set local maintenance_work_mem = '512MB';
set local max_parallel_workers_per_gather = 0;
set local jit = off;

-- A number from 0 up to 1, always the same for the same key and purpose.
create function pg_temp.chance(key bigint, purpose bigint) returns double precision
    language sql immutable as $$ select (hashint8extended(key, purpose) & 2147483647) / 2147483648.0 $$;

create temporary table busy on commit drop as
    select id as board_id, row_number() over (order by position) as place,
           current_setting('fill.archived')::integer as archived, count(*) over () as boards
    from board;

-- When a thread begins and how long it is written in, counted in posts of the whole site.
create temporary table planned on commit drop as
    select 1000000 + number as id, board_id, true as archived,
           least(999, floor(-ln(1 - pg_temp.chance(number, 1)) * 49))::integer as replies,
           number * 50.0 as begins, boards * 7500 * (0.2 + 1.6 * pg_temp.chance(number, 2)) as takes
    from busy, generate_series(1, busy.archived / 50) as number
    where number % boards = place - 1
    union all
    -- A board has 150 live threads. Where nothing is archived, only the first one has seen so many.
    select place * 1000 + number, board_id, false,
           case number when 150 then 1000 else least(600, floor(-ln(1 - pg_temp.chance(number, 3)) * 56))::integer end,
           archived + case when archived > 0 then boards else 1 end * 3000 * pg_temp.chance(number, 4),
           case when archived > 0 then boards else 1 end * 7000
    from busy, generate_series(1, case when archived > 0 or place = 1 then 150 else 2 end) as number;

create temporary table numbered on commit drop as
    select row_number() over (order by at, id, place)::integer as no, id, place
    from (
        select id, place, begins + case place when 0 then 0 else
               takes * power(place::double precision / replies, 1.5) * (0.9 + 0.1 * pg_temp.chance(id * 1000 + place, 5)) end as at
        from planned, generate_series(0, replies) as place
    ) written;
analyze numbered;

-- One post a second, the last one two days ago: older than any time of grace.
create temporary table era on commit drop as
    select now() - interval '2 days' - count(*) * interval '1 second' as begins from numbered;

create temporary table written on commit drop as
    with keyed as (
        -- The same key for the same post of the first board, in a board of any size.
        select numbered.*, planned.board_id, planned.archived, opening.no as thread_no,
               numbered.id * 1001::bigint + numbered.place as key
        from numbered join planned using (id) join numbered as opening on opening.id = numbered.id and opening.place = 0
    )
    select no, place, board_id, archived, thread_no,
           case when place > 0 and pg_temp.chance(key, 6) < 0.36 then
               case when pg_temp.chance(key, 7) < 0.3 then thread_no else coalesce(
                   lag(no, 1 + floor(pg_temp.chance(key, 8) * 12)::integer) over (partition by thread_no order by place),
                   thread_no
               ) end
           end as quotes,
           case when place = 0 or pg_temp.chance(key, 9) < 0.2 then 1 + (pg_temp.chance(key, 10) < 0.05)::integer else 0 end
               as pictures,
           1 + floor(pg_temp.chance(key, 11) * 16)::integer as first,
           1 + floor(pg_temp.chance(key, 12) * 16)::integer as second,
           1 + floor(pg_temp.chance(key, 13) * 16)::integer as third
    from keyed;
analyze written;

insert into thread (no, board_id, archived_at)
    select no, board_id, case when archived then begins + no * interval '1 second' end
    from written, era where place = 0 order by no;

insert into post (no, thread_no, created_at, name, subject, sage, comment, html, password_hash, address_hash)
    select no, thread_no, begins + no * interval '1 second',
           case when no % 20 = 0 then 'Somebody' end, case when place = 0 and no % 2 = 0 then 'A subject of some words' end,
           no % 17 = 0,
           coalesce('>>' || quotes || E'\n', '') || comments[first] || E'\n' || comments[second] || E'\n' || comments[third],
           coalesce('<a class="quotelink" href="/b/res/' || thread_no || '.html#' || quotes || '">&gt;&gt;' || quotes || '</a><br>', '')
               || htmls[first] || '<br>' || htmls[second] || '<br>' || htmls[third],
           sha256(int4send(no)), sha256(int4send(-no))
    from written, era, (
        select array_agg(case when number % 4 = 0 then '>' else '' end || words order by number) as comments,
               array_agg(case when number % 4 = 0 then '<span class="quote">&gt;' || words || '</span>' else words end
                   order by number) as htmls
        from (
            select number, substr(
                'light over ridge before sunrise fog second valley lens worth waiting years phone kind colour paper '
                'marble quarry station night train window rain map north harbour stone bread letter winter glass '
                '새벽 안개 사진 정말 아름답네요 秋の山 写真 ありがとう the of and to in it was that for with on as at by',
                number * 11, 20 + number * 8
            ) as words
            from generate_series(1, 16) as number
        ) line
    ) lines
    order by no;

insert into quote (from_no, to_no) select no, quotes from written where quotes is not null order by no;

create temporary table hung on commit drop as
    select no, position::smallint, number,
           case when pg_temp.chance(number, 14) < 0.1 then greatest(1, floor(number * pg_temp.chance(number, 15))::integer)
                else number end as shows
    from (
        select no, position, row_number() over (order by no, position)::integer as number
        from written, generate_series(0, pictures - 1) as position
    ) picture;

-- UUIDs of version 7: milliseconds, then chance.
create temporary table named on commit drop as
    select number, no, (
        lpad(to_hex((extract(epoch from begins)::bigint + no) * 1000 + position), 12, '0')
            || '7' || substr(md5(number::text), 1, 3) || '8' || substr(md5(number::text), 4, 15)
    )::uuid as id
    from hung, era where number in (select shows from hung);
analyze hung;
analyze named;

insert into blob (id, sha256, md5, kind, bytes, width, height,
                  thumbnail_kind, thumbnail_bytes, thumbnail_width, thumbnail_height, created_at)
    select id, sha256(int4send(number)), substr(sha256(int4send(number)), 1, 16), 'jpg', 1000000 + number % 1000000, 3000, 2000,
           'jpg', 20000, 250, 167, begins + no * interval '1 second'
    from named, era order by number;

insert into attachment (post_no, position, tim, blob_id, file_name, spoiler)
    select hung.no, hung.position, 1700000000000000 + hung.number, named.id, 'IMG_' || hung.number || '.jpg',
           hung.number % ((select count(*) from hung) / 20) <> 0
    from hung join named on named.number = hung.shows order by hung.number;

insert into thread_state (thread_no, board_id, changed_at, replies, pictures)
    select thread_no, min(board_id), min(begins) + max(no) * interval '1 second', count(*) - 1, sum(pictures)
    from written, era group by thread_no order by thread_no;

insert into bump (thread_no, board_id, bumped_at)
    select thread_no, min(board_id), min(begins) + max(no) * interval '1 second'
    from written, era where not archived group by thread_no order by thread_no;

update board_state set version = version + 1, threads = counted.threads, posts = counted.posts, pictures = counted.pictures
    from (
        select board_id, count(*) filter (where place = 0) as threads, count(*) as posts, sum(pictures) as pictures
        from written group by board_id
    ) counted
    where counted.board_id = board_state.board_id;

select setval('post_no', (select max(no) from written));
