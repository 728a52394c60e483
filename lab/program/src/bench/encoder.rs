//! `descry bench encoder`

use super::encoder_table;
use super::inputs::{encoder_config, images_in};
use super::json_output::JsonArguments;
use clap::ValueEnum;
use descry_bench::{
    EncoderPlan, EncoderReport, LoadShape, ServiceUnderTest, Transport, Workload, WorkloadKind, latency_plot,
    load_captions, load_images, run_encoder_benchmark,
};
use descry_terminal::{new_file, progress};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The longest run; a longer one is a mistake in the unit.
const LONGEST_S: f64 = 86_400.0;

/// Measure throughput and latency of the encoder service over gRPC.
///
/// Closed loop (--callers): so many callers, each sending its next request when it has the last one's answer; measures
/// throughput. Open loop (--rate): requests arrive at random times and wait for nobody; measures latency under a given
/// load, from the moment each request was due. Timings and batch sizes are the service's own.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry bench encoder --model bundles/cuhk --callers 1,8,64
  descry bench encoder --model bundles/cuhk --kind image --images crops --items-per-request 8 --stream
  descry bench encoder --model bundles/cuhk --kind mixed --rate 20 --seconds 30
  descry bench encoder --url http://gpu-host:50051 --rate 50,100,200,400 --svg latency.svg --json latency.json

--kind mixed measures each load of texts twice, alone and while bulk images saturate the service.")]
pub(crate) struct Arguments {
    /// Address of a running encoder-service or `descry serve`.
    #[arg(long, value_name = "URL", required_unless_present = "model", conflicts_with = "model")]
    url: Option<String>,
    /// Process of the running service, if it is on this machine, to report its CPU time and memory.
    #[arg(long, value_name = "PID", conflicts_with = "model")]
    pid: Option<i32>,
    /// Model bundle to serve in this process instead.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Settings of the service in this process (YAML).
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    config: Option<PathBuf>,
    /// Device of the service in this process: auto, cpu, openvino, cuda or tensorrt.
    #[arg(long, value_name = "NAME", conflicts_with = "url")]
    device: Option<String>,
    /// What to send.
    #[arg(long, value_enum, default_value = "text")]
    kind: Kind,
    /// Texts to send, one a line [default: 40 bundled descriptions].
    #[arg(long, value_name = "FILE")]
    captions: Option<PathBuf>,
    /// Images to send, at any depth; the first 512 [default: 64 generated JPEG files].
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Closed loop with so many callers; several are measured one after the other [default: 64].
    #[arg(long, value_name = "N,…", value_delimiter = ',', conflicts_with = "rate")]
    callers: Vec<usize>,
    /// Open loop with so many requests a second; several are measured one after the other.
    #[arg(long, value_name = "R,…", value_delimiter = ',')]
    rate: Vec<f64>,
    /// Items of a request; with --stream, items in flight on each stream.
    #[arg(long, default_value_t = 1, value_name = "N")]
    items_per_request: usize,
    /// Send over streams, in a closed loop one for each caller, instead of lists.
    #[arg(long)]
    stream: bool,
    /// Measured time of each run.
    #[arg(long, default_value = "10", value_name = "S", value_parser = seconds)]
    seconds: Duration,
    /// Time before it that is not measured.
    #[arg(long, default_value = "2", value_name = "S", value_parser = seconds)]
    warm_up_seconds: Duration,
    /// TCP connections that the requests are spread over.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    /// Requests of an open loop that may be unanswered; beyond it arrivals are counted as shed.
    #[arg(long, default_value_t = 1024, value_name = "N")]
    max_unanswered: usize,
    /// Bulk images in flight with --kind mixed.
    #[arg(long, default_value_t = 64, value_name = "N")]
    bulk_images_in_flight: usize,
    /// Of the random arrival times; equal seeds give equal times.
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    #[command(flatten)]
    json: JsonArguments,
    /// Plot p50, p95 and p99 over throughput, one point a run.
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Text,
    Image,
    Mixed,
}

pub(crate) async fn run(arguments: Arguments, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let plan = plan(&arguments);
    plan.check()?;
    let workload = workload(&arguments)?;
    let spinner = progress::spinner("connecting");
    let service = tokio::select! {
        service = service(&arguments) => service?,
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    let report = run_encoder_benchmark(&service, &workload, &plan, &stop, |what| spinner.set_message(what)).await?;
    spinner.finish_and_clear();
    service.stop().await?;
    publish(&arguments, &report)
}

fn workload(arguments: &Arguments) -> anyhow::Result<Workload> {
    let texts = match arguments.kind {
        Kind::Text | Kind::Mixed => load_captions(arguments.captions.as_deref())?,
        Kind::Image => Vec::new(),
    };
    let images = match arguments.kind {
        Kind::Image | Kind::Mixed => load_images(&images_in(arguments.images.as_deref())?)?,
        Kind::Text => Vec::new(),
    };
    Ok(Workload { texts, images })
}

async fn service(arguments: &Arguments) -> anyhow::Result<ServiceUnderTest> {
    let connections = usize::from(arguments.connections);
    match (&arguments.url, &arguments.model) {
        (Some(url), _) => Ok(ServiceUnderTest::connect(url, connections, arguments.pid).await?),
        (None, Some(model)) => {
            let config = encoder_config(model, arguments.config.as_deref(), arguments.device.as_deref())?;
            Ok(ServiceUnderTest::start(config, connections).await?)
        }
        (None, None) => anyhow::bail!("give --url or --model"),
    }
}

fn plan(arguments: &Arguments) -> EncoderPlan {
    let closed = |&callers: &usize| LoadShape::Closed { callers };
    let open = |&requests_per_s: &f64| LoadShape::Open { requests_per_s };
    let mut loads: Vec<LoadShape> =
        arguments.callers.iter().map(closed).chain(arguments.rate.iter().map(open)).collect();
    if loads.is_empty() {
        loads.push(LoadShape::Closed { callers: 64 });
    }
    EncoderPlan {
        kind: match arguments.kind {
            Kind::Text => WorkloadKind::Text,
            Kind::Image => WorkloadKind::Image,
            Kind::Mixed => WorkloadKind::Mixed,
        },
        loads,
        transport: if arguments.stream { Transport::Streams } else { Transport::Lists },
        items_per_request: arguments.items_per_request,
        warm_up: arguments.warm_up_seconds,
        duration: arguments.seconds,
        max_unanswered: arguments.max_unanswered,
        bulk_images_in_flight: arguments.bulk_images_in_flight,
        seed: arguments.seed,
    }
}

fn publish(arguments: &Arguments, report: &EncoderReport) -> anyhow::Result<ExitCode> {
    if !arguments.json.is_standard_output() {
        encoder_table::print(report);
    }
    arguments.json.write(report)?;
    let succeeded = report.runs.iter().any(|run| run.measured.items_ok > 0);
    if let Some(path) = &arguments.svg
        && succeeded
    {
        new_file::write(path, latency_plot(&report.runs)?.as_bytes())?;
    }
    Ok(if succeeded || report.interrupted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<f64>().ok().filter(|seconds| (0.0..=LONGEST_S).contains(seconds));
    number.map(Duration::from_secs_f64).ok_or_else(|| format!("must be 0 to {LONGEST_S} seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &str) -> Result<Arguments, String> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        Program::try_parse_from(words).map(|program| program.arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn lists_of_loads_become_runs() {
        let check =
            |line: &str, expected: &[LoadShape]| assert_eq!(plan(&parse(line).unwrap()).loads, expected, "{line}");
        let closed = |callers| LoadShape::Closed { callers };
        let open = |requests_per_s| LoadShape::Open { requests_per_s };
        check("--model b", &[closed(64)]);
        check("--model b --callers 1,8,64", &[closed(1), closed(8), closed(64)]);
        check("--url http://h:1 --rate 12.5,50", &[open(12.5), open(50.0)]);
    }

    #[test]
    fn arguments_that_contradict_each_other_are_refused() {
        let check = |line: &str, words: &str| {
            let message = parse(line).unwrap_err();
            assert!(message.contains(words), "{line}: {message}");
        };
        check("", "--url");
        check("--url http://h:1 --model b", "cannot be used with");
        check("--model b --callers 1 --rate 2", "cannot be used with");
        check("--model b --pid 1", "cannot be used with");
        check("--url http://h:1 --device cpu", "cannot be used with");
        check("--model b --seconds=-1", "must be 0 to 86400 seconds");
        check("--model b --seconds soon", "must be 0 to 86400 seconds");
        check("--model b --connections 0", "--connections");
    }

    #[test]
    fn plans_that_cannot_be_carried_out_name_the_flag() {
        let message = plan(&parse("--model b --callers 0").unwrap()).check().unwrap_err().to_string();
        assert!(message.contains("--callers"), "{message}");
        let message = plan(&parse("--model b --rate 5 --stream --items-per-request 4").unwrap()).check();
        assert!(message.unwrap_err().to_string().contains("--items-per-request"));
    }
}
