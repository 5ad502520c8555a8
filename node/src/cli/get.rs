//! `nearmesh get`.

use std::{fs, path::PathBuf, time::Instant};

use clap::Args;

use super::{
    Context, Quit,
    harmless::harmless,
    progress::Progress,
    units::{duration, size},
};
use crate::control::api::{ApiError, Code, Download, DownloadEvent, DownloadId, GetRequest, State, Wanted};

/// Fetch a file, by its hash or its number in the last search.
#[derive(Debug, Args)]
#[command(after_help = "Example: nearmesh get 3 --output ~/Music\n\n\
                        Every part is verified before it is kept, and a fetch that was interrupted goes on where it was. \
                        The node does the work: if you leave, it goes on.")]
pub(super) struct Get {
    /// A hash, or a number of the last search
    #[arg(value_name = "HASH|NUMBER")]
    wanted: Wanted,
    /// The folder for it [default: the profile's downloads folder]
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// The name for it [default: the name under which it was found]
    #[arg(long)]
    name: Option<String>,
}

impl Get {
    pub(super) async fn run(self, context: &Context) -> Result<(), Quit> {
        let client = context.client();
        let directory = self.output.map(prepare).transpose()?;
        let request = GetRequest { wanted: self.wanted.into(), directory, name: self.name };
        let begun = Instant::now();
        let id = client.start_download(&request).await?;
        let mut progress = Progress::new(context.out);
        let ended = tokio::select! {
            ended = follow(context, id, &mut progress) => ended,
            _ = tokio::signal::ctrl_c() => Err(left(id)),
        };
        progress.finish();
        let download = ended?;
        match download.state {
            State::Failed | State::Cancelled => Err(failure(&download).into()),
            _ => context.out.answer(&download, |download| {
                let bytes = download.size.unwrap_or(download.received);
                let took = begun.elapsed();
                format!(
                    "{}\n{} verified in {}",
                    harmless(&download.path.to_string_lossy()),
                    size(bytes),
                    duration(took)
                )
            }),
        }
    }
}

async fn follow(context: &Context, id: DownloadId, progress: &mut Progress) -> Result<Download, ApiError> {
    let mut events = context.client().follow_download(id).await?;
    loop {
        match events.next().await? {
            DownloadEvent::Ended(download) => return Ok(download),
            DownloadEvent::Progress(download) => {
                let name = harmless(&download.name);
                let what = match download.state {
                    State::Running => name.into_owned(),
                    state => format!("{}: {name}", state.as_str()),
                };
                progress.update(download.received, download.size, &what, Some(download.rate));
            }
        }
    }
}

/// The folder belongs to who asks, so it is made here and not by the node.
fn prepare(directory: PathBuf) -> Result<PathBuf, ApiError> {
    let failed =
        |error: std::io::Error| ApiError::failed(format!("the folder {directory:?} cannot be made: {error}"));
    fs::create_dir_all(&directory).map_err(failed)?;
    fs::canonicalize(&directory).map_err(failed)
}

fn left(id: DownloadId) -> ApiError {
    ApiError::failed(format!("left download {id}, which goes on in the node"))
        .hint(format!("see `nearmesh downloads`, or end it with `nearmesh downloads --cancel {id}`"))
}

fn failure(download: &Download) -> ApiError {
    let reason = download.error.as_deref().unwrap_or(download.state.as_str());
    ApiError::new(Code::Failed, format!("failed to fetch {:?}: {reason}", download.name))
        .hint("what was verified is kept: the same command goes on from there")
}
