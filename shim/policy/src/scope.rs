//! Which containers an entry of the policy is about.

use std::fmt;

use crate::identity::{ContainerKind, Identity};

/// Conditions that must all hold. An absent one always does; at least one is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    namespace: Option<Pattern>,
    pod: Option<Pattern>,
    container: Option<Pattern>,
    image: Option<Pattern>,
    sandbox: Option<bool>,
}

/// A whole text, or with a `*` at its end the beginning of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pattern {
    Whole(String),
    Beginning(String),
}

/// A container as the conditions see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    identity: &'a Identity,
    is_sandbox: bool,
}

impl<'a> Candidate<'a> {
    /// A container that is to be created as `id`. containerd gives no two containers the same id, so only the
    /// pod's sandbox can have the sandbox's: the annotation alone makes nobody one.
    pub(crate) fn new(identity: &'a Identity, id: &str) -> Self {
        let is_sandbox = identity.kind == ContainerKind::Sandbox && !id.is_empty() && id == identity.sandbox_id;
        Self { identity, is_sandbox }
    }

    /// A container that exists: whether its claim to be a sandbox holds was judged when it was created.
    pub(crate) fn of_grant(identity: &'a Identity) -> Self {
        Self { identity, is_sandbox: identity.kind == ContainerKind::Sandbox }
    }
}

impl Pattern {
    /// `None` for an empty text, and for a `*` anywhere but at the end.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let (text, whole) = text.strip_suffix('*').map_or((text, true), |beginning| (beginning, false));
        if text.contains('*') || (whole && text.is_empty()) {
            return None;
        }
        Some(if whole { Self::Whole(text.to_owned()) } else { Self::Beginning(text.to_owned()) })
    }

    /// Whether some text fits both.
    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Whole(whole), pattern) | (pattern, Self::Whole(whole)) => pattern.fits(whole),
            (Self::Beginning(one), Self::Beginning(other)) => {
                one.starts_with(other.as_str()) || other.starts_with(one.as_str())
            }
        }
    }

    /// Whether every text that fits `narrower` fits this one.
    fn includes(&self, narrower: &Self) -> bool {
        match (self, narrower) {
            (pattern, Self::Whole(whole)) => pattern.fits(whole),
            (Self::Beginning(beginning), Self::Beginning(longer)) => longer.starts_with(beginning.as_str()),
            (Self::Whole(_), Self::Beginning(_)) => false,
        }
    }

    fn fits(&self, text: &str) -> bool {
        match self {
            Self::Whole(whole) => whole == text,
            Self::Beginning(beginning) => text.starts_with(beginning.as_str()),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(whole) => f.write_str(whole),
            Self::Beginning(beginning) => write!(f, "{beginning}*"),
        }
    }
}

/// As an admin reads it: `namespace=a* sandbox=true`.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = ["namespace", "pod", "container", "image"].into_iter().zip(self.patterns());
        let texts = texts.filter_map(|(name, pattern)| Some(format!("{name}={}", pattern?)));
        let sandbox = self.sandbox.map(|sandbox| format!("sandbox={sandbox}"));
        f.write_str(&texts.chain(sandbox).collect::<Vec<_>>().join(" "))
    }
}

impl Scope {
    fn patterns(&self) -> [Option<&Pattern>; 4] {
        [&self.namespace, &self.pod, &self.container, &self.image].map(Option::as_ref)
    }

    /// Whether some container can be covered by both.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        let texts = self.patterns().into_iter().zip(other.patterns());
        let mut apart = texts.filter_map(|(one, other)| Some(!one?.meets(other?)));
        let sandboxes = self.sandbox.zip(other.sandbox).is_none_or(|(one, other)| one == other);
        sandboxes && !apart.any(|apart| apart)
    }

    /// Whether it covers every container that all of `others` cover; an absent one covers all. May be `false` where it does.
    pub(crate) fn covers_all_of(&self, others: [Option<&Self>; 2]) -> bool {
        let others = || others.into_iter().flatten();
        let texts = self.patterns().into_iter().enumerate().all(|(at, pattern)| {
            let narrower = |other: &Self| other.patterns().get(at).copied().flatten().cloned();
            pattern.is_none_or(|pattern| others().filter_map(narrower).any(|narrower| pattern.includes(&narrower)))
        });
        texts && self.sandbox.is_none_or(|wanted| others().any(|other| other.sandbox == Some(wanted)))
    }

    /// `None` if there is no condition at all.
    pub(crate) fn new(
        namespace: Option<Pattern>,
        pod: Option<Pattern>,
        container: Option<Pattern>,
        image: Option<Pattern>,
        sandbox: Option<bool>,
    ) -> Option<Self> {
        let scope = Self { namespace, pod, container, image, sandbox };
        let texts = [&scope.namespace, &scope.pod, &scope.container, &scope.image];
        (texts.iter().any(|text| text.is_some()) || scope.sandbox.is_some()).then_some(scope)
    }

    /// Whether it asks for something that a pod's author does not choose: names of pods, containers and images are
    /// the author's, the namespace is what the author was let into, and the sandbox runs the node's own image.
    pub(crate) fn is_beyond_author(&self) -> bool {
        self.namespace.is_some() || self.sandbox == Some(true)
    }

    pub(crate) fn covers(&self, candidate: Candidate<'_>) -> bool {
        let identity = candidate.identity;
        let texts = [
            (&self.namespace, &identity.pod_namespace),
            (&self.pod, &identity.pod_name),
            (&self.container, &identity.container_name),
            (&self.image, &identity.image_name),
        ];
        texts.into_iter().all(|(pattern, text)| pattern.as_ref().is_none_or(|pattern| pattern.fits(text)))
            && self.sandbox.is_none_or(|wanted| wanted == candidate.is_sandbox)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app() -> Identity {
        Identity {
            kind: ContainerKind::Container,
            sandbox_id: "s1".to_owned(),
            pod_namespace: "ml-train".to_owned(),
            pod_name: "job-7".to_owned(),
            container_name: "app".to_owned(),
            image_name: "registry.corp/ml/train:3".to_owned(),
            ..Identity::default()
        }
    }

    fn scope(namespace: &str, pod: &str, sandbox: Option<bool>) -> Scope {
        Scope::new(Pattern::of(namespace), Pattern::of(pod), None, None, sandbox).unwrap()
    }

    #[test]
    fn all_conditions_must_hold() {
        let app = app();
        let candidate = Candidate::new(&app, "c1");
        for (namespace, pod, sandbox, holds) in [
            ("ml-train", "", None, true),
            ("ml-*", "job-*", Some(false), true),
            ("ml-", "", None, false),
            ("ml-*", "web-*", None, false),
            ("ml-*", "", Some(true), false),
            ("*", "", None, true),
        ] {
            assert_eq!(scope(namespace, pod, sandbox).covers(candidate), holds, "{namespace} {pod} {sandbox:?}");
        }
    }

    #[test]
    fn an_annotation_alone_makes_no_sandbox() {
        let claimed = Identity { kind: ContainerKind::Sandbox, ..app() };
        let sandboxes = scope("", "", Some(true));
        assert!(sandboxes.covers(Candidate::new(&claimed, "s1")));
        assert!(!sandboxes.covers(Candidate::new(&claimed, "c1")));
        assert!(!sandboxes.covers(Candidate::new(&Identity { sandbox_id: String::new(), ..claimed }, "")));
    }

    #[test]
    fn a_star_stands_at_the_end_only_and_something_must_be_asked() {
        for text in ["", "a*b", "*a", "**"] {
            assert_eq!(Pattern::of(text), None, "{text}");
        }
        assert_eq!(Scope::new(None, None, None, None, None), None);
    }
}
