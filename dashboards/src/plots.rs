//! Skeleton: signatures only, the drawing follows.
use crate::{CurveAxis, CurveView, ExperimentView, NightView, Picture, PictureError};

/// Progress of the night: every experiment's metric against its number, kept ones labelled, the running best.
///
/// # Errors
/// Only where the build is broken, see [`PictureError`].
pub fn progress(_night: &NightView) -> Result<Picture, PictureError> {
    Ok(empty())
}

/// Loss curves of the night, kept ones in colour. `curves` in any order, the night's start (number 0) among them.
///
/// # Errors
/// Only where the build is broken, see [`PictureError`].
pub fn losses(_night: &NightView, _curves: &[CurveView], _axis: CurveAxis) -> Result<Picture, PictureError> {
    Ok(empty())
}

/// One experiment's loss curve against its champion's. `champion` is `None` where that curve is lost.
///
/// # Errors
/// Only where the build is broken, see [`PictureError`].
pub fn experiment(
    _night: &NightView,
    _experiment: &ExperimentView,
    _curve: &CurveView,
    _champion: Option<&CurveView>,
    _axis: CurveAxis,
) -> Result<Picture, PictureError> {
    Ok(empty())
}

fn empty() -> Picture {
    Picture { svg: "<svg xmlns=\"http://www.w3.org/2000/svg\"/>".to_owned(), png: Vec::new() }
}
