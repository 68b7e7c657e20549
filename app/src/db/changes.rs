//! `change`: the outbox, and with it every version and every counter.
//!
//! [`publish`] alone raises versions and counts, and it says what has changed in the same statement. So there is no
//! change to a page that the replicas would not hear of. Every use case calls it once, last, with all locks taken.

use chrono::{DateTime, Utc};

use super::{Error, PgConnection};
use crate::domain::{BoardId, PostNo};

/// What a transaction has changed on a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A post was made, with so many pictures. The opening post, whose number is that of the thread, opens it.
    Posted {
        /// Its thread.
        thread: PostNo,
        /// Its number.
        no: PostNo,
        /// Pictures on it.
        pictures: i64,
    },
    /// A reply was deleted, and so many pictures with it.
    Deleted {
        /// Its thread.
        thread: PostNo,
        /// Its number.
        no: PostNo,
        /// Pictures that were on it.
        pictures: i64,
    },
    /// So many pictures of a post were deleted, and the post stays.
    PicturesDeleted {
        /// Its thread.
        thread: PostNo,
        /// Its number.
        no: PostNo,
        /// How many.
        pictures: i64,
    },
    /// A thread was deleted with so many posts and pictures, the opening post among them.
    ThreadDeleted {
        /// The thread.
        thread: PostNo,
        /// Posts that were in it.
        posts: i64,
        /// Pictures that were in it.
        pictures: i64,
    },
    /// A thread fell off the last page.
    Archived {
        /// The thread.
        thread: PostNo,
    },
}

/// What a transaction has changed.
#[derive(Debug, Clone, Copy)]
pub enum Changes<'a> {
    /// These things, on one board.
    OnBoard(BoardId, &'a [Change]),
    /// The list of boards.
    Boards,
    /// The fingerprint that replicas render pages with from now on (column `face`). If it is the one of before, nothing
    /// has changed.
    Fingerprint(&'a str),
}

/// What happened, as the outbox names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A post was made.
    Posted,
    /// A post was deleted.
    Deleted,
    /// The pictures of a post were deleted.
    PicturesDeleted,
    /// A thread was deleted.
    ThreadDeleted,
    /// A thread was archived.
    Archived,
    /// The list of boards has changed.
    Boards,
    /// Pages look different.
    Fingerprint,
    /// Something: nobody has published it, or a later release has.
    Unknown,
}

impl What {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Posted => "posted",
            Self::Deleted => "deleted",
            Self::PicturesDeleted => "pictures deleted",
            Self::ThreadDeleted => "thread deleted",
            Self::Archived => "archived",
            Self::Boards => "boards",
            Self::Fingerprint => "fingerprint",
            Self::Unknown => "unknown",
        }
    }

    fn from_column(name: &str) -> Self {
        let known = [
            Self::Posted,
            Self::Deleted,
            Self::PicturesDeleted,
            Self::ThreadDeleted,
            Self::Archived,
            Self::Boards,
            Self::Fingerprint,
        ];
        known.into_iter().find(|what| what.as_str() == name).unwrap_or(Self::Unknown)
    }
}

/// A row of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// What happened.
    pub what: What,
    /// When.
    pub changed_at: DateTime<Utc>,
    /// On which board; `None` for what every page shows.
    pub board: Option<BoardId>,
    /// The version of the board since then.
    pub board_version: Option<i64>,
    /// In which thread.
    pub thread: Option<PostNo>,
    /// The version of the thread since then.
    pub thread_version: Option<i64>,
    /// To which post.
    pub post: Option<PostNo>,
}

impl Published {
    /// Of these columns of `change`.
    pub(super) fn new(
        what: &str,
        changed_at: DateTime<Utc>,
        board: (Option<i16>, Option<i64>),
        thread: (Option<i32>, Option<i64>),
        post_no: Option<i32>,
    ) -> Self {
        Self {
            what: What::from_column(what),
            changed_at,
            board: board.0.map(BoardId),
            board_version: board.1,
            thread: thread.0.map(PostNo),
            thread_version: thread.1,
            post: post_no.map(PostNo),
        }
    }
}

/// Raises the versions of everything that a transaction has changed, counts, and says what it was.
///
/// The rows of the threads are locked by then, and that of the board by [`super::boards::lock`]: so versions rise in the
/// order in which changes become visible. Nothing waits here.
pub async fn publish(connection: &mut PgConnection, changes: Changes<'_>) -> Result<(), Error> {
    match changes {
        Changes::OnBoard(board, changes) => publish_on_board(connection, board, changes).await,
        Changes::Boards => sqlx::query!(
            "with moment as materialized (select clock_timestamp() as now), raised as (
                    update site_state set version = version + 1, changed_at = now, published_at = now from moment
                 )
                 insert into change (changed_at, what) select now, $1 from moment",
            What::Boards.as_str(),
        )
        .execute(connection)
        .await
        .map(drop),
        Changes::Fingerprint(fingerprint) => sqlx::query!(
            "with moment as materialized (select clock_timestamp() as now), raised as (
                    update site_state set face = $2, version = version + 1, changed_at = now, published_at = now
                    from moment where face <> $2 returning now
                 )
                 insert into change (changed_at, what) select now, $1 from raised",
            What::Fingerprint.as_str(),
            fingerprint,
        )
        .execute(connection)
        .await
        .map(drop),
    }
}

async fn publish_on_board(connection: &mut PgConnection, board: BoardId, changes: &[Change]) -> Result<(), Error> {
    let effects: Vec<Effect> = changes.iter().map(Effect::of).collect();
    let column = |of: fn(&Effect) -> i64| effects.iter().map(of).collect::<Vec<i64>>();
    let names: Vec<String> = effects.iter().map(|effect| effect.what.as_str().to_owned()).collect();
    let threads: Vec<i32> = effects.iter().map(|effect| effect.thread.0).collect();
    let posts: Vec<Option<i32>> = effects.iter().map(|effect| effect.post.map(|no| no.0)).collect();
    sqlx::query!(
        r#"with moment as materialized (
            select clock_timestamp() as now
        ), published as materialized (
            select * from unnest($2::text[], $3::integer[], $4::integer[], $5::bigint[], $6::bigint[])
                with ordinality as given (what, thread_no, post_no, replies, pictures, place)
        ), raised as (
            update thread_state state
            set version = version + 1, changed_at = now, published_at = now,
                replies = state.replies + added.replies::integer, pictures = state.pictures + added.pictures::integer
            from moment, (
                select thread_no, sum(replies) as replies, sum(pictures) as pictures from published group by thread_no
            ) added
            where state.thread_no = added.thread_no
            returning state.thread_no, version
        ), raised_board as (
            update board_state
            set version = version + 1, changed_at = now, published_at = now,
                threads = threads + $7, posts = posts + $8, pictures = pictures + $9
            from moment
            where board_id = $1
            returning version
        )
        insert into change (changed_at, what, board_id, board_version, thread_no, thread_version, post_no)
        select now, what, $1, raised_board.version, published.thread_no, raised.version, post_no
        from published cross join moment cross join raised_board left join raised using (thread_no)
        order by place"#,
        board.0,
        &names,
        &threads,
        &posts as &[Option<i32>],
        &column(|effect| effect.thread_replies),
        &column(|effect| effect.thread_pictures),
        column(|effect| effect.board_threads).iter().sum::<i64>(),
        column(|effect| effect.board_posts).iter().sum::<i64>(),
        column(|effect| effect.board_pictures).iter().sum::<i64>(),
    )
    .execute(connection)
    .await
    .map(drop)
}

/// A change as rows and numbers.
struct Effect {
    what: What,
    thread: PostNo,
    post: Option<PostNo>,
    thread_replies: i64,
    thread_pictures: i64,
    board_threads: i64,
    board_posts: i64,
    board_pictures: i64,
}

impl Effect {
    fn of(change: &Change) -> Self {
        let on_thread = |what, thread| Self {
            what,
            thread,
            post: None,
            thread_replies: 0,
            thread_pictures: 0,
            board_threads: 0,
            board_posts: 0,
            board_pictures: 0,
        };
        let on_post = |what, thread, post, replies, posts, pictures| Self {
            post: Some(post),
            thread_replies: replies,
            thread_pictures: pictures,
            board_posts: posts,
            board_pictures: pictures,
            ..on_thread(what, thread)
        };
        match *change {
            Change::Posted { thread, no, pictures } if no == thread => {
                Self { board_threads: 1, ..on_post(What::Posted, thread, no, 0, 1, pictures) }
            }
            Change::Posted { thread, no, pictures } => on_post(What::Posted, thread, no, 1, 1, pictures),
            Change::Deleted { thread, no, pictures } => on_post(What::Deleted, thread, no, -1, -1, -pictures),
            Change::PicturesDeleted { thread, no, pictures } => {
                on_post(What::PicturesDeleted, thread, no, 0, 0, -pictures)
            }
            Change::ThreadDeleted { thread, posts, pictures } => Self {
                board_threads: -1,
                board_posts: -posts,
                board_pictures: -pictures,
                ..on_thread(What::ThreadDeleted, thread)
            },
            Change::Archived { thread } => on_thread(What::Archived, thread),
        }
    }
}

/// How many rows are forgotten at a time, so that one statement never takes long.
const FORGOTTEN_AT_ONCE: i64 = 10_000;

/// Forgets some of what is older, the oldest first. Answers whether there may be more.
pub async fn forget(connection: &mut PgConnection, older_than_seconds: f64) -> Result<bool, Error> {
    // By the order in which they were written, until one is too young. What another replica forgets is left to it.
    let done = sqlx::query!(
        "with oldest as (select id, changed_at from change order by id limit $2 for update skip locked)
         delete from change where id in (select id from oldest) and id < coalesce(
            (select min(id) from oldest where changed_at >= clock_timestamp() - make_interval(secs => $1)),
            9223372036854775807
         )",
        older_than_seconds,
        FORGOTTEN_AT_ONCE,
    )
    .execute(connection)
    .await?;
    Ok(i64::try_from(done.rows_affected()).is_ok_and(|rows| rows == FORGOTTEN_AT_ONCE))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    /// The files of a folder and of those in it.
    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
    }

    #[test]
    fn versions_and_counters_are_raised_here_and_nowhere_else() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let writing = files(&source).into_iter().filter(|file| {
            let text = std::fs::read_to_string(file).unwrap().to_lowercase();
            let words: Vec<&str> = text.split_whitespace().collect();
            ["thread_state", "board_state", "site_state"]
                .iter()
                .any(|table| words.windows(2).any(|pair| pair[0].ends_with("update") && pair[1].starts_with(table)))
        });
        let writing: Vec<PathBuf> = writing.map(|file| file.strip_prefix(&source).unwrap().to_owned()).collect();
        assert_eq!(writing, [Path::new("db/changes.rs")]);
    }

    #[test]
    fn every_change_has_a_name_of_its_own() {
        for what in [
            What::Posted,
            What::Deleted,
            What::PicturesDeleted,
            What::ThreadDeleted,
            What::Archived,
            What::Boards,
            What::Fingerprint,
        ] {
            assert_eq!(What::from_column(what.as_str()), what);
        }
        assert_eq!(What::from_column("of a later release"), What::Unknown);
    }
}
