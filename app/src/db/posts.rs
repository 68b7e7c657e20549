//! `post` and `quote`.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use super::{Error, PgConnection, attachments};
use crate::domain::{BoardId, Post, PostNo, Thread, ThreadPosts};

/// A post that is about to be written.
#[derive(Debug)]
pub struct NewPost<'a> {
    /// The thread it enters. For an opening post this is its own number.
    pub thread: PostNo,
    /// Whether it opens the thread.
    pub opening: bool,
    /// As typed; `None` for anonymous.
    pub name: Option<&'a str>,
    /// As typed.
    pub subject: Option<&'a str>,
    /// Does not bump.
    pub sage: bool,
    /// As typed.
    pub comment: &'a str,
    /// Made of the comment by `markup`.
    pub html: &'a str,
    /// Keyed hash of the password that deletes it.
    pub password_hash: Option<&'a [u8]>,
    /// What that was salted with.
    pub password_salt: Option<&'a [u8]>,
    /// Keyed hash of the poster's address.
    pub address_hash: &'a [u8],
}

/// Writes a post and answers its number.
pub async fn insert(connection: &mut PgConnection, post: &NewPost<'_>) -> Result<PostNo, Error> {
    let no = sqlx::query_scalar!(
        "insert into post (no, thread_no, name, subject, sage, comment, html, password_hash, password_salt, address_hash)
         values (case when $2 then $1 else nextval('post_no')::integer end, $1, $3, $4, $5, $6, $7, $8, $9, $10)
         returning no",
        post.thread.0,
        post.opening,
        post.name,
        post.subject,
        post.sage,
        post.comment,
        post.html,
        post.password_hash,
        post.password_salt,
        post.address_hash,
    )
    .fetch_one(connection)
    .await?;
    Ok(PostNo(no))
}

/// Where a quoted post stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Its board.
    pub board: String,
    /// Its thread.
    pub thread: PostNo,
}

/// Where each of these posts stands; those that do not exist are left out.
pub async fn locate(connection: &mut PgConnection, posts: &[PostNo]) -> Result<HashMap<PostNo, Location>, Error> {
    let rows = sqlx::query!(
        "select post.no, post.thread_no, board.slug
         from unnest($1::integer[]) as wanted (no) join post using (no)
         join thread on thread.no = post.thread_no join board on board.id = thread.board_id",
        &numbers(posts),
    )
    .fetch_all(connection)
    .await?;
    let located = rows.into_iter().map(|row| {
        let location = Location { board: row.slug, thread: PostNo(row.thread_no) };
        (PostNo(row.no), location)
    });
    Ok(located.collect())
}

/// Remembers which posts a post quotes. All of them exist.
pub async fn insert_quotes(connection: &mut PgConnection, from: PostNo, to: &[PostNo]) -> Result<(), Error> {
    if to.is_empty() {
        return Ok(());
    }
    // A quoted post may be deleted by somebody else at this very moment: what is gone cannot be quoted, and the
    // share lock keeps what is not.
    sqlx::query!(
        "insert into quote (from_no, to_no)
         select $1, quoted.no from (
             select post.no from unnest($2::integer[]) as wanted (no) join post using (no) order by post.no for key share of post
         ) quoted",
        from.0,
        &numbers(to),
    )
    .execute(connection)
    .await
    .map(drop)
}

/// What a deletion needs to know of a post.
#[derive(Debug)]
pub struct Deletable {
    /// Its number.
    pub no: PostNo,
    /// The thread it stands in.
    pub thread: PostNo,
    /// Keyed hash of the password that deletes it.
    pub password_hash: Option<Vec<u8>>,
    /// What that was salted with; posts that are older than salts have none.
    pub password_salt: Option<Vec<u8>>,
}

/// Those of these posts that stand on a board, ascending.
pub async fn deletable(
    connection: &mut PgConnection,
    board: BoardId,
    posts: &[PostNo],
) -> Result<Vec<Deletable>, Error> {
    let rows = sqlx::query!(
        "select post.no, post.thread_no, post.password_hash, post.password_salt
         from (select distinct unnest($1::integer[]) as no) wanted
         join post using (no) join thread on thread.no = post.thread_no
         where thread.board_id = $2
         order by post.no",
        &numbers(posts),
        board.0,
    )
    .fetch_all(connection)
    .await?;
    let posts = rows.into_iter().map(|row| Deletable {
        no: PostNo(row.no),
        thread: PostNo(row.thread_no),
        password_hash: row.password_hash,
        password_salt: row.password_salt,
    });
    Ok(posts.collect())
}

/// Removes one reply. Answers whether it was still there.
pub async fn delete(connection: &mut PgConnection, post: PostNo) -> Result<bool, Error> {
    let done = sqlx::query!("delete from post where no = $1", post.0).execute(connection).await?;
    Ok(done.rows_affected() > 0)
}

/// How many posts, and how many pictures that are not deleted, a thread holds.
pub async fn count_in_thread(connection: &mut PgConnection, thread: PostNo) -> Result<(i64, i64), Error> {
    let row = sqlx::query!(
        r#"select count(distinct post.no) as "posts!", count(attachment.blob_id) as "pictures!"
           from post left join attachment on attachment.post_no = post.no
           where post.thread_no = $1"#,
        thread.0,
    )
    .fetch_one(connection)
    .await?;
    Ok((row.posts, row.pictures))
}

/// Whether posts come with the numbers of those that quote them. Only pages with comments on them show these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backlinks {
    /// They do.
    Included,
    /// They do not, which saves a query.
    Omitted,
}

/// From how many addresses the opening post of a thread and so many of its newest replies were sent.
pub async fn posters(connection: &mut PgConnection, thread: PostNo, among: i64) -> Result<i64, Error> {
    sqlx::query_scalar!(
        r#"select count(distinct address_hash) as "posters!"
           from (
               select address_hash from post where no = $1
               union all
               (select address_hash from post where thread_no = $1 and no > $1 order by no desc limit $2)
           ) shown"#,
        thread.0,
        among,
    )
    .fetch_one(connection)
    .await
}

/// How much of a thread is read besides its opening post: its newest replies, as far back as they are within all bounds.
#[derive(Debug, Clone, Copy)]
pub struct Newest {
    /// How many replies.
    pub replies: i64,
    /// How many bytes of HTML their comments have together.
    pub bytes: i64,
    /// Only those with a greater number than this post.
    pub after: PostNo,
}

/// Threads with their opening post and the newest replies of each, in the order given.
pub async fn of_threads(
    connection: &mut PgConnection,
    threads: Vec<Thread>,
    newest: Newest,
    backlinks: Backlinks,
) -> Result<Vec<ThreadPosts>, Error> {
    let numbers: Vec<i32> = threads.iter().map(|thread| thread.no.0).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"select shown.no as "no!", shown.thread_no as "thread_no!", shown.created_at as "created_at!",
                  shown.name, shown.subject, shown.sage as "sage!", shown.comment as "comment!", shown.html as "html!"
           from unnest($1::integer[]) as listed (no)
           cross join lateral (
               (select *, 0 as bytes from post where post.no = listed.no)
               union all
               (select *, sum(octet_length(html)) over (order by no desc rows unbounded preceding) as bytes
                from (select * from post where post.thread_no = listed.no and post.no > greatest(listed.no, $4)
                      order by post.no desc limit $2) newest)
           ) shown
           where shown.bytes <= $3
           order by shown.no"#,
        &numbers,
        newest.replies,
        newest.bytes,
        newest.after.0,
    )
    .fetch_all(&mut *connection)
    .await?;
    let posts = assemble(connection, rows, backlinks).await?;
    Ok(with_posts(threads, posts))
}

struct Row {
    no: i32,
    thread_no: i32,
    created_at: DateTime<Utc>,
    name: Option<String>,
    subject: Option<String>,
    sage: bool,
    comment: String,
    html: String,
}

/// Adds attachments and, where they are wanted, back-links.
async fn assemble(connection: &mut PgConnection, rows: Vec<Row>, wanted: Backlinks) -> Result<Vec<Post>, Error> {
    let numbers: Vec<PostNo> = rows.iter().map(|row| PostNo(row.no)).collect();
    let mut attachments = attachments::of_posts(&mut *connection, &numbers).await?;
    let mut backlinks = match wanted {
        Backlinks::Included => backlinks(connection, &rows).await?,
        Backlinks::Omitted => HashMap::new(),
    };
    let posts = rows.into_iter().map(|row| Post {
        no: PostNo(row.no),
        thread: PostNo(row.thread_no),
        created_at: row.created_at,
        name: row.name,
        subject: row.subject,
        sage: row.sage,
        html: row.html,
        comment: row.comment,
        attachments: attachments.remove(&PostNo(row.no)).unwrap_or_default(),
        backlinks: backlinks.remove(&PostNo(row.no)).unwrap_or_default(),
    });
    Ok(posts.collect())
}

/// Which of these posts quote which others of the same thread. A quote from elsewhere is no back-link: it would change a
/// page whose version does not change. Nor is one from a post that is not shown: there may be thousands.
async fn backlinks(connection: &mut PgConnection, posts: &[Row]) -> Result<HashMap<PostNo, Vec<PostNo>>, Error> {
    let (numbers, threads): (Vec<i32>, Vec<i32>) = posts.iter().map(|post| (post.no, post.thread_no)).unzip();
    // What is shown of a thread is its opening post and its newest replies, so the first of these tells which they are.
    let mut first_replies: HashMap<i32, i32> = HashMap::new();
    for post in posts.iter().filter(|post| post.no != post.thread_no) {
        first_replies.entry(post.thread_no).and_modify(|first| *first = post.no.min(*first)).or_insert(post.no);
    }
    let first_replies: Vec<i32> =
        threads.iter().map(|thread| first_replies.get(thread).copied().unwrap_or(i32::MAX)).collect();
    let rows = sqlx::query!(
        "select quote.from_no, quote.to_no
         from unnest($1::integer[], $2::integer[], $3::integer[]) as quoted (no, thread_no, first_reply)
         join quote on quote.to_no = quoted.no and quote.from_no >= quoted.first_reply
         join post quoting on quoting.no = quote.from_no and quoting.thread_no = quoted.thread_no
         order by quote.from_no",
        &numbers,
        &threads,
        &first_replies,
    )
    .fetch_all(connection)
    .await?;
    let mut backlinks: HashMap<PostNo, Vec<PostNo>> = HashMap::new();
    for row in rows {
        backlinks.entry(PostNo(row.to_no)).or_default().push(PostNo(row.from_no));
    }
    Ok(backlinks)
}

/// Gives every thread its posts, which come in ascending order; a thread without an opening post is left out.
fn with_posts(threads: Vec<Thread>, posts: Vec<Post>) -> Vec<ThreadPosts> {
    let mut by_thread: BTreeMap<PostNo, Vec<Post>> = BTreeMap::new();
    for post in posts {
        by_thread.entry(post.thread).or_default().push(post);
    }
    let complete = |thread: Thread| {
        let mut posts = by_thread.remove(&thread.no)?.into_iter();
        let opening = posts.next().filter(Post::is_opening)?;
        Some(ThreadPosts { thread, opening, replies: posts.collect() })
    };
    threads.into_iter().filter_map(complete).collect()
}

fn numbers(posts: &[PostNo]) -> Vec<i32> {
    posts.iter().map(|no| no.0).collect()
}
