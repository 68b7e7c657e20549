//! The role that replicas connect as has rights over rows and nothing else, and what it lacks is said at the start.

use anyhow::{Context as _, Result, ensure};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use triptych_tests::{Form, PgBouncer, Replica, Visitor, replica, scratch::Scratch};

use crate::{
    board::{Board, small_picture, wait_until},
    servers::{Servers, tells},
};

/// What a replica needs to know of the database: the role that serves, and the owner.
fn addresses(servers: &Servers) -> [(&'static str, String); 2] {
    let serving = servers.postgres.serving_url("board");
    [("TRIPTYCH_DATABASE_URL", serving), ("TRIPTYCH_MIGRATE_DATABASE_URL", servers.database_url().to_owned())]
}

fn values<'a>(addresses: &'a [(&'static str, String); 2]) -> [(&'static str, &'a str); 2] {
    [0, 1].map(|number| addresses.get(number).map(|(name, url)| (*name, url.as_str())).unwrap_or_default())
}

/// A replica that is not ready, and says these words.
async fn objects(servers: &Servers, values: &[(&str, &str)], words: &[&str]) -> Result<()> {
    let scratch = Scratch::new("objecting")?;
    let replica = Replica::new("objecting", &replica::binary()?, &servers.environment(values), scratch.path())?;
    replica.start()?;
    wait_until("the replica says what is wrong", || async { Ok(replica.log().contains("not verified")) }).await?;
    tells(&replica.log(), words)?;
    let ready = Visitor::new(&replica.url())?.get("/readyz").await?;
    ensure!(ready.status.as_u16() == 503, "/readyz answers {}", ready.status);
    replica.terminate().await?;
    Ok(())
}

#[tokio::test]
async fn the_role_that_serves_can_change_rows_and_nothing_else() -> Result<()> {
    let board = Board::start().await?;
    let mut serving = PgConnection::connect(&board.postgres.serving_url("triptych")).await?;
    for forbidden in [
        "create table mine ()",
        "create schema mine",
        "alter table post add column mine integer",
        "drop table post",
        "truncate post",
        "create index on post (name)",
        "create trigger mine after insert on post for each row execute function note_deleted_thread()",
        "create or replace function note_deleted_thread() returns trigger language plpgsql as 'begin return null; end'",
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time) values (1, '', true, '', 0)",
        "update _sqlx_migrations set checksum = ''",
        "delete from _sqlx_migrations",
        "update installation set id = gen_random_uuid()",
        "update board set title = 'mine'",
        "alter role triptych password 'mine'",
        "create role mine",
        "copy post to program 'true'",
        "select pg_read_file('PG_VERSION')",
    ] {
        let done = serving.execute(forbidden).await;
        let code = done.err().and_then(|error| Some(error.as_database_error()?.code()?.into_owned()));
        ensure!(code.as_deref() == Some("42501"), "{forbidden:?} is not forbidden: {code:?}");
    }
    // Every table that there is, so that one that is added later is thought of.
    let tables =
        "select string_agg(relname, ' ') from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace
                  and not has_table_privilege('triptych_serve', oid, 'select')";
    let unread: Option<String> = sqlx::query_scalar(tables).fetch_one(&mut board.database().await?).await?;
    assert_eq!(unread, None, "tables that the role that serves may not read; see db::roles");

    // It serves, too.
    let connected =
        "select count(distinct usename) from pg_stat_activity where application_name like 'triptych commit_wait=%'
                     and usename = 'triptych_serve'";
    assert_eq!(board.count(connected).await?, 1, "roles of replicas");
    let owner = "select count(*) from pg_stat_activity where application_name like 'triptych commit_wait=%' and usename = 'triptych'";
    assert_eq!(board.count(owner).await?, 0, "replicas that are connected as the owner");
    // And sees how long others wait, whoever they are: replicas of the release before are connected as the owner.
    let mut other =
        sqlx::postgres::PgConnectOptions::application_name(board.database_url().parse()?, "triptych commit_wait=7");
    other = other.database("triptych");
    let other = PgConnection::connect_with(&other).await?;
    let seen = "select count(*) from pg_stat_activity where application_name = 'triptych commit_wait=7' and datname = current_database()";
    assert_eq!(sqlx::query_scalar::<_, i64>(seen).fetch_one(&mut serving).await?, 1, "others that are seen");
    drop(other);
    for (setting, value) in [
        ("statement_timeout", "5s"),
        ("lock_timeout", "2s"),
        ("idle_in_transaction_session_timeout", "10s"),
        ("enable_seqscan", "off"),
    ] {
        let shown: String =
            sqlx::query_scalar("select current_setting($1)").bind(setting).fetch_one(&mut serving).await?;
        assert_eq!(shown, value, "{setting} of the role");
    }
    // What is left of posts is collected in its name.
    let visitor = Visitor::new(&board.url())?;
    let form = Form::thread("to be deleted").field("pwd", "password").picture(&small_picture(1)?);
    let no = visitor.must_post("b", &form).await?.no;
    let deletion = Form::new().field("no", &no.to_string()).field("pwd", "password");
    visitor.submit("/b/delete", &deletion).await?;
    ensure!(board.run(&["gc", "--no-grace"]).await?.contains("\"blobs\":1"), "gc did not collect the picture");
    Ok(())
}

#[tokio::test]
async fn a_board_with_one_role_goes_on_with_two_and_back() -> Result<()> {
    let servers = Servers::start().await?;
    let single = [("TRIPTYCH_DATABASE_URL", servers.database_url())];
    servers.migrate(&single).await?;
    let before = servers.replica(&single).await?;
    let thread =
        Visitor::new(&before.url())?.must_post("b", &Form::thread("one role").picture(&small_picture(2)?)).await?.no;

    let addresses = addresses(&servers);
    let two = values(&addresses);
    // Nobody but the owner can make the role; until then it is said what to do.
    let told = servers.failure(&["gc"], &two).await?;
    tells(&told, &["triptych_serve"])?;
    futures_util::future::try_join_all((0..3).map(|_| servers.migrate(&two))).await?;
    let scratch = Scratch::new("restricted")?;
    let after = Replica::new("restricted", &replica::binary()?, &servers.environment(&two), scratch.path())?;
    after.start()?;
    after.wait_ready().await?;
    // Side by side, as during an update.
    for (number, replica) in [(1, &after), (2, &before), (3, &after)] {
        Visitor::new(&replica.url())?.must_post("b", &Form::reply(thread, &format!("reply {number}"))).await?;
        for other in [&before, &after] {
            let page = Visitor::new(&other.url())?.get(&format!("/b/res/{thread}.html")).await?;
            ensure!(page.text().contains(&format!("reply {number}")), "{} does not show reply {number}", other.name());
        }
    }
    // Back: as the owner again, with migrations that know nothing of the role.
    servers.migrate(&single).await?;
    Visitor::new(&before.url())?.must_post("b", &Form::reply(thread, "as before")).await?;
    Visitor::new(&after.url())?.must_post("b", &Form::reply(thread, "still there")).await?;
    after.terminate().await?;
    Ok(())
}

#[tokio::test]
async fn what_the_role_lacks_is_said_at_the_start() -> Result<()> {
    let servers = Servers::start().await?;
    let addresses = addresses(&servers);
    let two = values(&addresses);
    servers.migrate(&two).await?;
    servers
        .execute("revoke insert on post from triptych_serve; revoke usage on sequence tim_counter from triptych_serve")
        .await?;
    let lacking = ["triptych_serve", "insert post", "usage tim_counter", "TRIPTYCH_MIGRATE_DATABASE_URL"];
    objects(&servers, &two, &lacking).await?;
    tells(&servers.failure(&["gc"], &two).await?, &lacking)?;
    // Given by the next migration.
    servers.migrate(&two).await?;
    servers.replica(&two).await?;

    // An owner that may not make roles says what has to be made by hand, and tells no password.
    servers
        .execute("create role landlord login password 'landlord'; grant create on schema public to landlord")
        .await?;
    let owner = format!("postgres://landlord:landlord@127.0.0.1:{}/board", servers.postgres.port());
    let nobody = format!("postgres://nobody_yet:hunter2@127.0.0.1:{}/board", servers.postgres.port());
    let url = servers.postgres.create_database("managed").await?;
    let mut managed = PgConnection::connect(&url).await?;
    managed.execute("grant create, usage on schema public to landlord").await?;
    let (owner, nobody) = (owner.replace("/board", "/managed"), nobody.replace("/board", "/managed"));
    let strangers = [("TRIPTYCH_DATABASE_URL", nobody.as_str()), ("TRIPTYCH_MIGRATE_DATABASE_URL", owner.as_str())];
    let told = servers.refusal(&strangers).await?;
    tells(&told, &["nobody_yet", "landlord", "CREATE ROLE"])?;
    ensure!(!told.contains("hunter2") && !servers.postgres.log().contains("hunter2"), "a password is told:\n{told}");
    // Made by hand, it gets its rights and its limits from an owner that may do no more than that.
    managed.execute("create role nobody_yet login password 'hunter2'").await?;
    let other_bucket = [strangers.as_slice(), &[("TRIPTYCH_S3_BUCKET", "managed")]].concat();
    servers.migrate(&other_bucket).await?;
    let limits: i64 = sqlx::query_scalar(
        "select count(*) from pg_db_role_setting where setrole = 'nobody_yet'::regrole and 'statement_timeout=5000' = any(setconfig)",
    )
    .fetch_one(&mut managed)
    .await?;
    assert_eq!(limits, 1, "roles with limits");
    Ok(())
}

#[tokio::test]
async fn a_pooler_that_would_break_a_promise_is_refused() -> Result<()> {
    let servers = Servers::start().await?;
    let mixing = PgBouncer::with(&servers.postgres, "max_prepared_statements = 0").await?;
    let direct = servers.postgres.serving_url("board");
    let owner = servers.database_url().to_owned();
    servers.migrate(&[("TRIPTYCH_DATABASE_URL", &direct), ("TRIPTYCH_MIGRATE_DATABASE_URL", &owner)]).await?;
    // It would execute what somebody else has prepared.
    let pooled = mixing.url(&direct)?;
    objects(&servers, &[("TRIPTYCH_DATABASE_URL", &pooled)], &["max_prepared_statements", "1.21"]).await?;
    tells(&servers.failure(&["gc"], &[("TRIPTYCH_DATABASE_URL", &pooled)]).await?, &["max_prepared_statements"])?;
    // Migrations take turns by a lock of the session.
    let pooled = mixing.url(&owner)?;
    tells(&servers.refusal(&[("TRIPTYCH_DATABASE_URL", &pooled)]).await?, &["TRIPTYCH_MIGRATE_DATABASE_URL"])?;
    // Any pooler will do in session mode.
    let sessions = PgBouncer::with(&servers.postgres, "pool_mode = session\nmax_prepared_statements = 0").await?;
    servers.replica(&[("TRIPTYCH_DATABASE_URL", &sessions.url(&direct)?)]).await?;

    // Without limits of the role it works, and it is said what is missing.
    let sharing = PgBouncer::start(&servers.postgres).await?;
    let reset = "alter role triptych_serve in database board reset all";
    servers.connect().await?.execute(AssertSqlSafe(reset)).await.context(reset)?;
    let unlimited = servers.replica(&[("TRIPTYCH_DATABASE_URL", &sharing.url(&direct)?)]).await?;
    tells(&unlimited.log(), &["has no time limits", "TRIPTYCH_MIGRATE_DATABASE_URL"])
}
