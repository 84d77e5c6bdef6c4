//! References to variables (`$(NAME)`), and how much text they may come to.

use std::collections::BTreeMap;

use crate::kubernetes::objects::WrongField;
use crate::kubernetes::place::Place;

/// The most bytes that one object's variables, references and paths of mounted volumes may come to beside its own text. Each variable can double what the one before it
/// holds; what a kernel hands to a program is less (`ARG_MAX` is 2 MiB on most, execve(2)).
pub(super) const MOST: usize = 1 << 20;

/// What is left for an object.
#[derive(Debug)]
pub(super) struct Budget {
    left: usize,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { left: MOST }
    }

    /// Takes bytes that stand at a place and not in the manifest.
    pub(super) fn take(&mut self, bytes: usize, place: &Place) -> Result<(), WrongField> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| {
            let reason =
                format!("with it the variables, references and paths of volumes come to more than {MOST} bytes");
            WrongField { path: place.to_string(), pointer: place.pointer(), reason }
        })?;
        Ok(())
    }

    /// Kubernetes' `$(NAME)`: what is not known stays as it is, and `$$` is a dollar sign.
    pub(super) fn expand(
        &mut self,
        text: &str,
        known: &BTreeMap<String, String>,
        place: &Place,
    ) -> Result<String, WrongField> {
        let mut out = String::new();
        let mut rest = text;
        // Behind the last bracket nothing is a reference, and nobody has to look for one's end again and again.
        let behind = text.rfind(')').map_or(0, |at| text.len() - at);
        while let Some(at) = rest.find('$') {
            let (before, from) = rest.split_at(at);
            out.push_str(before);
            let after = from.get(1..).unwrap_or_default();
            if let Some(escaped) = after.strip_prefix('$') {
                out.push('$');
                rest = escaped;
                continue;
            }
            let inner = after.strip_prefix('(').filter(|inner| inner.len() >= behind && behind > 0);
            match inner.and_then(|inner| inner.split_once(')')) {
                Some((name, behind)) => {
                    match known.get(name) {
                        Some(value) => {
                            self.take(value.len(), place)?;
                            out.push_str(value);
                        }
                        None => out.push_str(&format!("$({name})")),
                    }
                    rest = behind;
                }
                None => {
                    out.push('$');
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// Source: Kubernetes `third_party/forked/golang/expansion/expand_test.go`.
    #[test]
    fn references_are_expanded_as_the_kubelet_does() {
        let known = BTreeMap::from([("A".to_owned(), "1".to_owned()), ("B".to_owned(), "x y".to_owned())]);
        for (text, wanted) in [
            ("$(A)-$(B)", "1-x y"),
            ("$(C)", "$(C)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$A $", "$A $"),
            ("$(A", "$(A"),
            ("$(A)$(A", "1$(A"),
            ("$()", "$()"),
            ("$$$$", "$$"),
            ("ä$(A)ö", "ä1ö"),
        ] {
            assert_eq!(Budget::new().expand(text, &known, &Place::default()).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn what_references_come_to_is_counted_over_all_of_them() {
        let known = BTreeMap::from([("A".to_owned(), "x".repeat(MOST / 2))]);
        let mut budget = Budget::new();
        let place = Place::of("spec.args");
        budget.expand("$(A)", &known, &place).unwrap();
        budget.expand("$(A) and text of one's own", &known, &place).unwrap();
        let over = Budget::expand(&mut budget, "$(A)", &known, &place).unwrap_err();
        assert_eq!(over.path, "spec.args");
        assert!(over.reason.contains("1048576 bytes"), "{}", over.reason);
    }

    #[test]
    fn references_without_an_end_are_looked_through_once() {
        let text = "$(".repeat(1 << 20);
        let begun = Instant::now();
        assert_eq!(Budget::new().expand(&text, &BTreeMap::new(), &Place::default()).unwrap(), text);
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}
