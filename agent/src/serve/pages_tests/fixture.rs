//! A repository with a night and script in every field that anybody writes, and a browser on this machine.

use std::fs;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use git2::{IndexAddOption, Repository, RepositoryInitOptions, Signature};
use protocol::Budget;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::flow::{
    Author, CommitId, Decision, Evidence, ExperimentId, NightId, Proposal, Purpose, Rejected, Trained, TrialEnd,
    Verdict,
};
use crate::layout::Layout;
use crate::records::{
    AttemptKind, AttemptOutcome, AttemptRecord, CandidateRecord, ClaimRecord, Level, NightEnding, NightRecord,
    baseline_proposal,
};
use crate::report::fixture;
use crate::serve::Served;
use crate::serve::router::router;
use crate::serve::tests::{answer_of, page, served};
use crate::store::Store;

pub const SCRIPT: &str =
    "\"><script>alert(1)</script><img src=x onerror=alert(2)>' onmouseover='alert(3)\" onfocus=\"x";
pub const NIGHT: &str = "2026-03-08-k4";
const SEEDS: [u64; 4] = [11, 12, 13, 14];
const CAMPAIGN: &str = include_str!("../../../../experiments/quickstart/campaign.toml");
const BUDGET: Budget = Budget::Seconds(20.0);

/// A repository with a night of four experiments: 1 and 2 kept, one on top of the other; 3 invalid; 4 not decided.
pub struct Fixture {
    pub folder: tempfile::TempDir,
    pub git: Repository,
    pub served: Arc<Served>,
}

impl Fixture {
    pub async fn new() -> Self {
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

    pub async fn get(&self, path: &str) -> (StatusCode, String) {
        let (status, _, body) = page(&self.served, path, "text/html").await;
        (status, body)
    }

    pub async fn json(&self, path: &str) -> Value {
        let (status, headers, body) = page(&self.served, path, "application/json").await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        assert!(headers[header::CONTENT_TYPE].to_str().unwrap().starts_with("application/json"));
        assert!(!body.contains('<') && !body.contains('>'), "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Posts as the browser does from one of our pages; status, where to, body.
    pub async fn post(&self, path: &str, kind: &str, body: String) -> (StatusCode, String, String) {
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

    pub async fn form(&self, path: &str, fields: &[(&str, &str)]) -> (StatusCode, String, String) {
        let encoded = dashboards::site::url::encoded;
        let pairs: Vec<String> =
            fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        self.post(path, "application/x-www-form-urlencoded", pairs.join("&")).await
    }

    pub async fn choose(&self, choices: Value) -> (StatusCode, Value) {
        let (status, _, body) = self.post("/api/reviews", "application/json", choices.to_string()).await;
        (status, serde_json::from_str(&body).unwrap())
    }

    pub fn branches(&self) -> Vec<String> {
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

pub fn of_night() -> NightId {
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
