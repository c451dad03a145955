//! Which of the machine's mechanisms are put in force, decided from an [`Offer`]. No IO.

use serde::{Deserialize, Serialize};

use crate::Level;
use crate::offer::{Bubblewrap, Cgroup, Finding, Offer, Reason};

/// What keeps a confined process from the rest of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// Nothing but limits.
    Off,
    /// Landlock and seccomp.
    Landlock,
    /// Namespaces made by the helper itself; landlock and seccomp inside.
    Namespaces,
    /// Namespaces made by bubblewrap; landlock and seccomp inside.
    Bubblewrap(Bubblewrap),
}

/// How confined processes are confined on this machine. Goes to the helper as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    mechanism: Mechanism,
    /// Version of landlock's interface; 0 where there is none.
    landlock: u32,
    cgroup: Option<Cgroup>,
}

/// The machine offers less than the least that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this machine confines edited code at level `{offered}` only, the least accepted is `{least}`: {why}; {remedy}"
)]
pub struct TooWeak {
    /// What was asked for.
    pub least: Level,
    /// What there is.
    pub offered: Level,
    /// What does not work, and why.
    pub why: String,
    /// What can be done.
    pub remedy: String,
}

impl Confinement {
    /// No confinement: limits only.
    pub fn off() -> Self {
        Self { mechanism: Mechanism::Off, landlock: 0, cgroup: None }
    }

    /// The strongest confinement that the machine offers, bubblewrap first.
    ///
    /// # Errors
    /// When that is weaker than `least`.
    pub fn new(offer: &Offer, least: Level) -> Result<Self, TooWeak> {
        let offered = offer.level();
        if offered < least {
            let reasons = offer.reasons(least);
            let why = reasons.iter().map(|(name, reason)| format!("{name}: {}", reason.why)).collect::<Vec<_>>();
            let mut remedies: Vec<_> = reasons.iter().filter_map(|(_, reason)| reason.remedy.clone()).collect();
            remedies.dedup();
            remedies.push(format!("or accept less: `least = \"{offered}\"` under [sandbox] in campaign.toml"));
            return Err(TooWeak { least, offered, why: why.join("; "), remedy: remedies.join("; ") });
        }
        let mechanism = match (&offer.bubblewrap, offered) {
            (Finding::Offered(found), Level::Namespaces) => Mechanism::Bubblewrap(found.clone()),
            (_, Level::Namespaces) => Mechanism::Namespaces,
            (_, Level::Landlock) => Mechanism::Landlock,
            (_, Level::Off) => Mechanism::Off,
        };
        Ok(Self::of(offer, mechanism))
    }

    /// Every mechanism by name, each with the confinement or why the machine does not offer it. For tests, which try each.
    pub fn every(offer: &Offer) -> Vec<(&'static str, Result<Self, Reason>)> {
        let of = |missing: Option<&Reason>, mechanism| match missing.or(offer.landlock.missing()) {
            Some(reason) => Err(reason.clone()),
            None => Ok(Self::of(offer, mechanism)),
        };
        let bubblewrap = match &offer.bubblewrap {
            Finding::Offered(found) => of(None, Mechanism::Bubblewrap(found.clone())),
            Finding::Missing(reason) => Err(reason.clone()),
        };
        vec![
            ("off", Ok(Self::of(offer, Mechanism::Off))),
            ("landlock", of(offer.landlock_only.missing(), Mechanism::Landlock)),
            ("namespaces", of(offer.namespaces.missing(), Mechanism::Namespaces)),
            ("bubblewrap", bubblewrap),
        ]
    }

    /// The same without control groups, as on a machine that has none to give.
    #[must_use]
    pub fn without_cgroup(mut self) -> Self {
        self.cgroup = None;
        self
    }

    /// Its level.
    pub fn level(&self) -> Level {
        match self.mechanism {
            Mechanism::Off => Level::Off,
            Mechanism::Landlock => Level::Landlock,
            Mechanism::Namespaces | Mechanism::Bubblewrap(_) => Level::Namespaces,
        }
    }

    /// In one line, for a person.
    pub fn describe(&self) -> String {
        let by = match &self.mechanism {
            Mechanism::Off => "limits only".to_owned(),
            Mechanism::Landlock => "landlock and seccomp".to_owned(),
            Mechanism::Namespaces => "own namespaces, seccomp".to_owned(),
            Mechanism::Bubblewrap(found) => format!("{}, seccomp", found.version),
        };
        let landlock = match self.mechanism {
            Mechanism::Off => String::new(),
            _ => format!(", landlock {}", self.landlock),
        };
        let cgroup = match self.cgroup {
            Some(Cgroup::V2 { .. }) => "cgroup 2",
            Some(Cgroup::V1 { .. }) => "cgroup 1",
            None => "no cgroup",
        };
        format!("{} ({by}{landlock}, {cgroup})", self.level())
    }

    /// What keeps confined processes from the rest of the machine.
    pub fn mechanism(&self) -> &Mechanism {
        &self.mechanism
    }

    /// Version of landlock's interface that is put in force; 0 for none.
    pub fn landlock(&self) -> u32 {
        self.landlock
    }

    /// Where groups with limits are made, if anywhere.
    pub fn cgroup(&self) -> Option<&Cgroup> {
        self.cgroup.as_ref()
    }

    pub(crate) fn of(offer: &Offer, mechanism: Mechanism) -> Self {
        Self {
            mechanism,
            landlock: offer.landlock.offered().copied().unwrap_or(0),
            cgroup: offer.cgroup.offered().cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing<T>(why: &str) -> Finding<T> {
        Finding::Missing(Reason::new(why).with_remedy(format!("mend {why}")))
    }

    /// A machine that offers what is named.
    fn offer(names: &[&str]) -> Offer {
        let has = |name| names.contains(&name);
        let plain = |name| if has(name) { Finding::Offered(()) } else { missing(name) };
        Offer {
            kernel: "6.0".to_owned(),
            landlock: if has("landlock") { Finding::Offered(7) } else { missing("landlock") },
            seccomp: plain("seccomp"),
            bubblewrap: match has("bubblewrap") {
                true => Finding::Offered(Bubblewrap { program: "/usr/bin/bwrap".into(), version: "0.8".to_owned() }),
                false => missing("bubblewrap"),
            },
            namespaces: plain("namespaces"),
            landlock_only: plain("landlock only"),
            cgroup: missing("cgroup"),
        }
    }

    #[test]
    fn the_strongest_that_works_is_taken_bubblewrap_first() {
        for (names, level, by) in [
            (&["bubblewrap", "namespaces", "landlock", "landlock only"][..], Level::Namespaces, "0.8"),
            // Without landlock what is handed over to be read could be written.
            (&["bubblewrap", "namespaces"], Level::Off, "limits only"),
            (&["bubblewrap", "landlock"], Level::Namespaces, "landlock 7"),
            (&["namespaces", "landlock", "landlock only"], Level::Namespaces, "own namespaces"),
            (&["landlock", "landlock only"], Level::Landlock, "landlock and seccomp"),
            // There, but it does not hold: an old version.
            (&["landlock", "seccomp"], Level::Off, "limits only"),
            (&[], Level::Off, "limits only"),
        ] {
            let offer = offer(names);
            assert_eq!(offer.level(), level, "{names:?}");
            let confinement = Confinement::new(&offer, Level::Off).unwrap();
            assert_eq!(confinement.level(), level, "{names:?}");
            assert!(confinement.describe().contains(by), "{names:?}: {}", confinement.describe());
            for least in Level::ALL {
                assert_eq!(Confinement::new(&offer, least).is_ok(), least <= level, "{names:?}: {least}");
            }
        }
    }

    #[test]
    fn too_weak_says_what_is_missing_and_what_to_do() {
        let error = Confinement::new(&offer(&["landlock", "landlock only"]), Level::Namespaces).unwrap_err();
        assert_eq!((error.least, error.offered), (Level::Namespaces, Level::Landlock));
        let text = error.to_string();
        for words in ["bubblewrap: bubblewrap", "mend namespaces", "least = \"landlock\"", "campaign.toml"] {
            assert!(text.contains(words), "{words} in {text}");
        }
        let text = Confinement::new(&offer(&[]), Level::Landlock).unwrap_err().to_string();
        assert!(text.contains("mend landlock only") && text.contains("least = \"off\""), "{text}");
    }

    #[test]
    fn it_reaches_the_helper_as_it_is() {
        for (_, confinement) in Confinement::every(&offer(&["bubblewrap", "namespaces", "landlock", "landlock only"])) {
            let confinement = confinement.unwrap();
            let text = serde_json::to_string(&confinement).unwrap();
            assert_eq!(serde_json::from_str::<Confinement>(&text).unwrap(), confinement);
        }
    }
}
