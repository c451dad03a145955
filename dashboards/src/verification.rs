//! The paragraph of the page that says how far its figures can be trusted.

use maud::{Markup, html};

use crate::text::{clean, counted};
use crate::view::{NightView, VerificationView};

/// How the figures were verified, and what was rejected. Nothing where nothing was evaluated.
pub(crate) fn verification(night: &NightView) -> Markup {
    let view = &night.verification;
    let rejected = view.rejected.values().fold(0, |sum: usize, count| sum.saturating_add(*count));
    let evaluated = view.verified.saturating_add(rejected);
    html! {
        @if evaluated > 0 {
            p.verified {
                (how(view)) " " (outcome(view, rejected)) " "
                @if view.uncertified < evaluated {
                    code { "nocturne show " (clean(&night.night)) "/NUMBER" }
                    " prints the certificate of every trial of an experiment."
                }
            }
        }
    }
}

fn how(view: &VerificationView) -> String {
    if view.evaluators.is_empty() {
        return "These figures are the models' own claims: nothing audited them.".to_owned();
    }
    let places = match view.cuts {
        Some((fewest, most)) if fewest == most => format!(" at {fewest} places of the held-out text"),
        Some((fewest, most)) => format!(" at {fewest} to {most} places of the held-out text"),
        None => String::new(),
    };
    let confined = match view.sandboxes.is_empty() {
        true => String::new(),
        false => format!(" confined by {}", joined(&view.sandboxes)),
    };
    let besides = match view.uncertified {
        0 => String::new(),
        count => format!(" {} {} evaluated before claims were audited.", counted(count, "trial"), was(count)),
    };
    format!(
        "Every model's own claim of its loss was audited by the evaluator {}{places}, in fresh processes{confined}.{besides}",
        joined(&view.evaluators)
    )
}

fn outcome(view: &VerificationView, rejected: usize) -> String {
    let word = if view.evaluators.is_empty() { "accepted" } else { "verified" };
    let verified = format!("{} {} {word}", counted(view.verified, "trial"), was(view.verified));
    if rejected == 0 {
        return format!("{verified}, none rejected.");
    }
    let by: Vec<String> =
        view.rejected.iter().map(|(check, count)| format!("{count} by the check {}", clean(check))).collect();
    format!("{verified}, {rejected} rejected: {}.", by.join(", "))
}

fn was(count: usize) -> &'static str {
    if count == 1 { "was" } else { "were" }
}

fn joined(words: &[String]) -> String {
    words.iter().map(|word| clean(word)).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(view: VerificationView) -> String {
        verification(&NightView { night: "2026-03-08-k4".into(), verification: view, ..NightView::default() })
            .into_string()
    }

    #[test]
    fn a_person_learns_how_the_figures_were_verified() {
        assert_eq!(shown(VerificationView::default()), "");
        let whole = VerificationView {
            evaluators: vec!["claim-and-audit/1".into()],
            cuts: Some((256, 256)),
            sandboxes: vec!["namespaces (bubblewrap 0.8.0, seccomp)".into()],
            verified: 9,
            rejected: [("audit-largest".to_owned(), 1), ("seeds<b>".to_owned(), 2)].into(),
            uncertified: 0,
        };
        assert_eq!(
            shown(whole.clone()),
            "<p class=\"verified\">Every model's own claim of its loss was audited by the evaluator claim-and-audit/1 at 256 \
             places of the held-out text, in fresh processes confined by namespaces (bubblewrap 0.8.0, seccomp). 9 trials were verified, 3 rejected: 1 by the check audit-largest, 2 by the check \
             seeds&lt;b&gt;. <code>nocturne show 2026-03-08-k4/NUMBER</code> prints the certificate of every trial of an \
             experiment.</p>"
        );
        let mixed = VerificationView {
            cuts: Some((32, 256)),
            sandboxes: Vec::new(),
            verified: 1,
            rejected: Default::default(),
            uncertified: 1,
            ..whole
        };
        let text = shown(mixed);
        assert!(text.contains("at 32 to 256 places") && text.contains("1 trial was evaluated before"), "{text}");
        assert!(text.contains("1 trial was verified, none rejected."), "{text}");
        let plain = shown(VerificationView { verified: 2, uncertified: 2, ..VerificationView::default() });
        assert_eq!(
            plain,
            "<p class=\"verified\">These figures are the models' own claims: nothing audited them. 2 trials were accepted, \
             none rejected. </p>"
        );
    }
}
