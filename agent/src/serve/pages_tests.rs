//! All pages over a real database and a real repository, with script in every field that anybody writes; deciding, up to branches.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use git2::{IndexAddOption, Repository, RepositoryInitOptions, Signature};
use protocol::Budget;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::router::router;
use super::tests::{answer_of, page, served};
use super::*;
use crate::flow::{
    Author, CommitId, Decision, Evidence, ExperimentId, NightId, Proposal, Purpose, Rejected, Trained, TrialEnd,
    Verdict,
};
use crate::records::{
    AttemptKind, AttemptOutcome, AttemptRecord, CandidateRecord, ClaimRecord, Level, NightEnding, NightRecord,
    baseline_proposal,
};
use crate::report::{NightRecords, fixture};
use crate::store::Store;

const SCRIPT: &str = "\"><script>alert(1)</script><img src=x onerror=alert(2)>' onmouseover='alert(3)\" onfocus=\"x";
const NIGHT: &str = "2026-03-08-k4";
const SEEDS: [u64; 4] = [11, 12, 13, 14];
const CAMPAIGN: &str = include_str!("../../../experiments/quickstart/campaign.toml");
const BUDGET: Budget = Budget::Seconds(20.0);

/// A repository with a night of four experiments: 1 and 2 kept, one on top of the other; 3 invalid; 4 not decided.
struct Fixture {
    folder: tempfile::TempDir,
    git: Repository,
    served: Arc<Served>,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let mut options = RepositoryInitOptions::new();
        let git = Repository::init_opts(&root, options.initial_head("work").external_template(false)).unwrap();
        let served = served(Layout::new(&root), None);
        let fixture = Self { folder, git, served };
        fixture.fill().await;
        fixture
    }

    /// A commit on `parent` whose recipe has these numbers, each far from the others.
    fn commit(&self, parent: Option<&CommitId>, numbers: [f64; 3]) -> CommitId {
        let root = self.git.workdir().unwrap();
        let filler = "\n        // Nothing here.".repeat(6);
        let [rate, decay, softcap] = numbers;
        let recipe = format!(
            "impl Recipe {{\n    pub fn cpu() -> Self {{\n        Self {{\n        rate: {rate:?},{filler}\n        decay: {decay:?},{filler}\n        \
             softcap: {softcap:?},\n        }}\n    }}\n}}\n"
        );
        for path in crate::edit::CANDIDATE_FILES {
            let text = if path.ends_with("recipe.rs") { recipe.clone() } else { format!("// {SCRIPT}\n") };
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), text).unwrap();
        }
        let who = Signature::now("Test Person", "person@example.org").unwrap();
        let parent = parent.map(|id| self.git.find_commit(id.as_str().parse().unwrap()).unwrap());
        let mut index = self.git.index().unwrap();
        index.add_all(["trainer"], IndexAddOption::DEFAULT, None).unwrap();
        let tree = self.git.find_tree(index.write_tree().unwrap()).unwrap();
        let head = if parent.is_none() { Some("HEAD") } else { None };
        let id = self.git.commit(head, &who, &who, "x", &tree, &parent.iter().collect::<Vec<_>>()).unwrap();
        id.to_string().parse().unwrap()
    }

    async fn fill(&self) {
        let store = Store::open_in(&self.served.layout).await.unwrap();
        let base = self.commit(None, [0.04, 0.2, 15.0]);
        let one = self.commit(Some(&base), [0.05, 0.2, 15.0]);
        let two = self.commit(Some(&one), [0.05, 0.1, 15.0]);
        let three = self.commit(Some(&two), [0.05, 0.1, 30.0]);
        let night = |name: &str, campaign: &str| NightRecord {
            id: name.parse().unwrap(),
            campaign: campaign.to_owned(),
            start_commit: base.clone(),
            campaign_text: format!("# {}\n{CAMPAIGN}", SCRIPT),
            started_at: "2026-03-08T20:00:00Z".parse().unwrap(),
            seeds: SEEDS.to_vec(),
            ..fixture::empty().night
        };
        // Nothing but a name that could harm.
        store.begin_night(&night("2026-03-09-aa", SCRIPT)).await.unwrap();
        store.begin_night(&night(NIGHT, "quickstart")).await.unwrap();
        let start = baseline_proposal();
        self.experiment(&store, 0, &start, &base, &base, &[1.90, 1.91], Some(Verdict::Kept), None).await;
        store.move_champion(&id(0), &base).await.unwrap();
        let (first, second) = (proposal("one"), proposal("two"));
        self.experiment(&store, 1, &first, &base, &one, &[1.89, 1.90], Some(Verdict::Kept), Some(-0.01)).await;
        store.move_champion(&id(1), &one).await.unwrap();
        self.experiment(&store, 2, &second, &one, &two, &[1.87, 1.88], Some(Verdict::Kept), Some(-0.02)).await;
        store.move_champion(&id(2), &two).await.unwrap();
        self.experiment(&store, 3, &proposal("three"), &two, &three, &[], Some(Verdict::Invalid), None).await;
        let failed = AttemptRecord {
            ordinal: 1,
            kind: AttemptKind::Build,
            edits: Vec::new(),
            patch_digest: None,
            commit: None,
            outcome: AttemptOutcome::Failed,
            evidence: format!("error: {SCRIPT}\n\u{1b}[31m"),
            seconds: 1.0,
            at: "2026-03-08T20:10:00Z".parse().unwrap(),
        };
        store.record_experiment(&id(4), &proposal("four"), "four", &two).await.unwrap();
        store.record_attempt(&id(4), &failed).await.unwrap();
        store.event(&of_night(), Level::Warning, "run", SCRIPT).await.unwrap();
        for (stage, of) in [("decision", 4), ("decision", 3), ("night", 4)] {
            store.event(&of_night(), Level::Info, stage, &format!("experiment {of}: {stage} {SCRIPT}")).await.unwrap();
        }
        store.enqueue("quickstart", SCRIPT, None).await.unwrap();
        let claim = ClaimRecord {
            start: base.clone(),
            champion: two.clone(),
            pairs: 2,
            difference: Some(-0.03),
            interval: Some((-0.04, -0.02)),
            p_value: Some(0.001),
            holds: true,
            words: SCRIPT.to_owned(),
            at: "2026-03-09T06:00:00Z".parse().unwrap(),
        };
        store.record_claim(&of_night(), &claim).await.unwrap();
        store.end_night(&of_night(), NightEnding::Stopped, SCRIPT).await.unwrap();
        store.close().await.unwrap();
    }

    #[allow(clippy::too_many_arguments, reason = "a row of a table")]
    async fn experiment(
        &self,
        store: &Store,
        number: u32,
        proposal: &Proposal,
        parent: &CommitId,
        commit: &CommitId,
        values: &[f64],
        verdict: Option<Verdict>,
        difference: Option<f64>,
    ) {
        let id = id(number);
        store.record_experiment(&id, proposal, &format!("digest {number}"), parent).await.unwrap();
        let candidate = CandidateRecord {
            commit: commit.clone(),
            parent: parent.clone(),
            branch: format!("nocturne/{SCRIPT}/{number}"),
            lines_added: 1,
            lines_removed: 1,
        };
        store.record_candidate(&id, &candidate).await.unwrap();
        for (ordinal, (value, seed)) in (1..).zip(values.iter().zip(SEEDS)) {
            store.begin_trial(&id, ordinal, seed, BUDGET, "sha", Purpose::Search, 0).await.unwrap();
            store.end_trial(&id, ordinal, &trained(TrialEnd::Finished, seed)).await.unwrap();
            let verified = crate::fixture::verified(*value, 2e-6);
            store.record_evaluation(&id, ordinal, verified, Some(crate::fixture::certificate())).await.unwrap();
            let path = self.served.layout.curve(&id, ordinal);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let point = |step: u32| {
                format!(
                    "{{\"step\":{step},\"tokens\":{},\"seconds\":{step}.0,\"loss\":{}}}\n",
                    step * 4096,
                    5.0 - f64::from(step) / 50.0
                )
            };
            fs::write(path, (1..60).map(point).collect::<String>()).unwrap();
        }
        if values.is_empty() {
            let crashed = TrialEnd::Crashed { message: SCRIPT.to_owned() };
            store.begin_trial(&id, 1, SEEDS[0], BUDGET, "sha", Purpose::Search, 0).await.unwrap();
            store.end_trial(&id, 1, &trained(crashed, SEEDS[0])).await.unwrap();
            let rejected = Rejected { check: SCRIPT.to_owned(), evidence: SCRIPT.to_owned() };
            store.record_evaluation(&id, 1, rejected, None).await.unwrap();
        }
        let Some(verdict) = verdict else { return };
        let decision = Decision {
            verdict,
            difference,
            interval: difference.map(|difference| (difference - 0.002, difference + 0.002)),
            trials: 2,
            rule: "race/1".to_owned(),
            reason: SCRIPT.to_owned(),
            evidence: difference.map(|difference| Box::new(evidence(difference))),
        };
        store.record_decision(&id, &decision).await.unwrap();
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let (status, _, body) = page(&self.served, path, "text/html").await;
        (status, body)
    }

    async fn json(&self, path: &str) -> Value {
        let (status, headers, body) = page(&self.served, path, "application/json").await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        assert!(headers[header::CONTENT_TYPE].to_str().unwrap().starts_with("application/json"));
        assert!(!body.contains('<') && !body.contains('>'), "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Posts as the browser does from one of our pages; status, where to, body.
    async fn post(&self, path: &str, kind: &str, body: String) -> (StatusCode, String, String) {
        let request = Request::post(path)
            .header(header::HOST, "localhost:7707")
            .header(header::ORIGIN, "http://localhost:7707")
            .header("sec-fetch-site", "same-origin")
            .header("x-nocturne-csrf", self.served.guard.csrf())
            .header(header::CONTENT_TYPE, kind)
            .body(Body::from(body));
        let answer = router(Arc::clone(&self.served)).oneshot(request.unwrap()).await.unwrap();
        let (status, headers, body) = answer_of(answer).await;
        let to = headers.get(header::LOCATION).map(|to| to.to_str().unwrap().to_owned()).unwrap_or_default();
        (status, to, body)
    }

    async fn form(&self, path: &str, fields: &[(&str, &str)]) -> (StatusCode, String, String) {
        let encoded = dashboards::site::url::encoded;
        let pairs: Vec<String> =
            fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        self.post(path, "application/x-www-form-urlencoded", pairs.join("&")).await
    }

    async fn choose(&self, choices: Value) -> (StatusCode, Value) {
        let (status, _, body) = self.post("/api/reviews", "application/json", choices.to_string()).await;
        (status, serde_json::from_str(&body).unwrap())
    }

    fn branches(&self) -> Vec<String> {
        let branches = self.git.branches(Some(git2::BranchType::Local)).unwrap();
        let mut names: Vec<String> =
            branches.map(|branch| branch.unwrap().0.name().unwrap().unwrap().to_owned()).collect();
        names.sort();
        names
    }
}

fn id(number: u32) -> ExperimentId {
    ExperimentId { night: of_night(), number }
}

fn of_night() -> NightId {
    NIGHT.parse().unwrap()
}

fn proposal(key: &str) -> Proposal {
    let text = || SCRIPT.to_owned();
    Proposal {
        key: format!("{key} {SCRIPT}"),
        title: format!("{key} {SCRIPT}"),
        hypothesis: text(),
        source: text(),
        family: text(),
        predicted_effect: Some(-0.01),
        confidence: Some(0.5),
        edits: Vec::new(),
        author: Author { proposer: text(), model: Some(text()), cost_usd: 0.25 },
    }
}

fn evidence(difference: f64) -> Evidence {
    Evidence {
        standard_error: 0.001,
        degrees: 7.0,
        probability: 0.97,
        expected: difference * 0.75,
        expected_interval: (difference - 0.002, difference + 0.002),
        least_effect: 0.0002,
        run_sd: 0.0015,
        pair_sd: 0.0012,
        near_miss: false,
        story: vec![SCRIPT.to_owned()],
        forecast: None,
    }
}

fn trained(end: TrialEnd, seed: u64) -> Trained {
    Trained {
        end,
        seed,
        budget: BUDGET,
        steps: 60,
        tokens: 60 * 4096,
        parameters: 4_000_000,
        training_seconds: 20.0,
        start_seconds: 1.0,
        peak_memory_bytes: 1 << 30,
        final_loss: Some(3.8),
        checkpoint_sha256: None,
    }
}

/// Whether nothing of [`SCRIPT`] became markup.
fn harmless(path: &str, body: &str) {
    let at = |what: &str| body.find(what).map(|at| body[at.saturating_sub(200)..(at + 80).min(body.len())].to_owned());
    for what in ["<script>", "<img", "\" onfocus=\"x", " style=", "\u{1b}"] {
        assert_eq!(at(what), None, "{path} holds {what:?}");
    }
    assert!(body.contains("&lt;script&gt;"), "{path} shows nothing of it");
}

#[tokio::test]
async fn script_in_every_field_stays_text_on_every_page() {
    let fixture = Fixture::new().await;
    let reason = json!([
        { "experiment": format!("{NIGHT}/1"), "choice": "accepted", "reason": SCRIPT },
        { "experiment": format!("{NIGHT}/4"), "choice": "rejected", "reason": SCRIPT },
    ]);
    assert_eq!(fixture.choose(reason).await.0, StatusCode::OK);
    let q = dashboards::site::url::encoded(SCRIPT);
    for path in [
        "/nights".to_owned(),
        format!("/campaigns/{q}"),
        "/campaigns/quickstart".to_owned(),
        format!("/nights/{NIGHT}"),
        format!("/nights/{NIGHT}?q={q}"),
        format!("/nights/{NIGHT}?proposer={q}&family={q}&sort=-value"),
        format!("/nights/{NIGHT}/tree"),
        format!("/nights/{NIGHT}/review"),
        format!("/nights/{NIGHT}/1"),
        format!("/nights/{NIGHT}/2"),
        format!("/nights/{NIGHT}/3"),
        format!("/nights/{NIGHT}/4"),
        format!("/compare?e={NIGHT}/1&e={NIGHT}/2&e={NIGHT}/3&e={NIGHT}/4"),
    ] {
        let (status, body) = fixture.get(&path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        harmless(&path, &body);
        assert_eq!(body.matches("<h1").count(), 1, "{path}");
    }
    // What is refused quotes what was asked.
    for path in [
        format!("/nights/{q}"),
        format!("/nights/{NIGHT}?sort={q}"),
        format!("/compare?e={q}"),
        format!("/nights/{NIGHT}?{q}=1"),
    ] {
        let (status, body) = fixture.get(&path).await;
        assert!(status.is_client_error(), "{path}: {status}");
        for what in ["<script>", "<img"] {
            assert!(!body.contains(what), "{path}: {body}");
        }
    }
    for path in [
        "/api/nights".to_owned(),
        "/api/campaigns/quickstart".to_owned(),
        format!("/api/nights/{NIGHT}/experiments"),
        format!("/api/nights/{NIGHT}/experiments/1"),
        format!("/api/nights/{NIGHT}/tree"),
        format!("/api/nights/{NIGHT}/review"),
        format!("/api/compare?e={NIGHT}/1&e={NIGHT}/2"),
    ] {
        assert!(fixture.json(&path).await.to_string().contains("<script>"), "{path} tells nothing of it");
    }
}

#[tokio::test]
async fn addresses_that_mean_nothing_are_refused_with_the_reason() {
    let fixture = Fixture::new().await;
    let huge = "x".repeat(5_000);
    for (path, status, told) in [
        (format!("/nights/{NIGHT}?page=-1"), 400, "a number from 1 on"),
        (format!("/nights/{NIGHT}?page=2"), 404, "There is no page 2"),
        (format!("/nights/{NIGHT}?sort=x"), 400, "number, effect, value"),
        (format!("/nights/{NIGHT}?verdict=liked"), 400, "taken-back or open"),
        (format!("/nights/{NIGHT}?q={huge}"), 400, "at most 200 characters"),
        (format!("/nights/{NIGHT}?other=1"), 400, "this page knows"),
        ("/nights/2026-01-01-zz".to_owned(), 404, "There is no night"),
        ("/nights/2026-01-01-zz/tree".to_owned(), 404, "There is no night"),
        ("/nights/2026-01-01-zz/review".to_owned(), 404, "There is no night"),
        ("/nights/2026-01-01-zz/1".to_owned(), 404, "There is no night"),
        (format!("/nights/{NIGHT}/99"), 404, "There is no experiment"),
        (format!("/nights/{NIGHT}/x"), 404, "There is no experiment"),
        (format!("/nights/{NIGHT}/report"), 404, "is not written yet"),
        ("/campaigns/none".to_owned(), 404, "There is no night of a campaign"),
        ("/compare".to_owned(), 400, "Two experiments at least"),
        (format!("/compare?e={NIGHT}/1&e={NIGHT}/1"), 400, "Two experiments at least"),
        (format!("/compare?e={NIGHT}/1&e={NIGHT}/77"), 404, "There is no experiment"),
        (
            format!("/compare?{}", (0..9).map(|n| format!("e={NIGHT}/{n}")).collect::<Vec<_>>().join("&")),
            400,
            "At most 8",
        ),
    ] {
        let (found, body) = fixture.get(&path).await;
        assert_eq!(found.as_u16(), status, "{path}: {body}");
        assert!(body.contains(told), "{path}: {body}\nshould say {told}");
    }
}

#[tokio::test]
async fn the_table_filters_sorts_and_counts() {
    let fixture = Fixture::new().await;
    let numbers = async |query: &str| {
        let found = fixture.json(&format!("/api/nights/{NIGHT}/experiments{query}")).await;
        let rows: Vec<u64> =
            found["rows"].as_array().unwrap().iter().map(|row| row["number"].as_u64().unwrap()).collect();
        assert_eq!(found["matching"].as_u64().unwrap() as usize, rows.len());
        assert_eq!(found["all"], 4);
        rows
    };
    for (query, expected) in [
        ("", vec![1, 2, 3, 4]),
        ("?sort=-number", vec![4, 3, 2, 1]),
        ("?sort=effect", vec![2, 1, 3, 4]),
        ("?sort=-effect", vec![1, 2, 3, 4]),
        ("?sort=value", vec![2, 1, 3, 4]),
        ("?sort=-metric", vec![1, 2, 3, 4]),
        ("?sort=metric", vec![2, 1, 3, 4]),
        ("?sort=time", vec![3, 1, 2, 4]),
        ("?verdict=kept", vec![1, 2]),
        ("?verdict=open", vec![4]),
        ("?verdict=taken-back", vec![]),
        ("?q=TWO", vec![2]),
        ("?q=100%25", vec![]),
        ("?proposer=nobody", vec![]),
    ] {
        assert_eq!(numbers(query).await, expected, "{query}");
    }
    // What is taken back is no longer kept, nor worth anything.
    let store = Store::open_in(&fixture.served.layout).await.unwrap();
    store.withdraw(&of_night(), 2, SCRIPT).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(numbers("?verdict=kept").await, [1]);
    assert_eq!(numbers("?verdict=taken-back").await, [2]);
    assert_eq!(numbers("?sort=value").await, [1, 2, 3, 4]);
    let nights = fixture.json("/api/nights").await;
    let night = nights.as_array().unwrap().iter().flat_map(|campaign| campaign["nights"].as_array().unwrap());
    let night = night.into_iter().find(|night| night["night"] == NIGHT).unwrap();
    assert_eq!(
        (night["tried"].as_u64(), night["kept"].as_u64(), night["waiting"].as_u64()),
        (Some(4), Some(1), Some(1))
    );
    assert!((night["champion"].as_f64().unwrap() - (1.905 - 0.01)).abs() < 1e-9, "{night}");
    assert_eq!(night["claim"]["holds"], false);
    // What waits is the same to the list, which asks the database, and to the review.
    let review = fixture.json(&format!("/api/nights/{NIGHT}/review")).await;
    assert_eq!(review["waiting"].as_array().unwrap().len() as u64, night["waiting"].as_u64().unwrap());
    fixture.choose(json!([{ "experiment": format!("{NIGHT}/1"), "choice": "deferred" }])).await;
    let nights = fixture.json("/api/campaigns/quickstart").await;
    assert_eq!(nights["nights"][0]["waiting"], 1, "what is put off waits: {nights}");
}

#[tokio::test]
async fn what_was_concluded_so_far_is_told_until_it_is_decided() {
    let fixture = Fixture::new().await;
    let told = async |number: u32| {
        let found = fixture.json(&format!("/api/nights/{NIGHT}/experiments/{number}")).await;
        found["concluded"].clone()
    };
    assert_eq!(told(4).await, json!([format!("decision {SCRIPT}")]));
    // Its own story stands in its evidence, as far as it has any.
    assert_eq!((told(3).await, told(1).await), (json!([]), json!([])));
    let (_, page) = fixture.get(&format!("/nights/{NIGHT}/4")).await;
    assert!(page.contains("So far, trial by trial:"), "{page}");
}

#[tokio::test]
async fn the_time_in_which_a_night_was_cut_off_is_not_its_own() {
    let fixture = Fixture::new().await;
    let name: NightId = "2026-03-10-bb".parse().unwrap();
    let store = Store::open_in(&fixture.served.layout).await.unwrap();
    let began = jiff::Timestamp::now();
    let record =
        NightRecord { id: name.clone(), started_at: began, campaign: "cut".to_owned(), ..fixture::empty().night };
    store.begin_night(&record).await.unwrap();
    let effect = async |key: &str| {
        store.begin_effect(&name, key, "build", &json!({})).await.unwrap();
        store.end_effect(&name, key, &json!("built")).await.unwrap();
    };
    let seconds = async || {
        let listed = fixture.json("/api/campaigns/cut").await["nights"][0]["seconds"].as_f64().unwrap();
        let reader = fixture.served.reader().await.unwrap();
        let ended = reader.night(&name).await.unwrap().unwrap().end.unwrap().at;
        let told = NightRecords::read(&reader, &name).await.unwrap().seconds();
        (listed, told, ended.duration_since(began).as_secs_f64())
    };
    effect("0.1/build/1/0123456").await;
    // Whatever happens in between, this long it did not run.
    let cut_off = Duration::from_millis(300);
    tokio::time::sleep(cut_off).await;
    effect("2.3/build/2/0123456").await;
    store.end_night(&name, NightEnding::Stopped, "").await.unwrap();
    let (listed, told, of_clock) = seconds().await;
    assert!((listed - told).abs() < 1e-6, "the list says {listed} s, the morning page {told} s");
    assert!(listed <= of_clock - cut_off.as_secs_f64() + 0.002, "{listed} of {of_clock}");
    store.close().await.unwrap();
}

#[tokio::test]
async fn experiments_are_compared_under_the_same_seeds_and_by_their_recipes() {
    let fixture = Fixture::new().await;
    let found = fixture.json(&format!("/api/compare?e={NIGHT}/0&e={NIGHT}/2&e=2026-03-08-k4/3")).await;
    let pairs = found["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), 1, "nothing was measured of the third: {found}");
    let differences = pairs[0]["differences"].as_array().unwrap();
    assert_eq!((pairs[0]["other"].as_u64(), differences.len()), (Some(1), 2));
    assert!((differences[0][1].as_f64().unwrap() + 0.03).abs() < 1e-9, "{found}");
    let recipe: Vec<&Value> = found["recipe"].as_array().unwrap().iter().collect();
    assert_eq!(
        recipe,
        [
            &json!(["decay", [0.2, 0.1, 0.1]]),
            &json!(["rate", [0.04, 0.05, 0.05]]),
            &json!(["softcap", [15.0, 15.0, 30.0]])
        ]
    );
    let (_, page) = fixture.get(&format!("/compare?e={NIGHT}/0&e={NIGHT}/2")).await;
    assert!(page.contains("<svg") && page.contains("−0.0300"), "{page}");
    // The page of one: with its curve, the same from what is kept.
    let (_, first) = fixture.get(&format!("/nights/{NIGHT}/1")).await;
    let (_, again) = fixture.get(&format!("/nights/{NIGHT}/1")).await;
    assert!(first.contains("Training loss of experiment") && first == again);
    let diff = first.split("class=\"diff\"").nth(1).and_then(|rest| rest.split("</pre>").next()).unwrap();
    assert!(diff.contains("0.05") && diff.contains("0.04"), "{diff}");
}

#[tokio::test]
async fn a_morning_in_the_browser_ends_in_branches_and_touches_nothing_else() {
    let fixture = Fixture::new().await;
    let head = fixture.git.head().unwrap().peel_to_commit().unwrap().id();
    let review = format!("/nights/{NIGHT}/review");
    let (_, body) = fixture.get(&review).await;
    assert!(body.contains("2 decisions") && body.contains("Nothing is accepted yet"), "{body}");
    // The one that is worth more comes first.
    let place = |number: u32| body.find(&format!("data-experiment=\"{NIGHT}/{number}\"")).unwrap();
    assert!(place(2) < place(1));

    let one = format!("{NIGHT}/1");
    let token = fixture.served.guard.csrf().to_owned();
    let decide = |choice: &'static str, reason: &'static str, seen: &'static str| {
        let (one, review, token) = (one.clone(), review.clone(), token.clone());
        let fixture = &fixture;
        async move {
            let fields = [
                ("csrf", token.as_str()),
                ("experiment", &one),
                ("choice", choice),
                ("reason", reason),
                ("back", &review),
                ("seen", seen),
            ];
            fixture.form("/reviews", &fields).await
        }
    };
    let (status, _, body) = decide("rejected", "  ", "").await;
    assert!(status == StatusCode::BAD_REQUEST && body.contains("a rejection needs a reason"), "{body}");
    let (status, to, _) = decide("rejected", "too many lines", "").await;
    assert_eq!((status, to), (StatusCode::SEE_OTHER, format!("{review}?said=1")));
    let (_, body) = fixture.get(&format!("{review}?said=1")).await;
    assert!(body.contains("role=\"status\">#1 is rejected.</p>"), "{body}");
    // A page that was loaded before that does not overturn it.
    let (status, _, body) = decide("accepted", "", "").await;
    assert!(status == StatusCode::CONFLICT && body.contains("is rejected by now"), "{body}");
    let (_, body) = fixture.get(&review).await;
    assert!(body.contains("1 decision") && body.contains("too many lines"), "{body}");
    assert_eq!(decide("liked", "", "").await.0, StatusCode::UNPROCESSABLE_ENTITY);

    // One mistake in a document, and nothing of it is taken.
    let two = format!("{NIGHT}/2");
    let (status, told) = fixture.choose(json!([{ "experiment": two, "choice": "accepted" }, { "experiment": format!("{NIGHT}/3"), "choice": "accepted" }])).await;
    assert_eq!(status, StatusCode::CONFLICT, "{told}");
    assert!(told["error"].as_str().unwrap().contains("its verdict is invalid"), "{told}");
    assert_eq!(
        fixture.choose(json!([{ "experiment": format!("{NIGHT}/9"), "choice": "deferred" }])).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(fixture.choose(json!([{ "experiment": "x", "choice": "deferred" }])).await.0, StatusCode::BAD_REQUEST);
    let (status, _, body) = fixture
        .form(&format!("/nights/{NIGHT}/branches"), &[("csrf", &token), ("arrangement", "independent"), ("plan", "")])
        .await;
    assert!(status == StatusCode::CONFLICT && body.contains("Nothing of this night is accepted"), "{body}");

    // A night writes meanwhile: the decision waits for it.
    let writer = a_night_that_writes(&fixture).await;
    let (status, told) = fixture.choose(json!([{ "experiment": two, "choice": "accepted", "reason": "good" }, { "experiment": one, "choice": "accepted" }])).await;
    assert_eq!((status, told.as_array().map(Vec::len)), (StatusCode::OK, Some(2)), "{told}");
    writer.await.unwrap();

    let (_, body) = fixture.get(&review).await;
    assert!(
        body.contains("Nothing waits for you.")
            && body.contains("Make 2 branches")
            && body.contains("Make one branch of all"),
        "{body}"
    );
    // What was looked at, and nothing else, is made.
    let plan = body.split("name=\"plan\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    let stale = [("csrf", token.as_str()), ("arrangement", "independent"), ("plan", "another")];
    let (status, _, told) = fixture.form(&format!("/nights/{NIGHT}/branches"), &stale).await;
    assert!(status == StatusCode::CONFLICT && told.contains("is not what the page said"), "{told}");
    let before = fixture.branches();
    let (status, _, _) = fixture
        .form(&format!("/nights/{NIGHT}/branches"), &[("csrf", &token), ("arrangement", "sideways"), ("plan", "")])
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, to, body) = fixture
        .form(
            &format!("/nights/{NIGHT}/branches"),
            &[("csrf", &token), ("arrangement", "independent"), ("plan", &plan)],
        )
        .await;
    assert_eq!((status, to), (StatusCode::SEE_OTHER, format!("{review}?said=branches#made")), "{body}");
    let made: Vec<String> = fixture.branches().into_iter().filter(|name| !before.contains(name)).collect();
    assert_eq!(made.len(), 2, "{made:?}");
    assert!(made.iter().all(|name| name.starts_with(&format!("nocturne/quickstart/{NIGHT}/accepted/00"))), "{made:?}");
    for name in &made {
        let commit = fixture.git.find_branch(name, git2::BranchType::Local).unwrap().get().peel_to_commit().unwrap();
        assert_eq!(commit.parent_id(0).unwrap(), head, "each stands on the person's own commit");
        assert!(commit.message().unwrap().contains("val_bpb was measured to change by -0.0"), "{:?}", commit.message());
    }
    let (_, body) = fixture.get(&review).await;
    assert!(body.contains("id=\"made\"") && body.contains("/accepted/002-"), "{body}");
    // Made again nothing changes; by a program, stacked.
    let (status, _, _) = fixture
        .form(
            &format!("/nights/{NIGHT}/branches"),
            &[("csrf", &token), ("arrangement", "independent"), ("plan", &plan)],
        )
        .await;
    assert_eq!((status, fixture.branches().len()), (StatusCode::SEE_OTHER, before.len() + 2));
    let (status, _, body) = fixture
        .post(&format!("/api/nights/{NIGHT}/branches"), "application/json", r#"{"stack":true}"#.to_owned())
        .await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(told["made"][0]["branch"], format!("nocturne/quickstart/{NIGHT}/accepted/stack"));
    // A remark that comes later is no reason for another branch.
    let again = json!([{ "experiment": two, "choice": "accepted", "reason": "very good", "seen": "accepted" }]);
    assert_eq!(fixture.choose(again).await.0, StatusCode::OK);
    let (_, _, body) =
        fixture.post(&format!("/api/nights/{NIGHT}/branches"), "application/json", "{}".to_owned()).await;
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((told["made"].as_array().unwrap().len(), fixture.branches().len()), (2, before.len() + 3), "{body}");
    // What is taken back afterwards is said at both places.
    let store = Store::open_in(&fixture.served.layout).await.unwrap();
    store.withdraw(&of_night(), 2, SCRIPT).await.unwrap();
    store.close().await.unwrap();
    let (_, body) = fixture.get(&review).await;
    assert!(body.contains("#2: its verdict was taken back") && body.contains("do not merge it"), "{body}");
    assert_eq!(fixture.git.head().unwrap().peel_to_commit().unwrap().id(), head);
    assert_eq!(fixture.git.head().unwrap().shorthand().unwrap(), "work");
    drop(fixture.folder);
}

/// Holds the database's write lock for a while, as a night does that records something.
async fn a_night_that_writes(fixture: &Fixture) -> tokio::task::JoinHandle<()> {
    let store = Store::open_in(&fixture.served.layout).await.unwrap();
    let transaction = store.begin().await.unwrap();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        transaction.rollback().await.unwrap();
        store.close().await.unwrap();
    })
}

#[tokio::test]
async fn what_does_not_come_from_our_own_page_writes_nothing() {
    let fixture = Fixture::new().await;
    let body = json!([{ "experiment": format!("{NIGHT}/1"), "choice": "accepted" }]).to_string();
    for (origin, token) in [("http://example.org", true), ("http://localhost:7707", false)] {
        for path in ["/api/reviews".to_owned(), format!("/api/nights/{NIGHT}/branches")] {
            let mut request = Request::post(&path)
                .header(header::HOST, "localhost:7707")
                .header(header::ORIGIN, origin)
                .header(header::CONTENT_TYPE, "application/json");
            if token {
                request = request.header("x-nocturne-csrf", fixture.served.guard.csrf());
            }
            let answer =
                router(Arc::clone(&fixture.served)).oneshot(request.body(Body::from(body.clone())).unwrap()).await;
            assert_eq!(answer.unwrap().status(), StatusCode::FORBIDDEN, "{origin} {path}");
        }
    }
    let reader = fixture.served.reader().await.unwrap();
    assert!(reader.reviews(None).await.unwrap().is_empty());
    assert!(!Path::new(&fixture.served.layout.reviews_file()).exists());
}
