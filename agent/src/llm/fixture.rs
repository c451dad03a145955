//! What the tests of both formats ask and read.

use serde_json::json;

use super::assemble::Assemble;
use super::{Answer, Assembled, Call, Message, Part, Request, Role, Tool};

/// A request with everything that one can have.
pub fn request() -> Request {
    let part = |text: &str| Part::Text { text: text.to_owned() };
    let call = Call { id: "c1".to_owned(), name: "read_file".to_owned(), arguments: json!({ "path": "model.rs" }) };
    let result = |id: &str, text: &str, failed| Part::Result { id: id.to_owned(), text: text.to_owned(), failed };
    Request {
        model: "small".to_owned(),
        system: "You propose edits.".to_owned(),
        messages: vec![
            Message { role: Role::User, parts: vec![part("The brief."), part("Its end.")] },
            Message { role: Role::Assistant, parts: vec![part("I look first."), Part::Call(call.clone())] },
            Message { role: Role::User, parts: vec![result("c1", "fn main() {}", false)] },
            // A model that says nothing beside its call, which then goes wrong.
            Message { role: Role::Assistant, parts: vec![part(" "), Part::Call(Call { id: "c2".to_owned(), ..call })] },
            Message { role: Role::User, parts: vec![result("c2", "no such file", true)] },
        ],
        tools: vec![Tool {
            name: "read_file".to_owned(),
            description: "Reads a file.".to_owned(),
            arguments: json!({ "type": "object", "properties": { "path": { "type": "string" } } }),
        }],
        most_tokens: 4_000,
        temperature: Some(0.7),
    }
}

/// What comes of these events.
pub fn assembled<A: Assemble + Default>(events: &[&str]) -> Assembled<Answer> {
    let mut assembler = A::default();
    for event in events {
        if assembler.take(event)? {
            break;
        }
    }
    assembler.finish()
}

/// Each of these streams fails with these words.
pub fn fail_so<A: Assemble + Default>(cases: &[(&[&str], &str)]) {
    for (events, expected) in cases {
        let message = assembled::<A>(events).unwrap_err().to_string();
        assert!(message.contains(expected), "{message:?}, expected {expected:?}");
    }
}
