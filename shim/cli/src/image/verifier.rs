//! containerd's image verifier: a program that is asked before an image is fetched.
//!
//! containerd runs each program of `[plugins."io.containerd.image-verifier.v1.bindir"] bin_dir` with `-name`, `-digest` and `-stdin-media-type`, and
//! the image's descriptor on stdin; exit code 0 lets the image through, and what is printed is the reason. Source: containerd
//! `docs/image-verification.md`, `pkg/imageverifier/bindir`.

use std::io::{self, Read as _};
use std::process::ExitCode;
use std::time::Instant;

use palisade::gate::{GateError, PolicySource, record_pull, today};
use palisade_policy::{ImageAnswer, ImageFacts, is_digest, judge_pull};
use serde::Deserialize;

use super::{lists, manifest, signatures, verdicts};

/// The name by which the program is the verifier, whatever stands before it.
const NAME: &str = "image-verifier";
/// Longest descriptor, in bytes.
const MAX_DESCRIPTOR: u64 = 64 << 10;
const DESCRIPTOR: &str = "application/vnd.oci.descriptor.v1+json";

/// What containerd asks.
#[derive(Debug, Default, PartialEq, Eq)]
struct Question {
    name: String,
    digest: String,
    media_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
}

/// The arguments, if the program was called as the verifier: by its name, or by its first argument.
pub(crate) fn arguments(all: impl IntoIterator<Item = String>) -> Option<Vec<String>> {
    let mut all = all.into_iter();
    let program = all.next()?;
    let rest: Vec<String> = all.collect();
    let name = program.rsplit('/').next().unwrap_or_default();
    match rest.split_first() {
        _ if name.ends_with(NAME) => Some(rest),
        Some((first, rest)) if first == NAME => Some(rest.to_vec()),
        _ => None,
    }
}

/// Answers containerd: a reason on stdout, and an exit code. Whatever goes wrong is no consent.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    match verify(arguments) {
        Ok(reason) => {
            println!("{reason}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            println!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn verify(arguments: &[String]) -> Result<String, String> {
    let question = question(arguments).ok_or("palisade: called with other arguments than containerd has")?;
    let facts = facts(&question, io::stdin().lock())?;
    let begun = Instant::now();
    let policy = PolicySource::from_env().load().map_err(|error| chain(&error))?;
    let settings = policy.policy().images();
    let mut facts = facts;
    lists::look(&mut facts, settings);
    verdicts::look(&mut facts, settings);
    let executor = tokio::runtime::Builder::new_current_thread().build().map_err(|error| chain(&error))?;
    executor.block_on(signatures::look(&mut facts, settings, None));
    let decision = judge_pull(&ImageAnswer::Known(Box::new(facts)), policy.policy(), today());
    let profile = decision.record.profile.clone();
    match record_pull(decision, &policy, &question.name, begun.elapsed()) {
        Ok(()) => Ok(format!("palisade: allowed by profile {profile}")),
        Err(GateError::Denied(denial)) => Err(denial.to_string()),
        Err(error) => Err(chain(&error)),
    }
}

/// Go's flags: one dash or two, the value after `=` or as the next word.
fn question(arguments: &[String]) -> Option<Question> {
    let mut question = Question::default();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let flag = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
        let (flag, value) = match flag.split_once('=') {
            Some((flag, value)) => (flag, value.to_owned()),
            None => (flag, words.next()?.clone()),
        };
        let slot = match flag {
            "name" => &mut question.name,
            "digest" => &mut question.digest,
            "stdin-media-type" => &mut question.media_type,
            _ => return None,
        };
        *slot = value;
    }
    (!question.name.is_empty() && is_digest(&question.digest)).then_some(question)
}

fn facts(question: &Question, stdin: impl io::Read) -> Result<ImageFacts, String> {
    if question.media_type != DESCRIPTOR {
        return Err(format!("palisade: stdin is {:?}, not a descriptor", question.media_type));
    }
    let mut bytes = Vec::new();
    stdin.take(MAX_DESCRIPTOR).read_to_end(&mut bytes).map_err(|error| chain(&error))?;
    let descriptor: Descriptor = serde_json::from_slice(&bytes).map_err(|error| chain(&error))?;
    if descriptor.digest != question.digest {
        return Err("palisade: the descriptor is another image's".to_owned());
    }
    let is_manifest = manifest::is_manifest(&descriptor.media_type);
    Ok(ImageFacts {
        name: question.name.clone(),
        digest: question.digest.clone(),
        manifest: if is_manifest { question.digest.clone() } else { String::new() },
        ..ImageFacts::default()
    })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = format!("palisade: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn digest() -> String {
        format!("sha256:{}", "a".repeat(64))
    }

    #[test]
    fn the_program_is_the_verifier_by_its_name_or_its_first_word() {
        let rest = words("-name n");
        assert_eq!(arguments(words("/opt/verifiers/palisade-image-verifier -name n")), Some(rest.clone()));
        assert_eq!(arguments(words("/usr/local/bin/palisade image-verifier -name n")), Some(rest));
        assert_eq!(arguments(words("/usr/local/bin/palisade image facts")), None);
        assert_eq!(arguments(words("palisade")), None);
    }

    #[test]
    fn only_containerds_own_flags_are_understood() {
        let digest = digest();
        let asked =
            question(&words(&format!("-name r.example/a:1 --digest={digest} -stdin-media-type {DESCRIPTOR}"))).unwrap();
        assert_eq!((asked.name.as_str(), asked.digest.as_str()), ("r.example/a:1", digest.as_str()));
        for wrong in ["", "-name a", "-digest sha256:0 -name a", "name a", "-x y", "-name", "-name a -digest"] {
            assert_eq!(question(&words(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn the_descriptor_must_be_of_the_image_that_is_asked_about() {
        let question = Question { name: "a".into(), digest: digest(), media_type: DESCRIPTOR.into() };
        let of = |digest: &str, kind: &str| format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":3}}"#);
        let manifest = "application/vnd.oci.image.manifest.v1+json";
        assert_eq!(facts(&question, of(&digest(), manifest).as_bytes()).unwrap().manifest, digest());
        assert_eq!(facts(&question, of(&digest(), "index").as_bytes()).unwrap().manifest, "");
        assert!(facts(&question, of(&format!("sha256:{}", "b".repeat(64)), manifest).as_bytes()).is_err());
        assert!(facts(&question, "".as_bytes()).is_err());
        assert!(facts(&Question { media_type: "text/plain".into(), ..question }, "{}".as_bytes()).is_err());
    }
}
