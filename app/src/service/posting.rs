//! Posting: a thread or a reply, its pictures first, then everything else in one transaction.
//!
//! Locks are taken in one order by all who write (submission, blobs, thread, bump, board), so that no two wait for
//! each other.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;
use uuid::Uuid;

use super::pictures::Prepared;
pub use super::pictures::{PictureStorage, Upload};
use crate::config::BoardLimits;
use crate::db::changes::{self, Change, Changes};
use crate::db::submissions::Sent;
use crate::db::{self, PgConnection, PgPool, attachments, blobs, boards, posts, submissions, threads};
use crate::domain::{Board, Closed, Destination, PostNo, PostText, Refusal};
use crate::error::AppError;
use crate::freshness::CommitWait;
use crate::hashing::{Hash, KeyedHasher, new_salt};
use crate::markup;
use crate::memory::Share;
use crate::trace::waits::{self, Wait};

/// What a visitor has sent, read and checked as far as that is possible without looking at anything else.
#[derive(Debug)]
pub struct Submission {
    /// The board.
    pub board: Board,
    /// A new thread, or the thread that is answered.
    pub destination: Destination,
    /// The text.
    pub text: PostText,
    /// Deletes the post later; empty for none.
    pub password: String,
    /// Hides the pictures.
    pub spoiler: bool,
    /// The pictures, in order.
    pub uploads: Vec<Upload>,
    /// Came with the form, or with the client's request. The same key and content are the same post.
    pub key: Option<String>,
    /// Where it came from.
    pub address: IpAddr,
    /// The memory that the pictures take, counted for as long as they are there.
    pub memory: Option<Share>,
}

/// A post that is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posted {
    /// Its number.
    pub no: PostNo,
    /// Its thread.
    pub thread: PostNo,
    /// It had been committed before: the submission was sent twice.
    pub repeated: bool,
}

/// Makes posts.
#[derive(Debug, Clone)]
pub struct Posting {
    /// Postgres.
    pub pool: PgPool,
    /// For the pictures.
    pub pictures: PictureStorage,
    /// For addresses and passwords.
    pub hasher: KeyedHasher,
    /// Rules.
    pub limits: BoardLimits,
    /// Where the work runs, whatever becomes of the connection that asked for it.
    pub runtime: Handle,
    /// Waited for when the replica stops.
    pub tasks: TaskTracker,
    /// How long a post waits before its sender is told of it.
    pub commit_wait: CommitWait,
    /// A permit per transaction. Fewer than there are connections: posts to one busy thread wait for each other inside
    /// of their transactions, and must leave connections for those who read.
    pub writers: Arc<Semaphore>,
}

/// How long a post waits to begin its transaction. Its pictures are stored by then, so patience is cheaper than
/// another attempt.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How often a transaction is tried that lost against another one.
const ATTEMPTS: u32 = 3;

/// Why a transaction ended without a post.
enum WriteFailure {
    /// Told to the sender.
    Final(AppError),
    /// Another attempt may succeed.
    Again(AppError),
    /// The connection broke while the commit was on its way: nobody knows whether the post exists.
    Unknown(AppError),
}

impl<E: Into<AppError>> From<E> for WriteFailure {
    fn from(error: E) -> Self {
        Self::Final(error.into())
    }
}

fn in_transaction(error: db::Error) -> WriteFailure {
    if db::is_conflict(&error) {
        WriteFailure::Again(error.into())
    } else if db::is_exhausted(&error) {
        tracing::error!(%error, "nobody can post any more");
        WriteFailure::Final(Refusal::PostNumbersExhausted.into())
    } else {
        WriteFailure::Final(error.into())
    }
}

impl Posting {
    /// Makes a post. Runs to its end even if the caller goes away: a post is never half done.
    pub async fn post(&self, submission: Submission) -> Result<Posted, AppError> {
        let this = self.clone();
        let task = async move {
            let posted = this.run(submission).await;
            // Also after a refusal, and for a post that had been made before: whatever the sender is told about, such as a
            // thread that is closed, may have happened a moment ago.
            this.commit_wait.pass().await;
            posted
        };
        let task = waits::carried(task).in_current_span();
        let ended = self.tasks.spawn_on(task, &self.runtime).await;
        ended.unwrap_or_else(|error| Err(AppError::Internal(format!("the posting task ended: {error}"))))
    }

    /// A password for a browser that keeps none and has no token. It is made of what was sent and of what the browser
    /// says of itself, so that a form that is sent twice gets the same one twice, and whichever answer arrives holds the
    /// password of the post. Without a key nothing is ever sent twice, and the password is random.
    #[must_use]
    pub fn made_up_password(&self, submission: &Submission, browser: [&str; 2]) -> String {
        let [agent, language] = browser.map(str::as_bytes);
        match self.digest(submission, "") {
            Some(digest) => self.hasher.made_up_password(&[&digest, agent, language]),
            None => Uuid::new_v4().simple().to_string(),
        }
    }

    async fn run(&self, mut submission: Submission) -> Result<Posted, AppError> {
        let digest = self.digest(&submission, &submission.password);
        // A program may have sent the same form without a password. So did newcomers to the release before this one,
        // which runs beside it for a while.
        let bare = if submission.password.is_empty() { None } else { self.digest(&submission, "") };
        if let Some(posted) = self.admit(&submission, &[digest, bare]).await? {
            return Ok(posted);
        }
        let inspected = self.pictures.inspect(&mut submission.uploads, submission.memory.as_mut()).await?;
        let mut attempt = 1;
        loop {
            let mut put = Vec::new();
            let done = match self.pictures.prepare(&submission.uploads, &inspected, &mut put).await {
                Ok(pictures) => self.write_in_time(&submission, digest.as_ref(), &pictures.list).await,
                Err(error) => Err(WriteFailure::Final(error)),
            };
            match &done {
                Ok((_, used)) => put.retain(|id| !used.contains(id)),
                // What was put may be in use.
                Err(WriteFailure::Unknown(_)) => put.clear(),
                Err(WriteFailure::Final(_) | WriteFailure::Again(_)) => {}
            }
            self.pictures.take_back(&put).await;
            match done {
                Ok((posted, _)) => return Ok(posted),
                Err(WriteFailure::Again(_)) if attempt < ATTEMPTS => attempt += 1,
                Err(WriteFailure::Again(error) | WriteFailure::Final(error) | WriteFailure::Unknown(error)) => {
                    return Err(error);
                }
            }
        }
    }

    /// What makes two submissions the same. Address and password are part of it because a page, and with it the key
    /// in its form, is shared by all who read it.
    fn digest(&self, submission: &Submission, password: &str) -> Option<Hash> {
        let key = submission.key.as_ref()?;
        let address = self.hasher.address(submission.address);
        let thread = match submission.destination {
            Destination::NewThread => 0,
            Destination::Reply(no) => no.0,
        }
        .to_be_bytes();
        let text = &submission.text;
        let flags = [u8::from(text.sage), u8::from(submission.spoiler)];
        let mut parts: Vec<&[u8]> = vec![
            key.as_bytes(),
            &address,
            password.as_bytes(),
            submission.board.slug.as_bytes(),
            &thread,
            &flags,
            text.name.as_deref().unwrap_or_default().as_bytes(),
            text.subject.as_deref().unwrap_or_default().as_bytes(),
            text.comment.as_bytes(),
        ];
        for upload in &submission.uploads {
            parts.extend([upload.file_name.as_bytes(), &upload.sha256[..]]);
        }
        Some(self.hasher.submission(&parts))
    }

    /// Refuses what cannot become a post before its pictures cost anything; answers the post when it exists already.
    async fn admit(&self, submission: &Submission, digests: &[Option<Hash>]) -> Result<Option<Posted>, AppError> {
        let mut connection = self.pool.acquire().await?;
        // The thread is read first. If this very post, sent a moment ago, fills it in between, the look-up of the submission
        // finds that post.
        let answered = match submission.destination {
            Destination::NewThread => None,
            Destination::Reply(no) => {
                let thread = db::in_time(threads::find(&mut connection, no, self.limits.reply_limit)).await?;
                Some((no, thread))
            }
        };
        for digest in digests.iter().flatten() {
            if let Some(sent) = db::in_time(submissions::find(&mut connection, digest)).await? {
                return Ok(Some(repeated(sent)?));
            }
        }
        if db::in_time(boards::is_locked(&mut connection, submission.board.id)).await? {
            return Err(board_locked(&submission.board).into());
        }
        if let Some((no, thread)) = answered {
            let thread = thread.ok_or_else(|| unknown_thread(no))?;
            self.check_open(thread.closed())?;
        }
        Ok(None)
    }

    /// A database that hangs may hang before or after the commit.
    async fn write_in_time(
        &self,
        submission: &Submission,
        digest: Option<&Hash>,
        pictures: &[Prepared],
    ) -> Result<(Posted, Vec<Uuid>), WriteFailure> {
        let written = tokio::time::timeout(LONGEST_WAIT + db::LONGEST, self.write(submission, digest, pictures)).await;
        let unknown =
            |_| Err(WriteFailure::Unknown(AppError::OutcomeUnknown("the transaction did not end".to_owned())));
        written.unwrap_or_else(unknown)
    }

    /// The transaction. Answers the post and which blobs of this attempt it uses.
    async fn write(
        &self,
        submission: &Submission,
        digest: Option<&Hash>,
        pictures: &[Prepared],
    ) -> Result<(Posted, Vec<Uuid>), WriteFailure> {
        let permit = tokio::time::timeout(LONGEST_WAIT, self.writers.acquire());
        let Ok(Ok(_permit)) = waits::until(Wait::Writer, permit).await else { return Err(Refusal::Overloaded.into()) };
        let mut connection = self.pool.acquire().await?;
        let mut transaction = connection.begin().await?;
        if let Some(digest) = digest
            && !submissions::claim(&mut transaction, digest).await.map_err(in_transaction)?
        {
            let sent = submissions::find(&mut transaction, digest).await?;
            // Forgotten since, because it was sent long ago; the next attempt claims it.
            let sent = sent.ok_or_else(|| WriteFailure::Again(Refusal::Busy.into()))?;
            return Ok((repeated(sent)?, Vec::new()));
        }
        let stored = store_blobs(&mut transaction, pictures).await?;
        let posted = self.write_post(&mut transaction, submission, &stored).await?;
        if let Some(digest) = digest {
            submissions::complete(&mut transaction, digest, posted.no).await.map_err(in_transaction)?;
        }
        self.publish(&mut transaction, &submission.board, posted, stored.len()).await?;
        transaction
            .commit()
            .await
            .map_err(|error| WriteFailure::Unknown(AppError::OutcomeUnknown(error.to_string())))?;
        Ok((posted, stored))
    }

    async fn write_post(
        &self,
        transaction: &mut PgConnection,
        submission: &Submission,
        stored: &[Uuid],
    ) -> Result<Posted, WriteFailure> {
        let (thread, replies) = match submission.destination {
            Destination::NewThread => {
                (threads::insert(transaction, submission.board.id).await.map_err(in_transaction)?, None)
            }
            Destination::Reply(no) => {
                let answered = threads::lock(transaction, no).await.map_err(in_transaction)?;
                let answered = answered.filter(|answered| answered.board == submission.board.id);
                let answered = answered.ok_or_else(|| unknown_thread(no))?;
                // Under the lock of the thread, which every reply takes: of two that come at once, one is the last.
                self.check_open(answered.closed(self.limits.reply_limit))?;
                (no, Some(answered.replies))
            }
        };
        let text = &submission.text;
        let quoted = markup::quoted_posts(&text.comment);
        let located = posts::locate(transaction, &quoted).await.map_err(in_transaction)?;
        let html = markup::render(&text.comment, |no| {
            let at = located.get(&no)?;
            Some(format!("/{}/res/{}.html#{no}", at.board, at.thread))
        });
        let salt = (!submission.password.is_empty()).then(new_salt);
        let password = salt.map(|salt| self.hasher.password(Some(&salt), &submission.password));
        let new = posts::NewPost {
            thread,
            opening: replies.is_none(),
            name: text.name.as_deref(),
            subject: text.subject.as_deref(),
            sage: text.sage,
            comment: &text.comment,
            html: &html,
            password_hash: password.as_ref().map(|hash| &hash[..]),
            password_salt: salt.as_ref().map(|salt| &salt[..]),
            address_hash: &self.hasher.address(submission.address),
        };
        let no = posts::insert(transaction, &new).await.map_err(in_transaction)?;
        for ((position, picture), upload) in (0_i16..).zip(stored).zip(&submission.uploads) {
            attachments::insert(transaction, no, position, *picture, &upload.file_name, submission.spoiler)
                .await
                .map_err(in_transaction)?;
        }
        let quoted: Vec<PostNo> = located.into_keys().collect();
        posts::insert_quotes(transaction, no, &quoted).await.map_err(in_transaction)?;
        if let Some(replies) = replies {
            let below_limit = u32::try_from(replies).is_ok_and(|replies| replies < self.limits.bump_limit);
            if !text.sage && below_limit {
                threads::bump(transaction, thread).await.map_err(in_transaction)?;
            }
        }
        Ok(Posted { no, thread, repeated: false })
    }

    /// The last step of the transaction: archives what a new thread pushes off the last page, and publishes everything.
    async fn publish(
        &self,
        transaction: &mut PgConnection,
        board: &Board,
        posted: Posted,
        pictures: usize,
    ) -> Result<(), WriteFailure> {
        boards::lock(transaction, board.id).await.map_err(in_transaction)?;
        if boards::is_locked(transaction, board.id).await.map_err(in_transaction)? {
            return Err(board_locked(board).into());
        }
        let pictures = i64::try_from(pictures).unwrap_or(i64::MAX);
        let mut changes = vec![Change::Posted { thread: posted.thread, no: posted.no, pictures }];
        if posted.no == posted.thread {
            // Under the lock of the board, so that of two threads that are made at once the second sees the first.
            // It waits for nothing, and so for nobody who waits for the board.
            let keep = self.limits.live_threads();
            let fallen = threads::archive_beyond(transaction, board.id, keep).await.map_err(in_transaction)?;
            changes.extend(fallen.into_iter().map(|thread| Change::Archived { thread }));
        }
        changes::publish(transaction, Changes::OnBoard(board.id, &changes)).await.map_err(in_transaction)
    }

    /// Refuses a reply to a thread that is closed.
    fn check_open(&self, closed: Option<Closed>) -> Result<(), Refusal> {
        match closed {
            None => Ok(()),
            Some(Closed::Archived) => Err(Refusal::ThreadArchived),
            Some(Closed::Locked) => Err(Refusal::ThreadLocked),
            Some(Closed::Full) => Err(Refusal::ThreadFull { most: self.limits.reply_limit }),
        }
    }
}

/// Writes the rows of what was put, or takes up those that are there; answers the blob of each picture, in order.
async fn store_blobs(transaction: &mut PgConnection, pictures: &[Prepared]) -> Result<Vec<Uuid>, WriteFailure> {
    // By hash, because two posts with the same two pictures in different order would wait for each other.
    let mut in_order: Vec<&Prepared> = pictures.iter().collect();
    in_order.sort_by_key(|picture| (picture.sha256, picture.put.is_none()));
    let mut ids: BTreeMap<[u8; 32], Uuid> = BTreeMap::new();
    for picture in in_order {
        if ids.contains_key(&picture.sha256) {
            continue;
        }
        let ours = match &picture.put {
            Some(new) => blobs::insert(transaction, new).await.map_err(in_transaction)?.then_some(new.id),
            None => None,
        };
        let id = match ours {
            Some(id) => Some(id),
            None => blobs::keep(transaction, &picture.sha256).await.map_err(in_transaction)?,
        };
        // It was collected between the look and the lock; the next attempt puts it again.
        let id = id.ok_or_else(|| WriteFailure::Again(Refusal::Busy.into()))?;
        ids.insert(picture.sha256, id);
    }
    Ok(pictures.iter().filter_map(|picture| ids.get(&picture.sha256).copied()).collect())
}

/// What a submission that was sent before is answered with.
fn repeated(sent: Sent) -> Result<Posted, Refusal> {
    match sent {
        Sent::Post(no, thread) => Ok(Posted { no, thread, repeated: true }),
        Sent::Deleted => Err(Refusal::PostDeleted),
    }
}

fn unknown_thread(no: PostNo) -> Refusal {
    Refusal::UnknownThread { no: no.to_string() }
}

fn board_locked(board: &Board) -> Refusal {
    Refusal::BoardLocked { slug: board.slug.clone() }
}
