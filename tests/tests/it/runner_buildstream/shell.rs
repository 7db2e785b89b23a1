//! `bst shell` on a terminal.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use forerunner_tests::{long, on_path, peer};

use super::{Project, Runner, processes, wait_until};

/// Runs BuildStream on a terminal of its own; what is written to the child is typed there.
fn on_a_terminal(project: &Project, runner: Runner, arguments: &[&str]) -> Option<Command> {
    let script = peer("script", on_path("script"))?;
    let plain = project.bst(runner, arguments);
    let words = std::iter::once(plain.get_program()).chain(plain.get_args());
    let line: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let mut command = Command::new(script);
    command.args(["-q", "-e", "-f", "-c", &line.join(" "), "/dev/null"]);
    for (name, value) in plain.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.current_dir(project.path("project")).env("SHELL", "/bin/sh").env("TERM", "dumb");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(command)
}

/// A person at a terminal.
struct Terminal {
    child: Child,
    typed: ChildStdin,
    shown: Arc<Mutex<String>>,
    /// How much of it was looked at.
    read: usize,
}

impl Terminal {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("a terminal");
        let typed = child.stdin.take().expect("a pipe");
        let mut output = child.stdout.take().expect("a pipe");
        let shown = Arc::new(Mutex::new(String::new()));
        let screen = shown.clone();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(size) = output.read(&mut piece)
                && size > 0
            {
                let text = String::from_utf8_lossy(&piece[..size]);
                screen.lock().expect("a screen").push_str(&text);
            }
        });
        Self { child, typed, shown, read: 0 }
    }

    fn types(&mut self, text: &str) {
        self.typed.write_all(text.as_bytes()).expect("a pipe");
    }

    fn shown(&self) -> String {
        self.shown.lock().expect("a screen").clone()
    }

    /// Waits until `text` is shown, after what was waited for before.
    fn sees(&mut self, text: &str) {
        wait_until(&format!("`{text}` is shown"), || {
            let shown = self.shown();
            let found = shown.get(self.read..).and_then(|rest| rest.find(text));
            if let Some(at) = found {
                self.read += at + text.len();
            } else {
                let ended = self.child.try_wait().expect("a child");
                assert!(ended.is_none(), "it ended before it showed `{text}`:\n{shown}");
            }
            found.is_some()
        });
    }

    /// The exit code of the shell.
    fn ends(mut self) -> Option<i32> {
        let status = self.child.wait().expect("an end");
        drop(self.typed);
        status.code()
    }
}

#[test]
fn a_shell_has_the_terminal_and_controls_its_jobs() {
    let Some(project) = Project::new() else { return };
    for runner in [Runner::Ours, Runner::Reference] {
        project.build(runner, "manual.bst");
        let arguments = ["shell", "--build", "manual.bst"];
        let Some(command) = on_a_terminal(&project, runner, &arguments) else { return };
        let mut terminal = Terminal::start(command);
        // What is typed is shown, too: no line holds what it prints.
        terminal.types("test -t 0 && echo is a t''erminal of $(id -u)\n");
        terminal.sees("is a terminal of 0");
        let number = project.duration.to_string();
        let mark = format!("sleep {number}");
        let sleeping = || processes(&mark).iter().any(|(_, line)| line.starts_with(&mark));
        terminal.types(&format!("sleep {number}\n"));
        wait_until("it sleeps", sleeping);
        terminal.types("\x1a");
        terminal.sees("Stopped");
        terminal.types("jobs; echo still h''ere\n");
        terminal.sees("Stopped");
        terminal.sees("still here");
        terminal.types("fg\n");
        terminal.sees(&format!("sleep {number}"));
        // In the foreground, nothing is run until it ends.
        terminal.types("\x03");
        wait_until("it ends", || !sleeping());
        terminal.types("echo ended w''ith $?\n");
        terminal.sees("ended with 130");
        terminal.types("exit 7\n");
        assert_eq!(terminal.ends(), Some(7));
        project.is_clean();
    }
}

#[test]
fn an_interrupt_at_the_terminal_leaves_nothing() {
    if !long() {
        return;
    }
    let Some(project) = Project::new() else { return };
    let arguments = ["build", "slow.bst"];
    let Some(mut command) = on_a_terminal(&project, Runner::Ours, &arguments) else { return };
    let mut child = project.start(command.stdout(Stdio::null()), "slow");
    let mut typed = child.stdin.take().expect("a pipe");
    typed.write_all(b"\x03").expect("a pipe");
    // BuildStream asks what to do; the answer is to terminate.
    wait_until("it ends", || {
        let _ = typed.write_all(b"t\n");
        std::thread::sleep(std::time::Duration::from_millis(500));
        child.try_wait().expect("a child").is_some()
    });
    project.is_clean();
}
