//! What a request costs does not grow with the board.
//!
//! Counted in rows that Postgres looks at, in tables and in indexes, because a time says how busy the machine is. Two
//! boards are compared whose pages show the same; one of them has an archive besides.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use triptych_tests::{
    Replica, Stack, Visitor,
    fill::{Filled, fill},
    replica::{self, Environment},
};

use crate::board::{Board, in_time, wait_until};

/// Posts in the archive of the large board, which has five times as many posts as the small one.
const ARCHIVED: u32 = 20_000;

/// A board of one replica, which does not run.
struct Sized {
    replica: Replica,
    environment: Environment,
    database: PgConnection,
    filled: Filled,
}

impl Sized {
    async fn new(board: &Board, name: &str, archived: u32, directory: &Path) -> Result<Self> {
        let url = board.postgres.create_database(name).await?;
        let values = [("TRIPTYCH_DATABASE_URL", url.as_str()), ("TRIPTYCH_S3_BUCKET", name)];
        let kept =
            board.environment().iter().filter(|(name, _)| values.iter().all(|(other, _)| name != other)).cloned();
        let given = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let environment: Environment = kept.chain(given).collect();
        let binary = replica::binary()?;
        replica::run(&binary, &["migrate"], &environment).await?;
        let mut filling = PgConnection::connect(&url).await?;
        let filled = fill(&mut filling, archived).await?;
        filling.close().await?;
        let database = PgConnection::connect(&url).await?;
        Ok(Self { replica: Replica::new(name, &binary, &environment, directory)?, environment, database, filled })
    }

    /// Reads a page as the first thing that a replica does. Pages that were read before are not kept anywhere.
    async fn read(&self, path: &str) -> Result<()> {
        self.replica.start()?;
        self.replica.wait_ready().await?;
        let page = Visitor::new(&self.replica.url())?.get(path).await?;
        page.expect(StatusCode::OK).with_context(|| path.to_owned())?;
        self.replica.terminate().await?;
        Ok(())
    }

    async fn collect(&self) -> Result<()> {
        replica::run(&replica::binary()?, &["gc"], &self.environment).await?;
        Ok(())
    }

    /// How many rows Postgres has looked at so far, for connections that have ended: in all tables, and in that of quotes.
    async fn looked_at(&mut self) -> Result<(i64, i64)> {
        // What is left of a connection counts last, and then goes.
        let connected = "select count(*) from pg_stat_activity
                         where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()";
        let database = &mut self.database;
        in_time("connections end", async {
            while sqlx::query_scalar::<_, i64>(connected).fetch_one(&mut *database).await? > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Ok(())
        })
        .await?;
        let counted = "select (sum(tables.rows) + sum(indexes.rows))::bigint,
                              coalesce(sum(tables.rows + indexes.rows) filter (where relname = 'quote'), 0)::bigint
                       from (select relid, relname, seq_tup_read as rows from pg_stat_user_tables) tables
                       join (select relid, sum(idx_tup_read) as rows from pg_stat_user_indexes group by relid) indexes
                           using (relid)";
        Ok(sqlx::query_as(counted).fetch_one(database).await?)
    }
}

/// What some work has Postgres look at.
async fn rows(sized: &mut Sized, work: impl AsyncFnOnce(&Sized) -> Result<()>) -> Result<(i64, i64)> {
    let before = sized.looked_at().await?;
    work(sized).await?;
    let after = sized.looked_at().await?;
    Ok((after.0 - before.0, after.1 - before.1))
}

#[tokio::test]
async fn what_a_request_costs_does_not_grow_with_the_board() -> Result<()> {
    let board = Board::with(Stack::builder().replicas(1).env("TRIPTYCH_DRAIN_DELAY", "0s")).await?;
    let scratch = triptych_tests::scratch::Scratch::new("cost")?;
    let mut small = Sized::new(&board, "small", 0, scratch.path()).await?;
    let mut large = Sized::new(&board, "large", ARCHIVED, scratch.path()).await?;
    assert!(large.filled.posts > 4 * small.filled.posts, "{:?} and {:?} posts", large.filled, small.filled);

    let mut wrong = Vec::new();
    let grown = |what: &str, small: i64, large: i64| {
        (large > small + small / 10 + 20).then(|| format!("{what}: {small} rows, and {large} where the board is large"))
    };
    let people = ["/", "/b/", "/b/catalog.html", "long thread"];
    let programs = ["/b/0.json", "/b/catalog.json", "/b/threads.json", "long thread as JSON"];
    for what in people.iter().chain(&programs) {
        let path = |sized: &Sized| match *what {
            "long thread" => format!("/b/res/{}.html", sized.filled.long_thread),
            "long thread as JSON" => format!("/b/res/{}.json", sized.filled.long_thread),
            path => path.to_owned(),
        };
        let read = async |sized: &Sized| sized.read(&path(sized)).await;
        let (of_small, of_large) = (rows(&mut small, read).await?, rows(&mut large, read).await?);
        wrong.extend(grown(what, of_small.0, of_large.0));
        // Who quotes a post is shown to people, on pages with comments.
        if (of_large.1 > 0) != ["/b/", "long thread"].contains(what) {
            wrong.push(format!("{what}: {} rows of quotes", of_large.1));
        }
    }

    let collect = async |sized: &Sized| sized.collect().await;
    let (of_small, of_large) = (rows(&mut small, collect).await?, rows(&mut large, collect).await?);
    wrong.extend(grown("gc that finds nothing", of_small.0, of_large.0));
    for sized in [&small, &large] {
        let mut deleting = board.postgres.connect(sized.replica.name()).await?;
        deleting
            .execute(
                "delete from attachment where post_no in (
                    (select post_no from attachment order by post_no limit 400) union all
                    (select post_no from attachment order by post_no desc limit 800)
                )",
            )
            .await?;
        deleting.close().await?;
    }
    let (of_small, of_large) = (rows(&mut small, collect).await?, rows(&mut large, collect).await?);
    wrong.extend(grown("gc that finds 1,200", of_small.0, of_large.0));
    for sized in [&mut small, &mut large] {
        let unused = "select count(*) from blob where not exists (select from attachment where blob_id = blob.id)";
        let left: i64 = sqlx::query_scalar(unused).fetch_one(&mut sized.database).await?;
        assert_eq!(left, 0, "blobs without a post that gc has left");
    }
    wrong.extend(read_by_several_processes(&board, &mut large).await?);
    ensure!(wrong.is_empty(), "this costs more than it should:\n{}", wrong.join("\n"));
    Ok(())
}

/// Pages for which Postgres starts processes that share the work, which takes longer than the work. It is told to start
/// some wherever it may.
async fn read_by_several_processes(board: &Board, large: &mut Sized) -> Result<Vec<String>> {
    // The setting has got another name in Postgres 16.
    let name = "select name from pg_settings where name in ('force_parallel_mode', 'debug_parallel_query')";
    let name: String = sqlx::query_scalar(name).fetch_one(&mut large.database).await?;
    large.database.execute(AssertSqlSafe(format!("alter database large set {name} = on"))).await?;
    large.database.execute("alter system set log_min_messages = debug1").await?;
    large.database.execute("select pg_reload_conf()").await?;
    let started = || board.postgres.log().matches("starting background worker process \"parallel worker").count();
    wait_until("Postgres starts a process where it can, and says so", || async {
        let mut connection = board.postgres.connect("large").await?;
        connection.execute("select count(*) from post").await?;
        Ok(started() > 0)
    })
    .await?;
    let mut wrong = Vec::new();
    for path in ["/", "/b/", "/b/catalog.json", &format!("/b/res/{}.html", large.filled.long_thread)] {
        let before = started();
        large.read(path).await?;
        if started() > before {
            wrong.push(format!("{path}: {} more processes", started() - before));
        }
    }
    Ok(wrong)
}
