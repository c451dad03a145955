//! Untrusted text and any number come back as they went in, from the database and from the files.

use nocturne::flow::{Author, Edit, Proposal};
use nocturne::layout::Layout;
use nocturne::records::{ExperimentFile, Level};
use nocturne::store::Store;
use proptest::prelude::*;

use crate::fixture::*;

const NIGHT: &str = "2026-03-08-k4";

/// Any text, with a good share of what quoting, terminators and paths stumble over.
fn text() -> impl Strategy<Value = String> {
    let nasty = prop::sample::select(vec![
        "\0",
        "'",
        "\"",
        "''; DROP TABLE nights; --",
        "\u{feff}",
        "\u{202e}",
        "\u{1b}[2J",
        "\\u0000",
        "?1",
        "%s",
        "\r\n",
        "../..",
        "𝄞",
        "\u{fffd}",
        "{\"a\":",
    ])
    .prop_map(str::to_owned);
    prop::collection::vec(prop_oneof![nasty, any::<String>()], 0..4).prop_map(|parts| parts.concat())
}

fn finite() -> impl Strategy<Value = f64> {
    any::<f64>().prop_map(|number| if number.is_finite() { number } else { 0.1 })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn text_and_numbers_survive(texts in prop::collection::vec(text(), 12), number in finite(), cost in finite()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let layout = Layout::new(folder.path());
            let store = Store::open_in(&layout).await.unwrap();
            let (night, id) = (night_id(NIGHT), experiment_id(NIGHT, 1));
            let mut record = night_record(NIGHT);
            record.campaign_text = texts[0].clone();
            record.machine.insert(texts[1].clone(), texts[2].clone());
            store.begin_night(&record).await.unwrap();
            let proposal = Proposal {
                key: texts[3].clone(),
                title: texts[4].clone(),
                hypothesis: texts[5].clone(),
                source: texts[6].clone(),
                family: texts[7].clone(),
                predicted_effect: Some(number),
                confidence: None,
                edits: vec![Edit { path: texts[8].clone(), search: texts[9].clone(), replace: texts[10].clone() }],
                author: Author { proposer: "model".to_owned(), model: Some(texts[11].clone()), cost_usd: cost },
            };
            store.record_experiment(&id, &proposal, "digest", &commit(1)).await.unwrap();
            store.event(&night, Level::Info, &texts[0], &texts[1]).await.unwrap();

            prop_assert_eq!(store.night(&night).await.unwrap().unwrap(), record);
            let read = store.experiment(&id).await.unwrap().unwrap();
            prop_assert_eq!(&read.proposal, &proposal);
            let event = store.events(&night).await.unwrap().remove(0);
            prop_assert_eq!((&event.stage, &event.text), (&texts[0], &texts[1]));
            let file: ExperimentFile = nocturne::files::read_json(&layout.experiment_file(&id), 1 << 20).unwrap();
            prop_assert_eq!(file.experiment, read);
            prop_assert!(store.integrity_check().await.unwrap().is_empty());
            Ok(())
        })?;
    }
}
