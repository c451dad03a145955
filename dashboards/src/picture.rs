//! A finished picture and how it is made from drawing code.
//!
//! Everything is drawn once, by plotters, as SVG. The PNG is that SVG rendered by resvg with the embedded fonts: plotters' own
//! bitmap backend leaves lines of more than one pixel jagged, spaces letters by whole pixels and has no second font for what
//! the first one lacks (compared by eye).

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use ab_glyph::{Font, FontRef};
use plotters::prelude::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea, SVGBackend};
use plotters::style::FontStyle;
use resvg::usvg::fontdb;
use resvg::{tiny_skia, usvg};

use crate::text;

/// Width of every picture in CSS pixels.
pub(crate) const WIDTH: f64 = 1200.0;
/// Height of a picture in CSS pixels, where it has no reason for another.
pub(crate) const HEIGHT: f64 = 700.0;
/// Height of a picture that grows with what it shows, where it has nothing to show.
pub(crate) const EMPTY_HEIGHT: f64 = 200.0;
/// plotters places everything at whole numbers; drawing this much larger gives a quarter of a pixel.
pub(crate) const SCALE: f64 = 4.0;
/// PNG pixels per CSS pixel, so that the file is sharp on today's screens.
const PNG_SCALE: f32 = 2.0;

/// What the SVG asks for. The embedded one is Ubuntu Light; a viewer without it takes the next best.
pub(crate) const FONT_FAMILY: &str = "Ubuntu, Helvetica, Arial, Noto Sans, sans-serif";

/// For what Ubuntu Light lacks.
const FALLBACK_FONTS: [&[u8]; 2] = [epaint_default_fonts::HACK_REGULAR, epaint_default_fonts::NOTO_EMOJI_REGULAR];

/// A picture, from which both files are made.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// An SVG document (`<svg ...>`, no XML declaration), fit to be put into a file or inline into HTML. 1200 wide, and 700 high
    /// unless its drawing function says otherwise. Its `title` and `desc` are what a screen reader says.
    pub svg: String,
    name: &'static str,
    height: f64,
}

impl Picture {
    /// The same as a PNG file, two pixels for one of the SVG. That takes some ten times as long as drawing it.
    ///
    /// # Errors
    /// Only where the build is broken, see [`PictureError`].
    pub fn png(&self) -> Result<Vec<u8>, PictureError> {
        render(&self.svg, self.height).map_err(|reason| PictureError::Png { picture: self.name, reason })
    }
}

/// A picture could not be drawn. No view model leads to this; a broken build of this crate would.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The embedded font could not be read.
    #[error("the embedded font cannot be read; this build of Nocturne is broken")]
    Font,
    /// A drawing operation failed.
    #[error("drawing the SVG of the {picture} failed: {reason}")]
    Draw {
        /// Which picture.
        picture: &'static str,
        /// What the drawing library said.
        reason: String,
    },
    /// The SVG could not be turned into a PNG.
    #[error("turning the SVG of the {picture} into a PNG failed: {reason}")]
    Png {
        /// Which picture.
        picture: &'static str,
        /// What the library said.
        reason: String,
    },
}

/// plotters' drawing area over the whole picture, in scaled pixels.
pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
/// What a drawing operation gives.
pub(crate) type Drawn<T = ()> = Result<T, DrawingAreaErrorKind<std::io::Error>>;

/// Runs drawing code. `name` goes into errors, title and description are what a screen reader
/// says.
pub(crate) fn picture(
    name: &'static str,
    title: &str,
    description: &str,
    draw: impl FnOnce(&Area<'_>) -> Drawn,
) -> Result<Picture, PictureError> {
    picture_of_height(name, (title, description), HEIGHT, draw)
}

/// As [`picture`], but as high as is needed, in CSS pixels.
pub(crate) fn picture_of_height(
    name: &'static str,
    (title, description): (&str, &str),
    height: f64,
    draw: impl FnOnce(&Area<'_>) -> Drawn,
) -> Result<Picture, PictureError> {
    register_font()?;
    let mut drawn = String::new();
    {
        let size = ((WIDTH * SCALE) as u32, (height * SCALE) as u32);
        let area = SVGBackend::with_string(&mut drawn, size).into_drawing_area();
        draw(&area)
            .and_then(|()| area.present())
            .map_err(|error| PictureError::Draw { picture: name, reason: error.to_string() })?;
    }
    let svg = with_own_root(&drawn, title, description, height)
        .ok_or_else(|| PictureError::Draw { picture: name, reason: "the SVG has no root element".to_owned() })?;
    Ok(Picture { svg, name, height })
}

/// plotters finds fonts in a table of its own that has to be filled once.
fn register_font() -> Result<(), PictureError> {
    static REGISTERED: Mutex<bool> = Mutex::new(false);
    let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*registered {
        plotters::style::register_font(FONT_FAMILY, FontStyle::Normal, text::FONT).map_err(|_| PictureError::Font)?;
        *registered = true;
    }
    Ok(())
}

/// Replaces the root element's tag: CSS size instead of the scaled one, title and description for screen readers, and line joins that do
/// not put spikes on a noisy curve. Lines get the opacity of their stroke instead of that of a layer, which renderers would first
/// have to make; that is ten times as fast. (Texts cannot be hit: their quotation marks are escaped.)
fn with_own_root(drawn: &str, title: &str, description: &str, height: f64) -> Option<String> {
    let body = drawn[drawn.find('>')? + 1..]
        .replace(" opacity=\"1\"", "")
        .replace("<polyline fill=\"none\" opacity=", "<polyline fill=\"none\" stroke-opacity=");
    let words = maud::html! { title { (text::clean(title)) } desc { (text::clean(description)) } }.into_string();
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {} {}\" role=\"img\" \
         stroke-linejoin=\"round\" stroke-linecap=\"round\">{words}{body}",
        WIDTH * SCALE,
        height * SCALE,
    ))
}

static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::new();
    for bytes in std::iter::once(text::FONT).chain(FALLBACK_FONTS) {
        fonts.load_font_source(fontdb::Source::Binary(Arc::new(bytes)));
    }
    Arc::new(fonts)
});

fn render(svg: &str, height: f64) -> Result<Vec<u8>, String> {
    let options = usvg::Options {
        fontdb: Arc::clone(&FONTS),
        font_family: "Ubuntu".to_owned(),
        // Left to itself it sets the whole line in the first font that has a missing letter; `with_known_glyphs` names a font for
        // those letters alone.
        font_resolver: usvg::FontResolver { select_fallback: Box::new(|_, _, _| None), ..Default::default() },
        ..usvg::Options::default()
    };
    let tree = usvg::Tree::from_str(&with_known_glyphs(svg), &options).map_err(|error| error.to_string())?;
    let mut pixels =
        tiny_skia::Pixmap::new((WIDTH * f64::from(PNG_SCALE)) as u32, (height * f64::from(PNG_SCALE)) as u32)
            .ok_or("no memory for the pixels")?;
    resvg::render(&tree, tiny_skia::Transform::from_scale(PNG_SCALE, PNG_SCALE), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| error.to_string())
}

/// Names the font of each stretch of characters that the first font lacks, and makes a box of what no embedded font has. A viewer
/// of the SVG has more fonts, so this is done for the PNG only.
fn with_known_glyphs(svg: &str) -> String {
    let faces: Vec<(&str, FontRef<'static>)> = ["", "Hack", "Noto Emoji"]
        .into_iter()
        .zip(std::iter::once(text::FONT).chain(FALLBACK_FONTS))
        .filter_map(|(name, bytes)| Some((name, FontRef::try_from_slice(bytes).ok()?)))
        .collect();
    let mut known = HashMap::new();
    let mut done = String::with_capacity(svg.len());
    let mut current = "";
    // The root element's title and description are not drawn; everywhere else plotters has other characters than ASCII in texts only.
    let (root, body) = svg.split_at(svg.find(">\n").map_or(0, |end| end + 1));
    done.extend(root.chars().filter(char::is_ascii));
    for c in body.chars() {
        // Nearly everything, millions of times a report.
        if c.is_ascii() && current.is_empty() {
            done.push(c);
            continue;
        }
        let find = || faces.iter().find(|(_, face)| face.glyph_id(c).0 != 0).map(|(name, _)| *name);
        // Joiners and variation selectors only matter to a font that has the joined glyph.
        if matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{fe00}'..='\u{fe0f}') {
            continue;
        }
        let face = if c.is_ascii() { Some("") } else { *known.entry(c).or_insert_with(find) };
        let (face, c) = face.map_or(("Hack", '□'), |face| (face, c));
        if face != current {
            if !current.is_empty() {
                done.push_str("</tspan>");
            }
            if !face.is_empty() {
                done.push_str(&format!("<tspan font-family=\"{face}\">"));
            }
            current = face;
        }
        done.push(c);
    }
    done
}
