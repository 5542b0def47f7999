//! Bodies of answers: JSON that is known or that comes, on its way indented or made YAML, compressed, and sent as its reader takes it.
//!
//! What comes is an answer with its code already given. Should it fail on the way, the transfer is broken off, so that nobody takes a part for the
//! whole.

use std::io::Write as _;
use std::pin::Pin;

use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream::{self, Stream, StreamExt as _};
use http::{HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt as _, Full, StreamBody};

use super::pretty::Pretty;
use super::pulse::Watched;
use super::status::Refusal;
use super::yaml::Yaml;

/// Why a body broke off, which its source has logged. If nothing was sent yet it is what the caller is told; else the caller sees a broken
/// connection.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
pub(crate) struct BodyError(pub(crate) Box<Refusal>);

/// Pieces of JSON, one after the other.
pub(crate) type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// What is shorter than this is not compressed.
const WORTH_COMPRESSING: usize = 128 << 10;

/// How the bytes of an answer are laid out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Layout {
    /// JSON as it is: without spaces.
    #[default]
    Compact,
    /// JSON with lines and indents.
    Indented,
    /// YAML.
    Yaml,
}

/// What a client wants of the bytes of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) layout: Layout,
    /// The client takes gzip.
    pub(crate) gzip: bool,
}

impl Wishes {
    /// Whether `Accept-Encoding` has gzip, and not with `q=0`.
    pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
        let values = headers.get_all(header::ACCEPT_ENCODING).into_iter().filter_map(|it| it.to_str().ok());
        values.flat_map(|it| it.split(',')).any(|it| {
            let mut parts = it.split(';').map(str::trim);
            parts.next().is_some_and(|it| it.eq_ignore_ascii_case("gzip"))
                && !parts.any(|it| matches!(it, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
    }
}

/// A body that is known as a whole; sets the headers that speak of it.
pub(crate) fn whole(json: Vec<u8>, wishes: Wishes, headers: &mut HeaderMap) -> Body {
    let mut bytes = Writer::of(wishes.layout).pass(json.into());
    if wishes.gzip && bytes.len() > WORTH_COMPRESSING {
        says_gzip(headers);
        let mut encoder = encoder();
        // Writing to memory does not fail.
        let _ = encoder.write_all(&bytes);
        bytes = encoder.finish().unwrap_or_default().into();
    }
    headers.insert(header::CONTENT_LENGTH, bytes.len().into());
    let known = Full::new(bytes).map_err(|never| match never {});
    Body::new(Watched::new(known))
}

/// A body that comes. What turns out short is sent as a whole, with a code of its own if it fails before anything was sent: then the error is
/// returned.
pub(crate) async fn coming(
    mut pieces: Pieces,
    wishes: Wishes,
    headers: &mut HeaderMap,
) -> Result<Body, BodyError> {
    let mut start = Vec::new();
    while start.len() <= WORTH_COMPRESSING {
        match pieces.next().await {
            Some(piece) => start.extend_from_slice(&piece?),
            None => return Ok(whole(start, wishes, headers)),
        }
    }
    let pieces = stream::once(async { Ok(Bytes::from(start)) }).chain(pieces);
    Ok(streamed(pieces, wishes, headers))
}

/// A body that comes and whose pieces are sent at once, as they are: a watch.
pub(crate) fn immediate(pieces: Pieces) -> Body {
    sent(pieces)
}

fn streamed(
    pieces: impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
    wishes: Wishes,
    headers: &mut HeaderMap,
) -> Body {
    if wishes.gzip {
        says_gzip(headers);
    }
    let filter = Filter { writer: Writer::of(wishes.layout), gzip: wishes.gzip.then(encoder) };
    let pieces = stream::unfold(Some((Box::pin(pieces), filter)), |state| async move {
        let (mut pieces, mut filter) = state?;
        loop {
            match pieces.next().await {
                None => return Some((Ok(filter.end()), None)),
                Some(Err(error)) => return Some((Err(error), None)),
                Some(Ok(piece)) => {
                    let out = filter.pass(piece);
                    if !out.is_empty() {
                        return Some((Ok(out), Some((pieces, filter))));
                    }
                }
            }
        }
    });
    sent(pieces)
}

fn sent(pieces: impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static) -> Body {
    let frames = pieces.map(|piece| piece.map(http_body::Frame::data));
    Body::new(Watched::new(StreamBody::new(Box::pin(frames))))
}

fn encoder() -> GzEncoder<Vec<u8>> {
    GzEncoder::new(Vec::new(), Compression::new(1))
}

fn says_gzip(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
}

/// Lays pieces out on their way.
enum Writer {
    Compact,
    Indented(Pretty),
    Yaml(Yaml),
}

impl Writer {
    fn of(layout: Layout) -> Self {
        match layout {
            Layout::Compact => Self::Compact,
            Layout::Indented => Self::Indented(Pretty::default()),
            Layout::Yaml => Self::Yaml(Yaml::default()),
        }
    }

    fn pass(&mut self, piece: Bytes) -> Bytes {
        let mut out = Vec::new();
        match self {
            Self::Compact => return piece,
            Self::Indented(pretty) => {
                out.reserve(piece.len() * 2);
                pretty.indent(&piece, &mut out);
            }
            Self::Yaml(yaml) => {
                out.reserve(piece.len() * 2);
                yaml.write(&piece, &mut out);
            }
        }
        out.into()
    }
}

/// What is done to pieces on their way.
struct Filter {
    writer: Writer,
    gzip: Option<GzEncoder<Vec<u8>>>,
}

impl Filter {
    fn pass(&mut self, piece: Bytes) -> Bytes {
        let piece = self.writer.pass(piece);
        let Some(gzip) = &mut self.gzip else { return piece };
        // Writing to memory does not fail.
        let _ = gzip.write_all(&piece);
        std::mem::take(gzip.get_mut()).into()
    }

    fn end(mut self) -> Bytes {
        self.gzip.take().and_then(|it| it.finish().ok()).unwrap_or_default().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn pieces(count: usize) -> Pieces {
        let piece = Bytes::from(format!("[{}1]", "1,".repeat(500)));
        let list = std::iter::repeat_n(piece, count);
        let joined = list.enumerate().map(|(at, piece)| {
            let before = if at == 0 { "[" } else { "," };
            Bytes::from([before.as_bytes(), &piece].concat())
        });
        stream::iter(joined.chain([Bytes::from("]\n")]).map(Ok).collect::<Vec<_>>()).boxed()
    }

    async fn collected(body: Body) -> Vec<u8> {
        body.collect().await.expect("a whole body").to_bytes().to_vec()
    }

    async fn sent_with(count: usize, wishes: Wishes) -> (HeaderMap, Vec<u8>) {
        let mut headers = HeaderMap::new();
        let body = coming(pieces(count), wishes, &mut headers).await.expect("no failure");
        (headers, collected(body).await)
    }

    #[tokio::test]
    async fn long_answers_are_compressed_and_short_ones_are_not() {
        let wishes = Wishes { gzip: true, layout: Layout::Compact };
        let (headers, bytes) = sent_with(3, wishes).await;
        assert_eq!(headers.get(header::CONTENT_ENCODING), None);
        assert_eq!(headers[header::CONTENT_LENGTH], bytes.len().to_string());
        let (_, plain) = sent_with(1000, Wishes::default()).await;
        let (headers, bytes) = sent_with(1000, wishes).await;
        assert_eq!(headers[header::CONTENT_ENCODING], "gzip");
        assert!(bytes.len() * 10 < plain.len());
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&*bytes).read_to_end(&mut unpacked).expect("gzip");
        assert_eq!(unpacked, plain);
    }

    #[tokio::test]
    async fn what_is_indented_is_the_same_json() {
        let (_, plain) = sent_with(1000, Wishes::default()).await;
        let (_, pretty) = sent_with(1000, Wishes { layout: Layout::Indented, gzip: false }).await;
        let read = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).expect("JSON");
        assert!(pretty.starts_with(b"[\n  [\n    1,"));
        assert_eq!(read(&plain), read(&pretty));
    }

    #[tokio::test]
    async fn a_failure_on_the_way_breaks_the_body_off() {
        let broken = pieces(1000)
            .take(900)
            .chain(stream::iter([Err(BodyError(Box::new(Refusal::timeout())))]))
            .boxed();
        let body = coming(broken, Wishes::default(), &mut HeaderMap::new()).await.expect("it has begun");
        assert!(body.collect().await.is_err());
        let at_once = stream::iter([Err(BodyError(Box::new(Refusal::timeout())))]).boxed();
        assert!(coming(at_once, Wishes::default(), &mut HeaderMap::new()).await.is_err());
    }

    #[test]
    fn gzip_is_taken_where_it_is_named() {
        for (value, takes) in
            [("gzip", true), ("deflate, gzip;q=0.5", true), ("gzip;q=0", false), ("identity", false)]
        {
            let headers = [(header::ACCEPT_ENCODING, HeaderValue::from_static(value))].into_iter().collect();
            assert_eq!(Wishes::takes_gzip(&headers), takes, "{value}");
        }
    }
}
