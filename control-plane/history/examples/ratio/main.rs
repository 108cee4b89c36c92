//! Bytes per sample and read times, measured beside VictoriaMetrics and Prometheus on the same data in the same run.
//!
//! ```sh
//! cargo run --release -p outrigger-history --example ratio -- record --seconds 1200 /tmp/processes.csv
//! cargo run --release -p outrigger-history --example ratio -- measure --recorded /tmp/processes.csv --nab NAB/data/realAWSCloudwatch
//! ```
//!
//! Data: processes of this machine as `record` saw them; a generated busy sandbox when there is no recording; the AWS
//! CloudWatch series of the Numenta Anomaly Benchmark, from a directory with its CSV files; and a mix in which 80 % of the
//! sandboxes are idle. Readings are at the precision that is kept, for all three stores alike.
//!
//! VictoriaMetrics runs on loopback with its data in a temporary directory, is fed by its HTTP import, told to merge, and
//! ended; Prometheus' blocks are made by `promtool tsdb create-blocks-from openmetrics`. Both are left out when their
//! programs are not installed (Debian: `victoria-metrics`, `prometheus`). Counted are the files that hold samples; the
//! index of names is counted for neither.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

mod data;
mod nab;
mod ours;
mod prometheus;
mod recorded;
mod victoria;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;

use data::DataSet;

#[derive(Debug, Parser)]
#[command(about = "Bytes per sample and read times of history, beside its peers")]
enum Command {
    /// Record the processes of this machine, once a second.
    Record {
        #[arg(long, default_value_t = 1_200)]
        seconds: u32,
        /// The CSV file to write.
        file: PathBuf,
    },
    /// Measure.
    Measure {
        /// What `record` wrote.
        #[arg(long)]
        recorded: Option<PathBuf>,
        /// A directory with CSV files of the Numenta Anomaly Benchmark, such as `data/realAWSCloudwatch`.
        #[arg(long)]
        nab: Option<PathBuf>,
        /// Do not start the peers.
        #[arg(long)]
        alone: bool,
    },
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Record { seconds, file } => {
            recorded::record(&file, seconds).with_context(|| format!("cannot record into {}", file.display()))
        }
        Command::Measure { recorded, nab, alone } => {
            let mut sets = vec![data::generated(20, 3_600)];
            if let Some(file) = recorded {
                let busy = recorded::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
                sets.push(busy.0);
                sets.push(busy.1);
            }
            let mix = data::mixed(sets.get(1).unwrap_or(&sets[0]), sets.get(2));
            sets.push(mix);
            if let Some(directory) = nab {
                sets.push(nab::read(&directory).with_context(|| format!("cannot read {}", directory.display()))?);
            }
            sets.iter().try_for_each(|set| measure(set, alone))?;
            println!("\nresponse times: {:.1} bytes a histogram of 200 requests", ours::histogram_bytes()?);
            Ok(())
        }
    }
}

fn measure(set: &DataSet, alone: bool) -> Result<()> {
    let samples = set.samples();
    println!("\n{}: {} sources, {} series, {samples} samples", set.name, set.blocks.len(), set.series());
    let ours = ours::measure(set)?;
    let each = |bytes: u64| bytes as f64 / samples as f64;
    println!("  outrigger        {:.3} bytes a sample, {:.3} in whole pages", each(ours.bytes), each(ours.pages));
    println!(
        "                   {:.0} ns a sample written, {:.0} read; an hour of one metric in {:.3} ms",
        ours.encode_ns, ours.decode_ns, ours.hour_ms
    );
    if alone {
        return Ok(());
    }
    for (peer, measured) in [("victoria-metrics", victoria::bytes(set)?), ("prometheus", prometheus::bytes(set)?)] {
        match measured {
            Some(bytes) => {
                let share = ours.pages as f64 / bytes as f64;
                println!("  {peer:16} {:.3} bytes a sample; ours is {share:.2} of it", each(bytes));
            }
            None => println!("  {peer:16} is not installed"),
        }
    }
    Ok(())
}
