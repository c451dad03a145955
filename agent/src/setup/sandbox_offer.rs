//! What a machine's sandbox offers, as the doctor tells it. Pure: the offer was found out before.

use sandbox::{Confinement, Described, Level, Offer};

use super::doctor::{Finding, State};
use crate::terminal::clean;

/// The level that results, and every part of it. A night of a campaign that asks for nothing else needs [`Level::Landlock`].
pub(super) fn sandbox_findings(offer: &Offer) -> Vec<Finding> {
    let mut findings = vec![level_finding(offer)];
    findings.extend(offer.describe().into_iter().map(|part| part_finding(offer, part)));
    findings
}

fn level_finding(offer: &Offer) -> Finding {
    const NAME: &str = "sandbox";
    let what = match Confinement::new(offer, Level::Off) {
        Ok(confinement) => confinement.describe(),
        Err(weak) => weak.to_string(),
    };
    let found = clean(&format!("{what} on Linux {}", offer.kernel));
    let lacking = |least| Confinement::new(offer, least).err();
    if let Some(weak) = lacking(Level::Landlock) {
        let detail = format!("{found}: edited code could do whatever you can. {}", clean(&weak.why));
        return Finding { name: NAME, state: State::Fail, detail, remedy: Some(clean(&weak.remedy)) };
    }
    match lacking(Level::Namespaces) {
        None => Finding::ok(NAME, found),
        Some(_) => Finding::warn(
            NAME,
            format!("{found}: enough for campaigns that accept it (`least = \"landlock\"`, the default)"),
            "For namespaces of its own as well, see the remedies below",
        ),
    }
}

/// A part that is missing is worth a remedy where the whole would be stronger with it.
fn part_finding(offer: &Offer, part: Described) -> Finding {
    let text = clean(&part.text);
    if part.offered {
        return Finding::ok(part.name, text);
    }
    let needless = match part.name {
        // Either makes the same namespaces, and with these landlock need not suffice alone.
        "bubblewrap" | "namespaces" | "landlock alone" => offer.level() == Level::Namespaces,
        _ => false,
    };
    if needless {
        return Finding::ok(part.name, format!("not offered, nor needed here: {text}"));
    }
    let remedy = part.remedy.map(|remedy| clean(&remedy));
    Finding { name: part.name, state: State::Warn, detail: format!("not offered: {text}"), remedy }
}

#[cfg(test)]
mod tests {
    use sandbox::{Bubblewrap, Cgroup, Finding as Found, Reason};

    use super::*;

    fn whole() -> Offer {
        Offer {
            kernel: "6.12.8".to_owned(),
            landlock: Found::Offered(6),
            seccomp: Found::Offered(()),
            bubblewrap: Found::Offered(Bubblewrap {
                program: "/usr/bin/bwrap".into(),
                version: "bubblewrap 0.8.0".into(),
            }),
            namespaces: Found::Offered(()),
            landlock_only: Found::Offered(()),
            cgroup: Found::Offered(Cgroup::V2 { parent: "/sys/fs/cgroup/user".into() }),
        }
    }

    fn missing<T>(why: &str, remedy: &str) -> Found<T> {
        Found::Missing(Reason::new(why).with_remedy(remedy))
    }

    #[test]
    fn a_person_learns_what_there_is_and_what_to_do_for_more() {
        let no_namespaces = || missing("unshare: Operation not permitted", "sysctl kernel.unprivileged_userns_clone=1");
        let no_bubblewrap = || missing("bwrap is not on PATH", "apt install bubblewrap");
        let without_bubblewrap = Offer { bubblewrap: no_bubblewrap(), ..whole() };
        let landlock = Offer {
            bubblewrap: no_bubblewrap(),
            namespaces: no_namespaces(),
            cgroup: missing("no controller \u{1b}[31mmemory", "start it in a user's slice"),
            ..whole()
        };
        let nothing = Offer {
            kernel: "5.10.0".to_owned(),
            landlock: missing("the kernel has none", "use Linux 6.12 or newer"),
            landlock_only: missing("landlock 6 is needed", "use Linux 6.12 or newer"),
            ..landlock.clone()
        };
        let mut told = String::new();
        for (what, offer, state) in [
            ("everything", whole(), State::Ok),
            ("no bubblewrap", without_bubblewrap, State::Ok),
            ("landlock alone", landlock, State::Warn),
            ("nothing", nothing, State::Fail),
        ] {
            told += &format!("--- {what}\n");
            let findings = sandbox_findings(&offer);
            assert_eq!(findings[0].state, state, "{what}");
            // Only the level decides whether a night can start.
            assert!(findings[1..].iter().all(|finding| finding.state != State::Fail), "{what}");
            for finding in findings {
                told += &format!("{:?} {}: {}\n", finding.state, finding.name, finding.detail);
                told += &finding.remedy.map(|remedy| format!("    {remedy}\n")).unwrap_or_default();
            }
        }
        assert!(!told.contains('\u{1b}'), "an escape sequence got through");
        insta::assert_snapshot!(told);
    }
}
