//! `secret.args`.

use crate::draft::ProcessDraft;
use crate::rules::ProcessScope;
use crate::rules::secret_env::{SecretVariable, secrets_of};
use crate::secrets::secrets_in_arguments;
use crate::sheet::{Found, Sheet};

/// Arguments are shown by every `ps`. The kubelet puts a variable's value in the place of `$(NAME)`, so what is secret in the environment
/// is looked for as well.
pub(super) fn judge(process: &mut ProcessDraft, scope: &ProcessScope<'_>, sheet: &mut Sheet) {
    let own = secrets_in_arguments(process.args.iter().map(String::as_str));
    let secrets = secrets_of(&process.env, scope.settings);
    let variables: Vec<&SecretVariable> = secrets.iter().flatten().collect();
    for (i, argument) in process.args.iter().enumerate() {
        let form = own.iter().find(|(at, _)| *at == i).map(|(_, what)| (*what).to_owned());
        let value = || variables.iter().find(|variable| variable.is_in(argument));
        let Some(what) = form.or_else(|| value().map(|variable| format!("the value of {}", variable.name()))) else {
            continue;
        };
        let found = Found::new(format!("/process/args/{i}"), "an argument", format!("an argument holds {what}"));
        sheet.refuses(found, "a file or a variable that the program reads");
    }
    // For the rule that follows.
    process.secrets = Some(secrets);
}
