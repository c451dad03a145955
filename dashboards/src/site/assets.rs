//! Files that pages ask for, in the executable. Each has an address that changes with its content, so browsers may keep it for good.

/// A file of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// Its name below `/static/`.
    pub name: &'static str,
    /// Its media type.
    pub kind: &'static str,
    /// Its content.
    pub text: &'static str,
    hash: u64,
}

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// For all pages.
pub const SITE_CSS: Asset = Asset::new(
    "site.css",
    CSS,
    concat!(include_str!("../diff.css"), include_str!("../page/article.css"), include_str!("static/site.css")),
);

/// For all pages: the keyboard, and deciding by it.
pub const KEYS_JS: Asset = Asset::new("keys.js", JS, include_str!("static/keys.js"));

/// For the night now.
pub const LIVE_JS: Asset = Asset::new("live.js", JS, include_str!("static/live.js"));

/// All of them.
pub const ASSETS: [Asset; 3] = [SITE_CSS, KEYS_JS, LIVE_JS];

impl Asset {
    /// Hashed when the program is compiled: FNV-1a, 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/).
    const fn new(name: &'static str, kind: &'static str, text: &'static str) -> Self {
        let bytes = text.as_bytes();
        let (mut hash, mut at) = (0xcbf2_9ce4_8422_2325_u64, 0);
        while at < bytes.len() {
            hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
            at += 1;
        }
        Self { name, kind, text, hash }
    }

    /// Names its content: equal for equal content. No secret hangs on it.
    pub fn version(&self) -> String {
        format!("{:016x}", self.hash)
    }

    /// Its address with its version.
    pub fn address(&self) -> String {
        format!("/static/{}?v={}", self.name, self.version())
    }
}

/// The address of the file of this name; without a version where there is none of it.
pub fn address(name: &str) -> String {
    let found = ASSETS.iter().find(|asset| asset.name == name);
    found.map_or_else(|| format!("/static/{name}"), Asset::address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_changes_with_the_content_alone() {
        let other = Asset::new("site.css", CSS, "body { }");
        assert_ne!(SITE_CSS.address(), other.address());
        assert_eq!(SITE_CSS.address(), address("site.css"));
        // Of the empty text and of one letter, as the hash's authors publish them.
        assert_eq!(Asset::new("", CSS, "").version(), "cbf29ce484222325");
        assert_eq!(Asset::new("", CSS, "a").version(), "af63dc4c8601ec8c");
    }
}
