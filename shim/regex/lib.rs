//! `regex` for this workspace: what `regex-lite`, of the same authors, does.
//!
//! The specification's types and the embedded runtime's library check three short fixed patterns with `regex`. Its tables of Unicode and its
//! engines were 0.6 MB of the static binary, 0.18 MB of them pointers that each shim relocates into memory of its own; `regex-lite` has
//! neither. `\d` and `\w` are ASCII alone there, as in the kernel's files that these patterns are for.

pub use regex_lite::{
    CaptureLocations, CaptureMatches, CaptureNames, Captures, Error, Match, Matches, NoExpand, Regex, Replacer, Split,
    SplitN, SubCaptureMatches, escape,
};

/// A builder of [`Regex`], with the setting that `regex-lite` has no engine for. Tests validate documents with a crate that names it.
#[derive(Debug)]
pub struct RegexBuilder(regex_lite::RegexBuilder);

impl RegexBuilder {
    /// A builder for `pattern`.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self(regex_lite::RegexBuilder::new(pattern))
    }

    /// Bounds the compiled pattern, in bytes.
    pub fn size_limit(&mut self, bytes: usize) -> &mut Self {
        self.0.size_limit(bytes);
        self
    }

    /// Bounds the cache of a lazy DFA; there is none.
    pub fn dfa_size_limit(&mut self, _bytes: usize) -> &mut Self {
        self
    }

    /// Compiles the pattern.
    ///
    /// # Errors
    ///
    /// The pattern is none, or larger than its limit.
    pub fn build(&self) -> Result<Regex, Error> {
        self.0.build()
    }
}
