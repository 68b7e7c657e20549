//! What a request costs does not grow with the board.
//!
//! Counted in rows that Postgres looks at, in tables and in indexes, because a time says how busy the machine is. Two
//! boards are compared whose pages show the same; one of them has an archive besides.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use triptych_tests::{
    Form, Replica, Stack, Visitor,
    fill::{Filled, delete_pictures, fill},
    http::JSON,
    replica::{self, Environment},
};

use crate::board::{Board, in_time, small_picture, wait_until};

/// Posts in the archive of the large board, which has five times as many posts as the small one.
const ARCHIVED: u32 = 20_000;

/// A board of one replica, which does not run.
struct Sized {
    replica: Replica,
    environment: Environment,
    url: String,
    database: PgConnection,
    filled: Filled,
}

impl Sized {
    async fn new(board: &Board, name: &str, archived: u32, directory: &Path) -> Result<Self> {
        let url = board.postgres.create_database(name).await?;
        let values = [
            ("TRIPTYCH_DATABASE_URL", url.as_str()),
            ("TRIPTYCH_MIGRATE_DATABASE_URL", ""),
            ("TRIPTYCH_S3_BUCKET", name),
        ];
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
        Ok(Self { replica: Replica::new(name, &binary, &environment, directory)?, environment, url, database, filled })
    }

    /// Has a replica do something and nothing else.
    async fn visit(&self, work: impl AsyncFnOnce(Visitor) -> Result<()>) -> Result<()> {
        self.replica.start()?;
        self.replica.wait_ready().await?;
        work(Visitor::new(&self.replica.url())?).await?;
        self.replica.terminate().await?;
        Ok(())
    }

    async fn read(&self, path: &str) -> Result<()> {
        self.visit(async |visitor| {
            visitor.get(path).await?.expect(StatusCode::OK).with_context(|| path.to_owned())?;
            Ok(())
        })
        .await
    }

    /// Starts a thread, which archives another one, answers in it, and deletes both.
    async fn write(&self) -> Result<()> {
        self.visit(async |visitor| {
            let form = Form::thread("a thread").field("pwd", "password").picture(&small_picture(7)?);
            let thread = visitor.must_post("b", &form).await?.no;
            let quotes = format!(">>{thread} >>{}", self.filled.long_thread);
            visitor.must_post("b", &Form::reply(thread, &quotes)).await?;
            let deletion = Form::new().field("no", &thread.to_string()).field("pwd", "password");
            visitor.accepting(JSON).submit("/b/delete", &deletion).await?.expect(StatusCode::OK)?;
            Ok(())
        })
        .await
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

/// The same work on a small and on a large board.
struct Compared {
    small: Sized,
    large: Sized,
    /// What costs more than it should.
    wrong: Vec<String>,
}

impl Compared {
    /// Does something on both boards, and answers how many rows of quotes were looked at on the large one.
    async fn compare(&mut self, what: &str, work: impl AsyncFn(&Sized) -> Result<()>) -> Result<i64> {
        let (small, _) = rows(&mut self.small, &work).await?;
        let (large, quotes) = rows(&mut self.large, &work).await?;
        if large > small + small / 10 + 20 {
            self.wrong.push(format!("{what}: {small} rows, and {large} where the board is large"));
        }
        Ok(quotes)
    }

    async fn pages(&mut self) -> Result<()> {
        let people = ["/", "/b/", "/b/catalog.html", "long thread"];
        let programs = ["/b/0.json", "/b/catalog.json", "/b/threads.json", "long thread as JSON"];
        for what in people.iter().chain(&programs) {
            let read = async |sized: &Sized| match *what {
                "long thread" => sized.read(&format!("/b/res/{}.html", sized.filled.long_thread)).await,
                "long thread as JSON" => sized.read(&format!("/b/res/{}.json", sized.filled.long_thread)).await,
                path => sized.read(path).await,
            };
            let quotes = self.compare(what, read).await?;
            // Who quotes a post is shown to people, on pages with comments.
            if (quotes > 0) != ["/b/", "long thread"].contains(what) {
                self.wrong.push(format!("{what}: {quotes} rows of quotes"));
            }
        }
        Ok(())
    }

    async fn collections(&mut self) -> Result<()> {
        self.compare("gc that finds nothing", async |sized| sized.collect().await).await?;
        for sized in [&mut self.small, &mut self.large] {
            let mut deleting = PgConnection::connect(&sized.url).await?;
            delete_pictures(&mut deleting, 1200).await?;
            deleting.close().await?;
        }
        self.compare("gc that finds 1,200 pictures", async |sized| sized.collect().await).await?;
        for sized in [&mut self.small, &mut self.large] {
            let unused = "select count(*) from blob where not exists (select from attachment where blob_id = blob.id)";
            // On a connection that ends: what one that goes on has looked at is counted up to a second later, with other work.
            let mut counting = PgConnection::connect(&sized.url).await?;
            let left: i64 = sqlx::query_scalar(unused).fetch_one(&mut counting).await?;
            counting.close().await?;
            ensure!(left == 0, "gc has left {left} blobs without a post");
        }
        Ok(())
    }
}

/// How many rows some work has Postgres look at, in all tables and in that of quotes.
async fn rows(sized: &mut Sized, work: impl AsyncFn(&Sized) -> Result<()>) -> Result<(i64, i64)> {
    let before = sized.looked_at().await?;
    work(sized).await?;
    let after = sized.looked_at().await?;
    Ok((after.0 - before.0, after.1 - before.1))
}

#[tokio::test]
async fn what_a_request_costs_does_not_grow_with_the_board() -> Result<()> {
    let board = Board::with(Stack::builder().replicas(1).env("TRIPTYCH_DRAIN_DELAY", "0s")).await?;
    let scratch = triptych_tests::scratch::Scratch::new("cost")?;
    let small = Sized::new(&board, "small", 0, scratch.path()).await?;
    let large = Sized::new(&board, "large", ARCHIVED, scratch.path()).await?;
    assert!(large.filled.posts > 4 * small.filled.posts, "{:?} and {:?} posts", large.filled, small.filled);

    let mut compared = Compared { small, large, wrong: Vec::new() };
    compared.pages().await?;
    compared.collections().await?;
    compared.compare("posting and deleting", async |sized| sized.write().await).await?;
    let Compared { mut large, mut wrong, .. } = compared;
    wrong.extend(read_by_several_processes(&board, &mut large).await?);
    assert!(wrong.is_empty(), "this costs more than it should:\n{}", wrong.join("\n"));
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
