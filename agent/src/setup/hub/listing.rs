//! Which files a data set has, and which of them are wanted. Everything in here was written by strangers.

use std::path::{Component, Path, PathBuf};

use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::{Hub, HubError};
use crate::campaign::HubFiles;

/// More pages than any data set has.
const MOST_PAGES: usize = 10_000;

/// A data set repository at one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSet {
    /// `owner/name`.
    pub repository: String,
    /// 40 hexadecimal digits.
    pub commit: String,
}

impl DataSet {
    /// Checks both names: they become parts of addresses and of paths.
    pub fn new(repository: &str, commit: &str) -> Result<DataSet, HubError> {
        let part = |text: &str| {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            (1..=96).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('.')
        };
        if !repository.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name)) {
            return Err(HubError::Name { value: repository.into(), wanted: "the name of a data set (owner/name)" });
        }
        if !is_commit(commit) {
            return Err(HubError::Name { value: commit.into(), wanted: "a commit id (40 hexadecimal digits)" });
        }
        Ok(DataSet { repository: repository.into(), commit: commit.into() })
    }

    /// The folder for it in a cache.
    pub(super) fn folder(&self, cache: &Path) -> PathBuf {
        cache.join("hub").join(self.repository.replace('/', "--"))
    }

    /// Parts of an address: `prefix`, the repository's two names, `rest`.
    pub(super) fn address<'a>(&'a self, prefix: &[&'a str], rest: &[&'a str]) -> Vec<&'a str> {
        prefix.iter().copied().chain(self.repository.split('/')).chain(rest.iter().copied()).collect()
    }
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// How the content of a file can be checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Checksum {
    /// SHA-256 of the content: files in the hub's large file storage.
    Sha256(String),
    /// The id that git gives the content: small files.
    GitBlob(String),
}

impl Checksum {
    /// For messages: the algorithm and the digits.
    pub fn text(&self) -> String {
        match self {
            Checksum::Sha256(digits) => format!("sha256:{digits}"),
            Checksum::GitBlob(digits) => format!("git:{digits}"),
        }
    }
}

/// A file of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteFile {
    /// Its path in the repository; relative, without `..` (see [`safe_path`]).
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// What its content must give.
    pub checksum: Checksum,
}

/// One entry of the hub's `tree` route.
#[derive(Deserialize)]
struct Entry {
    r#type: String,
    path: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    oid: String,
    lfs: Option<LargeFile>,
}

#[derive(Deserialize)]
struct LargeFile {
    oid: String,
    size: u64,
}

/// The answer of the hub's `revision` route.
#[derive(Deserialize)]
struct Revision {
    sha: String,
}

impl Hub {
    /// The commit that a branch or tag stands for now.
    pub async fn commit_of(&self, repository: &str, revision: &str) -> Result<String, HubError> {
        let placeholder = "0".repeat(40);
        let data_set = DataSet::new(repository, &placeholder)?;
        let what = format!("data set {repository}, revision {revision}");
        let url = self.url(data_set.address(&["api", "datasets"], &["revision", revision]));
        let (page, _) = self.get_page(&what, &url).await?;
        let answer: Revision = serde_json::from_slice(&page).map_err(|error| self.answer(&what, error.to_string()))?;
        if is_commit(&answer.sha) {
            Ok(answer.sha)
        } else {
            Err(self.answer(&what, "its `sha` is no commit id".into()))
        }
    }

    /// All files of a data set, in the order of their names. Files whose path could lead out of a folder are refused.
    pub async fn list(&self, data_set: &DataSet) -> Result<Vec<RemoteFile>, HubError> {
        let what = format!("the list of files of data set {} at {}", data_set.repository, data_set.commit);
        let first = self.url(data_set.address(&["api", "datasets"], &["tree", &data_set.commit]));
        let mut query = Some("recursive=true".to_owned());
        let mut files = Vec::new();
        for _ in 0..MOST_PAGES {
            let Some(asked) = query.take() else { break };
            let mut url = first.clone();
            url.set_query(Some(&asked));
            let (page, link) = self.get_page(&what, &url).await?;
            let entries: Vec<Entry> =
                serde_json::from_slice(&page).map_err(|error| self.answer(&what, error.to_string()))?;
            for entry in entries.into_iter().filter(|entry| entry.r#type == "file") {
                files.push(remote_file(entry).map_err(|reason| self.answer(&what, reason))?);
            }
            query = link.and_then(|link| next_query(&link, &url)).filter(|next| *next != asked);
        }
        if query.is_some() {
            return Err(self.answer(&what, format!("it has more than {MOST_PAGES} pages")));
        }
        files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        files.dedup_by(|a, b| a.name == b.name);
        Ok(files)
    }
}

fn remote_file(entry: Entry) -> Result<RemoteFile, String> {
    safe_path(&entry.path)?;
    let hexadecimal = |digits: &str, n: usize| digits.len() == n && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let (bytes, checksum) = match &entry.lfs {
        Some(large) => {
            let digits = large.oid.trim_start_matches("sha256:").to_ascii_lowercase();
            if !hexadecimal(&digits, 64) {
                return Err(format!("the hash of {:?} is not a SHA-256", entry.path));
            }
            (large.size, Checksum::Sha256(digits))
        }
        None if hexadecimal(&entry.oid, 40) => (entry.size, Checksum::GitBlob(entry.oid.to_ascii_lowercase())),
        None => return Err(format!("{:?} has no hash", entry.path)),
    };
    Ok(RemoteFile { name: entry.path, bytes, checksum })
}

/// The path of a repository's file below a folder, if it stays below it whatever the folder.
pub(super) fn safe_path(name: &str) -> Result<&Path, String> {
    let path = Path::new(name);
    let plain = |part: &str| (1..=255).contains(&part.len()) && part != "." && part != "..";
    let only_normal = path.components().all(|component| matches!(component, Component::Normal(_)));
    let odd = |c: char| c.is_control() || c == '\\';
    if only_normal && name.split('/').all(plain) && name.len() <= 1_024 && !name.contains(odd) {
        Ok(path)
    } else {
        Err(format!("the path {name:?} cannot be used"))
    }
}

/// The query of the next page in a `Link` header. Only the query is taken: a hub behind another name may link to
/// itself by its own, and the token must not go elsewhere.
fn next_query(link: &str, page: &Url) -> Option<String> {
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    let address = next.split_once('<')?.1.split_once('>')?.0;
    page.join(address).ok()?.query().map(str::to_owned)
}

/// The wanted ones among `files`, which are in the order of their names. Named files come in the order in which they
/// are named.
pub fn select(data_set: &DataSet, files: &[RemoteFile], wanted: &HubFiles) -> Result<Vec<RemoteFile>, HubError> {
    let missing = |wanted: &str, hint: String| HubError::NoFile {
        repository: data_set.repository.clone(),
        commit: data_set.commit.clone(),
        wanted: wanted.to_owned(),
        hint,
    };
    match wanted {
        HubFiles::Named(names) => {
            let find = |name: &String| {
                let found = files.iter().find(|file| file.name == *name).cloned();
                found.ok_or_else(|| missing(&format!("{name:?}"), nearest(name, files)))
            };
            names.iter().map(find).collect()
        }
        HubFiles::Prefix { prefix, max_files } => {
            let readable = |name: &str| [".parquet", ".jsonl", ".txt"].iter().any(|ending| name.ends_with(ending));
            let begins = files.iter().filter(|file| file.name.starts_with(prefix.as_str()) && readable(&file.name));
            let chosen: Vec<RemoteFile> = begins.take(max_files.unwrap_or(usize::MAX)).cloned().collect();
            if chosen.is_empty() {
                let hint = nearest(prefix, files);
                return Err(missing(
                    &format!("that begins with {prefix:?} and ends in .parquet, .jsonl or .txt"),
                    hint,
                ));
            }
            Ok(chosen)
        }
    }
}

fn nearest(name: &str, files: &[RemoteFile]) -> String {
    let name = name.to_lowercase();
    match files.iter().min_by_key(|file| strsim::levenshtein(&file.name.to_lowercase(), &name)) {
        Some(file) => format!("Did you mean {:?}?", file.name),
        None => "It has no files at all".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_out_are_refused() {
        for good in
            ["a.parquet", "data/train-00000-of-00001.parquet", "sample/10BT/x.parquet", "a..b", ".gitattributes"]
        {
            assert_eq!(safe_path(good), Ok(Path::new(good)));
        }
        let long = "x".repeat(300);
        for bad in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a/", "..", "a\\b", "a\nb", "a\0b", &long]
        {
            assert!(safe_path(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_are_checked() {
        let commit = "0".repeat(40);
        assert!(DataSet::new("karpathy/climbmix-400b-shuffle", &commit).is_ok());
        for bad in ["a", "a/b/c", "../b", "a/..", "/b", "a/", "a b/c", "a/b?c"] {
            assert!(DataSet::new(bad, &commit).is_err(), "{bad}");
        }
        for bad in ["main", "", &"g".repeat(40), &"0".repeat(41)] {
            assert!(DataSet::new("a/b", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_the_query_of_the_next_page_counts() {
        let page = Url::parse("http://127.0.0.1:9/api/datasets/a/b/tree/c?recursive=true").unwrap();
        let link = "<https://elsewhere.example/api/x?recursive=true&cursor=ab%3D>; rel=\"next\"";
        assert_eq!(next_query(link, &page).as_deref(), Some("recursive=true&cursor=ab%3D"));
        assert_eq!(
            next_query("<?cursor=2>; rel=\"next\", <?cursor=0>; rel=\"first\"", &page).as_deref(),
            Some("cursor=2")
        );
        assert_eq!(next_query("<http://x/?cursor=2>; rel=\"prev\"", &page), None);
        assert_eq!(next_query("rel=\"next\"", &page), None);
    }

    fn file(name: &str) -> RemoteFile {
        RemoteFile { name: name.into(), bytes: 1, checksum: Checksum::GitBlob("0".repeat(40)) }
    }

    #[test]
    fn files_are_chosen_by_name_or_beginning() {
        let data_set = DataSet::new("a/b", &"0".repeat(40)).unwrap();
        let files = ["README.md", "data/a.parquet", "data/b.parquet", "data/c.csv", "x/d.jsonl"].map(file);
        let chosen =
            |wanted| select(&data_set, &files, &wanted).map(|f| f.into_iter().map(|f| f.name).collect::<Vec<_>>());
        let prefix = |prefix: &str, max_files| HubFiles::Prefix { prefix: prefix.into(), max_files };
        assert_eq!(chosen(prefix("data/", None)).unwrap(), ["data/a.parquet", "data/b.parquet"]);
        assert_eq!(chosen(prefix("", Some(1))).unwrap(), ["data/a.parquet"]);
        let named = HubFiles::Named(vec!["x/d.jsonl".into(), "data/a.parquet".into()]);
        assert_eq!(chosen(named).unwrap(), ["x/d.jsonl", "data/a.parquet"]);
        for (wanted, expected) in [
            (prefix("dta/", None), "begins with \"dta/\""),
            (HubFiles::Named(vec!["data/A.parquet".into()]), "Did you mean \"data/a.parquet\"?"),
        ] {
            let error = chosen(wanted).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn entries_need_a_hash() {
        let parse = |json: &str| remote_file(serde_json::from_str(json).unwrap());
        let large = format!(
            r#"{{"type":"file","oid":"x","size":9,"path":"a","lfs":{{"oid":"{}","size":7,"pointerSize":1}}}}"#,
            "AB".repeat(32)
        );
        assert_eq!(parse(&large).unwrap().checksum, Checksum::Sha256("ab".repeat(32)));
        assert_eq!(parse(&large).unwrap().bytes, 7);
        assert!(parse(&large.replace("ABAB", "zz")).is_err());
        assert!(parse(r#"{"type":"file","path":"a","size":9}"#).unwrap_err().contains("no hash"));
        assert!(parse(r#"{"type":"file","path":"../a","size":9,"oid":"0"}"#).unwrap_err().contains("cannot be used"));
    }
}
