//! A finished picture and how it is made from drawing code.

/// The same picture twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// An SVG document (`<svg ...>`, no XML declaration), fit to be put into a file or inline into HTML.
    pub svg: String,
    /// A PNG file.
    pub png: Vec<u8>,
}

/// A picture could not be drawn. No view model leads to this; a broken build of this crate would.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The embedded font could not be read.
    #[error("the embedded font {0} cannot be read; this build of Nocturne is broken")]
    Font(&'static str),
    /// A drawing operation failed.
    #[error("drawing the {picture} failed: {reason}")]
    Draw {
        /// Which picture.
        picture: &'static str,
        /// What the drawing library said.
        reason: String,
    },
}
