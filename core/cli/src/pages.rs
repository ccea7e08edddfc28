//! Completions and manual pages, both made from the argument definitions.

use crate::args::Cli;
use crate::exit::{self, Failure};
use clap::{Command, CommandFactory};
use std::io::Write;
use std::path::Path;

/// Prints the completion script of `shell`.
pub fn completions(shell: clap_complete::Shell) -> exit::Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ghoststream", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}

/// Prints one page about the whole command, or writes a page for each of its commands into `directory`.
pub fn man(directory: Option<&Path>) -> exit::Outcome {
    let command = built();
    let Some(directory) = directory else {
        return Ok(std::io::stdout().write_all(&whole(&command)?)?);
    };
    let failed =
        |path: &Path, e: std::io::Error| Failure::from(ghoststream::Error::from(e).context(path.display()));
    std::fs::create_dir_all(directory).map_err(|e| failed(directory, e))?;
    let mut pages = vec![("ghoststream.1".to_string(), whole(&command)?)];
    for sub in command.get_subcommands().filter(|c| c.get_name() != "help") {
        let name = format!("ghoststream-{}", sub.get_name());
        let mut page = Vec::new();
        let named = sub.clone().name(name.clone()).after_long_help("");
        clap_mangen::Man::new(named).render(&mut page)?;
        page.extend(codes());
        pages.push((format!("{name}.1"), page));
    }
    for (name, page) in pages {
        let path = directory.join(name);
        std::fs::write(&path, page).map_err(|e| failed(&path, e))?;
    }
    Ok(())
}

fn built() -> Command {
    let mut command = Cli::command().after_long_help("");
    command.build();
    command
}

/// The page of the command with the options of every subcommand in it, so that one page is enough.
fn whole(command: &Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(command.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    for sub in command.get_subcommands().filter(|c| c.get_name() != "help") {
        let title = format!("ghoststream {}", sub.get_name());
        writeln!(page, ".SH {}", title.to_uppercase())?;
        if let Some(about) = sub.get_about() {
            writeln!(page, "{}.", escaped(&about.to_string()))?;
        }
        for arg in sub.get_arguments().filter(|a| !a.is_global_set() && !a.is_hide_set()) {
            if matches!(arg.get_id().as_str(), "help" | "version") {
                continue;
            }
            writeln!(page, ".TP\n{}", heading(arg))?;
            let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
            let values: Vec<String> =
                arg.get_possible_values().iter().map(|v| v.get_name().to_string()).collect();
            let values = match values.as_slice() {
                [] => String::new(),
                _ if !arg.get_action().takes_values() => String::new(),
                values => format!(" [{}]", values.join(", ")),
            };
            writeln!(page, "{}", escaped(&(help + &values)))?;
        }
    }
    man.render_options_section(&mut page)?;
    page.extend(codes());
    writeln!(
        page,
        ".SH ENVIRONMENT\n.TP\n.B GS_LOG\nWhat to log, as \\-\\-log\\-level.\n.SH SIGNALS\nThe first SIGINT or \
         SIGTERM ends the input: what is inside is finished, the files are complete up to there, and the exit code \
         is 0.\nThe second cancels: what is half\\-written is removed unless \\-\\-keep\\-partial is given, and the \
         exit code is {}.\nThe third ends the process at once.",
        exit::CANCELLED
    )?;
    Ok(page)
}

fn heading(arg: &clap::Arg) -> String {
    let mut names = Vec::new();
    if let Some(short) = arg.get_short() {
        names.push(format!("\\fB\\-{short}\\fR"));
    }
    if let Some(long) = arg.get_long() {
        names.push(format!("\\fB\\-\\-{}\\fR", escaped(long)));
    }
    let mut text = names.join(", ");
    if arg.get_action().takes_values() {
        let value = arg.get_value_names().unwrap_or_default().join(" ");
        let value = format!("\\fI{}\\fR", escaped(&value));
        text = match (arg.is_positional(), arg.is_require_equals_set()) {
            (true, _) => value,
            (false, true) => format!("{text}[={value}]"),
            (false, false) => format!("{text} {value}"),
        };
    }
    text
}

/// Text as roff takes it literally.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

fn codes() -> Vec<u8> {
    let mut text = String::from(".SH \"EXIT STATUS\"\n");
    for (code, meaning) in exit::TABLE {
        text.push_str(&format!(".TP\n.B {code}\n{}\n", escaped(meaning)));
    }
    text.into_bytes()
}
