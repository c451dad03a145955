//! Architectures that look at nothing but what came before, as different as they come.

/// Where an architecture's edits come from.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// The repository's own model.
    Baseline,
    /// An idea of the playbook.
    Playbook(&'static str),
    /// SEARCH/REPLACE text.
    Edits(&'static str),
}

/// One architecture.
#[derive(Debug, Clone, Copy)]
pub struct Honest {
    /// Names it.
    pub name: &'static str,
    /// Its edits.
    pub source: Source,
    /// Added to the usual depth.
    pub deeper: i64,
    /// Divides the usual width.
    pub narrower: i64,
}

macro_rules! edits {
    ($name:literal) => {
        Source::Edits(include_str!(concat!("edits/", $name, ".blocks")))
    };
}

const fn honest(name: &'static str, source: Source) -> Honest {
    Honest { name, source, deeper: 0, narrower: 1 }
}

/// All of them.
pub const HONEST: [Honest; 14] = [
    honest("plain", Source::Baseline),
    honest("grouped-queries", Source::Playbook("grouped-queries")),
    honest("linear-attention", edits!("linear-attention")),
    honest("convolution", edits!("convolution")),
    honest("recurrence", edits!("recurrence")),
    honest("tied-head", Source::Playbook("tied-head")),
    honest("experts-gathered", edits!("experts-gathered")),
    honest("experts-masked", edits!("experts-masked")),
    honest("no-value-embeddings", Source::Playbook("no-value-embeddings")),
    honest("token-shift", edits!("token-shift")),
    honest("u-net", Source::Playbook("u-net-skips")),
    honest("swiglu", Source::Playbook("swiglu")),
    Honest { name: "tiny", source: Source::Baseline, deeper: -1, narrower: 2 },
    Honest { name: "deep", source: Source::Baseline, deeper: 6, narrower: 1 },
];
