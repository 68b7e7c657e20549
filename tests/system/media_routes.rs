//! Pictures and assets as they are served: whole, in part, from a replica and from nginx's cache, and never with
//! anything in them that tells where they were taken.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use image::{ImageDecoder as _, ImageEncoder as _};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use triptych_tests::{Answer, Form, Stack, Visitor, http::JSON, pictures};

use crate::shared::{SHARED, check_error_page, document, list, number, text};

const PICTURE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";
/// A browser keeps a picture for ever, a cache for many for as long as nginx does.
const CACHED: &str = "public, max-age=31536000, immutable, s-maxage=30";
const CANARY: &[u8] = b"GPS 48.8584N 2.2945E";

/// Where a picture is served, and what it is.
struct Served {
    media: String,
    thumb: String,
    bytes: Bytes,
}

/// Posts a picture and downloads it from a replica.
async fn post(stack: &Stack, name: &str, declared: &str, bytes: Bytes) -> Result<Served> {
    let visitor = Visitor::new(&stack.url())?;
    let posted = visitor.must_post("b", &Form::thread(name).file(name, declared, bytes)).await?;
    let thread = document(&visitor, &format!("/b/res/{}.json", posted.no)).await?;
    let (media, thumb) = (text(&thread, "/posts/0/media")?.to_owned(), text(&thread, "/posts/0/thumb")?.to_owned());
    let direct = visitor.at(&stack.replica(0)?.url());
    let bytes = direct.get(&media).await?.expect(StatusCode::OK)?.body.clone();
    Ok(Served { media, thumb, bytes })
}

async fn post_png(stack: &Stack) -> Result<Served> {
    post(stack, "a.png", "image/png", pictures::png(rand::random(), 200, 150)?.bytes).await
}

async fn with(visitor: &Visitor, method: Method, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    let request = visitor.request(method, path);
    visitor.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

fn sites(stack: &Stack) -> Result<[String; 2]> {
    Ok([stack.replica(1)?.url(), stack.url()])
}

fn check_headers(answer: &Answer) -> Result<()> {
    check_headers_cached(answer, CACHED)
}

fn check_headers_cached(answer: &Answer, cached: &str) -> Result<()> {
    for (name, wanted) in [
        ("Cache-Control", cached),
        ("Content-Security-Policy", PICTURE_POLICY),
        ("X-Content-Type-Options", "nosniff"),
        ("Access-Control-Allow-Origin", "*"),
    ] {
        let all: Vec<_> = answer.headers.get_all(name).iter().collect();
        ensure!(all == [wanted], "{name} is {all:?}, not {wanted:?}");
    }
    let tag = answer.header("ETag");
    ensure!(tag.len() > 2 && tag.starts_with('"'), "not a strong tag: {tag:?}");
    ensure!(answer.header("Set-Cookie").is_empty(), "a cookie is set");
    Ok(())
}

#[tokio::test]
async fn a_picture_is_served_whole_and_to_be_kept_for_ever() -> Result<()> {
    let stack = SHARED.get().await?;
    let made = [
        (pictures::jpeg(rand::random(), 300, 200)?, "image/jpeg", ".jpg"),
        (pictures::png(rand::random(), 300, 200)?, "image/png", ".png"),
        (pictures::gif(rand::random(), 60, 40, 3)?, "image/gif", ".gif"),
        (pictures::webp(rand::random(), 300, 200)?, "image/webp", ".webp"),
    ];
    for (picture, media_type, extension) in made {
        // Neither the name nor the declared type says what it is.
        let served = post(stack, "wrong.txt", "text/html", picture.bytes.clone()).await?;
        assert!(served.media.ends_with(extension), "{}", served.media);
        assert_eq!(served.bytes, picture.bytes, "a {media_type} without metadata is served as it was sent");
        for site in sites(stack)? {
            let visitor = Visitor::new(&site)?;
            for path in [&served.media, &served.thumb] {
                let said = || format!("{site}{path}");
                let answer = visitor.get(path).await?;
                answer.expect(StatusCode::OK).with_context(said)?;
                check_headers(&answer).with_context(said)?;
                ensure!(answer.header("Accept-Ranges") == "bytes", "{}: {:?}", said(), answer.headers);
                ensure!(answer.header("Content-Length") == answer.body.len().to_string(), "{}: the length", said());
                let format = image::guess_format(&answer.body)?;
                ensure!(
                    answer.header("Content-Type") == format.to_mime_type(),
                    "{}: {:?} for {format:?}",
                    said(),
                    answer.headers
                );
                let head = visitor.head(path).await?;
                ensure!(head.status == StatusCode::OK && head.body.is_empty(), "HEAD {}: {}", said(), head.status);
                for name in
                    ["Content-Length", "Content-Type", "ETag", "Last-Modified", "Cache-Control", "Accept-Ranges"]
                {
                    ensure!(
                        head.header(name) == answer.header(name),
                        "HEAD {}: {name} {:?}",
                        said(),
                        head.header(name)
                    );
                }
            }
            assert_eq!(visitor.get(&served.media).await?.header("Content-Type"), media_type);
            assert_eq!(visitor.get(&served.media).await?.body, served.bytes, "{site}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_is_served_has_the_hash_in_its_row() -> Result<()> {
    let stack = SHARED.get().await?;
    let mut database = stack.database().await?;
    for picture in [pictures::jpeg(rand::random(), 120, 90)?, pictures::gif(rand::random(), 50, 40, 4)?] {
        let served = post(stack, &picture.name, picture.declared, picture.bytes).await?;
        let id = served.media.trim_start_matches("/media/").split('.').next().unwrap_or_default().to_owned();
        let (sha256, bytes): (Vec<u8>, i64) = sqlx::query_as("select sha256, bytes from blob where id = $1::uuid")
            .bind(id)
            .fetch_one(&mut database)
            .await?;
        for replica in stack.replicas() {
            let body = Visitor::new(&replica.url())?.get(&served.media).await?.body;
            assert_eq!(Sha256::digest(&body).as_slice(), sha256.as_slice(), "{} on {}", served.media, replica.name());
            assert_eq!(i64::try_from(body.len())?, bytes);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_part_of_a_picture_can_be_asked_for() -> Result<()> {
    let stack = SHARED.get().await?;
    let served = post_png(stack).await?;
    let (all, length) = (&served.bytes, served.bytes.len());
    assert!(length > 1000, "{length} bytes");
    for site in sites(stack)? {
        let visitor = Visitor::new(&site)?;
        let tag = visitor.get(&served.media).await?.header("ETag").to_owned();
        for (range, from, to) in [
            ("bytes=0-0".to_owned(), 0, 0),
            ("bytes=0-99".into(), 0, 99),
            ("bytes=100-".into(), 100, length - 1),
            ("bytes=-10".into(), length - 10, length - 1),
            (format!("bytes=500-{}", length * 2), 500, length - 1),
            (format!("bytes=-{}", length * 2), 0, length - 1),
        ] {
            for headers in
                [vec![("Range", range.as_str())], vec![("Range", range.as_str()), ("If-Range", tag.as_str())]]
            {
                let said = || format!("{headers:?} of {site}{}", served.media);
                let answer = with(&visitor, Method::GET, &served.media, &headers).await?;
                answer.expect(StatusCode::PARTIAL_CONTENT).with_context(said)?;
                ensure!(
                    Some(answer.body.as_ref()) == all.get(from..=to),
                    "{}: {} other bytes",
                    said(),
                    answer.body.len()
                );
                let told = answer.header("Content-Range");
                ensure!(told == format!("bytes {from}-{to}/{length}"), "{}: {told}", said());
                ensure!(answer.header("Content-Type") == "image/png", "{}: {:?}", said(), answer.headers);
                // nginx makes these headers before it knows whether there is such a part.
                let doubted = site == stack.url() && !range.starts_with("bytes=0-") && !range.starts_with("bytes=-");
                check_headers_cached(&answer, if doubted { "no-cache" } else { CACHED }).with_context(said)?;
            }
        }
        for headers in [
            vec![("Range", "bytes=0-9"), ("If-Range", "\"another\"")],
            vec![("Range", "bytes=0-9"), ("If-Range", "Thu, 01 Jan 1970 00:00:00 GMT")],
            vec![("Range", "lines=0-9")],
        ] {
            let answer = with(&visitor, Method::GET, &served.media, &headers).await?;
            ensure!(answer.status == StatusCode::OK && answer.body == *all, "{headers:?} at {site}: {}", answer.status);
        }
        let behind = format!("bytes={length}-");
        let answer = with(&visitor, Method::GET, &served.media, &[("Range", &behind)]).await?;
        ensure!(answer.status == StatusCode::RANGE_NOT_SATISFIABLE, "{behind} at {site}: {}", answer.status);
        ensure!(answer.header("Content-Range") == format!("bytes */{length}"), "{site}: {:?}", answer.headers);
        let kept: Vec<_> = answer.headers.get_all("Cache-Control").iter().collect();
        ensure!(kept.iter().any(|kept| *kept == "no-store"), "{behind} may be kept at {site}: {kept:?}");
        ensure!(!format!("{kept:?}").contains("immutable"), "{behind} may be kept at {site}: {kept:?}");
        for (name, wanted) in [("X-Content-Type-Options", "nosniff"), ("Content-Security-Policy", PICTURE_POLICY)] {
            let all: Vec<_> = answer.headers.get_all(name).iter().collect();
            ensure!(all == [wanted] || site != stack.url(), "{behind} at {site}: {name} is {all:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn who_has_a_picture_does_not_get_it_again() -> Result<()> {
    let stack = SHARED.get().await?;
    let served = post_png(stack).await?;
    for site in sites(stack)? {
        let visitor = Visitor::new(&site)?;
        for path in [&served.media, &served.thumb] {
            let whole = visitor.get(path).await?;
            let (tag, modified) = (whole.header("ETag"), whole.header("Last-Modified"));
            let weak = format!("\"x\", W/{tag}");
            for (headers, status) in [
                (vec![("If-None-Match", tag)], 304),
                (vec![("If-None-Match", weak.as_str())], 304),
                (vec![("If-None-Match", "*")], 304),
                (vec![("If-None-Match", "\"x\"")], 200),
                (vec![("If-None-Match", "\"x\""), ("If-Modified-Since", modified)], 200),
                (vec![("If-Modified-Since", modified)], 304),
                (vec![("If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT")], 200),
            ] {
                for method in [Method::GET, Method::HEAD] {
                    let said = || format!("{method} {site}{path} with {headers:?}");
                    let answer = with(&visitor, method.clone(), path, &headers).await?;
                    ensure!(answer.status.as_u16() == status, "{}: {}, not {status}", said(), answer.status);
                    ensure!(answer.header("ETag") == tag, "{}: {:?}", said(), answer.headers);
                    ensure!(answer.header("Cache-Control") == CACHED, "{}: {:?}", said(), answer.headers);
                    let empty = status == 304 || method == Method::HEAD;
                    ensure!(answer.body.is_empty() == empty, "{}: {} bytes", said(), answer.body.len());
                }
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn nginx_keeps_a_picture_after_the_first_time() -> Result<()> {
    let stack = SHARED.get().await?;
    let served = post_png(stack).await?;
    let visitor = Visitor::new(&stack.url())?;
    for path in [&served.media, &served.thumb] {
        let first = visitor.get(path).await?;
        assert_eq!((first.status, first.header("X-Cache-Status")), (StatusCode::OK, "MISS"), "{path}");
        for query in ["", "?again", "?and=again"] {
            let again = visitor.get(&format!("{path}{query}")).await?;
            assert_eq!(again.header("X-Cache-Status"), "HIT", "{path}{query}");
            assert_eq!(again.body, first.body, "{path}{query}");
            assert_eq!(again.header("X-Served-By"), "", "no replica served {path}{query}");
            check_headers(&again).with_context(|| format!("{path}{query}"))?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_picture_has_one_address() -> Result<()> {
    let stack = SHARED.get().await?;
    let served = post_png(stack).await?;
    let id = served.media.trim_start_matches("/media/").trim_end_matches(".png").to_owned();
    let bare = id.replace('-', "");
    for site in sites(stack)? {
        let visitor = Visitor::new(&site)?;
        visitor.get(&served.media).await?.expect(StatusCode::OK)?;
        for path in [
            format!("/media/{}.png", uuid::Uuid::now_v7()),
            format!("/media/{id}.jpg"),
            format!("/media/{id}.PNG"),
            format!("/media/{id}"),
            format!("/media/{id}.png.png"),
            format!("/media/{id}.png/"),
            format!("/media/{}.png", id.to_uppercase()),
            format!("/media/{bare}.png"),
            format!("/media/{{{id}}}.png"),
            format!("/media/urn:uuid:{id}.png"),
            format!("/media/../media/{bare}.png"),
            format!("/media/{id}%00.png"),
            format!("/thumb/{}.webp", uuid::Uuid::now_v7()),
            format!("/thumb/{id}.gif"),
            "/media/".into(),
            "/media/x.png".into(),
        ] {
            let answer = visitor.get(&path).await?;
            // nginx refuses NUL by itself.
            let expected = if path.contains("%00") && site == stack.url() { &[400, 404][..] } else { &[404][..] };
            ensure!(expected.contains(&answer.status.as_u16()), "{site}{path}: {}", answer.status);
            ensure!(answer.header("Cache-Control") == "no-store", "{site}{path}: {:?}", answer.headers);
            check_error_page(&answer, answer.status.as_u16()).with_context(|| format!("{site}{path}"))?;
            // nginx keeps this in place of a picture, and tells nobody.
            let told = answer.header("X-Accel-Expires");
            ensure!((told == "@1") == (site != stack.url()), "{site}{path}: {:?}", answer.headers);
        }
    }
    Ok(())
}

/// A TIFF file with an orientation and a text, little-endian.
fn exif(orientation: u8) -> Result<Vec<u8>> {
    let length = u32::try_from(CANARY.len())?.to_le_bytes();
    let head = [&b"Exif\0\0II*\0\x08\0\0\0\x02\0"[..], &[0x0e, 0x01, 2, 0], &length, &[38, 0, 0, 0]].concat();
    Ok([&head[..], &[0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0], &[0, 0, 0, 0], CANARY].concat())
}

fn segment(marker: u8, payload: &[u8]) -> Result<Vec<u8>> {
    let length = u16::try_from(payload.len() + 2)?.to_be_bytes();
    Ok([&[0xff, marker], &length[..], payload].concat())
}

/// Puts segments behind the start of a JPEG.
fn with_segments(jpeg: &[u8], segments: &[Vec<u8>]) -> Result<Bytes> {
    let (start, rest) = jpeg.split_at_checked(2).context("not a JPEG")?;
    Ok([start, &segments.concat(), rest].concat().into())
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// 400×200, left half red and right half blue.
fn halves() -> image::RgbImage {
    image::RgbImage::from_fn(400, 200, |x, _| image::Rgb(if x < 200 { [220, 30, 30] } else { [30, 30, 220] }))
}

#[tokio::test]
async fn where_a_picture_was_taken_is_not_served_and_up_is_up() -> Result<()> {
    let stack = SHARED.get().await?;
    // As a camera held sideways stores it: orientation 6 means "turn it clockwise to see it upright".
    let stored = image::imageops::rotate270(&halves());
    let mut jpeg = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 90);
    encoder.write_image(stored.as_raw(), stored.width(), stored.height(), image::ExtendedColorType::Rgb8)?;
    let xmp = [b"http://ns.adobe.com/xap/1.0/\0", CANARY].concat();
    let upload = with_segments(&jpeg, &[segment(0xe1, &exif(6)?)?, segment(0xe1, &xmp)?, segment(0xfe, CANARY)?])?;
    let upload: Bytes = [&upload[..], CANARY].concat().into();
    let served = post(stack, "gps.jpg", "image/jpeg", upload).await?;
    let visitor = Visitor::new(&stack.url())?;
    let thumb = visitor.get(&served.thumb).await?.expect(StatusCode::OK)?.body.clone();
    for (what, bytes) in [("picture", &served.bytes), ("thumbnail", &thumb)] {
        assert!(!holds(bytes, CANARY), "the {what} tells where it was taken");
        assert!(!holds(bytes, b"ns.adobe.com"), "the {what} has XMP");
    }
    let upright = |bytes: &[u8]| -> Result<image::RgbImage> {
        let mut decoder = image::ImageReader::new(std::io::Cursor::new(bytes)).with_guessed_format()?.into_decoder()?;
        let orientation = decoder.orientation()?;
        let mut picture = image::DynamicImage::from_decoder(decoder)?;
        picture.apply_orientation(orientation);
        Ok(picture.into_rgb8())
    };
    for (what, picture) in [("picture", upright(&served.bytes)?), ("thumbnail", upright(&thumb)?)] {
        assert_eq!(picture.width(), picture.height() * 2, "the {what} lies on its side");
        let (left, right) = (picture.get_pixel(5, 5).0, picture.get_pixel(picture.width() - 5, 5).0);
        assert!(left[0] > 150 && left[2] < 100 && right[2] > 150 && right[0] < 100, "{what}: {left:?} {right:?}");
    }
    // A browser shows the thumbnail as it is: nothing in it may have to be turned.
    let mut decoder = image::ImageReader::new(std::io::Cursor::new(&thumb)).with_guessed_format()?.into_decoder()?;
    assert_eq!(decoder.orientation()?, image::metadata::Orientation::NoTransforms);

    let id = served.media.trim_start_matches("/media/").trim_end_matches(".jpg").to_owned();
    let mut database = stack.database().await?;
    let sides: (i32, i32) =
        sqlx::query_as("select width, height from blob where id = $1::uuid").bind(id).fetch_one(&mut database).await?;
    assert_eq!(sides, (400, 200), "the sides that pages tell are not those that people see");
    Ok(())
}

#[tokio::test]
async fn an_animation_loses_its_metadata_and_not_a_byte_more() -> Result<()> {
    let stack = SHARED.get().await?;
    let plain = pictures::gif(rand::random(), 64, 48, 5)?.bytes;
    // A comment extension before the trailer, and something behind it.
    let (body, trailer) = plain.split_at_checked(plain.len() - 1).context("not a GIF")?;
    let comment = [&[0x21, 0xfe, u8::try_from(CANARY.len())?], CANARY, &[0]].concat();
    let upload: Bytes = [body, &comment, trailer, CANARY].concat().into();
    let served = post(stack, "moving.gif", "image/gif", upload).await?;
    assert_eq!(
        served.bytes,
        plain,
        "{} bytes are served, {} were sent without metadata",
        served.bytes.len(),
        plain.len()
    );
    let extension = served.media.rsplit('.').next();
    assert_eq!(extension, Some("gif"), "{}", served.media);
    Ok(())
}

#[tokio::test]
async fn pictures_that_differ_in_metadata_alone_are_stored_once() -> Result<()> {
    let stack = SHARED.get().await?;
    let plain = pictures::jpeg(rand::random(), 100, 80)?.bytes;
    let first = post(stack, "a.jpg", "image/jpeg", plain.clone()).await?;
    let second = post(stack, "b.jpg", "image/jpeg", with_segments(&plain, &[segment(0xfe, CANARY)?])?).await?;
    assert_eq!(first.media, second.media);
    assert_eq!(first.thumb, second.thumb);
    Ok(())
}

#[tokio::test]
async fn assets_are_named_by_their_content_and_kept_for_ever() -> Result<()> {
    let stack = SHARED.get().await?;
    let home = Visitor::new(&stack.url())?.get("/").await?;
    let assets = home.attributes("link[href^='/static/']", "href")?;
    assert!(assets.len() >= 2, "{assets:?}");
    for path in &assets {
        let parts: Vec<&str> = path.trim_start_matches("/static/").split('.').collect();
        let hash = parts.get(1).copied().unwrap_or_default();
        ensure!(
            parts.len() == 3 && hash.len() >= 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{path} has no hash"
        );
        let mut bodies = Vec::new();
        for site in crate::shared::sites(stack) {
            let visitor = Visitor::new(&site)?;
            let said = || format!("{site}{path}");
            let plain = with(&visitor, Method::GET, path, &[("Accept-Encoding", "identity")]).await?;
            plain.expect(StatusCode::OK).with_context(said)?;
            ensure!(plain.header("Content-Encoding").is_empty(), "{}: {:?}", said(), plain.headers);
            let kept = plain.header("Cache-Control").replace(' ', "");
            ensure!(kept == "public,max-age=31536000,immutable", "{}: {kept}", said());
            ensure!(plain.header("X-Content-Type-Options") == "nosniff", "{}: {:?}", said(), plain.headers);
            let sum = Sha256::digest(&plain.body).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
            ensure!(sum.starts_with(hash), "{}: the hash in the name is not that of the content", said());
            let is_style = parts.last() == Some(&"css");
            let expected = if is_style { "text/css; charset=utf-8" } else { "image/svg+xml" };
            ensure!(plain.header("Content-Type") == expected, "{}: {:?}", said(), plain.headers);
            let zipped = raw_gzip(&visitor, path).await.with_context(said)?;
            ensure!(zipped.len() < plain.body.len() || !is_style, "{}: gzip has {} bytes", said(), zipped.len());
            ensure!(visitor.get(path).await?.body == plain.body, "{}: gzip is another text", said());
            let head = visitor.head(path).await?;
            ensure!(head.status == StatusCode::OK && head.body.is_empty(), "HEAD {}", said());
            bodies.push(plain.body);
        }
        assert!(bodies.windows(2).all(|pair| pair.first() == pair.last()), "{path} differs from site to site");
        // While one release replaces another, a page may name what only the other has: better ours than none, but nobody
        // may keep it under that name.
        let of_another_release = path.replace(hash, &"0".repeat(hash.len()));
        let without_hash = path.replace(hash, "latest");
        for site in crate::shared::sites(stack) {
            let visitor = Visitor::new(&site)?;
            let answer = visitor.get(&of_another_release).await?;
            answer.expect(StatusCode::OK).with_context(|| format!("{site}{of_another_release}"))?;
            ensure!(Some(&answer.body) == bodies.first(), "{site}{of_another_release} is not ours");
            ensure!(answer.header("Cache-Control") == "no-store", "{site}{of_another_release}: {:?}", answer.headers);
            for wrong in [without_hash.as_str(), "/static/style.css", "/static/", "/static/../Cargo.toml"] {
                let answer = visitor.get(wrong).await?;
                ensure!(answer.status == StatusCode::NOT_FOUND, "{site}{wrong}: {}", answer.status);
                ensure!(!answer.header("Cache-Control").contains("immutable"), "{site}{wrong}: {:?}", answer.headers);
            }
        }
    }
    Ok(())
}

/// A body as it comes, still compressed.
async fn raw_gzip(visitor: &Visitor, path: &str) -> Result<Bytes> {
    let client = reqwest::Client::builder().no_proxy().no_gzip().build()?;
    let visitor = Visitor::with_client(visitor.url("").as_str(), client)?;
    let answer = with(&visitor, Method::GET, path, &[("Accept-Encoding", "gzip")]).await?;
    answer.expect(StatusCode::OK)?;
    ensure!(answer.header("Content-Encoding") == "gzip", "not compressed: {:?}", answer.headers);
    ensure!(answer.header("Vary").contains("Accept-Encoding"), "Vary: {:?}", answer.header("Vary"));
    ensure!(answer.body.starts_with(b"\x1f\x8b"), "not gzip");
    Ok(answer.body)
}

#[tokio::test]
async fn a_compressed_page_is_the_same_page() -> Result<()> {
    // Nobody else posts on this board while the two are compared.
    let stack = Stack::builder().replicas(1).start().await?;
    let visitor = Visitor::new(&stack.url())?;
    let form = Form::thread("밤하늘\n>quote\n").picture(&pictures::png(1, 100, 80)?);
    let no = visitor.must_post("b", &form).await?.no;
    for path in [
        "/".to_owned(),
        "/b/".into(),
        "/b/catalog.html".into(),
        "/boards.json".into(),
        format!("/b/res/{no}.html"),
        format!("/b/res/{no}.json"),
    ] {
        let plain = with(&visitor, Method::GET, &path, &[("Accept-Encoding", "identity")]).await?;
        assert_eq!((plain.status, plain.header("Content-Encoding")), (StatusCode::OK, ""), "{path}");
        let unpacked = visitor.get(&path).await?;
        assert!(unpacked.body == plain.body, "{path} differs when it is compressed");
        let zipped = raw_gzip(&visitor, &path).await.with_context(|| path.clone())?;
        assert!(zipped.len() < plain.body.len(), "{path}: {} of {} bytes", zipped.len(), plain.body.len());
        // Two encodings are two representations: RFC 9110, section 8.8.3.
        let tag = with(&visitor, Method::GET, &path, &[("Accept-Encoding", "gzip")]).await?.header("ETag").to_owned();
        assert_ne!(tag, plain.header("ETag"), "{path}");
        for refused in ["gzip;q=0", "br", ""] {
            let answer = with(&visitor, Method::GET, &path, &[("Accept-Encoding", refused)]).await?;
            assert_eq!(answer.header("Content-Encoding"), "", "{path} with Accept-Encoding: {refused:?}");
        }
    }
    stack.stop().await
}

#[tokio::test]
async fn a_spoiler_does_not_show_its_thumbnail() -> Result<()> {
    let stack = SHARED.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let form = Form::thread("hidden").field("spoiler", "on").picture(&pictures::png(rand::random(), 90, 60)?);
    let no = visitor.must_post("b", &form).await?.no;
    let json: Value = document(&visitor, &format!("/b/res/{no}.json")).await?;
    let opening = list(&json, "/posts")?.first().context("no post")?;
    assert_eq!(number(opening, "/spoiler")?, 1);
    let (thumb, media) = (text(opening, "/thumb")?, text(opening, "/media")?);
    for path in ["/", "/b/", "/b/catalog.html", &format!("/b/res/{no}.html")] {
        let page = visitor.get(path).await?;
        assert!(!page.text().contains(thumb), "{path} shows the thumbnail");
    }
    let page = visitor.get(&format!("/b/res/{no}.html")).await?;
    assert_eq!(page.texts(".file .cover")?, ["Spoiler"]);
    assert_eq!(page.attributes(".file a", "href")?, [media]);
    Ok(())
}

#[tokio::test]
async fn a_picture_can_only_be_read_and_everybody_is_told_so_in_their_own_form() -> Result<()> {
    let stack = SHARED.get().await?;
    let served = post_png(stack).await?;
    for site in sites(stack)? {
        let visitor = Visitor::new(&site)?;
        for path in [&served.media, &served.thumb] {
            for (method, length) in
                [(Method::POST, 0), (Method::POST, 5_000), (Method::PUT, 5_000), (Method::DELETE, 0)]
            {
                let said = || format!("{method} {site}{path} with {length} bytes");
                let ask = |visitor: &Visitor| visitor.request(method.clone(), path).body(vec![b'x'; length]);
                let program = visitor.accepting(JSON);
                let answer = visitor.send(ask(&program)).await.with_context(said)?;
                let problem: Value = answer.expect(StatusCode::METHOD_NOT_ALLOWED).with_context(said)?.json()?;
                ensure!(text(&problem, "/code")? == "method_not_allowed", "{}: {problem}", said());
                ensure!(
                    answer.header("Content-Type") == "application/problem+json",
                    "{}: {:?}",
                    said(),
                    answer.headers
                );
                ensure!(answer.header("Allow").contains("GET, HEAD"), "{}: {:?}", said(), answer.headers);
                let page = visitor.send(ask(&visitor)).await.with_context(said)?;
                page.expect(StatusCode::METHOD_NOT_ALLOWED).with_context(said)?;
                ensure!(page.header("Content-Type") == "text/html; charset=utf-8", "{}: {:?}", said(), page.headers);
                ensure!(page.count("h1")? == 1, "{}: {}", said(), page.text());
            }
        }
        let still = visitor.get(&served.media).await?;
        assert_eq!(still.expect(StatusCode::OK)?.body, served.bytes, "the picture at {site}");
    }
    Ok(())
}
