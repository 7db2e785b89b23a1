//! `RECC_INVALID_INPUT_PATHS_REGEX`: commands that are not cached because of what they read.

use crate::paths;
use crate::reason::Reason;
use crate::session::Session;

/// Compares the absolute form of each path with each expression, which must fit the whole of it.
///
/// # Errors
/// [`Reason::InvalidInput`] if one does.
pub(crate) fn by_name<S: AsRef<str>>(session: &Session, paths: &[S]) -> Result<(), Reason> {
    for pattern in &session.settings.invalid_inputs {
        let Ok(whole) = regex_lite::Regex::new(&format!("^(?:{pattern})$")) else {
            session.log.error(format_args!(
                "RECC_INVALID_INPUT_PATHS_REGEX: `{pattern}` is not a regular expression"
            ));
            continue;
        };
        let fits = |path: &S| whole.is_match(&paths::absolute(path.as_ref(), &session.directory));
        if paths.iter().any(fits) {
            return Err(Reason::InvalidInput);
        }
    }
    Ok(())
}
