//! `secret.args`.

use std::collections::BTreeMap;

use crate::draft::ProcessDraft;
use crate::rules::ProcessScope;
use crate::rules::secret_env::{MOST, SecretVariable, secrets_of};
use crate::secrets::secrets_in_arguments;
use crate::sheet::{Found, Sheet};

/// Arguments are shown by every `ps`. The kubelet puts a variable's value in the place of `$(NAME)`, so what is secret in the environment
/// is looked for as well.
pub(super) fn judge(process: &mut ProcessDraft, scope: &ProcessScope<'_>, sheet: &mut Sheet) {
    let own: BTreeMap<usize, &str> =
        secrets_in_arguments(process.args.iter().map(String::as_str)).into_iter().collect();
    let secrets = secrets_of(&process.env, scope.settings);
    let variables: Vec<&SecretVariable> = secrets.iter().flatten().take(MOST).collect();
    let of_variable = |argument: &String| variables.iter().find(|variable| variable.is_in(argument));
    let kinds = process.args.iter().enumerate().filter_map(|(i, argument)| {
        let value = || of_variable(argument).map(|variable| format!("the value of {}", variable.name()));
        own.get(&i).map(|what| (*what).to_owned()).or_else(value).map(|what| (i, what))
    });
    for (i, what) in kinds.take(MOST) {
        let found = Found::new(format!("/process/args/{i}"), "an argument", format!("an argument holds {what}"));
        sheet.refuses(found, "a file or a variable that the program reads");
    }
    // For the rule that follows.
    process.secrets = Some(secrets);
}
