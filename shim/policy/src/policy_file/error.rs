//! What is wrong with a policy file, where, and what to do about it.

use std::ops::Range;

/// A policy file that is not understood. Nothing is created under it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// It is not TOML, or holds a key or a type that no table has.
    #[error("line {line}: {message}{mend}")]
    Syntax {
        /// The line, counted from 1.
        line: usize,
        /// What the reader says, in one line.
        message: String,
        /// What to do, where that is plain; starts with "; ".
        mend: String,
    },
    /// A value that makes no sense.
    #[error("line {line}: {key} {problem}; {mend}")]
    Value {
        /// The line, counted from 1.
        line: usize,
        /// The key, from the top of the file.
        key: String,
        /// What is wrong with it.
        problem: String,
        /// What to do about it.
        mend: String,
    },
}

/// Which of several files is not understood, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("file {index}: {source}")]
pub struct PolicyFilesError {
    /// Its place among the files, counted from 0.
    pub index: usize,
    /// What is wrong with it.
    pub source: PolicyError,
}

impl PolicyError {
    /// The line, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        match self {
            Self::Syntax { line, .. } | Self::Value { line, .. } => *line,
        }
    }
}

/// Where lines begin, and the table at hand.
#[derive(Debug, Clone)]
pub(super) struct Place {
    starts: Vec<usize>,
    pub(super) key: String,
}

impl Place {
    pub(super) fn of(text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { starts: std::iter::once(0).chain(breaks).collect(), key: String::new() }
    }

    pub(super) fn within(&self, key: &str) -> Self {
        Self { starts: self.starts.clone(), key: key.to_owned() }
    }

    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset).max(1)
    }

    pub(super) fn syntax(&self, source: &toml::de::Error) -> PolicyError {
        let message = source.message().lines().collect::<Vec<_>>().join(", ");
        let mend = if message.contains("unknown field") { "; remove the key or mend its name" } else { "" };
        let line = source.span().map_or(1, |span| self.line(span.start));
        PolicyError::Syntax { line, message, mend: mend.to_owned() }
    }

    pub(super) fn wrong(&self, span: Range<usize>, key: &str, problem: &str, mend: impl Into<String>) -> PolicyError {
        PolicyError::Value {
            line: self.line(span.start),
            key: key.to_owned(),
            problem: problem.to_owned(),
            mend: mend.into(),
        }
    }
}
