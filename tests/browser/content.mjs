// The board that the tests look at: every kind of page, with the posts that are hard to lay out.
import { launch, file, post } from './support.mjs';
import { painter } from './pictures.mjs';
import { TRAFFIC } from './traffic.mjs';

const LONG = Array.from({ length: 40 }, (_, line) => `Line ${line + 1} of a comment that is folded on the index.`).join('\n');

// Fills the board and answers the addresses of its pages.
export async function fill({ url, sql, replicas }) {
  const browser = await launch();
  try {
    const { paint } = await painter(browser);
    const jpeg = async (name, motif, seed, width, height) => file(name, 'image/jpeg', await paint(motif, seed, width, height));
    const png = file('poster.png', 'image/png', await paint('poster', 1, 300, 420, 'image/png'));
    const webp = file('agate.webp', 'image/webp', await paint('agate', 1, 400, 300, 'image/webp'));
    const tiny = file('dot.png', 'image/png', await paint('poster', 2, 3, 2, 'image/png'));
    const wide = await jpeg(`${'a-name-without-a-place-to-break-'.repeat(4)}.jpg`, 'dunes', 1, 900, 60);
    const ridges = await jpeg('ridges.jpg', 'ridges', 1, 640, 420);

    const thread = await post(url, 'art', { sub: 'First light over the three ridges', name: 'Walker', com: 'Went up before sunrise.\n>waiting two hours for thirty seconds of light\nhttps://example.org/a/very/long/address/that/does/not/end/soon?because=it&has=many&parameters=1' }, [ridges]);
    const reply = (fields, files) => post(url, 'art', { resto: thread.no, ...fields }, files);
    const first = await reply({ com: `>>${thread.no}\nThe purple in the far ridge is unreal.` });
    await reply({ com: `>>${first.no} >>${thread.no}\n새벽 안개가 정말 아름답네요. 다음에는 가을에도 찍어 주세요!`, name: '산지기' });
    await reply({ com: '次は秋に行きます。', name: '山歩き', sub: '秋の予定', email: 'sage' }, [webp, png, tiny, wide]);
    await reply({ com: 'مرحبا بالعالم، صورة جميلة', name: 'زائر' }, [wide]);
    await reply({ com: 'Do not look at this one first.', spoiler: 'on' }, [tiny]);
    await reply({}, [png]);
    const gone = await reply({ com: 'This picture will be deleted.', pwd: 'secret-word' }, [await jpeg('gone.jpg', 'cat', 1, 320, 240)]);
    const form = new FormData();
    for (const [name, value] of [['no', gone.no], ['pwd', 'secret-word'], ['file_only', 'on']]) form.append(name, String(value));
    const deleted = await fetch(`${url}/art/delete`, { method: 'POST', body: form, headers: { accept: 'application/json' } });
    if (deleted.status !== 200) throw new Error(`deleting a picture was answered with ${deleted.status}: ${await deleted.text()}`);
    await reply({ com: LONG });
    await reply({ com: 'W'.repeat(400), name: 'N'.repeat(75), sub: 'S'.repeat(100) });

    await post(url, 'art', { com: 'A thread without a subject, hidden.', spoiler: 'on' }, [await jpeg('sea.jpg', 'sea', 1, 480, 320)]);
    await post(url, 'art', { sub: '구름과 별', com: LONG }, [await jpeg('stars.jpg', 'stars', 1, 320, 480)]);
    const locked = await post(url, 'art', { sub: 'Rules, and nothing but rules', com: 'Be kind.' }, [png]);
    const archived = await post(url, 'art', { sub: 'Long ago', com: 'Nobody answers any more.' }, [webp]);
    const full = await post(url, 'art', { sub: 'Everything was said', com: 'And more than once.' }, [tiny]);
    const last = await post(url, 'art', { com: 'Almost everything was said.' }, [tiny]);
    await post(url, 'art', {}, [tiny]);
    await post(url, 'old', { sub: 'The last one before the doors were closed' }, [ridges]);
    await sql(`
      update thread set locked = true where no = ${locked.no};
      update bump set sticky = true where thread_no = ${locked.no};
      update thread_state set replies = 1000 where thread_no = ${full.no};
      update thread_state set replies = 988 where thread_no = ${last.no};
      update thread set archived_at = now() where no = ${archived.no};
      delete from bump where thread_no = ${archived.no};
      update board set locked = true where slug = 'old';
      update site_state set version = version + 1;
      update board_state set version = version + 1;
      update thread_state set version = version + 1;`);
    await sql(TRAFFIC);

    return {
      url,
      replicas,
      // The error pages with a form are reached by sending one; see `pages.mjs`.
      pages: {
        'home': '/',
        'index': '/art/',
        'second page of the index': '/art/2.html',
        'empty board': '/empty/',
        'locked board': '/old/',
        'catalogue': '/art/catalog.html',
        'catalogue without a match': '/art/catalog.html?q=nothing+like+it&sort=replies',
        'empty catalogue': '/empty/catalog.html',
        'thread': `/art/res/${thread.no}.html`,
        'locked thread': `/art/res/${locked.no}.html`,
        'full thread': `/art/res/${full.no}.html`,
        'nearly full thread': `/art/res/${last.no}.html`,
        'archived thread': `/art/res/${archived.no}.html`,
        'traffic': '/traffic',
        'traffic of today': '/traffic?days=1',
        'traffic of a year': '/traffic?days=365',
        'traffic of a board': '/art/traffic.html',
        'traffic of an empty board': '/empty/traffic.html?days=7',
        'page that does not exist': '/art/res/999999999.html',
      },
      thread: thread.no,
    };
  } finally {
    await browser.close();
  }
}
