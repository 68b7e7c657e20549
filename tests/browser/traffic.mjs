// Traffic as a board has it that is busy for a while: forty days on both tiers, today by the hour, and a time in which
// nobody counted. What the tests themselves cause is counted beside it.
const DAY = `date_trunc('day', now(), 'UTC')`;

// Bytes a day of each kind, and which tier sends them.
const KINDS = `(values
  ('web', 'picture', 39000000000, 28000), ('web', 'thumbnail', 10400000000, 740000), ('web', 'asset', 690000000, 23500),
  ('app', 'page', 2470000000, 130000), ('app', 'api', 470000000, 146000), ('app', 'events', 310000000, 3200),
  ('app', 'upload', 3300000, 142), ('app', 'refused', 9900000, 1380)) as kind (tier, name, bytes, requests)`;

// Boards have unequal parts of it; 0 stands for no board.
const BOARDS = `(select id, 0.05 + 0.5 / id as part from board where slug <> 'empty' union all select 0, 0.04) as board`;

// Each has what lies between two parts of the whole, so that rounding loses nothing.
const REPLICAS = `(values ('web', 'web-7bn5j', 0, 0.502), ('web', 'web-q2rlf', 0.502, 1),
  ('app', 'app-4kzqv', 0, 0.335), ('app', 'app-9tw2c', 0.335, 0.668), ('app', 'app-xm6hd', 0.668, 1)) as replica (tier, name, low, high)`;

// A week has a rhythm, and a day has one.
const OF_DAYS = `(select 'day' as period, ${DAY} - at * interval '1 day' as start, 1 + 0.2 * sin(at * 0.9) + 0.1 * cos(at * 2.3) as part
  from generate_series(0, 40) as at) as times`;
const OF_HOURS = `(select 'hour' as period, ${DAY} + at * interval '1 hour' as start, 0.04 + 0.02 * sin(at * 0.26 + 3) as part
  from generate_series(0, extract(hour from now() at time zone 'UTC')::int) as at) as times`;

const rows = (times) => `
  insert into traffic as known (period, start, tier, kind, board_id, requests, bytes_in, bytes_out, fetched)
  select period, start, tier, name, board.id, (requests * share)::bigint,
         (case when name = 'upload' then bytes * 40 else requests * 420 end * share)::bigint, (bytes * share)::bigint,
         (case when tier = 'web' then requests * share * 0.027 else 0 end)::bigint
  from ${times}, ${KINDS}, ${BOARDS}, lateral (select times.part * board.part as share) as shares
  on conflict (period, start, tier, kind, board_id) do update
  set requests = known.requests + excluded.requests, bytes_in = known.bytes_in + excluded.bytes_in,
      bytes_out = known.bytes_out + excluded.bytes_out, fetched = known.fetched + excluded.fetched;`;

const between = (sum) => `(round(${sum} * high) - round(${sum} * low))::bigint`;
const REAL = `(select period, start, tier, sum(requests) as requests, sum(bytes_in) as bytes_in, sum(bytes_out) as bytes_out
  from traffic_of_replica group by period, start, tier) as real`;

// What the replicas of this very board have counted is theirs.
const ofReplicas = (times) => `
  insert into traffic_of_replica (period, start, tier, replica, requests, bytes_in, bytes_out)
  select period, start, tier, name, ${between('sums.requests')}, ${between('sums.bytes_in')}, ${between('sums.bytes_out')}
  from (select period, start, tier, sum(traffic.requests) - coalesce(max(real.requests), 0) as requests,
               sum(traffic.bytes_in) - coalesce(max(real.bytes_in), 0) as bytes_in,
               sum(traffic.bytes_out) - coalesce(max(real.bytes_out), 0) as bytes_out
        from traffic join ${times} using (period, start) left join ${REAL} using (period, start, tier)
        group by period, start, tier) as sums
       join ${REPLICAS} using (tier);`;

export const TRAFFIC = `
  begin isolation level repeatable read;
  ${rows(OF_DAYS)} ${rows(OF_HOURS)} ${ofReplicas(OF_DAYS)} ${ofReplicas(OF_HOURS)}
  insert into traffic_gap (tier, replica, since, until)
  values ('web', 'web-q2rlf', ${DAY} - interval '12 days' + interval '3 hours 12 minutes', ${DAY} - interval '12 days' + interval '3 hours 43 minutes');
  commit;`;
