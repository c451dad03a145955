//! Contrast of colours as WCAG 2.2 defines it, for tests of style sheets.

use std::collections::BTreeMap;

/// The custom properties of a style sheet that are colours, light and dark. What the dark theme does not set is as in the light one.
pub(crate) fn themes(css: &str) -> [BTreeMap<String, String>; 2] {
    let dark_at = css.find("prefers-color-scheme: dark").unwrap_or(css.len());
    let colours = |part: &str| -> BTreeMap<String, String> {
        let declarations = part.split(['{', ';', '}']).filter_map(|text| text.trim().split_once(": #"));
        let declarations = declarations.filter(|(name, _)| name.starts_with("--"));
        declarations.map(|(name, colour)| (name[2..].to_owned(), colour.to_owned())).collect()
    };
    let light = colours(&css[..dark_at]);
    let mut dark = light.clone();
    dark.extend(colours(&css[dark_at..]));
    [light, dark]
}

/// The contrast of two colours, each six hexadecimal digits: 1 to 21.
pub(crate) fn contrast(one: &str, other: &str) -> f64 {
    let luminance = |colour: &str| {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
    };
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// What of `texts` cannot be read on one of `papers` in one of a style sheet's themes; names of custom properties.
pub(crate) fn unreadable(css: &str, texts: &[&str], papers: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (theme, colours) in ["light", "dark"].iter().zip(themes(css)) {
        for text in texts {
            for paper in papers {
                let contrast = contrast(&colours[*text], &colours[*paper]);
                if contrast < 4.5 {
                    found.push(format!("{text} on {paper}, {theme}: {contrast:.2}"));
                }
            }
        }
    }
    found
}

#[test]
fn black_on_white_is_the_most_and_half_grey_just_passes() {
    assert!((contrast("000000", "ffffff") - 21.0).abs() < 1e-9);
    assert!((contrast("767676", "ffffff") - 4.54).abs() < 0.01);
    let css = ":root { --a: #ffffff; --b: #777777; }\n@media (prefers-color-scheme: dark) { :root { --a: #000000; } }";
    assert_eq!(unreadable(css, &["b"], &["a"]), ["b on a, light: 4.48"]);
}
