//! Errors with what caused them, as one line.

use std::error::Error;

/// An error with its causes, each after a colon.
pub(crate) fn chain(error: &dyn Error) -> String {
    std::iter::successors(error.source(), |cause| (**cause).source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outside")]
    struct Outside(#[source] std::io::Error);

    #[test]
    fn causes_follow_their_error() {
        assert_eq!(chain(&Outside(std::io::Error::other("inside"))), "outside: inside");
    }
}
