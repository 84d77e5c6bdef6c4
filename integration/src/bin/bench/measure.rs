//! What can be measured.

/// A part of the benchmark, which can be run alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Each step of one container's life, one container after another.
    Steps,
    /// A shim's start, without a container.
    Start,
    /// Whole lives, one and many at once, with their CPU time, and beside them the kernel's work alone.
    Lives,
    /// What a shim takes of the machine.
    Memory,
    /// What a filter costs palisade, the report of refused calls, and learning.
    Watching,
}

impl Measure {
    pub(crate) const ALL: [Self; 5] = [Self::Steps, Self::Start, Self::Lives, Self::Memory, Self::Watching];

    /// The word for it on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Start => "start",
            Self::Lives => "lives",
            Self::Memory => "memory",
            Self::Watching => "watching",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|measure| measure.name() == name)
    }

    /// Rounds of this part for so many of the benchmark's: a round of many at once holds many values already.
    pub(crate) fn rounds(self, of: u32) -> u32 {
        match self {
            Self::Steps | Self::Start | Self::Watching => of,
            Self::Lives => of.div_ceil(4),
            Self::Memory => of.div_ceil(10),
        }
    }
}
