//! Schema, boards and configuration: any number of replicas at once, old and new ones side by side, and every
//! mistake told at once.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::{Connection as _, Executor as _, PgConnection};
use triptych_tests::{
    Form, Replica, Stack, Visitor,
    replica::{self, Environment},
    scratch::Scratch,
};

use crate::board::{Board, find_post, small_picture, text, thread_path, wait_until};

/// The same environment with some values replaced or added.
fn with(environment: &Environment, values: &[(&str, &str)]) -> Environment {
    let kept = environment.iter().filter(|(name, _)| values.iter().all(|(other, _)| name != other)).cloned();
    kept.chain(values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).collect()
}

async fn numbers(database: &str, sql: &'static str) -> Result<Vec<i64>> {
    let mut connection = PgConnection::connect(database).await?;
    Ok(sqlx::query_scalar(sql).fetch_all(&mut connection).await?)
}

/// The migrations in the sources: versions and files.
fn written() -> Result<Vec<(i64, PathBuf)>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../app/migrations");
    let mut migrations = Vec::new();
    for entry in std::fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let version = name.split('_').next().and_then(|version| version.parse().ok());
        migrations.push((version.with_context(|| format!("{name} has no version"))?, entry.path()));
    }
    migrations.sort_unstable();
    Ok(migrations)
}

#[tokio::test]
async fn ten_migrations_at_once_apply_once_and_a_replica_waits_for_them() -> Result<()> {
    let board = Board::with(Stack::builder().replicas(1).env("TRIPTYCH_DRAIN_DELAY", "0s")).await?;
    let database = board.postgres.create_database("empty").await?;
    let values = [
        ("TRIPTYCH_DATABASE_URL", database.as_str()),
        ("TRIPTYCH_MIGRATE_DATABASE_URL", ""),
        ("TRIPTYCH_S3_BUCKET", "another"),
    ];
    let environment = with(board.environment(), &values);
    let binary = replica::binary()?;
    let scratch = Scratch::new("migrations")?;

    // On a database without a schema a replica lives, is not ready, and says why.
    let early = Replica::new("early", &binary, &environment, scratch.path())?;
    early.start()?;
    let visitor = Visitor::new(&early.url())?;
    wait_until("the replica listens", || async { Ok(visitor.get("/livez").await.is_ok()) }).await?;
    let mut asked = 0;
    for _ in 0..20 {
        visitor.get("/livez").await?.expect(StatusCode::OK)?;
        let ready = visitor.get("/readyz").await?;
        ready.expect(StatusCode::SERVICE_UNAVAILABLE)?;
        assert!(ready.text().contains("schema"), "/readyz says {:?}", ready.text());
        asked += 1;
    }
    assert_eq!(asked, 20, "looks at a replica that is not ready");
    wait_until("the log says what to do", || async { Ok(early.log().contains("triptych migrate")) }).await?;
    let pid = early.pid();

    let runs = join_all((0..10).map(|_| replica::run(&binary, &["migrate"], &environment))).await;
    let failed: Vec<String> = runs.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    assert!(failed.is_empty(), "{} of 10 migrations failed: {failed:#?}", failed.len());
    let applied = numbers(&database, "select version from _sqlx_migrations where success order by version").await?;
    let versions: Vec<i64> = written()?.into_iter().map(|(version, _)| version).collect();
    assert_eq!(applied, versions, "migrations that were applied");
    assert_eq!(numbers(&database, "select count(*) from board").await?, [3], "boards");
    assert_eq!(numbers(&database, "select count(*) from board_state").await?, [3], "boards with counters");

    early.wait_ready().await?;
    assert_eq!(early.pid(), pid, "the replica was not restarted");
    let form = Form::thread("the first").picture(&small_picture(1)?);
    let posted = visitor.must_post("b", &form).await?;
    let thread = visitor.get(&thread_path(&posted, "json")).await?;
    assert!(find_post(&crate::board::json(&thread)?, posted.no).is_some(), "the first post is there");

    // Again, when there is nothing to do and somebody posts.
    replica::run(&binary, &["migrate"], &environment).await?;
    assert_eq!(numbers(&database, "select count(*) from _sqlx_migrations").await?, [i64::try_from(applied.len())?]);
    assert_eq!(numbers(&database, "select count(*) from post").await?, [1], "posts");

    // The probe for containers, with and without somebody who answers.
    let listen = early.address();
    let probe = with(&environment, &[("TRIPTYCH_LISTEN", listen.as_str())]);
    replica::run(&binary, &["healthcheck"], &probe).await.context("while it runs")?;
    early.terminate().await?;
    let gone = replica::run(&binary, &["healthcheck"], &probe).await;
    let gone = format!("{:#}", gone.err().context("the probe is content although nobody listens")?);
    assert!(gone.contains("exit status: 1") && gone.contains(&listen), "the probe says {gone}");
    what_was_unused_before_it_was_noted_is_collected(&board, scratch.path()).await
}

/// Which pictures were let go of is noted since a certain migration; what was let go of before is noted by another.
async fn what_was_unused_before_it_was_noted_is_collected(board: &Board, scratch: &Path) -> Result<()> {
    const NOTED_SINCE: i64 = 20_261_126_000_005;
    let directory = scratch.join("older");
    std::fs::create_dir(&directory)?;
    for (version, file) in written()? {
        if version < NOTED_SINCE {
            std::fs::copy(&file, directory.join(file.file_name().context("a file has a name")?))?;
        }
    }
    let database = board.postgres.create_database("older").await?;
    let mut connection = PgConnection::connect(&database).await?;
    sqlx::migrate::Migrator::new(directory.as_path()).await?.run(&mut connection).await?;
    // A thread with one of two pictures.
    connection
        .execute(
            "insert into blob (id, sha256, md5, kind, bytes, width, height,
                               thumbnail_kind, thumbnail_bytes, thumbnail_width, thumbnail_height, created_at)
             select gen_random_uuid(), sha256(int4send(number)), '', 'png', 1, 1, 1, 'png', 1, 1, 1, now() - interval '2 days'
             from generate_series(1, 2) number;
             insert into board (slug, title, description, position, locked) values ('b', '', '', 0, false);
             insert into board_state (board_id) select id from board;
             insert into thread (no, board_id) select 1, id from board;
             insert into post (no, thread_no, sage, comment, html, address_hash) values (1, 1, false, '', '', '');
             insert into attachment (post_no, position, blob_id, file_name, spoiler)
             select 1, 0, id, '', false from blob where sha256 = sha256(int4send(2));",
        )
        .await?;
    let values = [
        ("TRIPTYCH_DATABASE_URL", database.as_str()),
        ("TRIPTYCH_MIGRATE_DATABASE_URL", ""),
        ("TRIPTYCH_S3_BUCKET", "older"),
    ];
    let (binary, environment) = (replica::binary()?, with(board.environment(), &values));
    replica::run(&binary, &["migrate"], &environment).await?;
    replica::run(&binary, &["gc"], &environment).await?;
    let left = "select number::bigint from generate_series(1, 2) number join blob on sha256 = sha256(int4send(number))";
    assert_eq!(numbers(&database, left).await?, [2], "blobs that are left");
    Ok(())
}

#[tokio::test]
async fn an_older_binary_serves_and_posts_on_a_newer_schema() -> Result<()> {
    let board = Board::with(Stack::builder().replicas(2).env("TRIPTYCH_DRAIN_DELAY", "0s")).await?;
    let thread = board.thread("b").await?;
    let mut database = board.database().await?;
    database
        .execute(
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
             values (29991231000001, 'from the future', true, '\\x00', 1);
             alter table post add column mood text;
             alter table thread add column weather text not null default 'fair';
             alter table blob add column smell text;
             alter table board add column anthem text;
             create table tomorrow (post_no integer references post on delete cascade);
             create index post_mood on post (mood);",
        )
        .await?;
    database.close().await?;
    let mut posted = Vec::new();
    for (turn, replica) in (0_u64..).zip(board.replicas()) {
        // Those that run go on, and those that start do.
        for restarted in [false, true] {
            if restarted {
                replica.terminate().await?;
                replica.start()?;
                replica.wait_ready().await?;
            }
            let visitor = Visitor::new(&replica.url())?;
            let picture = small_picture(turn * 10 + u64::from(restarted) + 30)?;
            let form = Form::thread("on a newer schema").picture(&picture);
            posted.push(visitor.must_post("art", &form).await?);
            posted.push(visitor.must_post("b", &Form::reply(thread, "on a newer schema")).await?);
        }
    }
    board.run(&["migrate"]).await.context("an older migration on a newer schema")?;
    board.run(&["gc"]).await.context("an older collection on a newer schema")?;
    for site in board.sites()? {
        for posted in &posted {
            let document = crate::board::json(&site.get(&thread_path(posted, "json")).await?)?;
            assert!(find_post(&document, posted.no).is_some(), "No.{} is not on {}", posted.no, site.url(""));
        }
    }
    assert_eq!(posted.len(), 8, "posts");
    assert_eq!(board.count("select count(*) from _sqlx_migrations where version > 29990000000000").await?, 1);
    board.nothing_is_half_done().await
}

#[tokio::test]
async fn boards_are_made_and_changed_while_replicas_run() -> Result<()> {
    let boards = json!([
        {"slug": "cats", "title": "Cats", "description": "Only cats", "locked": false},
        {"slug": "dogs", "title": "Dogs", "description": "Only dogs", "locked": false},
    ]);
    let board =
        Board::with(Stack::builder().env("TRIPTYCH_DRAIN_DELAY", "0s").env("TRIPTYCH_BOARDS", &boards.to_string()))
            .await?;
    let sites = board.sites()?;
    let pids: Vec<_> = board.replicas().iter().map(|replica| replica.pid()).collect();
    let slugs = |document: &serde_json::Value| -> Result<Vec<(String, String)>> {
        let list = document.get("boards").and_then(serde_json::Value::as_array).context("no list of boards")?;
        list.iter().map(|item| Ok((text(item, "board")?, text(item, "title")?))).collect()
    };
    let named = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(slug, title)| ((*slug).to_owned(), (*title).to_owned())).collect()
    };
    let nginx = sites.first().context("no sites")?;
    let posted = nginx.must_post("cats", &Form::thread("a cat").picture(&small_picture(90)?)).await?;
    let thread = thread_path(&posted, "html");
    let mut tags = Vec::new();
    for site in &sites {
        let document = crate::board::json(&site.get("/boards.json").await?)?;
        assert_eq!(slugs(&document)?, named(&[("cats", "Cats"), ("dogs", "Dogs")]));
        site.get("/birds/").await?.expect(StatusCode::NOT_FOUND)?;
        let page = site.get(&thread).await?;
        tags.push(page.expect(StatusCode::OK)?.header("ETag").to_owned());
    }

    // Cats get another title, birds are new, dogs are not named any more.
    let changed = json!([
        {"slug": "cats", "title": "All felines", "description": "Large ones too", "locked": false},
        {"slug": "birds", "title": "Birds", "description": "With wings", "locked": false},
    ]);
    let environment = with(board.environment(), &[("TRIPTYCH_BOARDS", changed.to_string().as_str())]);
    replica::run(&replica::binary()?, &["migrate"], &environment).await?;
    let mut looked = 0;
    for (site, tag) in sites.iter().zip(&tags) {
        let request = site.request(Method::GET, &thread).header("If-None-Match", tag);
        let page = site.send(request).await?;
        page.expect(StatusCode::OK).context("a thread whose board has another title")?;
        for path in ["/", "/cats/", "/cats/catalog.html", thread.as_str()] {
            let page = site.get(path).await?;
            let shown = page.expect(StatusCode::OK)?.text();
            ensure!(shown.contains("All felines"), "{} does not show the new title", site.url(path));
            looked += 1;
        }
        let shown = slugs(&crate::board::json(&site.get("/boards.json").await?)?)?;
        for (slug, title) in named(&[("cats", "All felines"), ("birds", "Birds"), ("dogs", "Dogs")]) {
            assert!(shown.contains(&(slug.clone(), title)), "/{slug}/ is missing or has another title: {shown:?}");
        }
        site.get("/dogs/").await?.expect(StatusCode::OK).context("a board that is not named any more")?;
        let bird = site.must_post("birds", &Form::thread("a bird").picture(&small_picture(91)?)).await?;
        site.get(&thread_path(&bird, "html")).await?.expect(StatusCode::OK)?;
    }
    assert_eq!(looked, 4 * sites.len(), "pages with the new title");
    let now: Vec<_> = board.replicas().iter().map(|replica| replica.pid()).collect();
    assert_eq!(now, pids, "no replica was restarted");
    board.nothing_is_half_done().await
}

/// The tag and the date of every page, once every site believes the date: each replica does so in its own time.
async fn settled(sites: &[Visitor], paths: &[String]) -> Result<Vec<(String, String)>> {
    let mut known = Vec::new();
    for path in paths {
        for site in sites {
            wait_until("a date tells that nothing is new", || async {
                let date = site.get(path).await?.header("Last-Modified").to_owned();
                let again = site.send(site.request(Method::GET, path).header("If-Modified-Since", date)).await?;
                Ok(again.status == StatusCode::NOT_MODIFIED)
            })
            .await?;
        }
        let page = sites.first().context("no sites")?.get(path).await?;
        known.push((page.header("ETag").to_owned(), page.header("Last-Modified").to_owned()));
    }
    Ok(known)
}

/// Checks that nobody who knows the pages as they were is told that they still are so.
async fn shows_what_is_new(site: &Visitor, paths: &[String], known: &[(String, String)], title: &str) -> Result<usize> {
    let mut asked = 0;
    for (path, (tag, date)) in paths.iter().zip(known) {
        for (name, value) in [("If-None-Match", tag), ("If-Modified-Since", date)] {
            let page = site.send(site.request(Method::GET, path).header(name, value)).await?;
            page.expect(StatusCode::OK).with_context(|| format!("{} with {name}: {value}", site.url(path)))?;
            ensure!(page.text().contains(title), "{} does not show {title:?}", site.url(path));
            ensure!(page.header("ETag") != tag, "{} has the old tag", site.url(path));
            asked += 1;
        }
    }
    Ok(asked)
}

#[tokio::test]
async fn another_title_of_a_board_or_of_the_site_is_never_hidden_by_a_304() -> Result<()> {
    let titled = |title: &str| json!([{"slug": "cats", "title": title, "description": "Miaow"}]).to_string();
    let builder = Stack::builder().env("TRIPTYCH_DRAIN_DELAY", "0s").env("TRIPTYCH_BOARDS", &titled("Cats"));
    let board = Board::with(builder.env("TRIPTYCH_TITLE", "The old house")).await?;
    let sites = board.sites()?;
    let nginx = sites.first().context("no sites")?;
    let posted = nginx.must_post("cats", &Form::thread("a cat").picture(&small_picture(92)?)).await?;
    let paths = ["/".to_owned(), "/cats/".into(), "/cats/catalog.html".into(), thread_path(&posted, "html")];

    // The same boards once more change nothing, another title does.
    let known = settled(&sites, &paths).await?;
    board.run(&["migrate"]).await?;
    for (path, (_, date)) in paths.iter().zip(&known) {
        let same = nginx.send(nginx.request(Method::GET, path).header("If-Modified-Since", date)).await?;
        same.expect(StatusCode::NOT_MODIFIED).with_context(|| format!("{path} since {date}"))?;
    }
    let environment = with(board.environment(), &[("TRIPTYCH_BOARDS", titled("All felines").as_str())]);
    replica::run(&replica::binary()?, &["migrate"], &environment).await?;
    for site in &sites {
        assert_eq!(shows_what_is_new(site, &paths, &known, "All felines").await?, 2 * paths.len(), "questions");
    }

    // One replica comes back with another title of the site.
    let known = settled(&sites, &paths).await?;
    let (old, other) = (board.replica(0)?, sites.last().context("no sites")?);
    old.terminate().await?;
    let environment = with(&environment, &[("TRIPTYCH_TITLE", "The new house")]);
    let scratch = Scratch::new("another-title")?;
    let renamed = Replica::new(old.name(), &replica::binary()?, &environment, scratch.path())?;
    renamed.start()?;
    renamed.wait_ready().await?;
    let site = Visitor::new(&renamed.url())?;
    let asked = shows_what_is_new(&site, &paths, &known, "The new house").await?;
    assert_eq!(asked, 2 * paths.len(), "questions");
    // Nor is a tag good there that one with the old title gives meanwhile.
    for path in &paths {
        let page = other.get(path).await?;
        let tag = page.expect(StatusCode::OK)?.header("ETag").to_owned();
        ensure!(page.text().contains("The old house"), "{} does not show its title", other.url(path));
        let page = site.send(site.request(Method::GET, path).header("If-None-Match", &tag)).await?;
        page.expect(StatusCode::OK).with_context(|| format!("{path} with the tag {tag} of another title"))?;
        ensure!(page.header("ETag") != tag, "{path} has one tag with two titles");
    }
    renamed.terminate().await?;
    Ok(())
}

#[tokio::test]
async fn a_board_that_is_locked_while_a_reply_is_on_its_way_refuses_it() -> Result<()> {
    let board = Board::with(Stack::builder().replicas(1).env("TRIPTYCH_DRAIN_DELAY", "0s")).await?;
    let thread = board.thread("b").await?;
    let objects = board.s3.keys("").await?;
    let visitor = Visitor::new(&board.replica(0)?.url())?.accepting(triptych_tests::http::JSON);
    let form = Form::reply(thread, "too late").picture(&small_picture(93)?);
    // The row that every reply needs is held, so the reply stops after it was admitted.
    let mut holding = board.database().await?;
    let mut hold = holding.begin().await?;
    sqlx::query("select 1 from thread_state where thread_no = $1 for update")
        .bind(i32::try_from(thread)?)
        .execute(&mut *hold)
        .await?;
    let locking = async {
        wait_until("the reply waits for the row", || async {
            let waiting = "select count(*) from pg_stat_activity
                           where application_name like 'triptych commit_wait=%' and wait_event_type = 'Lock'";
            Ok(board.count(waiting).await? > 0)
        })
        .await?;
        board.database().await?.execute("update board set locked = true where slug = 'b'").await?;
        anyhow::Ok(hold.rollback().await?)
    };
    let (answer, locked) = tokio::join!(visitor.post("b", &form), locking);
    locked?;
    let answer = answer?;
    let problem: serde_json::Value = answer.expect(StatusCode::FORBIDDEN)?.json()?;
    assert_eq!(text(&problem, "code")?, "board_locked", "{problem}");
    assert_eq!(board.count("select count(*) from post").await?, 1, "posts: the opening one");
    assert_eq!(board.s3.keys("").await?, objects, "objects: the picture was taken back");
    board.nothing_is_half_done().await
}

#[tokio::test]
async fn every_mistake_in_the_configuration_is_told_at_once_and_no_secret_is() -> Result<()> {
    let binary = replica::binary()?;
    let secrets = ["hunter2-of-the-database", "hunter2-of-the-store", "hunter2-too-short", "hunter2-name"];
    let [password, store, short, name] = secrets;
    let database = format!("mysql://board:{password}@database/board");
    let wrong = [
        ("TRIPTYCH_DATABASE_URL", database.as_str()),
        ("TRIPTYCH_DATABASE_CONNECTIONS", "0"),
        ("TRIPTYCH_S3_ENDPOINT", "not an address"),
        ("TRIPTYCH_SECRET", short),
        ("TRIPTYCH_LISTEN", "everywhere"),
        ("TRIPTYCH_METRICS_LISTEN", "127.0.0.1:99999"),
        ("TRIPTYCH_PUBLIC_URL", "ftp://board.example"),
        ("TRIPTYCH_TRUSTED_PROXIES", "10.0.0.0/8,a friend"),
        ("TRIPTYCH_MAX_FILES", "0"),
        ("TRIPTYCH_MAX_FILE_SIZE", "huge"),
        ("TRIPTYCH_MAX_COMMENT", "-1"),
        ("TRIPTYCH_MAX_PIXELS", "many"),
        ("TRIPTYCH_PAGE_CACHE", "0"),
        ("TRIPTYCH_PAGES", "0"),
        ("TRIPTYCH_REPLY_LIMIT", "5001"),
        ("TRIPTYCH_DRAIN_DELAY", "soon"),
        ("TRIPTYCH_LOG_FORMAT", "rhymes"),
    ];
    let missing = ["TRIPTYCH_S3_ACCESS_KEY_ID"];
    let right = [("TRIPTYCH_S3_SECRET_ACCESS_KEY", store), ("TRIPTYCH_TITLE", name)];
    let environment = with(&Environment::new(), &[&wrong[..], &right[..]].concat());
    let told = replica::run(&binary, &["serve"], &environment).await;
    let told = format!("{:#}", told.err().context("a replica started with everything wrong")?);
    assert!(told.contains("exit status: 1"), "{told}");
    let names = wrong.iter().map(|(name, _)| *name).chain(missing);
    let untold: Vec<&str> = names.filter(|name| !told.contains(&format!("{name} "))).collect();
    assert!(untold.is_empty(), "{untold:?} are not in the one message:\n{told}");
    for secret in [password, store, short] {
        assert!(!told.contains(secret), "the message tells a secret:\n{told}");
    }
    for (name, _) in right {
        assert!(!told.contains(&format!("{name} ")), "{name} is right:\n{told}");
    }

    // The other commands say only what concerns them.
    let boards = [
        ("TRIPTYCH_DATABASE_URL", "postgres://board:hunter2-of-the-database@127.0.0.1:1/board"),
        ("TRIPTYCH_S3_ENDPOINT", "http://127.0.0.1:1"),
        ("TRIPTYCH_S3_ACCESS_KEY_ID", "name"),
        ("TRIPTYCH_S3_SECRET_ACCESS_KEY", store),
        ("TRIPTYCH_MIGRATE_WAIT", "0s"),
    ];
    for list in
        ["not JSON", r#"[{"slug":"UPPER","title":"x"}]"#, r#"[{"slug":"b","title":"x"},{"slug":"b","title":"y"}]"#]
    {
        let environment = with(&Environment::new(), &[&boards[..], &[("TRIPTYCH_BOARDS", list)]].concat());
        let told = replica::run(&binary, &["migrate"], &environment).await;
        let told = format!("{:#}", told.err().with_context(|| format!("{list} was accepted"))?);
        assert!(told.contains("TRIPTYCH_BOARDS "), "{list} is not what the message is about:\n{told}");
        assert!(!told.contains(password) && !told.contains(store), "the message tells a secret:\n{told}");
    }
    // A collection without grace would take what is on its way to be posted.
    let environment = with(&Environment::new(), &[&boards[..], &[("TRIPTYCH_GC_GRACE", "0s")]].concat());
    let told = replica::run(&binary, &["gc"], &environment).await;
    let told = format!("{:#}", told.err().context("a collection without grace was not refused")?);
    assert!(told.contains("exit status: 1") && told.contains("TRIPTYCH_GC_GRACE "), "{told}");
    assert!(!told.contains(password) && !told.contains(store), "the message tells a secret:\n{told}");
    // With the right configuration and nobody there, it is the outage that is told.
    let told = replica::run(&binary, &["migrate"], &with(&Environment::new(), &boards)).await;
    let told = format!("{:#}", told.err().context("a migration without a database")?);
    assert!(told.contains("Postgres"), "{told}");
    assert!(!told.contains(password) && !told.contains(store), "the message tells a secret:\n{told}");
    Ok(())
}
