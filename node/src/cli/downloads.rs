//! `nearmesh downloads`.

use clap::Args;

use super::{
    Context, Quit,
    table::table,
    units::{rate, size},
};
use crate::control::api::{Download, DownloadId, State};

/// How downloads go.
#[derive(Debug, Args)]
#[command(after_help = "Example: nearmesh downloads --json")]
pub(super) struct Downloads {
    /// Give this one up and remove what is there of it
    #[arg(long, value_name = "ID")]
    cancel: Option<u64>,
}

impl Downloads {
    pub(super) async fn run(self, context: &Context) -> Result<(), Quit> {
        if let Some(id) = self.cancel {
            let download = context.client().cancel_download(DownloadId(id)).await?;
            return context
                .out
                .answer(&download, |download| format!("cancelled {}", row(download).join("  ")));
        }
        let downloads = context.client().downloads().await?;
        context.out.answer(&downloads, |downloads| {
            if downloads.is_empty() {
                return "no downloads: begin one with `nearmesh get`".to_owned();
            }
            let headings = ["Id", "State", "Received", "Size", "Rate", "From", "Path", "Name"];
            table(headings, downloads.iter().map(row).collect(), context.out.width())
        })
    }
}

fn row(download: &Download) -> [String; 8] {
    let rate = if download.state == State::Running { rate(download.rate) } else { "-".to_owned() };
    let name = match &download.error {
        Some(error) => format!("{} ({error})", download.name),
        None => download.name.clone(),
    };
    let running = download.paths.first().filter(|_| download.state == State::Running);
    let path = running.map_or_else(|| "-".to_owned(), |path| path.way.to_string());
    [
        download.id.to_string(),
        download.state.as_str().to_owned(),
        size(download.received),
        download.size.map_or_else(|| "?".to_owned(), size),
        rate,
        download.sources.first().map_or_else(|| "-".to_owned(), |source| source.user.to_string()),
        path,
        name,
    ]
}
