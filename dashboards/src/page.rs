//! The simple page of a night: one self-contained HTML file.

use std::collections::BTreeMap;

use crate::{NightView, Picture};

/// The pictures that go into a page; each may be missing.
#[derive(Debug, Clone, Default)]
pub struct NightPictures {
    /// From [`crate::progress`].
    pub progress: Option<Picture>,
    /// From [`crate::losses`] against tokens.
    pub loss_tokens: Option<Picture>,
    /// From [`crate::losses`] against time.
    pub loss_time: Option<Picture>,
    /// From [`crate::experiment`], by the experiment's number.
    pub experiments: BTreeMap<u32, Picture>,
}

/// The night as one HTML document.
pub fn page(night: &NightView, _pictures: &NightPictures) -> String {
    maud::html! { (maud::DOCTYPE) html lang="en" { body { h1 { (night.night) } } } }.into_string()
}
