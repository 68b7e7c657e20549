//! What is told of every kind of change, and when.

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use triptych_tests::{Stack, Visitor, Watcher, watcher::ThreadEvent};

use super::{
    BOARD, LIVE_THREADS, delete, is_shown, new_thread, of_board, of_thread, replicas, reply, reply_with_picture,
};

/// Watchers of a board and of one of its threads, through every replica and through nginx.
struct Audience {
    replicas: [Visitor; 3],
    of_board: Vec<Watcher>,
    of_thread: Vec<Watcher>,
}

impl Audience {
    async fn of(stack: &Stack, board: &str, thread: i64) -> Result<Self> {
        let replicas = replicas(stack)?;
        let mut sites = replicas.to_vec();
        sites.push(Visitor::new(&stack.url())?);
        let watch = |path: String| {
            let sites = &sites;
            async move { try_join_all(sites.iter().map(|site| Watcher::open(site, &path, None))).await }
        };
        let (of_board, of_thread) = (watch(of_board(board)).await?, watch(of_thread(board, thread)).await?);
        Ok(Self { replicas, of_board, of_thread })
    }

    /// Does something of which everybody who watches the board or the thread hears so many events. In the moment in which
    /// one arrives, every replica has to show it. Answers the events.
    async fn hears<T>(
        &mut self,
        of_board: usize,
        of_thread: usize,
        action: impl Future<Output = Result<T>>,
    ) -> Result<(T, Vec<ThreadEvent>, Vec<ThreadEvent>)> {
        let Self { replicas, of_board: watch_board, of_thread: watch_thread } = self;
        let (done, board, thread) = tokio::try_join!(
            action,
            listen(replicas, watch_board, of_board),
            listen(replicas, watch_thread, of_thread)
        )?;
        Ok((done, board, thread))
    }
}

async fn listen(replicas: &[Visitor], watchers: &mut [Watcher], events: usize) -> Result<Vec<ThreadEvent>> {
    let heard = watchers.iter_mut().map(|watcher| async {
        let mut heard = Vec::new();
        for _ in 0..events {
            let before = watcher.position().to_owned();
            let event = watcher.next_of_thread().await?;
            is_shown(replicas, &event).await?;
            let is_last = heard.len() + 1 == events;
            ensure!(event.gone || (watcher.position() != before) == is_last, "only the last event has a position");
            heard.push(event);
        }
        anyhow::Ok(heard)
    });
    let heard = try_join_all(heard).await?;
    let first = heard.first().cloned().unwrap_or_default();
    ensure!(heard.iter().all(|others| *others == first), "not all are told the same: {heard:#?}");
    Ok(first)
}

#[tokio::test]
async fn every_change_is_told_when_every_replica_shows_it() -> Result<()> {
    const SLUG: &str = "told";
    let stack = BOARD.get().await?;
    let visitors = replicas(stack)?;
    let [visitor, ..] = &visitors;
    let thread = new_thread(visitor, SLUG).await?;
    let mut audience = Audience::of(stack, SLUG, thread).await?;
    let about = |thread| ThreadEvent { board: SLUG.to_owned(), thread, ..ThreadEvent::default() };

    let mut replies = Vec::new();
    for (turn, writer) in visitors.iter().cycle().take(12).enumerate() {
        let posting = async {
            if turn % 3 == 0 {
                reply_with_picture(writer, SLUG, thread).await
            } else {
                reply(writer, SLUG, thread).await
            }
        };
        let (no, board, of_thread) = audience.hears(1, 1, posting).await?;
        assert_eq!(board, [ThreadEvent { posted: vec![no], ..about(thread) }]);
        assert_eq!(of_thread, board);
        replies.push(no);
    }
    let [pictured, first, ..] = replies[..] else { unreachable!() };

    let ((), board, of_thread) = audience.hears(1, 1, delete(visitor, SLUG, &[pictured], true)).await?;
    assert_eq!(board, [ThreadEvent { changed: vec![pictured], ..about(thread) }]);
    assert_eq!(of_thread, board);
    let ((), board, of_thread) = audience.hears(1, 1, delete(visitor, SLUG, &[first], false)).await?;
    assert_eq!(board, [ThreadEvent { deleted: vec![first], ..about(thread) }]);
    assert_eq!(of_thread, board);

    let mut others = Vec::new();
    for _ in 1..LIVE_THREADS {
        let (no, board, _) = audience.hears(1, 0, new_thread(visitor, SLUG)).await?;
        assert_eq!(board, [ThreadEvent { posted: vec![no], ..about(no) }]);
        others.push(no);
    }
    // The one that pushes the thread off the last page, and out of the lists.
    let (no, board, of_thread) = audience.hears(2, 1, new_thread(visitor, SLUG)).await?;
    let archived = ThreadEvent { archived: true, ..about(thread) };
    assert_eq!(board, [archived.clone(), ThreadEvent { posted: vec![no], ..about(no) }]);
    assert_eq!(of_thread, [archived]);

    let ((), board, of_thread) = audience.hears(1, 1, delete(visitor, SLUG, &[thread], false)).await?;
    assert_eq!(board, [ThreadEvent { gone: true, ..about(thread) }]);
    assert_eq!(of_thread, board);
    for mut watcher in audience.of_thread {
        assert_eq!(watcher.next().await?, None, "nothing more happens to a thread that is gone");
    }
    Ok(())
}

#[tokio::test]
async fn what_happens_at_once_is_one_event_a_thread() -> Result<()> {
    const SLUG: &str = "atonce";
    let stack = BOARD.get().await?;
    let visitors = replicas(stack)?;
    let [visitor, ..] = &visitors;
    let threads = [new_thread(visitor, SLUG).await?, new_thread(visitor, SLUG).await?];
    let before = Watcher::open(visitor, &of_board(SLUG), None).await?.position().to_owned();
    let mut replies = Vec::new();
    for thread in threads.iter().cycle().take(6) {
        replies.push(reply(visitor, SLUG, *thread).await?);
    }
    let mut audience = Audience::of(stack, SLUG, threads[0]).await?;
    let deleted = [replies[0], replies[1], replies[2], replies[3]];
    let ((), board, of_thread) = audience.hears(2, 1, delete(visitor, SLUG, &deleted, false)).await?;
    let event = |thread, posted: &[i64], deleted: &[i64]| ThreadEvent {
        board: SLUG.to_owned(),
        thread,
        posted: posted.to_vec(),
        deleted: deleted.to_vec(),
        ..ThreadEvent::default()
    };
    let wanted = [event(threads[0], &[], &[deleted[0], deleted[2]]), event(threads[1], &[], &[deleted[1], deleted[3]])];
    assert_eq!(board, wanted);
    assert_eq!(of_thread, wanted[..1]);

    // Whoever comes back is told everything in one event a thread, too.
    for replica in &visitors {
        let mut back = vec![Watcher::open(replica, &of_board(SLUG), Some(&before)).await?];
        let heard = listen(&visitors, &mut back, 2).await?;
        let wanted = [
            event(threads[0], &[replies[4]], &[deleted[0], deleted[2]]),
            event(threads[1], &[replies[5]], &[deleted[1], deleted[3]]),
        ];
        assert_eq!(heard, wanted);
        assert_eq!(back[0].position(), audience.of_board[0].position());
    }
    Ok(())
}
