//! From the bytes of a good response to an answer: events, cut out of a stream however its packets lie, put together by format.
//!
//! Nothing here connects to anything, so that any bytes at all can be read in tests and by the fuzzer.

use std::io::Cursor;

use futures_util::{Stream, TryStreamExt as _};
use sse_stream::SseByteStream;
use tokio::time::{Instant, timeout_at};

use super::assemble::{Assemble, MOST_ANSWER_BYTES};
use super::client::Format;
use super::patience::{Late, Patience};
use super::received::Received;
use super::{Answer, AskError, anthropic, openai};

/// Bytes of a stream, all of it: every token is wrapped in a few hundred.
pub(super) const MOST_STREAM_BYTES: usize = 64 * MOST_ANSWER_BYTES;

/// What a stream without any event may mean.
const NOT_ONE: &str = "not one event was sent; some servers answer so to a request longer than their context: see the server's log, \
                       and compare its context with context_tokens";

/// A stream without end.
#[derive(Debug, thiserror::Error)]
#[error("the stream is too long")]
pub(super) struct TooLong;

/// Reads an answer up to the event that says it is the last. `broken` names a failure of the stream itself.
///
/// # Errors
/// What is missing or wrong in the stream; see [`AskError`].
pub async fn read<B: AsRef<[u8]>>(
    format: Format,
    packets: impl Stream<Item = std::io::Result<B>>,
    broken: impl Fn(&sse_stream::Error) -> AskError,
) -> Result<Answer, AskError> {
    let late = |late: Late| AskError::BrokenOff(late.to_string());
    read_within(format, packets, broken, (None, late), &Received::default()).await
}

/// The same; what has come is noted as it comes. `patience`: how long is waited for it, and what it is called when it was too long. Without,
/// no clock is needed.
pub(super) async fn read_within<B: AsRef<[u8]>>(
    format: Format,
    packets: impl Stream<Item = std::io::Result<B>>,
    broken: impl Fn(&sse_stream::Error) -> AskError,
    patience: (Option<Patience>, impl Fn(Late) -> AskError),
    received: &Received,
) -> Result<Answer, AskError> {
    match format {
        Format::OpenAi => assembled(openai::Assembler::default(), packets, broken, patience, received).await,
        Format::Anthropic => assembled(anthropic::Assembler::default(), packets, broken, patience, received).await,
    }
}

/// Hands the stream's events on, up to the one that says it is the last.
async fn assembled<A: Assemble, B: AsRef<[u8]>>(
    mut assembler: A,
    packets: impl Stream<Item = std::io::Result<B>>,
    broken: impl Fn(&sse_stream::Error) -> AskError,
    (mut patience, late): (Option<Patience>, impl Fn(Late) -> AskError),
    received: &Received,
) -> Result<Answer, AskError> {
    let mut bytes = 0_usize;
    let bounded = packets.and_then(move |packet| {
        bytes = bytes.saturating_add(packet.as_ref().len());
        let whole =
            if bytes > MOST_STREAM_BYTES { Err(std::io::Error::other(TooLong)) } else { Ok(Cursor::new(packet)) };
        std::future::ready(whole)
    });
    let mut events = Box::pin(SseByteStream::new(bounded));
    let mut none = true;
    loop {
        let next = match &patience {
            None => events.try_next().await,
            Some(patience) => match timeout_at(patience.deadline(), events.try_next()).await {
                Ok(next) => next,
                Err(_) => return Err(late(patience.late())),
            },
        };
        match next {
            Ok(Some(event)) => {
                none = false;
                let Some(data) = event.data else { continue };
                let last = assembler.take(&data);
                let came = assembler.came();
                received.note(came);
                if let Some(patience) = &mut patience {
                    patience.saw(Instant::now(), came.bytes);
                }
                if last? {
                    return assembler.finish();
                }
            }
            // llama-cpp-python begins a good response before it looks how long the request is.
            Ok(None) if none => return Err(AskError::BrokenOff(NOT_ONE.to_owned())),
            Ok(None) => return assembler.finish(),
            Err(error) => return Err(broken(&error)),
        }
    }
}
