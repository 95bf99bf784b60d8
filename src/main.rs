//! Subcommand, configuration, log, run; and the exit code: 0 done, 1 failed, 2 a mistake in the
//! command line, the configuration, a rule or a template.

use std::num::NonZero;
use std::process::ExitCode;

use clap::Parser;
use privacyd::cli::Cli;

/// Threads that wait for servers and the disk: more of them would use up what the unit allows (`TasksMax=`).
const MOST_THREADS: usize = 8;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("privacyd: Cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(privacyd::operator::execute(cli)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("privacyd: {}", privacyd::operator::sentence(&error));
            let is_mistake = error.chain().any(|cause| {
                cause.is::<privacyd::config::FileError>() || cause.is::<privacyd::operator::Mistake>()
            });
            if is_mistake { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
