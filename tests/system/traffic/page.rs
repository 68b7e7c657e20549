//! What is told of the traffic: page, JSON and CSV say what is in the database, to the byte.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Days, NaiveTime, Utc};
use futures_util::future;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use sqlx::Connection as _;
use triptych_tests::{Answer, Stack, Visitor, http::JSON};

use crate::board::{Board, metric, wait_until};
use crate::shared::{at, check_error_page, check_problem, list, number, text};

/// Requests, bytes received, bytes sent.
type Amount = [i64; 3];

/// Exact, also for programs whose numbers are not.
const LARGE: i64 = (1 << 53) + 1;

/// Fills forty days that are over, and answers the midnight after them.
async fn fill(stack: &Stack) -> Result<DateTime<Utc>> {
    let midnight = Utc::now().date_naive().and_time(NaiveTime::MIN).and_utc();
    let mut database = stack.database().await?;
    let boards: Vec<i16> = sqlx::query_scalar("select id from board where slug in ('b', 'art') order by id")
        .fetch_all(&mut database)
        .await?;
    let boards: Vec<i16> = boards.into_iter().chain([0]).collect();
    sqlx::query(
        "insert into traffic (period, start, tier, kind, board_id, requests, bytes_in, bytes_out, fetched)
         select 'day', $1 - day * interval '1 day', tier, kind, board_id, day * 7 + board_id, day * 1000 + 1,
                case when day = 3 then $3 else day * 100003 end, case tier when 'web' then day else 0 end
         from generate_series(1, 40) as day, unnest($2::smallint[]) as board_id,
              (values ('web', 'picture'), ('web', 'thumbnail'), ('app', 'page'), ('app', 'upload')) as kinds (tier, kind)",
    )
    .bind(midnight)
    .bind(boards)
    .bind(LARGE)
    .execute(&mut database)
    .await?;
    sqlx::query(
        "insert into traffic_of_replica (period, start, tier, replica, requests, bytes_in, bytes_out)
         select period, start, tier, tier || '-of-before', sum(requests), sum(bytes_in), sum(bytes_out)
         from traffic where period = 'day' and start < $1 group by period, start, tier",
    )
    .bind(midnight)
    .execute(&mut database)
    .await?;
    sqlx::query(
        "insert into traffic_gap (tier, replica, since, until) values ('web', 'web-of-before', $1, $1 + interval '1 hour')",
    )
    .bind(midnight - Days::new(2))
    .execute(&mut database)
    .await?;
    Ok(midnight)
}

/// Days before midnight in the database: when each began, and what passed of each kind.
async fn rows(
    stack: &Stack,
    board: Option<&str>,
    days: i64,
    midnight: DateTime<Utc>,
) -> Result<Vec<(String, String, Amount)>> {
    let rows: Vec<(DateTime<Utc>, String, i64, i64, i64)> = sqlx::query_as(
        "select start, kind, sum(requests)::bigint, sum(bytes_in)::bigint, sum(bytes_out)::bigint
         from traffic
         where period = 'day' and start < $1 and start > $1 - $2 * interval '1 day'
           and ($3::text is null or board_id = (select id from board where slug = $3))
         group by start, kind",
    )
    .bind(midnight)
    .bind(days)
    .bind(board)
    .fetch_all(&mut stack.database().await?)
    .await?;
    let row = |(start, kind, requests, bytes_in, bytes_out): (DateTime<Utc>, String, i64, i64, i64)| {
        (start.format("%Y-%m-%dT%H:%M:%SZ").to_string(), kind, [requests, bytes_in, bytes_out])
    };
    let mut rows: Vec<_> = rows.into_iter().map(row).collect();
    rows.sort();
    Ok(rows)
}

fn amount(value: &Value) -> Result<Amount> {
    Ok([number(value, "/requests")?, number(value, "/bytes_in")?, number(value, "/bytes_out")?])
}

fn sum<'a>(values: impl IntoIterator<Item = &'a Value>) -> Result<Amount> {
    let mut sum = [0; 3];
    for value in values {
        for (sum, more) in sum.iter_mut().zip(amount(value)?) {
            *sum += more;
        }
    }
    Ok(sum)
}

/// The days of a JSON document before midnight, as [`rows`] tells them.
fn rows_of_json(document: &Value, midnight: &str) -> Result<Vec<(String, String, Amount)>> {
    let mut rows = Vec::new();
    for day in list(document, "/days")? {
        let start = text(day, "/start")?;
        let by_kind = at(day, "/by_kind")?.as_object().context("no kinds")?;
        ensure!(sum(by_kind.values())? == amount(day)?, "{start}: kinds do not add up");
        for (kind, value) in by_kind.iter().filter(|_| start < midnight) {
            rows.push((start.to_owned(), kind.clone(), amount(value)?));
        }
    }
    rows.sort();
    Ok(rows)
}

fn rows_of_csv(csv: &Answer, midnight: &str) -> Result<Vec<(String, String, Amount)>> {
    let text = csv.text();
    let text = text.strip_suffix("\r\n").context("the last line has no end")?;
    let mut lines = text.split("\r\n");
    ensure!(lines.next() == Some("start,kind,requests,bytes_in,bytes_out"), "{text}");
    let mut rows = Vec::new();
    for line in lines {
        let [start, kind, numbers @ ..] = &line.split(',').collect::<Vec<_>>()[..] else { anyhow::bail!("{line}") };
        let numbers: Vec<i64> = numbers.iter().map(|number| number.parse()).collect::<Result<_, _>>()?;
        if *start < midnight {
            rows.push(((*start).to_owned(), (*kind).to_owned(), Amount::try_from(numbers).ok().context("not three")?));
        }
    }
    rows.sort();
    Ok(rows)
}

#[tokio::test]
async fn page_json_and_csv_tell_what_is_in_the_database() -> Result<()> {
    let board = Board::with(Stack::builder().replicas(2).env("TRIPTYCH_TRAFFIC_BUDGET", "20TB")).await?;
    let midnight = fill(&board).await?;
    let told = midnight.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    for visitor in board.sites()? {
        for (slug, days) in [(None, 30), (None, 7), (None, 366), (Some("art"), 30), (Some("photo"), 30)] {
            let path = slug.map(|slug| format!("/{slug}")).unwrap_or_default();
            let json = visitor.get(&format!("{path}/traffic.json?days={days}")).await?;
            json.expect(StatusCode::OK)?;
            ensure!(json.header("Cache-Control") == "no-store", "{:?}", json.headers);
            ensure!(json.header("Content-Type").starts_with("application/json"), "{:?}", json.headers);
            let document: Value = json.json()?;
            let wanted = rows(&board, slug, days, midnight).await?;
            ensure!(wanted.is_empty() == (slug == Some("photo")), "{wanted:?}");
            ensure!(rows_of_json(&document, &told)? == wanted, "{path}, {days} days: {document:#}");
            let csv = visitor.get(&format!("{path}/traffic.csv?days={days}")).await?;
            csv.expect(StatusCode::OK)?;
            ensure!(csv.header("Content-Type") == "text/csv; charset=utf-8; header=present");
            ensure!(rows_of_csv(&csv, &told)? == wanted, "{path}, {days} days: {}", csv.text());

            let totals = amount(at(&document, "/totals")?)?;
            ensure!(sum(list(&document, "/days")?)? == totals, "days do not add up: {document:#}");
            for parts in ["/by_kind", "/by_board", "/by_tier"] {
                let parts = at(&document, parts)?.as_object().context("no object")?;
                ensure!(sum(parts.values())? == totals, "{document:#}");
            }
            let page = if slug.is_some() { format!("{path}/traffic.html") } else { "/traffic".to_owned() };
            visitor.get(&format!("{page}?days={days}")).await?.expect(StatusCode::OK)?;
        }
        check_of_all(&visitor.get("/traffic.json").await?.json()?)?;
    }
    board.stop().await
}

/// What the document about all boards tells besides.
fn check_of_all(document: &Value) -> Result<()> {
    ensure!(sum(list(document, "/by_replica")?)? == amount(at(document, "/totals")?)?, "{document:#}");
    let boards = at(document, "/by_board")?.as_object().context("no object")?;
    ensure!(["", "b", "art"].iter().all(|slug| boards.contains_key(*slug)), "{document:#}");
    let gap = list(document, "/missing")?.iter().find(|gap| gap.get("replica") == Some(&"web-of-before".into()));
    ensure!(gap.is_some_and(|gap| gap.get("until").is_some_and(Value::is_string)), "{document:#}");
    // Thirty days are today and 29 more, on three boards and of two kinds.
    ensure!(number(document, "/cache/fetched")? == (1..=29).sum::<i64>() * 6, "{document:#}");
    ensure!(number(document, "/storage/pictures")? == 0 && number(document, "/storage/saved_bytes")? == 0);
    ensure!(number(document, "/budget/bytes")? == 20_000_000_000_000, "{document:#}");
    text(document, "/since").map(drop)
}

#[tokio::test]
async fn however_many_ask_at_once_the_database_is_asked_seldom() -> Result<()> {
    let board = Board::with(Stack::builder().replicas(1)).await?;
    let (replica, visitor) = (board.replica(0)?, Visitor::new(&board.replica(0)?.url())?);
    // Whoever reads it has to wait.
    let mut holding = board.database().await?;
    let mut hold = holding.begin().await?;
    sqlx::query("lock table traffic in access exclusive mode").execute(&mut *hold).await?;
    let paths: Vec<_> = (1..=5).flat_map(|days| vec![format!("/traffic.json?days={days}"); 4]).collect();
    let asking = future::join_all(paths.iter().map(|path| visitor.get(path)));
    let releasing = async {
        let all = paths.len();
        wait_until("all are being answered", || async {
            Ok(metric(replica, "triptych_http_requests_in_flight").await? >= f64::from(u32::try_from(all)?))
        })
        .await?;
        let reading = "select count(*) from pg_stat_activity
                       where wait_event_type = 'Lock' and query like 'select start, kind%from traffic%'";
        wait_until("the first ones read", || async { Ok(board.count(reading).await? > 0) }).await?;
        // Were there more, they would come within this time; if none come, nothing depends on it.
        for _ in 0..10 {
            let reading = board.count(reading).await?;
            ensure!(reading <= 2, "{reading} reports are read at a time");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(hold.rollback().await?)
    };
    let (answers, released) = tokio::join!(asking, releasing);
    released?;
    for answer in answers {
        // Whoever has waited for too long is asked to come back.
        let status = answer?.status;
        ensure!([StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE].contains(&status), "{status}");
    }
    visitor.get("/traffic.json?days=1").await?.expect(StatusCode::OK)?;
    board.stop().await
}

#[tokio::test]
async fn wrong_addresses_are_explained_in_the_form_asked_for() -> Result<()> {
    let stack = crate::shared::SHARED.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    for days in ["x", "0", "400", "367", "-1", "1.5", ""] {
        check_error_page(&visitor.get(&format!("/traffic?days={days}")).await?, 422)?;
        check_error_page(&visitor.get(&format!("/b/traffic.html?days={days}")).await?, 422)?;
        check_error_page(&visitor.get(&format!("/traffic.csv?days={days}")).await?, 422)?;
        check_problem(&visitor.get(&format!("/traffic.json?days={days}")).await?, 422, "bad_days")?;
        check_problem(&visitor.accepting(JSON).get(&format!("/b/traffic.csv?days={days}")).await?, 422, "bad_days")?;
    }
    check_error_page(&visitor.get("/nowhere/traffic.html").await?, 404)?;
    check_problem(&visitor.get("/nowhere/traffic.json").await?, 404, "unknown_board")?;
    let posted = visitor.send(visitor.request(Method::POST, "/traffic")).await?;
    check_error_page(&posted, 405)?;
    ensure!(visitor.get("/b/").await?.count("footer a[href='/traffic']")? == 1, "no link");
    Ok(())
}

#[tokio::test]
async fn where_it_is_off_there_is_nothing_at_any_of_its_addresses() -> Result<()> {
    let board = Board::with(Stack::builder().replicas(1).env("TRIPTYCH_TRAFFIC_PAGE", "off")).await?;
    let visitor = Visitor::new(&board.url())?;
    for path in
        ["/traffic", "/traffic.csv", "/b/traffic.html", "/b/traffic.csv", "/traffic?days=x", "/nowhere/traffic.html"]
    {
        let (answer, unknown) = (visitor.get(path).await?, visitor.get("/there/is/nothing").await?);
        check_error_page(&answer, 404)?;
        ensure!(answer.texts("main > .sorry")? == unknown.texts("main > .sorry")?, "{path}: {}", answer.text());
    }
    for path in ["/traffic.json", "/b/traffic.json", "/nowhere/traffic.json"] {
        check_problem(&visitor.get(path).await?, 404, "not_found")?;
    }
    ensure!(visitor.get("/").await?.count("a[href='/traffic']")? == 0, "there is a link");
    board.stop().await
}
