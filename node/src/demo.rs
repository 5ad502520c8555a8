//! Demo.
use crate::control::api::ApiError;
/// Run.
pub async fn run(_keep: bool, _say: &(dyn Fn(&str) -> bool + Sync)) -> Result<(), ApiError> {
    Ok(())
}
