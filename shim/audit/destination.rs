//! Where the records about a container that runs go.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use palisade_policy::AuditSettings;

/// Who knows the settings that are in force.
pub trait InForce: fmt::Debug + Send + Sync {
    /// As they are now; `None` while no policy can be read.
    fn audit(&self) -> Option<AuditSettings>;
}

/// Where the policy says now that records go. While none can be read: where the last one said.
#[derive(Debug, Clone)]
pub struct Destination {
    last: Arc<Mutex<AuditSettings>>,
    in_force: Option<Arc<dyn InForce>>,
}

impl Destination {
    /// Follows the policy from the settings by which a container was admitted.
    #[must_use]
    pub fn following(in_force: Arc<dyn InForce>, admitted: &AuditSettings) -> Self {
        Self { last: Arc::new(Mutex::new(admitted.clone())), in_force: Some(in_force) }
    }

    /// The settings of now.
    pub(super) fn settings(&self) -> AuditSettings {
        let now = self.in_force.as_ref().and_then(|policy| policy.audit());
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(now) = now {
            *last = now;
        }
        last.clone()
    }
}

impl From<&AuditSettings> for Destination {
    /// Always the same.
    fn from(settings: &AuditSettings) -> Self {
        Self { last: Arc::new(Mutex::new(settings.clone())), in_force: None }
    }
}

#[cfg(test)]
mod tests {
    use palisade_policy::Policy;

    use super::*;

    #[derive(Debug, Default)]
    struct Now(Mutex<Option<AuditSettings>>);

    impl InForce for Now {
        fn audit(&self) -> Option<AuditSettings> {
            self.0.lock().unwrap().clone()
        }
    }

    #[test]
    fn a_changed_policy_counts_at_the_next_record_and_one_that_is_wrong_does_not() {
        let at = |path: &str| Policy::from_toml(&format!("[audit]\npath = {path:?}\n")).unwrap().audit().clone();
        let now = Arc::new(Now::default());
        let destination = Destination::following(now.clone(), &at("/a"));
        let paths: Vec<_> = [None, Some("/b"), None]
            .into_iter()
            .map(|path| {
                *now.0.lock().unwrap() = path.map(at);
                destination.settings().path().to_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(paths, ["/a", "/b", "/b"]);
        // What speaks for the same container speaks in the same place.
        assert_eq!(destination.clone().settings().path().to_str(), Some("/b"));
    }
}
