//! The keys of the configuration as flags.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::key::{Entry, Flag, Scope};
use crate::config::table::KEYS;

/// The subcommands that take the flags of a scope, beside those of [`Scope::Every`]. Without a subcommand
/// the service runs, so the flags of all scopes but [`Scope::Client`] stand at the top too.
const fn subcommands(scope: Scope) -> &'static [&'static str] {
    match scope {
        Scope::Every => &[],
        Scope::Service => &["serve", "config"],
        Scope::Store => &["serve", "export", "import", "mcp", "config"],
        Scope::Logins => &["serve", "mcp", "config"],
        Scope::Client => &[
            "chat",
            "tools",
            "call",
            "resources",
            "prompts",
            "models",
            "usage",
            "actions",
            "runs",
            "health",
            "config",
        ],
    }
}

/// Gives every command the flags of its keys.
pub fn add(mut grammar: Command) -> Command {
    for (entry, flag) in entries() {
        if flag.scope != Scope::Client {
            grammar = grammar.arg(argument(entry, flag).global(flag.scope == Scope::Every));
        }
        for name in subcommands(flag.scope) {
            grammar = grammar.mut_subcommand(name, |subcommand| {
                // Its flags may stand behind its own subcommands.
                let is_global = subcommand.has_subcommands();
                subcommand.arg(argument(entry, flag).global(is_global))
            });
        }
    }
    grammar
}

/// The keys that were given, by name.
///
/// # Errors
/// A flag for the service stands before a command that does not run it.
pub fn given(
    matches: &ArgMatches,
    grammar: &mut Command,
) -> Result<Vec<(&'static str, String)>, clap::Error> {
    let mut found = Vec::new();
    let subcommand = matches.subcommand();
    for (entry, flag) in entries() {
        let at_top = value(matches, entry, flag);
        let takes_it = |name| flag.scope == Scope::Every || subcommands(flag.scope).contains(&name);
        if let (Some(_), Some((name, _))) = (&at_top, subcommand)
            && !takes_it(name)
        {
            let message = format!("--{} has no meaning for `assistd {name}`", flag.long);
            return Err(grammar.error(ErrorKind::ArgumentConflict, message));
        }
        let below = subcommand.and_then(|(_, matches)| innermost(matches, entry, flag));
        found.extend(below.or(at_top).map(|text| (entry.about().name, text)));
    }
    Ok(found)
}

fn entries() -> impl Iterator<Item = (&'static dyn Entry, &'static Flag)> {
    KEYS.iter()
        .filter_map(|entry| Some((*entry, entry.about().flag.as_ref()?)))
}

/// The variable's name is the argument's id: unlike the flag's it is never that of a command's own argument.
fn argument(entry: &'static dyn Entry, flag: &'static Flag) -> Arg {
    let about = entry.about();
    let argument = Arg::new(about.env)
        .long(flag.long)
        .help(format!("{} [env: {}]", about.help, about.env))
        .help_heading("Configuration");
    if flag.is_switch {
        argument.action(ArgAction::SetTrue)
    } else {
        argument
            .action(ArgAction::Set)
            .value_name(entry.shape().placeholder)
    }
}

/// The flag's value where it stands deepest in a group of commands.
fn innermost(matches: &ArgMatches, entry: &dyn Entry, flag: &Flag) -> Option<String> {
    let deeper = matches
        .subcommand()
        .and_then(|(_, matches)| innermost(matches, entry, flag));
    deeper.or_else(|| value(matches, entry, flag))
}

/// The flag's value. A command that does not have the flag does not know its id: that is an error with debug
/// assertions and nothing without, and neither may panic.
fn value(matches: &ArgMatches, entry: &dyn Entry, flag: &Flag) -> Option<String> {
    let id = entry.about().env;
    if flag.is_switch {
        let is_on = matches.try_get_one::<bool>(id).ok().flatten();
        is_on.filter(|is_on| **is_on).map(ToString::to_string)
    } else {
        matches.try_get_one::<String>(id).ok().flatten().cloned()
    }
}
