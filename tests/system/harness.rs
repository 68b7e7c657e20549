//! The local stack's own parts: they come back with their data, and nothing is left behind.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use sqlx::{Connection as _, Executor as _};
use triptych_tests::{Postgres, S3, pictures};

async fn remember(postgres: &Postgres, number: i32) -> Result<()> {
    postgres.create_database("memory").await?;
    let mut connection = postgres.connect("memory").await?;
    connection.execute("create table if not exists remembered (number int)").await?;
    sqlx::query("insert into remembered values ($1)").bind(number).execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

async fn remembered(postgres: &Postgres) -> Result<Vec<i32>> {
    let mut connection = postgres.connect("memory").await?;
    let numbers = sqlx::query_scalar("select number from remembered order by number").fetch_all(&mut connection);
    Ok(numbers.await?)
}

#[tokio::test]
async fn postgres_keeps_its_data_and_its_port_however_it_is_stopped() -> Result<()> {
    let postgres = Postgres::temporary().await?;
    let url = postgres.url("memory");
    remember(&postgres, 1).await?;

    postgres.stop().await?;
    assert!(postgres.connect("memory").await.is_err(), "a stopped Postgres must not answer");
    postgres.start().await?;
    remember(&postgres, 2).await?;

    postgres.stop_immediately().await?;
    postgres.start().await?;
    remember(&postgres, 3).await?;

    // Held over the kill, so that a server child is left to notice it.
    let held = postgres.connect("memory").await?;
    postgres.kill()?;
    assert!(!postgres.is_running());
    postgres.start().await?;
    drop(held);

    assert_eq!(remembered(&postgres).await?, [1, 2, 3]);
    assert_eq!(postgres.url("memory"), url);
    Ok(())
}

#[tokio::test]
async fn two_clusters_at_once_know_nothing_of_each_other() -> Result<()> {
    let (one, other) = tokio::try_join!(Postgres::temporary(), Postgres::temporary())?;
    assert_ne!(one.port(), other.port());
    remember(&one, 1).await?;
    remember(&other, 2).await?;
    assert_eq!(remembered(&one).await?, [1]);
    assert_eq!(remembered(&other).await?, [2]);
    Ok(())
}

#[tokio::test]
async fn a_kept_cluster_is_there_again_the_next_time() -> Result<()> {
    let directory = triptych_tests::scratch::Scratch::new("kept")?;
    let postgres = Postgres::open(directory.path()).await?;
    remember(&postgres, 1).await?;
    drop(postgres);
    let postgres = Postgres::open(directory.path()).await?;
    assert_eq!(remembered(&postgres).await?, [1]);
    Ok(())
}

#[tokio::test]
async fn postgres_is_closed_to_whoever_does_not_know_the_password() -> Result<()> {
    let postgres = Postgres::temporary().await?;
    let guessed = format!("postgres://triptych:guess@127.0.0.1:{}/postgres", postgres.port());
    assert!(sqlx::PgConnection::connect(&guessed).await.is_err());
    Ok(())
}

#[tokio::test]
async fn s3_stores_lists_and_removes_objects() -> Result<()> {
    let s3 = S3::temporary().await?;
    s3.create_bucket().await?;
    s3.put("media/one.jpg", "first").await?;
    s3.put("media/two.jpg", vec![7; 300_000]).await?;
    s3.put("thumb/one.webp", "small").await?;
    assert_eq!(s3.get("media/one.jpg").await?, "first");
    assert_eq!(s3.get("media/two.jpg").await?.len(), 300_000);
    assert_eq!(s3.keys("media/").await?, ["media/one.jpg", "media/two.jpg"]);
    s3.delete("media/one.jpg").await?;
    assert_eq!(s3.keys("").await?, ["media/two.jpg", "thumb/one.webp"]);
    assert!(s3.get("media/one.jpg").await.is_err());
    Ok(())
}

#[tokio::test]
async fn s3_refuses_connections_while_it_is_stopped_and_comes_back_with_its_objects() -> Result<()> {
    let s3 = S3::temporary().await?;
    s3.create_bucket().await?;
    s3.put("kept", "still here").await?;
    let client = s3.client();
    let read = || client.get_object().bucket(s3.bucket()).key("kept").send();
    read().await.context("before")?;

    s3.stop().await?;
    assert!(!s3.is_running());
    let address = s3.endpoint().trim_start_matches("http://");
    let refused = tokio::net::TcpStream::connect(address).await.err().context("it still listens")?;
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(read().await.is_err(), "a kept connection must be cut too");

    s3.start().await?;
    assert!(s3.is_running());
    read().await.context("after")?;
    assert_eq!(s3.get("kept").await?, "still here");
    Ok(())
}

#[tokio::test]
async fn s3_refuses_a_wrong_key() -> Result<()> {
    let s3 = S3::temporary().await?;
    s3.create_bucket().await?;
    let credentials = aws_sdk_s3::config::Credentials::new(s3.access_key_id(), "wrong", None, None, "test");
    let config = s3.client().config().to_builder().credentials_provider(credentials).build();
    let answer = aws_sdk_s3::Client::from_conf(config).list_objects_v2().bucket(s3.bucket()).send().await;
    assert!(answer.is_err());
    Ok(())
}

#[tokio::test]
async fn s3_answers_small_reads_without_waiting_for_an_acknowledgement() -> Result<()> {
    let s3 = S3::temporary().await?;
    s3.create_bucket().await?;
    s3.put("small", vec![1; 20_000]).await?;
    let client = s3.client();
    let mut times = Vec::new();
    for _ in 0..21 {
        let start = Instant::now();
        let object = client.get_object().bucket(s3.bucket()).key("small").send().await?;
        assert_eq!(object.body.collect().await?.into_bytes().len(), 20_000);
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let median = times.get(10).context("no times")?;
    assert!(*median < Duration::from_millis(35), "the median of small reads is {median:?}");
    Ok(())
}

#[tokio::test]
async fn nothing_is_left_when_the_parts_are_dropped() -> Result<()> {
    let postgres = Postgres::temporary().await?;
    let s3 = S3::temporary().await?;
    let pid = postgres.pid().context("Postgres does not run")?;
    let ports = [format!("127.0.0.1:{}", postgres.port()), s3.endpoint().trim_start_matches("http://").to_owned()];
    assert!(alive(pid));
    drop((postgres, s3));
    assert!(!alive(pid));
    for port in &ports {
        assert!(tokio::net::TcpStream::connect(port).await.is_err(), "{port} is still open");
    }
    Ok(())
}

#[test]
fn nothing_is_left_when_the_process_is_killed() -> Result<()> {
    let mut victim = Command::new(std::env::current_exe()?)
        .args(["harness::a_process_to_be_killed", "--exact", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let lines = BufReader::new(victim.stdout.take().context("no output")?).lines();
    let (mut pid, mut s3, mut directory) = (None, None, None);
    for line in lines {
        let line = line?;
        if let Some((_, rest)) = line.split_once("postgres=") {
            pid = rest.parse::<i32>().ok();
        } else if let Some((_, rest)) = line.split_once("s3=http://") {
            s3 = Some(rest.to_owned());
        } else if let Some((_, rest)) = line.split_once("directory=") {
            directory = Some(rest.to_owned());
            break;
        }
    }
    let s3 = s3.context("no S3 server")?;
    std::net::TcpStream::connect(&s3).context("the S3 server is not there before")?;
    victim.kill()?;
    victim.wait()?;
    let (pid, directory) = (pid.context("no process id")?, directory.context("no directory")?);
    let start = Instant::now();
    while alive(pid) || std::net::TcpStream::connect(&s3).is_ok() || Path::new(&directory).exists() {
        ensure!(start.elapsed() < Duration::from_secs(20), "process {pid}, {s3} or {directory} is still there");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[tokio::test]
#[ignore = "started by the test above, and waits to be killed"]
#[expect(clippy::print_stdout, reason = "this is how it speaks with the test above")]
async fn a_process_to_be_killed() -> Result<()> {
    let (postgres, s3) = (Postgres::temporary().await?, S3::temporary().await?);
    let directory = triptych_tests::scratch::Scratch::new("victim")?;
    println!("\npostgres={}", postgres.pid().context("Postgres does not run")?);
    println!("\ns3={}", s3.endpoint());
    println!("\ndirectory={}", directory.path().display());
    tokio::time::sleep(Duration::from_mins(1)).await;
    Ok(())
}

#[test]
fn pictures_are_what_they_say_and_differ_by_seed() -> Result<()> {
    let made = [
        (pictures::jpeg(1, 320, 200)?, image::ImageFormat::Jpeg),
        (pictures::png(1, 320, 200)?, image::ImageFormat::Png),
        (pictures::webp(1, 320, 200)?, image::ImageFormat::WebP),
        (pictures::gif(1, 320, 200, 3)?, image::ImageFormat::Gif),
    ];
    for (picture, format) in made {
        assert_eq!(image::guess_format(&picture.bytes)?, format);
        let decoded = image::load_from_memory_with_format(&picture.bytes, format)?;
        assert_eq!((decoded.width(), decoded.height()), (320, 200));
    }
    assert_eq!(pictures::jpeg(5, 64, 64)?.bytes, pictures::jpeg(5, 64, 64)?.bytes);
    assert_ne!(pictures::jpeg(5, 64, 64)?.bytes, pictures::jpeg(6, 64, 64)?.bytes);
    let header = pictures::png_header(60_000, 50_000);
    let sides = image::ImageReader::new(std::io::Cursor::new(header)).with_guessed_format()?.into_dimensions()?;
    assert_eq!(sides, (60_000, 50_000));
    Ok(())
}

#[test]
fn a_photograph_has_about_two_megabytes() -> Result<()> {
    let size = pictures::photograph(1)?.bytes.len();
    assert!((1_800_000..2_300_000).contains(&size), "{size} bytes");
    Ok(())
}

fn alive(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}
