//! `palisade image`: which image a container is made of, for the shim to judge, and containerd's image verifier.

mod asked;
mod blob;
mod bundle;
mod containerd;
mod error;
mod key;
mod lists;
mod manifest;
mod messages;
mod remap;
mod resolve;
mod signatures;
mod simple_signing;
mod verdicts;
pub(crate) mod verifier;

use std::io::Write as _;

use palisade::gate::PolicySource;
use palisade::image::{ANSWER_VERSION, Answer};
use palisade_policy::{ImageFacts, ImageKey, ImageSettings};

use crate::Verdict;
use crate::arguments::{FactsArguments, ImageCommand};
use crate::error::CliError;
use containerd::Containerd;
use error::ImageError;

pub(crate) fn run(command: &ImageCommand, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    match command {
        ImageCommand::Facts(arguments) => facts(arguments, out),
    }
}

/// Whether every key of the policy is one: its frame alone the policy's reader knows.
pub(crate) fn check_keys(settings: &ImageSettings) -> Result<(), CliError> {
    let unusable = |key: &&ImageKey| key::Key::read(key).is_err();
    let name = settings.keys.iter().find(unusable).map(|key| key.name.clone());
    name.map_or(Ok(()), |name| Err(CliError::ImageKey { name }))
}

/// What is wrong is said in the answer, since it is the shim that reads it.
fn facts(arguments: &FactsArguments, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    let (answer, verdict) = match look(arguments) {
        Ok(facts) => (Answer { version: ANSWER_VERSION, image: Some(Box::new(facts)), error: None }, Verdict::Fine),
        Err(error) => {
            let error = Some(error.chain());
            (Answer { version: ANSWER_VERSION, image: None, error }, Verdict::Objections)
        }
    };
    serde_json::to_writer(&mut *out, &answer)?;
    writeln!(out)?;
    Ok(verdict)
}

fn look(arguments: &FactsArguments) -> Result<ImageFacts, ImageError> {
    let policy = PolicySource::from_env().load()?;
    let settings = policy.policy().images();
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ImageError::Executor)?;
    executor.block_on(async {
        let looking = async {
            let containerd = Containerd::connect(&arguments.address, &arguments.namespace).await?;
            resolve::facts_of(&containerd, &arguments.container, settings).await
        };
        // A little before the shim gives up, so that its message can say what was waited for.
        let deadline = settings.deadline * 9 / 10;
        tokio::time::timeout(deadline, looking).await.unwrap_or(Err(ImageError::Late { deadline: settings.deadline }))
    })
}
