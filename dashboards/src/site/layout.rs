//! What stands around every page: its head, the navigation, the dialogs of the keyboard.

use maud::{DOCTYPE, Markup, html};

use super::{assets, url};
use crate::text::clean;

/// The keys, as the help dialog lists them; `keys.js` implements them.
const KEYS: [(&str, &str); 9] = [
    ("j", "the next row"),
    ("k", "the row before"),
    ("Enter", "open the row"),
    ("a", "accept the experiment"),
    ("r", "reject it; asks for the reason"),
    ("d", "defer it"),
    ("/", "search the night's experiments"),
    ("?", "this help"),
    ("Escape", "close, or leave a field"),
];

/// A place in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    /// The night now.
    Now,
    /// All nights, and campaigns.
    Nights,
    /// A night's experiments.
    Experiments,
    /// A night's experiments as a tree.
    Tree,
    /// What waits for a decision.
    Review,
    /// A comparison.
    Compare,
    /// None of them: an error, for example.
    None,
}

/// What a page is framed by.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Title of the browser's tab; the page has its own heading.
    pub title: String,
    /// Where in the navigation it stands.
    pub tab: Tab,
    /// The night that it is about, whose pages then stand in the navigation.
    pub night: Option<String>,
    /// The token that every form and every request that writes carries.
    pub csrf: String,
    /// Names of further scripts below `/static/`.
    pub scripts: Vec<&'static str>,
}

impl Frame {
    /// Without a night and without further scripts.
    pub fn new(title: impl Into<String>, tab: Tab, csrf: impl Into<String>) -> Self {
        Self { title: title.into(), tab, night: None, csrf: csrf.into(), scripts: Vec::new() }
    }

    /// About a night.
    pub fn of_night(self, night: impl Into<String>) -> Self {
        Self { night: Some(night.into()), ..self }
    }

    /// With a script of its own besides.
    pub fn with_script(mut self, name: &'static str) -> Self {
        self.scripts.push(name);
        self
    }
}

/// The whole document around a page's content, which brings its own `h1`.
pub fn frame(frame: &Frame, content: Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="csrf-token" content=(frame.csrf);
                title { (clean(&frame.title)) " · Nocturne" }
                // No request for an icon that there is not.
                link rel="icon" href="data:,";
                link rel="stylesheet" href=(assets::SITE_CSS.address());
                script type="module" src=(assets::KEYS_JS.address()) {}
                @for script in &frame.scripts { script type="module" src=(assets::address(script)) {} }
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                (header(frame))
                main #main tabindex="-1" { (content) }
                // Two places, because only what is urgent may interrupt a screen reader.
                div.said #said role="status" {}
                div.said.failed #failed role="alert" {}
                (help())
                (reason())
            }
        }
    }
    .into_string()
}

fn header(frame: &Frame) -> Markup {
    let place = |tab: Tab, address: &str, name: &str| {
        html! { li { a href=(address) aria-current=[(tab == frame.tab).then_some("page")] { (name) } } }
    };
    html! {
        header {
            nav aria-label="Nocturne" {
                ul {
                    li.brand { "Nocturne" }
                    (place(Tab::Now, "/", "Now"))
                    (place(Tab::Nights, "/nights", "Nights"))
                    @if frame.tab == Tab::Compare { (place(Tab::Compare, "", "Comparison")) }
                }
                // Without its script it would do nothing: the script shows it.
                button.quiet #keys type="button" hidden aria-haspopup="dialog" { "Keys " kbd { "?" } }
            }
            @if let Some(night) = &frame.night {
                nav aria-label="Night" {
                    ul {
                        li.brand { "Night " (clean(night)) }
                        (place(Tab::Experiments, &url::night(night), "Experiments"))
                        (place(Tab::Tree, &url::tree(night), "Tree"))
                        (place(Tab::Review, &url::review(night), "Review"))
                        li { a href=(url::report(night)) { "Morning page" } }
                    }
                }
            }
        }
    }
}

fn help() -> Markup {
    html! {
        dialog #help aria-labelledby="help-title" {
            h2 #help-title { "Keys" }
            dl.keys { @for (key, what) in KEYS { div { dt { kbd { (key) } } dd { (what) } } } }
            p { "They do nothing while you type in a field." }
            form method="dialog" { button { "Close" } }
        }
    }
}

/// The dialog in which a rejection gets its reason. Without scripts, pages with a form of their own ask for it.
fn reason() -> Markup {
    html! {
        dialog #why aria-labelledby="why-title" {
            form #why-form method="dialog" {
                h2 #why-title { "Reject" }
                p #why-what {}
                label for="why-reason" { "Reason: it goes into the briefs of later nights, so that nobody proposes the same again" }
                textarea #why-reason rows="4" required maxlength="2000" {}
                p.buttons {
                    button.primary type="submit" { "Reject" }
                    button #why-not type="button" { "Leave it" }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_framed_and_knows_where_it_stands() {
        let about = Frame::new("<script>", Tab::Review, "t\"o").of_night("n\"><script>").with_script("live.js");
        let page = frame(&about, html! { h1 { "Review" } });
        assert!(page.contains("<title>&lt;script&gt; · Nocturne</title>"), "{page}");
        assert!(page.contains("content=\"t&quot;o\"") && page.contains("src=\"/static/live.js?v="), "{page}");
        assert!(page.contains("href=\"/nights/n%22%3E%3Cscript%3E/review\" aria-current=\"page\""), "{page}");
        assert_eq!(page.matches("aria-current").count(), 1);
        assert_eq!(page.matches("<main").count(), 1);
        assert!(!page.contains("<script>") && !page.contains("style="), "{page}");
        let ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let mut once = ids.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), ids.len(), "{ids:?}");
    }

    #[test]
    fn without_a_night_there_is_no_navigation_of_one() {
        let page = frame(&Frame::new("Nights", Tab::Nights, ""), html! {});
        assert!(!page.contains("/review") && page.contains("href=\"/nights\" aria-current=\"page\""), "{page}");
    }
}
