//! Subcommand, configuration, log, run; and the exit code: 0 done, 1 failed, 2 a mistake in the
//! command line, the configuration, a rule or a template.

use std::process::ExitCode;

use clap::Parser;
use privacyd::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("privacyd: Cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(privacyd::operator::execute(cli)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("privacyd: {error:#}");
            let is_mistake = error.chain().any(|cause| {
                cause.is::<privacyd::config::FileError>() || cause.is::<privacyd::operator::Mistake>()
            });
            if is_mistake { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
