//! What a person sees while a night runs. Text from outside is cleaned here before it reaches a terminal.

/// The text on one line without control characters.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
