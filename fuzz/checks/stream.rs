//! Any bytes as what a model server sends.

use futures_util::{FutureExt as _, stream};
use nocturne::llm::client::Format;
use nocturne::llm::{Answer, AskError, Stop, anthropic, openai, stream::read};

/// Bytes of text and arguments that an answer may have.
const MOST_ANSWER: usize = 1 << 20;

/// Whatever the bytes, and however they are cut into packets: an answer that has an end, or a failure with a name.
pub fn check(data: &[u8]) {
    for format in [Format::OpenAi, Format::Anthropic] {
        let whole = assembled(format, data, data.len().max(1));
        for size in [1, 7] {
            assert_eq!(assembled(format, data, size), whole, "in packets of {size}, {format:?}");
        }
        match whole {
            Ok(answer) => sound(format, data, &answer),
            Err(error) => short(&error),
        }
    }
    // The body of a failure is any text too.
    let body = String::from_utf8_lossy(data);
    for status in [200, 400, 401, 404, 429, 500, 529] {
        short(&openai::failure(status, None, &body));
        short(&anthropic::failure(status, Some(7), &body));
    }
}

fn assembled(format: Format, data: &[u8], size: usize) -> Result<Answer, AskError> {
    let packets = stream::iter(data.chunks(size).map(Ok));
    // Nothing here waits for anything.
    let answer = read(format, packets, |error| AskError::BrokenOff(error.to_string())).now_or_never();
    answer.unwrap_or_else(|| panic!("a stream of what is there already was waited for"))
}

fn sound(format: Format, data: &[u8], answer: &Answer) {
    let says = |words: &str| data.windows(words.len()).any(|window| window == words.as_bytes());
    // JSON may write any letter as a number.
    let escaped = says("\\u");
    let ended = match format {
        Format::OpenAi => says("[DONE]") || says("finish_reason"),
        Format::Anthropic => says("message_stop"),
    };
    assert!(ended || escaped, "an answer without an end: {answer:?}");
    let silent = answer.text.trim().is_empty() && answer.calls.is_empty();
    assert!(!silent || matches!(answer.stop, Stop::Refused | Stop::Length), "an answer that says nothing: {answer:?}");
    assert!(answer.text.len() <= MOST_ANSWER && answer.calls.len() <= 64);
    for call in &answer.calls {
        assert!(!call.id.is_empty() && !call.name.is_empty() && call.arguments.is_object(), "{call:?}");
    }
    let model = answer.model.as_deref().unwrap_or_default();
    assert!(model.len() <= 2_000 && !model.chars().any(char::is_control), "the model {model:?}");
}

/// A server's words end in logs, in the record and in a terminal.
fn short(error: &AskError) {
    let text = error.to_string();
    assert!(text.chars().count() <= 1_000, "{} characters: {text}", text.chars().count());
    assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?}");
}
