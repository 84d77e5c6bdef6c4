//! What a scenario observed.

use std::collections::BTreeMap;
use std::fmt;

use palisade_integration::Failure;

/// Observations by name, each a text that is the same for each run that went the same way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen(BTreeMap<String, String>);

/// One observation under palisade that is another one under runc.
pub(super) struct Difference {
    pub(super) name: String,
    palisade: Option<String>,
    runc: Option<String>,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn note(&mut self, name: impl Into<String>, value: impl ToString) {
        self.0.insert(name.into(), value.to_string().trim().to_owned());
    }

    /// Adds a value to those that have this name.
    pub(super) fn add(&mut self, name: impl Into<String>, value: &str) {
        let values = self.0.entry(name.into()).or_default();
        if !values.is_empty() {
            values.push_str(" + ");
        }
        values.push_str(value);
    }

    /// Notes a request that may be refused: `done`, or what was answered.
    pub(super) fn answer<T>(&mut self, name: &str, answer: &Result<T, Failure>) {
        match answer {
            Ok(_) => self.note(name, "done"),
            Err(failure) => self.note(name, failure),
        }
    }

    /// Takes over another's observations under names that begin with this word.
    pub(super) fn include(&mut self, word: &str, other: Self) {
        self.0.extend(other.0.into_iter().map(|(name, value)| (format!("{word} {name}"), value)));
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The same with every text of the list replaced, in names and in values.
    pub(super) fn replaced(&self, words: &[(String, String)]) -> Self {
        let replace =
            |text: &String| without_ids(&words.iter().fold(text.clone(), |text, (word, by)| text.replace(word, by)));
        Self(self.0.iter().map(|(name, value)| (replace(name), replace(value))).collect())
    }

    /// Where this differs from what runc showed.
    pub(super) fn differing(&self, runc: &Self) -> Vec<Difference> {
        let mut names: Vec<_> = self.0.keys().chain(runc.0.keys()).collect();
        names.sort();
        names.dedup();
        let differing = names.into_iter().filter(|name| self.0.get(*name) != runc.0.get(*name));
        differing
            .map(|name| Difference {
                name: name.clone(),
                palisade: self.0.get(name).cloned(),
                runc: runc.0.get(name).cloned(),
            })
            .collect()
    }
}

/// Words of refusals name containers that came to nothing, by ids of 64 digits.
fn without_ids(text: &str) -> String {
    let is_id = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words = text.split_inclusive(|letter: char| !letter.is_ascii_alphanumeric());
    words
        .map(|word| {
            let bare = word.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
            if is_id(bare) { word.replace(bare, "ID") } else { word.to_owned() }
        })
        .collect()
}

impl fmt::Display for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
        formatter.write_str(&all.join(", "))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            |value: &Option<String>| value.as_ref().map_or_else(|| "nothing".to_owned(), |text| format!("{text:?}"));
        write!(formatter, "{} is {}, under runc {}", self.name, shown(&self.palisade), shown(&self.runc))
    }
}
