//! Places in a manifest.

use std::fmt;

/// A path into an object, in which the parts of lists have their names beside their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Place(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Field(String),
    Item(usize, Option<String>),
}

impl Place {
    /// The place of `a.b.c`.
    pub(crate) fn of(path: &str) -> Self {
        Self(path.split('.').filter(|part| !part.is_empty()).map(|part| Part::Field(part.to_owned())).collect())
    }

    /// A field of what is here.
    pub(crate) fn field(&self, name: &str) -> Self {
        self.with(Part::Field(name.to_owned()))
    }

    /// The fields `a.b.c` of what is here.
    pub(crate) fn fields(&self, path: &str) -> Self {
        let mut place = self.clone();
        place.0.extend(Self::of(path).0);
        place
    }

    /// An item of the list that is here.
    pub(crate) fn item(&self, index: usize, name: &str) -> Self {
        self.with(Part::Item(index, (!name.is_empty()).then(|| name.to_owned())))
    }

    fn with(&self, part: Part) -> Self {
        let mut place = self.clone();
        place.0.push(part);
        place
    }

    /// JSON pointer (RFC 6901).
    pub(crate) fn pointer(&self) -> String {
        let part = |part: &Part| match part {
            Part::Field(name) => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
            Part::Item(index, _) => format!("/{index}"),
        };
        self.0.iter().map(part).collect()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            match part {
                Part::Field(name) if name.contains(['.', '/']) => write!(f, "[{name}]")?,
                Part::Field(name) if at == 0 => f.write_str(name)?,
                Part::Field(name) => write!(f, ".{name}")?,
                Part::Item(_, Some(name)) => write!(f, "[{name}]")?,
                Part::Item(index, None) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_as_people_write_it_and_points_as_programs_do() {
        let place = Place::of("spec.template.spec.containers").item(1, "web").fields("securityContext.privileged");
        assert_eq!(place.to_string(), "spec.template.spec.containers[web].securityContext.privileged");
        assert_eq!(place.pointer(), "/spec/template/spec/containers/1/securityContext/privileged");
        let annotation = Place::of("metadata.annotations").field("palisade.io/profile");
        assert_eq!(annotation.to_string(), "metadata.annotations[palisade.io/profile]");
        assert_eq!(annotation.pointer(), "/metadata/annotations/palisade.io~1profile");
    }
}
