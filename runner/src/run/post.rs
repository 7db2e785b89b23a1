//! `--post-action-command`.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::process::Stdio;

use crate::settings::Settings;

/// Runs the command with the staged directory as its argument, and waits for it. Its failure is
/// logged and changes nothing.
pub(super) async fn run(settings: &Settings, root: BorrowedFd<'_>) {
    let Some(command) = &settings.post_action else { return };
    // The directory may exist only for us; others of this user can reach it through us.
    let folder = format!("/proc/{}/fd/{}/", std::process::id(), root.as_raw_fd());
    let status = tokio::process::Command::new("/bin/sh")
        .args(["-c", &format!("{command} \"$1\""), "sh", &folder])
        .env_remove("FORERUNNER_PARENT")
        .stdin(Stdio::null())
        .status()
        .await;
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => tracing::warn!("`{command}` ended with {status}"),
        Err(error) => tracing::warn!("cannot run `{command}`: {error}"),
    }
}
