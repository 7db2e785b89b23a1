//! A plan with every pointer that the new process will need.

use std::ffi::{CStr, CString, c_char};
use std::ptr;

use libc::c_int;

use crate::plan::Plan;

/// Borrowed from a plan; nothing in it moves while it lives.
pub(super) struct Prepared<'a> {
    pub(super) plan: &'a Plan,
    /// Descriptors of opened mounts, -1 where there is none.
    pub(super) slots: Vec<c_int>,
    /// `argv`, closed by null.
    pub(super) arguments: Vec<*const c_char>,
    /// `/bin/sh`, a place for the script, the further arguments, null.
    pub(super) shell: Vec<*const c_char>,
    /// `envp`, closed by null.
    pub(super) environment: Vec<*const c_char>,
    pub(super) not_found: CString,
    pub(super) no_interpreter: CString,
    pub(super) not_executable: CString,
    pub(super) too_long: CString,
    /// Becomes standard input, output and error output of the command.
    pub(super) stdio: [c_int; 3],
    /// Our end of the connection to the runner.
    pub(super) control: c_int,
}

pub(super) const SHELL: &CStr = c"/bin/sh";

impl<'a> Prepared<'a> {
    pub(super) fn new(plan: &'a Plan, stdio: [c_int; 3], control: c_int) -> Self {
        let exec = &plan.exec;
        let pointers = |list: &'a [CString]| list.iter().map(|text| text.as_ptr());
        let name = exec
            .arguments
            .first()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let message = |what: &str| {
            // The name comes from a C string, so there is no NUL.
            CString::new(format!("buildbox-run: cannot run `{name}`: {what}\n")).unwrap_or_default()
        };
        let rest = exec.arguments.get(1..).unwrap_or_default();
        Self {
            plan,
            slots: vec![-1; plan.slots],
            arguments: pointers(&exec.arguments).chain([ptr::null()]).collect(),
            shell: [SHELL.as_ptr(), ptr::null()]
                .into_iter()
                .chain(pointers(rest))
                .chain([ptr::null()])
                .collect(),
            environment: pointers(&exec.environment).chain([ptr::null()]).collect(),
            not_found: message("there is no such program in the file system of the action"),
            no_interpreter: message(
                "its interpreter or dynamic linker is not in the file system of the action",
            ),
            not_executable: message("it is not an executable program"),
            too_long: message("its arguments and environment are too long for the kernel"),
            stdio,
            control,
        }
    }
}
