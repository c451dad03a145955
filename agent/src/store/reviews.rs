//! The person's reviews. As the queue they are written by whoever reviews, also while a night runs, and their file is written while the
//! transaction still holds the database.

use sqlx::SqliteConnection;

use super::error::{Context, StoreError};
use super::mirror;
use super::reader::Reader;
use super::rows::Decoder;
use super::writer::{Store, now};
use crate::flow::{ExperimentId, NightId};
use crate::records::{ReviewChoice, ReviewRecord};

type Result<T> = std::result::Result<T, StoreError>;

impl Reader {
    /// What was made of experiments, of all nights or one, in the order in which it was said: of an experiment the last one counts.
    pub async fn reviews(&self, night: Option<&NightId>) -> Result<Vec<ReviewRecord>> {
        of(&mut *self.snapshot().await?, &self.context, night).await
    }
}

impl Store {
    /// Writes down what a person makes of experiments, all of it or none. What is the last word on one already changes nothing and is returned as
    /// it stands.
    ///
    /// # Errors
    /// [`StoreError::Constraint`] where there is no such experiment, or one is rejected without a reason.
    pub async fn record_reviews(&self, choices: &[(ExperimentId, ReviewChoice, String)]) -> Result<Vec<ReviewRecord>> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let mut reviews = all(&mut transaction, &self.context).await?;
        let before = reviews.len();
        let mut recorded = Vec::with_capacity(choices.len());
        for (experiment, choice, reason) in choices {
            let last = reviews.iter().rfind(|review| review.experiment == *experiment);
            if let Some(last) = last.filter(|last| last.choice == *choice && last.reason == *reason) {
                recorded.push(last.clone());
                continue;
            }
            let review = ReviewRecord {
                ordinal: reviews.last().map_or(0, |last| last.ordinal) + 1,
                experiment: experiment.clone(),
                choice: *choice,
                reason: reason.clone(),
                at: now(),
            };
            put(&mut transaction, &self.context, &review).await?;
            recorded.push(review.clone());
            reviews.push(review);
        }
        if reviews.len() > before {
            if let Some(layout) = &self.files {
                mirror::reviews(layout, reviews).await?;
            }
            self.commit(transaction).await?;
        }
        Ok(recorded)
    }
}

async fn all(connection: &mut SqliteConnection, context: &Context) -> Result<Vec<ReviewRecord>> {
    of(connection, context, None).await
}

/// Of all nights or one.
pub(super) async fn of(
    connection: &mut SqliteConnection,
    context: &Context,
    night: Option<&NightId>,
) -> Result<Vec<ReviewRecord>> {
    let night = night.map(NightId::as_str);
    let rows = sqlx::query!("SELECT * FROM reviews WHERE ?1 IS NULL OR night = ?1 ORDER BY ordinal", night)
        .fetch_all(connection)
        .await
        .map_err(context.sql("read the reviews"))?;
    let mut reviews = Vec::with_capacity(rows.len());
    for row in rows {
        let decoder = Decoder::new(context, format!("review {}", row.ordinal));
        reviews.push(ReviewRecord {
            ordinal: decoder.count("ordinal", row.ordinal)?,
            experiment: ExperimentId {
                night: decoder.word("night", &row.night)?,
                number: decoder.count("number", row.number)?,
            },
            choice: decoder.word("choice", &row.choice)?,
            reason: row.reason,
            at: decoder.word("at", &row.at)?,
        });
    }
    Ok(reviews)
}

pub(super) async fn put(connection: &mut SqliteConnection, context: &Context, review: &ReviewRecord) -> Result<()> {
    let (night, choice, at) = (review.experiment.night.as_str(), review.choice.name(), review.at.to_string());
    sqlx::query!(
        "INSERT INTO reviews (ordinal, night, number, choice, reason, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        review.ordinal,
        night,
        review.experiment.number,
        choice,
        review.reason,
        at
    )
    .execute(connection)
    .await
    .map_err(context.sql("write a review"))?;
    Ok(())
}
